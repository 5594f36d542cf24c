"""Bodies about people, their memberships, and API tokens (behaviour-rest R-5, R-7)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from hatchet.rest.schemas import APIResourceMeta, Body, PaginationResponse, Tenant

Email = Annotated[str, Field(json_schema_extra={"format": "email"})]
"""Checked by the engine, which answers with the texts of the contract."""


class User(Body):
    """R-5.1"""

    metadata: APIResourceMeta
    name: str | None = None
    email: Email
    email_verified: bool
    has_password: bool | None = None
    email_hash: str | None = None


class UserRegisterRequest(Body):
    """R-5.2"""

    name: str
    email: Email
    password: str = Field(repr=False)


class UserLoginRequest(Body):
    """R-5.5"""

    email: Email
    password: str = Field(repr=False)


class UserChangePasswordRequest(Body):
    """R-5.9"""

    password: str = Field(repr=False)
    new_password: str = Field(repr=False)


class UserTenantPublic(Body):
    """A person as other members see them."""

    email: Email
    name: str | None = None


class TenantMember(Body):
    """R-5.11"""

    metadata: APIResourceMeta
    user: UserTenantPublic
    role: Literal["OWNER", "ADMIN", "MEMBER", "VIEWER"]
    can_view_payloads: bool | None = None
    tenant: Tenant | None = None


class UserTenantMembershipsList(Body):
    """R-5.10"""

    pagination: PaginationResponse | None = None
    rows: list[TenantMember] | None = None


class CreateAPITokenRequest(Body):
    """R-7.1; ``expiresIn`` is a duration text."""

    name: str = Field(min_length=1, max_length=255)
    expires_in: str | None = None


class CreateAPITokenResponse(Body):
    """R-7.1: the only time that the token is told."""

    token: str = Field(repr=False)


class APIToken(Body):
    """R-7.2"""

    metadata: APIResourceMeta
    name: str = Field(max_length=255)
    expires_at: datetime


class ListAPITokensResponse(Body):
    """R-7.2"""

    pagination: PaginationResponse | None = None
    rows: list[APIToken] | None = None
