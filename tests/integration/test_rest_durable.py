"""Durable tasks over HTTP: the log, branches and restores, on stand-ins for the engine (behaviour-durable D-25)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import fields, replace
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from contract.rest_contract import answer_schema, complaints, route_complaints
from hatchet.core.durable_log import EntryKind
from hatchet.core.durable_messages import LogLine
from hatchet.core.errors import FailedPrecondition, NotFound, Unauthenticated
from hatchet.core.messages import Caller
from hatchet.rest.app import build_api, build_app
from hatchet.rest.ports import About, Services
from hatchet.store.identity import Tenant

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
OTHER = "707d0855-80ab-4e1f-a156-f1c4546cbf53"
TASK = "0195f2a0-0000-7000-8000-00000000000c"
UNKNOWN = "0195f2a0-0000-7000-8000-0000000000ff"
NOW = 1_750_000_000.0
LOG = "/api/v1/stable/tenants/{tenant}/durable-tasks/{durable-task}"
BRANCH = "/api/v1/stable/tenants/{tenant}/durable-tasks/branch"
RESTORE = "/api/v1/stable/tasks/{task}/restore"
BODY = {"taskExternalId": TASK, "nodeId": 2, "branchId": 3}


class FakeTokens:
    """``good`` is a token of TENANT, everything else is none."""

    def cached(self, token: str) -> Caller | None:
        return Caller(TENANT, "token") if token == "good" else None

    async def verify(self, token: str) -> Caller:
        raise Unauthenticated


class FakeTenants:
    async def get(self, tenant_id: str) -> Tenant | None:
        return Tenant(tenant_id, "One", "one", NOW) if tenant_id in (TENANT, OTHER) else None


class FakeEngine:
    """Knows TASK of TENANT."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.lines: list[LogLine] = []
        self.failure: Exception | None = None

    async def entries(self, tenant_id: str, task_id: str, offset: int, limit: int) -> Sequence[LogLine]:
        self._know(tenant_id, task_id, offset, limit)
        return self.lines

    async def branch(self, tenant_id: str, task_id: str, node: int, branch: int) -> int:
        self._know(tenant_id, task_id, node, branch)
        return branch + 1

    async def requeue(self, tenant_id: str, task_id: str, cause: str) -> None:
        self._know(tenant_id, task_id, cause)

    def _know(self, tenant_id: str, task_id: str, *asked: Any) -> None:
        if (tenant_id, task_id) != (TENANT, TASK):
            raise NotFound(f"unknown task run: {task_id}")
        if self.failure is not None:
            raise self.failure
        self.asked.append((task_id, *asked))


