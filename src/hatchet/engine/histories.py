"""The histories of tasks, read together: a set-based statement for each kind of fact, whatever the number of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from hatchet.core.definitions import StoredTask
from hatchet.core.history import AttemptFacts, Gap, TaskEvent, history
from hatchet.core.limits import Limits
from hatchet.core.run_tasks import Decision, Verdict
from hatchet.core.statuses import Outcome, TaskEventType
from hatchet.store.gaps import read_gaps
from hatchet.store.pool import Database, Row

_WAITED = TaskEventType.WAITING_FOR_BATCH.value


@dataclass(slots=True, frozen=True)
class HistoryOf:
    """A task whose history is wanted."""

    id: str
    created_at: float
    step: StoredTask
    limits: Limits
    decision: Decision | None = None
    """What parents and conditions say of the current attempt; None: the task is a run of its own."""


@dataclass(slots=True, frozen=True)
class TaskHistory:
    """What happened to one task."""

    attempts: Sequence[AttemptFacts]
    """Oldest first; evictions make attempts, too."""
    events: Sequence[TaskEvent]
    """Oldest first (behaviour-core C-5.47)."""


class Histories:
    """Reads histories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self, tenant_id: str, tasks: Sequence[HistoryOf], *, outputs: bool = False
    ) -> dict[str, TaskHistory]:
        """The history of each task that has rows, by its id; with ``outputs`` as each attempt ended with them."""
        if not tasks:
            return {}
        facts: dict[str, list[AttemptFacts]] = {}
        for row in await self._database.fetch("task_attempts", tenant_id, [task.id for task in tasks], outputs):
            of_task = facts.setdefault(str(row["id"]), [])
            of_task.append(_facts(row, of_task[-1] if of_task else None))
        actions = {task.step.definition.action for task in tasks}
        gaps = await read_gaps(self._database, tenant_id, actions, min(task.created_at for task in tasks))
        return {
            task.id: _history(task, facts[task.id], gaps.get(task.step.definition.action, ()))
            for task in tasks
            if task.id in facts
        }


def _history(task: HistoryOf, facts: list[AttemptFacts], gaps: Sequence[Gap]) -> TaskHistory:
    if task.decision is not None:
        facts = _with_queue_times(task.decision, facts)
    if task.step.definition.batch is not None:
        facts = [replace(attempt, is_buffered=_is_buffered(attempt, task.limits)) for attempt in facts]
    return TaskHistory(facts, history(task.created_at, facts, gaps))


def _with_queue_times(decision: Decision, facts: Sequence[AttemptFacts]) -> list[AttemptFacts]:
    """When the attempts of a run's task were queued; for all but the last one only their assignment tells."""
    found: list[AttemptFacts] = []
    for position, attempt in enumerate(facts):
        if position > 0 and facts[position - 1].retry_at is not None:
            found.append(attempt)
        elif position == len(facts) - 1:
            is_queued = decision.verdict is Verdict.QUEUE
            found.append(replace(attempt, ready_at=decision.at if is_queued else None))
        else:
            found.append(replace(attempt, ready_at=attempt.assigned_at))
    return found


def _is_buffered(facts: AttemptFacts, limits: Limits) -> bool:
    """Whether an attempt of a batch task came as far as its buffer; who waits for something else before has no row."""
    if facts.batch_reason is not None or any(kind == _WAITED for kind, _, _ in facts.notes):
        return True
    return limits.error is None and not limits.asks and not limits.units


def _facts(row: Row, before: AttemptFacts | None) -> AttemptFacts:
    ready_at = before.retry_at if before is not None and before.retry_at is not None else row["inserted_at"]
    if row["replayed_at"] is not None:
        ready_at = row["replayed_at"]
    elif before is not None and before.outcome is Outcome.EVICTED:
        ready_at = row["restored_at"]
    outcome, output = row["outcome"], row["output"]
    return AttemptFacts(
        attempt=row["attempt"],
        ready_at=ready_at,
        replayed_at=row["replayed_at"],
        assigned_at=row["assigned_at"],
        worker_id=str(row["worker_id"]) if row["worker_id"] is not None else None,
        started_at=row["started_at"],
        outcome=Outcome(outcome) if outcome is not None else None,
        finished_at=row["finished_at"],
        retry_at=row["retry_at"],
        error=row["error"],
        notes=tuple((kind, float(at), message) for kind, at, message in orjson.loads(row["notes"])),
        batch_reason=row["batch_reason"],
        restored_at=row["restored_at"],
        restore_cause=row["restore_cause"] or "",
        output=output.decode() if output is not None else None,
    )
