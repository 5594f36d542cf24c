"""Runs of several tasks in the engine: what starts when, with which payload, and how the run ends (C-6, C-7)."""

from __future__ import annotations

import json

from engine_fixture import TENANT, Instance
from engine_worker import until

from hatchet.core.conditions import Action as Does
from hatchet.core.conditions import Condition, Kind
from hatchet.core.event_push import NewEvent
from hatchet.core.statuses import RunStatus


async def test_c6_14_a_child_starts_when_all_parents_completed(one: Instance) -> None:
    version = await one.define_dag(a=(), b=(), c=("a", "b"))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag", input='{"n":1}')
    a, b = await worker.task("a"), await worker.task("b")
    assert (a.run_id, b.run_id) == (run_id, run_id)
    assert a.task_id != run_id
    details = await one.details(run_id)
    assert {task.readable_id for task in details.tasks} == {"a", "b"}
    await worker.complete(a, '{"x":1}')
    await worker.complete(b, '{"y":2}')
    c = await worker.task("c")
    payload = json.loads(c.payload)
    assert payload["input"] == {"n": 1}
    assert payload["parents"] == {"a": {"x": 1}, "b": {"y": 2}}
    assert payload["triggers"] == {}
    ends = one.ends(run_id)
    await worker.complete(c, '{"z":3}')
    finished = await ends.of(run_id)
    assert [(result.readable_id, result.output) for result in finished.results] == [
        ("a", '{"x":1}'),
        ("b", '{"y":2}'),
        ("c", '{"z":3}'),
    ]
    details = await one.ended(run_id, RunStatus.COMPLETED)
    assert len(details.tasks) == 3


async def test_c6_47_the_on_failure_task_runs_and_the_run_has_failed(one: Instance) -> None:
    version = await one.define_dag(on_failure=True, a=())
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    ends = one.ends(run_id)
    await worker.fail(await worker.task("a"), "boom")
    last = await worker.task("on-failure")
    assert json.loads(last.payload)["step_run_errors"] == {"a": "boom"}
    assert ends.told == []
    await worker.complete(last)
    finished = await ends.of(run_id)
    assert [(result.readable_id, result.status) for result in finished.results] == [
        ("a", RunStatus.FAILED),
        ("on-failure", RunStatus.COMPLETED),
    ]
    await one.ended(run_id, RunStatus.FAILED)


async def test_c6_45_the_on_failure_task_is_skipped_without_a_failure(one: Instance) -> None:
    version = await one.define_dag(on_failure=True, a=(), b=("a",))
    await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    finished = await one.ends(run_id).of(run_id)
    assert finished.results[-1].output == '{"skipped":true}'
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c8_13_an_event_of_an_or_group_starts_the_task(one: Instance) -> None:
    conditions = (
        Condition(kind=Kind.SLEEP, action=Does.QUEUE, or_group=0, data_key="sleep:60s", sleep_for="60s"),
        Condition(kind=Kind.EVENT, action=Does.QUEUE, or_group=0, data_key="e", event_key="e"),
    )
    version = await one.define_dag(a=(), b={"parents": ("a",), "conditions": conditions})
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"))
    await one.engine.events.push(TENANT, [NewEvent(key="e", payload='{"v":7}')])
    b = await worker.task("b")
    assert json.loads(b.payload)["triggers"] == {"e": {"v": 7}}
    await worker.complete(b)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c8_11_a_sleep_skips_a_task_that_waits_for_an_event(one: Instance) -> None:
    conditions = (
        Condition(kind=Kind.EVENT, action=Does.QUEUE, or_group=0, data_key="e", event_key="e"),
        Condition(kind=Kind.SLEEP, action=Does.SKIP, or_group=1, data_key="sleep:50ms", sleep_for="50ms"),
    )
    version = await one.define_dag(a=(), b={"parents": ("a",), "conditions": conditions}, c=("b", "a"))
    await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    details = await one.ended(run_id, RunStatus.COMPLETED)
    assert {task.readable_id: task.output for task in details.tasks}["b"] == '{"skipped":true}'


async def test_c15_22_a_task_is_replayed_with_what_is_below_it(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",), c=("b",))
    worker = await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    await one.ended(run_id, RunStatus.COMPLETED)
    b = (await worker.task("b")).task_id
    assert await one.engine.replay.replay(TENANT, [b]) == [b]
    again = await worker.task("b", attempt=1)
    assert json.loads(again.payload)["parents"] == {"a": {"ok": True}}
    await worker.task("c", attempt=1)
    await one.ended(run_id, RunStatus.COMPLETED)
    assert all(action.readable_id != "a" or action.retry_count == 0 for action in worker.starts)

    async def is_closed() -> bool:
        return not await one.rows("SELECT 1 FROM reopened")

    await until(is_closed, "the run's name leaves the list of what is open again")


async def test_c6_38_a_run_is_cancelled_with_all_its_tasks(one: Instance) -> None:
    version = await one.define_dag(on_failure=True, a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    assert await one.engine.control.cancel(TENANT, [run_id]) == [run_id]
    await worker.cancelled(a.task_id)
    details = await one.ended(run_id, RunStatus.CANCELLED)
    assert [task.status for task in details.tasks[:2]] == [RunStatus.CANCELLED] * 2
    assert details.tasks[2].output == '{"skipped":true}'
