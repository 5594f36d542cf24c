"""Sleeps of waiting tasks, ordered by when they end: one timer for all of them (behaviour-core C-8.8)."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence

from hatchet.core.clock import Clock

LONGEST_TIMER_SECONDS = 60.0


class Sleeps:
    """A heap of (end, run, task number). Whoever is told of an end checks itself whether that still matters."""

    def __init__(self, clock: Clock, woken: Callable[[Sequence[tuple[str, int]]], None]) -> None:
        self._clock = clock
        self._woken = woken
        self._heap: list[tuple[float, str, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, at: float, run_id: str, index: int) -> None:
        """Wake the task of the run at that time."""
        heapq.heappush(self._heap, (at, run_id, index))
        if self._timer is None or at < self._armed_for:
            self._arm()

    def ring(self) -> None:
        """Tell of the sleeps that have ended."""
        now = self._clock.now()
        due: list[tuple[str, int]] = []
        while self._heap and self._heap[0][0] <= now:
            _, run_id, index = heapq.heappop(self._heap)
            due.append((run_id, index))
        self._arm()
        if due:
            self._woken(due)

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heap.clear()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._armed_for = self._heap[0][0]
            delay = min(max(0.0, self._armed_for - self._clock.now()), LONGEST_TIMER_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(delay, self.ring)
