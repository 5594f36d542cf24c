"""Single triggers that come while others travel go together, as one bulk request.

Alone, a trigger is sent at once as what it is. Under load the requests that pile up behind two in flight share the next
one: an RPC costs the client and the engine several hundred microseconds each, an item of a bulk request about ten. The
caller sees no difference: the id comes back after the commit all the same (C-4.6), a bulk request creates nothing when
one of its items is wrong (C-4.7), and then each item is sent by itself and meets its own error. Runs with an
idempotency key stay out, because a bulk request creates the others when one collides (C-4.43).

Everything here runs on the connection thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import grpc

from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
from hatchet_contracts.workflows_pb2 import BulkTriggerWorkflowRequest
from hatchet_sdk.wire.errors import EngineError
from hatchet_sdk.wire.retry import USER_ERRORS

if TYPE_CHECKING:
    from hatchet_sdk.wire.connection import Connection

LANES = 2
LARGEST_BATCH = 200
LARGEST_BYTES = 1_000_000
SLOW_SECONDS = 1.0

ONE_ITEM_IS_WRONG = (USER_ERRORS | {grpc.StatusCode.RESOURCE_EXHAUSTED}) - {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}
"""Refusals of a bulk request that may be due to a single item."""

Waiting = tuple[TriggerWorkflowRequest, "asyncio.Future[str]"]


class _Lane:
    """The place of one request on its way. A slow one, perhaps because it is repeated, stops holding others up."""

    def __init__(self, left: Callable[[], None]) -> None:
        self._left: Callable[[], None] | None = left
        self._timer = asyncio.get_running_loop().call_later(SLOW_SECONDS, self.leave)

    def leave(self) -> None:
        """Free the place; only the first call counts."""
        self._timer.cancel()
        left, self._left = self._left, None
        if left is not None:
            left()


class Coalescer:
    """Sends single triggers; at most ``LANES`` requests are on their way."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[Waiting] = deque()
        self._in_flight = 0
        self._batches: set[asyncio.Task[None]] = set()

    async def trigger(self, request: TriggerWorkflowRequest) -> str:
        """Create one run; its id. Raises ``EngineError``."""
        if self._in_flight >= LANES:
            waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._waiting.append((request, waiter))
            return await waiter
        lane = self._depart()
        try:
            return await self._connection.calls().trigger_workflow(request)
        finally:
            lane.leave()

    def _depart(self) -> _Lane:
        self._in_flight += 1
        return _Lane(self._landed)

    def _landed(self) -> None:
        self._in_flight -= 1
        batch = self._take()
        if batch:
            task = asyncio.get_running_loop().create_task(self._send(batch, self._depart()), name="hatchet-triggers")
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        size = 0
        while self._waiting and len(batch) < LARGEST_BATCH:
            request, waiter = self._waiting[0]
            size += request.ByteSize()
            if batch and size > LARGEST_BYTES:
                break
            self._waiting.popleft()
            if not waiter.done():  # its caller was cancelled
                batch.append((request, waiter))
        return batch

    async def _send(self, batch: Sequence[Waiting], lane: _Lane) -> None:
        try:
            if len(batch) == 1:
                await self._send_alone(*batch[0])
            else:
                await self._send_together(batch)
        finally:
            for _, waiter in batch:
                waiter.cancel()  # does nothing to those that have their answer
            lane.leave()

    async def _send_together(self, batch: Sequence[Waiting]) -> None:
        request = BulkTriggerWorkflowRequest(workflows=[request for request, _ in batch])
        try:
            ids = await self._connection.calls().bulk_trigger_workflow(request)
        except EngineError as error:
            if error.code() in ONE_ITEM_IS_WRONG:
                await asyncio.gather(*(self._send_alone(request, waiter) for request, waiter in batch))
                return
            for _, waiter in batch:
                _fail(waiter, error.again())
            return
        for (_, waiter), run_id in zip(batch, ids, strict=True):
            if not waiter.done():
                waiter.set_result(run_id)

    async def _send_alone(self, request: TriggerWorkflowRequest, waiter: asyncio.Future[str]) -> None:
        try:
            run_id = await self._connection.calls().trigger_workflow(request)
        except EngineError as error:
            _fail(waiter, error)
        else:
            if not waiter.done():
                waiter.set_result(run_id)


def _fail(waiter: asyncio.Future[str], error: EngineError) -> None:
    if not waiter.done():
        waiter.set_exception(error)
