"""The runs of several tasks that have not ended, as their tenant's owner knows them. Rebuilt from rows at take-over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hatchet.core.definitions import StoredVersion
from hatchet.core.ids import task_ids
from hatchet.core.labels import DesiredLabels, merged
from hatchet.core.limits import NONE, Limits
from hatchet.core.payloads import TaskEnd, TaskPayload
from hatchet.core.ready_task import ReadyTask
from hatchet.core.run_state import RunState


class OpenRun:
    """One run in its owner's memory."""

    __slots__ = (
        "desired_worker",
        "ends",
        "id",
        "is_reopened",
        "is_replayed",
        "labels",
        "limits",
        "met",
        "payload",
        "priority",
        "size",
        "state",
        "task_ids",
        "task_limits",
        "tenant_id",
        "version",
        "workers",
    )

    def __init__(
        self,
        tenant_id: str,
        id: str,  # noqa: A002
        version: StoredVersion,
        priority: int,
        labels: DesiredLabels,
        state: RunState,
        ids: list[str] | None = None,
        *,
        limits: Limits = NONE,
        task_limits: Sequence[Limits] = (),
        desired_worker: str | None = None,
    ) -> None:
        """``limits``: of the run as a whole; ``task_limits``: of its tasks, empty when no task has any."""
        self.tenant_id = tenant_id
        self.id = id
        self.version = version
        self.priority = priority
        self.labels = labels
        self.state = state
        self.task_ids = ids if ids is not None else task_ids(id, len(version.tasks))
        self.ends: list[TaskEnd | None] | None = [None] * len(version.tasks)
        """How the tasks ended; None when there was no room for it: the rows tell."""
        self.payload: TaskPayload | None = None
        """What it was triggered with; None: the rows tell."""
        self.met: dict[int, tuple[int, ...]] = {}
        """Task number to the conditions that held when it was queued."""
        self.size = 0
        """Characters held, for the budget of :class:`OpenRuns`."""
        self.limits = limits
        self.task_limits = task_limits
        self.desired_worker = desired_worker
        """The worker that the root tasks of a sticky run should go to."""
        self.workers: dict[int, str] = {}
        """Task number to the worker that it was given to; kept for sticky runs."""
        self.is_reopened = False
        """Whether it was replayed or a task of it was evicted: its name is in the list of what may be old and open."""
        self.is_replayed = False

    def ready(
        self, index: int, ready_at: float, attempt: int = 0, app: int = 0, internal: int = 0, evictions: int = 0
    ) -> ReadyTask:
        """An attempt of one of its tasks."""
        step = self.version.tasks[index]
        return ReadyTask(
            self.task_ids[index],
            self.version,
            self.priority,
            ready_at,
            attempt,
            app,
            internal,
            step=step,
            run_id=self.id,
            labels=merged(step.definition.worker_labels, self.labels),
            limits=self.task_limits[index] if self.task_limits else NONE,
            desired_worker=self._desired_worker(index),
            evictions=evictions,
        )

    def _desired_worker(self, index: int) -> str | None:
        """The worker of a parent (C-11.11), of the nearest one that ran; root tasks have the run's."""
        if self.version.sticky is None:
            return None
        above, seen = list(self.version.graph.parents[index]), {index}
        while above:
            known = [parent for parent in above if parent in self.workers]
            if known:
                return self.workers[known[0]]
            seen.update(above)
            above = [
                further for parent in above for further in self.version.graph.parents[parent] if further not in seen
            ]
        return self.desired_worker


class OpenRuns:
    """The open runs of all tenants whose scheduler is in this instance, with a budget for the texts in them.

    Past the budget a run keeps no texts: they are read from the rows when they are needed.
    """

    def __init__(self, maximum_size: int = 64_000_000) -> None:
        self._by_id: dict[str, OpenRun] = {}
        self._size = 0
        self._maximum_size = maximum_size

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[OpenRun]:
        return iter(list(self._by_id.values()))

    def get(self, run_id: str) -> OpenRun | None:
        return self._by_id.get(run_id)

    def put(self, run: OpenRun) -> None:
        """Take a run in, without its texts when there is no room for them."""
        self.remove(run.id)
        if self._size + run.size > self._maximum_size:
            run.payload, run.ends, run.size = None, None, 0
        self._by_id[run.id] = run
        self._size += run.size

    def remove(self, run_id: str) -> OpenRun | None:
        run = self._by_id.pop(run_id, None)
        if run is not None:
            self._size -= run.size
        return run

    def keep_payload(self, run: OpenRun, payload: TaskPayload) -> None:
        """Remember what a run was triggered with."""
        if self._grow(run, payload.size):
            run.payload = payload

    def keep_end(self, run: OpenRun, index: int, end: TaskEnd) -> None:
        """Remember how a task ended."""
        if run.ends is None:
            return
        if self._grow(run, end.size):
            run.ends[index] = end
        else:
            run.ends = None

    def _grow(self, run: OpenRun, size: int) -> bool:
        if self._size + size > self._maximum_size:
            return False
        run.size += size
        if run.id in self._by_id:
            self._size += size
        return True
