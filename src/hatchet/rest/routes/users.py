"""People: register, sign in and out, who am I, password, memberships (behaviour-rest R-5)."""

from __future__ import annotations

import hashlib

from fastapi import APIRouter, Response
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

from hatchet.core.errors import InvalidArgument
from hatchet.engine.people import INVALID_CREDENTIALS
from hatchet.rest.access import needs_session, open_to_all
from hatchet.rest.guard import AboutOf, GuardedRoute, Handler, ServicesOf, SessionOf
from hatchet.rest.routes.tenants import tenant_body
from hatchet.rest.schemas import PaginationResponse
from hatchet.rest.schemas_people import (
    TenantMember,
    User,
    UserChangePasswordRequest,
    UserLoginRequest,
    UserRegisterRequest,
    UserTenantMembershipsList,
    UserTenantPublic,
)
from hatchet.rest.times import resource_meta
from hatchet.store.people import Membership
from hatchet.store.people import User as StoredUser


class LoginRoute(GuardedRoute):
    """A body that cannot be read gets the answer of a wrong password (R-5.5)."""

    def get_route_handler(self) -> Handler:
        """The usual handler with that one text for every fault."""
        handle = super().get_route_handler()

        async def with_one_text(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError:
                raise InvalidArgument(INVALID_CREDENTIALS) from None

        return with_one_text


router = APIRouter(route_class=GuardedRoute)
login_router = APIRouter(route_class=LoginRoute)


@router.post("/api/v1/users/register", response_model_exclude_none=True)
@open_to_all(signed_out=True, limited=True)
async def register(body: UserRegisterRequest, services: ServicesOf, about: AboutOf, response: Response) -> User:
    """Create a person, who is signed in at once (R-5.2 to R-5.4)."""
    user, cookie = await services.people.register(name=body.name, email=body.email, password=body.password)
    about.cookie.write(response, cookie)
    return user_body(user)


@login_router.post("/api/v1/users/login", response_model_exclude_none=True)
@open_to_all(signed_out=True, limited=True)
async def log_in(body: UserLoginRequest, services: ServicesOf, about: AboutOf, response: Response) -> User:
    """Open a session (R-5.5)."""
    user, cookie = await services.people.log_in(email=body.email, password=body.password)
    about.cookie.write(response, cookie)
    return user_body(user)


@router.post("/api/v1/users/logout", response_model_exclude_none=True)
@needs_session(unverified=True, limited=True)
async def log_out(session: SessionOf, services: ServicesOf, about: AboutOf, response: Response) -> User:
    """End the session everywhere (R-5.7)."""
    await services.people.log_out(session)
    about.cookie.clear(response)
    return user_body(session.user)


@router.get("/api/v1/users/current", response_model_exclude_none=True)
@needs_session(unverified=True)
async def current(session: SessionOf) -> User:
    """Who is signed in (R-5.8)."""
    return user_body(session.user)


@router.post("/api/v1/users/password", response_model_exclude_none=True)
@needs_session(limited=True)
async def change_password(body: UserChangePasswordRequest, session: SessionOf, services: ServicesOf) -> User:
    """Change the password; every other session of the person ends (R-5.9)."""
    await services.people.change_password(session, old=body.password, new=body.new_password)
    return user_body(session.user)


@router.get("/api/v1/users/memberships", response_model_exclude_none=True)
@needs_session()
async def list_memberships(session: SessionOf, services: ServicesOf, about: AboutOf) -> UserTenantMembershipsList:
    """The person's tenants (R-5.10)."""
    found = await services.people.memberships(session.user)
    rows = [_member_body(session.user, membership, about.server_url) for membership in found]
    return UserTenantMembershipsList(pagination=PaginationResponse(), rows=rows)


def user_body(user: StoredUser) -> User:
    """A person in the shape of the contract (R-5.1)."""
    return User(
        metadata=resource_meta(user.id, user.created_at),
        name=user.name,
        email=user.email,
        email_verified=user.email_verified,
        has_password=user.password_hash is not None,
        email_hash=hashlib.sha256(user.email.encode()).hexdigest(),
    )


def _member_body(user: StoredUser, membership: Membership, server_url: str) -> TenantMember:
    return TenantMember(
        metadata=resource_meta(membership.id, membership.created_at),
        user=UserTenantPublic(email=user.email, name=user.name),
        role=membership.role.value,
        can_view_payloads=membership.can_view_payloads,
        tenant=tenant_body(membership.tenant, server_url),
    )
