"""Rate limits: list and delete (behaviour-rest R-17). They are made over gRPC and by tasks."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from hatchet.core.roles import Role
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.pagination import pagination
from hatchet.rest.rate_limit_schemas import RateLimit, RateLimitList
from hatchet.rest.times import instant, maybe_instant
from hatchet.store.rate_limits import LimitRecord

LISTED = 50
MOST_LISTED = 1000
LAST_OFFSET = 2**31 - 1

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/v1/tenants/{tenant}/rate-limits", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_rate_limits(
    tenant: str,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0, le=LAST_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1)] = LISTED,
    search: Annotated[str | None, Query()] = None,
    order_by: Annotated[Literal["key", "value", "limitValue"], Query(alias="orderByField")] = "key",
    direction: Annotated[Literal["asc", "desc"], Query(alias="orderByDirection")] = "asc",
) -> RateLimitList:
    """Limits whose key contains ``search``, with the units that are left now (R-17.1)."""
    limit = min(limit, MOST_LISTED)
    found, total = await services.rate_limits.list(
        caller.tenant_id,
        search=search,
        order_by=order_by,
        is_descending=direction == "desc",
        offset=offset,
        limit=limit,
    )
    rows = [rate_limit_body(caller.tenant_id, record) for record in found]
    return RateLimitList(pagination=pagination(total, offset, limit), rows=rows)


@router.delete("/api/v1/tenants/{tenant}/rate-limits", status_code=204, response_model=None)
@needs(Role.MEMBER)
async def delete_rate_limit(
    tenant: str, caller: CallerOf, services: ServicesOf, key: Annotated[str, Query()]
) -> Response:
    """Delete one limit; 204 also when there is none (R-17.2)."""
    await services.rate_limits.delete(caller.tenant_id, key)
    return Response(status_code=204)


def rate_limit_body(tenant_id: str, record: LimitRecord) -> RateLimit:
    """A rate limit in the shape of the contract."""
    return RateLimit(
        key=record.key,
        tenant_id=tenant_id,
        limit_value=record.limit,
        value=record.value,
        window=record.window.value,
        last_refill=instant(record.refilled_at),
        paused_until=maybe_instant(record.paused_until),
    )
