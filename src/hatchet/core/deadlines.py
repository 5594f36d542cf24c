"""In which order the schedule timeouts of waiting tasks pass, and which of them is the oldest (behaviour-core C-6.33).

Tasks wait in different places (the queues, the gates before them) and are known here from when they begin to wait until
they are GONE, whichever place they are in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from hatchet.core.definitions import StoredTask
from hatchet.core.oldest import Oldest

WAITING, TAKEN, GONE = 0, 1, 2
"""Where an attempt is: somewhere waiting, out of the queues for an assignment, neither (any more)."""

DISORDER_SECONDS = 1.0
"""How much later than its time a schedule timeout may pass because younger tasks came before it."""

SPARE = 1000


class WaitingTask(Protocol):
    """What deadlines need of an attempt."""

    id: str
    step: StoredTask
    ready_at: float
    place: int


Task = TypeVar("Task", bound=WaitingTask)


class _Line(Generic[Task]):
    """The tasks of one timeout."""

    __slots__ = ("is_sorted", "room", "tasks")

    def __init__(self) -> None:
        self.tasks: deque[Task] = deque()
        self.is_sorted = True
        self.room = SPARE


class Deadlines(Generic[Task]):
    """The waiting tasks by their schedule timeout."""

    def __init__(self) -> None:
        self._lines: dict[float, _Line[Task]] = {}
        self._newest = ""
        self._late: Oldest[Task] = Oldest(_is_here)
        """Those that came after younger ones: retries, and tasks that waited for something else before."""

    def __len__(self) -> int:
        """How many tasks are kept, some of them GONE."""
        return sum(len(line.tasks) for line in self._lines.values())

    def push(self, task: Task) -> None:
        """The task begins to wait."""
        timeout = task.step.schedule_timeout_seconds
        line = self._lines.get(timeout)
        if line is None:
            line = self._lines[timeout] = _Line()
        tasks = line.tasks
        if tasks and task.ready_at < tasks[-1].ready_at - DISORDER_SECONDS:
            line.is_sorted = False
        if len(tasks) >= line.room:
            _compact(line)
        tasks.append(task)
        if task.id < self._newest:
            self._late.add(task.id, task)
        else:
            self._newest = task.id

    def push_front(self, task: Task) -> None:
        """The task waits on, before the others."""
        line = self._lines.setdefault(task.step.schedule_timeout_seconds, _Line())
        line.tasks.appendleft(task)

    def expired(self, now: float, limit: int = 1000) -> list[Task]:
        """Waiting tasks whose schedule timeout has passed, oldest first; they stay until they are GONE."""
        found: list[Task] = []
        for timeout, line in self._lines.items():
            if not line.is_sorted:
                self._sort(line)
            _trim(line)
            for task in line.tasks:
                if len(found) >= limit or task.ready_at + timeout > now:
                    break
                if task.place == WAITING:
                    found.append(task)
        return found

    def oldest_ids(self) -> Iterator[str]:
        """Candidates for the low-watermark: the oldest that waits or is being assigned is among them."""
        for line in self._lines.values():
            _trim(line)
            if line.tasks:
                yield line.tasks[0].id
        late = self._late.lowest()
        if late is not None:
            yield late

    def _sort(self, line: _Line[Task]) -> None:
        ordered = sorted(filter(_is_here, line.tasks), key=lambda task: task.ready_at)
        line.tasks = deque(ordered)
        line.is_sorted = True
        newest = ""
        for task in ordered:
            if task.id < newest:
                self._late.add(task.id, task)
            newest = max(newest, task.id)


def _is_here(task: WaitingTask) -> bool:
    return task.place != GONE


def _trim(line: _Line[Task]) -> None:
    # A task that is being assigned stays: its assignment may fail, and it must still expire then.
    while line.tasks and line.tasks[0].place == GONE:
        line.tasks.popleft()


def _compact(line: _Line[Task]) -> None:
    """Drop tasks that are GONE, once as many were added as there were left the last time."""
    kept = [task for task in line.tasks if task.place != GONE]
    line.tasks.clear()
    line.tasks.extend(kept)
    line.room = 2 * len(kept) + SPARE
