"""Workflows over HTTP: list, read, pause, with a real engine behind the door (behaviour-rest R-13)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx2
import pytest
import pytest_asyncio
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT, until

from contract.rest_contract import answer_schema, complaints
from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.messages import Caller
from hatchet.core.statuses import RunStatus
from hatchet.engine.tenants import Tenants
from hatchet.rest.app import build_app
from hatchet.rest.health import Health
from hatchet.rest.ports import About, PeopleKeeping, Services, TokenKeeping
from hatchet.rest.request_limits import RequestLimits
from hatchet.store.workers_read import WorkersRead
from hatchet.store.workflows_read import VERSIONS_SHOWN, WorkflowsRead

LIST = "/api/v1/tenants/{tenant}/workflows"
ONE = "/api/v1/workflows/{workflow}"
UNKNOWN = "0195f2a0-0000-7000-8000-0000000000ff"
PAUSE = {
    "action": "pause",
    "pausedWorkflowCronRunQueueBehavior": "DROP",
    "pausedWorkflowScheduledRunQueueBehavior": "QUEUE",
    "pausedWorkflowQueueTTL": "10m",
}


class FakeTokens:
    """Every token is one of TENANT."""

    def cached(self, token: str) -> Caller | None:
        return Caller(TENANT, UNKNOWN)

    async def verify(self, token: str) -> Caller:
        return Caller(TENANT, UNKNOWN)


class Door:
    """The HTTP application in front of an engine."""

    def __init__(self, instance: Instance) -> None:
        engine = instance.engine
        services = Services(
            tokens=FakeTokens(),
            api_tokens=cast("TokenKeeping", None),
            people=cast("PeopleKeeping", None),
            limits=RequestLimits(instance.clock),
            tenants=Tenants(database=instance.database, clock=instance.clock),
            workers=WorkersRead(instance.database, instance.clock),
            pausing=engine.workers,
            workflows=WorkflowsRead(instance.database),
            workflow_pausing=engine.pausing,
            workflow_removal=engine.removal,
            bulk=engine.bulk,
            filters=engine.filters,
            rate_limits=engine.rate_limits,
            crons=engine.crons,
            scheduled=engine.scheduled,
            views=engine.views,
            trigger=engine.trigger,
            events=engine.event_reading,
            logs=engine.log_reading,
            queue_stats=engine.queue_stats,
            worker_uses=engine.worker_uses,
            durable=engine.durable,
            restoring=engine.evicting,
            health=Health([], clock=instance.clock),
        )
        about = About(version="9.8.7", grpc_address="127.0.0.1:7070", server_url="http://localhost:8080")
        transport = httpx2.ASGITransport(app=build_app(services, about), raise_app_exceptions=False)
        self.client = httpx2.AsyncClient(
            transport=transport, base_url="http://localhost:8080", headers={"Authorization": "Bearer good"}
        )

    async def list(self, **params: Any) -> dict[str, Any]:
        answer = await self.client.get(f"/api/v1/tenants/{TENANT}/workflows", params=params)
        assert answer.status_code == 200
        body: dict[str, Any] = answer.json()
        assert complaints(body, answer_schema("GET", LIST, 200)) == []
        return body

    async def names(self, **params: Any) -> list[str]:
        return [row["name"] for row in (await self.list(**params))["rows"]]

    async def get(self, workflow_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/api/v1/workflows/{workflow_id}")
        assert answer.status_code == 200
        body: dict[str, Any] = answer.json()
        assert complaints(body, answer_schema("GET", ONE, 200)) == []
        return body

    async def patch(self, workflow_id: str, body: object) -> httpx2.Response:
        answer = await self.client.patch(f"/api/v1/workflows/{workflow_id}", json=body)
        assert complaints(answer.json(), answer_schema("PATCH", ONE, answer.status_code)) == []
        return answer


@pytest_asyncio.fixture
async def door(one: Instance) -> AsyncIterator[Door]:
    made = Door(one)
    yield made
    await made.client.aclose()


async def test_r_13_1_the_list_is_newest_first_and_has_pages(one: Instance, door: Door) -> None:
    for number in range(5):
        one.clock.skip(1)
        await one.define(f"w{number}")
    assert await door.names() == ["w4", "w3", "w2", "w1", "w0"]
    body = await door.list(offset=2, limit=2)
    assert [row["name"] for row in body["rows"]] == ["w2", "w1"]
    assert body["pagination"] == {"current_page": 2, "next_page": 3, "num_pages": 3}
    last = await door.list(offset=4, limit=2)
    assert last["pagination"] == {"current_page": 3, "next_page": 3, "num_pages": 3}
    empty = await door.list(name="nothing")
    assert (empty["rows"], empty["pagination"]["num_pages"]) == ([], 0)


async def test_r_13_1_the_name_is_a_part_of_the_names_in_any_case(one: Instance, door: Door) -> None:
    for name in ("Mail-Send", "mail-read", "other", "per_cent", "percent"):
        one.clock.skip(1)
        await one.define(name)
    assert await door.names(name="MAIL") == ["mail-read", "Mail-Send"]
    assert await door.names(name="send") == ["Mail-Send"]
    # Nothing in a name means something else than itself.
    assert await door.names(name="r_c") == ["per_cent"]
    assert await door.names(name="%") == []
    assert await door.names(name="\0") == []
    assert len(await door.names(name="")) == 5


async def test_r_13_1_the_exact_name_comes_first(one: Instance, door: Door) -> None:
    await one.define("flow")
    for number in range(60):
        await one.define(f"flow-{number}")
    one.clock.skip(1)
    await one.define("Flow")
    body = await door.list(name="flow")
    assert (len(body["rows"]), body["rows"][0]["name"]) == (50, "flow")
    assert body["pagination"]["num_pages"] == 2
    assert (await door.names(name="Flow"))[0] == "Flow"


async def test_r_2_2_workflows_of_another_tenant_are_not_listed(one: Instance, door: Door) -> None:
    task = TaskDefinition(readable_id="t", action="theirs:t")
    theirs = await one.engine.registration.put(OTHER_TENANT, WorkflowDefinition(name="theirs", tasks=(task,)))
    await one.define()
    assert await door.names() == ["flow"]
    answer = await door.client.patch(f"/api/v1/workflows/{theirs.workflow_id}", json={"pause": PAUSE})
    assert answer.status_code == 403
    assert await one.rows("SELECT 1 FROM workflow WHERE paused_at IS NOT NULL") == []


async def test_r_13_2_a_workflow_with_its_versions(one: Instance, door: Door) -> None:
    first = await one.define()
    one.clock.skip(5)
    task = TaskDefinition(readable_id="flow", action="flow:run")
    described = WorkflowDefinition(name="flow", version="v2", description="what it does", tasks=(task,))
    second = await one.engine.registration.put(TENANT, described)
    body = await door.get(first.workflow_id)
    assert (body["metadata"]["id"], body["name"], body["tenantId"]) == (first.workflow_id, "flow", TENANT)
    assert (body["description"], body["isPaused"]) == ("what it does", False)
    assert "pausedWorkflowCronRunQueueBehavior" not in body
    shown = [(version["metadata"]["id"], version["version"], version["order"]) for version in body["versions"]]
    assert shown == [(second.id, "v2", 2), (first.id, "", 1)]
    assert body["metadata"]["updatedAt"] > body["metadata"]["createdAt"]
    [row] = (await door.list())["rows"]
    assert row == {**body, "versions": body["versions"][:1]}


async def test_r_13_2_only_the_newest_of_many_versions_are_shown(one: Instance, door: Door) -> None:
    for retries in range(VERSIONS_SHOWN + 2):
        version = await one.define(retries=retries)
    orders = [shown["order"] for shown in (await door.get(version.workflow_id))["versions"]]
    assert orders == list(range(VERSIONS_SHOWN + 2, 2, -1))


async def test_r_13_3_an_unknown_workflow_is_404(door: Door) -> None:
    for method in ("GET", "PATCH"):
        answer = await door.client.request(method, f"/api/v1/workflows/{UNKNOWN}", json={"pause": PAUSE})
        assert (answer.status_code, answer.json()) == (404, {"message": "not found"})


async def test_r_13_3_a_workflow_without_a_version_does_not_exist(one: Instance, door: Door) -> None:
    version = await one.define()
    await one.rows("DELETE FROM workflow_version")
    assert (await door.list())["rows"] == []
    assert (await door.list())["pagination"]["num_pages"] == 0
    assert (await door.client.get(f"/api/v1/workflows/{version.workflow_id}")).status_code == 404


async def test_r_13_7_pause_and_unpause(one: Instance, door: Door) -> None:
    version = await one.define()
    answer = await door.patch(version.workflow_id, {"pause": PAUSE})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["isPaused"], body["name"]) == (True, "flow")
    behaviours = ("pausedWorkflowCronRunQueueBehavior", "pausedWorkflowScheduledRunQueueBehavior")
    assert [body[name] for name in behaviours] == ["DROP", "QUEUE"]
    assert await door.get(version.workflow_id) == body
    [row] = await one.rows("SELECT paused_queue_ttl FROM workflow")
    assert row["paused_queue_ttl"] == "10m"
    answer = await door.patch(version.workflow_id, {"pause": {"action": "unpause"}})
    assert (answer.status_code, answer.json()["isPaused"]) == (200, False)
    assert not set(behaviours) & answer.json().keys()


async def test_r_13_7_an_update_of_nothing_changes_nothing(one: Instance, door: Door) -> None:
    version = await one.define()
    await door.patch(version.workflow_id, {"pause": PAUSE})
    for body in ({}, {"pause": None}, {"something": "else"}):
        answer = await door.patch(version.workflow_id, body)
        assert (answer.status_code, answer.json()["isPaused"]) == (200, True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pausedWorkflowQueueTTL": "soon"}, "pausedWorkflowQueueTTL"),
        ({"pausedWorkflowQueueTTL": ""}, "pausedWorkflowQueueTTL"),
        ({"pausedWorkflowQueueTTL": None}, "pausedWorkflowQueueTTL"),
        ({"pausedWorkflowCronRunQueueBehavior": "KEEP"}, "pausedWorkflowCronRunQueueBehavior"),
        ({"pausedWorkflowScheduledRunQueueBehavior": None}, "pausedWorkflowScheduledRunQueueBehavior"),
        ({"action": "stop"}, "pause"),
        ({"action": None}, "pause"),
    ],
)
async def test_r_13_7_a_bad_pause_is_400_and_says_what_is_wrong(
    one: Instance, door: Door, change: dict[str, Any], named: str
) -> None:
    version = await one.define()
    answer = await door.patch(version.workflow_id, {"pause": {**PAUSE, **change}})
    assert answer.status_code == 400
    assert named in answer.json()["errors"][0]["description"]
    assert not (await door.get(version.workflow_id))["isPaused"]


@pytest.mark.parametrize("params", [{"limit": 0}, {"offset": -1}, {"offset": 10**30}, {"limit": "many"}])
async def test_r_1_11_a_bad_parameter_is_named(door: Door, params: dict[str, Any]) -> None:
    answer = await door.client.get(f"/api/v1/tenants/{TENANT}/workflows", params=params)
    assert answer.status_code == 400
    assert next(iter(params)) in answer.json()["errors"][0]["field"]


async def test_r_13_8_runs_wait_while_paused_and_start_afterwards(one: Instance, door: Door) -> None:
    await one.define()
    await one.worker(completes=True)
    # As the official Python client finds a workflow: the first page by name, and the row of exactly that name.
    [found] = [row for row in (await door.list(name="flow"))["rows"] if row["name"] == "flow"]
    workflow_id = found["metadata"]["id"]
    await door.patch(workflow_id, {"pause": {**PAUSE, "pausedWorkflowQueueTTL": "0h10m0s"}})
    run_id = await one.run()
    await one.watched(5)
    assert await one.status(run_id) is RunStatus.QUEUED
    await door.patch(workflow_id, {"pause": {"action": "unpause"}})
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_r_13_8_a_run_that_waits_longer_than_the_ttl_is_cancelled(one: Instance, door: Door) -> None:
    version = await one.define()
    await one.worker(completes=True)
    await door.patch(version.workflow_id, {"pause": {**PAUSE, "pausedWorkflowQueueTTL": "1s"}})
    run_id = await one.run()
    await until(lambda: run_id in one.scheduler.held, "it is held")
    await one.ended(run_id, RunStatus.CANCELLED)
