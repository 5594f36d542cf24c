"""The caller's tenant (behaviour-rest R-6)."""

from __future__ import annotations

from fastapi import APIRouter

from hatchet.core.roles import Role
from hatchet.rest.access import needs
from hatchet.rest.errors import Refused
from hatchet.rest.guard import NOT_FOUND, AboutOf, CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.schemas import Tenant
from hatchet.rest.times import resource_meta
from hatchet.store.identity import Tenant as StoredTenant

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/v1/tenants/{tenant}", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_tenant(tenant: str, caller: CallerOf, services: ServicesOf, about: AboutOf) -> Tenant:
    """The tenant of the token."""
    found = await services.tenants.get(caller.tenant_id)
    if found is None:
        raise Refused(404, NOT_FOUND)
    return tenant_body(found, about.server_url)


def tenant_body(found: StoredTenant, server_url: str) -> Tenant:
    """A tenant in the shape of the contract (R-6.1)."""
    return Tenant(
        metadata=resource_meta(found.id, found.created_at),
        name=found.name,
        slug=found.slug,
        version="V1",
        server_url=server_url,
    )
