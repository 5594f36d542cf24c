"""Single runs and tasks over HTTP, with a real engine behind the door (behaviour-rest R-10.22 to R-10.36, R-11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from engine_fixture import OTHER_TENANT, Instance, on_event, waits
from engine_worker import TENANT, Worker, until
from rest_door import UNKNOWN, RestDoor

from hatchet.core.rules import BatchRule
from hatchet.core.statuses import RunStatus

TRIGGER = f"/stable/tenants/{TENANT}/workflow-runs/trigger"
RUNS = "/stable/workflow-runs"
TASKS = "/stable/tasks"


@pytest_asyncio.fixture
async def door(one: Instance) -> AsyncIterator[RestDoor]:
    made = RestDoor(one)
    yield made
    await made.client.aclose()


async def failing(one: Instance, worker: Worker, run_id: str, text: str = "boom") -> None:
    await worker.fail(await worker.started(run_id), text)
    await one.ended(run_id, RunStatus.FAILED)


async def test_r_10_22_details_of_a_run_of_one_task(one: Instance, door: RestDoor) -> None:
    version = await one.define()
    await one.worker(completes=True)
    run_id = await one.run(input='{"a":{"b":null}}', additional_metadata='{"k":"v"}')
    await one.ended(run_id, RunStatus.COMPLETED)
    body = await door.get(f"{RUNS}/{run_id}")
    run, [task], [item] = body["run"], body["tasks"], body["shape"]
    assert (run["metadata"]["id"], run["status"]) == (run_id, "COMPLETED")
    assert (run["input"], run["output"]) == ({"a": {"b": None}}, {"ok": True})
    assert (run["additionalMetadata"], run["errorMessage"]) == ({"k": "v"}, "")
    assert (run["workflowId"], run["workflowVersionId"]) == (version.workflow_id, version.id)
    assert run["startedAt"] <= run["finishedAt"]
    assert run["duration"] >= 0
    assert item == {
        "taskExternalId": run_id,
        "stepId": version.tasks[0].id,
        "childrenStepIds": [],
        "taskName": "flow",
    }
    assert (task["metadata"]["id"], task["type"], task["attempt"], task["retryCount"]) == (run_id, "TASK", 1, 0)
    assert (task["input"], task["workflowRunExternalId"]) == (run["input"], run_id)
    assert body["workflowConfig"]["name"] == "flow"


async def test_r_10_24_a_run_that_goes_on_has_no_times_of_its_end(one: Instance, door: RestDoor) -> None:
    await one.define()
    run_id = await one.run()
    run = (await door.get(f"{RUNS}/{run_id}"))["run"]
    assert run["status"] == "QUEUED"
    assert not {"startedAt", "finishedAt", "duration"} & run.keys()
    worker = await one.worker()
    await worker.started(run_id)
    run = (await door.get(f"{RUNS}/{run_id}"))["run"]
    assert run["status"] == "RUNNING"
    assert not {"finishedAt", "duration"} & run.keys()


async def test_r_10_25_the_shape_of_a_diamond_has_all_its_steps(one: Instance, door: RestDoor) -> None:
    version = await one.define_dag("dag", a=(), b=("a",), c=("a",), d=("b", "c"))
    run_id = await one.run("dag")
    body = await door.get(f"{RUNS}/{run_id}")
    shape = {item["taskName"]: item for item in body["shape"]}
    steps = {step.definition.readable_id: step.id for step in version.tasks}
    assert {name: item["stepId"] for name, item in shape.items()} == steps
    children = {name: {steps_name(steps, child) for child in item["childrenStepIds"]} for name, item in shape.items()}
    assert children == {"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}
    # only the first task exists as long as the others wait for it.
    assert [task["displayName"].rpartition("-")[0] for task in body["tasks"]] == ["a"]
    assert body["tasks"][0]["metadata"]["id"] == shape["a"]["taskExternalId"]


def steps_name(steps: dict[str, str], step_id: str) -> str:
    return next(name for name, known in steps.items() if known == step_id)


async def test_r_10_22_the_id_of_one_task_of_several_is_no_run(one: Instance, door: RestDoor) -> None:
    await one.define_dag("dag", a=(), b=("a",))
    run_id = await one.run("dag")
    task_id = (await one.task_ids(run_id))["a"]
    for path in ("", "/status", "/task-events", "/task-timings"):
        assert await door.refusal("GET", f"{RUNS}/{task_id}{path}", 404) == "workflow run not found"
        assert await door.refusal("GET", f"{RUNS}/{UNKNOWN}{path}", 404) == "workflow run not found"
        assert await door.refusal("GET", f"{RUNS}/{run_id}{path}", 404, token="other") == "workflow run not found"


async def test_r_10_18_output_and_error_of_a_run_are_those_of_the_last_task(one: Instance, door: RestDoor) -> None:
    version = await one.define_dag("dag", a=(), b=("a",), c=("b",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"), '{"from":"a"}')
    await worker.complete(await worker.task("b"), '{"from":"b"}')
    await worker.fail(await worker.task("c"), "no way")
    await one.ended(run_id, RunStatus.FAILED)
    body = await door.get(f"{RUNS}/{run_id}")
    assert (body["run"]["output"], body["run"]["errorMessage"]) == ({"from": "b"}, "no way")
    assert [task["errorMessage"] for task in body["tasks"]] == ["", "", "no way"]


async def test_r_10_28_the_status_is_a_bare_text(one: Instance, door: RestDoor) -> None:
    version = await one.define_dag("dag", a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    assert await door.get(f"{RUNS}/{run_id}/status") in ("QUEUED", "RUNNING")
    await worker.complete(await worker.task("a"))
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.COMPLETED)
    assert await door.get(f"{RUNS}/{run_id}/status") == "COMPLETED"


async def test_r_11_15_events_name_their_task_by_its_external_id(one: Instance, door: RestDoor) -> None:
    version = await one.define_dag("dag", a=(), b=("a",))
    await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    await one.ended(run_id, RunStatus.COMPLETED)
    body = await door.get(f"{RUNS}/{run_id}")
    ids = {task["metadata"]["id"] for task in body["tasks"]}
    assert {event["taskId"] for event in body["taskEvents"]} == ids
    assert len({event["id"] for event in body["taskEvents"]}) == len(body["taskEvents"])
    finished = [event for event in body["taskEvents"] if event["eventType"] == "FINISHED"]
    assert [event["output"] for event in finished] == ['{"ok":true}'] * 2
    assert (await door.get(f"{RUNS}/{run_id}/task-events"))["rows"] == body["taskEvents"]
    for task_id in ids:
        of_task = await door.get(f"{TASKS}/{task_id}/task-events")
        assert of_task["rows"] == [event for event in body["taskEvents"] if event["taskId"] == task_id]


async def test_r_11_3_events_are_newest_first_and_have_pages(one: Instance, door: RestDoor) -> None:
    await one.define(retries=2)
    worker = await one.worker()
    run_id = await one.run()
    for attempt in range(3):
        await worker.fail(await worker.started(run_id, attempt), f"boom {attempt}")
    await one.ended(run_id, RunStatus.FAILED)
    rows = (await door.get(f"{TASKS}/{run_id}/task-events"))["rows"]
    assert (rows[0]["eventType"], rows[-1]["eventType"]) == ("FAILED", "CREATED")
    # failures of several attempts are never merged.
    failed = [row for row in rows if row["eventType"] == "FAILED"]
    assert [(row["errorMessage"], row["retryCount"], row["attempt"]) for row in failed] == [
        ("boom 2", 2, 3),
        ("boom 1", 1, 2),
        ("boom 0", 0, 1),
    ]
    assert (await door.get(f"{TASKS}/{run_id}/task-events", offset=1, limit=2))["rows"] == rows[1:3]


async def test_r_11_4_a_batch_is_told_by_names_that_clients_know(one: Instance, door: RestDoor) -> None:
    await one.define(batch=BatchRule(max_size=2, interval_ms=60_000))
    worker = await one.worker()
    run_ids = await one.run_many(2)
    await until(lambda: worker.actions, "the batch arrives")
    names = [row["eventType"] for row in (await door.get(f"{TASKS}/{run_ids[0]}/task-events"))["rows"]]
    assert "WAITING_FOR_BATCH" in names
    assert names.count("WAITING_FOR_BATCH") == 1


async def test_r_11_1_an_attempt_is_counted_from_1(one: Instance, door: RestDoor) -> None:
    await one.define(retries=1)
    worker = await one.worker()
    run_id = await one.run()
    await worker.fail(await worker.started(run_id), "the first")
    await worker.complete(await worker.started(run_id, 1))
    await one.ended(run_id, RunStatus.COMPLETED)
    latest = await door.get(f"{TASKS}/{run_id}")
    assert (latest["attempt"], latest["status"], latest["output"], latest["errorMessage"]) == (
        2,
        "COMPLETED",
        {"ok": True},
        "",
    )
    assert latest["workflowConfig"]["name"] == "flow"
    first = await door.get(f"{TASKS}/{run_id}", attempt=1)
    assert (first["attempt"], first["status"], first["output"]) == (1, "FAILED", {})
    assert first["errorMessage"] == "the first"
    assert first["finishedAt"] <= latest["startedAt"]
    assert await door.get(f"{TASKS}/{run_id}", attempt=2) == latest
    for attempt in (0, -1):
        text = await door.refusal("GET", f"{TASKS}/{run_id}", 400, attempt=attempt)
        assert text == "Attempt must be greater than 0"
    assert "task not found" in await door.refusal("GET", f"{TASKS}/{run_id}", 404, attempt=3)


async def test_r_11_1_an_attempt_that_completed_before_a_replay_keeps_its_output(one: Instance, door: RestDoor) -> None:
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    await worker.complete(await worker.started(run_id), '{"n":1}')
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.replay(run_id)
    await worker.started(run_id, 1)
    now = await door.get(f"{TASKS}/{run_id}")
    assert (now["status"], now["output"], now["retryCount"]) == ("RUNNING", {}, 1)
    before = await door.get(f"{TASKS}/{run_id}", attempt=1)
    assert (before["status"], before["output"], before["retryCount"]) == ("COMPLETED", {"n": 1}, 0)


async def test_r_11_2_the_id_of_a_run_of_several_tasks_is_no_task(one: Instance, door: RestDoor) -> None:
    await one.define_dag("dag", a=(), b=("a",))
    run_id = await one.run("dag", input='{"x":1}')
    assert await door.refusal("GET", f"{TASKS}/{run_id}", 404) == "task not found"
    assert await door.refusal("GET", f"{TASKS}/{UNKNOWN}", 404) == "task not found"
    task_id = (await one.task_ids(run_id))["a"]
    task = await door.get(f"{TASKS}/{task_id}")
    # the user's input everywhere.
    assert (task["input"], task["workflowRunExternalId"], task["actionId"]) == ({"x": 1}, run_id, "dag:a")
    assert await door.refusal("GET", f"{TASKS}/{task_id}", 404, token="other") == "task not found"


async def test_r_11_2_the_only_task_of_a_run_is_both(one: Instance, door: RestDoor) -> None:
    await one.define_dag("dag", a=waits(on_event("go")))
    run_id = await one.run("dag")
    assert (await door.get(f"{RUNS}/{run_id}"))["run"]["status"] == "QUEUED"
    await one.push("go")

    async def there() -> bool:
        return bool((await door.get(f"{RUNS}/{run_id}"))["tasks"])

    await until(there, "the task exists")
    task = await door.get(f"{TASKS}/{run_id}")
    assert (task["metadata"]["id"], task["workflowRunExternalId"]) == (run_id, run_id)


async def test_r_10_36_names_begin_with_the_readable_id(one: Instance, door: RestDoor) -> None:
    await one.define("single")
    version = await one.define_dag("many", a=(), on_failure=True)
    worker = await one.dag_worker(version)
    single, many = await one.run("single"), await one.run("many")
    await worker.fail(await worker.task("a"))
    await worker.complete(await worker.task("on-failure"))
    await one.ended(many, RunStatus.FAILED)
    body = await door.get(f"{RUNS}/{many}")
    assert body["run"]["displayName"].startswith("many-")
    assert [task["displayName"].rpartition("-")[0] for task in body["tasks"]] == ["a", "on-failure"]
    name = (await door.get(f"{RUNS}/{single}"))["run"]["displayName"]
    word, _, millis = name.rpartition("-")
    assert word == "single"
    # never rounded up.
    assert int(millis) <= one.clock.now() * 1000


async def test_r_10_6_what_is_no_object_is_shown_as_the_empty_one(one: Instance, door: RestDoor) -> None:
    await one.define()
    worker = await one.worker()
    for output in ('"text"', "[1]", "null", '{"half":"\\ud800"}', '{"big":1e999}'):
        run_id = await one.run()
        await worker.complete(await worker.started(run_id), output)
        await one.ended(run_id, RunStatus.COMPLETED)
        found = (await door.get(f"{RUNS}/{run_id}"))["run"]["output"]
        assert isinstance(found, dict)
        assert bool(found) == output.startswith("{")


async def test_r_3_6_who_may_not_see_payloads_gets_empty_ones(one: Instance, door: RestDoor) -> None:
    await one.define()
    await one.worker(completes=True)
    run_id = await one.run(input='{"secret":1}')
    await one.ended(run_id, RunStatus.COMPLETED)
    body = await door.get(f"{RUNS}/{run_id}", token="blind")
    for shown in (body["run"], body["tasks"][0], await door.get(f"{TASKS}/{run_id}", token="blind")):
        assert (shown["input"], shown["output"], shown["payloadsRestricted"]) == ({}, {}, True)
    assert all("output" not in event for event in body["taskEvents"])
    assert "payloadsRestricted" not in (await door.get(f"{RUNS}/{run_id}"))["run"]


async def spawn(one: Instance, parent: str, **fields: Any) -> str:
    return await one.run(parent_task_id=parent, child_index=0, **fields)


async def test_r_10_30_timings_go_down_to_the_depth_that_is_asked_for(one: Instance, door: RestDoor) -> None:
    version = await one.define_dag("dag", a=(), b=())
    await one.define()
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    first, second = await worker.task("a"), await worker.task("b")
    child = await spawn(one, first.task_id)
    grandchild = await spawn(one, child)
    other = await spawn(one, second.task_id)

    async def rows(depth: int | None = None) -> list[tuple[int, str, str | None]]:
        params = {} if depth is None else {"depth": depth}
        found = (await door.get(f"{RUNS}/{run_id}/task-timings", **params))["rows"]
        return [(row["depth"], row["taskExternalId"], row.get("parentTaskExternalId")) for row in found]

    roots = [(0, first.task_id, None), (0, second.task_id, None)]
    assert sorted(await rows()) == sorted(await rows(0)) == sorted(roots)
    one_level = [(1, child, first.task_id), (1, other, second.task_id)]
    assert sorted(await rows(1)) == sorted([*roots, *one_level])
    deep = await rows(10)
    assert sorted(deep) == sorted([*roots, *one_level, (2, grandchild, child)])
    # Depth first: whatever a task spawned comes right after it.
    ids = [task_id for _, task_id, _ in deep]
    assert ids.index(child) == ids.index(first.task_id) + 1
    assert ids.index(grandchild) == ids.index(child) + 1
    for depth in (-1, 11, "x"):
        await door.refusal("GET", f"{RUNS}/{run_id}/task-timings", 400, depth=depth)
    # how many were spawned, and by whom.
    tasks = {task["metadata"]["id"]: task for task in (await door.get(f"{RUNS}/{run_id}"))["tasks"]}
    assert [tasks[one.task_id]["numSpawnedChildren"] for one in (first, second)] == [1, 1]
    assert (await door.get(f"{RUNS}/{child}"))["run"]["parentTaskExternalId"] == first.task_id


async def test_r_10_31_a_run_is_triggered_and_answered_with_its_details(one: Instance, door: RestDoor) -> None:
    await one.define()
    body = {"workflowName": "flow", "input": {"ä": [1, None]}, "additionalMetadata": {"k": "v"}, "priority": 3}
    for extra in ({}, {"return_only_id": True}, {"return_only_id": False}):
        found = await door.call("POST", TRIGGER, body={**body, **extra})
        run_id = found["run"]["metadata"]["id"]
        # it exists as soon as the answer is sent.
        details = await one.details(run_id)
        assert details.status in (RunStatus.QUEUED, RunStatus.RUNNING)
        assert (found["run"]["input"], found["run"]["additionalMetadata"]) == (body["input"], {"k": "v"})


async def test_r_10_32_a_bad_trigger_is_400_with_the_reason(one: Instance, door: RestDoor) -> None:
    await one.define()
    good = {"workflowName": "flow", "input": {}}
    for change, text in (
        ({"priority": 0}, "priority"),
        ({"priority": 4}, "priority"),
        ({"workflowName": "nobody"}, "nobody"),
        ({"input": {"a": "\0"}}, "json"),
        ({"additionalMetadata": {"a": "\0"}}, "json"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"workflowName": None}, "workflowName"),
    ):
        assert text in await door.refusal("POST", TRIGGER, 400, body={**good, **change})


async def test_r_11_9_cancel_and_replay_answer_the_ids(one: Instance, door: RestDoor) -> None:
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    await failing(one, worker, run_id)
    tasks = f"/stable/tenants/{TENANT}/tasks"
    assert (await door.call("POST", f"{tasks}/cancel", body={"externalIds": [run_id, UNKNOWN]}))["ids"] == [run_id]
    assert (await door.call("POST", f"{tasks}/replay", body={"externalIds": [run_id, UNKNOWN]}))["ids"] == [run_id]
    await worker.complete(await worker.started(run_id, 1))
    await one.ended(run_id, RunStatus.COMPLETED)
    task = await door.get(f"{TASKS}/{run_id}")
    #
    assert (task["status"], task["retryCount"], task["attempt"]) == ("COMPLETED", 1, 2)
    #
    assert (await door.call("POST", f"{tasks}/cancel", body={}))["ids"] == []
    both = {"externalIds": [run_id], "filter": {"since": "2020-01-01T00:00:00Z"}}
    await door.refusal("POST", f"{tasks}/cancel", 400, body=both)


async def test_r_11_14_the_tasks_of_several_runs(one: Instance, door: RestDoor) -> None:
    version = await one.define_dag("dag", a=(), b=())
    await one.define()
    first, second, single = await one.run("dag"), await one.run("dag"), await one.run()
    tasks = await one.task_ids(first)
    url, ids = "/stable/dags/tasks", [second, first, single, tasks["a"], UNKNOWN]
    found = {row["dagId"]: row["children"] for row in await door.get(url, tenant=TENANT, dag_ids=ids)}
    assert found.keys() == {first, second, single}
    assert {task["metadata"]["id"] for task in found[first]} == set(tasks.values())
    assert {task["workflowVersionId"] for task in found[second]} == {version.id}
    await door.refusal("GET", url, 403, tenant=TENANT, dag_ids=ids, token="other")
    assert await door.get(url, tenant=OTHER_TENANT, dag_ids=ids, token="other") == []
    await door.refusal("GET", url, 400, tenant=TENANT)
    await door.refusal("GET", url, 400, dag_ids=ids)
    await door.refusal("GET", url, 404, tenant=UNKNOWN, dag_ids=ids)
