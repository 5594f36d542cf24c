"""What the rows tell about runs and tasks, for people and for clients that poll."""

from __future__ import annotations

from dataclasses import replace

import orjson

from hatchet.core.clock import Clock
from hatchet.core.errors import InvalidArgument, NotFound
from hatchet.core.history import AttemptFacts, TaskEvent, history
from hatchet.core.ids import parse_uuid
from hatchet.core.messages import RunDetails, TaskDetail
from hatchet.core.payloads import TaskPayload
from hatchet.core.ready_task import ReadyTask
from hatchet.core.run_tasks import Decision, Verdict
from hatchet.core.statuses import Outcome, RunStatus, TaskEventType
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.run_facts import LoadedRun, RunFacts
from hatchet.store.gaps import read_gaps
from hatchet.store.pool import Database, Row
from hatchet.store.runs import resolve_ids, run_payloads
from hatchet.store.tasks import payloads

_WAITED = TaskEventType.WAITING_FOR_BATCH.value


class Reading:
    """Reads runs."""

    def __init__(self, database: Database, rebuild: Rebuild, run_facts: RunFacts, clock: Clock) -> None:
        self._database = database
        self._rebuild = rebuild
        self._run_facts = run_facts
        self._clock = clock

    async def run_details(self, tenant_id: str, external_id: str) -> RunDetails:
        """Everything about one run, or about one task of a run (behaviour-core C-7.23 to C-7.31, C-0.7).

        Raises InvalidArgument for a text that is no UUID, NotFound for an id that the tenant does not have.
        """
        wanted = parse_uuid(external_id)
        if wanted is None:
            raise InvalidArgument(f"invalid external id: '{external_id[:80]}' is not a UUID")
        resolved = await resolve_ids(self._database, tenant_id, [wanted])
        if not resolved:
            raise NotFound(f"run not found: {wanted}")
        [one] = resolved
        if one.run_id is None:
            return await self._task_details(tenant_id, wanted)
        return await self._run_details(tenant_id, one.run_id, None if one.is_run else wanted)

    async def _task_details(self, tenant_id: str, task_id: str) -> RunDetails:
        [(state, task)] = await self._rebuild.states(tenant_id, [task_id])
        payload = (await payloads(self._database, tenant_id, [task_id]))[task_id]
        status = state.status
        detail = TaskDetail(
            task_id=task_id,
            readable_id=task.step.definition.readable_id,
            status=status,
            output=state.output if status is RunStatus.COMPLETED else None,
            error=(state.error or "") if status is RunStatus.FAILED else None,
            is_evicted=state.is_evicted,
        )
        return _details(task_id, payload, status, [detail])

    async def _run_details(self, tenant_id: str, run_id: str, only: str | None) -> RunDetails:
        [run] = await self._run_facts.load(tenant_id, [run_id])
        payload = (await run_payloads(self._database, tenant_id, [run_id]))[run_id]
        tasks = [_task_detail(run, index) for index in range(len(run.tasks)) if run.state.exists(index)]
        if only is None:
            return _details(run_id, payload, run.state.status(), tasks)
        mine = [task for task in tasks if task.task_id == only]
        return _details(run_id, payload, mine[0].status if mine else RunStatus.QUEUED, mine)

    async def _with_queue_times(self, tenant_id: str, task: ReadyTask, facts: list[AttemptFacts]) -> list[AttemptFacts]:
        """When the attempts of a run's task were queued; for all but the last one only their assignment tells."""
        [run] = await self._run_facts.load(tenant_id, [task.run_id or ""])
        found: list[AttemptFacts] = []
        for position, attempt in enumerate(facts):
            follows = position > 0 and facts[position - 1].retry_at is not None
            if follows:
                found.append(attempt)
            elif position == len(facts) - 1:
                decision = run.state.decide(task.step.index, self._clock.now())
                found.append(_decided_at(attempt, decision))
            else:
                found.append(replace(attempt, ready_at=attempt.assigned_at))
        return found

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
        if task.run_id is not None:
            facts = await self._with_queue_times(tenant_id, task, facts)
        if task.step.definition.batch is not None:
            facts = [replace(attempt, is_buffered=_is_buffered(attempt, task)) for attempt in facts]
        gaps = await read_gaps(self._database, tenant_id, task.step.definition.action, created_at)
        return history(created_at, facts, gaps)


def _decided_at(facts: AttemptFacts, decision: Decision) -> AttemptFacts:
    """The attempt that parents and conditions let run, with the time at which they did."""
    is_queued = decision.verdict is Verdict.QUEUE
    return replace(facts, ready_at=decision.at if is_queued else None)


def _is_buffered(facts: AttemptFacts, task: ReadyTask) -> bool:
    """Whether an attempt of a batch task came as far as its buffer; who waits for something else before has no row."""
    if facts.batch_reason is not None or any(kind == _WAITED for kind, _, _ in facts.notes):
        return True
    limits = task.limits
    return limits.error is None and not limits.asks and not limits.units


def _details(run_id: str, payload: TaskPayload, status: RunStatus, tasks: list[TaskDetail]) -> RunDetails:
    return RunDetails(
        run_id=run_id,
        input=payload.input,
        additional_metadata=payload.additional_metadata or "{}",
        status=status,
        done=status.is_terminal,
        tasks=tasks,
    )


def _task_detail(run: LoadedRun, index: int) -> TaskDetail:
    end = run.end(index)
    status = end.outcome.status if end is not None else run.tasks[index].status
    return TaskDetail(
        task_id=run.task_ids[index],
        readable_id=run.version.tasks[index].definition.readable_id,
        status=status,
        output=end.output if end is not None and status is RunStatus.COMPLETED else None,
        error=(end.error or "") if end is not None and status is RunStatus.FAILED else None,
        is_evicted=end is None and run.tasks[index].is_evicted,
    )


def _facts(row: Row, before: AttemptFacts | None) -> AttemptFacts:
    ready_at = before.retry_at if before is not None and before.retry_at is not None else row["inserted_at"]
    if row["replayed_at"] is not None:
        ready_at = row["replayed_at"]
    elif before is not None and before.outcome is Outcome.EVICTED:
        ready_at = row["restored_at"]
    outcome = row["outcome"]
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
    )
