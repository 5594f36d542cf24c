"""One run's events on their way to subscribers: ordered, held back at the end, kept a moment (behaviour-core C-7.45).

A :class:`RunStream` holds what happened to a run in the last seconds, in the order in which subscribers hear of it. It
starts no timers: :class:`~hatchet.engine.run_events.RunEvents` says when something is due. ``now`` is the event loop's
clock, in seconds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hatchet.core.run_events import RunEvent, RunEventKind
from hatchet.core.stream_order import GAP_SECONDS, StreamOrder
from hatchet.engine.event_queue import EventQueue, size_of

EXPIRE_SECONDS = 1.0
"""A busy stream forgets old events in steps of this length instead of with each event."""


@dataclass(slots=True, frozen=True)
class Windows:
    """How long things wait, in seconds."""

    hold_back: float = 0.25
    """The ends of tasks and runs, for chunks that come after them (C-7.45)."""
    gap: float = GAP_SECONDS
    """A chunk, for those before it (C-17.13)."""
    kept: float = 5.0
    """An event, for subscribers that come after it (C-7.48)."""
    unknown: float = 10.0
    """A subscriber, for its run to appear (C-17.14)."""
    settle: float = 0.1
    """A subscriber of a run that has just ended, for the word of it; between instances :attr:`hold_back` longer."""


class Budget:
    """What all streams of an instance hold together, in characters."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0


class Item:
    """An event in a stream."""

    __slots__ = ("base", "event", "is_held", "number", "size")

    def __init__(self, event: RunEvent, number: int | None, base: int = 0) -> None:
        """``number``: its place among the events of this instance, None for one that came from another instance.

        ``base``: for a chunk, the index below which all have gone another way.
        """
        self.event = event
        self.number = number
        self.base = base
        self.size = size_of(event)
        self.is_held = False


