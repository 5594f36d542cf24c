"""Who may call a route, decided before its body is looked at (behaviour-rest R-1.14, R-2.1 to R-2.3).

In this order: the resource that the path names must exist (404), the bearer token must be good (403), and the resource
must belong to the token's tenant (403). Tasks are the exception: they are looked up by their handler inside the token's
tenant, so that another tenant's task looks like an unknown one (behaviour-core C-1.12).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from hatchet.core.errors import Unauthenticated
from hatchet.core.ids import parse_uuid
from hatchet.core.messages import Caller
from hatchet.rest.errors import Refused
from hatchet.rest.ports import Services

CREDENTIALS_WANTED = "Please provide valid credentials"
NOT_FOUND = "not found"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """A route that only a bearer of the tenant's token reaches."""

    def get_route_handler(self) -> Handler:
        """The usual handler behind the guard."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.caller = await admit(request)
            return await handle(request)

        return guarded


def services_of(request: Request) -> Services:
    """The services that the application was built with."""
    services: Services = request.app.state.services
    return services


def _caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CallerOf = Annotated[Caller, Depends(_caller_of)]
ServicesOf = Annotated[Services, Depends(services_of)]


async def admit(request: Request) -> Caller:
    """The caller, when the path's resource is theirs. Raises Refused with 400, 404 or 403."""
    services = services_of(request)
    tenant_id = await _tenant_of_path(request.path_params, services)
    caller = await _authenticated(request.headers.get("authorization", ""), services)
    if tenant_id is not None and tenant_id != caller.tenant_id:
        raise Refused(403, CREDENTIALS_WANTED)
    return caller


def path_id(parameters: dict[str, Any], kind: str) -> str:
    """The UUID of the path parameter ``kind``. Raises Refused with 400 when it is none."""
    found = parse_uuid(parameters[kind])
    if found is None:
        raise Refused(400, f"invalid {kind} id")
    return found


async def _tenant_of_path(parameters: dict[str, Any], services: Services) -> str | None:
    if "task" in parameters:
        path_id(parameters, "task")
    if "tenant" in parameters:
        tenant_id = path_id(parameters, "tenant")
        if await services.tenants.get(tenant_id) is None:
            raise Refused(404, NOT_FOUND)
        return tenant_id
    for kind, resources in (("worker", services.workers), ("workflow", services.workflows)):
        if kind in parameters:
            owner = await resources.tenant_of(path_id(parameters, kind))
            if owner is None:
                raise Refused(404, NOT_FOUND)
            return owner
    return None


async def _authenticated(header: str, services: Services) -> Caller:
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Refused(403, CREDENTIALS_WANTED)
    caller = services.tokens.cached(token)
    if caller is not None:
        return caller
    try:
        return await services.tokens.verify(token)
    except Unauthenticated:
        raise Refused(403, CREDENTIALS_WANTED) from None
