"""Crons and scheduled runs over HTTP, with a real engine behind the door (behaviour-rest R-15, R-16)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT, until

from contract.rest_contract import answer_schema, complaints
from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.messages import Caller
from hatchet.engine.tenants import Tenants
from hatchet.rest.app import build_app
from hatchet.rest.ports import About, Services

BASE = f"/api/v1/tenants/{TENANT}/workflows"
PATH = "/api/v1/tenants/{tenant}/workflows"
UNKNOWN = "0195f2a0-0000-7000-8000-0000000000ff"
SOON = "2099-01-01T00:00:00Z"
PAIR_EXISTS = "cron trigger with that name-expression pair already exists"


class FakeTokens:
    """Every token is one of TENANT."""

    def cached(self, token: str) -> Caller | None:
        return Caller(TENANT, UNKNOWN)

    async def verify(self, token: str) -> Caller:
        return Caller(TENANT, UNKNOWN)


class Door:
    """The HTTP application in front of an engine; answers are checked against the contract."""

    def __init__(self, one: Instance) -> None:
        real = {
            "tokens": FakeTokens(),
            "tenants": Tenants(database=one.database, clock=one.clock),
            "crons": one.engine.crons,
            "scheduled": one.engine.scheduled,
        }
        services = Services(**{field.name: real.get(field.name) for field in fields(Services)})  # type: ignore[arg-type]
        about = About(version="9.8.7", grpc_address="127.0.0.1:7070", server_url="http://localhost:8080")
        transport = httpx2.ASGITransport(app=build_app(services, about), raise_app_exceptions=False)
        self.client = httpx2.AsyncClient(
            transport=transport, base_url="http://localhost:8080", headers={"Authorization": "Bearer good"}
        )

    async def ask(self, method: str, path: str, shape: str, status: int = 200, **options: Any) -> Any:
        """The body of an answer with that status; ``shape``: the path in the contract."""
        answer = await self.client.request(method, BASE + path, **options)
        assert answer.status_code == status, answer.text
        if status == 204:
            assert answer.content == b""
            return None
        body = answer.json()
        if status != 404:
            assert complaints(body, answer_schema(method, PATH + shape, status)) == []
        return body

    async def cron(self, status: int = 200, workflow: str = "flow", **changed: Any) -> Any:
        body = {"cronName": "c", "cronExpression": "0 5 * * *", "input": {}, "additionalMetadata": {}, **changed}
        return await self.ask("POST", f"/{workflow}/crons", "/{workflow}/crons", status, json=body)

    async def scheduled(self, status: int = 200, workflow: str = "flow", **changed: Any) -> Any:
        body = {"triggerAt": SOON, "input": {}, "additionalMetadata": {}, **changed}
        return await self.ask("POST", f"/{workflow}/scheduled", "/{workflow}/scheduled", status, json=body)

    async def crons(self, **params: Any) -> Any:
        return await self.ask("GET", "/crons", "/crons", params=params)

    async def listed(self, **params: Any) -> list[str]:
        found = await self.ask("GET", "/scheduled", "/scheduled", params=params)
        return [row["metadata"]["id"] for row in found["rows"]]

    async def one(self, scheduled_id: str, method: str = "GET", status: int = 200, **options: Any) -> Any:
        path = f"/scheduled/{scheduled_id}"
        return await self.ask(method, path, "/scheduled/{scheduled-workflow-run}", status, **options)

    async def one_cron(self, cron_id: str, method: str = "GET", status: int = 200, **options: Any) -> Any:
        return await self.ask(method, f"/crons/{cron_id}", "/crons/{cron-workflow}", status, **options)

    async def bulk(self, what: str, status: int = 200, **body: Any) -> Any:
        return await self.ask("POST", f"/scheduled/bulk-{what}", f"/scheduled/bulk-{what}", status, json=body)


@pytest_asyncio.fixture
async def door(one: Instance) -> AsyncIterator[Door]:
    await one.define()
    made = Door(one)
    yield made
    await made.client.aclose()


def id_of(body: dict[str, Any]) -> str:
    return str(body["metadata"]["id"])


def error_of(body: dict[str, Any]) -> str:
    return str(body["errors"][0]["description"])


async def test_r_15_2_a_cron_is_made_and_read(one: Instance, door: Door) -> None:
    version = await one.define()
    made = await door.cron(cronName="nightly", input={"n": [1]}, additionalMetadata={"a": "b"}, priority=2)
    assert {key: value for key, value in made.items() if key != "metadata"} == {
        "tenantId": TENANT,
        "workflowVersionId": version.id,
        "workflowId": version.workflow_id,
        "workflowName": "flow",
        "cron": "0 5 * * *",
        "name": "nightly",
        "input": {"n": [1]},
        "additionalMetadata": {"a": "b"},
        "enabled": True,
        "method": "API",
        "priority": 2,
    }
    assert await door.one_cron(id_of(made)) == made
    assert (await door.cron(cronName="other"))["priority"] == 1


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"cronName": ""}, "cron name is required"),
        ({"cronName": "x" * 256}, "cronName: at most 255"),
        ({"cronName": "\0"}, "cronName"),
        ({"cronName": "\ud800"}, "cronName"),
        ({"workflow": "nobody"}, "workflow not found"),
        ({"cronExpression": "every day"}, "cronExpression 'every day' is not valid: it must have 5 or 6 fields"),
        ({"cronExpression": "CRON_TZ=Mars/X * * * * *"}, "'Mars/X' is no time zone"),
        ({"input": [1]}, "input"),
        ({"additionalMetadata": {"a": "\0"}}, "additionalMetadata"),
        ({"additionalMetadata": {"a": "\ud800"}}, "additionalMetadata"),
        ({"priority": 4}, "priority"),
        ({"priority": 0}, "priority"),
        ({"input": None}, "input"),
    ],
)
async def test_c_14_6_what_is_no_cron_is_refused(one: Instance, door: Door, changed: dict[str, Any], text: str) -> None:
    body = {"cronName": "c", "cronExpression": "0 5 * * *", "input": {}, "additionalMetadata": {}}
    workflow = changed.pop("workflow", "flow")
    content = json.dumps({**body, **changed}).encode()
    headers = {"content-type": "application/json"}
    path = f"/{workflow}/crons"
    answer = await door.ask("POST", path, "/{workflow}/crons", 400, content=content, headers=headers)
    assert text in error_of(answer)
    assert await one.rows("SELECT 1 FROM cron_trigger") == []


async def test_c_14_5_a_name_expression_pair_is_there_once(one: Instance, door: Door) -> None:
    await door.cron()
    assert error_of(await door.cron(400)) == PAIR_EXISTS
    await door.cron(cronName="d")
    await door.cron(cronExpression="0 6 * * *")
    await one.define("second")
    await door.cron(workflow="second")


async def test_r_15_4_crons_are_filtered_ordered_and_paged(one: Instance, door: Door) -> None:
    other = await one.define("other")
    for number, name in enumerate("bca"):
        one.clock.skip(1)
        await door.cron(cronName=name, additionalMetadata={"n": str(number), "all": "x"})
    one.clock.skip(1)
    await door.cron(workflow="other", cronName="b")

    async def names(**params: Any) -> str:
        return "".join(row["name"] for row in (await door.crons(**params))["rows"])

    assert await names() == "bacb"
    assert await names(orderByDirection="ASC") == "bcab"
    assert await names(orderByField="name", orderByDirection="ASC", workflowName="flow") == "abc"
    assert await names(orderByField="name", workflowName="flow") == "cba"
    assert await names(workflowId=other.workflow_id) == "b"
    assert await names(cronName="b") == "bb"
    assert await names(cronName="nothing") == await names(cronName="\0") == ""
    assert await names(additionalMetadata=["n:1", "all:x"]) == "c"
    assert await names(additionalMetadata=["n:1", "all:y"]) == ""
    page = await door.crons(limit=2, offset=2)
    assert [row["name"] for row in page["rows"]] == ["c", "b"]
    assert page["pagination"] == {"current_page": 2, "next_page": 2, "num_pages": 2}
    refused = await door.ask("GET", "/crons", "/crons", 400, params={"additionalMetadata": "no colon"})
    assert "key:value" in error_of(refused)


async def test_r_15_5_a_cron_is_switched_and_deleted(door: Door) -> None:
    cron = id_of(await door.cron())
    await door.one_cron(cron, "PATCH", 204, json={"enabled": False})
    assert (await door.one_cron(cron))["enabled"] is False
    await door.one_cron(cron, "PATCH", 204, json={})
    assert (await door.one_cron(cron))["enabled"] is False
    await door.one_cron(cron, "PATCH", 204, json={"enabled": True})
    assert (await door.one_cron(cron))["enabled"] is True
    await door.one_cron(cron, "DELETE", 204)
    for method in ("GET", "PATCH", "DELETE", "POST"):
        await door.one_cron(cron, method, 404, **({"json": {"enabled": True}} if method == "PATCH" else {}))
    assert (await door.client.get(f"{BASE}/crons/nothing")).status_code == 400


async def test_r_15_6_a_declared_cron_is_not_deleted(one: Instance, door: Door) -> None:
    task = TaskDefinition(readable_id="declared", action="declared:run")
    definition = WorkflowDefinition(name="declared", tasks=(task,), cron_triggers=("@daily",), cron_input='{"n": 3}')
    version = await one.engine.registration.put(TENANT, definition)
    [row] = (await door.crons(workflowId=version.workflow_id))["rows"]
    assert (row["method"], row["name"], row["cron"], row["input"]) == ("DEFAULT", "", "@daily", {"n": 3})
    refused = await door.client.delete(f"{BASE}/crons/{id_of(row)}")
    assert (refused.status_code, error_of(refused.json())) == (403, "Cannot delete cron created via code definition.")
    await door.one_cron(id_of(row), "PATCH", 204, json={"enabled": False})


async def test_r_15_7_a_cron_is_run_now(one: Instance, door: Door) -> None:
    cron = id_of(await door.cron(input={"n": 4}, additionalMetadata={"a": "b"}))
    run_id = (await door.one_cron(cron, "POST"))["externalId"]
    details = await one.details(run_id)
    assert json.loads(details.input) == {"n": 4}
    metadata = json.loads(details.additional_metadata)
    assert (metadata["a"], metadata["hatchet__cron_name"]) == ("b", "c")


async def test_r_16_2_a_run_is_scheduled_and_read(one: Instance, door: Door) -> None:
    version = await one.define()
    made = await door.scheduled(
        triggerAt="2099-01-01T02:00:00+02:00", input={"n": 1}, additionalMetadata={"a": "b"}, priority=3
    )
    assert {key: value for key, value in made.items() if key != "metadata"} == {
        "tenantId": TENANT,
        "workflowVersionId": version.id,
        "workflowId": version.workflow_id,
        "workflowName": "flow",
        "triggerAt": SOON,
        "input": {"n": 1},
        "additionalMetadata": {"a": "b"},
        "method": "API",
        "priority": 3,
    }
    assert await door.one(id_of(made)) == made
    assert (await door.scheduled())["priority"] == 1


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"workflow": "nobody"}, "workflow not found"),
        ({"triggerAt": "tomorrow"}, "triggerAt"),
        ({"triggerAt": "2099-01-01T00:00:00"}, "triggerAt"),
        ({"triggerAt": "1969-12-31T23:59:59Z"}, "triggerAt: it must be a time from 1970 to 9999"),
        ({"triggerAt": "10000-01-01T00:00:00Z"}, "triggerAt"),
        ({"priority": 9}, "priority"),
        ({"input": "text"}, "input"),
    ],
)
async def test_r_16_2_what_is_refused(one: Instance, door: Door, changed: dict[str, Any], text: str) -> None:
    assert text in error_of(await door.scheduled(400, **changed))
    assert await one.rows("SELECT 1 FROM scheduled_run") == []


async def test_r_16_1_a_started_one_tells_of_its_run(one: Instance, door: Door) -> None:
    worker = await one.worker(completes=True)
    past = id_of(await door.scheduled(triggerAt="2020-01-01T00:00:00Z"))

    async def find() -> Any:
        found = await door.one(past)
        return found if found.get("workflowRunStatus") == "SUCCEEDED" else None

    found = await until(find, "its run succeeds")
    assert found["workflowRunId"] == worker.starts[0].run_id
    assert datetime.fromisoformat(found["workflowRunCreatedAt"]) <= datetime.now(UTC)
    refused = await door.one(past, "PATCH", 400, json={"triggerAt": SOON})
    assert error_of(refused) == "Scheduled run has already been triggered and cannot be rescheduled."
    assert "already been triggered" in error_of(await door.one(past, "DELETE", 400))
    assert error_of(await door.one(past, "POST", 400)) == "Scheduled run has already been triggered."


async def test_r_16_3_the_list_is_filtered_and_ordered(one: Instance, door: Door) -> None:
    await one.define("other")
    late = id_of(await door.scheduled(triggerAt="2099-03-01T00:00:00Z", additionalMetadata={"k": "late"}))
    one.clock.skip(1)
    early = id_of(await door.scheduled(triggerAt="2099-01-01T00:00:00Z"))
    one.clock.skip(1)
    other = await door.scheduled(triggerAt="2099-02-01T00:00:00Z", workflow="other")
    past = id_of(await door.scheduled(triggerAt="2020-01-01T00:00:00Z"))
    await until(lambda: door.listed(statuses="QUEUED"), "it is started")
    assert await door.listed() == [late, id_of(other), early, past]
    assert await door.listed(orderByDirection="ASC") == [past, early, id_of(other), late]
    assert (await door.listed(orderByField="createdAt", statuses="SCHEDULED")) == [id_of(other), early, late]
    assert await door.listed(workflowId=other["workflowId"]) == [id_of(other)]
    assert await door.listed(additionalMetadata="k:late") == [late]
    assert await door.listed(statuses=["QUEUED"]) == await door.listed(statuses=["PENDING"]) == [past]
    assert await door.listed(statuses=["SUCCEEDED", "FAILED"]) == []
    assert await door.listed(statuses=["SCHEDULED", "QUEUED"], limit=2, offset=2) == [early, past]
    assert await door.listed(parentWorkflowRunId=UNKNOWN) == []
    assert await door.listed(parentStepRunId=UNKNOWN) == []
    await door.ask("GET", "/scheduled", "/scheduled", 400, params={"statuses": "NONE"})


async def test_r_16_4_one_is_moved_and_deleted(door: Door) -> None:
    scheduled = id_of(await door.scheduled())
    moved = await door.one(scheduled, "PATCH", json={"triggerAt": "2098-01-01T00:00:00Z"})
    assert moved["triggerAt"] == "2098-01-01T00:00:00Z"
    refused = await door.one(scheduled, "PATCH", 400, json={"triggerAt": "1960-01-01T00:00:00Z"})
    assert "from 1970 to 9999" in error_of(refused)
    await door.one(scheduled, "DELETE", 204)
    for method in ("GET", "DELETE", "POST", "PATCH"):
        await door.one(scheduled, method, 404, **({"json": {"triggerAt": SOON}} if method == "PATCH" else {}))
    assert (await door.client.get(f"{BASE}/scheduled/nothing")).status_code == 400


async def test_r_16_4_a_moved_one_starts_at_its_new_time(one: Instance, door: Door) -> None:
    scheduled = id_of(await door.scheduled())
    await door.one(scheduled, "PATCH", json={"triggerAt": "2020-01-01T00:00:00Z"})
    await until(lambda: one.rows("SELECT 1 FROM task"), "it is started")


async def test_r_16_4_those_of_the_code_are_not_changed(one: Instance, door: Door) -> None:
    scheduled = id_of(await door.scheduled())
    await one.rows("UPDATE scheduled_run SET method = 'DEFAULT' RETURNING 1")
    texts = []
    for method, options in (("DELETE", {}), ("PATCH", {"json": {"triggerAt": SOON}})):
        answer = await door.client.request(method, f"{BASE}/scheduled/{scheduled}", **options)  # type: ignore[arg-type]
        assert answer.status_code == 403
        texts.append(error_of(answer.json()))
    assert texts == [
        "Cannot delete scheduled run created via code definition.",
        "Cannot update scheduled run created via code definition.",
    ]
    answer = await door.bulk("delete", filter={})
    assert answer == {"deletedIds": [], "errors": [{"id": scheduled, "error": texts[0]}]}
    answer = await door.bulk("delete", scheduledWorkflowRunIds=[scheduled])
    assert answer["errors"] == [{"id": scheduled, "error": "Failed to delete scheduled workflow."}]
    answer = await door.bulk("update", updates=[{"id": scheduled, "triggerAt": SOON}])
    assert answer == {"updatedIds": [], "errors": [{"id": scheduled, "error": texts[1]}]}


async def test_r_16_5_one_is_run_now(one: Instance, door: Door) -> None:
    scheduled = id_of(await door.scheduled(input={"n": 9}))
    run_id = (await door.one(scheduled, "POST"))["externalId"]
    assert json.loads((await one.details(run_id)).input) == {"n": 9}
    found = await door.one(scheduled)
    assert (found["workflowRunId"], found["workflowRunStatus"]) == (run_id, "QUEUED")
    assert error_of(await door.one(scheduled, "POST", 400)) == "Scheduled run has already been triggered."


async def test_r_16_6_bulk_delete(one: Instance, door: Door) -> None:
    ids = [id_of(await door.scheduled(additionalMetadata={"n": str(number)})) for number in range(5)]
    answer = await door.bulk("delete", scheduledWorkflowRunIds=[ids[0], UNKNOWN, ids[0]])
    assert answer["deletedIds"] == [ids[0]]
    assert answer["errors"] == [{"id": UNKNOWN, "error": "Failed to delete scheduled workflow."}]
    assert (await door.bulk("delete", filter={"additionalMetadata": ["n:1"]}))["deletedIds"] == [ids[1]]
    assert (await door.bulk("delete", filter={"workflowId": UNKNOWN}))["deletedIds"] == []
    both = await door.bulk("delete", 400, filter={}, scheduledWorkflowRunIds=[ids[2]])
    assert "not both" in error_of(both)
    assert error_of(await door.bulk("delete", 400)) == "Provide scheduledWorkflowRunIds or filter."
    await door.bulk("delete", 400, scheduledWorkflowRunIds=[])
    await door.bulk("delete", 400, scheduledWorkflowRunIds=[UNKNOWN] * 501)
    await door.bulk("delete", 400, scheduledWorkflowRunIds=["x"])
    await one.engine.scheduled.trigger(TENANT, ids[2])
    assert sorted((await door.bulk("delete", filter={}))["deletedIds"]) == ids[3:]
    assert await door.listed() == [ids[2]]


async def test_r_16_6_a_filter_deletes_more_than_one_chunk(
    one: Instance, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hatchet.engine.scheduled_runs.CHUNK", 3)
    ids = [id_of(await door.scheduled()) for _ in range(8)]
    await one.rows("UPDATE scheduled_run SET method = 'DEFAULT' WHERE id = $1 RETURNING 1", ids[4])
    answer = await door.bulk("delete", filter={})
    assert answer["deletedIds"] == [*ids[:4], *ids[5:]]
    assert [error["id"] for error in answer["errors"]] == [ids[4]]


async def test_r_16_7_bulk_update_tells_for_each_item(one: Instance, door: Door) -> None:
    good, old, done = [id_of(await door.scheduled()) for _ in range(3)]
    await one.engine.scheduled.trigger(TENANT, done)
    there = "2097-01-01T00:00:00Z"
    times = {good: there, UNKNOWN: there, done: there, old: "1950-01-01T00:00:00Z"}
    answer = await door.bulk("update", updates=[{"id": one, "triggerAt": at} for one, at in times.items()])
    assert answer["updatedIds"] == [good]
    errors = {error["id"]: error["error"] for error in answer["errors"]}
    assert errors.pop(old).startswith("Failed to update scheduled workflow.")
    assert errors == {
        UNKNOWN: "Scheduled workflow not found.",
        done: "Scheduled run has already been triggered and cannot be rescheduled.",
    }
    assert (await door.one(good))["triggerAt"] == there
    await door.bulk("update", 400, updates=[])


async def test_a_workflow_may_be_named_like_a_part_of_the_paths(one: Instance, door: Door) -> None:
    for name in ("scheduled", "crons", "bulk-delete"):
        await one.define(name)
        assert (await door.cron(workflow=name))["workflowName"] == name
        assert (await door.scheduled(workflow=name))["workflowName"] == name


async def test_r_2_3_another_tenant_is_refused(door: Door) -> None:
    for path in ("crons", "scheduled"):
        answer = await door.client.get(f"/api/v1/tenants/{OTHER_TENANT}/workflows/{path}")
        assert answer.status_code == 403
