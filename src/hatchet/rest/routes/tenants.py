"""The caller's tenant (behaviour-rest R-6)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from hatchet.rest.errors import Refused
from hatchet.rest.guard import NOT_FOUND, CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.routes.meta import about_of
from hatchet.rest.schemas import Tenant
from hatchet.rest.times import resource_meta

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/v1/tenants/{tenant}", response_model_exclude_none=True)
async def get_tenant(tenant: str, caller: CallerOf, services: ServicesOf, request: Request) -> Tenant:
    """The tenant of the token."""
    found = await services.tenants.get(caller.tenant_id)
    if found is None:
        raise Refused(404, NOT_FOUND)
    return Tenant(
        metadata=resource_meta(found.id, found.created_at),
        name=found.name,
        slug=found.slug,
        version="V1",
        server_url=about_of(request).server_url,
    )
