"""Events over HTTP, with a real engine behind the door (behaviour-rest R-19, behaviour-core C-12.35 to C-12.37)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from engine_fixture import Instance
from engine_worker import TENANT, until
from rest_door import UNKNOWN, RestDoor

from hatchet.core.definitions import StoredVersion, TaskDefinition, WorkflowDefinition
from hatchet.core.event_push import NewEvent
from hatchet.core.rules import DefaultFilter
from hatchet.core.statuses import RunStatus

EVENTS = f"/stable/tenants/{TENANT}/events"


@pytest_asyncio.fixture
async def door(one: Instance) -> AsyncIterator[RestDoor]:
    made = RestDoor(one)
    yield made
    await made.client.aclose()


async def listener(one: Instance, name: str, key: str, **options: Any) -> StoredVersion:
    """A workflow that events of the key start."""
    task = TaskDefinition(readable_id=name, action=f"{name}:run")
    definition = WorkflowDefinition(name=name, tasks=(task,), event_triggers=(key,), **options)
    return await one.engine.registration.put(TENANT, definition)


async def push(one: Instance, key: str, **fields: Any) -> str:
    [record] = await one.engine.events.push(TENANT, [NewEvent(key=key, **{"payload": "{}", **fields})])
    return record.id


async def keys(door: RestDoor, **params: Any) -> list[str]:
    return [row["key"] for row in (await door.get(EVENTS, **params))["rows"]]


def text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


async def test_r_19_1_an_event_with_the_runs_that_it_started(one: Instance, door: RestDoor) -> None:
    await listener(one, "plain", "order")
    await listener(one, "picky", "order", default_filters=(DefaultFilter(scope="s", expression="input.n == 1"),))
    worker = await one.worker("plain")
    event_id = await push(one, "order", payload='{"n":1}', additional_metadata='{"k":"v"}', scope="s")
    event = await door.get(f"{EVENTS}/{event_id}")
    assert (event["metadata"]["id"], event["key"], event["scope"]) == (event_id, "order", "s")
    assert (event["payload"], event["additionalMetadata"]) == ({"n": 1}, {"k": "v"})
    assert event["seenAt"] == event["metadata"]["createdAt"]
    runs = {run["workflowRunId"]: run.get("filterId") for run in event["triggeredRuns"]}
    [declared] = await one.rows("SELECT id FROM event_filter")
    assert sorted(runs.values(), key=str) == sorted([None, str(declared["id"])], key=str)
    [plain] = [run_id for run_id, filter_id in runs.items() if filter_id is None]
    await worker.complete(await worker.started(plain))
    await one.ended(plain, RunStatus.COMPLETED)
    [row] = (await door.get(EVENTS))["rows"]
    assert row["workflowRunSummary"] == {"running": 0, "queued": 1, "succeeded": 1, "failed": 0, "cancelled": 0}
    #
    metadata = (await door.get(f"/stable/workflow-runs/{plain}"))["run"]["additionalMetadata"]
    assert (metadata["hatchet__event_id"], metadata["hatchet__event_key"]) == (event_id, "order")


async def test_r_19_1_runs_in_every_state_are_counted(one: Instance, door: RestDoor) -> None:
    await listener(one, "flow", "go")
    dag = WorkflowDefinition(
        name="dag",
        tasks=(
            TaskDefinition(readable_id="a", action="dag:a"),
            TaskDefinition(readable_id="b", action="dag:b", parents=("a",)),
        ),
        event_triggers=("dag",),
    )
    version = await one.engine.registration.put(TENANT, dag)
    worker = await one.worker("flow")

    async def summary(event_id: str) -> dict[str, int]:
        counts = (await door.get(f"{EVENTS}/{event_id}"))["workflowRunSummary"]
        return {name: count for name, count in counts.items() if count}

    async def run_of(event_id: str) -> str:
        [run] = (await door.get(f"{EVENTS}/{event_id}"))["triggeredRuns"]
        return str(run["workflowRunId"])

    failed, running, cancelled = [await push(one, "go") for _ in range(3)]
    await worker.fail(await worker.started(await run_of(failed)))
    await one.ended(await run_of(failed), RunStatus.FAILED)
    await worker.started(await run_of(running))
    await one.cancel(await run_of(cancelled))
    assert [await summary(one) for one in (failed, running, cancelled)] == [
        {"failed": 1},
        {"running": 1},
        {"cancelled": 1},
    ]
    several = await push(one, "dag")
    assert await summary(several) == {"queued": 1}
    both = await one.dag_worker(version)
    await both.complete(await both.task("a"))
    assert await summary(several) == {"running": 1}
    await both.complete(await both.task("b"))
    await one.ended(await run_of(several), RunStatus.COMPLETED)
    assert await summary(several) == {"succeeded": 1}


async def test_r_19_2_newest_first_with_exact_pages(one: Instance, door: RestDoor) -> None:
    for number in range(5):
        await push(one, f"e{number}")
    assert await keys(door) == ["e4", "e3", "e2", "e1", "e0"]
    body = await door.get(EVENTS, offset=2, limit=2)
    assert [row["key"] for row in body["rows"]] == ["e2", "e1"]
    assert body["pagination"] == {"current_page": 2, "next_page": 3, "num_pages": 3}
    # the next page is the current one when less than a page follows.
    last = (await door.get(EVENTS, offset=4, limit=2))["pagination"]
    assert (last["next_page"], last["current_page"]) == (3, 3)
    beyond = await door.get(EVENTS, offset=10, limit=2)
    assert (beyond["rows"], beyond["pagination"]["num_pages"]) == ([], 3)
    for bad in ({"limit": 0}, {"offset": -1}, {"limit": "x"}):
        await door.refusal("GET", EVENTS, 400, **bad)


async def test_r_19_2_by_key_scope_id_and_metadata(one: Instance, door: RestDoor) -> None:
    first = await push(one, "a", scope="s", additional_metadata='{"k":"v","n":"1"}')
    await push(one, "b", scope="t", additional_metadata='{"k":"v"}')
    await push(one, "c")
    assert await keys(door, keys=["a", "c", "zz"]) == ["c", "a"]
    assert await keys(door, scopes=["s"]) == ["a"]
    assert await keys(door, eventIds=[first, UNKNOWN]) == ["a"]
    assert await keys(door, additionalMetadata="k:v") == ["b", "a"]
    assert await keys(door, additionalMetadata=["k:v", "n:1"]) == ["a"]
    assert await keys(door, additionalMetadata="k:") == []
    assert await keys(door, keys="a\0") == []
    #
    assert "no colon" in await door.refusal("GET", EVENTS, 400, additionalMetadata="k")
    await door.refusal("GET", EVENTS, 400, eventIds="x")
    await door.refusal("GET", EVENTS, 400, workflowRunStatuses="SLEEPING")


async def test_r_19_2_by_time(one: Instance, door: RestDoor) -> None:
    old = await push(one, "old")
    async with one.database.transaction() as transaction:
        await transaction.raw.execute("UPDATE event SET inserted_at = inserted_at - interval '25 hours'")
    middle = one.clock.now()
    await push(one, "new")
    assert await keys(door) == ["new"]
    assert await keys(door, since=text(middle - 100_000)) == ["new", "old"]
    assert await keys(door, since="0001-01-01T00:00:00Z", until=text(middle - 30)) == ["old"]
    assert await keys(door, since=text(middle), until="9999-12-31T23:59:59Z") == ["new"]
    # Who names an event means it, whatever its age.
    assert await keys(door, eventIds=old) == ["old"]
    await door.refusal("GET", EVENTS, 400, since="2025-01-01T00:00:00")


async def test_r_19_4_by_the_runs_that_they_started(
    one: Instance, door: RestDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hatchet.engine.event_reading.CHUNK", 2)
    first = await listener(one, "first", "a*")
    second = await listener(one, "second", "*")
    worker = await one.worker("first", completes=True)
    for key in ("a1", "b1", "a2", "b2"):
        await push(one, key)
    await until(lambda: len(worker.starts) == 2, "both have started")
    for row in (await door.get(EVENTS, keys=["a1", "a2"]))["rows"]:
        for run in row["triggeredRuns"]:
            body = await door.get(f"/stable/workflow-runs/{run['workflowRunId']}")
            if body["run"]["workflowId"] == first.workflow_id:
                await one.ended(run["workflowRunId"], RunStatus.COMPLETED)
    assert await keys(door, workflowIds=first.workflow_id) == ["a2", "a1"]
    assert await keys(door, workflowIds=[first.workflow_id, second.workflow_id]) == ["b2", "a2", "b1", "a1"]
    assert await keys(door, workflowIds=UNKNOWN) == []
    assert await keys(door, workflowRunStatuses="COMPLETED") == ["a2", "a1"]
    assert await keys(door, workflowRunStatuses=["QUEUED", "FAILED"]) == ["b2", "a2", "b1", "a1"]
    # One and the same run must be of the workflow and stand so.
    assert await keys(door, workflowRunStatuses="COMPLETED", workflowIds=second.workflow_id) == []
    page = await door.get(EVENTS, workflowRunStatuses="QUEUED", offset=1, limit=2)
    assert [row["key"] for row in page["rows"]] == ["a2", "b1"]
    assert page["pagination"]["num_pages"] == 2


async def test_r_19_5_keys_are_listed_once(one: Instance, door: RestDoor) -> None:
    assert (await door.get(f"{EVENTS}/keys"))["rows"] == []
    for key in ("b", "a", "b", "ä"):
        await push(one, key)
    assert sorted((await door.get(f"{EVENTS}/keys"))["rows"]) == ["a", "b", "ä"]


async def test_r_19_6_the_payload_as_text(one: Instance, door: RestDoor) -> None:
    event_id = await push(one, "a", payload='{"n": 1.50}')
    urls = (f"/events/{event_id}/data", f"/tenants/{TENANT}/events/{event_id}/data")
    for url in urls:
        assert await door.get(url) == {"data": '{"n": 1.50}'}
        assert await door.get(url, token="blind") == {"data": "{}"}
    assert (await door.get(f"/events/{event_id}"))["key"] == "a"


async def test_r_3_6_event_payloads_are_withheld(one: Instance, door: RestDoor) -> None:
    event_id = await push(one, "a", payload='{"secret":1}')
    event = await door.get(f"{EVENTS}/{event_id}", token="blind")
    assert (event["payload"], event["payloadsRestricted"]) == ({}, True)


async def test_r_3_7_others_events_look_like_unknown_ones(one: Instance, door: RestDoor) -> None:
    event_id = await push(one, "a")
    for url in (f"{EVENTS}/{UNKNOWN}", f"/events/{UNKNOWN}", f"/events/{UNKNOWN}/data"):
        assert await door.refusal("GET", url, 404) == "event not found"
    for url in (f"/events/{event_id}", f"/events/{event_id}/data"):
        assert await door.refusal("GET", url, 404, token="other") == "event not found"
    assert await door.refusal("GET", "/events/x", 400) == "invalid event id"
    await door.refusal("GET", f"{EVENTS}/x", 400)
    assert await door.refusal("GET", EVENTS, 403, token="other") == "Please provide valid credentials"
