"""The lowest id among things that come and go, for the low-watermark of a tenant's tasks."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")

SPARE = 1000


class Oldest(Generic[T]):
    """A heap by id. Things leave without saying so: what is not alive any more is dropped when it comes up.

    Adding in the order of the ids costs next to nothing. At most twice as many things are kept as are alive, and 1000.
    """

    __slots__ = ("_heap", "_is_alive", "_room", "_sequence")

    def __init__(self, is_alive: Callable[[T], bool]) -> None:
        self._is_alive = is_alive
        self._heap: list[tuple[str, int, T]] = []
        self._room = SPARE
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, id: str, thing: T) -> None:  # noqa: A002
        """Take a thing in; it must be alive by the next call."""
        if len(self._heap) >= self._room:
            self._heap = [entry for entry in self._heap if self._is_alive(entry[2])]
            heapify(self._heap)
            self._room = 2 * len(self._heap) + SPARE
        self._sequence += 1
        heappush(self._heap, (id, self._sequence, thing))

    def lowest(self) -> str | None:
        """The lowest id that is alive."""
        while self._heap and not self._is_alive(self._heap[0][2]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None