class Door:
    """The HTTP application in front of the stand-ins; answers are checked against the contract."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        real = {
            "tokens": FakeTokens(),
            "tenants": FakeTenants(),
            "durable": self.engine,
            "restoring": self.engine,
        }
        self.services = Services(**{field.name: real.get(field.name) for field in fields(Services)})  # type: ignore[arg-type]
        self.about = About(version="9.8.7", grpc_address="127.0.0.1:7070", server_url="http://localhost:8080")
        transport = httpx2.ASGITransport(app=build_app(self.services, self.about), raise_app_exceptions=False)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://localhost:8080")

    async def call(self, method: str, path: str, *, task: str = TASK, tenant: str = TENANT, **given: Any) -> Any:
        """Status and body of a call with a good token."""
        url = path.replace("{tenant}", tenant).replace("{durable-task}", task).replace("{task}", task)
        answer = await self.client.request(method, url, **{"headers": {"Authorization": "Bearer good"}, **given})
        body = answer.json()
        if answer.status_code == 200:
            assert complaints(body, answer_schema(method, path, 200)) == []
        return answer.status_code, body


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Door]:
    made = Door()
    yield made
    await made.client.aclose()


A_LINE = LogLine(
    branch=1, node=1, kind=EntryKind.MEMO, wait_data=None, is_satisfied=False, satisfied_at=None,
    inserted_at=NOW + 0.25, user_message=None, task_id=TASK, task_name="approve",
)  # fmt: skip
A_BODY = {
    "nodeId": 1,
    "branchId": 1,
    "kind": "MEMO",
    "isSatisfied": False,
    "insertedAt": "2025-06-15T15:06:40.250000Z",
    "taskExternalId": TASK,
    "taskDisplayName": "approve",
}


async def test_d_25_1_and_d_25_2_the_log_is_listed_as_the_engine_orders_it(door: Door) -> None:
    wait_data: list[dict[str, Any]] = [
        {"kind": "SLEEP", "sleepDurationMs": 5000},
        {"or": [{"kind": "USER_EVENT", "eventKey": "go"}, {"kind": "SLEEP", "sleepDurationMs": 0}]},
    ]
    child = [{"kind": "CHILD_WORKFLOW", "workflowName": "child"}]
    door.engine.lines = [
        A_LINE,
        replace(
            A_LINE, node=2, kind=EntryKind.WAIT_FOR, wait_data=wait_data, is_satisfied=True, satisfied_at=NOW + 1,
            user_message="until approved",
        ),
        replace(A_LINE, branch=2, node=2, kind=EntryKind.RUN, wait_data=child, run_id=UNKNOWN),
        replace(A_LINE, branch=2, node=3, kind=EntryKind.WAIT_FOR, wait_data=[]),
    ]  # fmt: skip
    status, body = await door.call("GET", LOG)
    assert status == 200
    # D-25.3: items in the words of the contract. D-25.4: no results.
    assert body == [
        A_BODY,
        {
            **A_BODY, "nodeId": 2, "kind": "WAIT_FOR", "waitData": wait_data, "isSatisfied": True,
            "satisfiedAt": "2025-06-15T15:06:41Z", "userMessage": "until approved",
        },
        {**A_BODY, "branchId": 2, "nodeId": 2, "kind": "RUN", "waitData": child},
        {**A_BODY, "branchId": 2, "nodeId": 3, "kind": "WAIT_FOR", "waitData": []},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "page"),
    [
        ({}, (0, 1000)),
        ({"offset": 20, "limit": 5}, (20, 5)),
        ({"limit": 9_000_000_000}, (0, 10_000)),
    ],
)
async def test_d_25_1_pages_of_the_log(door: Door, given: dict[str, int], page: tuple[int, int]) -> None:
    assert await door.call("GET", LOG, params=given) == (200, [])
    assert door.engine.asked == [(TASK, *page)]


@pytest.mark.parametrize(
    ("task", "params", "field"),
    [
        ("x", {}, "durable_task"),
        (TASK, {"offset": -1}, "offset"),
        (TASK, {"offset": 2**31}, "offset"),
        (TASK, {"limit": 0}, "limit"),
        (TASK, {"limit": "many"}, "limit"),
    ],
)
async def test_d_22_10_what_cannot_be_asked_for_is_400_and_named(
    door: Door, task: str, params: dict[str, Any], field: str
) -> None:
    status, body = await door.call("GET", LOG, task=task, params=params)
    assert (status, body["errors"][0]["field"]) == (400, field)
    assert door.engine.asked == []


async def test_d_25_6_a_branch_answers_with_its_number(door: Door) -> None:
    asked = {**BODY, "taskExternalId": TASK.upper()}
    assert await door.call("POST", BRANCH, json=asked) == (200, {"taskExternalId": TASK, "nodeId": 2, "branchId": 4})
    assert door.engine.asked == [(TASK, 2, 3)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"taskExternalId": "x"}, "taskExternalId"),
        ({"nodeId": 0}, "nodeId"),
        ({"nodeId": 2**31}, "nodeId"),
        ({"branchId": -1}, "branchId"),
        ({"branchId": "one"}, "branchId"),
        ({"nodeId": None}, "nodeId"),
    ],
)
async def test_d_22_10_a_bad_branch_is_400_and_named(door: Door, change: dict[str, Any], field: str) -> None:
    status, body = await door.call("POST", BRANCH, json={**BODY, **change})
    assert (status, body["errors"][0]["field"]) == (400, field)
    status, body = await door.call("POST", BRANCH, json={name: BODY[name] for name in BODY if name != field})
    assert (status, body["errors"][0]["field"]) == (400, field)
    assert door.engine.asked == []


async def test_d_22_11_the_branch_of_an_executing_run_is_400(door: Door) -> None:
    door.engine.failure = FailedPrecondition("the task is executing: cancel it first")
    status, body = await door.call("POST", BRANCH, json=BODY)
    assert (status, body) == (400, {"errors": [{"description": "the task is executing: cancel it first"}]})


async def test_d_25_7_a_restore_names_the_rest_api_as_its_cause(door: Door) -> None:
    assert await door.call("POST", RESTORE, task=TASK.upper()) == (200, {"requeued": True})
    [(task_id, cause)] = door.engine.asked
    assert (task_id, "REST API" in cause) == (TASK, True)
    assert (await door.call("POST", RESTORE, task="x"))[0] == 400


async def test_d_25_7_and_d_22_10_an_unknown_task_is_404(door: Door) -> None:
    for method, path in (("GET", LOG), ("POST", RESTORE), ("POST", BRANCH)):
        status, body = await door.call(method, path, task=UNKNOWN, json={**BODY, "taskExternalId": UNKNOWN})
        assert (status, body) == (404, {"errors": [{"description": f"unknown task run: {UNKNOWN}"}]}), path


@pytest.mark.parametrize(("method", "path"), [("GET", LOG), ("POST", BRANCH), ("POST", RESTORE)])
async def test_d_25_8_only_a_token_of_the_tenant_opens_them(door: Door, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer bad"}):
        assert (await door.call(method, path, headers=headers, json=BODY))[0] == 403
    if "{tenant}" in path:
        assert (await door.call(method, path, tenant=OTHER, json=BODY))[0] == 403
    assert door.engine.asked == []


def test_the_routes_are_those_of_the_contract() -> None:
    made = Door()
    document = build_api(made.services, made.about).openapi()
    assert {LOG, BRANCH, RESTORE} <= document["paths"].keys()
    assert route_complaints(document) == []
