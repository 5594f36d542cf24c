"""Ready attempts of batch tasks, buffered until a batch of them may go (behaviour-core C-16.5 to C-16.16): pure.

Everything here can be rebuilt from rows. An attempt is in the buffer or not; what is taken belongs to the caller until
it puts it back. A group that may be flushed is looked at once: it then is taken, or refused because no worker had room,
and a refused group rests until there may be room (:meth:`Batches.roomier`), its interval is over again or its first
attempt changes. So the cost of a look follows the number of groups that may go, not of those that wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from hatchet.core.batch_groups import Group, GroupId, group_of
from hatchet.core.deadlines import GONE
from hatchet.core.ready_task import ReadyTask

SIZE_REACHED = "batch_size_reached"
INTERVAL_ELAPSED = "interval_elapsed"
MEMORY_REACHED = "memory_size_reached"
"""Why a batch was flushed, as C-16.6 names it."""

_SENTENCES = {
    SIZE_REACHED: "The batch has as many items as it may have.",
    INTERVAL_ELAPSED: "The interval of the batch is over.",
    MEMORY_REACHED: "The inputs of the batch are as large as they may be.",
}

SPARE = 1000
"""Outdated deadlines that are kept besides as many as there are groups."""


def sentence(reason: str) -> str:
    """A flush reason for people (C-16.6); the empty one is that of a batch which is only known from its rows."""
    return _SENTENCES.get(reason, "The batch was ready.")


@dataclass(slots=True, frozen=True)
class Due:
    """A batch that may go now. Valid until the buffers change."""

    group: GroupId
    reason: str
    tasks: Sequence[ReadyTask]
    """Exactly those that go, in their order; the first one's wishes choose the worker (C-16.12)."""
    at: float
    """When it was looked at, seconds since 1970."""


