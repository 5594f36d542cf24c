"""What a caller needs to reach a route: declared where the route is, checked in :mod:`hatchet.rest.guard` alone.

Write the decorator between the route and its handler::

    @router.get("/api/v1/tenants/{tenant}/things")
    @needs(Role.VIEWER)
    async def list_things(...)

A route that declares nothing is reached by owners only, and a test fails for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from hatchet.core.roles import Role

_ATTRIBUTE = "__hatchet_access__"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Who(Enum):
    """Which credentials a route takes."""

    MEMBERS = "members"
    """An API token of the path's tenant, or the session of a member of it (R-2.2, R-2.8)."""
    ANYBODY_KNOWN = "anybody known"
    """Any good API token or session; the path names no tenant."""
    PEOPLE = "people"
    """A session only (R-2.5)."""
    EVERYBODY = "everybody"
    """No credentials (R-2.9, R-2.10)."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Access:
    """What a route asks of its caller."""

    who: Who
    role: Role | None = None
    """The least role of a member (R-3); an API token has every right in its tenant (R-2.4)."""
    tenant_in_query: bool = False
    """Whether the tenant is the query parameter ``tenant`` and not part of the path (R-11.14)."""
    tokens: bool = True
    """Whether API tokens are allowed where members are."""
    unverified: bool = False
    """Whether people whose e-mail address is not verified are allowed (R-2.7)."""
    signed_out: bool = False
    """Whether somebody with a session is sent to the dashboard instead (R-2.9)."""
    limited: bool = False
    """Whether requests from one address are limited (R-4.1)."""


UNDECLARED = Access(who=Who.MEMBERS, role=Role.OWNER)


def needs(
    role: Role, *, tokens: bool = True, limited: bool = False, tenant_in_query: bool = False
) -> Callable[[Endpoint], Endpoint]:
    """For members of the path's tenant who have at least this role."""
    return _declare(Access(who=Who.MEMBERS, role=role, tenant_in_query=tenant_in_query, tokens=tokens, limited=limited))


def needs_credentials() -> Callable[[Endpoint], Endpoint]:
    """For every good API token and every session."""
    return _declare(Access(who=Who.ANYBODY_KNOWN))


def needs_session(*, unverified: bool = False, limited: bool = False) -> Callable[[Endpoint], Endpoint]:
    """For people who signed in."""
    return _declare(Access(who=Who.PEOPLE, unverified=unverified, limited=limited))


def open_to_all(*, signed_out: bool = False, limited: bool = False) -> Callable[[Endpoint], Endpoint]:
    """For everybody; with ``signed_out`` not for those who have a session already."""
    return _declare(Access(who=Who.EVERYBODY, signed_out=signed_out, limited=limited))


def access_of(endpoint: Callable[..., Any]) -> Access | None:
    """What the handler of a route declared, None for nothing."""
    found: Access | None = getattr(endpoint, _ATTRIBUTE, None)
    return found


def _declare(access: Access) -> Callable[[Endpoint], Endpoint]:
    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ATTRIBUTE, access)
        return endpoint

    return mark
