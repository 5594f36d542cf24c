"""Versions and deletion of workflows over HTTP, and deprecated routes (behaviour-rest R-13.4 to R-13.10, R-25.5)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from engine_fixture import Instance, World
from engine_worker import TENANT, until
from rest_door import UNKNOWN, RestDoor

from contract.rest_contract import operations
from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.errors import HatchetError
from hatchet.core.held import DuringPause, PauseSettings
from hatchet.core.rules import ConcurrencyRule, DefaultFilter, Sticky, Strategy
from hatchet.core.statuses import RunStatus

WORKFLOWS = f"/tenants/{TENANT}/workflows"
DEFINITION = WorkflowDefinition(
    name="rich",
    description="does much",
    version="v1",
    tasks=(
        TaskDefinition(readable_id="a", action="rich:a", schedule_timeout="7m", execution_timeout="3m"),
        TaskDefinition(
            readable_id="b",
            action="rich:b",
            parents=("a",),
            is_durable=True,
            concurrency=(ConcurrencyRule(expression="input.k", max_runs=2, strategy=Strategy.CANCEL_NEWEST),),
        ),
    ),
    on_failure=TaskDefinition(readable_id="on-failure", action="rich:on-failure"),
    default_priority=2,
    sticky=Sticky.HARD,
    input_json_schema='{"type":"object"}',
    concurrency=(ConcurrencyRule(expression="'all'", max_runs=5, strategy=Strategy.GROUP_ROUND_ROBIN),),
    event_triggers=("order:made", "order:*"),
    cron_triggers=("0 5 * * *",),
    default_filters=(DefaultFilter(scope="s", expression="true"),),
)


@pytest_asyncio.fixture
async def door(one: Instance) -> AsyncIterator[RestDoor]:
    made = RestDoor(one)
    yield made
    await made.client.aclose()


async def test_r_13_4_a_version_is_shown_whole(one: Instance, door: RestDoor) -> None:
    version = await one.engine.registration.put(TENANT, DEFINITION)
    body = await door.get(f"/workflows/{version.workflow_id}/versions")
    assert (body["metadata"]["id"], body["version"], body["order"]) == (version.id, "v1", 1)
    assert (body["sticky"], body["defaultPriority"], body["scheduleTimeout"]) == ("HARD", 2, "7m")
    assert body["inputJsonSchema"] == {"type": "object"}
    assert (body["workflow"]["name"], body["workflowConfig"]["name"]) == ("rich", "rich")
    assert body["triggers"]["events"] == [{"event_key": "order:made"}, {"event_key": "order:*"}]
    assert body["triggers"]["crons"] == [{"cron": "0 5 * * *"}]
    assert body["concurrency"] == {
        "maxRuns": 5,
        "limitStrategy": "GROUP_ROUND_ROBIN",
        "getConcurrencyGroup": "'all'",
    }
    main, last = body["jobs"]
    steps = {step["readableId"]: step for step in main["steps"]}
    assert (steps["b"]["parents"], steps["a"]["children"]) == ([version.tasks[0].id], [version.tasks[1].id])
    assert (steps["a"]["timeout"], steps["b"]["isDurable"], steps["b"]["slotRequests"]) == ("3m", True, {"durable": 1})
    assert [step["readableId"] for step in last["steps"]] == ["on-failure"]


async def test_r_13_5_strategies_have_names_that_clients_know(one: Instance, door: RestDoor) -> None:
    rules = tuple(ConcurrencyRule(expression=f"'{one.value}'", strategy=one) for one in Strategy)
    definition = replace(DEFINITION, concurrency=rules)
    version = await one.engine.registration.put(TENANT, definition)
    body = await door.get(f"/workflows/{version.workflow_id}/versions")
    shown = {rule["expression"].strip("'"): rule["limitStrategy"] for rule in body["v1Concurrency"][: len(rules)]}
    assert shown == {
        "GROUP_ROUND_ROBIN": "GROUP_ROUND_ROBIN",
        "CANCEL_IN_PROGRESS": "CANCEL_IN_PROGRESS",
        "CANCEL_NEWEST": "DROP_NEWEST",
        "CANCEL_QUEUED_EXCEPT_NEWEST": "QUEUE_NEWEST",
        "CANCEL_QUEUED_EXCEPT_OLDEST": "DROP_NEWEST",
    }
    of_task = body["v1Concurrency"][-1]
    assert (of_task["scope"], of_task["stepReadableId"], of_task["maxRuns"]) == ("TASK", "b", 2)
    assert body["v1Concurrency"][0]["scope"] == "WORKFLOW"


async def test_r_13_4_an_older_version_is_found_by_its_id(one: Instance, door: RestDoor) -> None:
    first = await one.engine.registration.put(TENANT, DEFINITION)
    second = await one.engine.registration.put(TENANT, replace(DEFINITION, description="does more"))
    other = await one.define()
    url = f"/workflows/{first.workflow_id}/versions"
    assert (await door.get(url))["metadata"]["id"] == second.id
    assert (await door.get(url, version=first.id))["order"] == 1
    for unknown in (UNKNOWN, other.id):
        assert await door.refusal("GET", url, 404, version=unknown) == "not found"
    await door.refusal("GET", url, 400, version="x")


async def test_r_13_9_a_deleted_workflow_is_gone_and_its_name_free(one: Instance, door: RestDoor) -> None:
    version = await one.engine.registration.put(TENANT, DEFINITION)
    url = f"/workflows/{version.workflow_id}"
    await door.call("DELETE", url, status=204)
    assert (await door.get(WORKFLOWS))["rows"] == []
    for method, path in (("GET", url), ("GET", f"{url}/versions"), ("DELETE", url)):
        assert await door.refusal(method, path, 404) == "not found"
    # C-14.15: what starts runs of it is gone, too.
    for path in (f"{WORKFLOWS}/crons", f"{WORKFLOWS}/scheduled", f"/stable/tenants/{TENANT}/filters"):
        assert (await door.get(path))["rows"] == []
    await one.push("order:made")
    assert await one.rows("SELECT FROM event_run") == []
    with pytest.raises(HatchetError, match="rich"):
        await one.run("rich")
    again = await one.engine.registration.put(TENANT, DEFINITION)
    assert again.workflow_id != version.workflow_id
    assert again.order == 1
    assert [row["metadata"]["id"] for row in (await door.get(WORKFLOWS))["rows"]] == [again.workflow_id]


async def test_r_13_9_its_workers_get_no_work_and_its_runs_can_be_read(one: Instance, door: RestDoor) -> None:
    version = await one.define()
    dag = await one.define_dag("dag", a=(), b=("a",))
    await one.define("other")
    worker = await one.worker("flow", "other", slots=1)
    running, waiting = await one.run(), await one.run()
    await worker.started(running)
    later = await one.run("dag")
    for deleted in (version, dag):
        await door.call("DELETE", f"/workflows/{deleted.workflow_id}", status=204)
    for run_id in (running, waiting, later):
        await one.ended(run_id, RunStatus.CANCELLED)
        assert (await door.get(f"/stable/workflow-runs/{run_id}"))["run"]["status"] == "CANCELLED"
    await worker.cancelled(running)
    other = await one.run("other")
    await worker.started(other)
    assert [action.task_id for action in worker.starts] == [running, other]
    await until(lambda: one.held().keys() <= {"flights", "ready", "payloads", "open runs"}, "nothing else is held")


async def test_r_13_9_runs_in_any_state_are_ended(one: Instance, door: RestDoor) -> None:
    """Such as one that was replayed when nothing of its age was open any more."""
    version = await one.define(retries=3)
    worker = await one.worker()
    done, old = await one.run(), await one.run()
    for run_id in (done, old):
        await worker.complete(await worker.started(run_id))
        await one.ended(run_id, RunStatus.COMPLETED)
    delayed = await one.run()
    await worker.fail(await worker.started(delayed))
    await worker.die()
    await one.replay(old)
    await door.call("DELETE", f"/workflows/{version.workflow_id}", status=204)
    await one.ended(delayed, RunStatus.CANCELLED)
    await one.ended(old, RunStatus.CANCELLED)
    assert await one.status(done) is RunStatus.COMPLETED
    # Nor is there a way back.
    assert await one.replay(done, old, delayed) == []
    assert await one.status(done) is RunStatus.COMPLETED


async def test_r_13_9_a_paused_workflow_can_be_deleted(one: Instance, door: RestDoor) -> None:
    version = await one.define()
    await one.define("other")
    settings = PauseSettings(queue_ttl="1h", crons=DuringPause.QUEUE, scheduled=DuringPause.QUEUE)
    await one.engine.pausing.pause(TENANT, version.workflow_id, settings)
    held = await one.run()
    await until(lambda: held in one.scheduler.held, "the run waits for the end of the pause")
    await door.call("DELETE", f"/workflows/{version.workflow_id}", status=204)
    await one.ended(held, RunStatus.CANCELLED)
    assert held not in one.scheduler.held
    worker = await one.worker("flow", "other")
    other = await one.run("other")
    await worker.started(other)
    assert [action.task_id for action in worker.starts] == [other]


async def test_r_13_9_another_instance_forgets_the_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hatchet.engine.registration.LATEST_SECONDS", 1e9)
    first = await world.engine()
    second = await world.engine(owns=False)
    version = await first.define()
    await until(lambda: first.engine.bus.has_peers, "the instances know each other")
    await second.run()
    await first.engine.removal.delete(TENANT, version.workflow_id)

    async def unknown() -> bool:
        try:
            await second.run()
        except HatchetError:
            return True
        return False

    await until(unknown, "the other instance has forgotten the name")


async def test_r_25_5_routes_of_earlier_generations_are_deprecated(one: Instance, door: RestDoor) -> None:
    version = await one.define()
    known = {"tenant": TENANT, "workflow": version.workflow_id}
    legacy = [route for route, found in operations().items() if found["generation"] == "legacy_v0"]
    assert len(legacy) > 20
    for method, path in legacy:
        url = re.sub(r"\{([^}]*)\}", lambda name: known.get(name[1], UNKNOWN), path)
        assert "is deprecated: use " in await door.refusal(method, url, 400)
    answer = await door.client.get(f"/api/v1/tenants/{TENANT}/queue-metrics")
    assert answer.status_code == 403
