"""Crons: make, list, switch, delete, run now (behaviour-rest R-15, behaviour-core C-14.1 to C-14.16)."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Response

from hatchet.core.roles import Role
from hatchet.core.run_filter import metadata_pairs
from hatchet.engine.crons import NewCron
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.pagination import pagination
from hatchet.rest.schemas_schedules import (
    CreateCronWorkflowTriggerRequest,
    CronWorkflows,
    CronWorkflowsList,
    TriggerRunResult,
    UpdateCronWorkflowTriggerRequest,
)
from hatchet.rest.times import resource_meta
from hatchet.store.schedule_entries import CronFilter, CronRecord

LISTED = 50
MOST_LISTED = 1000
LAST_OFFSET = 2**31 - 1

CRONS = "/api/v1/tenants/{tenant}/workflows/crons"
ONE = CRONS + "/{cron_workflow}"

creating = APIRouter(route_class=GuardedRoute)
"""Comes before all routes with an id: a workflow may be named like a part of their paths."""
router = APIRouter(route_class=GuardedRoute)


@creating.post("/api/v1/tenants/{tenant}/workflows/{workflow}/crons", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def create_cron(
    tenant: str, workflow: str, body: CreateCronWorkflowTriggerRequest, caller: CallerOf, services: ServicesOf
) -> CronWorkflows:
    """Make a cron of the workflow of that name (R-15.2)."""
    new = NewCron(
        name=body.cron_name,
        expression=body.cron_expression,
        input=json.dumps(body.input),
        additional_metadata=json.dumps(body.additional_metadata),
        priority=body.priority,
    )
    return cron_body(await services.crons.add(caller.tenant_id, workflow, new))


@router.get(CRONS, response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_crons(
    tenant: str,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0, le=LAST_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1)] = LISTED,
    workflow_id: Annotated[UUID | None, Query(alias="workflowId")] = None,
    workflow_name: Annotated[str | None, Query(alias="workflowName")] = None,
    cron_name: Annotated[str | None, Query(alias="cronName")] = None,
    additional_metadata: Annotated[list[str] | None, Query(alias="additionalMetadata")] = None,
    order_by_field: Annotated[Literal["name", "createdAt"], Query(alias="orderByField")] = "createdAt",
    order_by_direction: Annotated[Literal["ASC", "DESC"], Query(alias="orderByDirection")] = "DESC",
) -> CronWorkflowsList:
    """Crons, the newest first by default (R-15.4)."""
    limit = min(limit, MOST_LISTED)
    wanted = CronFilter(
        workflow_id=None if workflow_id is None else str(workflow_id),
        workflow=workflow_name,
        name=cron_name,
        additional_metadata=metadata_pairs(additional_metadata or (), "additionalMetadata"),
        by_name=order_by_field == "name",
        descending=order_by_direction == "DESC",
    )
    found, total = await services.crons.page(caller.tenant_id, wanted, offset=offset, limit=limit)
    return CronWorkflowsList(pagination=pagination(total, offset, limit), rows=[cron_body(record) for record in found])


@router.get(ONE, response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_cron(tenant: str, cron_workflow: UUID, caller: CallerOf, services: ServicesOf) -> CronWorkflows:
    """One cron (R-15.5)."""
    return cron_body(await services.crons.get(caller.tenant_id, str(cron_workflow)))


@router.patch(ONE, status_code=204)
@needs(Role.MEMBER)
async def update_cron(
    tenant: str, cron_workflow: UUID, body: UpdateCronWorkflowTriggerRequest, caller: CallerOf, services: ServicesOf
) -> Response:
    """Switch it on or off (R-15.5)."""
    if body.enabled is not None:
        await services.crons.switch(caller.tenant_id, str(cron_workflow), body.enabled)
    return Response(status_code=204)


@router.delete(ONE, status_code=204)
@needs(Role.MEMBER)
async def delete_cron(tenant: str, cron_workflow: UUID, caller: CallerOf, services: ServicesOf) -> Response:
    """Delete it (R-15.5); one that is declared in code is refused (R-15.6)."""
    await services.crons.delete(caller.tenant_id, str(cron_workflow))
    return Response(status_code=204)


@router.post(ONE, response_model_exclude_none=True)
@needs(Role.MEMBER)
async def trigger_cron(tenant: str, cron_workflow: UUID, caller: CallerOf, services: ServicesOf) -> TriggerRunResult:
    """Start a run of it now (R-15.7)."""
    return TriggerRunResult(external_id=UUID(await services.crons.trigger(caller.tenant_id, str(cron_workflow))))


def cron_body(record: CronRecord) -> CronWorkflows:
    """A cron in the shape of the contract (R-15.1)."""
    return CronWorkflows(
        metadata=resource_meta(record.id, record.created_at, record.updated_at),
        tenant_id=record.tenant_id,
        workflow_version_id=record.version_id,
        workflow_id=record.workflow_id,
        workflow_name=record.workflow,
        cron=record.expression,
        name=record.name,
        input=object_or_none(record.input),
        additional_metadata=object_or_none(record.additional_metadata),
        enabled=record.is_enabled,
        method=record.method.value,
        priority=record.priority,
    )


def object_or_none(text: str) -> dict[str, Any] | None:
    """The JSON object; None for what an answer cannot hold: other values, and halves of surrogate pairs."""
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
