"""The chunks that the tasks of a run put into its stream, for whoever listens (behaviour-core C-7.32 to C-7.48)."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
from grpc import StatusCode

from hatchet_contracts.dispatcher_pb2 import (
    RESOURCE_EVENT_TYPE_STREAM,
    SubscribeToWorkflowEventsRequest,
    WorkflowEvent,
)
from hatchet_sdk.wire.errors import EngineError
from hatchet_sdk.wire.loop_thread import connection_thread

if TYPE_CHECKING:
    from hatchet_sdk.wire.connection import Connection

logger = logging.getLogger("hatchet_sdk")

PASSING = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED})
"""Ends of the stream after which it is opened again (C-7.36)."""
MAX_FAILURES = 10
"""So many openings in a row without an event, over about 25 s, and the listener is told that the engine is away."""
STABLE_SECONDS = 5.0
"""A stream that lived this long was fine, even if nothing happened in the run."""
LONGEST_PAUSE = 5.0

Stream = grpc.aio.UnaryStreamCall[SubscribeToWorkflowEventsRequest, WorkflowEvent]


async def chunks_of_run(connection: Connection, run_id: str) -> AsyncIterator[str]:
    """The chunks of a run in their order, until the run ends. On any event loop.

    Raises:
        EngineError: there is no such run, the engine refuses, or is away for too long.
    """
    thread = connection_thread()
    reader = ChunkReader(connection, run_id)
    try:
        # One hop for each chunk: a slow listener slows the stream down instead of filling memory.
        while (chunk := await thread.call(reader.next())) is not None:
            yield chunk
    finally:
        with suppress(RuntimeError):  # the process ends, and its connection thread before us
            thread.loop.call_soon_threadsafe(reader.close)


class ChunkReader:
    """Reads the events of one run; opens the stream again when it breaks. Only on the connection thread."""

    def __init__(self, connection: Connection, run_id: str) -> None:
        self._connection = connection
        self._run_id = run_id
        self._stream: Stream | None = None
        self._opened = 0.0
        self._failures = 0
        self._over = False
        # By task: the attempt and the index of its last chunk.
        self._last: dict[str, tuple[int, int]] = {}

    async def next(self) -> str | None:
        """The next chunk; None when the run is over."""
        while not self._over:
            event = await self._read()
            if event is None or event.hangup:
                self._over = True
            elif event.event_type == RESOURCE_EVENT_TYPE_STREAM and self._is_new(event):
                return event.event_payload
        return None

    def close(self) -> None:
        """Ends the stream."""
        self._over = True
        if self._stream is not None:
            self._stream.cancel()

    async def _read(self) -> WorkflowEvent | None:
        """The next event, from another stream if the present one broke; None when the engine closed it (C-7.41)."""
        while True:
            calls = self._connection.calls()
            if self._stream is None:
                self._stream = calls.subscribe_to_workflow_events(self._run_id)
                self._opened = asyncio.get_running_loop().time()
            try:
                event = await self._stream.read()
            except grpc.aio.AioRpcError as error:
                self._stream = None
                await self._broke(calls.explain(error, "SubscribeToWorkflowEvents"))
                continue
            self._failures = 0
            return event if isinstance(event, WorkflowEvent) else None

    def _is_new(self, event: WorkflowEvent) -> bool:
        """Not one that came before the stream broke: the engine keeps the latest chunks for new listeners (C-7.48)."""
        if not event.HasField("event_index") or not event.HasField("retry_count"):
            return True
        # A new attempt counts from 0 again (C-7.44).
        place = (event.retry_count, event.event_index)
        if place <= self._last.get(event.resource_id, (-1, -1)):
            return False
        self._last[event.resource_id] = place
        return True

    async def _broke(self, error: EngineError) -> None:
        """Returns when it is time for another try; else raises."""
        if error.code() is StatusCode.NOT_FOUND:
            raise EngineError(
                f"there is no run {self._run_id} to listen to: {error.details()}. Give the workflow_run_id of a run of"
                " this tenant",
                error.code(),
                error.details(),
                error.trailers(),
            )
        if error.code() not in PASSING:
            raise error
        if asyncio.get_running_loop().time() - self._opened >= STABLE_SECONDS:
            self._failures = 0
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            raise error
        logger.debug("the stream of run %s broke (%s); opening it again", self._run_id, error)
        pause = min(LONGEST_PAUSE, 0.1 * float(2 ** (self._failures - 1)))
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
