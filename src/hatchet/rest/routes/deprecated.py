"""Routes of earlier generations, which say that they are deprecated and what to use (behaviour-rest R-25.5, R-40.2).

They are not in the document: their parameters and bodies are not looked at, only who calls.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.responses import Response

from hatchet.core.roles import Role
from hatchet.rest.access import needs, needs_credentials
from hatchet.rest.errors import api_errors
from hatchet.rest.guard import GuardedRoute

EVENTS = "GET /api/v1/stable/tenants/{tenant}/events"
PUSH = "the gRPC service EventsService"
RUNS = "the routes below /api/v1/stable/tenants/{tenant}/workflow-runs"
TASKS = "the routes below /api/v1/stable/tasks"

OF_TENANT = "/api/v1/tenants/{tenant}"
DEPRECATED = (
    ("GET", f"{OF_TENANT}/events", "Listing events", EVENTS),
    ("POST", f"{OF_TENANT}/events", "Creating an event", PUSH),
    ("POST", f"{OF_TENANT}/events/bulk", "Creating events in bulk", PUSH),
    ("POST", f"{OF_TENANT}/events/cancel", "Cancelling the runs of events", "tasks/cancel"),
    ("GET", f"{OF_TENANT}/events/keys", "Listing event keys", f"{EVENTS}/keys"),
    ("POST", f"{OF_TENANT}/events/replay", "Replaying events", "tasks/replay"),
    ("GET", f"{OF_TENANT}/queue-metrics", "Reading queue metrics", "task-stats or step-run-queue-metrics"),
    ("GET", f"{OF_TENANT}/step-runs/{{step_run}}", "Reading a step run", TASKS),
    ("POST", f"{OF_TENANT}/step-runs/{{step_run}}/cancel", "Cancelling a step run", "tasks/cancel"),
    ("POST", f"{OF_TENANT}/step-runs/{{step_run}}/rerun", "Running a step again", "tasks/replay"),
    ("GET", f"{OF_TENANT}/step-runs/{{step_run}}/schema", "Reading the schema of a step run", TASKS),
    ("GET", f"{OF_TENANT}/webhook-workers", "Listing webhook workers", "ordinary workers"),
    ("POST", f"{OF_TENANT}/webhook-workers", "Creating a webhook worker", "ordinary workers"),
    ("POST", f"{OF_TENANT}/workflow-runs/replay", "Replaying workflow runs", "tasks/replay"),
    ("GET", f"{OF_TENANT}/workflow-runs/{{workflow_run}}", "Reading a workflow run", RUNS),
    ("GET", f"{OF_TENANT}/workflow-runs/{{workflow_run}}/input", "Reading the input of a workflow run", RUNS),
    ("GET", f"{OF_TENANT}/workflow-runs/{{workflow_run}}/shape", "Reading the shape of a workflow run", RUNS),
    ("GET", f"{OF_TENANT}/workflow-runs/{{workflow_run}}/step-run-events", "Listing step run events", RUNS),
    ("POST", f"{OF_TENANT}/workflows/cancel", "Cancelling workflow runs", "tasks/cancel"),
    ("GET", f"{OF_TENANT}/workflows/runs", "Listing workflow runs", RUNS),
    ("GET", f"{OF_TENANT}/workflows/runs/metrics", "Reading workflow run metrics", "task-metrics"),
    ("GET", f"{OF_TENANT}/workflows/{{workflow}}/worker-count", "Counting the workers of a workflow", "worker"),
    ("GET", "/api/v1/workflows/{workflow}/metrics", "Reading workflow metrics", "task-metrics"),
    ("POST", "/api/v1/workflows/{workflow}/trigger", "Triggering a workflow run", "workflow-runs/trigger"),
)
OF_NOBODY = (
    ("GET", "/api/v1/step-runs/{step_run}/archives", "Listing archives of a step run", TASKS),
    ("GET", "/api/v1/step-runs/{step_run}/events", "Listing events of a step run", TASKS),
    ("DELETE", "/api/v1/webhook-workers/{webhook}", "Deleting a webhook worker", "ordinary workers"),
    ("GET", "/api/v1/webhook-workers/{webhook}/requests", "Listing webhook requests", "ordinary workers"),
)
"""Routes whose path names no resource that exists."""

router = APIRouter(route_class=GuardedRoute)


def _answer(operation: str, instead: str) -> Callable[[], Awaitable[Response]]:
    async def refuse() -> Response:
        return api_errors(400, {"description": f"{operation} is deprecated: use {instead}"})

    return refuse


for _method, _path, _operation, _instead in DEPRECATED:
    _endpoint = needs(Role.VIEWER if _method == "GET" else Role.MEMBER)(_answer(_operation, _instead))
    router.add_api_route(_path, _endpoint, methods=[_method], include_in_schema=False)
for _method, _path, _operation, _instead in OF_NOBODY:
    router.add_api_route(
        _path, needs_credentials()(_answer(_operation, _instead)), methods=[_method], include_in_schema=False
    )
