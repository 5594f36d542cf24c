"""Sleeps of waiting tasks, ordered by when they end: one timer for all of them (behaviour-core C-8.8)."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence

from hatchet.core.clock import Clock

LONGEST_TIMER_SECONDS = 60.0


DEAD_ENTRIES = 100
"""How many forgotten sleeps stay in the heap, besides as many as there are others."""


class Sleeps:
    """For each waiting task the end of its next sleep. Whoever is told of an end checks whether that still matters."""

    def __init__(self, clock: Clock, woken: Callable[[Sequence[tuple[str, int]]], None]) -> None:
        self._clock = clock
        self._woken = woken
        self._by_run: dict[str, dict[int, float]] = {}
        self._count = 0
        self._heap: list[tuple[float, str, int]] = []
        """What is not in ``_by_run`` with that time was forgotten."""
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0

    def __len__(self) -> int:
        return self._count

    def push(self, at: float, run_id: str, index: int) -> None:
        """Wake the task of the run at that time, and at no other."""
        of_run = self._by_run.setdefault(run_id, {})
        if of_run.get(index) == at:
            return
        self._count += index not in of_run
        of_run[index] = at
        heapq.heappush(self._heap, (at, run_id, index))
        if self._timer is None or at < self._armed_for:
            self._arm()

    def end_of(self, run_id: str, index: int) -> float | None:
        """When the task is to be woken; None when it does not sleep."""
        return self._by_run.get(run_id, {}).get(index)

    def forget(self, run_id: str, index: int | None = None) -> None:
        """The task, or no task of the run, sleeps any more; a sleep of days must not outlive its run in memory."""
        of_run = self._by_run.get(run_id)
        if of_run is None:
            return
        for number in list(of_run) if index is None else [index]:
            self._count -= of_run.pop(number, None) is not None
        if not of_run:
            del self._by_run[run_id]
        if len(self._heap) > 2 * self._count + DEAD_ENTRIES:
            self._heap = [entry for entry in self._heap if self._is_alive(entry)]
            heapq.heapify(self._heap)

    def ring(self) -> None:
        """Tell of the sleeps that have ended."""
        now = self._clock.now()
        due: list[tuple[str, int]] = []
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._is_alive(entry):
                due.append(entry[1:])
                self.forget(*entry[1:])
        self._arm()
        if due:
            self._woken(due)

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heap.clear()
        self._by_run.clear()
        self._count = 0

    def _is_alive(self, entry: tuple[float, str, int]) -> bool:
        at, run_id, index = entry
        return self._by_run.get(run_id, {}).get(index) == at

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._armed_for = self._heap[0][0]
            delay = min(max(0.0, self._armed_for - self._clock.now()), LONGEST_TIMER_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(delay, self.ring)
