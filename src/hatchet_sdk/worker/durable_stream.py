"""The stream of durable operations: one for a worker, opened with its first durable task (behaviour-durable D-2).

It comes back after every end, whatever the status (D-2.8 tells of clients that stop for good after CANCELLED). What is
waited for survives a break and is told again on the new stream (D-2.3); requests that had not left yet follow behind;
one that had left fails, since the engine would record it a second time (D-2.10). Connection thread only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import grpc
from grpc import StatusCode

from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_sdk.wire.calls import Calls
from hatchet_sdk.worker.durable_invocation import Invocation
from hatchet_sdk.worker.durable_requests import Entry, EntryKey, Request

if TYPE_CHECKING:
    from hatchet_sdk.wire.errors import EngineError

logger = logging.getLogger("hatchet.worker")

STATUS_SECONDS = 5.0
"""How often the engine is told of everything that is waited for, beside the new waits (D-15.7)."""
ENTRIES_IN_A_STATUS = 10_000
REGISTERED_SECONDS = 5.0
FIRST_WAIT_SECONDS = 0.1
MAX_WAIT_SECONDS = 3.0
# A stream that lived this long was sound, and the next break starts with a short wait again.
SOUND_AFTER_SECONDS = 5.0
REFUSALS = frozenset({StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED, StatusCode.UNIMPLEMENTED})
"""Ends of the stream that will not change soon: steps are told instead of waiting."""

Stream = grpc.aio.StreamStreamCall[pb.DurableTaskRequest, pb.DurableTaskResponse]


class Link(Protocol):
    """The worker's connection."""

    @property
    def worker_id(self) -> str: ...

    @property
    def calls(self) -> Calls: ...


