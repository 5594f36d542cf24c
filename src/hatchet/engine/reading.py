"""What the rows tell about runs and tasks, for people and for clients that poll."""

from __future__ import annotations

import orjson

from hatchet.core.errors import InvalidArgument, NotFound
from hatchet.core.history import AttemptFacts, TaskEvent, history
from hatchet.core.ids import parse_uuid
from hatchet.core.messages import RunDetails, TaskDetail
from hatchet.core.statuses import Outcome, RunStatus
from hatchet.engine.rebuild import Rebuild
from hatchet.store.gaps import read_gaps
from hatchet.store.pool import Database, Row
from hatchet.store.tasks import TaskState, payloads


class Reading:
    """Reads runs."""

    def __init__(self, database: Database, rebuild: Rebuild) -> None:
        self._database = database
        self._rebuild = rebuild

    async def run_details(self, tenant_id: str, external_id: str) -> RunDetails:
        """Everything about one run (behaviour-core C-7.23 to C-7.31).

        Raises InvalidArgument for a text that is no UUID, NotFound for an id that the tenant does not have.
        """
        run_id = parse_uuid(external_id)
        if run_id is None:
            raise InvalidArgument(f"invalid external id: '{external_id[:80]}' is not a UUID")
        states = await self._rebuild.states(tenant_id, [run_id])
        if not states:
            raise NotFound(f"run not found: {run_id}")
        [(state, task)] = states
        payload = (await payloads(self._database, tenant_id, [run_id]))[run_id]
        status = _status(state)
        detail = TaskDetail(
            task_id=run_id,
            readable_id=task.step.definition.readable_id,
            status=status,
            output=state.output if status is RunStatus.COMPLETED else None,
            error=(state.error or "") if status is RunStatus.FAILED else None,
        )
        return RunDetails(
            run_id=run_id,
            input=payload.input,
            additional_metadata=payload.additional_metadata or "{}",
            status=status,
            done=status.is_terminal,
            tasks=[detail],
        )

    async def history(self, tenant_id: str, task_id: str) -> list[TaskEvent]:
        """The events of a task, oldest first (C-5.47). Raises NotFound for an id that the tenant does not have."""
        normal = parse_uuid(task_id)
        rows = await self._database.fetch("task_attempts", tenant_id, normal) if normal is not None else []
        if not rows:
            raise NotFound(f"task not found: {task_id}")
        facts: list[AttemptFacts] = []
        for row in rows:
            facts.append(_facts(row, facts[-1] if facts else None))
        created_at = rows[0]["inserted_at"]
        [(_, task)] = await self._rebuild.states(tenant_id, [str(normal)])
        gaps = await read_gaps(self._database, tenant_id, task.step.definition.action, created_at)
        return history(created_at, facts, gaps)


def _status(state: TaskState) -> RunStatus:
    if state.ended is not None:
        return state.ended.status
    return RunStatus.RUNNING if state.assigned_at is not None else RunStatus.QUEUED


def _facts(row: Row, before: AttemptFacts | None) -> AttemptFacts:
    ready_at = before.retry_at if before is not None and before.retry_at is not None else row["inserted_at"]
    outcome = row["outcome"]
    return AttemptFacts(
        attempt=row["attempt"],
        ready_at=ready_at,
        assigned_at=row["assigned_at"],
        worker_id=str(row["worker_id"]) if row["worker_id"] is not None else None,
        started_at=row["started_at"],
        outcome=Outcome(outcome) if outcome is not None else None,
        finished_at=row["finished_at"],
        retry_at=row["retry_at"],
        error=row["error"],
        notes=tuple((kind, float(at)) for kind, at in orjson.loads(row["notes"])),
    )
