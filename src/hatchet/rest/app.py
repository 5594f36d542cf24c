"""The HTTP application: routes, error shapes, headers, and the page for browsers (behaviour-rest R-1)."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from hatchet.core.clock import Ids
from hatchet.core.errors import HatchetError
from hatchet.engine.clock import UuidIds
from hatchet.rest import errors, page
from hatchet.rest.body_limit import MOST_BYTES, BodyLimit
from hatchet.rest.document import Api
from hatchet.rest.headers import SecurityHeaders
from hatchet.rest.ports import About, Services
from hatchet.rest.request_ids import RequestIds
from hatchet.rest.routes import (
    api_tokens,
    crons,
    deprecated,
    durable_tasks,
    events,
    filters,
    logs,
    meta,
    queues,
    rate_limits,
    runs,
    scheduled,
    tasks,
    tenants,
    users,
    workers,
    workflows,
)


def build_app(
    services: Services,
    about: About,
    *,
    allowed_origins: Sequence[str] = (),
    most_body_bytes: int = MOST_BYTES,
    ids: Ids | None = None,
) -> ASGIApp:
    """The application of the API port. ``allowed_origins`` are glob patterns; none means any origin (R-1.13).

    ``ids`` names the requests that come without an id.
    """
    limited = BodyLimit(build_api(services, about), most_body_bytes)
    return RequestIds(SecurityHeaders(limited, allowed_origins), ids or UuidIds())


def build_api(services: Services, about: About) -> FastAPI:
    """The application without the headers around it; its ``openapi()`` describes the routes."""
    app = Api(title="Hatchet", version=about.version, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.services = services
    app.state.about = about
    errors.install(app)
    app.include_router(crons.creating)
    app.include_router(users.login_router)
    for routes in (meta, users, tenants, api_tokens, workers, workflows, runs, tasks, durable_tasks):
        app.include_router(routes.router)
    for routes in (filters, rate_limits, queues, events, logs, crons, scheduled, deprecated):
        app.include_router(routes.router)
    app.add_exception_handler(404, _elsewhere)
    return app


async def _elsewhere(request: Request, _error: Exception) -> Response:
    """No route: the page for every path that a browser may have open (R-1.1), but never for the API or for a file."""
    path = request.url.path
    is_page = request.method in ("GET", "HEAD") and path != "/api" and not path.startswith("/api/")
    if not is_page or "." in path.rpartition("/")[2]:
        return errors.framework_error(404, "Not Found")
    services: Services = request.app.state.services
    try:
        connected = await services.workers.connected()
    except HatchetError:
        connected = None
    return HTMLResponse(page.render(request.app.state.about, connected))
