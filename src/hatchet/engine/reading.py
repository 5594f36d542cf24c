"""What the rows tell about runs and tasks, for people and for clients that poll."""

from __future__ import annotations

from hatchet.core.errors import InvalidArgument, NotFound
from hatchet.core.ids import parse_uuid
from hatchet.core.messages import RunDetails, TaskDetail
from hatchet.core.payloads import TaskPayload
from hatchet.core.statuses import RunStatus
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.run_facts import LoadedRun, RunFacts
from hatchet.store.pool import Database
from hatchet.store.runs import resolve_ids, run_payloads
from hatchet.store.tasks import payloads


class Reading:
    """Reads runs."""

    def __init__(self, database: Database, rebuild: Rebuild, run_facts: RunFacts) -> None:
        self._database = database
        self._rebuild = rebuild
        self._run_facts = run_facts

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
