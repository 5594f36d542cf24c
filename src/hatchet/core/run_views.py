"""Runs and their tasks as people see them (behaviour-rest R-10.1 to R-10.8, R-10.22 to R-10.27, R-11.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hatchet.core.definitions import StoredTask, StoredVersion
from hatchet.core.history import AttemptFacts, TaskEvent
from hatchet.core.statuses import Outcome, RunStatus, TaskEventType


@dataclass(slots=True, frozen=True, kw_only=True)
class TaskView:
    """One task at the time of reading, or one of its earlier attempts; times in seconds since 1970."""

    id: str
    run_id: str
    version: StoredVersion
    step: StoredTask
    status: RunStatus
    is_evicted: bool = False
    retry_count: int
    created_at: float
    queued_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    """When the attempt ended; None while it has not."""
    input: str = ""
    """JSON text; empty when payloads were not read."""
    additional_metadata: str = ""
    output: str | None = None
    error: str = ""
    """Text of the last failure; empty when there was none, or when a later attempt completed."""
    parent_task_id: str | None = None
    children: int = 0
    """How many runs it has spawned."""
    events: Sequence[TaskEvent] = ()
    """Of all its attempts, oldest first."""

    @property
    def name(self) -> str:
        """How people tell it from others (R-10.4, R-10.36)."""
        return display_name(self.step.definition.readable_id, self.created_at)


@dataclass(slots=True, frozen=True, kw_only=True)
class RunView:
    """One run with those of its tasks that exist."""

    id: str
    version: StoredVersion
    status: RunStatus
    created_at: float
    input: str = ""
    """JSON text; empty when payloads were not read."""
    additional_metadata: str = ""
    parent_task_id: str | None = None
    task_ids: Sequence[str]
    """Of all its tasks, in the order of the version."""
    tasks: Sequence[TaskView] = ()
    """In the same order, those that exist (C-6.13)."""

    @property
    def name(self) -> str:
        """As :attr:`TaskView.name`; a run of several tasks is named after its workflow."""
        if len(self.version.tasks) == 1:
            return display_name(self.version.tasks[0].definition.readable_id, self.created_at)
        return display_name(self.version.name, self.created_at)

    @property
    def started_at(self) -> float | None:
        """When the first of its tasks started."""
        return min((task.started_at for task in self.tasks if task.started_at is not None), default=None)

    @property
    def finished_at(self) -> float | None:
        """When the last of its tasks ended; None while the run goes on."""
        if not self.status.is_terminal:
            return None
        return max((task.finished_at for task in self.tasks if task.finished_at is not None), default=None)

    @property
    def output(self) -> str | None:
        """That of the task that completed last (R-10.18)."""
        done = [task for task in self.tasks if task.output is not None]
        return max(done, key=lambda task: task.finished_at or 0.0).output if done else None

    @property
    def error(self) -> str:
        """The text of the failure that came last."""
        failed = [task for task in self.tasks if task.error]
        return max(failed, key=lambda task: task.finished_at or 0.0).error if failed else ""


def display_name(name: str, created_at: float) -> str:
    """``<name>-<milliseconds since 1970>``"""
    return f"{name}-{int(created_at * 1000)}"


def with_history(view: TaskView, attempts: Sequence[AttemptFacts], events: Sequence[TaskEvent]) -> TaskView:
    """The view with what its history tells about the current attempt (R-10.3)."""
    current = [event for event in events if event.retry_count == view.retry_count]
    finished_at = view.finished_at
    if view.status.is_terminal and finished_at is None:
        finished_at = _ended_at(attempts)
    return replace(
        view,
        queued_at=_first(current, TaskEventType.QUEUED),
        started_at=_first(current, TaskEventType.STARTED),
        finished_at=finished_at if view.status.is_terminal else None,
        error="" if view.status is RunStatus.COMPLETED else view.error or _last_error(attempts),
        events=events,
    )


def of_attempt(view: TaskView, attempts: Sequence[AttemptFacts], retry_count: int) -> TaskView | None:
    """The view of an earlier attempt; None when the task has had no such attempt.

    ``view``: of the current one, with its history. Attempts that an eviction opened are no attempts of their own.
    """
    if retry_count == view.retry_count:
        return view
    found: AttemptFacts | None = None
    evictions = 0
    for facts in attempts:
        if facts.attempt - evictions == retry_count:
            found = facts
        evictions += facts.outcome is Outcome.EVICTED
    if found is None:
        return None
    mine = [event for event in view.events if event.retry_count == retry_count]
    status = found.outcome.status if found.outcome is not None else RunStatus.CANCELLED
    return replace(
        view,
        retry_count=retry_count,
        status=status,
        is_evicted=False,
        queued_at=_first(mine, TaskEventType.QUEUED),
        started_at=_first(mine, TaskEventType.STARTED),
        finished_at=found.finished_at,
        output=found.output if status is RunStatus.COMPLETED else None,
        error=(found.error or "") if status is not RunStatus.COMPLETED else "",
    )


def _first(events: Sequence[TaskEvent], kind: TaskEventType) -> float | None:
    return next((event.at for event in events if event.type is kind), None)


def _ended_at(attempts: Sequence[AttemptFacts]) -> float | None:
    return next((facts.finished_at for facts in reversed(attempts) if facts.finished_at is not None), None)


def _last_error(attempts: Sequence[AttemptFacts]) -> str:
    return next((facts.error for facts in reversed(attempts) if facts.error), "")
