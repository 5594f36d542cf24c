"""Single runs: details, status, events, timings, trigger (behaviour-rest R-10.22 to R-10.36)."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from hatchet.core.errors import AlreadyExists, InvalidArgument
from hatchet.core.messages import Caller, TriggerItem
from hatchet.core.roles import Role
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.json_bodies import object_of
from hatchet.rest.ports import Services
from hatchet.rest.run_bodies import run_details_body, run_event_bodies, status_name, task_body, timing_body
from hatchet.rest.schemas import PaginationResponse, V1TaskEventList
from hatchet.rest.schemas_runs import (
    TaskStatus,
    V1DagChildren,
    V1TaskTimingList,
    V1TriggerWorkflowRunRequest,
    V1WorkflowRunDetails,
)

LISTED = 1000
LAST_OFFSET = 2**31 - 1
DEEPEST = 10
MOST_RUNS = 200
"""Whose tasks can be asked for at once."""

RUN = "/api/v1/stable/workflow-runs/{v1_workflow_run}"

router = APIRouter(route_class=GuardedRoute)


@router.get(RUN, response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_run(
    v1_workflow_run: str,
    caller: CallerOf,
    services: ServicesOf,
    include_orchestrator_events: Annotated[bool, Query(alias="includeOrchestratorEvents")] = False,
) -> V1WorkflowRunDetails:
    """A run with its tasks and their events. Nothing but tasks has events, so asking for others adds none."""
    return await _details(str(UUID(v1_workflow_run)), caller, services)


@router.get(RUN + "/status")
@needs(Role.VIEWER)
async def get_run_status(v1_workflow_run: str, caller: CallerOf, services: ServicesOf) -> TaskStatus:
    """The status alone, a JSON text (R-10.28)."""
    return status_name(await services.views.status(caller.tenant_id, str(UUID(v1_workflow_run))))


@router.get(RUN + "/task-events", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_run_events(
    v1_workflow_run: str,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0, le=LAST_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1)] = LISTED,
) -> V1TaskEventList:
    """The events of all tasks of a run, newest first (R-10.29)."""
    view = await services.views.run(caller.tenant_id, str(UUID(v1_workflow_run)))
    rows = run_event_bodies(view, caller)[offset : offset + limit]
    return V1TaskEventList(pagination=PaginationResponse(), rows=rows)


@router.get(RUN + "/task-timings", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_run_timings(
    v1_workflow_run: str,
    caller: CallerOf,
    services: ServicesOf,
    depth: Annotated[int, Query(ge=0, le=DEEPEST)] = 0,
) -> V1TaskTimingList:
    """When the tasks of a run, and of the runs that they spawned, waited and ran (R-10.30)."""
    found = await services.views.timings(caller.tenant_id, str(UUID(v1_workflow_run)), depth)
    return V1TaskTimingList(pagination=PaginationResponse(), rows=[timing_body(timing) for timing in found])


@router.get("/api/v1/stable/dags/tasks", response_model_exclude_none=True)
@needs(Role.VIEWER, tenant_in_query=True)
async def list_tasks_of_runs(
    dag_ids: Annotated[list[UUID], Query(max_length=MOST_RUNS)],
    tenant: Annotated[UUID, Query()],
    caller: CallerOf,
    services: ServicesOf,
) -> list[V1DagChildren]:
    """The tasks of several runs (R-11.14); ids that are no runs of the tenant are left out."""
    ids = list(dict.fromkeys(str(dag_id) for dag_id in dag_ids))
    return [
        V1DagChildren(dag_id=UUID(view.id), children=[task_body(task, None, caller) for task in view.tasks])
        for view in await services.views.runs(caller.tenant_id, ids)
    ]


@router.post("/api/v1/stable/tenants/{tenant}/workflow-runs/trigger", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def trigger_run(
    tenant: str, body: V1TriggerWorkflowRunRequest, caller: CallerOf, services: ServicesOf
) -> V1WorkflowRunDetails:
    """Start a run. It can be read as soon as it is committed, so whether only its id is wanted makes no difference."""
    item = TriggerItem(
        workflow_name=body.workflow_name,
        input=_text(body.input),
        additional_metadata="" if body.additional_metadata is None else _text(body.additional_metadata),
        priority=body.priority,
    )
    try:
        [run_id] = await services.trigger.trigger(caller.tenant_id, [item])
    except AlreadyExists as error:
        raise InvalidArgument(error.message) from error
    return await _details(run_id, caller, services)


async def _details(run_id: str, caller: Caller, services: Services) -> V1WorkflowRunDetails:
    view = await services.views.run(caller.tenant_id, run_id)
    definition = await services.workflows.definition(caller.tenant_id, view.version.id)
    return run_details_body(view, object_of(definition), caller)


def _text(value: dict[str, Any]) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise InvalidArgument("input and additionalMetadata must be JSON: NaN and Infinity are no numbers") from error
