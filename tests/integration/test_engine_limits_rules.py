"""Rules about limits, placement and slots with a whole engine (behaviour-core C-3.37, C-3.39, C-9 to C-11)."""

from __future__ import annotations

import asyncio
import json

import pytest
from engine_fixture import Instance, World
from engine_worker import TENANT, Worker, until

from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.messages import ActionKind, ReportKind
from hatchet.core.rules import BatchRule, ConcurrencyRule, RateLimitRule, Sticky, Strategy, Window
from hatchet.core.statuses import RunStatus
from hatchet.engine import watch

ALL = ConcurrencyRule(expression="'all'", strategy=Strategy.GROUP_ROUND_ROBIN)
NEWEST_GOES = ConcurrencyRule(expression="'all'", strategy=Strategy.CANCEL_NEWEST)
API = RateLimitRule(key="api")
LONG_MS = 600_000


def is_started(worker: Worker, task_id: str) -> bool:
    return any(action.task_id == task_id for action in worker.starts)


# Concurrency --------------------------------------------------------------------------------------------------------


async def test_c_3_37_runs_of_an_old_version_keep_the_rules_of_that_version(one: Instance) -> None:
    await one.define(concurrency=(ALL,))
    worker = await one.worker()
    holding, waiting = await one.run(), await one.run()
    first = await worker.started(holding)
    await one.define(concurrency=(ConcurrencyRule(expression="'new'", strategy=Strategy.GROUP_ROUND_ROBIN),))
    await worker.started(await one.run())
    await one.watched()
    assert not is_started(worker, waiting), "the new version changes nothing for who waits under the old one"
    await worker.complete(first)
    await worker.started(waiting)


async def test_c_3_39_rules_of_a_standalone_workflow_come_before_those_of_its_task(one: Instance) -> None:
    ours = ConcurrencyRule(expression="input.k", strategy=Strategy.GROUP_ROUND_ROBIN)
    task = TaskDefinition(readable_id="flow", action="flow:run", concurrency=(NEWEST_GOES,))
    version = await one.engine.registration.put(
        TENANT, WorkflowDefinition(name="flow", tasks=(task,), concurrency=(ours,))
    )
    assert [rule.definition for rule in version.tasks[0].rules] == [ours, NEWEST_GOES]
    assert version.rules == (), "no place of the run as a whole"
    worker = await one.worker()
    first, second = [await one.run(input='{"k": "a"}') for _ in range(2)]
    action = await worker.started(first)
    await one.watched()
    assert await one.status(second) is RunStatus.QUEUED, "it waits at the first rule and does not reach the second"
    await worker.complete(action)
    await worker.complete(await worker.started(second))
    await one.ended(second, RunStatus.COMPLETED)


async def test_c_6_36_and_c_9_25_the_place_of_a_run_that_timed_out_goes_to_the_next(one: Instance) -> None:
    await one.define(concurrency=(ALL,), execution_timeout="20s")
    worker = await one.worker(slots=1)
    first, second = await one.run(), await one.run()
    await worker.started(first)
    await one.watched()
    assert not is_started(worker, second)
    await one.pass_time(21, worker)
    await one.ended(first, RunStatus.FAILED)
    await worker.started(second)
    await one.pass_time(21, worker)
    await one.ended(second, RunStatus.FAILED)
    for run_id in (first, second):
        names = await one.event_names(run_id)
        assert len(names) > 1
        assert names[-1] == "TIMED_OUT"
    await one.empty()


async def test_c_9_11_and_c_6_51_a_run_cancelled_by_a_strategy_has_not_failed(one: Instance) -> None:
    version = await one.define_dag("dag", a={"concurrency": (NEWEST_GOES,)}, on_failure=True)
    worker = await one.dag_worker(version)
    first = await one.run("dag")
    action = await worker.task("a", run_id=first)
    second = await one.run("dag")
    details = await one.ended(second, RunStatus.CANCELLED)
    a = next(task for task in details.tasks if task.readable_id == "a")
    assert (a.status, a.error) == (RunStatus.CANCELLED, None)
    events = [event for event in await one.history(a.task_id) if event.type.value == "CANCELLED"]
    assert [event.message for event in events] == ["Cancelled due to concurrency strategy"]
    await worker.complete(action)
    await one.ended(first, RunStatus.COMPLETED)
    assert worker.begun(second) == [], "neither the task nor the on-failure task"


async def test_c_9_13_the_on_failure_task_asks_for_no_place_of_the_workflow(one: Instance) -> None:
    version = await one.define_dag("dag", a=(), on_failure=True, workflow={"concurrency": (ALL,)})
    worker = await one.dag_worker(version)
    first, second = await one.run("dag"), await one.run("dag")
    await worker.fail(await worker.task("a", run_id=first))
    last = await worker.task("on-failure", run_id=first)
    await one.watched()
    assert worker.begun(second) == [], "the run is open until its on-failure task ends"
    await worker.complete(last)
    await worker.task("a", run_id=second)


# Rate limits --------------------------------------------------------------------------------------------------------


