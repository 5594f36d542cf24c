"""Event filters, and trying out an expression (behaviour-rest R-18, behaviour-core C-8.37, C-12.16)."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from hatchet.core.expressions import ExpressionFailed, Use, evaluate
from hatchet.core.json_texts import json_value
from hatchet.core.roles import Role
from hatchet.core.rules import DefaultFilter
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.pagination import pagination
from hatchet.rest.schemas_filters import (
    V1CELDebugRequest,
    V1CELDebugResponse,
    V1CreateFilterRequest,
    V1Filter,
    V1FilterList,
    V1UpdateFilterRequest,
)
from hatchet.rest.times import resource_meta
from hatchet.store.filters import FilterRecord

MOST_LISTED = 10_000
LAST_OFFSET = 2**31 - 1

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/v1/stable/tenants/{tenant}/filters", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_filters(
    tenant: str,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0, le=LAST_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1)] = MOST_LISTED,
    workflow_ids: Annotated[list[UUID] | None, Query(alias="workflowIds")] = None,
    scopes: Annotated[list[str] | None, Query()] = None,
) -> V1FilterList:
    """The filters of these workflows and scopes, of all by default, the oldest first (R-18.4)."""
    limit = min(limit, MOST_LISTED)
    found, total = await services.filters.list(
        caller.tenant_id,
        workflow_ids=[str(workflow_id) for workflow_id in workflow_ids or ()] or None,
        scopes=scopes or None,
        offset=offset,
        limit=limit,
    )
    return V1FilterList(pagination=pagination(total, offset, limit), rows=[filter_body(record) for record in found])


@router.post("/api/v1/stable/tenants/{tenant}/filters", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def create_filter(tenant: str, body: V1CreateFilterRequest, caller: CallerOf, services: ServicesOf) -> V1Filter:
    """Make a filter (R-18.2, R-18.3)."""
    wanted = DefaultFilter(scope=body.scope, expression=body.expression, payload=json.dumps(body.payload or {}))
    return filter_body(await services.filters.add(caller.tenant_id, str(body.workflow_id), wanted))


@router.get("/api/v1/stable/tenants/{tenant}/filters/{v1_filter}", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_filter(tenant: str, v1_filter: UUID, caller: CallerOf, services: ServicesOf) -> V1Filter:
    """One filter (R-18.4)."""
    return filter_body(await services.filters.get(caller.tenant_id, str(v1_filter)))


@router.patch("/api/v1/stable/tenants/{tenant}/filters/{v1_filter}", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def update_filter(
    tenant: str, v1_filter: UUID, body: V1UpdateFilterRequest, caller: CallerOf, services: ServicesOf
) -> V1Filter:
    """Change scope, expression or payload (R-18.4)."""
    changed = await services.filters.change(
        caller.tenant_id,
        str(v1_filter),
        scope=body.scope,
        expression=body.expression,
        payload=None if body.payload is None else json.dumps(body.payload),
    )
    return filter_body(changed)


@router.delete("/api/v1/stable/tenants/{tenant}/filters/{v1_filter}", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def delete_filter(tenant: str, v1_filter: UUID, caller: CallerOf, services: ServicesOf) -> V1Filter:
    """Delete a filter; the answer is what it was (R-18.4)."""
    return filter_body(await services.filters.remove(caller.tenant_id, str(v1_filter)))


@router.post("/api/v1/stable/tenants/{tenant}/cel/debug", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def debug_expression(tenant: str, body: V1CELDebugRequest, caller: CallerOf) -> V1CELDebugResponse:
    """What the expression of a filter says to this event; that it has no value is an answer, too (R-18.6)."""
    variables: dict[str, Any] = {
        "input": body.input,
        "additional_metadata": body.additional_metadata,
        "payload": body.filter_payload,
    }
    try:
        output = evaluate(body.expression, Use.EVENT_FILTER, variables)
    except ExpressionFailed as failed:
        return V1CELDebugResponse(status="ERROR", error=failed.reason)
    return V1CELDebugResponse(status="SUCCESS", output=output)


def filter_body(record: FilterRecord) -> V1Filter:
    """A filter in the shape of the contract (R-18.1)."""
    return V1Filter(
        metadata=resource_meta(record.id, record.created_at, record.updated_at),
        tenant_id=record.tenant_id,
        workflow_id=UUID(record.workflow_id),
        scope=record.scope,
        expression=record.expression,
        payload=json_value(record.payload),
        is_declarative=record.is_declarative,
    )
