"""Who may call a route, decided before its body is looked at (behaviour-rest R-1.14, R-2, R-3).

In this order: the resource that the path names must exist (404); the API token must be good and of the resource's
tenant, else the session must be good (403); the person must be verified, a member, and have the role that the route
asks for (401); the address must not call too often (429). What a route asks for is declared with
:mod:`hatchet.rest.access`.

Tasks, runs and events are the exception: an API token's are looked up by their handler inside the token's tenant, a
person's in the tenants that the person belongs to, so that others' look like unknown ones (behaviour-core C-1.12).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any

import structlog
from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from hatchet.core.errors import Unauthenticated
from hatchet.core.ids import parse_uuid
from hatchet.core.messages import Caller
from hatchet.core.roles import Role
from hatchet.engine.sessions import Session
from hatchet.rest.access import UNDECLARED, Access, Who, access_of
from hatchet.rest.errors import Refused
from hatchet.rest.ports import About, Owned, Services
from hatchet.store.people import Rights

CREDENTIALS_WANTED = "Please provide valid credentials"
NOT_VERIFIED = "Please verify your email before continuing"
NOT_A_VIEWER = "Not authorized to view this resource"
NOT_FOR_TOKENS = "Not authorized to perform this operation"
NOT_FOUND = "not found"

log = structlog.stdlib.get_logger("hatchet.rest")

LOOKED_UP_INSIDE = ("task", "v1_workflow_run", "event")
"""Path parameters of tasks, runs and events, which are looked up inside the caller's tenants."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """A route that only those reach who it was declared for."""

    def get_route_handler(self) -> Handler:
        """The usual handler behind the guard."""
        handle = super().get_route_handler()
        access = access_of(self.endpoint) or UNDECLARED
        operation = f"{' '.join(sorted(self.methods or ()))} {self.path}"

        async def guarded(request: Request) -> Response:
            if access.who is Who.EVERYBODY:
                if access.signed_out and await _session(request, None) is not None:
                    return RedirectResponse(about_of(request).server_url, status_code=302)
            elif access.who is Who.PEOPLE:
                request.state.session = await _person(request, access, None)
            else:
                request.state.caller = await admit(request, access)
            if access.limited:
                wait = services_of(request).limits.take(_address(request), operation)
                if wait is not None:
                    log.warning("too many requests from one address", operation=operation, address=_address(request))
                    return JSONResponse(None, status_code=429, headers={"Retry-After": str(int(wait) + 1)})
            return await handle(request)

        return guarded


def services_of(request: Request) -> Services:
    """The services that the application was built with."""
    services: Services = request.app.state.services
    return services


def about_of(request: Request) -> About:
    """What the application was built with."""
    about: About = request.app.state.about
    return about


def _caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def _session_of(request: Request) -> Session:
    session: Session = request.state.session
    return session


CallerOf = Annotated[Caller, Depends(_caller_of)]
SessionOf = Annotated[Session, Depends(_session_of)]
"""On routes that need a session."""
ServicesOf = Annotated[Services, Depends(services_of)]
AboutOf = Annotated[About, Depends(about_of)]


async def admit(request: Request, access: Access) -> Caller:
    """The caller, when the path's resource is theirs and their role suffices. Raises Refused with 400, 404, 403 or 401.

    A good API token counts; without one, the session does (R-2.1).
    """
    services = services_of(request)
    named = {"tenant": request.query_params.get("tenant", "")} if access.tenant_in_query else request.path_params
    tenant_id = await _tenant_of(named, services)
    bearer = await _bearer(request.headers.get("authorization", ""), services)
    if bearer is not None and tenant_id in (None, bearer.tenant_id):
        if not access.tokens:
            raise Refused(401, NOT_FOR_TOKENS)
        return bearer
    session = await _person(request, access, tenant_id)
    if access.who is Who.ANYBODY_KNOWN:
        return Caller("", "", Role.VIEWER, False, session.user.id)
    rights = session.rights if tenant_id is not None else await _rights_inside(request, session, services)
    if rights is None or not rights.role.includes(access.role or Role.OWNER):
        raise Refused(401, NOT_A_VIEWER)
    return Caller(rights.tenant_id, "", rights.role, rights.sees_payloads, session.user.id)


def path_id(parameters: Mapping[str, Any], kind: str) -> str:
    """The UUID of the path parameter ``kind``. Raises Refused with 400 when it is none."""
    found = parse_uuid(parameters[kind])
    if found is None:
        raise Refused(400, f"invalid {kind.replace('_', '-')} id")
    return found


async def _tenant_of(parameters: Mapping[str, Any], services: Services) -> str | None:
    for kind in LOOKED_UP_INSIDE:
        if kind in parameters:
            path_id(parameters, kind)
    if "tenant" in parameters:
        tenant_id = path_id(parameters, "tenant")
        if await services.tenants.get(tenant_id) is None:
            raise Refused(404, NOT_FOUND)
        return tenant_id
    owned: tuple[tuple[str, Owned], ...] = (
        ("worker", services.workers),
        ("workflow", services.workflows),
        ("api_token", services.api_tokens),
    )
    for kind, resources in owned:
        if kind in parameters:
            owner = await resources.tenant_of(path_id(parameters, kind))
            if owner is None:
                raise Refused(404, NOT_FOUND)
            return owner
    return None


async def _bearer(header: str, services: Services) -> Caller | None:
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        return None
    try:
        return services.tokens.cached(token) or await services.tokens.verify(token)
    except Unauthenticated:
        return None


async def _session(request: Request, tenant_id: str | None) -> Session | None:
    cookie = about_of(request).cookie.read(request)
    return None if cookie is None else await services_of(request).people.visit(cookie, tenant_id)


async def _person(request: Request, access: Access, tenant_id: str | None) -> Session:
    session = await _session(request, tenant_id)
    if session is None:
        raise Refused(403, CREDENTIALS_WANTED)
    if not session.user.email_verified and not access.unverified:
        raise Refused(401, NOT_VERIFIED)
    return session


async def _rights_inside(request: Request, session: Session, services: Services) -> Rights | None:
    """The rights where the path's task or run is; None for a path that names no resource of a tenant."""
    for kind in LOOKED_UP_INSIDE:
        if kind in request.path_params:
            rights = await services.people.rights_around(session.user, path_id(request.path_params, kind))
            if rights is None:
                raise Refused(404, NOT_FOUND)
            return rights
    return None


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""
