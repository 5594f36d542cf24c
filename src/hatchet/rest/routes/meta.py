"""What the server tells about itself, and whether it works (behaviour-rest R-8)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from hatchet.rest.access import needs_credentials, open_to_all
from hatchet.rest.errors import api_errors
from hatchet.rest.guard import AboutOf, GuardedRoute, ServicesOf
from hatchet.rest.schemas import APIMeta, APIMetaAuth, APIMetaIntegration, Version

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/live", response_model=None)
@open_to_all()
async def liveness(services: ServicesOf) -> Response:
    """200 without a body, 500 when the database does not answer (R-8.6)."""
    return _health(await services.health.is_live())


@router.get("/api/ready", response_model=None)
@open_to_all()
async def readiness(services: ServicesOf) -> Response:
    """As ``/api/live``, and 500 while starting or stopping."""
    return _health(await services.health.is_ready())


@router.get("/api/v1/meta", response_model_exclude_none=True)
@open_to_all()
async def metadata(about: AboutOf) -> APIMeta:
    """R-8.1"""
    return APIMeta(
        auth=APIMetaAuth(schemes=list(about.auth_schemes)),
        allow_signup=about.allow_signup,
        allow_invites=about.allow_invites,
        allow_create_tenant=about.allow_create_tenant,
        allow_change_password=about.allow_change_password,
        observability_enabled=about.observability_enabled,
        prometheus_server_enabled=about.prometheus_enabled,
        auth_disabled=False,
        embedded=about.embedded,
    )


@router.get("/api/v1/cloud/metadata", response_model=None)
@open_to_all()
async def cloud_metadata() -> Response:
    """200 with the error that says "there is no control plane above this server" (R-8.2)."""
    return JSONResponse({"errors": [{"description": "oss"}]})


@router.get("/api/v1/version")
@open_to_all()
async def version(about: AboutOf) -> Version:
    """R-8.4"""
    return Version(version=about.version)


@router.get("/api/v1/meta/integrations")
@needs_credentials()
async def integrations(about: AboutOf) -> list[APIMetaIntegration]:
    """R-8.3"""
    found = about.integrations
    return [APIMetaIntegration(name=name, enabled=enabled) for name, enabled in found.items()]


def _health(good: bool) -> Response:
    if good:
        return Response(status_code=200)
    return api_errors(
        500, {"description": "the server is not ready: it starts, stops, or its database does not answer"}
    )
