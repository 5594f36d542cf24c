"""The ready attempts of one batch task that have one group key: the data of :mod:`hatchet.core.batches`."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence

from hatchet.core.deadlines import GONE, TAKEN, WAITING
from hatchet.core.ready_task import LEVELS, ReadyTask
from hatchet.core.rules import BatchRule

MAX_BYTES = 4_000_000
"""Bytes of inputs that go to a worker in one batch (C-16.9); an input that is larger goes alone."""

MAX_MESSAGE_BYTES = 4_190_000
"""What fits into one message to a worker: inputs and what is written around each (C-16.20)."""

ITEM_BYTES = 220
"""What is written around an input, at most: ids and the members that clients require."""

SPARE = 100
"""Entries of taken-out attempts that a level may keep besides as many as it has waiting ones."""

FEW = 4
"""Attempts that are returned one by one; more are merged."""

GroupId = tuple[str, str]
"""Step id and rendered group key (C-16.5)."""


def group_of(task: ReadyTask) -> GroupId:
    """The group in which an attempt of a batch task is buffered."""
    return task.step.id, task.limits.batch_key or ""


class Group:
    """Attempts in the order in which they go: highest level first, then oldest (C-16.7).

    There may be as many groups as attempts, so a group is small until it has levels.
    """

    __slots__ = ("_levels", "_next", "bytes", "deadline", "has_waited", "id", "refused", "rule", "size")

    def __init__(self, id: GroupId, rule: BatchRule, deadline: float) -> None:  # noqa: A002
        self.id = id
        self.rule = rule
        self.deadline = deadline
        """When its interval is over, seconds since 1970; renewed by :meth:`renew`."""
        self.has_waited = False
        """Whether an interval was over and its attempts have not gone since."""
        self.refused: ReadyTask | None = None
        """The first attempt when no worker had room for it; another one may fit elsewhere."""
        self.size = 0
        """Number of waiting attempts; the levels may also hold some that are GONE."""
        self.bytes = 0
        self._levels: list[list[ReadyTask] | None] = [None] * LEVELS
        self._next: tuple[list[ReadyTask], bool] | None = None

    def __iter__(self) -> Iterator[ReadyTask]:
        for tasks in reversed(self._levels):
            for task in tasks or ():
                if task.place == WAITING:
                    yield task

    @property
    def is_full(self) -> bool:
        """Whether a batch may go before the interval is over."""
        return self.size >= self.rule.max_size or _is_too_large(self.size, self.bytes)

    @property
    def interval(self) -> float:
        """Seconds."""
        return self.rule.interval_ms / 1000

    def renew(self, now: float) -> None:
        """A new interval begins."""
        self.deadline = now + self.interval

    def may_fit_better(self, task: ReadyTask) -> bool:
        """Whether ``task`` comes before the attempt that no worker had room for."""
        refused = self.refused
        return refused is not None and (-task.level, _age(task)) < (-refused.level, _age(refused))

    def next_batch(self) -> tuple[list[ReadyTask], bool]:
        """What goes next, and whether one more attempt was there that would have made it too large (C-16.9)."""
        if self._next is None:
            self._next = self._choose()
        return self._next

    def _choose(self) -> tuple[list[ReadyTask], bool]:
        for level, tasks in enumerate(self._levels):
            if tasks and tasks[0].place != WAITING:
                self._drop_gone(level, SPARE)
        chosen: list[ReadyTask] = []
        total = 0
        for task in self:
            if len(chosen) == self.rule.max_size:
                break
            total += task.limits.size
            if chosen and _is_too_large(len(chosen) + 1, total):
                return chosen, True
            chosen.append(task)
        return chosen, total > MAX_BYTES

    def add(self, task: ReadyTask) -> None:
        task.place = WAITING
        tasks = self._level(task.level)
        if not tasks or _age(tasks[-1]) <= _age(task):
            tasks.append(task)
        else:
            insort(tasks, task, key=_age)
        self._count(task, 1)

    def _level(self, level: int) -> list[ReadyTask]:
        tasks = self._levels[level]
        if tasks is None:
            tasks = self._levels[level] = []
        return tasks

    def put_back(self, tasks: Iterable[ReadyTask]) -> None:
        """Several attempts that were taken, each to where it was: one merge a level instead of a search for each."""
        by_level: dict[int, list[ReadyTask]] = {}
        for task in tasks:
            task.place = WAITING
            by_level.setdefault(task.level, []).append(task)
            self._count(task, 1)
        for level, returned in by_level.items():
            if len(returned) < FEW:
                for task in returned:
                    insort(self._level(level), task, key=_age)
                continue
            self._levels[level] = sorted([*returned, *(self._levels[level] or ())], key=_age)

    def discard(self, task: ReadyTask) -> None:
        """Take one out; its entry goes when it comes up, or with others once they pile up."""
        task.place = GONE
        self._count(task, -1)
        tasks = self._levels[task.level]
        if tasks is not None and len(tasks) > 2 * self.size + SPARE:
            self._levels[task.level] = [one for one in tasks if one.place == WAITING]

    def take(self, tasks: Sequence[ReadyTask]) -> None:
        """Take attempts out; those that :meth:`next_batch` chose leave the fronts of their levels."""
        is_front = self._next is not None and self._next[0] == tasks
        levels = set()
        for task in tasks:
            task.place = TAKEN
            self._count(task, -1)
            levels.add(task.level)
        for level in levels:
            if is_front:
                self._drop_gone(level)
            else:
                # An entry that stayed in the middle would be a second one when its attempt is put back.
                self._levels[level] = [one for one in self._levels[level] or () if one.place == WAITING]

    def _drop_gone(self, level: int, minimum: int = 1) -> None:
        """Drop what was taken out of the front, if it is ``minimum`` entries: each drop moves all that wait."""
        waiting = self._levels[level] or []
        end = next((index for index, one in enumerate(waiting) if one.place == WAITING), len(waiting))
        if end >= minimum:
            del waiting[:end]

    def _count(self, task: ReadyTask, change: int) -> None:
        self.size += change
        self.bytes += change * task.limits.size
        self._next = None


def _is_too_large(items: int, total: int) -> bool:
    return total > MAX_BYTES or total + items * ITEM_BYTES > MAX_MESSAGE_BYTES


def _age(task: ReadyTask) -> tuple[float, str]:
    return task.ready_at, task.id
