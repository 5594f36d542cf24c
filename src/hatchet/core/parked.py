"""Tasks that wait for units of rate limits, in the order in which they will get them (behaviour-core C-10.16, C-10.17).

Tasks that need the same keys stand in one lane, and what its head lacks, those behind it lack too; so a refill costs
as much as the units that came back, however many tasks wait. A lane waits on one key at a time. A task whose units
exceed a limit stands aside until the key is defined anew (C-10.14), and keeps nobody waiting.

Everything here can be rebuilt from rows. Schedule timeouts go on (C-6.34); :mod:`hatchet.core.deadlines` knows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from hatchet.core.deadlines import WAITING
from hatchet.core.promises import Promises
from hatchet.core.rate_limits import Lack, RateLimits
from hatchet.core.ready_task import ReadyTask

LOOKS = 5000
"""How many tasks one call of :meth:`ParkedTasks.due` looks at; the next call goes on."""
STEP_BACK_SECONDS = 0.1
"""By how much the clock must have gone back for all keys to be looked at again."""
SPARE = 1000

Order = tuple[int, float, str]


def order_of(task: ReadyTask) -> Order:
    """Priority, then first in, first out (C-10.17)."""
    return -task.level, task.ready_at, task.id


class _Lane:
    """The tasks that need the same keys; a heap, in which those that left stay until they come up."""

    __slots__ = ("heap", "keys", "size", "ticket", "waits_on")

    def __init__(self, keys: tuple[str, ...], waits_on: str) -> None:
        self.keys = keys
        self.waits_on = waits_on
        self.heap: list[tuple[Order, int, ReadyTask]] = []
        self.size = 0
        """Number of tasks that wait."""
        self.ticket = 0
        """Its present place in the line of the key; older entries there are void."""


@dataclass(slots=True)
class _Line:
    """The lanes that wait on one key, by their heads."""

    size: int = 0
    """Number of tasks in them."""
    heap: list[tuple[Order, int, _Lane]] = field(default_factory=list)


class ParkedTasks:
    """The tasks of a tenant that wait for units. One task per id."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        limits.listen(self._heard)
        self._by_id: dict[str, tuple[ReadyTask, _Lane | None]] = {}
        """Without a lane: aside."""
        self._lanes: dict[tuple[str, ...], _Lane] = {}
        self._lines: dict[str, _Line] = {}
        self._aside: dict[str, list[tuple[int, int, ReadyTask]]] = {}
        """By key: heaps by the units that are too many."""
        self._awake: dict[str, None] = {}
        """Keys to look at, in order."""
        self._redefined: set[str] = set()
        self._wakes: list[tuple[float, str]] = []
        self._wakes_at: dict[str, float] = {}
        self._promises = Promises()
        self._sequence = 0
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_id

    def __iter__(self) -> Iterator[ReadyTask]:
        return (task for task, _ in self._by_id.values())

    def get(self, task_id: str) -> ReadyTask | None:
        found = self._by_id.get(task_id)
        return None if found is None else found[0]

    def has(self, key: str) -> bool:
        """Whether somebody waits on the key: then newcomers go behind."""
        return key in self._lines

    def lack(self, task: ReadyTask, now: float) -> Lack | None:
        """What a newcomer must wait for: what it lacks, or that others wait on one of its keys; None: it may go on."""
        lack = self._limits.lack(task.limits.units, now, self._promises.of_keys(task))
        if lack is not None:
            return lack
        for want in task.limits.units:
            if want.key in self._lines:
                return Lack(want.key, 0, want.units, self._wakes_at.get(want.key, now))
        return None

    def push(self, task: ReadyTask, lack: Lack, now: float) -> None:
        """Park a task, which is in no queue, until its units are there. One that is already here is left as it is."""
        if task.id in self._by_id:
            return
        self._follow(now)
        self._wake(self._promises.end(task.id))
        task.place = WAITING
        if self._is_too_much(lack):
            self._step_aside(task, lack)
        else:
            self._queue(task, lack.key)

    def discard(self, task_id: str) -> ReadyTask | None:
        """Take a task out (cancelled, timed out); None when it does not wait here. Its ``place`` is left as it is.

        To be called, too, when a task that was released has taken its units or will not take them any more.
        """
        self._wake(self._promises.end(task_id))
        found = self._by_id.pop(task_id, None)
        if found is None:
            return None
        task, lane = found
        if lane is not None:
            self._left(lane)
            self._wake((lane.waits_on,))
        return task

    def due(self, now: float) -> list[ReadyTask]:
        """Take out the tasks whose units are there, in order; the units are left for them until they take them."""
        self._follow(now)
        while self._wakes and self._wakes[0][0] <= now:
            at, key = heappop(self._wakes)
            if self._wakes_at.get(key) == at:
                del self._wakes_at[key]
                self._awake[key] = None
                self._wake(self._promises.forget_kept(key))
        released: list[ReadyTask] = []
        looks = LOOKS
        while self._awake and looks > 0:
            key = next(iter(self._awake))
            looks = self._serve(key, now, looks, released)
        return released

    def next_at(self) -> float | None:
        """When to call :meth:`due` again; a time that has passed: at once. None: not before something changes."""
        if self._awake:
            return self._now
        while self._wakes and self._wakes_at.get(self._wakes[0][1]) != self._wakes[0][0]:
            heappop(self._wakes)
        return self._wakes[0][0] if self._wakes else None

    def changed(self, key: str) -> None:
        """The key was defined anew, paused or deleted; its :class:`RateLimits` tells that by itself."""
        self._heard(key, True)

    def _follow(self, now: float) -> None:
        if now < self._now - STEP_BACK_SECONDS:
            self._wake(self._lines)
        self._now = now

    def _serve(self, key: str, now: float, looks: int, released: list[ReadyTask]) -> int:
        """Go along the line of a key; how many looks are left. The key stays awake when there are none."""
        looks = self._readmit(key, looks)
        while looks > 0:
            lane = self._first(key)
            if lane is None:
                break
            looks -= 1
            task = lane.heap[0][-1]
            lack = self._limits.lack(task.limits.units, now, self._promises.of_keys(task))
            if lack is None:
                before = self._overtaken(task, lane)
                if before is None:
                    released.append(self._release(task, lane))
                else:
                    self._move(lane, before)
            elif self._is_too_much(lack):
                heappop(lane.heap)
                self._left(lane)
                self._step_aside(task, lack)
            else:
                self._wake_at(lack)
                if lack.key == key:
                    break
                self._move(lane, lack.key)
        if looks > 0 and key not in self._redefined:
            self._awake.pop(key, None)
        return looks

    def _readmit(self, key: str, looks: int) -> int:
        """Those that stood aside and fit into the new definition go back into the line."""
        if key not in self._redefined:
            return looks
        aside = self._aside.get(key, [])
        most = self._limits.limit_of(key)
        while aside and looks > 0 and (most is None or aside[0][0] <= most):
            looks -= 1
            _, _, task = heappop(aside)
            if self._is_aside(task):
                self._queue(task, key)
        if not aside:
            self._aside.pop(key, None)
        if looks > 0:
            self._redefined.discard(key)
        return looks

    def _first(self, key: str) -> _Lane | None:
        """The lane that comes first of those that wait on the key."""
        line = self._lines.get(key)
        while line is not None and line.heap:
            order, ticket, lane = line.heap[0]
            if lane.ticket == ticket and lane.size:
                head = self._head(lane)
                if head == order:
                    return lane
                self._enter(lane, head)
            else:
                heappop(line.heap)
        return None

    def _head(self, lane: _Lane) -> Order:
        while not self._is_in(lane.heap[0][-1], lane):
            heappop(lane.heap)
        return lane.heap[0][0]

    def _overtaken(self, task: ReadyTask, lane: _Lane) -> str | None:
        """A key that somebody waits on who comes before ``task``."""
        for key in lane.keys:
            if key != lane.waits_on and (other := self._first(key)) is not None and other.heap[0][0] < order_of(task):
                return key
        return None

    def _release(self, task: ReadyTask, lane: _Lane) -> ReadyTask:
        heappop(lane.heap)
        del self._by_id[task.id]
        self._left(lane)
        self._promises.add(task)
        return task

    def _wake(self, keys: Iterable[str]) -> None:
        self._awake.update((key, None) for key in keys if key in self._lines)

    def _queue(self, task: ReadyTask, key: str) -> None:
        keys = tuple(want.key for want in task.limits.units)
        lane = self._lanes.get(keys)
        if lane is None:
            lane = self._lanes[keys] = _Lane(keys, key)
        order = order_of(task)
        is_first = not lane.size or order < self._head(lane)
        self._sequence += 1
        heappush(lane.heap, (order, self._sequence, task))
        lane.size += 1
        self._by_id[task.id] = (task, lane)
        line = self._lines.setdefault(lane.waits_on, _Line())
        line.size += 1
        if is_first:
            self._enter(lane, order)
        if len(lane.heap) > 2 * lane.size + SPARE:
            lane.heap = [entry for entry in lane.heap if self._is_in(entry[-1], lane)]
            heapify(lane.heap)

    def _enter(self, lane: _Lane, head: Order) -> None:
        """Give the lane its place in the line; whoever comes first there is looked at."""
        heap = self._lines[lane.waits_on].heap
        self._sequence += 1
        lane.ticket = self._sequence
        heappush(heap, (head, lane.ticket, lane))
        if heap[0][1] == lane.ticket:
            self._awake[lane.waits_on] = None

    def _move(self, lane: _Lane, key: str) -> None:
        """The lane waits on another key."""
        head = self._head(lane)
        self._shrink(lane.waits_on, lane.size)
        lane.waits_on = key
        self._lines.setdefault(key, _Line()).size += lane.size
        self._enter(lane, head)

    def _left(self, lane: _Lane) -> None:
        """One task less is in the lane."""
        lane.size -= 1
        if not lane.size:
            del self._lanes[lane.keys]
        self._shrink(lane.waits_on, 1)

    def _shrink(self, key: str, count: int) -> None:
        line = self._lines[key]
        line.size -= count
        if not line.size:
            del self._lines[key]
            self._wakes_at.pop(key, None)

    def _step_aside(self, task: ReadyTask, lack: Lack) -> None:
        self._sequence += 1
        self._by_id[task.id] = (task, None)
        aside = self._aside.setdefault(lack.key, [])
        if len(aside) > 2 * len(self._by_id) + SPARE:
            aside[:] = [entry for entry in aside if self._is_aside(entry[-1])]
            heapify(aside)
        heappush(aside, (lack.units, self._sequence, task))

    def _wake_at(self, lack: Lack) -> None:
        known = self._wakes_at.get(lack.key)
        if lack.wakes_at is not None and (known is None or lack.wakes_at < known):
            self._wakes_at[lack.key] = lack.wakes_at
            if len(self._wakes) > 2 * len(self._wakes_at) + SPARE:
                self._wakes = [(at, key) for key, at in self._wakes_at.items() if key != lack.key]
                heapify(self._wakes)
            heappush(self._wakes, (lack.wakes_at, lack.key))

    def _heard(self, key: str, is_redefined: bool) -> None:
        is_aside = is_redefined and key in self._aside
        if is_aside:
            self._redefined.add(key)
        if is_aside or key in self._lines:
            self._awake[key] = None

    def _is_too_much(self, lack: Lack) -> bool:
        return lack.wakes_at is None and lack.key in self._limits

    def _is_in(self, task: ReadyTask, lane: _Lane) -> bool:
        found = self._by_id.get(task.id)
        return found is not None and found[0] is task and found[1] is lane

    def _is_aside(self, task: ReadyTask) -> bool:
        found = self._by_id.get(task.id)
        return found is not None and found[0] is task and found[1] is None
