"""Waiting tasks whose groups take turns: a group with many of them does not delay another (behaviour-core C-9.7)."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hatchet.core.deadlines import GONE

if TYPE_CHECKING:
    from hatchet.core.ready_task import ReadyTask

Group = tuple[str, ...]


class Turns:
    """A queue like a deque, in which the group that was served longest ago comes first."""

    __slots__ = ("_groups", "_size")

    def __init__(self, tasks: Iterable[ReadyTask] = ()) -> None:
        self._groups: OrderedDict[Group, deque[ReadyTask]] = OrderedDict()
        self._size = 0
        for task in tasks:
            self.append(task)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[ReadyTask]:
        for tasks in self._groups.values():
            yield from tasks

    def __getitem__(self, index: int) -> ReadyTask:
        """The first task; no other can be asked for."""
        assert index == 0
        return next(iter(self._groups.values()))[0]

    def append(self, task: ReadyTask) -> None:
        """Behind the others of its group; a group that nobody waits in comes last."""
        self._groups.setdefault(_group(task), deque()).append(task)
        self._size += 1

    def appendleft(self, task: ReadyTask) -> None:
        """Before all others."""
        group = _group(task)
        self._groups.setdefault(group, deque()).appendleft(task)
        self._groups.move_to_end(group, last=False)
        self._size += 1

    def popleft(self) -> ReadyTask:
        """The first task; its group has had its turn, unless the task was GONE."""
        group, tasks = next(iter(self._groups.items()))
        task = tasks.popleft()
        self._size -= 1
        if not tasks:
            del self._groups[group]
        elif task.place != GONE:
            self._groups.move_to_end(group)
        return task


def _group(task: ReadyTask) -> Group:
    return tuple(ask.key for ask in task.limits.asks)
