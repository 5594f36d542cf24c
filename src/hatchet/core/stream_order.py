"""The order of one task's stream chunks (behaviour-core C-7.42 to C-7.45).

Clients number chunks from 0 in each attempt. A chunk goes on after the one before it; one that comes early waits until
the gap fills, or 5 s, or until there is too much to keep: then the gap is given up and the order goes on behind it.
Time is whatever the caller's monotonic clock shows, in seconds.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Item = TypeVar("Item")

GAP_SECONDS = 5.0
MOST_WAITING = 1000
MOST_WAITING_SIZE = 8_000_000


class StreamOrder(Generic[Item]):
    """The chunks of one task: in as they arrive, out in order and each index once per attempt."""

    __slots__ = ("_gap", "_has_ended", "_is_fresh", "_waiting", "_waiting_size", "attempt", "following")

    def __init__(self, attempt: int = 0, following: int = 0, *, gap: float = GAP_SECONDS) -> None:
        """``following``: the next index when earlier ones went through another object of this class."""
        self.attempt = attempt
        self.following = following
        self._gap = gap
        self._has_ended = False
        self._is_fresh = following == 0
        self._waiting: dict[int, tuple[Item, int, float]] = {}
        self._waiting_size = 0

    @property
    def waiting(self) -> list[Item]:
        """The chunks that came early, in index order."""
        return [self._waiting[index][0] for index in sorted(self._waiting)]

    def holds(self, index: int | None, item: Item) -> bool:
        """Whether ``item`` waits under ``index``."""
        waiting = self._waiting.get(index) if index is not None else None
        return waiting is not None and waiting[0] is item

    def begin(self, attempt: int) -> list[Item]:
        """A later attempt starts at 0 again (C-7.44); what still waited of the one before. Others change nothing."""
        if attempt <= self.attempt:
            return []
        left = self.flush()
        self.attempt = attempt
        self.following = 0
        self._is_fresh = True
        self._has_ended = False
        return left

    def end(self, attempt: int) -> list[Item]:
        """The attempt has ended, its last chunks may still be under way (C-7.45); what waited of an earlier one."""
        left = self.begin(attempt)
        if attempt == self.attempt:
            self._has_ended = True
        return left

    def take(self, index: int | None, item: Item, now: float, *, size: int = 0, base: int = 0) -> list[Item]:
        """The chunks that may go on now that ``item`` has come.

        ``base``: where the order begins if this is the first chunk seen here: everything before it went elsewhere.
        A chunk that has been forwarded, or whose gap was given up, is dropped.
        """
        if index is None:
            return [item]
        free: list[Item] = []
        if index == 0 and self._has_ended and self.following > 0:
            # The next attempt's first chunk overtook the word that it has started (C-13.13).
            free = self.begin(self.attempt + 1)
        if self._is_fresh:
            self._is_fresh = False
            self.following = min(base, index)
        if index < self.following or index in self._waiting:
            return free
        self._waiting[index] = (item, size, now + self._gap)
        self._waiting_size += size
        free += self._in_sequence()
        while len(self._waiting) > MOST_WAITING or self._waiting_size > MOST_WAITING_SIZE:
            free += self._up_to(min(self._waiting))
        return free

    def expire(self, now: float) -> list[Item]:
        """The chunks that waited long enough, with those before them; the gaps between them are given up (C-7.43)."""
        late = [index for index, (_, _, until) in self._waiting.items() if until <= now]
        return self._up_to(max(late)) if late else []

    def flush(self) -> list[Item]:
        """Everything that waits, in index order: the end of the task follows (C-7.45)."""
        return self._up_to(max(self._waiting)) if self._waiting else []

    def _up_to(self, last: int) -> list[Item]:
        free: list[Item] = []
        for index in sorted(index for index in self._waiting if index <= last):
            free.append(self._free(index))
            self.following = index + 1
        return free + self._in_sequence()

    def _in_sequence(self) -> list[Item]:
        free: list[Item] = []
        while self.following in self._waiting:
            free.append(self._free(self.following))
            self.following += 1
        return free

    def _free(self, index: int) -> Item:
        item, size, _ = self._waiting.pop(index)
        self._waiting_size -= size
        return item
