"""Event filters and the trial of expressions over HTTP, with a real engine behind the door (behaviour-rest R-18)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT
from test_rest_workflows import UNKNOWN, Door

from contract.rest_contract import answer_schema, complaints
from hatchet.core.definitions import StoredVersion, TaskDefinition, WorkflowDefinition
from hatchet.core.event_push import NewEvent
from hatchet.core.rules import DefaultFilter

MANY = "/api/v1/stable/tenants/{tenant}/filters"
ONE = "/api/v1/stable/tenants/{tenant}/filters/{v1-filter}"
DEBUG = "/api/v1/stable/tenants/{tenant}/cel/debug"


class FilterDoor(Door):
    """The routes of filters, each answer checked against the contract."""

    async def call(self, method: str, path: str, filter_id: str = "", **given: Any) -> httpx2.Response:
        answer = await self.client.request(
            method, path.replace("{tenant}", TENANT).replace("{v1-filter}", filter_id), **given
        )
        if answer.status_code == 200:
            assert complaints(answer.json(), answer_schema(method, path, 200)) == []
        return answer

    async def create(self, workflow_id: str, **body: Any) -> dict[str, Any]:
        asked = {"workflowId": workflow_id, "scope": "s", "expression": "true", **body}
        answer = await self.call("POST", MANY, json=asked)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def refused(self, method: str, path: str, filter_id: str = "", **given: Any) -> tuple[int, str]:
        answer = await self.call(method, path, filter_id, **given)
        return answer.status_code, answer.json()["errors"][0]["description"]

    async def listed(self, **params: Any) -> list[str]:
        answer = await self.call("GET", MANY, params=params)
        return [row["metadata"]["id"] for row in answer.json()["rows"]]

    async def debug(self, expression: str, **given: Any) -> dict[str, Any]:
        answer = await self.call("POST", DEBUG, json={"expression": expression, "input": {}, **given})
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found


@pytest_asyncio.fixture
async def door(one: Instance) -> AsyncIterator[FilterDoor]:
    made = FilterDoor(one)
    yield made
    await made.client.aclose()


async def listen(one: Instance, name: str = "flow", tenant_id: str = TENANT, **options: Any) -> StoredVersion:
    task = TaskDefinition(readable_id=name, action=f"{name}:run")
    definition = WorkflowDefinition(name=name, tasks=(task,), event_triggers=("go",), **options)
    return await one.engine.registration.put(tenant_id, definition)


async def test_r_18_1_and_r_18_2_a_filter_is_made_and_read(one: Instance, door: FilterDoor) -> None:
    version = await listen(one)
    made = await door.create(version.workflow_id, payload={"b": 1, "a": {"c": [None, True]}})
    assert (made["tenantId"], made["workflowId"]) == (TENANT, version.workflow_id)
    assert (made["scope"], made["expression"], made["isDeclarative"]) == ("s", "true", False)
    assert made["payload"] == {"b": 1, "a": {"c": [None, True]}}
    assert (await door.call("GET", ONE, made["metadata"]["id"])).json() == made
    assert (await door.create(version.workflow_id))["payload"] == {}
    assert (await door.create(version.workflow_id, scope="t", payload=None))["payload"] == {}


async def test_c_12_28_what_a_call_changed_counts_when_it_returns(one: Instance, door: FilterDoor) -> None:
    version = await listen(one)

    async def runs() -> int:
        [record] = await one.engine.events.push(TENANT, [NewEvent(key="go", payload="{}", scope="s")])
        return len(await one.rows("SELECT 1 FROM event_run WHERE event_id = $1", record.id))

    assert await runs() == 1
    filter_id = (await door.create(version.workflow_id, expression="false"))["metadata"]["id"]
    assert await runs() == 0
    await door.call("PATCH", ONE, filter_id, json={"expression": "true"})
    assert await runs() == 1
    await door.call("PATCH", ONE, filter_id, json={"scope": "t"})
    assert await runs() == 0
    await door.call("DELETE", ONE, filter_id)
    assert await runs() == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"expression": "input."}, "expression does not compile"),
        ({"expression": "nothing == 1"}, "expression does not compile"),
        ({"expression": ""}, "expression is required"),
        ({"scope": ""}, "scope is required"),
        ({"scope": "a\u0000"}, "scope contains the null character"),
        ({"payload": {"a": "\u0000"}}, "payload"),
        ({"payload": [1]}, "payload"),
        ({"scope": 1}, "scope"),
    ],
)
async def test_r_18_3_bad_input_is_400_and_named(
    one: Instance, door: FilterDoor, change: dict[str, Any], named: str
) -> None:
    version = await listen(one)
    body = {"workflowId": version.workflow_id, "scope": "s", "expression": "true", **change}
    status, text = await door.refused("POST", MANY, json=body)
    assert (status, named in text) == (400, True)
    made = await door.create(version.workflow_id)
    status, text = await door.refused("PATCH", ONE, made["metadata"]["id"], json=change)
    assert (status, named in text) == (400, True)
    assert (await door.call("GET", ONE, made["metadata"]["id"])).json() == made


async def test_r_1_11_what_is_missing_is_named(door: FilterDoor) -> None:
    for field in ("workflowId", "scope", "expression"):
        body = {"workflowId": UNKNOWN, "scope": "s", "expression": "true"}
        del body[field]
        status, text = await door.refused("POST", MANY, json=body)
        assert (status, field in text) == (400, True)


async def test_r_18_3_and_c_12_25_a_duplicate_is_refused(one: Instance, door: FilterDoor) -> None:
    version, other = await listen(one), await listen(one, "other")
    await door.create(version.workflow_id, payload={"a": 1, "b": 2})
    body = {"workflowId": version.workflow_id, "scope": "s", "expression": "true"}
    status, text = await door.refused("POST", MANY, json={**body, "payload": {"b": 2, "a": 1}})
    assert (status, "already has a filter" in text) == (400, True)
    # Each of these differs in something.
    for changes in ({"payload": {"a": 1}}, {"scope": "t", "payload": {"a": 1, "b": 2}}, {"expression": "1 == 1"}):
        await door.create(version.workflow_id, **changes)
    made = await door.create(other.workflow_id, payload={"a": 1, "b": 2})
    changed = await door.create(other.workflow_id, payload={"a": 3})
    status, text = await door.refused("PATCH", ONE, changed["metadata"]["id"], json={"payload": made["payload"]})
    assert (status, "already has a filter" in text) == (400, True)
    # To what it is already it may be changed.
    assert (await door.call("PATCH", ONE, made["metadata"]["id"], json={"scope": "s"})).status_code == 200


async def test_r_18_3_a_workflow_of_another_tenant_is_404(one: Instance, door: FilterDoor) -> None:
    theirs = await listen(one, "theirs", OTHER_TENANT)
    for workflow_id in (theirs.workflow_id, UNKNOWN):
        body = {"workflowId": workflow_id, "scope": "s", "expression": "true"}
        assert await door.refused("POST", MANY, json=body) == (404, f"workflow not found: {workflow_id}")
    assert await one.rows("SELECT 1 FROM event_filter") == []


async def test_r_18_4_an_unknown_filter_and_one_of_another_tenant_are_404(one: Instance, door: FilterDoor) -> None:
    theirs = await listen(one, "theirs", OTHER_TENANT)
    wanted = DefaultFilter(scope="s", expression="true")
    hidden = await one.engine.filters.add(OTHER_TENANT, theirs.workflow_id, wanted)
    for filter_id in (UNKNOWN, hidden.id):
        for method in ("GET", "PATCH", "DELETE"):
            given = {"json": {"scope": "t"}} if method == "PATCH" else {}
            assert await door.refused(method, ONE, filter_id, **given) == (404, f"filter not found: {filter_id}")
    assert (await one.engine.filters.get(OTHER_TENANT, hidden.id)).scope == "s"
    assert await door.listed() == []
    assert (await door.call("GET", ONE, "nonsense")).status_code == 400


async def test_r_18_4_the_list_has_pages_and_can_be_narrowed(one: Instance, door: FilterDoor) -> None:
    versions = [await listen(one), await listen(one, "other")]
    ids: dict[tuple[int, str], str] = {}
    for number, version in enumerate(versions):
        for scope in ("s", "t", "a,b"):
            one.clock.skip(1)
            ids[number, scope] = (await door.create(version.workflow_id, scope=scope))["metadata"]["id"]
    assert await door.listed() == list(ids.values())
    assert await door.listed(workflowIds=[versions[1].workflow_id]) == list(ids.values())[3:]
    assert await door.listed(scopes=["s", "t"]) == [found for (_, scope), found in ids.items() if scope in "st"]
    assert await door.listed(scopes=["a,b"], workflowIds=[versions[0].workflow_id]) == [ids[0, "a,b"]]
    assert await door.listed(scopes=["\0"]) == []
    body = (await door.call("GET", MANY, params={"offset": 2, "limit": 2})).json()
    assert [row["metadata"]["id"] for row in body["rows"]] == list(ids.values())[2:4]
    assert body["pagination"] == {"current_page": 2, "next_page": 3, "num_pages": 3}
    assert (await door.call("GET", MANY, params={"workflowIds": "x"})).status_code == 400
    assert (await door.call("GET", MANY, params={"limit": 0})).status_code == 400


async def test_r_18_4_patch_changes_what_it_names_and_delete_returns_what_it_was(
    one: Instance, door: FilterDoor
) -> None:
    version = await listen(one)
    made = await door.create(version.workflow_id, payload={"a": 1})
    filter_id = made["metadata"]["id"]
    one.clock.skip(5)
    for change in ({}, {"scope": "t"}, {"expression": "1 == 1"}, {"payload": {}}, {"scope": None}):
        changed = (await door.call("PATCH", ONE, filter_id, json=change)).json()
        made.update({key: value for key, value in change.items() if value is not None})
        assert {**changed, "metadata": made["metadata"]} == made
        assert changed["metadata"]["createdAt"] == made["metadata"]["createdAt"]
    assert changed["metadata"]["updatedAt"] > made["metadata"]["updatedAt"]
    assert (await door.call("DELETE", ONE, filter_id)).json() == changed
    assert (await door.call("GET", ONE, filter_id)).status_code == 404
    assert (await door.call("DELETE", ONE, filter_id)).status_code == 404


async def test_r_18_5_declared_filters_are_marked_and_replaced(one: Instance, door: FilterDoor) -> None:
    declared = DefaultFilter(scope="a", expression="true", payload='{"x": 1}')
    version = await listen(one, default_filters=(declared,))
    [row] = (await door.call("GET", MANY)).json()["rows"]
    assert (row["isDeclarative"], row["workflowId"], row["payload"]) == (True, version.workflow_id, {"x": 1})
    by_hand = await door.create(version.workflow_id)
    await listen(one, default_filters=(DefaultFilter(scope="b", expression="true"),))
    rows = (await door.call("GET", MANY)).json()["rows"]
    assert [(found["scope"], found["isDeclarative"]) for found in rows] == [("s", False), ("b", True)]
    assert rows[0] == by_hand


async def test_r_18_6_and_c_8_37_an_expression_is_tried_out(door: FilterDoor) -> None:
    text = "input.a == 1 && additional_metadata.b == 'x' && payload.c"
    given: dict[str, Any] = {"input": {"a": 1}, "additionalMetadata": {"b": "x"}, "filterPayload": {"c": True}}
    assert await door.debug(text, **given) == {"status": "SUCCESS", "output": True}
    assert await door.debug(text, **{**given, "input": {"a": 2}}) == {"status": "SUCCESS", "output": False}
    missing = await door.debug(text, input={}, filterPayload=None)
    assert (missing["status"], "output" in missing) == ("ERROR", False)
    assert "a" in missing["error"]
    for wrong in ("input.", "1 + 1", "", "nothing == 1"):
        found = await door.debug(wrong)
        assert found["status"] == "ERROR"
        assert found["error"]


async def test_r_18_6_a_body_that_does_not_fit_is_400(door: FilterDoor) -> None:
    for body in ({"input": {}}, {"expression": "true"}, {"expression": "true", "input": [1]}):
        assert (await door.call("POST", DEBUG, json=body)).status_code == 400


async def test_r_2_3_without_credentials_nothing_is_told(door: FilterDoor) -> None:
    for method, path in (("GET", MANY), ("POST", MANY), ("GET", ONE), ("PATCH", ONE), ("DELETE", ONE), ("POST", DEBUG)):
        answer = await door.call(method, path, UNKNOWN, headers={"Authorization": ""}, json={})
        assert answer.status_code == 403
