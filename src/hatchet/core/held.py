"""Ready tasks of paused workflows, kept outside the queues until the pause ends (behaviour-core C-4.53 to C-4.55).

Everything here can be rebuilt from rows: how long a task has been held follows from when it was ready and when the pause
began, and what a pause did to a task's schedule timeout follows from when it ended. A released task is a new object,
because entries of the old one may still stand in the queues that it was taken out of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from heapq import heappush

from hatchet.core.durations import parse_duration
from hatchet.core.errors import InvalidArgument
from hatchet.core.ready_queue import ReadyTask


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

    @property
    def queue_ttl_seconds(self) -> float:
        """Seconds of :attr:`queue_ttl`. Raises InvalidArgument when it is no duration."""
        try:
            return parse_duration(self.queue_ttl, days=True)
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


class _Waiting:
    """The held tasks of one workflow, oldest first."""

    __slots__ = ("heap", "size")

    def __init__(self) -> None:
        self.heap: list[tuple[float, str, ReadyTask]] = []
        """By when they were ready; those that were discarded are dropped when they come up."""
        self.size = 0


class HeldTasks:
    """The pauses of a tenant's workflows, and the ready tasks that wait for their end. One task per id."""

    def __init__(self) -> None:
        self._pauses: dict[str, Pause] = {}
        self._waiting: dict[str, _Waiting] = {}
        """Workflow id to tasks; no workflow is without."""
        self._by_id: dict[str, ReadyTask] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_id

    def __iter__(self) -> Iterator[ReadyTask]:
        return iter(self._by_id.values())

    def get(self, task_id: str) -> ReadyTask | None:
        return self._by_id.get(task_id)

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
        """Take over the pauses of all workflows (id to pause); the tasks that wait no more, in their order."""
        self._pauses = dict(pauses)
        over = [workflow_id for workflow_id in self._waiting if not self._holds(workflow_id)]
        entries = [entry for workflow_id in over for entry in self._waiting.pop(workflow_id).heap]
        released = [task for _, _, task in sorted(entries) if self._by_id.get(task.id) is task]
        for task in released:
            del self._by_id[task.id]
        return [_anew(task, self.ready_at(task)) for task in sorted(released, key=self.ready_at)]

    def push(self, task: ReadyTask) -> None:
        """Hold a task of a paused workflow. A task that is already here is left as it is."""
        if task.id in self._by_id:
            return
        self._by_id[task.id] = task
        workflow_id = task.version.workflow_id
        waiting = self._waiting.get(workflow_id)
        if waiting is None:
            waiting = self._waiting[workflow_id] = _Waiting()
        waiting.size += 1
        heappush(waiting.heap, (task.ready_at, task.id, task))

    def discard(self, task_id: str) -> ReadyTask | None:
        """Take a task out (cancelled, ended elsewhere)."""
        task = self._by_id.pop(task_id, None)
        if task is not None:
            workflow_id = task.version.workflow_id
            waiting = self._waiting[workflow_id]
            waiting.size -= 1
            if not waiting.size:
                del self._waiting[workflow_id]
            elif len(waiting.heap) > 2 * waiting.size + 100:
                self._compact(waiting)
        return task

    def expired(self, now: float, limit: int) -> list[ReadyTask]:
        """Tasks that have been held for longer than the queue TTL (C-4.54), oldest first; they stay until discarded."""
        found: list[ReadyTask] = []
        for workflow_id, waiting in self._waiting.items():
            pause = self._pauses[workflow_id]
            horizon = now - pause.queue_ttl_seconds
            if pause.paused_at is None or pause.paused_at >= horizon:
                continue
            self._drop_dead(waiting)
            if waiting.heap and waiting.heap[0][0] < horizon:
                self._compact(waiting)
                waiting.heap.sort()
                for ready_at, _, task in waiting.heap:
                    if ready_at >= horizon or len(found) >= limit:
                        break
                    found.append(task)
        return found