class RunStream:
    """The events of one run."""

    __slots__ = (
        "_budget",
        "_entries",
        "_held",
        "_orders",
        "_size",
        "_tasks",
        "_windows",
        "end",
        "end_seen",
        "is_closed",
        "is_relayed",
        "numbers",
        "pairs",
        "run_id",
        "subscribers",
        "tenant_id",
        "touched",
    )

    def __init__(self, tenant_id: str, run_id: str, budget: Budget, windows: Windows) -> None:
        self.tenant_id = tenant_id
        self.run_id = run_id
        self.touched = 0.0
        self.pairs: frozenset[str] | None = None
        """The run's metadata as digests; None while nobody asked for it."""
        self.subscribers: dict[EventQueue, None] = {}
        self.end: Item | None = None
        """The run's end, while it is held back and afterwards."""
        self.end_seen: asyncio.Event | None = None
        self.is_closed = False
        """The end has been told, or the stream was dropped: nothing is taken any more."""
        self.is_relayed = False
        """Whether other instances have what this stream holds."""
        self.numbers: dict[str, int] = {}
        """By instance: the number of the last event that came from there."""
        self._budget = budget
        self._windows = windows
        self._size = 0
        # A list: an empty deque takes ten times the memory, and most streams see three events.
        self._entries: list[tuple[float, Item]] = []
        self._held: list[Item] = []
        self._tasks: dict[str, tuple[int, int | None]] = {}
        self._orders: dict[str, StreamOrder[Item]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether dropping the stream loses nothing but the places of its chunks."""
        if self.subscribers or self._entries or self._held or self.end:
            return False
        return not any(order.waiting for order in self._orders.values())

    def positions(self) -> dict[str, tuple[int, int]]:
        """By task: the attempt and the next index of its chunks."""
        return {task_id: (order.attempt, order.following) for task_id, order in self._orders.items()}

    def know(self, task_id: str, position: tuple[int, int]) -> None:
        """Go on with a task's chunks where an earlier stream of the run stopped."""
        self._orders[task_id] = StreamOrder(*position, gap=self._windows.gap)
        self._tasks.setdefault(task_id, (position[0], None))

    def has_order(self, task_id: str) -> bool:
        """Whether chunks of the task have been seen."""
        return task_id in self._orders

    def is_waiting(self, item: Item) -> bool:
        """Whether the chunk waits for those before it."""
        order = self._orders.get(item.event.task_id or "")
        return order is not None and order.holds(item.event.index, item)

    def take(self, item: Item, now: float) -> bool:
        """Take an event; False when it changes nothing (a chunk that was here before, a second end)."""
        event = item.event
        if event.task_id is None:
            return self._take_end(item)
        if event.kind is RunEventKind.STREAM:
            return self._take_chunk(event.task_id, item, now)
        self._add(item)
        if event.kind is RunEventKind.STARTED:
            self._take_start(event.task_id, item, now)
        else:
            order = self._orders.get(event.task_id)
            if order is not None:
                self._emit(order.end(event.retry_count or 0), now)
            item.is_held = True
            self._held.append(item)
        return True

    def release(self, item: Item, now: float) -> None:
        """The hold-back of an attempt's end is over: its waiting chunks go first, in order."""
        if not item.is_held or self.is_closed:
            return
        item.is_held = False
        self._held.remove(item)
        order = self._orders.get(item.event.task_id or "")
        if order is not None and order.attempt == item.event.retry_count:
            self._emit(order.flush(), now)
        self._emit([item], now)

    def expire_gap(self, task_id: str, now: float) -> None:
        """Chunks of the task may have waited long enough (C-7.43)."""
        order = self._orders.get(task_id)
        if order is not None and not self.is_closed:
            self._emit(order.expire(now), now)

    def finish(self, now: float) -> None:
        """The hold-back of the run's end is over: everything that is left, then the end."""
        if self.is_closed or self.end is None:
            return
        for held in list(self._held):
            self.release(held, now)
        for order in self._orders.values():
            self._emit(order.flush(), now)
        self._emit([self.end], now)
        self.close()

    def close(self) -> None:
        """Take no more; the events stay for whoever still holds the stream."""
        self.is_closed = True
        self._budget.used -= self._size
        self._size = 0

    def expire(self, now: float) -> None:
        """Forget what was kept long enough."""
        count = 0
        for until, item in self._entries:
            if until > now:
                break
            self._remove(item)
            count += 1
        del self._entries[:count]

    def forget(self) -> None:
        """Forget everything that subscribers have heard already."""
        self.expire(float("inf"))

    def attach(self, queue: EventQueue) -> None:
        """A subscriber hears what is kept, and everything from now on."""
        if queue in self.subscribers:
            return
        self.subscribers[queue] = None
        queue.sees(self.run_id)
        for _, item in self._entries:
            queue.offer(item.event)

    def own_items(self) -> list[Item]:
        """What came in at this instance and is still here, in the order in which it came."""
        items = [item for _, item in self._entries]
        items += self._held
        items += [item for order in self._orders.values() for item in order.waiting]
        if self.end is not None and not self.is_closed:
            items.append(self.end)
        own = [(item.number, item) for item in items if item.number is not None]
        return [item for _, item in sorted(own, key=lambda pair: pair[0])]

    def _take_end(self, item: Item) -> bool:
        if self.end is not None:
            return False
        self.end = item
        self._add(item)
        if self.end_seen is not None:
            self.end_seen.set()
        return True

    def _take_start(self, task_id: str, item: Item, now: float) -> None:
        attempt = item.event.retry_count or 0
        if self._held:
            # The end of the attempt before comes first.
            for held in [held for held in self._held if held.event.task_id == task_id]:
                self.release(held, now)
        self._tasks[task_id] = (attempt, item.event.task_retries)
        order = self._orders.get(task_id)
        if order is not None:
            self._emit(order.begin(attempt), now)
        self._emit([item], now)

    def _take_chunk(self, task_id: str, item: Item, now: float) -> bool:
        event = item.event
        known = self._tasks.get(task_id)
        order = self._orders.get(task_id)
        if order is None:
            self._orders[task_id] = order = StreamOrder(known[0] if known else 0, gap=self._windows.gap)
        if event.retry_count is not None:
            if event.retry_count < order.attempt:
                return False
            self._emit(order.begin(event.retry_count), now)
        if item.number is not None:
            item.base = order.following
        attempt = order.attempt
        free = order.take(event.index, item, now, size=item.size, base=item.base)
        is_taken = item in free or order.holds(event.index, item)
        if is_taken:
            self._add(item)
            if order.attempt != attempt:
                item.base = 0
            if known is not None:
                event.retry_count, event.task_retries = order.attempt, known[1]
        self._emit(free, now)
        return is_taken

    def _emit(self, items: list[Item], now: float) -> None:
        if not items:
            return
        if self._entries and self._entries[0][0] + EXPIRE_SECONDS <= now:
            self.expire(now)
        until = now + self._windows.kept
        for item in items:
            self._entries.append((until, item))
            for queue in self.subscribers:
                queue.offer(item.event)

    def _add(self, item: Item) -> None:
        self._size += item.size
        self._budget.used += item.size

    def _remove(self, item: Item) -> None:
        if not self.is_closed:
            self._size -= item.size
            self._budget.used -= item.size
