"""Turns rows back into what the engine keeps in memory: ready tasks and flights."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from hatchet.core.definitions import StoredVersion
from hatchet.core.errors import NotFound
from hatchet.core.ids import parse_uuid
from hatchet.core.labels import DesiredLabels, from_data, merged
from hatchet.core.limits import from_text
from hatchet.core.ready_task import ReadyTask
from hatchet.engine.memory import Batch, Flight
from hatchet.engine.registration import Registration
from hatchet.store.pool import Database
from hatchet.store.tasks import TaskState, task_states


class Rebuild:
    """Reads where tasks stand."""

    def __init__(self, database: Database, registration: Registration) -> None:
        self._database = database
        self._registration = registration

    async def states(self, tenant_id: str, task_ids: Sequence[str]) -> list[tuple[TaskState, ReadyTask]]:
        """Each known task with its current attempt (the last one, when the task has ended)."""
        found = await task_states(self._database, tenant_id, task_ids)
        versions = await self._registration.versions({state.version_id for state in found.values()})
        return [
            (state, _task(state, versions[state.version_id]))
            for state in found.values()
            if state.version_id in versions
        ]

    async def require(self, tenant_id: str, task_id: str) -> tuple[TaskState, ReadyTask]:
        """Where a task stands. Raises NotFound when the tenant has no such task run."""
        normal = parse_uuid(task_id)
        states = await self.states(tenant_id, [normal]) if normal is not None else []
        if not states:
            raise NotFound(f"unknown task run: {task_id}")
        return states[0]

    async def flights(self, tenant_id: str, task_ids: Sequence[str]) -> list[Flight]:
        """Those of the tasks whose current attempt is with a worker."""
        found = []
        for state, task in await self.states(tenant_id, task_ids):
            flight = flight_of(tenant_id, state, task)
            if flight is not None:
                found.append(flight)
        return found

    async def whole_batches(self, tenant_id: str, flights: Sequence[Flight]) -> list[Flight]:
        """``flights`` with those that are in a batch with one of them and still with its worker."""
        batches = list({flight.batch.id for flight in flights if flight.batch is not None})
        if not batches:
            return list(flights)
        known = {flight.task.id for flight in flights}
        rows = await self._database.fetch("task_batch_members", tenant_id, batches)
        others = await self.flights(tenant_id, list({str(row["task_id"]) for row in rows} - known))
        return [*flights, *(one for one in others if one.batch is not None and one.batch.id in batches)]


def flight_of(tenant_id: str, state: TaskState, task: ReadyTask) -> Flight | None:
    """The flight of a task whose current attempt is with a worker; None when it waits or has ended."""
    if state.ended is not None or state.worker_id is None or state.assigned_at is None or state.timeout_at is None:
        return None
    flight = Flight(tenant_id, task, state.worker_id, state.assigned_at, state.timeout_at)
    flight.started_at = state.started_at
    flight.is_confirmed = state.started_at is not None
    flight.is_released = state.is_released
    flight.batch = batch_of(task, state.batch_id, state.assigned_at)
    return flight


def batch_of(task: ReadyTask, batch_id: str | None, assigned_at: float) -> Batch | None:
    """The batch in which an attempt was given to its worker, as far as its row tells."""
    if batch_id is None:
        return None
    return Batch(batch_id, task.limits.batch_key or "", "", 0, assigned_at)


def _task(state: TaskState, version: StoredVersion) -> ReadyTask:
    return ready_task(
        version,
        state.step_id,
        state.labels,
        id=state.id,
        limits=state.limits,
        desired_worker=state.desired_worker,
        run_id=state.run_id,
        priority=state.priority,
        ready_at=state.ready_at,
        attempt=state.attempt,
        app_retries=state.app_retries,
        internal_retries=state.internal_retries,
        evictions=state.evictions,
    )


def ready_task(
    version: StoredVersion,
    step_id: str,
    labels: str | None,
    *,
    id: str,  # noqa: A002
    run_id: str | None,
    priority: int,
    ready_at: float,
    attempt: int = 0,
    app_retries: int = 0,
    internal_retries: int = 0,
    evictions: int = 0,
    limits: str | None = None,
    desired_worker: str | None = None,
) -> ReadyTask:
    """An attempt as it is kept in memory; ``labels``: the run's desired worker labels, ``limits``: as stored, JSON."""
    step = version.step(step_id)
    wanted = parsed_labels(labels)
    return ReadyTask(
        id,
        version,
        priority,
        ready_at,
        attempt,
        app_retries,
        internal_retries,
        step=step,
        run_id=run_id,
        labels=merged(step.definition.worker_labels, wanted),
        limits=from_text(limits),
        desired_worker=desired_worker,
        evictions=evictions,
    )


def parsed_labels(text: str | None) -> DesiredLabels:
    """Desired worker labels from their stored form."""
    return from_data(orjson.loads(text)) if text else ()