class Batches:
    """The buffers of one tenant's batch tasks, by step and group key. One attempt a task."""

    def __init__(self) -> None:
        self._by_id: dict[str, ReadyTask] = {}
        self._groups: dict[GroupId, Group] = {}
        """No group is empty."""
        self._running: dict[GroupId, int] = {}
        """Running batches, where there are any."""
        self._ready: dict[GroupId, None] = {}
        """Groups that may be flushed now, the one served longest ago first."""
        self._refused: dict[GroupId, None] = {}
        """Groups that could be flushed if a worker had room."""
        self._deadlines: list[tuple[float, GroupId]] = []
        """A heap; an entry counts while its group has that deadline."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_id

    def __iter__(self) -> Iterator[ReadyTask]:
        return iter(self._by_id.values())

    def get(self, task_id: str) -> ReadyTask | None:
        return self._by_id.get(task_id)

    def size_of(self, task: ReadyTask) -> int:
        """How many attempts are buffered in the group of ``task``."""
        group = self._groups.get(group_of(task))
        return group.size if group is not None else 0

    def push(self, task: ReadyTask, now: float) -> None:
        """Buffer an attempt of a batch task. A task that is already here is left as it is.

        The first of an empty group starts the interval (C-16.8).
        """
        if task.id in self._by_id:
            return
        self._by_id[task.id] = task
        group = self._group(task, now)
        if group.may_fit_better(task):
            self._refused.pop(group.id, None)
        group.add(task)
        self._file(group)

    def discard(self, task_id: str) -> ReadyTask | None:
        """Take an attempt out (cancelled, timed out, settled elsewhere; C-16.16).

        It may come back as a new object only, because its entry may stay here for a while.
        """
        task = self._by_id.pop(task_id, None)
        if task is None:
            return None
        group = self._groups[group_of(task)]
        if group.refused is task:
            self._refused.pop(group.id, None)
        group.discard(task)
        self._file(group)
        return task

    def due(self, now: float, limit: int = 1000) -> list[Due]:
        """The next batch of up to ``limit`` groups that may be flushed now, in the order of their turns.

        Looking does not take. The caller takes or refuses each, and asks again until there are none: a group may have
        another full batch. No group is among them that has as many running batches as it may have (C-16.14).
        """
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, group_id = heappop(self._deadlines)
            group = self._groups.get(group_id)
            if group is not None and group.deadline == deadline:
                group.has_waited = True
                self._refused.pop(group_id, None)
                self._file(group)
        found: list[Due] = []
        for group_id in self._ready:
            if len(found) == limit:
                break
            group = self._groups[group_id]
            tasks, is_too_large = group.next_batch()
            found.append(Due(group_id, _reason(group, tasks, is_too_large), tasks, now))
        return found

    def take(self, due: Due) -> list[ReadyTask]:
        """The attempts of a batch, out of the buffer; fewer than it was looked at with when some are not here any more.

        They count as being assigned until they are put back or their ``place`` is set to GONE. It is the turn of the
        other groups; what is left of this one waits for a new interval or until a batch is full again. The caller
        tells :meth:`started` at once, before it looks again.
        """
        group = self._groups.get(due.group)
        if group is None:
            return []
        tasks = [task for task in due.tasks if self._by_id.get(task.id) is task]
        for task in tasks:
            del self._by_id[task.id]
        group.take(tasks)
        self._next_interval(group, due.at)
        return tasks

    def put_back(self, tasks: Iterable[ReadyTask], now: float) -> None:
        """Attempts that were taken and not assigned return to their places; the interval is renewed (C-16.8).

        Left out are those that are GONE, and tasks that have another attempt here.
        """
        groups: dict[GroupId, list[ReadyTask]] = {}
        for task in tasks:
            if task.id not in self._by_id and task.place != GONE:
                self._by_id[task.id] = task
                groups.setdefault(group_of(task), []).append(task)
        for returned in groups.values():
            group = self._group(returned[0], now)
            group.put_back(returned)
            self._next_interval(group, now)

    def refused(self, due: Due, now: float) -> None:
        """No worker had room: the group rests, its interval is renewed (C-16.13)."""
        if due.group not in self._ready:
            return
        del self._ready[due.group]
        self._refused[due.group] = None
        group = self._groups[due.group]
        group.refused = due.tasks[0]
        group.renew(now)
        self._remind(group)

    def roomier(self) -> None:
        """A worker changed or a slot is free: groups that were refused may be flushed at once."""
        # Both hold those served longest ago first; the smaller one goes behind, because this is called very often.
        if len(self._refused) >= len(self._ready):
            self._ready, self._refused = self._refused, self._ready
        self._ready.update(self._refused)
        self._refused.clear()

    def started(self, step_id: str, key: str) -> None:
        """A batch of the group was taken, or is running at a take-over."""
        group_id = (step_id, key)
        self._running[group_id] = self._running.get(group_id, 0) + 1
        self._refile(group_id)

    def ended(self, step_id: str, key: str) -> None:
        """A batch of the group ended: its last attempt did, or it was put back."""
        group_id = (step_id, key)
        left = self._running.get(group_id, 0) - 1
        if left > 0:
            self._running[group_id] = left
        else:
            self._running.pop(group_id, None)
        self._refile(group_id)

    def next_at(self) -> float | None:
        """When to look again, seconds since 1970, if nothing happens before; a past time when groups are due now."""
        if self._ready:
            return 0.0
        while self._deadlines:
            deadline, group_id = self._deadlines[0]
            group = self._groups.get(group_id)
            if group is not None and group.deadline == deadline:
                return deadline
            heappop(self._deadlines)
        return None

    def _group(self, task: ReadyTask, now: float) -> Group:
        group_id = group_of(task)
        group = self._groups.get(group_id)
        if group is None:
            rule = task.step.definition.batch
            assert rule is not None
            group = self._groups[group_id] = Group(group_id, rule, 0.0)
            group.renew(now)
            self._remind(group)
        return group

    def _next_interval(self, group: Group, now: float) -> None:
        self._ready.pop(group.id, None)
        self._refused.pop(group.id, None)
        group.has_waited = False
        group.refused = None
        group.renew(now)
        if group.size:
            self._remind(group)
        self._file(group)

    def _refile(self, group_id: GroupId) -> None:
        group = self._groups.get(group_id)
        if group is not None:
            self._file(group)

    def _file(self, group: Group) -> None:
        """Put a group where it belongs by what it holds now; one that stays where it is keeps its turn."""
        may_go = (group.is_full or group.has_waited) and self._running.get(group.id, 0) < group.rule.max_runs
        if not group.size:
            del self._groups[group.id]
        if not group.size or not may_go:
            self._ready.pop(group.id, None)
            self._refused.pop(group.id, None)
        elif group.id not in self._refused:
            self._ready.setdefault(group.id)

    def _remind(self, group: Group) -> None:
        heappush(self._deadlines, (group.deadline, group.id))
        if len(self._deadlines) > 2 * len(self._groups) + SPARE:
            self._deadlines = [(one.deadline, one.id) for one in self._groups.values()]
            heapify(self._deadlines)


def _reason(group: Group, tasks: Sequence[ReadyTask], is_too_large: bool) -> str:
    if is_too_large:
        return MEMORY_REACHED
    return SIZE_REACHED if len(tasks) >= group.rule.max_size else INTERVAL_ELAPSED
