"""Durable tasks: the log, starting again from a node of it, and restoring an evicted one (behaviour-durable D-25)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from hatchet.core.durable_log import MOST_ENTRIES
from hatchet.core.durable_messages import LogLine
from hatchet.core.roles import Role
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.schemas_durable import (
    V1BranchDurableTaskRequest,
    V1BranchDurableTaskResponse,
    V1DurableEventLogEntry,
    V1RestoreTaskResponse,
    V1WaitItem,
)
from hatchet.rest.times import instant, maybe_instant

LISTED = 1000
LAST_OFFSET = 2**31 - 1
RESTORED = "Restored by the REST API"
"""What the history of a restored task says."""

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/v1/stable/tenants/{tenant}/durable-tasks/{durable_task}", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_durable_log(
    tenant: str,
    durable_task: UUID,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0, le=LAST_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1)] = LISTED,
) -> list[V1DurableEventLogEntry]:
    """The log of a durable task by branch and node, without results (D-25.1 to D-25.4)."""
    lines = await services.durable.entries(caller.tenant_id, str(durable_task), offset, min(limit, MOST_ENTRIES))
    return [_entry_body(line) for line in lines]


@router.post("/api/v1/stable/tenants/{tenant}/durable-tasks/branch", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def branch_durable_task(
    tenant: str, body: V1BranchDurableTaskRequest, caller: CallerOf, services: ServicesOf
) -> V1BranchDurableTaskResponse:
    """Run a durable task again from a node on, on a new branch (D-25.6, D-22.5)."""
    task_id = str(body.task_external_id)
    made = await services.durable.branch(caller.tenant_id, task_id, body.node_id, body.branch_id)
    return V1BranchDurableTaskResponse(task_external_id=body.task_external_id, node_id=body.node_id, branch_id=made)


@router.post("/api/v1/stable/tasks/{task}/restore", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def restore_task(task: str, caller: CallerOf, services: ServicesOf) -> V1RestoreTaskResponse:
    """Queue an evicted task again; one that is queued or runs stays as it is (D-25.7, D-18.3)."""
    await services.restoring.requeue(caller.tenant_id, str(UUID(task)), RESTORED)
    return V1RestoreTaskResponse(requeued=True)


def _entry_body(line: LogLine) -> V1DurableEventLogEntry:
    return V1DurableEventLogEntry(
        node_id=line.node,
        branch_id=line.branch,
        kind=line.kind.value,
        wait_data=None if line.wait_data is None else [V1WaitItem.model_validate(item) for item in line.wait_data],
        is_satisfied=line.is_satisfied,
        satisfied_at=maybe_instant(line.satisfied_at),
        inserted_at=instant(line.inserted_at),
        user_message=line.user_message,
        task_external_id=UUID(line.task_id),
        task_display_name=line.task_name,
    )
