"""What waits for one subscriber of run events, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace

from hatchet.core.errors import HatchetError, ResourceExhausted
from hatchet.core.run_events import RunEvent

MOST_EVENTS = 20_000
MOST_CHARACTERS = 16_000_000
EVENT_SIZE = 300
"""What an event without a payload takes, in the unit of the bounds, roughly."""


def size_of(event: RunEvent) -> int:
    """What an event takes in memory, in characters."""
    return len(event.payload) + EVENT_SIZE


class EventQueue:
    """One subscriber's events: an asynchronous iterator that ends after the last one (behaviour-core C-7.34, C-7.39).

    Iterating raises :class:`ResourceExhausted` when the subscriber is too slow, so that memory stays bounded, and
    whatever error :meth:`fail` was given.
    """

    def __init__(self, *, many_runs: bool = False) -> None:
        """``many_runs``: the last event is the end of the last run seen, not of the first."""
        self._task_id: str | None = None
        self._open_runs: set[str] | None = set() if many_runs else None
        self._events: deque[RunEvent] = deque()
        self._size = 0
        self._is_over = False
        self._error: HatchetError | None = None
        self._wake = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is taken."""
        return self._is_over

    def only(self, task_id: str) -> None:
        """Leave out other tasks' events from now on; the run's end still ends the queue (C-0.7)."""
        self._task_id = task_id

    def sees(self, run_id: str) -> None:
        """This run counts for the end, also before its first event (C-7.39)."""
        if self._open_runs is not None:
            self._open_runs.add(run_id)

    def offer(self, event: RunEvent) -> None:
        """Queue an event of a run that this subscriber follows."""
        if self._is_over:
            return
        if event.task_id is None:
            event = self._last(event)
        elif self._task_id is not None and event.task_id != self._task_id:
            return
        size = size_of(event)
        if len(self._events) >= MOST_EVENTS or (self._events and self._size + size > MOST_CHARACTERS):
            self.fail(
                ResourceExhausted(
                    f"the subscriber is too slow: {len(self._events)} events wait for it. Subscribe again, and read "
                    "the stream as fast as the tasks write to it"
                )
            )
            return
        self._events.append(event)
        self._size += size
        self._is_over = event.is_last
        self._wake.set()

    def end(self) -> None:
        """End now, without what is queued."""
        self._events.clear()
        self._size = 0
        self._is_over = True
        self._wake.set()

    def fail(self, error: HatchetError) -> None:
        """End now with an error, unless the end is queued already."""
        if not self._is_over:
            self._error = error
            self.end()

    def __aiter__(self) -> EventQueue:
        return self

    async def __anext__(self) -> RunEvent:
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._is_over:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        event = self._events.popleft()
        self._size -= size_of(event)
        return event

    def _last(self, event: RunEvent) -> RunEvent:
        if self._open_runs is None:
            return replace(event, is_last=True)
        self._open_runs.discard(event.run_id)
        return replace(event, is_last=not self._open_runs)
