"""Scheduled runs: make, list, move, delete, run now (behaviour-rest R-16, behaviour-core C-14.17 to C-14.29)."""

from __future__ import annotations

import json
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from hatchet.core.errors import InvalidArgument, NotFound
from hatchet.core.roles import Role
from hatchet.core.run_filter import metadata_pairs
from hatchet.core.statuses import RunStatus
from hatchet.engine.schedule_fields import checked_time
from hatchet.engine.scheduled_runs import BulkAnswer, Listed, Page, WantedRun
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.pagination import pagination
from hatchet.rest.routes.crons import creating, object_or_none
from hatchet.rest.schemas_schedules import (
    RunStatusName,
    ScheduledWorkflows,
    ScheduledWorkflowsBulkDeleteFilter,
    ScheduledWorkflowsBulkDeleteRequest,
    ScheduledWorkflowsBulkDeleteResponse,
    ScheduledWorkflowsBulkError,
    ScheduledWorkflowsBulkUpdateRequest,
    ScheduledWorkflowsBulkUpdateResponse,
    ScheduledWorkflowsList,
    ScheduleWorkflowRunRequest,
    TriggerRunResult,
    UpdateScheduledWorkflowRunRequest,
)
from hatchet.rest.times import instant, maybe_instant, resource_meta
from hatchet.store.schedule_entries import ScheduledFilter

LISTED = 50
MOST_LISTED = 1000
LAST_OFFSET = 2**31 - 1

SCHEDULED = "/api/v1/tenants/{tenant}/workflows/scheduled"
ONE = SCHEDULED + "/{scheduled_workflow_run}"

Wanted = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "QUEUED", "SCHEDULED"]
_RUN_STATUSES: dict[RunStatus, RunStatusName] = {
    RunStatus.QUEUED: "QUEUED",
    RunStatus.RUNNING: "RUNNING",
    RunStatus.EVICTED: "RUNNING",
    RunStatus.COMPLETED: "SUCCEEDED",
    RunStatus.FAILED: "FAILED",
    RunStatus.CANCELLED: "CANCELLED",
}

router = APIRouter(route_class=GuardedRoute)


