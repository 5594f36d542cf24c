"""The durable side of an engine, in memory: one log for each task run, as behaviour-durable describes it, one branch.

Sleeps end by a timer, events by `push_event`, child runs by `finish_child` or `on_child`. Whatever a test wants to go
wrong it orders: `cut_durable`, `swallow`, `refuse_next`, `server_evict`.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from fakes.fake_dispatcher import FakeDispatcher
from hatchet_contracts import dispatcher_pb2
from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
BRANCH = 1
Outbox = asyncio.Queue[pb.DurableTaskResponse | grpc.StatusCode]


@dataclass(eq=False)
class FakeEntry:
    """An entry of a log. `end` is (payload, error) once it is satisfied; `data` what held of a wait by key."""

    node: int
    kind: str
    digest: Any
    run_id: str = ""
    value: bytes | None = None
    end: tuple[bytes, str | None] | None = None
    order: int = 0
    awaited: bool = False
    groups: dict[str, bool] = field(default_factory=dict)
    data: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(eq=False)
class FakeLog:
    """The log of a task run, and who runs it."""

    action: dispatcher_pb2.AssignedAction
    count: int = 1
    walk: int = 0
    orders: int = 0
    evicted: bool = False
    reasons: list[str] = field(default_factory=list)
    entries: dict[int, FakeEntry] = field(default_factory=dict)
    children: dict[str, FakeEntry] = field(default_factory=dict)
    requests: list[TriggerWorkflowRequest] = field(default_factory=list)
    requested: set[int] = field(default_factory=set)


class FakeDurable(FakeDispatcher):
    """See the module. What arrived is in `durable_requests`, and by kind in `asked`."""

    def __init__(self) -> None:
        self.logs: dict[str, FakeLog] = {}
        self.durable_requests: list[pb.DurableTaskRequest] = []
        self.durable_streams = 0
        self.registered: list[str] = []
        self.restores = True
        self.pushes_completions = True
        self.on_child: Callable[[TriggerWorkflowRequest, str], None] | None = None
        self.swallow: set[str] = set()
        self.waits_by_name: dict[tuple[str, str], bytes | None] = {}
        self._refusals: list[tuple[str, str, bool]] = []
        self._outboxes: list[Outbox] = []
        self._events: list[tuple[FakeLog, FakeEntry, str, str, str]] = []
        self._listeners: list[asyncio.Queue[tuple[str, str]]] = []
        super().__init__()

    # --- the test's side -----------------------------------------------------------------------------------------

    def start_durable(self, action_id: str, input: object = None, **fields: Any) -> dispatcher_pb2.AssignedAction:
        """Assigns a new durable task run."""
        # The log is there before the worker can ask for it.
        run_id = str(uuid.uuid4())
        log = self.logs[run_id] = FakeLog(dispatcher_pb2.AssignedAction(task_run_external_id=run_id))
        fields = {
            "task_run_external_id": run_id,
            "workflow_run_id": run_id,
            "durable_task_invocation_count": 1,
            **fields,
        }
        action = self.start_task(action_id, input, **fields)
        log.action = action
        return action

    def next_invocation(
        self, action: dispatcher_pb2.AssignedAction, retry_count: int = 0
    ) -> dispatcher_pb2.AssignedAction:
        """Assigns a durable task again: a retry, a restore, a replay."""
        log = self.logs[action.task_run_external_id]
        again = dispatcher_pb2.AssignedAction()
        again.CopyFrom(log.action)
        log.count, log.walk, log.evicted = log.count + 1, 0, False
        log.requested.clear()
        again.durable_task_invocation_count, again.retry_count = log.count, retry_count
        log.action = again
        return self.send(again)

    def log_of(self, action: dispatcher_pb2.AssignedAction) -> FakeLog:
        return self.logs[action.task_run_external_id]

    def asked(self, kind: str) -> list[Any]:
        """The requests of a kind, such as `wait_for`, in the order of their arrival."""
        return [getattr(request, kind) for request in list(self.durable_requests) if request.HasField(kind)]  # type: ignore[arg-type]

    def push_event(self, key: str, payload: dict[str, Any], scope: str = "") -> None:
        self._loop.call_soon_threadsafe(self._push, key, payload, scope)

    def finish_child(self, run_id: str, output: object = None, error: str | None = None) -> None:
        """Ends a child run."""
        self._loop.call_soon_threadsafe(self._finish_child, run_id, output, error)

    def cut_durable(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        """Ends the durable streams."""

        def cut() -> None:
            for outbox in self._outboxes:
                outbox.put_nowait(code)

        self._loop.call_soon_threadsafe(cut)

    def refuse_next(self, kind: str, message: str, *, non_determinism: bool = False) -> None:
        """Answers the next request of a kind with an error."""
        self._refusals.append((kind, message, non_determinism))

    def server_evict(self, action: dispatcher_pb2.AssignedAction, count: int) -> None:
        """Tells the worker that an invocation is not the current one any more."""
        notice = pb.DurableTaskServerEvictNotice(
            durable_task_external_id=action.task_run_external_id, invocation_count=count, reason="told so by the test"
        )
        self._loop.call_soon_threadsafe(self._tell, pb.DurableTaskResponse(server_evict=notice))

    def say(self, response: pb.DurableTaskResponse) -> None:
        """Writes any message to the stream."""
        self._loop.call_soon_threadsafe(self._tell, response)

    def end_wait_by_name(self, task_id: str, signal_key: str, data: object) -> None:
        """Ends a wait of the older interface (D-26)."""

        def end() -> None:
            self.waits_by_name[task_id, signal_key] = json.dumps({"CREATE": data}).encode()
            for listener in self._listeners:
                listener.put_nowait((task_id, signal_key))

        self._loop.call_soon_threadsafe(end)

    # --- the streams ---------------------------------------------------------------------------------------------

    def _other_services(self) -> dict[str, dict[str, Any]]:
        return {
            "v1.V1Dispatcher": {
                "DurableTask": grpc.stream_stream_rpc_method_handler(
                    self._durable_task, pb.DurableTaskRequest.FromString, pb.DurableTaskResponse.SerializeToString
                ),
                "RegisterDurableEvent": grpc.unary_unary_rpc_method_handler(
                    self._register_wait,
                    pb.RegisterDurableEventRequest.FromString,
                    pb.RegisterDurableEventResponse.SerializeToString,
                ),
                "ListenForDurableEvent": grpc.stream_stream_rpc_method_handler(
                    self._listen_for_waits,
                    pb.ListenForDurableEventRequest.FromString,
                    pb.DurableEvent.SerializeToString,
                ),
            }
        }

    async def _durable_task(self, requests: AsyncIterator[Any], context: Any) -> None:
        await self._fail_if_told("DurableTask", context)
        outbox: Outbox = asyncio.Queue()
        self._outboxes.append(outbox)
        self.durable_streams += 1
        reader = asyncio.create_task(self._read(requests))
        try:
            while not isinstance(item := await outbox.get(), grpc.StatusCode):
                await context.write(item)
            if item is not grpc.StatusCode.OK:
                await context.abort(item, "durable stream broken by the test")
        finally:
            reader.cancel()
            self._outboxes.remove(outbox)

    async def _read(self, requests: AsyncIterator[pb.DurableTaskRequest]) -> None:
        async for request in requests:
            kind = request.WhichOneof("message") or ""
            # Decided before a test can see the request.
            is_swallowed = kind in self.swallow
            self.durable_requests.append(request)
            self._remember("DurableTask", request)
            if kind == "register_worker":
                self.registered.append(request.register_worker.worker_id)
                self._tell(pb.DurableTaskResponse(register_worker={"worker_id": request.register_worker.worker_id}))
            elif kind == "worker_status":
                self._status(request.worker_status)
            elif kind == "complete_memo":
                self._complete_memo(request.complete_memo, is_swallowed)
            elif not is_swallowed:
                self._step(kind, getattr(request, kind))

    def _tell(self, response: pb.DurableTaskResponse) -> None:
        if self._outboxes:
            self._outboxes[-1].put_nowait(response)

    # --- steps ---------------------------------------------------------------------------------------------------

    def _step(self, kind: str, message: Any) -> None:
        log = self.logs[message.durable_task_external_id]
        for refusal in self._refusals:
            if refusal[0] == kind:
                self._refusals.remove(refusal)
                self._refuse(message, refusal[1], refusal[2], log.walk + 1)
                return
        if kind == "evict_invocation":
            if message.invocation_count == log.count:
                log.evicted = True
                log.reasons.append(message.reason)
            self._tell(
                pb.DurableTaskResponse(
                    eviction_ack={
                        "durable_task_external_id": message.durable_task_external_id,
                        "invocation_count": message.invocation_count,
                    }
                )
            )
        elif message.invocation_count != log.count or log.evicted:
            reason = f"invocation {message.invocation_count} is stale, {log.count} is current"
            notice = pb.DurableTaskServerEvictNotice(
                durable_task_external_id=message.durable_task_external_id,
                invocation_count=message.invocation_count,
                reason=reason,
            )
            self._tell(pb.DurableTaskResponse(server_evict=notice))
        else:
            getattr(self, f"_{kind}")(log, message)

    def _refuse(self, message: Any, text: str, non_determinism: bool, node: int) -> None:
        error = pb.DurableTaskErrorResponse(
            ref=pb.DurableEventLogEntryRef(
                durable_task_external_id=message.durable_task_external_id,
                invocation_count=message.invocation_count,
                branch_id=BRANCH,
                node_id=node,
            ),
            error_type=(
                pb.DURABLE_TASK_ERROR_TYPE_NONDETERMINISM if non_determinism else pb.DURABLE_TASK_ERROR_TYPE_UNSPECIFIED
            ),
            error_message=text,
        )
        self._tell(pb.DurableTaskResponse(error=error))

    def _next(self, log: FakeLog, message: Any, kind: str, digest: Any) -> tuple[FakeEntry | None, bool]:
        """The entry at the next node, and whether it is new; None when it is another one than the log has."""
        node = log.walk + 1
        entry = log.entries.get(node)
        if entry is not None and (entry.kind, entry.digest) != (kind, digest):
            place = f"{message.durable_task_external_id} at {node}:{BRANCH}"
            text = f"non-determinism error in {place}: expected {entry.digest}, got {digest}"
            self._refuse(message, text, True, node)
            return None, False
        log.walk = node
        log.requested.add(node)
        is_new = entry is None
        if entry is None:
            entry = log.entries[node] = FakeEntry(node, kind, digest)
        return entry, is_new

    def _memo(self, log: FakeLog, message: pb.DurableTaskMemoRequest) -> None:
        entry, is_new = self._next(log, message, "memo", message.key)
        if entry is None:
            return
        ack = pb.DurableTaskEventMemoAckResponse(
            ref=self._ref(log, entry), memo_already_existed=not is_new, memo_result_payload=entry.value
        )
        self._tell(pb.DurableTaskResponse(memo_ack=ack))
        if entry.end is not None:
            self._complete(log, entry)

    def _complete_memo(self, message: pb.DurableTaskCompleteMemoRequest, is_swallowed: bool) -> None:
        log = self.logs[message.ref.durable_task_external_id]
        entry = log.entries[message.ref.node_id]
        if entry.end is None:
            entry.value, entry.end = message.payload, (b"", None)
        if not is_swallowed:
            self._complete(log, entry)

    def _wait_for(self, log: FakeLog, message: pb.DurableTaskWaitForRequest) -> None:
        conditions = message.wait_for_conditions
        digest = sorted(
            [f"sleep({one.sleep_for})" for one in conditions.sleep_conditions]
            + [f"event({one.user_event_key})" for one in conditions.user_event_conditions]
        )
        entry, is_new = self._next(log, message, "wait_for", digest)
        if entry is None:
            return
        entry.awaited = True
        self._tell(pb.DurableTaskResponse(wait_for_ack={"ref": self._ref(log, entry)}))
        if is_new:
            self._arm(log, entry, conditions)
        elif entry.end is not None:
            self._complete(log, entry)

    def _arm(self, log: FakeLog, entry: FakeEntry, conditions: Any) -> None:
        bases = [one.base for one in (*conditions.sleep_conditions, *conditions.user_event_conditions)]
        entry.groups = {base.or_group_id: False for base in bases}
        for sleep in conditions.sleep_conditions:
            parts = re.findall(r"([\d.]+)(ms|s|m|h)", sleep.sleep_for)
            seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
            datum = {"sleep_duration": sleep.sleep_for}
            base = sleep.base
            self._loop.call_later(seconds, self._hold, log, entry, base.or_group_id, base.readable_data_key, datum)
        for event in conditions.user_event_conditions:
            base = event.base
            self._events.append((log, entry, event.user_event_key, base.or_group_id, base.readable_data_key))

    def _push(self, key: str, payload: dict[str, Any], scope: str) -> None:
        for waiting in list(self._events):
            log, entry, awaited, group, data_key = waiting
            if awaited == key:
                self._events.remove(waiting)
                self._hold(log, entry, group, data_key, payload)

    def _hold(self, log: FakeLog, entry: FakeEntry, group: str, data_key: str, datum: Any) -> None:
        """A condition holds."""
        if entry.end is not None or entry.groups.get(group, True):
            return
        entry.groups[group] = True
        entry.data.setdefault(data_key, []).append(datum)
        if all(entry.groups.values()):
            self._satisfy(log, entry, json.dumps({"CREATE": entry.data}).encode(), None)

    def _trigger_runs(self, log: FakeLog, message: pb.DurableTaskTriggerRunsRequest) -> None:
        runs, started = [], []
        for request in message.trigger_opts:
            key = request.child_key or f"#{request.child_index}"
            entry = log.children.get(key)
            if entry is None:
                fresh, _ = self._next(log, message, "run", f"run({request.name}) {request.input}")
                if fresh is None:
                    return
                entry = log.children[key] = fresh
                entry.run_id = str(uuid.uuid4())
                log.requests.append(request)
                started.append((request, entry.run_id))
            elif not request.child_key and entry.digest != f"run({request.name}) {request.input}":
                self._refuse(message, "non-determinism error: another child", True, entry.node)
                return
            elif entry.node == log.walk + 1:
                log.walk += 1
            log.requested.add(entry.node)
            runs.append({"node_id": entry.node, "branch_id": BRANCH, "workflow_run_external_id": entry.run_id})
        ack = pb.DurableTaskEventTriggerRunsAckResponse(
            durable_task_external_id=message.durable_task_external_id,
            invocation_count=message.invocation_count,
            run_entries=runs,
        )
        self._tell(pb.DurableTaskResponse(trigger_runs_ack=ack))
        for request, run_id in started:
            if self.on_child is not None:
                self.on_child(request, run_id)

    def _finish_child(self, run_id: str, output: object, error: str | None) -> None:
        for log in self.logs.values():
            for entry in log.entries.values():
                if entry.run_id == run_id and entry.end is None:
                    self._satisfy(log, entry, b"" if error is not None else json.dumps(output).encode(), error)

    # --- completions ---------------------------------------------------------------------------------------------

    def _satisfy(self, log: FakeLog, entry: FakeEntry, payload: bytes, error: str | None) -> None:
        entry.end = (payload, error)
        if log.evicted:
            if self.restores:
                self.next_invocation_soon(log)
        elif self.pushes_completions and entry.awaited:
            self._complete(log, entry)

    def next_invocation_soon(self, log: FakeLog) -> None:
        """Restores an evicted task, from the loop of the fake."""
        log.evicted = False
        self._loop.run_in_executor(None, self.next_invocation, log.action)

    def _complete(self, log: FakeLog, entry: FakeEntry) -> None:
        assert entry.end is not None
        if entry.kind != "memo" and not entry.order:
            log.orders += 1
            entry.order = log.orders
        payload, error = entry.end
        completed = pb.DurableTaskEventLogEntryCompletedResponse(
            ref=self._ref(log, entry),
            payload=payload,
            is_failure=error is not None,
            error_message=error,
            satisfied_order=entry.order or None,
        )
        self._tell(pb.DurableTaskResponse(entry_completed=completed))

    def _status(self, status: pb.DurableTaskWorkerStatusRequest) -> None:
        for waiting in status.waiting_entries:
            log = self.logs[waiting.durable_task_external_id]
            if waiting.invocation_count != log.count:
                continue
            entry = log.entries[waiting.node_id]
            entry.awaited = True
            if entry.end is not None:
                self._complete(log, entry)

    def _ref(self, log: FakeLog, entry: FakeEntry) -> pb.DurableEventLogEntryRef:
        return pb.DurableEventLogEntryRef(
            durable_task_external_id=log.action.task_run_external_id,
            invocation_count=log.count,
            branch_id=BRANCH,
            node_id=entry.node,
        )

    # --- the older interface -------------------------------------------------------------------------------------

    async def _register_wait(self, request: Any, context: Any) -> pb.RegisterDurableEventResponse:
        await self._fail_if_told("RegisterDurableEvent", context)
        self.waits_by_name.setdefault((request.task_id, request.signal_key), None)
        self._remember("RegisterDurableEvent", request)
        return pb.RegisterDurableEventResponse()

    async def _listen_for_waits(self, requests: AsyncIterator[Any], context: Any) -> None:
        self._remember("ListenForDurableEvent", None)
        changed: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._listeners.append(changed)
        wanted: set[tuple[str, str]] = set()

        async def read() -> None:
            async for request in requests:
                wanted.add((request.task_id, request.signal_key))
                changed.put_nowait((request.task_id, request.signal_key))

        reader = asyncio.create_task(read())
        try:
            while True:
                key = await changed.get()
                data = self.waits_by_name.get(key)
                if key in wanted and data is not None:
                    wanted.discard(key)
                    await context.write(pb.DurableEvent(task_id=key[0], signal_key=key[1], data=data))
        finally:
            reader.cancel()
            self._listeners.remove(changed)
