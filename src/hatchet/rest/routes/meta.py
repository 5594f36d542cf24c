"""What the server tells about itself, and whether it works (behaviour-rest R-8)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hatchet.rest.errors import api_errors
from hatchet.rest.guard import GuardedRoute, ServicesOf
from hatchet.rest.ports import About
from hatchet.rest.schemas import APIMeta, APIMetaAuth, APIMetaIntegration, Version

open_router = APIRouter()
router = APIRouter(route_class=GuardedRoute)


def about_of(request: Request) -> About:
    """What the application was built with."""
    about: About = request.app.state.about
    return about


@open_router.get("/api/live", response_model=None)
async def liveness(services: ServicesOf) -> Response:
    """200 without a body, 500 when the database does not answer (R-8.6)."""
    return _health(await services.health.is_live())


@open_router.get("/api/ready", response_model=None)
async def readiness(services: ServicesOf) -> Response:
    """As ``/api/live``, and 500 while starting or stopping."""
    return _health(await services.health.is_ready())


@open_router.get("/api/v1/meta", response_model_exclude_none=True)
async def metadata(request: Request) -> APIMeta:
    """R-8.1"""
    about = about_of(request)
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


@open_router.get("/api/v1/cloud/metadata", response_model=None)
async def cloud_metadata() -> Response:
    """200 with the error that says "there is no control plane above this server" (R-8.2)."""
    return JSONResponse({"errors": [{"description": "oss"}]})


@open_router.get("/api/v1/version")
async def version(request: Request) -> Version:
    """R-8.4"""
    return Version(version=about_of(request).version)


@router.get("/api/v1/meta/integrations")
async def integrations(request: Request) -> list[APIMetaIntegration]:
    """R-8.3"""
    found = about_of(request).integrations
    return [APIMetaIntegration(name=name, enabled=enabled) for name, enabled in found.items()]


def _health(good: bool) -> Response:
    if good:
        return Response(status_code=200)
    return api_errors(
        500, {"description": "the server is not ready: it starts, stops, or its database does not answer"}
    )
