"""Concurrency rules with a whole engine (behaviour-core C-9)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from engine_fixture import Instance, World
from engine_worker import TENANT, Action, Worker, until

from hatchet.core.messages import TriggerItem
from hatchet.core.rules import ConcurrencyRule, Strategy
from hatchet.core.statuses import RunStatus

ROUND_ROBIN = Strategy.GROUP_ROUND_ROBIN


def rule(
    expression: str = "input.k", most: int = 1, strategy: Strategy = ROUND_ROBIN, **options: Any
) -> ConcurrencyRule:
    return ConcurrencyRule(expression=expression, max_runs=most, strategy=strategy, **options)


async def run(one: Instance, name: str = "flow", priority: int | None = None, **values: Any) -> str:
    return await one.run(name, input=orjson.dumps(values).decode(), priority=priority)


async def trigger(one: Instance, name: str, inputs: list[dict[str, Any]]) -> list[str]:
    items = [TriggerItem(workflow_name=name, input=orjson.dumps(values).decode()) for values in inputs]
    return await one.engine.trigger.trigger(TENANT, items)


class Gauge:
    """What runs at the same time, by a key of its input; the most of each."""

    def __init__(self, worker: Worker, *keys: Callable[[dict[str, Any]], str]) -> None:
        self.most: Counter[str] = Counter()
        self.order: list[str] = []
        self._now: Counter[str] = Counter()
        self._worker = worker
        self._keys = keys
        worker.answers(self._answer)

    async def _answer(self, action: Action) -> None:
        given = orjson.loads(action.payload)["input"]
        names = [key(given) for key in self._keys]
        self.order.append(action.task_id)
        self._now.update(names)
        for name in names:
            self.most[name] = max(self.most[name], self._now[name])
        await asyncio.sleep(0.002)
        self._now.subtract(names)
        await self._worker.complete(action)


async def done(one: Instance, *runs: str) -> None:
    ends = one.ends(*runs)
    for run_id in runs:
        await ends.of(run_id)


@pytest.mark.parametrize("level", ["task", "workflow"])
async def test_c_9_16_all_limits_hold_at_the_same_time(one: Instance, level: str) -> None:
    rules = (rule("string(input.digit)", 8), rule("input.name", 3))
    if level == "task":
        version = await one.define("flow", concurrency=rules)
    else:
        version = await one.define_dag("flow", run=(), workflow={"concurrency": rules})
    worker = await one.dag_worker(version, slots=100)
    gauge = Gauge(worker, lambda given: f"digit {given['digit']}", lambda given: f"name {given['name']}")
    inputs = [{"digit": number % 5, "name": "abcdef"[number * 7 % 6]} for number in range(100)]
    runs = await trigger(one, "flow", inputs)
    await done(one, *runs)
    assert len(gauge.order) == 100
    assert all(most <= (8 if name.startswith("digit") else 3) for name, most in gauge.most.items()), gauge.most
    await one.empty()


async def test_c_9_24_groups_do_not_wait_for_each_other_and_nobody_is_cancelled(one: Instance) -> None:
    await one.define(concurrency=(rule(),))
    worker = await one.worker(slots=10)
    a1, b1, a2, b2 = [await run(one, k=key) for key in "abab"]
    await worker.started(a1)
    await worker.started(b1)
    await one.watched()
    assert {action.task_id for action in worker.starts} == {a1, b1}
    assert await one.status(a2) is RunStatus.QUEUED
    await worker.complete(await worker.started(a1))
    await worker.complete(await worker.started(a2))
    await worker.complete(await worker.started(b1))
    await worker.complete(await worker.started(b2))
    for run_id in (a1, a2, b1, b2):
        await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()


async def test_c_9_19_within_a_group_the_order_is_that_of_creation(one: Instance) -> None:
    await one.define(concurrency=(rule(),))
    runs = await trigger(one, "flow", [{"k": "a"}] * 30)
    worker = await one.worker(slots=10)
    gauge = Gauge(worker, lambda given: given["k"])
    await done(one, *runs)
    assert gauge.order == runs
    assert gauge.most["a"] == 1


async def test_c_9_7_a_long_backlog_of_one_group_does_not_delay_another(one: Instance) -> None:
    await one.define(concurrency=(rule(most=5),))
    many = await trigger(one, "flow", [{"k": "many"}] * 60)
    few = await trigger(one, "flow", [{"k": "few"}] * 3)
    worker = await one.worker(slots=1)
    gauge = Gauge(worker, lambda given: given["k"])
    await done(one, *many, *few)
    assert max(gauge.order.index(run_id) for run_id in few) < 8, "each group has its turn"


async def test_c_9_8_and_c_9_22_the_newest_stays_at_task_level(one: Instance) -> None:
    await one.define(concurrency=(rule(strategy=Strategy.CANCEL_IN_PROGRESS),))
    worker = await one.worker(slots=10)
    runs = []
    for _ in range(10):
        runs.append(await run(one, k="a"))
        await worker.started(runs[-1])
    for run_id in runs[:-1]:
        details = await one.ended(run_id, RunStatus.CANCELLED)
        assert details.tasks[0].error in (None, ""), "C-9.11"
    assert {action.task_id for action in worker.cancels} == set(runs[:-1])
    await worker.complete(await worker.started(runs[-1]))
    await one.ended(runs[-1], RunStatus.COMPLETED)
    history = await one.history(runs[0])
    assert history[-1].message == "Cancelled due to concurrency strategy"
    await one.empty()


async def test_c_9_22_the_newest_run_stays_at_workflow_level(one: Instance) -> None:
    version = await one.define_dag(
        "dag", a=(), b=("a",), on_failure=True, workflow={"concurrency": (rule(strategy=Strategy.CANCEL_IN_PROGRESS),)}
    )
    worker = await one.dag_worker(version)
    runs = []
    for _ in range(4):
        runs.append(await run(one, "dag", k="a"))
        await worker.started((await one.task_ids(runs[-1]))["a"])
    for run_id in runs[:-1]:
        details = await one.ended(run_id, RunStatus.CANCELLED)
        assert {task.readable_id: task.status for task in details.tasks}["b"] is RunStatus.CANCELLED
    ids = await one.task_ids(runs[-1])
    await worker.complete(await worker.started(ids["a"]))
    await worker.complete(await worker.started((await one.task_ids(runs[-1]))["b"]))
    await one.ended(runs[-1], RunStatus.COMPLETED)
    await one.empty()


@pytest.mark.parametrize("level", ["task", "workflow"])
async def test_c_9_9_and_c_9_23_the_first_stays(one: Instance, level: str) -> None:
    rules = (rule(strategy=Strategy.CANCEL_NEWEST),)
    if level == "task":
        version = await one.define("flow", concurrency=rules)
    else:
        version = await one.define_dag("flow", run=(), more=("run",), workflow={"concurrency": rules})
    worker = await one.dag_worker(version)
    first = await run(one, k="a")
    await until(lambda: worker.starts, "the first starts")
    others = await trigger(one, "flow", [{"k": "a"}] * 10)
    for run_id in others:
        await one.ended(run_id, RunStatus.CANCELLED)
    assert {action.run_id for action in worker.starts} == {first}
    while not (await one.details(first)).done:
        for action in list(worker.starts):
            await worker.complete(action)
        await asyncio.sleep(0.01)
    await one.ended(first, RunStatus.COMPLETED)
    other = await run(one, k="a")
    await until(lambda: any(action.run_id == other for action in worker.starts), "the place is free again")


@pytest.mark.parametrize(
    ("strategy", "stays"),
    [(Strategy.CANCEL_QUEUED_EXCEPT_NEWEST, 3), (Strategy.CANCEL_QUEUED_EXCEPT_OLDEST, 1)],
)
async def test_c_9_10_of_those_that_wait_one_stays(one: Instance, strategy: Strategy, stays: int) -> None:
    await one.define(concurrency=(rule(strategy=strategy),))
    worker = await one.worker(slots=10)
    runs = [await run(one, k="a")]
    await worker.started(runs[0])
    runs += [await run(one, k="a") for _ in range(3)]
    for number in {1, 2, 3} - {stays}:
        await one.ended(runs[number], RunStatus.CANCELLED)
    await worker.complete(await worker.started(runs[0]))
    await worker.complete(await worker.started(runs[stays]))
    await one.ended(runs[stays], RunStatus.COMPLETED)
    await one.empty()


async def test_c_9_5_the_limit_of_the_newest_run_is_the_groups(one: Instance) -> None:
    await one.define(concurrency=(rule(max_runs_expression="input.most"),))
    worker = await one.worker(slots=10)
    first, second = await run(one, k="a", most=1), await run(one, k="a", most=1)
    await worker.started(first)
    await one.watched()
    assert {action.task_id for action in worker.starts} == {first}
    third = await run(one, k="a", most=3)
    await worker.started(second)
    await worker.started(third)


async def test_c_9_6_a_limit_of_zero_admits_nothing(one: Instance) -> None:
    await one.define("waits", concurrency=(rule(most=0),))
    await one.define("cancels", concurrency=(rule(most=0, strategy=Strategy.CANCEL_NEWEST),))
    worker = await one.worker("waits", "cancels")
    waiting, cancelled = await run(one, "waits", k="a"), await run(one, "cancels", k="a")
    await one.ended(cancelled, RunStatus.CANCELLED)
    await one.watched()
    assert not worker.starts
    await one.pass_time(301, worker)
    await one.ended(waiting, RunStatus.CANCELLED)
    assert "SCHEDULING_TIMED_OUT" in await one.event_names(waiting), "C-9.20"
    await one.empty()


async def test_c_9_14_a_retry_gives_its_place_up_and_comes_first(one: Instance) -> None:
    await one.define(concurrency=(rule(),), retries=1, backoff_factor=2.0)
    worker = await one.worker()
    first, second, third = [await run(one, k="a") for _ in range(3)]
    await worker.fail(await worker.started(first))
    await worker.started(second)
    await one.pass_time(3, worker)
    await one.watched()
    assert [action.task_id for action in worker.starts] == [first, second], "the retry waits for a place"
    await worker.complete(await worker.started(second))
    retry = await worker.started(first, 1)
    await worker.complete(retry)
    await worker.complete(await worker.started(third))
    for run_id in (first, second, third):
        await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()


async def test_c_9_26_a_reassigned_task_keeps_its_place(one: Instance) -> None:
    await one.define(concurrency=(rule(),))
    lost = await one.worker()
    first = await run(one, k="a")
    await lost.started(first)
    second = await run(one, k="a")
    other = await one.worker()
    await one.lose(lost, other)
    await other.complete(await other.started(first, 1))
    await other.complete(await other.started(second))
    await one.ended(second, RunStatus.COMPLETED)
    await one.empty()


async def test_c_9_12_and_c_9_27_a_run_keeps_its_place_until_all_its_tasks_have_ended(one: Instance) -> None:
    version = await one.define_dag("dag", a=(), b=("a",), workflow={"concurrency": (rule("'all'"),)})
    worker = await one.dag_worker(version)
    first, second = await run(one, "dag"), await run(one, "dag")
    ids, other = await one.task_ids(first), await one.task_ids(second)
    assert (await one.details(second)).tasks[0].status is RunStatus.QUEUED
    await worker.complete(await worker.started(ids["a"]))
    b = await worker.started((await one.task_ids(first))["b"])
    await one.watched()
    assert not any(action.run_id == second for action in worker.starts)
    await worker.complete(b)
    await worker.complete(await worker.started(other["a"]))
    await worker.complete(await worker.started((await one.task_ids(second))["b"]))
    await one.ended(second, RunStatus.COMPLETED)
    await one.empty()


async def test_c_9_21_and_c_8_35_a_key_that_cannot_be_computed_fails_only_its_own_task(one: Instance) -> None:
    await one.define(concurrency=(rule("input.k"),), retries=3)
    good, bad, odd = await trigger(one, "flow", [{"k": "a"}, {}, {"k": 7}])
    worker = await one.worker(completes=True)
    await one.ended(good, RunStatus.COMPLETED)
    details = await one.ended(bad, RunStatus.FAILED)
    assert "failed to parse step expression (input.k)" in (details.tasks[0].error or "")
    details = await one.ended(odd, RunStatus.FAILED)
    assert "expected string output, got int" in (details.tasks[0].error or "")
    assert len(worker.starts) == 1
    await one.empty()


async def test_c_9_18_every_end_frees_the_place(one: Instance) -> None:
    await one.define(concurrency=(rule(),))
    worker = await one.worker()
    runs = [await run(one, k="a") for _ in range(5)]
    await worker.complete(await worker.started(runs[0]))
    await worker.fail(await worker.started(runs[1]))
    await worker.started(runs[2])
    await one.cancel(runs[2])
    await one.cancel(runs[3])
    await worker.complete(await worker.started(runs[4]))
    await one.ended(runs[4], RunStatus.COMPLETED)
    await one.empty()


async def test_c_9_4_and_c_3_38_groups_are_a_workflows_own_unless_the_rule_is_the_tenants(one: Instance) -> None:
    await one.define("a", concurrency=(rule(),))
    await one.define("b", concurrency=(rule(),))
    shared = rule("'x'", name="shared", is_tenant_scoped=True)
    await one.define("c", concurrency=(shared,))
    await one.define("d", concurrency=(shared,))
    worker = await one.worker("a", "b", "c", "d")
    a, b = await run(one, "a", k="k"), await run(one, "b", k="k")
    await worker.started(a)
    await worker.started(b)
    c, d = await run(one, "c"), await run(one, "d")
    await worker.started(c)
    await one.watched()
    assert not any(action.task_id == d for action in worker.starts)
    await worker.complete(await worker.started(c))
    await worker.started(d)


async def test_a_key_of_ten_kilobytes_is_a_group_like_any_other(one: Instance) -> None:
    await one.define(concurrency=(rule(),))
    worker = await one.worker()
    long = "k" * 10_000
    first, second, other = await trigger(one, "flow", [{"k": long}, {"k": long}, {"k": long[:-1] + "x"}])
    await worker.started(first)
    await worker.started(other)
    await one.watched()
    assert not any(action.task_id == second for action in worker.starts)
    await worker.complete(await worker.started(first))
    await worker.started(second)


async def test_invariant_3_places_are_known_after_a_take_over(world: World) -> None:
    """Who runs has its place, whatever the limit; who waits asks in the order of creation; retries that wait count."""
    one = await world.engine()
    await one.define("queue", concurrency=(rule(),))
    await one.define("first", concurrency=(rule(strategy=Strategy.CANCEL_NEWEST),), retries=1, backoff_factor=100.0)
    dag = await one.define_dag("dag", a=(), b=("a",), workflow={"concurrency": (rule("'all'"),)})
    worker = await one.worker("queue", "first")
    dags = await one.dag_worker(dag)
    running, second, third = [await run(one, "queue", k="a") for _ in range(3)]
    await worker.started(running)
    failed = await run(one, "first", k="a")
    await worker.fail(await worker.started(failed))
    begun, waiting = await run(one, "dag"), await run(one, "dag")
    await dags.complete(await dags.started((await one.task_ids(begun))["a"]))
    await dags.started((await one.task_ids(begun))["b"])
    for each in (worker, dags):
        await each.die()
    await one.kill()
    two = await world.engine(skipped=10)
    for each in (worker, dags):
        await each.open(two)
    surplus = await run(two, "first", k="a")
    await two.ended(surplus, RunStatus.CANCELLED)
    await two.watched()
    assert {action.run_id for action in dags.starts} == {begun}
    await dags.complete(dags.starts[-1])
    await dags.started((await two.task_ids(waiting))["a"])
    assert {action.task_id for action in worker.starts} == {running, failed}
    await worker.complete(await worker.started(running))
    await worker.complete(await worker.started(second))
    await worker.started(third)


async def test_runs_that_another_instance_accepts_are_under_the_same_rules(world: World) -> None:
    one = await world.engine()
    two = await world.engine(owns=False)
    await one.define(concurrency=(rule(),))
    worker = await one.worker()
    first = await run(one, k="a")
    await worker.started(first)
    second = await run(two, k="a")
    await until(lambda: one.scheduler.knows(second), "the owner hears of it")
    await one.watched()
    assert len(worker.starts) == 1
    await worker.complete(await worker.started(first))
    await worker.complete(await worker.started(second))
    await two.ended(second, RunStatus.COMPLETED)
    await one.empty()