async def test_c_10_18_who_waits_for_a_refill_is_looked_at_right_after_it(one: Instance) -> None:
    await one.define(rate_limits=(API,))
    await one.engine.rate_limits.put(TENANT, "api", 1, Window.MINUTE)
    worker = await one.worker(completes=True)
    first, second = await one.run(), await one.run()
    await one.ended(first, RunStatus.COMPLETED)
    await until(lambda: len(one.scheduler.gates.parked) == 1, "the second is parked")
    await one.pass_time(50, worker)
    assert not is_started(worker, second)
    await one.pass_time(11, worker)
    await one.ended(second, RunStatus.COMPLETED)


async def test_c_10_19_all_workflows_and_workers_share_a_limit(one: Instance) -> None:
    await one.define("a", rate_limits=(API,))
    await one.define("b", rate_limits=(API,))
    await one.engine.rate_limits.put(TENANT, "api", 3, Window.MINUTE)
    workers = [await one.worker("a", completes=True), await one.worker("b", completes=True)]

    def begun() -> int:
        return sum(len(worker.starts) for worker in workers)

    for name in ("a", "b", "a", "b"):
        await one.run(name)
    await until(lambda: begun() >= 3, "three start")
    await one.watched()
    assert begun() == 3
    assert all(worker.starts for worker in workers)
    await one.pass_time(61, *workers)
    await until(lambda: begun() == 4, "the fourth starts")


async def test_c_10_22_an_item_takes_its_units_before_it_is_buffered_and_none_at_the_flush(one: Instance) -> None:
    await one.define(rate_limits=(API,), batch=BatchRule(max_size=2, interval_ms=LONG_MS))
    await one.engine.rate_limits.put(TENANT, "api", 1, Window.MINUTE)
    worker = await one.worker()
    runs = [await one.run(), await one.run()]
    await until(lambda: len(one.scheduler.gates.batches) == len(one.scheduler.gates.parked) == 1, "one waits for units")
    await one.pass_time(61, worker)
    # Two items and one unit a minute: asked again at the flush, the batch could never go.
    await until(lambda: worker.actions, "the batch arrives")
    assert [action.kind for action in worker.actions] == [ActionKind.START_BATCH]
    assert list(json.loads(worker.actions[0].payload)) == runs


# Placement and slots ------------------------------------------------------------------------------------------------


async def test_c_11_7_an_idle_worker_gets_a_new_task_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # With a watch that looks every 10 s only news can be this fast.
    monkeypatch.setattr(watch, "TURN_SECONDS", 10.0)
    one = await world.engine()
    await one.define()
    worker = await one.worker(completes=True)
    loop = asyncio.get_running_loop()
    took = []
    for _ in range(5):
        begin = loop.time()
        await worker.started(await one.run())
        took.append(loop.time() - begin)
    assert sorted(took)[2] < 0.5, took


async def test_c_11_10_the_first_task_of_a_sticky_run_goes_to_any_worker(one: Instance) -> None:
    version = await one.define_dag("dag", a=(), b=("a",), workflow={"sticky": Sticky.HARD})
    workers = [await one.dag_worker(version, slots=1) for _ in range(3)]
    await one.run_many(3, "dag")
    await until(lambda: all(worker.starts for worker in workers), "each worker has one")
    assert [worker.begun() for worker in workers] == [[("a", 0)]] * 3


async def test_c_11_25_any_slot_type_that_worker_and_task_agree_on(one: Instance) -> None:
    await one.define("large", slot_requests={"gpu": 2, "licence": 1})
    await one.define("small", slot_requests={"gpu": 1})
    worker = await one.worker("large", "small", slots={"gpu": 3, "licence": 5})
    first, second = await one.run("large"), await one.run("large")
    action = await worker.started(first)
    await worker.started(await one.run("small"))
    assert (one.free(worker, "gpu"), one.free(worker, "licence")) == (0, 4)
    assert not is_started(worker, second)
    await worker.complete(action)
    await worker.started(second)
    assert (one.free(worker, "gpu"), one.free(worker, "licence")) == (0, 4)


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled", "retry", "released", "timed out"])
async def test_c_11_30_what_frees_the_units_of_a_task(one: Instance, how: str) -> None:
    retries = 1 if how == "retry" else 0
    await one.define(retries=retries, backoff_factor=100.0, slot_requests={"default": 2}, execution_timeout="20s")
    worker = await one.worker(slots=2)
    run_id = await one.run()
    action = await worker.started(run_id)
    assert one.free(worker) == 0
    if how == "completed":
        await worker.complete(action)
    elif how in ("failed", "retry"):
        await worker.fail(action)
    elif how == "cancelled":
        await one.cancel(run_id)
        # Whether the engine waits for the worker's word is not what is tested here.
        await worker.say(await worker.cancelled(run_id), ReportKind.CANCELLED)
    elif how == "released":
        await one.engine.control.release_slot(TENANT, run_id)
    else:
        await one.pass_time(21, worker)
    await until(lambda: one.free(worker) == 2, "all units are free")
    assert ((await one.details(run_id)).done) is (how not in ("retry", "released"))


async def test_c_11_30_a_reassigned_task_holds_units_of_its_new_worker_only(one: Instance) -> None:
    await one.define()
    lost = await one.worker(slots=1)
    run_id = await one.run()
    await lost.started(run_id)
    other = await one.worker(slots=1)
    await one.lose(lost, other)
    await other.started(run_id, 1)
    assert one.free(other) == 0
    await lost.open()
    await until(lambda: one.scheduler.pool.get(lost.id) is not None and one.free(lost) == 1, "the first one is free")
