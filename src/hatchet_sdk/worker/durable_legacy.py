"""Durable tasks with an engine before v0.80.0 (behaviour-durable D-1.3, D-26): waits by name, no log, no eviction.

A wait is registered under (task run, signal key) and survives as long as the keys are the same every time. Memos live
in this process, child runs are ordinary ones. Connection thread only.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import grpc
from pydantic_core import from_json

from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_sdk.context.durable_log import Completion, DurableSpawnResult, Memo
from hatchet_sdk.exceptions import EvictionNotSupportedError

if TYPE_CHECKING:
    from hatchet_contracts.v1.shared.condition_pb2 import DurableEventListenerConditions
    from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.worker.durable_stream import Link

logger = logging.getLogger("hatchet.worker")

WAIT_SECONDS = (0.1, 3.0)
"""The pause before the stream is opened again: the first, and the longest."""
MEMOS = 10_000
"""So many memos are remembered."""

WaitKey = tuple[str, str]
Stream = grpc.aio.StreamStreamCall[pb.ListenForDurableEventRequest, pb.DurableEvent]


class LegacyWaits:
    """The waits of a worker, and its memos."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.memos: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        self._open: dict[WaitKey, asyncio.Future[bytes]] = {}
        self._users: Counter[WaitKey] = Counter()
        self._unsent: deque[WaitKey] = deque()
        self._wake = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def ended(self, key: WaitKey) -> bytes:
        """The data of a registered wait, once it is over."""
        waiter = self._open.get(key)
        if waiter is None:
            waiter = self._open[key] = self._loop.create_future()
            self._unsent.append(key)
            self._wake.set()
        if self._serving is None:
            self._serving = self._loop.create_task(self._serve(), name="hatchet-durable-waits")
        self._users[key] += 1
        try:
            return await asyncio.shield(waiter)
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                self._open.pop(key, None)

    def remember(self, key: tuple[str, bytes], value: bytes) -> None:
        """Keep the value of a memo; the oldest make room."""
        self.memos[key] = value
        while len(self.memos) > MEMOS:
            self.memos.popitem(last=False)

    async def close(self) -> None:
        """Ends the stream."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        for waiter in self._open.values():
            waiter.cancel()

    async def _serve(self) -> None:
        first, longest = WAIT_SECONDS
        wait = first
        while True:
            opened = self._loop.time()
            await self._one_stream()
            if self._loop.time() - opened > longest:
                wait = first
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(wait * 2, longest)

    async def _one_stream(self) -> None:
        # All that is open is asked for again: an answer may have been lost with the last stream (D-26.3).
        self._unsent = deque(self._open)
        stream = self.link.calls.listen_for_durable_event()
        writer = self._loop.create_task(self._write(stream))
        try:
            while isinstance(event := await stream.read(), pb.DurableEvent):
                waiter = self._open.get((event.task_id, event.signal_key))
                if waiter is not None and not waiter.done():
                    waiter.set_result(event.data)
        except grpc.aio.AioRpcError as error:
            logger.debug("the stream of durable waits ended (%s); opening it again", error.details())
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling() > 0:
                raise
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            stream.cancel()

    async def _write(self, stream: Stream) -> None:
        try:
            while True:
                while self._unsent:
                    task_id, signal_key = self._unsent.popleft()
                    await stream.write(pb.ListenForDurableEventRequest(task_id=task_id, signal_key=signal_key))
                self._wake.clear()
                await self._wake.wait()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return


class LegacyInvocation:
    """Is a `DurableLog`, as far as such an engine allows."""

    logs_children = False

    def __init__(self, task_id: str, waits: LegacyWaits, engine_version: str) -> None:
        self._task_id = task_id
        self._waits = waits
        self._engine_version = engine_version
        self._ended = False
        self._waiting: set[asyncio.Task[Any]] = set()

    def serves(self, config: ClientConfig) -> bool:
        return False

    async def wait(self, conditions: DurableEventListenerConditions, *, signal_key: str, label: str | None) -> Any:
        if self._ended:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            request = pb.RegisterDurableEventRequest(
                task_id=self._task_id, signal_key=signal_key, conditions=conditions
            )
            await self._waits.link.calls.register_durable_event(request)
            data = await self._waits.ended((self._task_id, signal_key))
        finally:
            self._waiting.discard(task)
        return from_json(data) if data else {}

    async def memo(self, key: bytes) -> Memo:
        return Memo(0, 0, self._waits.memos.get((self._task_id, key)))

    async def complete_memo(self, memo: Memo, key: bytes, value: bytes) -> None:
        self._waits.remember((self._task_id, key), value)

    async def spawn(self, requests: Sequence[TriggerWorkflowRequest]) -> list[DurableSpawnResult]:
        raise EvictionNotSupportedError(self._engine_version)

    def knows_child(self, run_id: str) -> bool:
        return False

    async def children_ended(self, run_ids: Sequence[str], *, stop_at_failure: bool) -> list[Completion | None]:
        raise EvictionNotSupportedError(self._engine_version)

    def end(self) -> None:
        """Cancels what waits."""
        self._ended = True
        for task in self._waiting:
            task.cancel()
