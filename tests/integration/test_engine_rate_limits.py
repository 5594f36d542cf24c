"""Rate limits with a whole engine (behaviour-core C-10)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from engine_fixture import Instance, World
from engine_worker import TENANT, Worker, until

from hatchet.core.messages import TriggerItem
from hatchet.core.rules import ConcurrencyRule, RateLimitRule, Strategy, Window
from hatchet.core.statuses import RunStatus


async def trigger(one: Instance, name: str, inputs: list[dict[str, Any]], **fields: Any) -> list[str]:
    items = [TriggerItem(workflow_name=name, input=orjson.dumps(values).decode(), **fields) for values in inputs]
    return await one.engine.trigger.trigger(TENANT, items)


def static(key: str = "api", units: int = 1) -> RateLimitRule:
    return RateLimitRule(key=key, units=units)


def by_user(limit: str = "1", units: str | None = None) -> RateLimitRule:
    return RateLimitRule(
        key="user", key_expression="input.user", limit_expression=limit, units_expression=units, window=Window.MINUTE
    )


async def put(one: Instance, key: str = "api", limit: int = 2, window: Window = Window.MINUTE) -> None:
    await one.engine.rate_limits.put(TENANT, key, limit, window)


def started(worker: Worker) -> list[str]:
    return [action.task_id for action in worker.starts]


async def starts(worker: Worker, count: int) -> None:
    await until(lambda: len(worker.starts) >= count, f"{count} start")


async def test_c_10_20_a_window_starts_no_more_than_the_limit(one: Instance) -> None:
    await one.define(rate_limits=(static(),))
    await put(one, limit=3)
    worker = await one.worker(slots=20, completes=True)
    runs = await trigger(one, "flow", [{}] * 8)
    for count in (3, 6, 8):
        await starts(worker, count)
        await one.watched()
        assert started(worker) == runs[:count], "in order"
        await one.pass_time(61, worker)
    for run_id in runs:
        await one.ended(run_id, RunStatus.COMPLETED)
    assert "REQUEUED_RATE_LIMIT" in await one.event_names(runs[-1])
    texts = [event.message for event in await one.history(runs[3])]
    assert "Rate limit exceeded for key api, attempting to consume 1 units, but only had 0 remaining" in texts
    assert "REQUEUED_RATE_LIMIT" not in await one.event_names(runs[0])
    await one.empty()


async def test_c_10_21_dynamic_keys_do_not_touch_each_other(one: Instance) -> None:
    await one.define(rate_limits=(by_user(),))
    worker = await one.worker(completes=True)
    a1, a2, b1 = await trigger(one, "flow", [{"user": "a"}, {"user": "a"}, {"user": "b"}])
    await starts(worker, 2)
    await one.watched()
    assert set(started(worker)) == {a1, b1}
    await one.pass_time(61, worker)
    await one.ended(a2, RunStatus.COMPLETED)
    await one.empty()


async def test_c_10_12_all_limits_of_a_task_are_taken_together_or_none(one: Instance) -> None:
    await one.define("both", rate_limits=(static("a"), static("b")))
    await one.define("only-a", rate_limits=(static("a"),))
    await put(one, "a", 1)
    await put(one, "b", 0)
    worker = await one.worker("both", "only-a", completes=True)
    [both] = await trigger(one, "both", [{}])
    await one.watched()
    [alone] = await trigger(one, "only-a", [{}])
    await one.ended(alone, RunStatus.COMPLETED)
    assert started(worker) == [alone], "what waits for b has not taken a"
    assert await one.status(both) is RunStatus.QUEUED


async def test_c_10_12_every_attempt_takes_its_units_again(one: Instance) -> None:
    await one.define(rate_limits=(static(),), retries=1)
    await put(one, limit=1)
    worker = await one.worker()
    [run_id] = await trigger(one, "flow", [{}])
    await worker.fail(await worker.started(run_id))
    await one.watched()
    assert len(worker.starts) == 1
    await one.pass_time(61, worker)
    await worker.complete(await worker.started(run_id, 1))
    await one.ended(run_id, RunStatus.COMPLETED)


@pytest.mark.parametrize("units", [1, 5])
async def test_c_10_14_and_c_10_15_what_can_never_be_met_waits_for_its_schedule_timeout(
    one: Instance, units: int
) -> None:
    await one.define("never", rate_limits=(static("missing" if units == 1 else "small", units),))
    await one.define("small", rate_limits=(static("small"),))
    await put(one, "small", 2)
    worker = await one.worker("never", "small", completes=True)
    [never] = await trigger(one, "never", [{}])
    [fine] = await trigger(one, "small", [{}])
    await one.ended(fine, RunStatus.COMPLETED)
    await one.pass_time(301, worker)
    await one.ended(never, RunStatus.CANCELLED)
    assert (await one.event_names(never))[-1] == "SCHEDULING_TIMED_OUT"
    await one.empty()


async def test_c_10_15_a_key_that_is_made_later_lets_its_tasks_start(one: Instance) -> None:
    await one.define(rate_limits=(static(),))
    await one.worker(completes=True)
    [run_id] = await trigger(one, "flow", [{}])
    await one.watched()
    assert await one.status(run_id) is RunStatus.QUEUED
    await put(one)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_10_17_others_of_the_queue_are_not_kept_waiting(one: Instance) -> None:
    await one.define(rate_limits=(by_user(),))
    worker = await one.worker(slots=1, completes=True)
    many = await trigger(one, "flow", [{"user": "a"}] * 20)
    others = await trigger(one, "flow", [{"user": f"u{number}"} for number in range(5)])
    for run_id in others:
        await one.ended(run_id, RunStatus.COMPLETED)
    assert set(started(worker)) == {many[0], *others}


async def test_c_10_4_a_paused_key_yields_nothing_until_then(one: Instance) -> None:
    await one.define(rate_limits=(static(),))
    await put(one, limit=100)
    until_then = one.clock.now() + 600
    assert abs(await one.engine.rate_limits.pause(TENANT, "api", until_then) - until_then) < 0.001
    assert abs(await one.engine.rate_limits.pause(TENANT, "api", until_then - 500) - until_then) < 0.001
    worker = await one.worker(completes=True)
    await one.define("flow", rate_limits=(static(),), schedule_timeout="1h")
    [run_id] = await trigger(one, "flow", [{}])
    await one.pass_time(200, worker)
    assert not worker.starts
    await one.pass_time(500, worker)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_what_waits_for_units_holds_no_place_of_a_key(one: Instance) -> None:
    """Design invariant 4: places and units are had together or not at all."""
    rule = ConcurrencyRule(expression="'all'", max_runs=1, strategy=Strategy.GROUP_ROUND_ROBIN)
    await one.define(rate_limits=(by_user(),), concurrency=(rule,))
    worker = await one.worker()
    a1, a2, b1 = await trigger(one, "flow", [{"user": "a"}, {"user": "a"}, {"user": "b"}])
    await worker.complete(await worker.started(a1))
    await worker.complete(await worker.started(b1))
    assert await one.status(a2) is RunStatus.QUEUED, "it waits for units and let the other pass"
    await one.pass_time(61, worker)
    await worker.complete(await worker.started(a2))
    await one.empty()


async def test_c_10_11_units_that_cannot_be_computed_fail_the_task(one: Instance) -> None:
    await one.define(rate_limits=(by_user(units="input.n"),))
    await one.worker(completes=True)
    inputs: list[dict[str, Any]] = [
        {"user": "a", "n": 1},
        {"user": "a"},
        {"user": "a", "n": -1},
        {"user": "a", "n": "x"},
    ]
    good, *bad = await trigger(one, "flow", inputs)
    await one.ended(good, RunStatus.COMPLETED)
    for run_id in bad:
        details = await one.ended(run_id, RunStatus.FAILED)
        assert "input.n" in (details.tasks[0].error or "")


async def test_what_was_taken_is_known_after_a_take_over(world: World) -> None:
    one = await world.engine()
    await one.define(rate_limits=(static(),))
    await put(one, limit=2)
    worker = await one.worker(completes=True)
    runs = await trigger(one, "flow", [{}] * 3)
    await one.ended(runs[1], RunStatus.COMPLETED)
    await worker.die()
    await one.kill()
    two = await world.engine(skipped=10)
    await worker.open(two)
    another = await two.run()
    await two.watched()
    assert len(worker.starts) == 2, "the window has two units, both were taken before"
    await two.pass_time(61, worker)
    await two.ended(runs[2], RunStatus.COMPLETED)
    await two.ended(another, RunStatus.COMPLETED)
