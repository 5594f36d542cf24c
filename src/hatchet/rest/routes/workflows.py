"""Workflows: list, read, pause, delete (behaviour-rest R-13, behaviour-core C-4.52)."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Query

from hatchet.core.held import DuringPause, PauseSettings
from hatchet.core.roles import Role
from hatchet.rest.access import needs
from hatchet.rest.errors import Refused
from hatchet.rest.guard import NOT_FOUND, CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.pagination import pagination
from hatchet.rest.ports import Services
from hatchet.rest.schemas import (
    PauseWorkflowRequestPause,
    Workflow,
    WorkflowList,
    WorkflowUpdateRequest,
    WorkflowVersionMeta,
)
from hatchet.rest.schemas_versions import WorkflowVersion
from hatchet.rest.times import resource_meta
from hatchet.rest.version_bodies import version_body
from hatchet.store.workflows_read import VersionRecord, WorkflowRecord

LISTED = 50
MOST_LISTED = 1000
LAST_OFFSET = 2**31 - 1

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/v1/tenants/{tenant}/workflows", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_workflows(
    tenant: str,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0, le=LAST_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1)] = LISTED,
    name: Annotated[str | None, Query()] = None,
) -> WorkflowList:
    """Workflows whose name contains ``name``; the one of exactly that name comes first (R-13.1)."""
    limit = min(limit, MOST_LISTED)
    found, total = await services.workflows.list(caller.tenant_id, name=name, offset=offset, limit=limit)
    return WorkflowList(pagination=pagination(total, offset, limit), rows=[workflow_body(record) for record in found])


@router.get("/api/v1/workflows/{workflow}", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_workflow(workflow: str, caller: CallerOf, services: ServicesOf) -> Workflow:
    """One workflow (R-13.3)."""
    return await _read(str(uuid.UUID(workflow)), caller.tenant_id, services)


@router.patch("/api/v1/workflows/{workflow}", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def update_workflow(
    workflow: str, body: WorkflowUpdateRequest, caller: CallerOf, services: ServicesOf
) -> Workflow:
    """Pause, change how it is paused, or resume (R-13.7)."""
    workflow_id = str(uuid.UUID(workflow))
    if isinstance(body.pause, PauseWorkflowRequestPause):
        await services.workflow_pausing.pause(caller.tenant_id, workflow_id, _settings(body.pause))
    elif body.pause is not None:
        await services.workflow_pausing.unpause(caller.tenant_id, workflow_id)
    return await _read(workflow_id, caller.tenant_id, services)


@router.delete("/api/v1/workflows/{workflow}", status_code=204)
@needs(Role.MEMBER)
async def delete_workflow(workflow: str, caller: CallerOf, services: ServicesOf) -> None:
    """Delete it with its crons, scheduled runs and filters; its open runs are cancelled (R-13.9)."""
    await services.workflow_removal.delete(caller.tenant_id, str(uuid.UUID(workflow)))


@router.get("/api/v1/workflows/{workflow}/versions", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_version(
    workflow: str,
    caller: CallerOf,
    services: ServicesOf,
    version: Annotated[uuid.UUID | None, Query()] = None,
) -> WorkflowVersion:
    """One version of a workflow, the newest by default (R-13.4)."""
    workflow_id = str(uuid.UUID(workflow))
    record = await services.workflows.get(caller.tenant_id, workflow_id)
    wanted = None if version is None else str(version)
    found = await services.workflows.version(caller.tenant_id, workflow_id, wanted)
    if record is None or found is None:
        raise Refused(404, NOT_FOUND)
    return version_body(record, workflow_body(record), found)


async def _read(workflow_id: str, tenant_id: str, services: Services) -> Workflow:
    record = await services.workflows.get(tenant_id, workflow_id)
    if record is None:
        raise Refused(404, NOT_FOUND)
    return workflow_body(record)


def _settings(asked: PauseWorkflowRequestPause) -> PauseSettings:
    return PauseSettings(
        queue_ttl=asked.queue_ttl,
        crons=DuringPause(asked.paused_workflow_cron_run_queue_behavior),
        scheduled=DuringPause(asked.paused_workflow_scheduled_run_queue_behavior),
    )


def workflow_body(record: WorkflowRecord) -> Workflow:
    """A workflow in the shape of the contract (R-13.2)."""
    return Workflow(
        metadata=resource_meta(record.id, record.created_at, record.versions[0].created_at),
        name=record.name,
        tenant_id=record.tenant_id,
        description=record.description,
        is_paused=record.is_paused,
        paused_workflow_cron_run_queue_behavior=record.crons.value if record.crons else None,
        paused_workflow_scheduled_run_queue_behavior=record.scheduled.value if record.scheduled else None,
        versions=[_version_body(record.id, version) for version in record.versions],
    )


def _version_body(workflow_id: str, version: VersionRecord) -> WorkflowVersionMeta:
    return WorkflowVersionMeta(
        metadata=resource_meta(version.id, version.created_at),
        version=version.version,
        order=version.order,
        workflow_id=workflow_id,
    )