class DurableStream:
    """Carries the steps of all invocations of a worker."""

    def __init__(self, link: Link) -> None:
        self.confirms_memos = True
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._invocations: dict[str, dict[int, Invocation]] = {}
        self._queue: deque[Request | pb.DurableTaskRequest] = deque()
        self._new_waits: dict[Invocation, dict[EntryKey, Entry]] = {}
        self._wake = asyncio.Event()
        self._again = asyncio.Event()
        self._alive = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._stream: Stream | None = None
        self._worker_id = ""
        self._complained = False

    @property
    def is_open(self) -> bool:
        return self._stream is not None

    @property
    def invocations(self) -> Iterator[Invocation]:
        """All that run."""
        return (invocation for by_count in self._invocations.values() for invocation in by_count.values())

    def add(self, invocation: Invocation) -> None:
        """An invocation begins; the first one opens the stream.

        An older one of the same task that still runs here was given up by the engine, or it would not come again.
        """
        by_count = self._invocations.get(invocation.task_id, {})
        for count in [count for count in by_count if count < invocation.count]:
            by_count[count].evicted()
        self._invocations.setdefault(invocation.task_id, {})[invocation.count] = invocation
        if self._serving is None:
            self._serving = self._loop.create_task(self._serve(), name="hatchet-durable")

    def forget(self, invocation: Invocation) -> None:
        """An invocation has ended."""
        by_count = self._invocations.get(invocation.task_id, {})
        if by_count.get(invocation.count) is invocation:
            del by_count[invocation.count]
            if not by_count:
                del self._invocations[invocation.task_id]
        self._new_waits.pop(invocation, None)

    def put(self, request: Request) -> None:
        self._queue.append(request)
        self._wake.set()

    def send(self, message: pb.DurableTaskRequest) -> None:
        self._queue.append(message)
        self._wake.set()

    def waits(self, invocation: Invocation, entries: Sequence[Entry]) -> None:
        self._new_waits.setdefault(invocation, {}).update((entry.key, entry) for entry in entries)
        self._wake.set()

    def reconnected(self) -> None:
        """The worker's connection is back; its record, or the channel, may be another."""
        self._again.set()
        if self._stream is not None and self._worker_id != self._link.worker_id:
            self._stream.cancel()

    async def close(self) -> None:
        """Ends the stream and all invocations."""
        for invocation in list(self.invocations):
            invocation.end()
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)

    # --- the stream ----------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        wait = FIRST_WAIT_SECONDS
        while True:
            opened = self._loop.time()
            error = await self._one_stream()
            self._broke(error)
            if self._loop.time() - opened > SOUND_AFTER_SECONDS:
                wait = FIRST_WAIT_SECONDS
            self._again.clear()
            try:
                async with asyncio.timeout(wait * random.uniform(0.5, 1.0)):
                    await self._again.wait()
            except TimeoutError:
                wait = min(wait * 2, MAX_WAIT_SECONDS)

    async def _one_stream(self) -> EngineError | None:
        """Opens a stream and serves it to its end."""
        calls = self._link.calls
        stream = calls.durable_task()
        writer: asyncio.Task[None] | None = None
        try:
            self._alive.clear()
            self._worker_id = self._link.worker_id
            register = pb.DurableTaskRequestRegisterWorker(worker_id=self._worker_id)
            await stream.write(pb.DurableTaskRequest(register_worker=register))
            self._stream = stream
            writer = self._loop.create_task(self._write(stream), name="hatchet-durable-requests")
            while True:
                response = await stream.read()
                if not isinstance(response, pb.DurableTaskResponse):
                    return None  # grpc.aio.EOF
                self._complained = False
                self._alive.set()
                self._take(response)
        except grpc.aio.AioRpcError as error:
            return calls.explain(error, "DurableTask")
        except asyncio.InvalidStateError:
            # It ended under the first write.
            return None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling() > 0:
                raise
            # The channel was replaced, or `reconnected` ended the stream: not this task.
            return None
        finally:
            self._stream = None
            if writer is not None:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
            stream.cancel()

    def _broke(self, error: EngineError | None) -> None:
        for invocation in list(self.invocations):
            invocation.lost()
            if error is not None and error.code() in REFUSALS:
                invocation.refuse(error.again())
        level = logging.DEBUG if self._complained else logging.WARNING
        self._complained = True
        logger.log(level, "the stream of durable tasks ended (%s); opening it again", error or "closed by the engine")

    async def _write(self, stream: Stream) -> None:
        try:
            await self._registered()
            # Behind the registration: all that is waited for, and values of memos that may have been lost (D-2.3).
            self._new_waits.clear()
            queued = [item for item in self._queue if isinstance(item, pb.DurableTaskRequest)]
            await self._write_status(stream)
            for invocation in list(self.invocations):
                for message in list(invocation.unconfirmed.values()):
                    if not any(message is item for item in queued):
                        await stream.write(message)
            next_status = self._loop.time() + STATUS_SECONDS
            while True:
                await self._write_queue(stream)
                if self._loop.time() >= next_status:
                    self._new_waits.clear()
                    await self._write_status(stream)
                    next_status = self._loop.time() + STATUS_SECONDS
                elif self._new_waits:
                    waits, self._new_waits = self._new_waits, {}
                    await self._write_entries(stream, _listed(waits))
                if not self._queue and not self._new_waits:
                    self._wake.clear()
                    await self._rest(next_status)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream is over; the reader sees why.
            return

    async def _registered(self) -> None:
        """Until the engine has answered the registration (D-2.2). A write succeeds on a stream that is already refused,
        and a step that is written there is lost; other clients do not wait, so an engine may be silent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REGISTERED_SECONDS):
                await self._alive.wait()

    async def _rest(self, until: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._wake.wait()

    async def _write_queue(self, stream: Stream) -> None:
        while self._queue:
            item = self._queue.popleft()
            if not isinstance(item, Request):
                await stream.write(item)
            elif not item.answer.done():
                item.leaves(self._loop)
                await stream.write(item.message)

    async def _write_status(self, stream: Stream) -> None:
        await self._write_entries(stream, _listed({one: one.awaited for one in self.invocations}))

    async def _write_entries(self, stream: Stream, listed: Iterator[tuple[Invocation, EntryKey]]) -> None:
        while some := list(islice(listed, ENTRIES_IN_A_STATUS)):
            status = pb.DurableTaskWorkerStatusRequest(worker_id=self._worker_id)
            for invocation, (branch, node) in some:
                status.waiting_entries.add(
                    durable_task_external_id=invocation.task_id,
                    invocation_count=invocation.count,
                    branch_id=branch,
                    node_id=node,
                )
            for invocation in dict.fromkeys(invocation for invocation, _ in some):
                if invocation.highest_order:
                    status.received_satisfied_orders.add(
                        durable_task_external_id=invocation.task_id,
                        invocation_count=invocation.count,
                        highest_received_satisfied_order=invocation.highest_order,
                    )
            await stream.write(pb.DurableTaskRequest(worker_status=status))

    # --- what comes ------------------------------------------------------------------------------------------------

    def _take(self, response: pb.DurableTaskResponse) -> None:
        try:
            self._dispatch(response)
        except Exception:
            # One odd message must not break the stream of all tasks.
            logger.exception("a message of the durable stream could not be taken")

    def _dispatch(self, response: pb.DurableTaskResponse) -> None:
        kind = response.WhichOneof("message")
        if kind == "entry_completed":
            self._to(response.entry_completed.ref, lambda one: one.completed(response.entry_completed))
        elif kind == "memo_ack":
            self._to(response.memo_ack.ref, lambda one: one.answered(response))
        elif kind == "wait_for_ack":
            self._to(response.wait_for_ack.ref, lambda one: one.answered(response))
        elif kind == "trigger_runs_ack":
            self._to(response.trigger_runs_ack, lambda one: one.answered(response))
        elif kind == "eviction_ack":
            self._to(response.eviction_ack, lambda one: one.answered(response))
        elif kind == "error":
            self._to(response.error.ref, lambda one: one.refused(response.error))
        elif kind == "server_evict":
            self._server_evict(response.server_evict)

    def _to(self, place: _Place, act: Callable[[Invocation], None]) -> None:
        invocation = self._invocations.get(place.durable_task_external_id, {}).get(place.invocation_count)
        if invocation is not None:
            act(invocation)

    def _server_evict(self, notice: pb.DurableTaskServerEvictNotice) -> None:
        """The engine has given the task to somebody else: forget all up to that invocation (D-16.3)."""
        by_count = self._invocations.get(notice.durable_task_external_id, {})
        for count in [count for count in by_count if count <= notice.invocation_count]:
            logger.info(
                "durable task %s, invocation %d, was taken off this worker: %s",
                notice.durable_task_external_id,
                count,
                notice.reason,
            )
            by_count[count].evicted()


class _Place(Protocol):
    @property
    def durable_task_external_id(self) -> str: ...

    @property
    def invocation_count(self) -> int: ...


def _listed(waits: Mapping[Invocation, Mapping[EntryKey, Entry]]) -> Iterator[tuple[Invocation, EntryKey]]:
    """What is still awaited of that, as it is now: the writer pauses between messages, and things change."""
    for invocation, entries in list(waits.items()):
        for key, entry in list(entries.items()):
            if not entry.done.done():
                yield invocation, key