@creating.post("/api/v1/tenants/{tenant}/workflows/{workflow}/scheduled", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def create_scheduled(
    tenant: str, workflow: str, body: ScheduleWorkflowRunRequest, caller: CallerOf, services: ServicesOf
) -> ScheduledWorkflows:
    """Schedule a run of the workflow of that name (R-16.2)."""
    wanted = WantedRun(
        workflow=workflow,
        times=[checked_time(body.trigger_at.timestamp(), "triggerAt")],
        input=json.dumps(body.input),
        additional_metadata=json.dumps(body.additional_metadata),
        priority=body.priority,
    )
    try:
        _, [(scheduled_id, _)] = await services.scheduled.add(caller.tenant_id, wanted)
    except NotFound as error:
        raise InvalidArgument(error.message) from None
    return scheduled_body(await services.scheduled.get(caller.tenant_id, scheduled_id))


@router.post(SCHEDULED + "/bulk-delete", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def bulk_delete(
    tenant: str, body: ScheduledWorkflowsBulkDeleteRequest, caller: CallerOf, services: ServicesOf
) -> ScheduledWorkflowsBulkDeleteResponse:
    """Delete by ids or by a filter (R-16.6)."""
    ids = body.scheduled_workflow_run_ids
    if ids is not None and body.filter is not None:
        raise InvalidArgument("Provide scheduledWorkflowRunIds or filter, not both.")
    if ids is not None:
        answer = await services.scheduled.delete_ids(caller.tenant_id, [str(one) for one in ids])
    elif body.filter is not None:
        answer = await services.scheduled.delete_matching(caller.tenant_id, _filter(body.filter))
    else:
        raise InvalidArgument("Provide scheduledWorkflowRunIds or filter.")
    return ScheduledWorkflowsBulkDeleteResponse(deleted_ids=[UUID(one) for one in answer.done], errors=_errors(answer))


@router.post(SCHEDULED + "/bulk-update", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def bulk_update(
    tenant: str, body: ScheduledWorkflowsBulkUpdateRequest, caller: CallerOf, services: ServicesOf
) -> ScheduledWorkflowsBulkUpdateResponse:
    """Give others times; of one id the last counts (R-16.7)."""
    times = {str(update.id): update.trigger_at.timestamp() for update in body.updates}
    answer = await services.scheduled.move_all(caller.tenant_id, times)
    return ScheduledWorkflowsBulkUpdateResponse(updated_ids=[UUID(one) for one in answer.done], errors=_errors(answer))


@router.get(SCHEDULED, response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_scheduled(
    tenant: str,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0, le=LAST_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1)] = LISTED,
    order_by_field: Annotated[Literal["triggerAt", "createdAt"], Query(alias="orderByField")] = "triggerAt",
    order_by_direction: Annotated[Literal["ASC", "DESC"], Query(alias="orderByDirection")] = "DESC",
    workflow_id: Annotated[UUID | None, Query(alias="workflowId")] = None,
    parent_run_id: Annotated[UUID | None, Query(alias="parentWorkflowRunId")] = None,
    parent_task_id: Annotated[UUID | None, Query(alias="parentStepRunId")] = None,
    additional_metadata: Annotated[list[str] | None, Query(alias="additionalMetadata")] = None,
    statuses: Annotated[list[Wanted] | None, Query()] = None,
) -> ScheduledWorkflowsList:
    """Scheduled runs, those that were started, too; the latest time first by default (R-16.3)."""
    limit = min(limit, MOST_LISTED)
    names = set(statuses or ())
    wanted = ScheduledFilter(
        workflow_id=_text(workflow_id),
        parent_run_id=_text(parent_run_id),
        parent_task_id=_text(parent_task_id),
        additional_metadata=metadata_pairs(additional_metadata or (), "additionalMetadata"),
    )
    found, total = await services.scheduled.page(
        caller.tenant_id,
        wanted,
        Page(
            offset=offset,
            limit=limit,
            by_creation=order_by_field == "createdAt",
            descending=order_by_direction == "DESC",
        ),
        waiting="SCHEDULED" in names,
        # PENDING is what older servers called a queued run.
        statuses=frozenset(
            status
            for status, name in _RUN_STATUSES.items()
            if name in names or (name == "QUEUED" and "PENDING" in names)
        ),
    )
    return ScheduledWorkflowsList(
        pagination=pagination(total, offset, limit), rows=[scheduled_body(listed) for listed in found]
    )


@router.get(ONE, response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_scheduled(
    tenant: str, scheduled_workflow_run: UUID, caller: CallerOf, services: ServicesOf
) -> ScheduledWorkflows:
    """One scheduled run (R-16.4)."""
    return scheduled_body(await services.scheduled.get(caller.tenant_id, str(scheduled_workflow_run)))


@router.patch(ONE, response_model_exclude_none=True)
@needs(Role.MEMBER)
async def update_scheduled(
    tenant: str,
    scheduled_workflow_run: UUID,
    body: UpdateScheduledWorkflowRunRequest,
    caller: CallerOf,
    services: ServicesOf,
) -> ScheduledWorkflows:
    """Give it another time (R-16.4)."""
    at = body.trigger_at.timestamp()
    return scheduled_body(await services.scheduled.move(caller.tenant_id, str(scheduled_workflow_run), at))


@router.delete(ONE, status_code=204)
@needs(Role.MEMBER)
async def delete_scheduled(
    tenant: str, scheduled_workflow_run: UUID, caller: CallerOf, services: ServicesOf
) -> Response:
    """Delete it (R-16.4)."""
    await services.scheduled.delete(caller.tenant_id, str(scheduled_workflow_run))
    return Response(status_code=204)


@router.post(ONE, response_model_exclude_none=True)
@needs(Role.MEMBER)
async def trigger_scheduled(
    tenant: str, scheduled_workflow_run: UUID, caller: CallerOf, services: ServicesOf
) -> TriggerRunResult:
    """Start it now (R-16.5)."""
    run_id = await services.scheduled.trigger(caller.tenant_id, str(scheduled_workflow_run))
    return TriggerRunResult(external_id=UUID(run_id))


def scheduled_body(listed: Listed) -> ScheduledWorkflows:
    """A scheduled run in the shape of the contract (R-16.1)."""
    record = listed.record
    return ScheduledWorkflows(
        metadata=resource_meta(record.id, record.created_at, record.updated_at),
        tenant_id=record.tenant_id,
        workflow_version_id=record.version_id,
        workflow_id=record.workflow_id,
        workflow_name=record.workflow,
        trigger_at=instant(record.trigger_at),
        input=object_or_none(record.input),
        additional_metadata=object_or_none(record.additional_metadata),
        workflow_run_id=None if record.run_id is None else UUID(record.run_id),
        workflow_run_name=None if record.run_id is None else record.workflow,
        workflow_run_status=None if listed.status is None else _RUN_STATUSES[listed.status],
        workflow_run_created_at=None if record.run_id is None else maybe_instant(record.triggered_at),
        method=record.method.value,
        priority=record.priority,
    )


def _filter(body: ScheduledWorkflowsBulkDeleteFilter) -> ScheduledFilter:
    return ScheduledFilter(
        workflow_id=_text(body.workflow_id),
        parent_run_id=_text(body.parent_workflow_run_id),
        parent_task_id=_text(body.parent_step_run_id),
        additional_metadata=metadata_pairs(body.additional_metadata or (), "filter.additionalMetadata"),
    )


def _errors(answer: BulkAnswer) -> list[ScheduledWorkflowsBulkError]:
    return [ScheduledWorkflowsBulkError(id=UUID(one), error=error) for one, error in answer.errors]


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
