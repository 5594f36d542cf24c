"""One invocation of a durable task on this worker: its steps, what it waits for, and its end. Connection thread only.

A step is a request and its answer, one at a time in the order in which the function asked (D-4.1). The answer names the
entry of the log; the entry's completion comes later, or at once on a replay. Completions are handed over in the order
of their arrival (`hand_over`) and kept when nobody awaits them yet, so that a child that was only started holds up
nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import from_json

from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_sdk.context.durable_log import Completion, DurableSpawnResult, Memo
from hatchet_sdk.exceptions import DurableOperationError, NonDeterminismError
from hatchet_sdk.run.trigger import chunks
from hatchet_sdk.worker.durable_requests import Entry, EntryKey, Request, Sender
from hatchet_sdk.worker.durable_waits import Waits, described
from hatchet_sdk.worker.hand_over import HandOver

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from hatchet_contracts.v1.shared.condition_pb2 import DurableEventListenerConditions
    from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.declare.eviction import EvictionPolicy
    from hatchet_sdk.worker.attempt import AttemptKey

T = TypeVar("T")

ACK_SECONDS = 60.0
"""D-4.4; counted from the moment when the request left."""
EVICTION_ACK_SECONDS = 30.0
CONFIRM_SECONDS = 5.0
"""How long a memo waits for the engine's word that it is recorded (D-12.8)."""
CHILDREN_IN_A_REQUEST = 100
MESSAGE_SLACK = 1024

LOST = (
    "the connection to the engine broke during a step of this task, and whether the step is recorded is not known."
    " Asked for again it would be recorded twice, so this attempt ends; a retry goes on from the log"
)


