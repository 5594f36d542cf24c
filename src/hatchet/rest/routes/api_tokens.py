"""API tokens: list, create, revoke (behaviour-rest R-7); for people only, tokens cannot make tokens (R-2.4)."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from hatchet.core.durations import parse_duration
from hatchet.core.errors import InvalidArgument, InvalidFields
from hatchet.core.roles import Role
from hatchet.engine.identity import DEFAULT_LIFETIME_SECONDS, MAX_LIFETIME_SECONDS
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.schemas import PaginationResponse
from hatchet.rest.schemas_people import (
    APIToken,
    CreateAPITokenRequest,
    CreateAPITokenResponse,
    ListAPITokensResponse,
)
from hatchet.rest.times import instant, resource_meta
from hatchet.store.identity import TokenRecord

TOKENS = "/api/v1/tenants/{tenant}/api-tokens"

router = APIRouter(route_class=GuardedRoute)


@router.get(TOKENS, response_model_exclude_none=True)
@needs(Role.ADMIN, tokens=False)
async def list_tokens(tenant: UUID, caller: CallerOf, services: ServicesOf) -> ListAPITokensResponse:
    """The tokens that were not revoked, the newest first (R-7.2)."""
    found = await services.api_tokens.list(caller.tenant_id)
    return ListAPITokensResponse(pagination=PaginationResponse(), rows=[_token_body(record) for record in found])


@router.post(TOKENS, response_model_exclude_none=True)
@needs(Role.ADMIN, tokens=False)
async def create_token(
    tenant: UUID, body: CreateAPITokenRequest, caller: CallerOf, services: ServicesOf
) -> CreateAPITokenResponse:
    """A new token, told here and never again (R-7.1)."""
    name = body.name.strip()
    if not name or not name.isprintable():
        raise InvalidFields(("name", "name: write a name of 1 to 255 characters, without control characters."))
    token = await services.api_tokens.issue(caller.tenant_id, name=name, lifetime_seconds=_lifetime(body.expires_in))
    return CreateAPITokenResponse(token=token)


@router.post("/api/v1/api-tokens/{api_token}", status_code=204, response_model=None)
@needs(Role.ADMIN, tokens=False)
async def revoke_token(api_token: UUID, caller: CallerOf, services: ServicesOf) -> Response:
    """Revoke a token: refused here from now on, on other instances within seconds (R-7.3, R-2.13)."""
    await services.api_tokens.revoke(caller.tenant_id, str(api_token))
    return Response(status_code=204)


def _lifetime(text: str | None) -> float:
    """Seconds of ``expiresIn``. Raises InvalidFields that tells the allowed form (R-7.4)."""
    if text is None:
        return DEFAULT_LIFETIME_SECONDS
    try:
        seconds = parse_duration(text)
    except InvalidArgument as error:
        raise InvalidFields(("expiresIn", f"expiresIn: {error.message}.")) from None
    if not 1 <= seconds <= MAX_LIFETIME_SECONDS:
        raise InvalidFields(("expiresIn", "expiresIn: a token lives at least one second, such as 2160h for 90 days."))
    return seconds


def _token_body(record: TokenRecord) -> APIToken:
    return APIToken(
        metadata=resource_meta(record.id, record.created_at),
        name=record.name,
        expires_at=instant(record.expires_at),
    )
