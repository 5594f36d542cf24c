"""The HTTP front door: shapes, errors, headers, order of checks, health, and the server around it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, cast

import httpx2
import pytest

from contract.rest_contract import answer_schema, complaints, route_complaints
from hatchet.core.clock import HeldClock
from hatchet.core.definitions import TaskDefinition, WorkflowDefinition, stored_version
from hatchet.core.errors import FailedPrecondition, NotFound, Unauthenticated, Unavailable
from hatchet.core.held import PauseSettings
from hatchet.core.history import TaskEvent
from hatchet.core.messages import Caller, RunFilter, WorkerRegistration
from hatchet.core.run_views import TaskView
from hatchet.core.statuses import RunStatus, TaskEventType
from hatchet.engine.clock import UuidIds
from hatchet.engine.registration import Registration
from hatchet.engine.worker_use import Use
from hatchet.rest.app import build_api, build_app
from hatchet.rest.headers import SECURITY
from hatchet.rest.health import Health, build_health_app
from hatchet.rest.http_server import HttpServer
from hatchet.rest.page import STYLE
from hatchet.rest.ports import (
    About,
    CronKeeping,
    DurableTasks,
    EventReading,
    Filtering,
    LogReading,
    PeopleKeeping,
    QueueReading,
    RateLimiting,
    Restoring,
    RunReading,
    ScheduledKeeping,
    Services,
    TokenKeeping,
    Triggering,
    WorkflowRemoving,
)
from hatchet.rest.request_limits import RequestLimits
from hatchet.store.identity import Tenant, insert_tenant
from hatchet.store.pool import Database
from hatchet.store.workers import insert_worker, open_session
from hatchet.store.workers_read import WorkerRecord, WorkersRead, WorkerStatus, WorkflowName, status
from hatchet.store.workflows_read import VersionRecord, WorkflowRecord

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
OTHER = "0195f2a0-0000-7000-8000-000000000001"
WORKER = "0195f2a0-0000-7000-8000-00000000000a"
OTHERS_WORKER = "0195f2a0-0000-7000-8000-00000000000b"
TASK = "0195f2a0-0000-7000-8000-00000000000c"
WORKFLOW = "0195f2a0-0000-7000-8000-00000000000d"
OTHERS_WORKFLOW = "0195f2a0-0000-7000-8000-00000000000e"
UNKNOWN = "0195f2a0-0000-7000-8000-0000000000ff"
GOOD = {"Authorization": "Bearer good"}
NOW = 1_750_000_000.0


class FakeTokens:
    """``good`` is a token of TENANT, everything else is none."""

    def cached(self, token: str) -> Caller | None:
        return None

    async def verify(self, token: str) -> Caller:
        if token == "away":
            raise Unavailable("the database does not answer: gone")
        if token != "good":
            raise Unauthenticated
        return Caller(TENANT, UNKNOWN)


class FakeTenants:
    async def get(self, tenant_id: str) -> Tenant | None:
        return Tenant(tenant_id, "Default", "default", NOW) if tenant_id in (TENANT, OTHER) else None


class FakeWorkers:
    """One worker of TENANT and one of OTHER."""

    def __init__(self) -> None:
        self.records = {WORKER: record(WORKER, "first"), OTHERS_WORKER: record(OTHERS_WORKER, "second")}
        self.owners = {WORKER: TENANT, OTHERS_WORKER: OTHER}
        self.broken: Exception | None = None

    async def list(self, tenant_id: str) -> list[WorkerRecord]:
        if self.broken:
            raise self.broken
        return [found for found in self.records.values() if self.owners[found.id] == tenant_id]

    async def get(self, tenant_id: str, worker_id: str) -> WorkerRecord | None:
        return self.records[worker_id] if self.owners.get(worker_id) == tenant_id else None

    async def tenant_of(self, worker_id: str) -> str | None:
        return self.owners.get(worker_id)

    async def workflows(self, tenant_id: str, record: WorkerRecord) -> tuple[WorkflowName, ...]:
        return (WorkflowName(UNKNOWN, "flow"),)

    async def connected(self) -> int:
        if self.broken:
            raise self.broken
        return 17

    async def set_paused(self, tenant_id: str, worker_id: str, paused: bool) -> None:
        assert self.owners[worker_id] == tenant_id
        found = replace(self.records[worker_id], is_paused=paused)
        self.records[worker_id] = replace(found, status=status(found, NOW))


class FakeWorkflows:
    """One workflow of TENANT and one of OTHER."""

    def __init__(self) -> None:
        version = VersionRecord(id=UNKNOWN, order=1, version="", created_at=NOW)
        self.record = WorkflowRecord(
            id=WORKFLOW, tenant_id=TENANT, name="flow", description="", created_at=NOW, is_paused=False,
            crons=None, scheduled=None, versions=(version,),
        )  # fmt: skip
        self.paused: list[tuple[str, str, PauseSettings]] = []

    async def list(
        self, tenant_id: str, *, name: str | None, offset: int, limit: int
    ) -> tuple[list[WorkflowRecord], int]:
        return [self.record], 1

    async def get(self, tenant_id: str, workflow_id: str) -> WorkflowRecord | None:
        return self.record if (tenant_id, workflow_id) == (TENANT, WORKFLOW) else None

    async def tenant_of(self, workflow_id: str) -> str | None:
        return {WORKFLOW: TENANT, OTHERS_WORKFLOW: OTHER}.get(workflow_id)

    async def pause(self, tenant_id: str, workflow_id: str, settings: PauseSettings) -> None:
        self.paused.append((tenant_id, workflow_id, settings))


VERSION = stored_version(
    WorkflowDefinition(name="flow", tasks=(TaskDefinition(readable_id="flow", action="flow:run"),)),
    {"flow": UNKNOWN},
    version_id=UNKNOWN,
    tenant_id=TENANT,
    workflow_id=WORKFLOW,
    order=1,
)


class FakeEngine:
    """Cancels and replays known ids, finds TASK by every filter, and knows the history of TASK."""

    def __init__(self) -> None:
        self.cancelled: list[tuple[str, Sequence[str] | RunFilter]] = []
        self.replayed: list[tuple[str, Sequence[str] | RunFilter]] = []

    async def cancel(self, tenant_id: str, wanted: Sequence[str] | RunFilter) -> list[str]:
        self.cancelled.append((tenant_id, wanted))
        return self._found(wanted)

    async def replay(self, tenant_id: str, wanted: Sequence[str] | RunFilter) -> list[str]:
        self.replayed.append((tenant_id, wanted))
        return self._found(wanted)

    def _found(self, wanted: Sequence[str] | RunFilter) -> list[str]:
        return [TASK] if isinstance(wanted, RunFilter) else [found for found in wanted if found != UNKNOWN]

    async def task(self, tenant_id: str, task_id: str, attempt: int | None = None) -> TaskView:
        if (tenant_id, task_id) != (TENANT, TASK):
            raise NotFound(f"no task has the id {task_id}.")
        return TaskView(
            id=TASK,
            run_id=TASK,
            version=VERSION,
            step=VERSION.tasks[0],
            status=RunStatus.COMPLETED,
            retry_count=1,
            created_at=NOW,
            events=self.events,
        )

    async def of(self, tenant_id: str) -> dict[str, Use]:
        return {WORKER: Use({"default": 7}, 2)} if tenant_id == TENANT else {}

    @property
    def events(self) -> list[TaskEvent]:
        return [
            TaskEvent(TaskEventType.CREATED, NOW, 0, "Task was created"),
            TaskEvent(TaskEventType.ASSIGNED, NOW + 1, 0, "Task was assigned", WORKER),
            TaskEvent(TaskEventType.FAILED, NOW + 2, 0, "boom", WORKER),
            TaskEvent(TaskEventType.FINISHED, NOW + 3, 1, "Task completed", WORKER),
        ]


def record(worker_id: str, name: str, **changes: Any) -> WorkerRecord:
    made = WorkerRecord(
        id=worker_id,
        name=name,
        actions=("flow:task",),
        slots={"default": 10},
        labels={"model": "big", "memory": 512},
        created_at=NOW - 60,
        last_heartbeat_at=NOW - 1,
        session_started_at=NOW - 50,
        listener_instance=UNKNOWN,
        sdk_version="1.2.3",
        language="GO",
        language_version="1.24",
        os="linux",
    )
    made = replace(made, **changes)
    return replace(made, status=status(made, NOW))


class Door:
    """The application on fakes, and a client of it."""

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self.workers = FakeWorkers()
        self.engine = FakeEngine()
        self.workflows = FakeWorkflows()
        self.clock = HeldClock(NOW)
        self.broken: Exception | None = None
        self.pings = 0
        self.health = Health([self._ping], clock=self.clock)
        self.services = Services(
            tokens=FakeTokens(),
            api_tokens=cast("TokenKeeping", self.engine),
            people=cast("PeopleKeeping", self.engine),
            limits=RequestLimits(self.clock),
            tenants=FakeTenants(),
            workers=self.workers,
            pausing=self.workers,
            workflows=self.workflows,
            workflow_pausing=self.workflows,
            workflow_removal=cast("WorkflowRemoving", self.engine),
            bulk=self.engine,
            filters=cast("Filtering", self.engine),
            rate_limits=cast("RateLimiting", self.engine),
            crons=cast("CronKeeping", self.engine),
            scheduled=cast("ScheduledKeeping", self.engine),
            views=cast("RunReading", self.engine),
            trigger=cast("Triggering", self.engine),
            events=cast("EventReading", self.engine),
            logs=cast("LogReading", self.engine),
            queue_stats=cast("QueueReading", self.engine),
            worker_uses=self.engine,
            durable=cast("DurableTasks", self.engine),
            restoring=cast("Restoring", self.engine),
            health=self.health,
        )
        self.about = About(version="9.8.7", grpc_address="127.0.0.1:7070", server_url="http://localhost:8080")
        app = build_app(self.services, self.about, allowed_origins=origins)
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://localhost:8080")

    async def _ping(self) -> None:
        self.pings += 1
        if self.broken:
            raise self.broken


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door()
    yield made
    await made.client.aclose()


def test_routes_are_those_of_the_contract() -> None:
    made = Door()
    document = build_api(made.services, made.about).openapi()
    assert len(document["paths"]) >= 11
    assert route_complaints(document) == []


PAUSE = {
    "action": "pause",
    "pausedWorkflowCronRunQueueBehavior": "QUEUE",
    "pausedWorkflowScheduledRunQueueBehavior": "DROP",
    "pausedWorkflowQueueTTL": "10m",
}
CALLS = [
    ("GET", "/api/v1/meta", "/api/v1/meta", None),
    ("GET", "/api/v1/cloud/metadata", "/api/v1/cloud/metadata", None),
    ("GET", "/api/v1/meta/integrations", "/api/v1/meta/integrations", None),
    ("GET", "/api/v1/version", "/api/v1/version", None),
    ("GET", "/api/v1/tenants/{tenant}", f"/api/v1/tenants/{TENANT}", None),
    ("GET", "/api/v1/tenants/{tenant}/worker", f"/api/v1/tenants/{TENANT}/worker", None),
    ("GET", "/api/v1/workers/{worker}", f"/api/v1/workers/{WORKER}", None),
    ("PATCH", "/api/v1/workers/{worker}", f"/api/v1/workers/{WORKER}", {"isPaused": True}),
    ("GET", "/api/v1/tenants/{tenant}/workflows", f"/api/v1/tenants/{TENANT}/workflows", None),
    ("GET", "/api/v1/workflows/{workflow}", f"/api/v1/workflows/{WORKFLOW}", None),
    ("PATCH", "/api/v1/workflows/{workflow}", f"/api/v1/workflows/{WORKFLOW}", {"pause": PAUSE}),
    (
        "POST",
        "/api/v1/stable/tenants/{tenant}/tasks/cancel",
        f"/api/v1/stable/tenants/{TENANT}/tasks/cancel",
        {"externalIds": [TASK]},
    ),
    (
        "POST",
        "/api/v1/stable/tenants/{tenant}/tasks/replay",
        f"/api/v1/stable/tenants/{TENANT}/tasks/replay",
        {"externalIds": [TASK]},
    ),
    ("GET", "/api/v1/stable/tasks/{task}/task-events", f"/api/v1/stable/tasks/{TASK}/task-events", None),
]
GUARDED = [call for call in CALLS if call[1] not in ("/api/v1/meta", "/api/v1/cloud/metadata", "/api/v1/version")]


@pytest.mark.parametrize(("method", "path", "url", "body"), CALLS, ids=[f"{call[0]} {call[1]}" for call in CALLS])
async def test_answers_have_the_shape_of_the_contract(door: Door, method: str, path: str, url: str, body: Any) -> None:
    answer = await door.client.request(method, url, json=body, headers=GOOD)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert complaints(answer.json(), answer_schema(method, path, 200)) == []


@pytest.mark.parametrize(("method", "path", "url", "body"), GUARDED, ids=[f"{call[0]} {call[1]}" for call in GUARDED])
@pytest.mark.parametrize("header", [None, "Bearer bad", "Bearer ", "Basic good", "good", "bearer"])
async def test_r_2_3_without_good_credentials_403(
    door: Door, method: str, path: str, url: str, body: Any, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await door.client.request(method, url, json=body, headers=headers)
    assert answer.status_code == 403
    assert answer.json() == {"message": "Please provide valid credentials"}
    assert door.engine.cancelled == door.engine.replayed == []
    assert not door.workers.records[WORKER].is_paused
    assert door.workflows.paused == []


async def test_r_2_1_the_word_bearer_in_any_case(door: Door) -> None:
    for word in ("bearer", "BEARER", "Bearer"):
        answer = await door.client.get(f"/api/v1/tenants/{TENANT}", headers={"Authorization": f"{word} good"})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", f"/api/v1/tenants/{OTHER}"),
        ("GET", f"/api/v1/tenants/{OTHER}/worker"),
        ("GET", f"/api/v1/workers/{OTHERS_WORKER}"),
        ("PATCH", f"/api/v1/workers/{OTHERS_WORKER}"),
        ("GET", f"/api/v1/tenants/{OTHER}/workflows"),
        ("GET", f"/api/v1/workflows/{OTHERS_WORKFLOW}"),
        ("PATCH", f"/api/v1/workflows/{OTHERS_WORKFLOW}"),
        ("POST", f"/api/v1/stable/tenants/{OTHER}/tasks/cancel"),
        ("POST", f"/api/v1/stable/tenants/{OTHER}/tasks/replay"),
    ],
)
async def test_r_2_2_another_tenants_resource_is_403(door: Door, method: str, url: str) -> None:
    answer = await door.client.request(method, url, headers=GOOD, json={"isPaused": True})
    assert (answer.status_code, answer.json()) == (403, {"message": "Please provide valid credentials"})
    assert not door.workers.records[OTHERS_WORKER].is_paused


@pytest.mark.parametrize(
    "url", [f"/api/v1/tenants/{UNKNOWN}", f"/api/v1/workers/{UNKNOWN}", f"/api/v1/workflows/{UNKNOWN}"]
)
@pytest.mark.parametrize("headers", [{}, GOOD])
async def test_r_1_14_an_unknown_resource_is_404_even_without_credentials(
    door: Door, url: str, headers: dict[str, str]
) -> None:
    answer = await door.client.get(url, headers=headers)
    assert (answer.status_code, answer.json()) == (404, {"message": "not found"})


@pytest.mark.parametrize(
    ("method", "url", "kind"),
    [
        ("GET", "/api/v1/tenants/x", "tenant"),
        ("GET", "/api/v1/workers/12345", "worker"),
        ("GET", "/api/v1/workflows/12345", "workflow"),
        ("GET", "/api/v1/stable/tasks/x/task-events", "task"),
    ],
)
async def test_r_3_8_a_malformed_id_is_400(door: Door, method: str, url: str, kind: str) -> None:
    answer = await door.client.request(method, url, headers=GOOD)
    assert (answer.status_code, answer.json()) == (400, {"message": f"invalid {kind} id"})


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"isPaused": "maybe"}', b""])
async def test_r_1_14_credentials_are_looked_at_before_the_body(door: Door, content: bytes) -> None:
    url, kind = f"/api/v1/workers/{WORKER}", {"Content-Type": "application/json"}
    assert (await door.client.patch(url, content=content, headers=kind)).status_code == 403
    answer = await door.client.patch(url, content=content, headers=kind | GOOD)
    assert answer.status_code == 400
    assert complaints(answer.json(), answer_schema("PATCH", "/api/v1/workers/{worker}", 400)) == []


async def test_r_1_11_a_bad_parameter_is_named(door: Door) -> None:
    url = f"/api/v1/tenants/{TENANT}/worker"
    for name, value in {"limit": "0", "offset": "-1", "statuses": "SLEEPING"}.items():
        answer = await door.client.get(url, params={name: value}, headers=GOOD)
        assert answer.status_code == 400
        assert name in answer.json()["errors"][0]["field"]


async def test_r_1_10_an_unexpected_failure_leaks_nothing(door: Door) -> None:
    door.workers.broken = RuntimeError("secret detail")
    answer = await door.client.get(f"/api/v1/tenants/{TENANT}/worker", headers=GOOD)
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error"})
    assert answer.headers["x-frame-options"] == "DENY"


async def test_a_database_that_is_away_is_503_so_that_clients_retry(door: Door) -> None:
    answer = await door.client.get(f"/api/v1/tenants/{TENANT}", headers={"Authorization": "Bearer away"})
    assert answer.status_code == 503
    assert complaints(answer.json(), {"ref": "APIErrors"}) == []


@pytest.mark.parametrize("path", ["/", "/api/v1/meta", "/api/nothing", f"/api/v1/tenants/{TENANT}", "/x.png"])
async def test_r_1_12_security_headers_on_every_answer(door: Door, path: str) -> None:
    answer = await door.client.get(path)
    for name, value in SECURITY.items():
        assert answer.headers[name] == value


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/nothing", 404),
        ("POST", "/api/v1/nothing", 404),
        ("GET", "/api", 404),
        ("DELETE", "/api/v1/meta", 405),
    ],
)
async def test_unknown_api_paths_have_the_framework_body(door: Door, method: str, path: str, code: int) -> None:
    answer = await door.client.request(method, path, headers=GOOD)
    assert answer.status_code == code
    assert list(answer.json()) == ["message"]


async def test_r_1_13_cors_any_origin_when_none_is_configured(door: Door) -> None:
    answer = await door.client.get("/api/v1/meta", headers={"Origin": "http://elsewhere"})
    assert answer.headers["access-control-allow-origin"] == "http://elsewhere"
    assert "origin" in answer.headers["vary"].lower()
    assert "access-control-allow-origin" not in (await door.client.get("/api/v1/meta")).headers


async def test_r_1_13_cors_preflight_by_glob_patterns() -> None:
    made = Door(origins=["https://*.example.com"])
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization, x-y"}
    url = f"/api/v1/workers/{WORKER}"
    good = await made.client.options(url, headers=asked | {"Origin": "https://app.example.com"})
    assert good.status_code == 200
    assert good.headers["access-control-allow-origin"] == "https://app.example.com"
    assert good.headers["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE, OPTIONS"
    assert good.headers["access-control-allow-headers"] == "authorization, x-y"
    bad = await made.client.options(url, headers=asked | {"Origin": "https://example.org"})
    assert bad.status_code == 403
    assert "access-control-allow-origin" not in bad.headers
    await made.client.aclose()


async def test_r_8_2_cloud_metadata_says_oss(door: Door) -> None:
    answer = await door.client.get("/api/v1/cloud/metadata")
    assert answer.json() == {"errors": [{"description": "oss"}]}


async def test_r_8_1_meta_tells_what_the_server_was_built_with(door: Door) -> None:
    made = await door.client.get("/api/v1/meta")
    assert made.json()["auth"] == {"schemes": []}
    assert made.json()["allowSignup"] is False
    about = replace(door.about, allow_signup=True, auth_schemes=("basic",))
    transport = httpx2.ASGITransport(app=build_app(door.services, about))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
        other = (await client.get("/api/v1/meta")).json()
    assert (other["allowSignup"], other["auth"]) == (True, {"schemes": ["basic"]})


async def test_r_8_4_version(door: Door) -> None:
    assert (await door.client.get("/api/v1/version")).json() == {"version": "9.8.7"}


async def test_the_tenant_of_the_token(door: Door) -> None:
    body = (await door.client.get(f"/api/v1/tenants/{TENANT.upper()}", headers=GOOD)).json()
    assert (body["metadata"]["id"], body["name"], body["slug"], body["version"]) == (TENANT, "Default", "default", "V1")


async def test_r_14_2_a_worker_as_clients_parse_it(door: Door) -> None:
    body = (await door.client.get(f"/api/v1/workers/{WORKER}", headers=GOOD)).json()
    assert (body["metadata"]["id"], body["name"], body["type"], body["status"]) == (
        WORKER,
        "first",
        "SELFHOSTED",
        "ACTIVE",
    )
    assert {label["key"]: label["value"] for label in body["labels"]} == {"model": "big", "memory": "512"}
    assert (body["slotConfig"], body["evictedDurableTaskCount"]) == ({"default": {"available": 7, "limit": 10}}, 2)
    assert body["runtimeInfo"] == {
        "sdkVersion": "1.2.3",
        "language": "GOLANG",
        "languageVersion": "1.24",
        "os": "linux",
    }
    assert body["registeredWorkflows"] == [{"id": UNKNOWN, "name": "flow"}]
    assert body["recentStepRuns"] == []
    assert body["lastHeartbeatAt"] == "2025-06-15T15:06:39Z"


async def test_r_14_4_an_unknown_language_is_left_out(door: Door) -> None:
    door.workers.records[WORKER] = record(WORKER, "first", language="COBOL")
    body = (await door.client.get(f"/api/v1/workers/{WORKER}", headers=GOOD)).json()
    assert "language" not in body["runtimeInfo"]


async def test_c_2_37_pause_and_resume(door: Door) -> None:
    url = f"/api/v1/workers/{WORKER}"
    assert (await door.client.patch(url, json={"isPaused": True}, headers=GOOD)).json()["status"] == "PAUSED"
    assert (await door.client.patch(url, json={}, headers=GOOD)).json()["status"] == "PAUSED"
    assert (await door.client.patch(url, json={"isPaused": False}, headers=GOOD)).json()["status"] == "ACTIVE"


async def test_r_14_1_list_filters_and_pages(door: Door) -> None:
    door.workers.records = {}
    for number in range(5):
        worker_id = f"0195f2a0-0000-7000-8000-00000000010{number}"
        door.workers.owners[worker_id] = TENANT
        door.workers.records[worker_id] = record(
            worker_id, f"w{number}", is_paused=number == 1, last_heartbeat_at=NOW - (60 if number == 2 else 1),
            labels={"zone": "a" if number < 3 else "b", "size": number},
        )  # fmt: skip

    async def names(**params: Any) -> list[str]:
        answer = await door.client.get(f"/api/v1/tenants/{TENANT}/worker", params=params, headers=GOOD)
        assert complaints(answer.json(), {"ref": "WorkerList"}) == []
        return [row["name"] for row in answer.json()["rows"]]

    assert await names() == ["w0", "w1", "w2", "w3", "w4"]
    assert await names(statuses=["PAUSED", "INACTIVE"]) == ["w1", "w2"]
    assert await names(labels=["zone:b"]) == ["w3", "w4"]
    assert await names(labels=["zone:a", "size:2"]) == ["w2"]
    assert await names(offset=1, limit=2, includeOperators="true") == ["w1", "w2"]
    page = (await door.client.get(f"/api/v1/tenants/{TENANT}/worker?offset=4&limit=2", headers=GOOD)).json()
    assert page["pagination"] == {"current_page": 3, "next_page": 3, "num_pages": 3}


@pytest.mark.parametrize("label", ["zone", "zone:a:b", ":a"])
async def test_r_9_7_a_label_filter_needs_exactly_one_colon(door: Door, label: str) -> None:
    answer = await door.client.get(f"/api/v1/tenants/{TENANT}/worker", params={"labels": label}, headers=GOOD)
    assert answer.status_code == 400
    assert "key:value" in answer.json()["errors"][0]["description"]


def bulk_url(does: str) -> str:
    return f"/api/v1/stable/tenants/{TENANT}/tasks/{does}"


def asked_in_bulk(door: Door, does: str) -> list[tuple[str, Sequence[str] | RunFilter]]:
    return door.engine.cancelled if does == "cancel" else door.engine.replayed


@pytest.mark.parametrize("does", ["cancel", "replay"])
async def test_r_11_6_bulk_takes_ids_and_answers_those_it_found(door: Door, does: str) -> None:
    answer = await door.client.post(bulk_url(does), json={"externalIds": [TASK.upper(), UNKNOWN]}, headers=GOOD)
    assert (answer.status_code, answer.json()) == (200, {"ids": [TASK]})
    assert asked_in_bulk(door, does) == [(TENANT, [TASK, UNKNOWN])]
    assert len(door.engine.cancelled) + len(door.engine.replayed) == 1


@pytest.mark.parametrize("does", ["cancel", "replay"])
async def test_r_11_6_bulk_takes_a_filter(door: Door, does: str) -> None:
    body = {
        "since": "2026-01-01T00:00:00.25Z",
        "until": "2026-01-01T02:00:00+01:00",
        "statuses": ["FAILED", "RUNNING"],
        "workflowIds": [WORKER.upper()],
        "additionalMetadata": ["a:b:c", "n:1", "n:2"],
    }
    answer = await door.client.post(bulk_url(does), json={"filter": body}, headers=GOOD)
    assert (answer.status_code, answer.json()) == (200, {"ids": [TASK]})
    wanted = RunFilter(
        since=1_767_225_600.25,
        until=1_767_229_200.0,
        statuses=frozenset({RunStatus.FAILED, RunStatus.RUNNING}),
        workflow_ids=(WORKER,),
        additional_metadata=(("a", "b:c"), ("n", "2")),
    )
    assert asked_in_bulk(door, does) == [(TENANT, wanted)]


async def test_r_11_8_a_filter_of_a_time_alone_means_every_status(door: Door) -> None:
    # An empty list beside a filter is what a client sends that always fills in both fields.
    body = {"externalIds": [], "filter": {"since": "0001-01-01T00:00:00Z"}}
    assert (await door.client.post(bulk_url("replay"), json=body, headers=GOOD)).status_code == 200
    assert door.engine.replayed == [(TENANT, RunFilter(since=-62_135_596_800))]


@pytest.mark.parametrize("does", ["cancel", "replay"])
@pytest.mark.parametrize("body", [{}, {"externalIds": []}, {"externalIds": None, "filter": None}])
async def test_r_11_7_bulk_without_ids_and_filter_does_nothing(door: Door, does: str, body: Any) -> None:
    answer = await door.client.post(bulk_url(does), json=body, headers=GOOD)
    assert (answer.status_code, answer.json()) == (200, {"ids": []})
    assert asked_in_bulk(door, does) == [(TENANT, [])]


SINCE = {"since": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize("does", ["cancel", "replay"])
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"externalIds": [TASK], "filter": SINCE}, "cannot provide both external ids and filter"),
        ({"externalIds": ["x"]}, "externalIds.0"),
        ({"filter": {}}, "filter.since"),
        ({"filter": {"since": "yesterday"}}, "filter.since"),
        ({"filter": {"since": "2026-01-01T00:00:00"}}, "filter.since"),
        ({"filter": SINCE | {"statuses": ["EVICTED"]}}, "filter.statuses.0"),
        ({"filter": SINCE | {"workflowIds": ["flow"]}}, "filter.workflowIds.0"),
        ({"filter": SINCE | {"additionalMetadata": ["key"]}}, "filter.additionalMetadata: 'key'"),
        ({"filter": SINCE | {"additionalMetadata": ["key:\x00"]}}, "filter.additionalMetadata: 'key'"),
        ({"filter": SINCE | {"additionalMetadata": ["key:\ud800"]}}, "filter.additionalMetadata: 'key'"),
        ({"filter": SINCE | {"additionalMetadata": ["\ud800:"]}}, "filter.additionalMetadata"),
        ({"filter": SINCE | {"additionalMetadata": ["\ud800"]}}, "filter.additionalMetadata"),
        ([], "body"),
    ],
)
async def test_r_11_7_bad_fields_of_a_bulk_are_named(door: Door, does: str, body: Any, named: str) -> None:
    headers = GOOD | {"Content-Type": "application/json"}
    answer = await door.client.post(bulk_url(does), content=json.dumps(body), headers=headers)
    assert answer.status_code == 400
    schema = answer_schema("POST", f"/api/v1/stable/tenants/{{tenant}}/tasks/{does}", 400)
    assert complaints(answer.json(), schema) == []
    assert named in answer.json()["errors"][0]["description"]
    assert door.engine.cancelled == door.engine.replayed == []


async def test_r_11_3_history_newest_first(door: Door) -> None:
    url = f"/api/v1/stable/tasks/{TASK}/task-events"
    rows = (await door.client.get(url, headers=GOOD)).json()["rows"]
    assert [row["eventType"] for row in rows] == ["FINISHED", "FAILED", "ASSIGNED", "CREATED"]
    assert [row["id"] for row in rows] == [4, 3, 2, 1]
    assert (rows[1]["errorMessage"], rows[1]["attempt"], rows[0]["attempt"]) == ("boom", 1, 2)
    assert "errorMessage" not in rows[0]
    assert {row["taskId"] for row in rows} == {TASK}
    page = (await door.client.get(url, params={"offset": 1, "limit": 2}, headers=GOOD)).json()
    assert [row["id"] for row in page["rows"]] == [3, 2]


async def test_c_1_12_an_unknown_or_foreign_task_is_404(door: Door) -> None:
    answer = await door.client.get(f"/api/v1/stable/tasks/{UNKNOWN}/task-events", headers=GOOD)
    assert answer.status_code == 404
    assert UNKNOWN in answer.json()["errors"][0]["description"]


async def test_the_page_says_what_runs_and_what_is_missing(door: Door) -> None:
    for path in ("/", "/tenants/x/runs"):
        answer = await door.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        for text in ("is running", "9.8.7", "127.0.0.1:7070", "17", "not part of this version", 'href="/api/v1/meta"'):
            assert text in answer.text
        assert f"<style>{STYLE}</style>" in answer.text
        assert "src=" not in answer.text
    assert (await door.client.get("/favicon.ico")).status_code == 404
    door.workers.broken = Unavailable("gone")
    assert "does not answer" in (await door.client.get("/")).text


async def test_r_8_6_live_and_ready_on_the_api_port(door: Door) -> None:
    assert (await door.client.get("/api/live")).status_code == 200
    assert (await door.client.get("/api/ready")).status_code == 500
    door.health.begin_serving()
    answer = await door.client.get("/api/ready")
    assert (answer.status_code, answer.content) == (200, b"")
    door.broken = Unavailable("gone")
    door.clock.advance(2)
    for path in ("/api/live", "/api/ready"):
        answer = await door.client.get(path)
        assert answer.status_code == 500
        assert complaints(answer.json(), answer_schema("GET", path, 500)) == []


async def test_r_8_7_the_health_port(door: Door) -> None:
    transport = httpx2.ASGITransport(app=build_health_app(door.health, version="9.8.7"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:

        async def codes() -> tuple[int, int]:
            return (await client.get("/live")).status_code, (await client.get("/ready")).status_code

        assert await codes() == (200, 503)
        door.health.begin_serving()
        assert await codes() == (200, 200)
        door.broken = Unavailable("gone")
        door.clock.advance(2)
        assert await codes() == (503, 503)
        door.broken = None
        door.clock.advance(2)
        assert await codes() == (200, 200)
        door.health.begin_shutdown()
        assert await codes() == (200, 503)
        assert (await client.get("/version")).json() == {"version": "9.8.7"}


async def test_probes_within_a_second_share_one_look_at_the_database(door: Door) -> None:
    await asyncio.gather(*(door.health.is_live() for _ in range(20)))
    assert door.pings == 1
    door.clock.advance(1)
    await door.health.is_live()
    assert door.pings == 2


async def test_a_check_that_hangs_makes_the_instance_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hatchet.rest.health.TIMEOUT_SECONDS", 0.01)
    health = Health([asyncio.Event().wait], clock=HeldClock())
    assert not await health.is_live()


async def test_the_http_server_serves_stops_and_leaves_signals_alone(door: Door) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    server = HttpServer(build_app(door.services, door.about), host="127.0.0.1", port=0, variable="SERVER_PORT")
    port = await server.start()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get("/api/v1/version")
        assert answer.json() == {"version": "9.8.7"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers
    await server.stop()
    await server.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_a_port_in_use_names_port_and_variable(door: Door) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        app = build_health_app(door.health, version="x")
        server = HttpServer(app, host="127.0.0.1", port=port, variable="SERVER_HEALTHCHECK_PORT")
        with pytest.raises(FailedPrecondition, match=rf"{port}.*SERVER_HEALTHCHECK_PORT"):
            await server.start()
        await server.stop()


async def register(database: Database, worker_id: str, tenant_id: str, name: str, at: float) -> None:
    registration = WorkerRegistration(
        name=name, actions=("flow:task",), slots={"default": 5}, labels={"a": "b", "n": 1}, language="PYTHON"
    )
    await insert_worker(database, worker_id, tenant_id, registration, at)


async def test_c_2_39_workers_read_from_the_database(database: Database) -> None:
    clock = HeldClock(NOW)
    await register(database, WORKER, TENANT, "first", NOW - 3)
    await open_session(database, TENANT, WORKER, UNKNOWN, NOW - 2)
    await register(database, OTHERS_WORKER, OTHER, "second", NOW - 1)
    workers = WorkersRead(database, clock)
    [found] = await workers.list(TENANT)
    assert (found.id, found.name, found.slots, found.labels) == (WORKER, "first", {"default": 5}, {"a": "b", "n": 1})
    assert (found.language, found.listener_instance, found.session_started_at) == ("PYTHON", UNKNOWN, NOW - 2)
    assert found.status is WorkerStatus.ACTIVE
    assert await workers.connected() == 1
    assert await workers.tenant_of(WORKER) == TENANT
    assert await workers.tenant_of(UNKNOWN) is None
    assert await workers.get(OTHER, WORKER) is None
    assert await workers.workflows(TENANT, found) == ()
    clock.advance(4)
    inactive = await workers.get(TENANT, WORKER)
    assert inactive is not None
    assert inactive.status is WorkerStatus.INACTIVE
    assert await workers.connected() == 0
    clock.advance(86400)
    assert await workers.list(TENANT) == []
    assert await workers.get(TENANT, WORKER) is not None


async def test_r_14_6_the_workflows_that_a_worker_can_run(database: Database) -> None:
    clock = HeldClock(NOW)
    await insert_tenant(database, Tenant(TENANT, "Default", "default", NOW))
    registration = Registration(database=database, clock=clock, ids=UuidIds())
    task = TaskDefinition(readable_id="task", action="flow:task")
    mine = await registration.put(TENANT, WorkflowDefinition(name="flow", tasks=(task,)))
    other = TaskDefinition(readable_id="task", action="other:task")
    await registration.put(TENANT, WorkflowDefinition(name="other", tasks=(other,)))
    await registration.put(TENANT, WorkflowDefinition(name="moved", tasks=(task,)))
    await registration.put(TENANT, WorkflowDefinition(name="moved", tasks=(other,)))
    await register(database, WORKER, TENANT, "first", NOW)
    workers = WorkersRead(database, clock)
    found = await workers.get(TENANT, WORKER)
    assert found is not None
    assert await workers.workflows(TENANT, found) == (WorkflowName(mine.workflow_id, "flow"),)


async def test_c_2_39_heartbeats_in_memory_count_before_they_are_written(database: Database) -> None:
    clock = HeldClock(NOW + 10)
    await register(database, WORKER, TENANT, "first", NOW)
    by_memory = WorkersRead(database, clock, heartbeats={WORKER: NOW + 9}.get)
    found = await by_memory.get(TENANT, WORKER)
    assert found is not None
    assert (found.status, found.last_heartbeat_at) == (WorkerStatus.ACTIVE, NOW + 9)
    by_row = await WorkersRead(database, clock).get(TENANT, WORKER)
    assert by_row is not None
    assert by_row.status is WorkerStatus.INACTIVE
    with_slack = await WorkersRead(database, clock, slack_seconds=5).get(TENANT, WORKER)
    assert with_slack is not None
    assert with_slack.status is WorkerStatus.ACTIVE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, WorkerStatus.ACTIVE),
        ({"is_paused": True}, WorkerStatus.PAUSED),
        ({"last_heartbeat_at": None}, WorkerStatus.INACTIVE),
        ({"last_heartbeat_at": NOW - 5}, WorkerStatus.ACTIVE),
        ({"last_heartbeat_at": NOW - 5.1, "is_paused": True}, WorkerStatus.INACTIVE),
        ({"unsubscribed_at": NOW - 0.5}, WorkerStatus.INACTIVE),
        ({"unsubscribed_at": NOW - 2}, WorkerStatus.ACTIVE),
    ],
)
def test_c_2_39_status_rule(changes: dict[str, Any], expected: WorkerStatus) -> None:
    assert record(WORKER, "w", **changes).status is expected