class Invocation:
    """Is a `DurableLog`.

    Args:
        key: the attempt it belongs to: task run, retry count, invocation count.
        main_loop: where async functions run.
        on_evicted: called once when the engine took it off this worker; the function is to be ended without report.
    """

    logs_children = True

    def __init__(
        self,
        *,
        key: AttemptKey,
        policy: EvictionPolicy | None,
        stream: Sender,
        config: ClientConfig,
        main_loop: asyncio.AbstractEventLoop,
        on_evicted: Callable[[AttemptKey], None],
    ) -> None:
        self.key = key
        self.task_id = key[0]
        self.count = key[2] or 1
        self.policy = policy
        self.ended = False
        self.evicting = False
        self.highest_order = 0
        self.unconfirmed: dict[EntryKey, pb.DurableTaskRequest] = {}
        self._stream = stream
        self._config = config
        self._limit = config.grpc_max_send_message_length - MESSAGE_SLACK
        self._on_evicted = on_evicted
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._request: Request | None = None
        self._broken: str | None = None
        self._entries: dict[EntryKey, Entry] = {}
        self._children: dict[str, Entry] = {}
        self._by_child_key: dict[str, DurableSpawnResult] = {}
        self._under_way = 0
        self._hand_over = HandOver(main_loop, lambda: self._under_way <= 1)
        self._waits = Waits()

    # --- steps ---------------------------------------------------------------------------------------------------

    def serves(self, config: ClientConfig) -> bool:
        return (config.tenant_id, config.host_port) == (self._config.tenant_id, self._config.host_port)

    async def wait(self, conditions: DurableEventListenerConditions, *, signal_key: str, label: str | None) -> Any:
        message = pb.DurableTaskWaitForRequest(
            invocation_count=self.count,
            durable_task_external_id=self.task_id,
            wait_for_conditions=conditions,
            label=label,
        )
        with self._a_step():
            answer = await self._step(pb.DurableTaskRequest(wait_for=message))
            ref = answer.wait_for_ack.ref
            entry = self._entry((ref.branch_id, ref.node_id))
            (end,) = await self._ends([entry], label or described(conditions), stop_at_failure=False)
        return from_json(end.payload) if end is not None and end.payload else {}

    async def memo(self, key: bytes) -> Memo:
        message = pb.DurableTaskMemoRequest(invocation_count=self.count, durable_task_external_id=self.task_id, key=key)
        with self._a_step():
            ack = (await self._step(pb.DurableTaskRequest(memo=message))).memo_ack
        # Opened by an invocation that ended before it had a value: no value here, it is computed again (D-12.6).
        value = ack.memo_result_payload if ack.memo_already_existed and ack.memo_result_payload else None
        return Memo(ack.ref.branch_id, ack.ref.node_id, value)

    async def complete_memo(self, memo: Memo, key: bytes, value: bytes) -> None:
        self._check()
        place = (memo.branch_id, memo.node_id)
        message = pb.DurableTaskCompleteMemoRequest(ref=self._ref(place), payload=value, memo_key=key)
        request = pb.DurableTaskRequest(complete_memo=message)
        self._check_size(request, "the value of a memo")
        entry = self._entry(place)
        self.unconfirmed[place] = request
        self._stream.send(request)
        if not self._stream.confirms_memos:
            return
        with self._a_step(), self._waits.awaiting([entry]):
            await asyncio.wait({entry.done}, timeout=CONFIRM_SECONDS)
        if not entry.done.done() and self._stream.is_open:
            # An engine that says nothing after a value; the value is on its way all the same.
            self._stream.confirms_memos = False
        self._check()

    async def spawn(self, requests: Sequence[TriggerWorkflowRequest]) -> list[DurableSpawnResult]:
        for request in requests:
            self._check_size(request, f"the input of a child run of '{request.name}'")
        with self._a_step():
            return await self._to_the_end(self._spawn(requests))

    def knows_child(self, run_id: str) -> bool:
        return run_id in self._children and not self.ended

    async def children_ended(self, run_ids: Sequence[str], *, stop_at_failure: bool) -> list[Completion | None]:
        entries = [self._children[run_id] for run_id in run_ids]
        what = "a child run" if len(entries) == 1 else f"{len(entries)} child runs"
        with self._a_step():
            return await self._ends(entries, what, stop_at_failure=stop_at_failure)

    @contextmanager
    def _a_step(self) -> Iterator[None]:
        """The function waits for something of ours; as many branches of it as there are steps under way."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def _spawn(self, requests: Sequence[TriggerWorkflowRequest]) -> list[DurableSpawnResult]:
        if (known := self._spawned_before(requests)) is not None:
            return known
        spawned: list[DurableSpawnResult] = []
        # One turn for all parts: steps of other branches of the function must not come between them (D-4.6).
        async with self._turn:
            if (known := self._spawned_before(requests)) is not None:
                return known
            for part in chunks(requests, self._limit, most=CHILDREN_IN_A_REQUEST):
                message = pb.DurableTaskTriggerRunsRequest(
                    invocation_count=self.count, durable_task_external_id=self.task_id, trigger_opts=part
                )
                answer = await self._exchange(pb.DurableTaskRequest(trigger_runs=message))
                runs = answer.trigger_runs_ack.run_entries
                if len(runs) != len(part):
                    raise DurableOperationError(f"the engine answered {len(part)} child runs with {len(runs)}")
                for request, run in zip(part, runs, strict=True):
                    run_id = run.workflow_run_external_id
                    self._children[run_id] = self._entry((run.branch_id, run.node_id))
                    child = DurableSpawnResult(run.node_id, run.branch_id, request.name, run_id)
                    spawned.append(child)
                    if request.child_key:
                        self._by_child_key[request.child_key] = child
        return spawned

    def _spawned_before(self, requests: Sequence[TriggerWorkflowRequest]) -> list[DurableSpawnResult] | None:
        """What this invocation has spawned under these keys already (D-13.7); None unless it is all of them.

        It is not asked for again: since the answer takes no node, the log would not know when it came, and branches
        might go on in another order the next time.
        """
        if not all(request.child_key in self._by_child_key for request in requests):
            return None
        self._hand_over.goes_on_at_once()
        return [self._by_child_key[request.child_key] for request in requests]

    async def _step(self, message: pb.DurableTaskRequest) -> pb.DurableTaskResponse:
        self._check_size(message, "a step of a durable task")

        async def step() -> pb.DurableTaskResponse:
            async with self._turn:
                return await self._exchange(message)

        return await self._to_the_end(step())

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Whoever asked may be cancelled; the answer is awaited all the same, so that the next step does not get it."""
        task = self._loop.create_task(work)
        task.add_done_callback(_look_at)
        return await asyncio.shield(task)

    async def _exchange(self, message: pb.DurableTaskRequest, seconds: float = ACK_SECONDS) -> pb.DurableTaskResponse:
        self._check()
        request = self._request = Request(message, seconds, self._loop.create_future())
        self._stream.put(request)
        try:
            return await request.answer
        except DurableOperationError as error:
            if request.is_lost and not message.HasField("evict_invocation"):
                self._broken = str(error)
            raise
        finally:
            self._request = None

    def _check(self) -> None:
        if self.ended:
            raise asyncio.CancelledError
        if self._broken is not None:
            raise DurableOperationError(self._broken)

    def _check_size(self, message: Message, what: str) -> None:
        size = message.ByteSize()
        if size > self._limit:
            raise ValueError(
                f"{what} has {size} bytes, the limit of a message is {self._limit}: store it elsewhere and pass a"
                " reference, or raise HATCHET_CLIENT_GRPC_MAX_SEND_MESSAGE_LENGTH and the engine's message limit"
            )

    def _ref(self, key: EntryKey) -> pb.DurableEventLogEntryRef:
        return pb.DurableEventLogEntryRef(
            durable_task_external_id=self.task_id, invocation_count=self.count, branch_id=key[0], node_id=key[1]
        )

    def _entry(self, key: EntryKey) -> Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(key, self._loop.create_future())
        return entry

    # --- waiting -------------------------------------------------------------------------------------------------

    async def _ends(self, entries: Sequence[Entry], what: str, *, stop_at_failure: bool) -> list[Completion | None]:
        self._check()
        await self._waits.end_of(
            entries, what, stop_at_failure=stop_at_failure, begun=lambda left: self._stream.waits(self, left)
        )
        self._check()
        return [entry.done.result() if entry.done.done() else None for entry in entries]

    @property
    def awaited(self) -> Mapping[EntryKey, Entry]:
        """The entries that the function waits for now."""
        return self._waits.awaited

    @property
    def waiting_since(self) -> float | None:
        """See `Waits.since`; None also when it has ended or is about to be evicted."""
        return None if self.ended or self.evicting else self._waits.since

    @property
    def waits_for(self) -> str:
        """What it waits for, in words."""
        return self._waits.reasons

    # --- what the engine says --------------------------------------------------------------------------------------

    def answered(self, answer: pb.DurableTaskResponse) -> None:
        """An acknowledgement. Its entries exist from here on, because completions may be right behind it (D-4.3)."""
        if answer.HasField("wait_for_ack"):
            self._entry((answer.wait_for_ack.ref.branch_id, answer.wait_for_ack.ref.node_id))
        elif answer.HasField("trigger_runs_ack"):
            for run in answer.trigger_runs_ack.run_entries:
                self._entry((run.branch_id, run.node_id))
        if self._request is not None and self._request.is_answered_by(answer):
            self._answer(self._request, answer)
        elif answer.HasField("eviction_ack"):
            # Its request had been given up; the engine has evicted the run nevertheless.
            self.evicted()

    def refused(self, error: pb.DurableTaskErrorResponse) -> None:
        """An error in the place of an acknowledgement (D-3.14)."""
        if self._request is None:
            return
        if error.error_type == pb.DURABLE_TASK_ERROR_TYPE_NONDETERMINISM:
            refusal = NonDeterminismError(self.task_id, self.count, error.error_message, error.ref.node_id)
            self._answer(self._request, refusal)
        else:
            # It recorded nothing, so the next step may be asked for.
            text = error.error_message or "the engine refused a step of this task"
            self._answer(self._request, DurableOperationError(text))

    def _answer(self, request: Request, answer: pb.DurableTaskResponse | Exception) -> None:
        """Behind the completions that came before it. That of an eviction holds these back, so it goes first."""
        if request.message.HasField("evict_invocation"):
            request.resolve(answer)
        else:
            request.arrives()
            self._hand_over.put_answer(lambda: request.resolve(answer))

    def completed(self, message: pb.DurableTaskEventLogEntryCompletedResponse) -> None:
        """The result of an entry. One that is not known here belongs to a memo, whose value came before (D-12.8)."""
        key = (message.ref.branch_id, message.ref.node_id)
        self.unconfirmed.pop(key, None)
        entry = self._entries.get(key)
        if entry is None:
            return
        self.highest_order = max(self.highest_order, message.satisfied_order)
        error = message.error_message if message.is_failure else None
        self._hand_over.put(entry.done, Completion(message.payload, error))

    def lost(self) -> None:
        """The stream broke."""
        if self._request is not None and self._request.on_stream:
            self._request.lose(LOST)

    def refuse(self, error: Exception) -> None:
        """There will be no stream: fail the step under way."""
        if self._request is not None:
            self._request.resolve(error)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def evict(self, reason: str) -> bool:
        """Ask the engine to take it off this worker; False when it does not wait any more.

        Raises:
            DurableOperationError: the engine refused, or did not answer within 30 s; it goes on waiting here.
        """
        async with self._turn:
            if self.waiting_since is None:
                return False
            self.evicting = True
            # What comes meanwhile is held back: code that is about to be cancelled should not run on for a moment.
            self._hand_over.hold()
            try:
                message = pb.DurableTaskEvictInvocationRequest(
                    invocation_count=self.count, durable_task_external_id=self.task_id, reason=reason
                )
                await self._exchange(pb.DurableTaskRequest(evict_invocation=message), EVICTION_ACK_SECONDS)
                self.evicted()
            finally:
                self.evicting = False
                self._hand_over.release()
        return True

    def evicted(self) -> None:
        """The engine took it off this worker (D-16.3, D-17.13)."""
        if not self.ended:
            self._on_evicted(self.key)
            self.end()

    def end(self) -> None:
        """Nothing more is asked; what waits is cancelled."""
        if self.ended:
            return
        self.ended = True
        self._stream.forget(self)
        self._hand_over.close()
        for entry in self._entries.values():
            entry.done.cancel()
        if self._request is not None:
            self._request.answer.cancel()


def _look_at(task: asyncio.Task[Any]) -> None:
    """An exception that nobody awaits any more is no news."""
    if not task.cancelled():
        task.exception()
