"""Attempts that wait for their retry delay, ordered by when it ends (behaviour-core C-6.23), and evicted ones.

The delay of an evicted attempt has no end: it waits here until it is restored (behaviour-durable D-18).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from hatchet.core.ready_task import ReadyTask


class Backoff:
    """A heap with removal by id: removed entries are skipped when they come up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, ReadyTask]] = []
        self._by_id: dict[str, ReadyTask] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_id

    def __iter__(self) -> Iterator[ReadyTask]:
        return iter(self._by_id.values())

    def get(self, task_id: str) -> ReadyTask | None:
        return self._by_id.get(task_id)

    def push(self, task: ReadyTask) -> None:
        self._sequence += 1
        self._by_id[task.id] = task
        if task.is_evicted:
            return
        heapq.heappush(self._heap, (task.ready_at, self._sequence, task))

    def discard(self, task_id: str) -> ReadyTask | None:
        return self._by_id.pop(task_id, None)

    def due(self, now: float) -> list[ReadyTask]:
        """Take out everything whose delay has ended."""
        found = []
        while self._heap and (self._heap[0][0] <= now or self._is_dead(self._heap[0][2])):
            task = heapq.heappop(self._heap)[2]
            if not self._is_dead(task):
                del self._by_id[task.id]
                found.append(task)
        return found

    def next_at(self) -> float | None:
        """When the next delay ends."""
        while self._heap and self._is_dead(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _is_dead(self, task: ReadyTask) -> bool:
        return self._by_id.get(task.id) is not task
