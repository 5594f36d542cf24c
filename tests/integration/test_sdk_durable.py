"""The steps of a durable task: what the worker asks, what the function gets, and what a later invocation finds."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from fakes.durable_world import durable_worker, error_of, output_of
from fakes.fake_durable import FakeDurable
from fakes.worker_world import Number, double, running
from hatchet_sdk import (
    DurableContext,
    EvictionPolicy,
    Hatchet,
    NonDeterminismError,
    SleepCondition,
    UserEventCondition,
    or_,
)

pytest_plugins = ["fakes.durable_fixtures"]


class Approval(BaseModel):
    by: str


# --- declaration and registration -----------------------------------------------------------------------------------


def test_d_1_4_and_d_1_5_durable_tasks_have_slots_of_their_own(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> None: ...

    plain = hatchet.task(name="plain", input_validator=Number)(double)
    with running(durable_worker(hatchet, task, plain)):
        fake.wait_for(lambda: fake.open_streams, "connected")
    (register,) = fake.requests("Register")
    assert dict(register.slot_config) == {"default": 10, "durable": 10}
    tasks = {put.name: put.tasks[0] for put in fake.requests("PutWorkflow")}
    assert (tasks["task"].is_durable, dict(tasks["task"].slot_requests)) == (True, {"durable": 1})
    assert (tasks["plain"].is_durable, dict(tasks["plain"].slot_requests)) == (False, {"default": 1})


def test_d_17_2_the_default_policy_and_none(hatchet: Hatchet) -> None:
    flow = hatchet.workflow(name="flow")

    @flow.durable_task()
    async def default(input: Any, ctx: DurableContext) -> None: ...

    @flow.durable_task(eviction_policy=None)
    async def never(input: Any, ctx: DurableContext) -> None: ...

    @flow.task()
    async def plain(input: Any, ctx: Any) -> None: ...

    assert default.eviction_policy == EvictionPolicy(ttl=timedelta(minutes=15))
    assert never.eviction_policy is None
    assert plain.eviction_policy is None
    assert [task.is_durable for task in flow.tasks] == [True, True, False]


# --- sleeps and events ----------------------------------------------------------------------------------------------


def test_d_8_1_and_d_9_6_a_sleep(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        assert (ctx.invocation_count, ctx.wait_index) == (1, 0)
        slept = await ctx.aio_sleep_for(timedelta(milliseconds=50), label="a nap")
        return {"slept": slept.duration.total_seconds(), "waits": ctx.wait_index}

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        assert output_of(fake, action) == {"slept": 0.05, "waits": 1}
    (wait,) = fake.asked("wait_for")
    (condition,) = wait.wait_for_conditions.sleep_conditions
    assert (wait.label, condition.sleep_for, condition.base.readable_data_key) == ("a nap", "50ms", "sleep:50ms")
    assert wait.invocation_count == 1
    assert fake.durable_requests[0].register_worker.worker_id == fake.worker_ids[0]


@pytest.mark.parametrize(("duration", "message"), [("soon", "'soon' is no duration"), (timedelta(-1), "negative")])
def test_a_sleep_that_is_none_is_refused_here(fake: FakeDurable, hatchet: Hatchet, duration: Any, message: str) -> None:
    async def task(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_sleep_for(duration)

    with running(durable_worker(hatchet, task)):
        assert message in error_of(fake, fake.start_durable("task:task"))
    assert fake.asked("wait_for") == []


def test_a_sleep_until_a_time_that_has_passed_ends_at_once(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        slept = await ctx.aio_sleep_until(datetime.now(UTC) - timedelta(hours=1))
        return {"slept": slept.duration.total_seconds()}

    with running(durable_worker(hatchet, task)):
        assert output_of(fake, fake.start_durable("task:task")) == {"slept": 0.0}
    # D-6.6: "now" is a memo of its own.
    assert len(fake.asked("memo")) == len(fake.asked("wait_for")) == 1


def test_d_11_1_a_wait_for_the_first_of_several_things(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        return await ctx.aio_wait_for(
            "decision", or_(SleepCondition(timedelta(hours=1)), UserEventCondition("approved", "input.by != ''"))
        )

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.asked("wait_for"), "the wait is registered")
        fake.push_event("approved", {"by": "Ada"})
        assert output_of(fake, action) == {"CREATE": {"approved": [{"by": "Ada"}]}}
    (wait,) = fake.asked("wait_for")
    (sleep,), (event,) = wait.wait_for_conditions.sleep_conditions, wait.wait_for_conditions.user_event_conditions
    assert sleep.base.or_group_id == event.base.or_group_id
    assert (sleep.base.action, event.base.action, event.base.expression) == (0, 0, "input.by != ''")


def test_a_wait_for_an_event_gives_its_payload_as_the_declared_type(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        approval = await ctx.aio_wait_for_event("approved", payload_validator=Approval)
        plain = await ctx.aio_wait_for_event("paid", "input.sum > 0")
        return {"by": approval.by, "paid": plain}

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: len(fake.asked("wait_for")) == 1, "the first wait")
        fake.push_event("approved", {"by": "Ada"})
        fake.wait_for(lambda: len(fake.asked("wait_for")) == 2, "the second wait")
        fake.push_event("paid", {"sum": 3})
        assert output_of(fake, action) == {"by": "Ada", "paid": {"sum": 3}}


def test_d_10_14_a_look_back_counts_from_a_memoised_now(fake: FakeDurable, hatchet: Hatchet) -> None:
    seen: list[datetime] = []

    async def task(input: Number, ctx: DurableContext) -> None:
        seen.append(await ctx.aio_now())
        await ctx.aio_wait_for_event("paid", scope="order-1", lookback_window=timedelta(minutes=5))

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.asked("wait_for"), "the wait")
        fake.push_event("paid", {}, scope="order-1")
        output_of(fake, action)
    (wait,) = fake.asked("wait_for")
    (event,) = wait.wait_for_conditions.user_event_conditions
    assert event.event_scope == "order-1"
    since = event.consider_events_since.ToDatetime(tzinfo=UTC)
    assert timedelta(minutes=4, seconds=50) < seen[0] - since <= timedelta(minutes=5)


@pytest.mark.parametrize("given", [{"scope": "s"}, {"lookback_window": timedelta(minutes=1)}])
def test_d_10_13_scope_and_look_back_belong_together(
    fake: FakeDurable, hatchet: Hatchet, given: dict[str, Any]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_wait_for_event("paid", **given)

    with running(durable_worker(hatchet, task)):
        error = error_of(fake, fake.start_durable("task:task"))
    assert "ValueError: scope and lookback_window" in error
    assert fake.asked("wait_for") == []


# --- functions that are not async -----------------------------------------------------------------------------------


def test_a_function_that_is_not_async_has_the_same_steps(fake: FakeDurable, hatchet: Hatchet) -> None:
    def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        slept = ctx.sleep_for("1ms").duration + ctx.sleep_until(datetime.now(UTC) - timedelta(1)).duration
        memo = ctx.memo(divmod, 7, 2)
        held = ctx.wait_for("one", SleepCondition(timedelta(milliseconds=1)))
        event = ctx.wait_for_event("go", payload_validator=Approval)
        looked = ctx.wait_for_event("go", scope="s", lookback_window=timedelta(minutes=1))
        same = ctx.now() == ctx.now()
        return {
            "slept": slept.total_seconds(),
            "memo": memo,
            "held": list(held["CREATE"]),
            "by": event.by,
            "looked": looked,
            "same": same,
        }

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        for waits in (4, 5):
            fake.wait_for(lambda waits=waits: len(fake.asked("wait_for")) == waits, f"wait {waits}")
            fake.push_event("go", {"by": "Ada"})
        output = output_of(fake, action)
    assert output == {
        "slept": 0.001,
        "memo": [3, 1],
        "held": ["sleep:1ms"],
        "by": "Ada",
        "looked": {"by": "Ada"},
        "same": False,
    }


# --- replay ---------------------------------------------------------------------------------------------------------


def test_d_8_2_a_later_invocation_goes_on_where_the_first_was(fake: FakeDurable, hatchet: Hatchet) -> None:
    passed: list[str] = []

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        await ctx.aio_sleep_for("1ms")
        passed.append(f"slept {ctx.invocation_count}")
        if ctx.invocation_count == 1:
            raise RuntimeError("the worker stumbles")
        await ctx.aio_wait_for_event("go")
        return {"attempt": ctx.attempt_number, "invocation": ctx.invocation_count}

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        error_of(fake, action)
        fake.next_invocation(action, retry_count=1)
        fake.wait_for(lambda: len(fake.asked("wait_for")) == 3, "the second invocation waits for the event")
        fake.push_event("go", {})
        fake.wait_for(lambda: "COMPLETED" in fake.events(action), "the second invocation ends")
    assert passed == ["slept 1", "slept 2"]
    assert json.loads(fake.requests("SendStepActionEvent")[-1].event_payload) == {"attempt": 2, "invocation": 2}
    assert sorted(fake.log_of(action).entries) == [1, 2]


def test_d_28_7_concurrent_waits_end_in_the_order_of_their_completions(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        order: list[str] = []

        async def branch(name: str) -> None:
            await ctx.aio_wait_for_event(name)
            order.append(name)

        await asyncio.gather(branch("a"), branch("b"), branch("c"))
        return {"order": order}

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: len(fake.asked("wait_for")) == 3, "three waits")
        for key in ("c", "a", "b"):
            fake.push_event(key, {})
        assert output_of(fake, action) == {"order": ["c", "a", "b"]}
    keys = [wait.wait_for_conditions.user_event_conditions[0].user_event_key for wait in fake.asked("wait_for")]
    assert keys == ["a", "b", "c"]


# --- errors ---------------------------------------------------------------------------------------------------------


def test_d_14_7_another_step_than_the_recorded_one_raises(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        try:
            await ctx.aio_sleep_for("1ms" if ctx.invocation_count == 1 else "2ms")
        except NonDeterminismError as error:
            return {
                "node": error.node_id,
                "attempt": ctx.attempt_number,
                "invocation": error.invocation_count,
                "same": error.task_external_id == ctx.task_run_id,
                "message": error.message,
            }
        return {}

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        output_of(fake, action)
        fake.next_invocation(action, retry_count=1)
        fake.wait_for(lambda: fake.events(action).count("COMPLETED") == 2, "the second invocation ends")
    told = json.loads(fake.requests("SendStepActionEvent")[-1].event_payload)
    assert "expected ['sleep(1ms)'], got ['sleep(2ms)']" in told.pop("message")
    assert told == {"node": 1, "attempt": 2, "invocation": 2, "same": True}


def test_d_14_12_memos_that_changed_places_are_noticed(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_memo(*((int, "1") if ctx.invocation_count == 1 else (float, "1")))

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        output_of(fake, action)
        fake.next_invocation(action, retry_count=1)
        fake.wait_for(lambda: "FAILED" in fake.events(action), "the second invocation fails")
    assert "NonDeterminismError" in fake.requests("SendStepActionEvent")[-1].event_payload


def test_d_4_8_a_refused_step_raises_what_the_engine_said_and_the_next_step_works(
    fake: FakeDurable, hatchet: Hatchet
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        try:
            await ctx.aio_sleep_for("1ms")
        except Exception as error:
            await ctx.aio_sleep_for("1ms")
            return {"error": f"{type(error).__name__}: {error}"}
        return {}

    fake.refuse_next("wait_for", "no such thing as a sleep")
    with running(durable_worker(hatchet, task)):
        output = output_of(fake, fake.start_durable("task:task"))
    assert output == {"error": "DurableOperationError: no such thing as a sleep"}


def test_d_8_6_a_wait_for_nothing_is_refused(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_wait_for("x")

    with running(durable_worker(hatchet, task)):
        assert "ValueError: a wait needs at least one condition" in error_of(fake, fake.start_durable("task:task"))


def test_a_policy_with_a_negative_time_is_refused() -> None:
    with pytest.raises(ValueError, match="ttl cannot be negative"):
        EvictionPolicy(ttl=timedelta(seconds=-1))


def test_a_wait_for_something_else_is_a_type_error(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_wait_for("x", "not a condition")  # type: ignore[arg-type]

    with running(durable_worker(hatchet, task)):
        assert "TypeError: the conditions of a wait" in error_of(fake, fake.start_durable("task:task"))
