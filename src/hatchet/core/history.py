"""The events of a task, derived from its facts (behaviour-core C-5.47, C-17.45 to C-17.48)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.batches import sentence
from hatchet.core.statuses import Outcome, TaskEventType


@dataclass(slots=True, frozen=True)
class TaskEvent:
    """One line of a task's history."""

    type: TaskEventType
    at: float
    retry_count: int
    message: str
    worker_id: str | None = None
    output: str | None = None
    """JSON text, of FINISHED, when outputs were read."""


@dataclass(slots=True, frozen=True)
class AttemptFacts:
    """What the rows tell about one attempt; times are seconds since 1970."""

    attempt: int
    ready_at: float | None
    """When it was queued; None: it never was."""
    assigned_at: float | None = None
    worker_id: str | None = None
    started_at: float | None = None
    outcome: Outcome | None = None
    finished_at: float | None = None
    retry_at: float | None = None
    error: str | None = None
    replayed_at: float | None = None
    """When a person opened the attempt (C-15.12)."""
    notes: tuple[tuple[str, float, str], ...] = ()
    """(kind, time, message) of what else happened to it, oldest first."""
    is_buffered: bool = False
    """Whether it waited for a batch (C-16.5)."""
    batch_reason: str | None = None
    """Why the batch was flushed in which it was assigned, as C-16.6 names it."""
    restored_at: float | None = None
    """When it was queued again after an eviction (D-18.2)."""
    restore_cause: str = ""
    output: str | None = None
    """JSON text, when outputs were read."""


_ENDINGS = {
    Outcome.COMPLETED: (TaskEventType.FINISHED, "Task completed"),
    Outcome.SKIPPED: (TaskEventType.SKIPPED, "Task was skipped"),
    Outcome.FAILED: (TaskEventType.FAILED, "Task failed"),
    Outcome.TIMED_OUT: (TaskEventType.TIMED_OUT, "Task exceeded its execution timeout"),
    Outcome.CANCELLED: (TaskEventType.CANCELLED, "Task was cancelled"),
    Outcome.OUTRUN: (TaskEventType.CANCELLED, "Cancelled due to concurrency strategy"),
    Outcome.SCHEDULING_TIMED_OUT: (TaskEventType.SCHEDULING_TIMED_OUT, "No worker took the task in time"),
    Outcome.REASSIGNED: (TaskEventType.REASSIGNED, "The worker was lost"),
    Outcome.EVICTED: (TaskEventType.DURABLE_EVICTED, "Task was paused and evicted from its worker"),
    Outcome.COULD_NOT_SEND: (TaskEventType.COULD_NOT_SEND_TO_WORKER, "The task did not reach its worker"),
}


_ENDED_ON_A_WORKER = (Outcome.COMPLETED, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.EVICTED)
_WHILE_WAITING = (TaskEventType.REQUEUED_RATE_LIMIT, TaskEventType.WAITING_FOR_BATCH)
"""Notes about an attempt that no worker has yet."""


@dataclass(slots=True, frozen=True)
class Gap:
    """A time in which no worker served a task's action; ``until`` None: it goes on."""

    since: float
    until: float | None


def history(created_at: float, attempts: Sequence[AttemptFacts], gaps: Sequence[Gap] = ()) -> list[TaskEvent]:
    """Events in the order in which they happened, each with its attempt's retry count.

    ``gaps`` are those of the task's action, oldest first.
    """
    events = [TaskEvent(TaskEventType.CREATED, created_at, 0, "Task was created")]
    evictions = 0
    for facts in attempts:
        # The count that workers and people know leaves evictions out (D-5.7).
        events.extend(_attempt_events(facts, facts.attempt - evictions, gaps))
        evictions += facts.outcome is Outcome.EVICTED
    return events


def _attempt_events(facts: AttemptFacts, number: int, gaps: Sequence[Gap]) -> list[TaskEvent]:
    worker = facts.worker_id
    events: list[TaskEvent] = []
    if facts.restored_at is not None:
        message = facts.restore_cause or "Task was restored"
        events.append(TaskEvent(TaskEventType.DURABLE_RESTORING, facts.restored_at, number, message))
    if facts.ready_at is not None:
        events.append(TaskEvent(TaskEventType.QUEUED, facts.ready_at, number, "Task was queued"))
    if facts.replayed_at is not None:
        events.insert(0, TaskEvent(TaskEventType.RETRIED_BY_USER, facts.replayed_at, number, "Task was replayed"))
    if (unserved_at := _unserved_at(facts, gaps)) is not None:
        message = "No worker serves the task's action"
        events.append(TaskEvent(TaskEventType.REQUEUED_NO_WORKER, unserved_at, number, message))
    if facts.is_buffered and facts.ready_at is not None:
        message = "Task waits for its batch"
        events.append(TaskEvent(TaskEventType.BATCH_BUFFERED, facts.ready_at, number, message))
    notes = [(TaskEventType(kind), at, message) for kind, at, message in facts.notes]
    events.extend(TaskEvent(kind, at, number, message) for kind, at, message in notes if kind in _WHILE_WAITING)
    if facts.assigned_at is not None and facts.batch_reason is not None:
        message = f"{facts.batch_reason}: {sentence(facts.batch_reason)}"
        events.append(TaskEvent(TaskEventType.BATCH_FLUSHED, facts.assigned_at, number, message))
    if facts.assigned_at is not None:
        events.append(TaskEvent(TaskEventType.ASSIGNED, facts.assigned_at, number, "Task was assigned", worker))
        events.append(
            TaskEvent(TaskEventType.SENT_TO_WORKER, facts.assigned_at, number, "Task was sent to its worker", worker)
        )
        started = _started_at(facts)
        if started is not None:
            events.append(TaskEvent(TaskEventType.STARTED, started, number, "Task started", worker))
    events.extend(
        TaskEvent(kind, at, number, message, worker) for kind, at, message in notes if kind not in _WHILE_WAITING
    )
    events.sort(key=lambda event: event.at)
    if facts.outcome is not None and facts.finished_at is not None:
        kind, message = _ENDINGS[facts.outcome]
        output = facts.output if kind is TaskEventType.FINISHED else None
        events.append(TaskEvent(kind, facts.finished_at, number, facts.error or message, worker, output))
        if facts.retry_at is not None and kind in (TaskEventType.FAILED, TaskEventType.TIMED_OUT):
            events.append(TaskEvent(TaskEventType.RETRYING, facts.finished_at, number, "Task will be retried", worker))
    return events


def _unserved_at(facts: AttemptFacts, gaps: Sequence[Gap]) -> float | None:
    """When the attempt, while it waited, first had no worker for its action (C-11.6)."""
    if facts.ready_at is None:
        return None
    ends = [at for at in (facts.assigned_at, facts.finished_at) if at is not None]
    waited_until = min(ends, default=float("inf"))
    for gap in gaps:
        at = max(gap.since, facts.ready_at)
        if at < waited_until and (gap.until is None or gap.until > facts.ready_at):
            return at
    return None


def _started_at(facts: AttemptFacts) -> float | None:
    """The worker's own start, else the hand-over of an attempt that ended on its worker; in order (C-17.47)."""
    if facts.assigned_at is None:
        return None
    started = facts.started_at
    if started is None and facts.outcome in _ENDED_ON_A_WORKER:
        started = facts.assigned_at
    if started is None:
        return None
    latest = facts.finished_at if facts.finished_at is not None else started
    return min(max(started, facts.assigned_at), max(latest, facts.assigned_at))
