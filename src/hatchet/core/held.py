"""Ready tasks of paused workflows, kept outside the queues until the pause ends (behaviour-core C-4.53 to C-4.55).

Everything here can be rebuilt from rows: how long a task has been held follows from when it was ready and when the
pause began, and what a pause did to a task's schedule timeout follows from when it ended. A released task is a new
object, because entries of the old one may still stand in the queues that it was taken out of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush

from hatchet.core.durations import parse_duration
from hatchet.core.errors import InvalidArgument
from hatchet.core.oldest import Oldest
from hatchet.core.ready_task import ReadyTask


class DuringPause(Enum):
    """What becomes of crons or scheduled runs of a paused workflow, by its wire name (C-4.56)."""

    QUEUE = "QUEUE"
    DROP = "DROP"


@dataclass(slots=True, frozen=True, kw_only=True)
class PauseSettings:
    """How a workflow is paused (C-4.52)."""

    queue_ttl: str
    """How long a run may wait for the end of the pause; a duration text, days allowed."""
    crons: DuringPause = DuringPause.QUEUE
    scheduled: DuringPause = DuringPause.QUEUE

    def __post_init__(self) -> None:
        """Raises InvalidArgument when the TTL is no duration."""
        try:
            parse_duration(self.queue_ttl, days=True)
        except InvalidArgument as error:
            raise InvalidArgument(f"pausedWorkflowQueueTTL: {error.message}") from None


@dataclass(slots=True, frozen=True)
class Pause:
    """The pause of one workflow, or what is left of its last one; times in seconds since 1970."""

    paused_at: float | None
    """None: it is over."""
    queue_ttl_seconds: float
    resumed_at: float | None
    """When the pause before ended."""


class HeldTasks:
    """The pauses of a tenant's workflows, and the ready tasks that wait for their end. One task per id."""

    def __init__(self) -> None:
        self._pauses: dict[str, Pause] = {}
        self._by_id: dict[str, ReadyTask] = {}
        self._by_workflow: dict[str, list[_Entry]] = {}
        """Heaps. What was discarded stays in its heap until it comes up, which it does within the queue TTL."""
        self._sequence = 0
        self._oldest: Oldest[ReadyTask] = Oldest(self._is_here)

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_id

    def __iter__(self) -> Iterator[ReadyTask]:
        return iter(self._by_id.values())

    def get(self, task_id: str) -> ReadyTask | None:
        return self._by_id.get(task_id)

    def oldest_id(self) -> str | None:
        """The lowest id: a candidate for the low-watermark."""
        return self._oldest.lowest()

    def paused(self) -> set[str]:
        """The ids of the paused workflows."""
        return {workflow_id for workflow_id, pause in self._pauses.items() if pause.paused_at is not None}

    def is_paused(self, task: ReadyTask) -> bool:
        """Whether the task's workflow is paused."""
        pause = self._pauses.get(task.version.workflow_id)
        return pause is not None and pause.paused_at is not None

    def ready_at(self, task: ReadyTask) -> float:
        """Since when the task waits for a worker: at the earliest since the end of its workflow's pause (C-6.34)."""
        pause = self._pauses.get(task.version.workflow_id)
        resumed_at = None if pause is None else pause.resumed_at
        return task.ready_at if resumed_at is None else max(task.ready_at, resumed_at)

    def change(self, pauses: Mapping[str, Pause]) -> list[ReadyTask]:
        """Take over the pauses of all workflows (by workflow id); the tasks that wait no more, in their order."""
        self._pauses = dict(pauses)
        over = self._by_workflow.keys() - self.paused()
        entries = sorted(entry for workflow_id in over for entry in self._by_workflow.pop(workflow_id))
        released = [entry[-1] for entry in entries if self._is_here(entry[-1])]
        for task in released:
            del self._by_id[task.id]
        return sorted((_anew(task, self.ready_at(task)) for task in released), key=lambda task: task.ready_at)

    def push(self, task: ReadyTask) -> None:
        """Hold a task of a paused workflow. A task that is already here is left as it is."""
        if task.id in self._by_id:
            return
        self._by_id[task.id] = task
        self._sequence += 1
        heap = self._by_workflow.setdefault(task.version.workflow_id, [])
        heappush(heap, (task.ready_at, task.id, self._sequence, task))
        self._oldest.add(task.id, task)

    def discard(self, task_id: str) -> ReadyTask | None:
        """Take a task out (cancelled, ended elsewhere)."""
        return self._by_id.pop(task_id, None)

    def expired(self, now: float, limit: int) -> list[ReadyTask]:
        """Tasks held for longer than the queue TTL (C-4.54), a workflow's oldest first; they stay until discarded."""
        found: list[ReadyTask] = []
        for workflow_id, heap in self._by_workflow.items():
            pause = self._pauses[workflow_id]
            horizon = now - pause.queue_ttl_seconds
            if pause.paused_at is not None and pause.paused_at < horizon:
                found.extend(self._ready_before(heap, horizon, limit - len(found)))
        return found

    def _ready_before(self, heap: list[_Entry], horizon: float, limit: int) -> list[ReadyTask]:
        taken: list[_Entry] = []
        while heap and heap[0][0] < horizon and len(taken) < limit:
            entry = heappop(heap)
            if self._is_here(entry[-1]):
                taken.append(entry)
        for entry in taken:
            heappush(heap, entry)
        return [entry[-1] for entry in taken]

    def _is_here(self, task: ReadyTask) -> bool:
        return self._by_id.get(task.id) is task


_Entry = tuple[float, str, int, ReadyTask]
"""Sorts by when the task was ready; the number tells entries of one task apart, so that tasks are never compared."""


def _anew(task: ReadyTask, ready_at: float) -> ReadyTask:
    return task.again(ready_at, task.attempt, task.app_retries, task.internal_retries, task.evictions)
