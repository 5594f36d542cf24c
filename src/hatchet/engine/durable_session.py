"""One worker's durable stream: requests come in, responses go out in the order in which they were decided."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

import structlog

from hatchet.core.durable_messages import EntryCompleted, MemoAck, Request, Response, SendResponse
from hatchet.core.errors import ResourceExhausted, Unavailable

if TYPE_CHECKING:
    from hatchet.engine.durable_streams import DurableStreams

log = structlog.get_logger("hatchet.engine")


MOST_RESPONSES = 50_000
MOST_CHARACTERS = 64_000_000
"""What may wait for one worker, so that memory stays bounded."""
RESPONSE_SIZE = 300
"""What a response without a payload takes, in characters, roughly."""


class DurableSession:
    """A stream that a worker opened (behaviour-durable D-2)."""

    def __init__(
        self, durable: DurableStreams, tenant_id: str, worker_id: str, send: SendResponse, *, in_order: bool
    ) -> None:
        """``in_order``: the worker hands completions over in the order in which they come (D-15.16)."""
        self.tenant_id = tenant_id
        self.worker_id = worker_id
        self.in_order = in_order
        self.is_closed = False
        self._durable = durable
        self._send = send
        self._outbox: deque[Response] = deque()
        self._size = 0
        self._is_too_slow = False
        self._wake = asyncio.Event()
        self._pumping = asyncio.create_task(self._pump(), name=f"durable stream of {worker_id}")

    def handle(self, request: Request) -> None:
        """Take a request; those of one task are answered in their order, those of others beside them (D-2.6).

        Raises ResourceExhausted when too many responses wait for the worker: the stream has to end, and the worker asks
        again on its next one.
        """
        if self._is_too_slow:
            raise ResourceExhausted(
                "the worker reads its durable stream too slowly: more than it may hold back waits for it. Open the "
                "stream again, and read it as fast as it comes"
            )
        if not self.is_closed:
            self._durable.take(self, request)

    def push(self, response: Response) -> None:
        """Send a response after those that were pushed before."""
        if self.is_closed:
            return
        self._size += _size_of(response)
        if self._outbox and (len(self._outbox) >= MOST_RESPONSES or self._size > MOST_CHARACTERS):
            log.warning("a worker reads its durable stream too slowly", worker=self.worker_id)
            self.is_closed = self._is_too_slow = True
            self._outbox.clear()
            return
        self._outbox.append(response)
        self._wake.set()

    async def close(self) -> None:
        """The stream is over; tasks go on, and what was not sent is asked for on the next stream (D-2.7)."""
        self.is_closed = True
        self._pumping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pumping

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox:
                response = self._outbox.popleft()
                self._size -= _size_of(response)
                try:
                    await self._send(response)
                except Unavailable as error:
                    # The worker asks again on its next stream.
                    log.info("a durable stream is gone", worker=self.worker_id, error=error.message)
                    self.is_closed = True
                    self._outbox.clear()
                    return
                except Exception as error:
                    # One response that cannot be sent must not keep the others back.
                    log.error("a durable response was not sent", worker=self.worker_id, exc_info=error)


def _size_of(response: Response) -> int:
    payload = response.payload if isinstance(response, (EntryCompleted, MemoAck)) else None
    return RESPONSE_SIZE + len(payload or "")
