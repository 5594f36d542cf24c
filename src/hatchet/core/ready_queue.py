"""The tasks of one tenant that wait for a worker, in memory, in the order in which they will start.

Everything here can be rebuilt from rows. It is sized for hundreds of thousands of waiting tasks: one small object and
one dictionary entry a task, no index per task beyond that. Order is priority, then insertion (behaviour-core C-11.1);
retries and reassignments come before every user priority (C-11.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hatchet.core.definitions import StoredTask, StoredVersion
from hatchet.core.ids import time_of

INTERNAL_PRIORITY = 4
LEVELS = 5

WAITING, TAKEN, GONE = 0, 1, 2


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
    """The ready tasks of one action: a FIFO per priority level."""

    __slots__ = ("_levels", "kinds", "size")

    def __init__(self) -> None:
        self._levels: list[deque[ReadyTask]] = [deque() for _ in range(LEVELS)]
        self.kinds: dict[str, int] = {}
        """Step id to number of waiting tasks: tells when everything left has been found not to fit."""
        self.size = 0

    def push(self, task: ReadyTask) -> None:
        task.place = WAITING
        self._levels[task.level].append(task)
        self._count(task, 1)

    def push_front(self, task: ReadyTask) -> None:
        """Return a task that could not be placed to where it was."""
        task.place = WAITING
        self._levels[task.level].appendleft(task)
        self._count(task, 1)

    def pop(self) -> ReadyTask | None:
        """The next task, now TAKEN; tasks that are GONE are dropped on the way."""
        for level in range(LEVELS - 1, -1, -1):
            tasks = self._levels[level]
            while tasks:
                task = tasks.popleft()
                if task.place == WAITING:
                    task.place = TAKEN
                    self._count(task, -1)
                    return task
        return None

    def discard(self, task: ReadyTask) -> None:
        """Take a waiting task out; its entry in the FIFO is dropped when it comes up."""
        if task.place == WAITING:
            task.place = GONE
            self._count(task, -1)

    def _count(self, task: ReadyTask, by: int) -> None:
        self.size += by
        step_id = task.version.tasks[0].id
        left = self.kinds.get(step_id, 0) + by
        if left:
            self.kinds[step_id] = left
        else:
            self.kinds.pop(step_id, None)


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

    def put_back(self, task: ReadyTask) -> None:
        """A task that was popped but not assigned goes to the front of its level."""
        self._by_id[task.id] = task
        self._queue(task).push_front(task)

    def pop(self, action: str) -> ReadyTask | None:
        """The next task of ``action``, out of the queue."""
        queue = self._queues.get(action)
        task = queue.pop() if queue is not None else None
        if task is not None:
            del self._by_id[task.id]
        elif queue is not None:
            del self._queues[action]
        return task

    def discard(self, task_id: str) -> ReadyTask | None:
        """Take a waiting task out (cancelled, timed out, settled elsewhere)."""
        task = self._by_id.pop(task_id, None)
        if task is not None:
            self._queue(task).discard(task)
        return task

    def actions(self) -> list[str]:
        """The actions that have ready tasks."""
        return [action for action, queue in self._queues.items() if queue.size]

    def kinds(self, action: str) -> dict[str, int]:
        """Step id to number of waiting tasks of ``action``."""
        queue = self._queues.get(action)
        return queue.kinds if queue is not None else {}

    def expired(self, now: float, limit: int = 1000) -> list[ReadyTask]:
        """Waiting tasks whose schedule timeout has passed (C-6.33), oldest first; they stay until discarded."""
        found: list[ReadyTask] = []
        for timeout, tasks in self._expiry.items():
            _compact(tasks, self._by_id)
            for task in tasks:
                if len(found) >= limit or task.ready_at + timeout > now:
                    break
                if task.place == WAITING and self._by_id.get(task.id) is task:
                    found.append(task)
        return found

    def oldest_ids(self) -> Iterator[str]:
        """For each schedule timeout the id that waits longest: candidates for the low-watermark."""
        for tasks in self._expiry.values():
            _compact(tasks, self._by_id)
            if tasks:
                yield tasks[0].id

    def _queue(self, task: ReadyTask) -> ActionQueue:
        action = task.version.tasks[0].definition.action
        queue = self._queues.get(action)
        if queue is None:
            queue = self._queues[action] = ActionQueue()
        return queue


def _compact(tasks: deque[ReadyTask], alive: dict[str, ReadyTask]) -> None:
    """Drop tasks that no longer wait: always from the left, everywhere once most of the entries are dead."""
    while tasks and alive.get(tasks[0].id) is not tasks[0]:
        tasks.popleft()
    if len(tasks) > 2 * len(alive) + 1000:
        kept = [task for task in tasks if alive.get(task.id) is task]
        tasks.clear()
        tasks.extend(kept)
