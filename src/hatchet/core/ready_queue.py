"""The tasks of one tenant that wait for a worker, in memory, in the order in which they will start.

Everything here can be rebuilt from rows. It is sized for hundreds of thousands of waiting tasks: one small object and
one dictionary entry a task, no index per task beyond that. Order is priority, then insertion (behaviour-core C-11.1);
retries and reassignments come before every user priority (C-11.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator

from hatchet.core.definitions import StoredTask, StoredVersion
from hatchet.core.ids import time_of

INTERNAL_PRIORITY = 4
LEVELS = 5

WAITING, TAKEN, GONE = 0, 1, 2
"""Where an attempt is: in a queue, out of it for an assignment, neither (any more)."""


class ReadyTask:
    """One attempt of a task that may start now."""

    __slots__ = (
        "app_retries",
        "attempt",
        "id",
        "internal_retries",
        "level",
        "place",
        "priority",
        "ready_at",
        "version",
    )

    def __init__(
        self,
        id: str,  # noqa: A002
        version: StoredVersion,
        priority: int,
        ready_at: float,
        attempt: int = 0,
        app_retries: int = 0,
        internal_retries: int = 0,
    ) -> None:
        self.id = id
        self.version = version
        self.priority = priority
        self.ready_at = ready_at
        self.attempt = attempt
        self.app_retries = app_retries
        self.internal_retries = internal_retries
        self.level = INTERNAL_PRIORITY if attempt else priority
        self.place = WAITING

    @property
    def created_at(self) -> float:
        """When the task was created, from its id: a retry does not change it."""
        return time_of(self.id)

    @property
    def step(self) -> StoredTask:
        """The task definition this attempt runs."""
        return self.version.tasks[0]


class ActionQueue:
    """The ready tasks of one action: a FIFO per step and priority level.

    Steps have queues of their own, so that any number of tasks of a step that fits nowhere is stepped over at once
    (C-11.5). Most actions have one step; several versions of a workflow may share an action.
    """

    __slots__ = ("_counts", "_steps", "size")

    def __init__(self) -> None:
        self._steps: dict[str, list[deque[ReadyTask]]] = {}
        self._counts: dict[str, int] = {}
        """Step id to number of waiting tasks."""
        self.size = 0

    def push(self, task: ReadyTask) -> None:
        task.place = WAITING
        self._levels(task)[task.level].append(task)
        self._count(task, 1)

    def push_front(self, task: ReadyTask) -> None:
        """Return a task that could not be placed to where it was."""
        task.place = WAITING
        self._levels(task)[task.level].appendleft(task)
        self._count(task, 1)

    def pop(self, without: Collection[str] = ()) -> ReadyTask | None:
        """The next task, now TAKEN, of the steps that are not in ``without``."""
        first: ReadyTask | None = None
        for step_id, levels in self._steps.items():
            if step_id not in without:
                head = _head(levels)
                if head is not None and (first is None or _is_before(head, first)):
                    first = head
        if first is not None:
            self._levels(first)[first.level].popleft()
            first.place = TAKEN
            self._count(first, -1)
        return first

    def discard(self, task: ReadyTask) -> None:
        """Take a waiting task out; its entry in the FIFO goes when it comes up, or with others once they pile up."""
        if task.place != WAITING:
            return
        task.place = GONE
        self._count(task, -1)
        levels = self._steps.get(task.version.tasks[0].id)
        if levels is not None and len(levels[task.level]) > 2 * self.size + 1000:
            levels[task.level] = deque(entry for entry in levels[task.level] if entry.place == WAITING)

    def _levels(self, task: ReadyTask) -> list[deque[ReadyTask]]:
        step_id = task.version.tasks[0].id
        levels = self._steps.get(step_id)
        if levels is None:
            levels = self._steps[step_id] = [deque() for _ in range(LEVELS)]
        return levels

    def _count(self, task: ReadyTask, by: int) -> None:
        self.size += by
        step_id = task.version.tasks[0].id
        left = self._counts.get(step_id, 0) + by
        if left:
            self._counts[step_id] = left
        else:
            self._counts.pop(step_id, None)
            self._steps.pop(step_id, None)


def _head(levels: list[deque[ReadyTask]]) -> ReadyTask | None:
    """The first waiting task; entries that are GONE are dropped on the way."""
    for level in range(LEVELS - 1, -1, -1):
        tasks = levels[level]
        while tasks:
            if tasks[0].place == WAITING:
                return tasks[0]
            tasks.popleft()
    return None


def _is_before(one: ReadyTask, other: ReadyTask) -> bool:
    if one.level != other.level:
        return one.level > other.level
    return (one.ready_at, one.id) < (other.ready_at, other.id)


class ReadyQueues:
    """All ready tasks of a tenant, by action, and the order in which their schedule timeouts pass."""

    def __init__(self) -> None:
        self._queues: dict[str, ActionQueue] = {}
        self._by_id: dict[str, ReadyTask] = {}
        self._expiry: dict[float, deque[ReadyTask]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_id

    def get(self, task_id: str) -> ReadyTask | None:
        return self._by_id.get(task_id)

    def push(self, task: ReadyTask) -> None:
        """Add a task behind those of its level. A task that is already here is left as it is."""
        if task.id in self._by_id:
            return
        self._by_id[task.id] = task
        self._queue(task).push(task)
        timeout = task.version.tasks[0].schedule_timeout_seconds
        expiry = self._expiry.get(timeout)
        if expiry is None:
            expiry = self._expiry[timeout] = deque()
        expiry.append(task)

    def put_back(self, task: ReadyTask, *, was_away: bool = False) -> None:
        """A task that was popped but not assigned goes to the front of its level.

        ``was_away``: time has passed since the pop, so its place in the order of timeouts may be gone.
        """
        self._by_id[task.id] = task
        self._queue(task).push_front(task)
        if was_away:
            self._expiry.setdefault(task.version.tasks[0].schedule_timeout_seconds, deque()).appendleft(task)

    def pop(self, action: str, without: Collection[str] = ()) -> ReadyTask | None:
        """The next task of ``action`` that is of none of the steps ``without``, out of the queue.

        It counts as being assigned until it is put back or its ``place`` is set to GONE.
        """
        queue = self._queues.get(action)
        task = queue.pop(without) if queue is not None else None
        if task is not None:
            del self._by_id[task.id]
        elif queue is not None and not queue.size:
            del self._queues[action]
        return task

    def served(self, action: str) -> None:
        """The action had its turn: the others come first the next time."""
        queue = self._queues.pop(action, None)
        if queue is not None:
            self._queues[action] = queue

    def discard(self, task_id: str) -> ReadyTask | None:
        """Take a waiting task out (cancelled, timed out, settled elsewhere)."""
        task = self._by_id.pop(task_id, None)
        if task is not None:
            self._queue(task).discard(task)
        return task

    def actions(self) -> list[str]:
        """The actions that have ready tasks."""
        return [action for action, queue in self._queues.items() if queue.size]

    def expired(self, now: float, limit: int = 1000) -> list[ReadyTask]:
        """Waiting tasks whose schedule timeout has passed (C-6.33), oldest first; they stay until discarded."""
        found: list[ReadyTask] = []
        for timeout, tasks in self._expiry.items():
            _compact(tasks, len(self._by_id))
            for task in tasks:
                if len(found) >= limit or task.ready_at + timeout > now:
                    break
                if task.place == WAITING:
                    found.append(task)
        return found

    def oldest_ids(self) -> Iterator[str]:
        """For each schedule timeout the oldest that waits or is being assigned: candidates for the low-watermark."""
        for tasks in self._expiry.values():
            _compact(tasks, len(self._by_id))
            if tasks:
                yield tasks[0].id

    def _queue(self, task: ReadyTask) -> ActionQueue:
        action = task.version.tasks[0].definition.action
        queue = self._queues.get(action)
        if queue is None:
            queue = self._queues[action] = ActionQueue()
        return queue


def _compact(tasks: deque[ReadyTask], alive: int) -> None:
    """Drop tasks that are GONE: always from the left, everywhere once most of the entries are dead.

    A task that is being assigned stays: its assignment may fail, and it must still expire then.
    """
    while tasks and tasks[0].place == GONE:
        tasks.popleft()
    if len(tasks) > 2 * alive + 1000:
        kept = [task for task in tasks if task.place != GONE]
        tasks.clear()
        tasks.extend(kept)
