"""Tasks: cancel, replay, read one and its history (behaviour-rest R-11)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from hatchet.core.errors import InvalidArgument
from hatchet.core.messages import RunFilter
from hatchet.core.roles import Role
from hatchet.core.run_filter import BOTH_GIVEN, listed_statuses, metadata_pairs
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.json_bodies import object_of
from hatchet.rest.run_bodies import task_body, task_event_bodies
from hatchet.rest.schemas import (
    PaginationResponse,
    V1CancelledTasks,
    V1CancelTaskRequest,
    V1ReplayedTasks,
    V1ReplayTaskRequest,
    V1TaskEventList,
    V1TaskFilter,
)
from hatchet.rest.schemas_runs import V1TaskSummary

router = APIRouter(route_class=GuardedRoute)


@router.post("/api/v1/stable/tenants/{tenant}/tasks/cancel", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def cancel_tasks(
    tenant: str, body: V1CancelTaskRequest, caller: CallerOf, services: ServicesOf
) -> V1CancelledTasks:
    """Cancel tasks and runs, by ids or by a filter (R-11.6 to R-11.10)."""
    ids = await services.bulk.cancel(caller.tenant_id, _wanted_runs(body))
    return V1CancelledTasks(ids=[UUID(found) for found in ids])


@router.post("/api/v1/stable/tenants/{tenant}/tasks/replay", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def replay_tasks(
    tenant: str, body: V1ReplayTaskRequest, caller: CallerOf, services: ServicesOf
) -> V1ReplayedTasks:
    """Replay tasks and runs, by ids or by a filter (R-11.6 to R-11.11)."""
    ids = await services.bulk.replay(caller.tenant_id, _wanted_runs(body))
    return V1ReplayedTasks(ids=[UUID(found) for found in ids])


@router.get("/api/v1/stable/tasks/{task}", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_task(
    task: str, caller: CallerOf, services: ServicesOf, attempt: Annotated[int | None, Query()] = None
) -> V1TaskSummary:
    """One task, or one attempt of it, counted from 1 (R-11.1). The id of a run of several tasks is none (R-11.2)."""
    if attempt is not None and attempt <= 0:
        raise InvalidArgument("Attempt must be greater than 0")
    view = await services.views.task(caller.tenant_id, str(UUID(task)), attempt)
    definition = await services.workflows.definition(caller.tenant_id, view.version.id)
    return task_body(view, object_of(definition), caller)


@router.get("/api/v1/stable/tasks/{task}/task-events", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_task_events(
    task: str,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1)] = 1000,
) -> V1TaskEventList:
    """The history of one task, newest first; an event's id is its place in the history (R-11.3)."""
    view = await services.views.task(caller.tenant_id, str(UUID(task)))
    rows = task_event_bodies(view, caller)[offset : offset + limit]
    return V1TaskEventList(pagination=PaginationResponse(), rows=rows)


def _wanted_runs(body: V1CancelTaskRequest) -> list[str] | RunFilter:
    """The ids, none when neither is given (R-11.7), or the filter."""
    if body.filter is None:
        return [str(wanted) for wanted in body.external_ids or ()]
    if body.external_ids:
        raise InvalidArgument(BOTH_GIVEN)
    return _run_filter(body.filter)


def _run_filter(body: V1TaskFilter) -> RunFilter:
    return RunFilter(
        since=body.since.timestamp(),
        until=None if body.until is None else body.until.timestamp(),
        statuses=listed_statuses(body.statuses or (), "filter.statuses"),
        workflow_ids=tuple(str(workflow_id) for workflow_id in body.workflow_ids or ()),
        additional_metadata=metadata_pairs(body.additional_metadata or (), "filter.additionalMetadata"),
    )
