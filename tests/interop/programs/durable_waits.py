"""Durable tasks of the interop tests that wait: for time, for events, for the first of several."""

import asyncio
import time
from datetime import timedelta
from typing import Any

from tasks import Number, Text, hatchet, mark
from triggered import add_line

from hatchet_sdk import Context, DurableContext, SleepCondition, UserEventCondition, or_

SECOND = timedelta(seconds=1)
EVER = timedelta(minutes=5)
"""Longer than a test waits."""


@hatchet.durable_task(name="durable-sleeper", input_validator=Text)
async def durable_sleeper(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Two sleeps, one after the other; leaves a line before, between and after them."""
    started = time.monotonic()
    durations = []
    add_line(input.text, at=0, invocation=ctx.invocation_count)
    for number in (1, 2):
        result = await ctx.aio_sleep_for(SECOND)
        durations.append(result.duration.total_seconds())
        add_line(input.text, at=number, invocation=ctx.invocation_count)
    return {
        "durations": durations,
        "waited": time.monotonic() - started,
        "invocation": ctx.invocation_count,
        "attempt": ctx.attempt_number,
    }


@hatchet.durable_task(name="durable-until", input_validator=Text)
async def durable_until(input: Text, ctx: DurableContext) -> dict[str, Any]:
    wake_at = await ctx.aio_now() + 2.5 * SECOND
    result = await ctx.aio_sleep_until(wake_at)
    past = await ctx.aio_sleep_until(wake_at - 10 * SECOND)
    return {"slept": result.duration.total_seconds(), "past": past.duration.total_seconds()}


@hatchet.durable_task(name="durable-listener", input_validator=Text, execution_timeout=EVER)
async def durable_listener(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Waits for the event of its name, for one with an expression, and for one of a scope."""
    plain = await ctx.aio_wait_for_event(f"durable:{input.text}")
    chosen = await ctx.aio_wait_for_event(f"durable:{input.text}:chosen", "input.n > 5")
    found = await ctx.aio_wait_for(
        "scoped", UserEventCondition(event_key=f"durable:{input.text}:scoped", scope="right", readable_data_key="why")
    )
    return {"plain": plain, "chosen": chosen, "scoped": found}


@hatchet.durable_task(name="durable-looks-back", input_validator=Text, execution_timeout=EVER)
async def durable_looks_back(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """The second wait's event may come before the first one's."""
    minute = timedelta(minutes=1)
    first = await ctx.aio_wait_for_event(f"back:{input.text}:1", scope=input.text, lookback_window=minute)
    second = await ctx.aio_wait_for_event(f"back:{input.text}:2", scope=input.text, lookback_window=minute)
    since = await ctx.aio_now() - minute
    either = await ctx.aio_wait_for(
        "either",
        or_(
            SleepCondition(timedelta(minutes=4)),
            UserEventCondition(event_key=f"back:{input.text}:3", scope=input.text, consider_events_since=since),
        ),
    )
    return {"first": first, "second": second, "either": either}


@hatchet.durable_task(name="durable-first-of", input_validator=Text, execution_timeout=EVER)
async def durable_first_of(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """A group that the sleep wins, then one that the event wins, then two groups and a condition of its own."""
    event = UserEventCondition(event_key=f"first-of:{input.text}")
    by_sleep = await ctx.aio_wait_for("by-sleep", or_(SleepCondition(SECOND), UserEventCondition(event_key="never")))
    by_event = await ctx.aio_wait_for("by-event", or_(SleepCondition(timedelta(minutes=4)), event))
    several = await ctx.aio_wait_for(
        "several",
        or_(SleepCondition(SECOND), UserEventCondition(event_key="never")),
        or_(SleepCondition(timedelta(minutes=4)), event),
        SleepCondition(2 * SECOND, readable_data_key="own"),
    )
    return {"by_sleep": by_sleep, "by_event": by_event, "several": several}


@hatchet.durable_task(name="durable-together", input_validator=Text, execution_timeout=EVER)
async def durable_together(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Waits that go on at once end in the order in which they are over."""
    order: list[str] = []

    async def noted(name: str, wait: Any) -> Any:
        result = await wait
        order.append(name)
        return result

    started = time.monotonic()
    two, event, one = await asyncio.gather(
        noted("two", ctx.aio_sleep_for(2 * SECOND)),
        noted("event", ctx.aio_wait_for_event(f"together:{input.text}")),
        noted("one", ctx.aio_sleep_for(SECOND)),
    )
    return {
        "order": order,
        "event": event,
        "durations": [one.duration.total_seconds(), two.duration.total_seconds()],
        "waited": time.monotonic() - started,
    }


@hatchet.durable_task(name="durable-flaky", input_validator=Text, retries=2)
async def durable_flaky(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Fails twice behind its sleep; what the log knows is not done again."""
    first = await ctx.aio_now()
    await ctx.aio_sleep_for(SECOND)
    add_line(input.text, now=first.isoformat(), attempt=ctx.attempt_number, invocation=ctx.invocation_count)
    if ctx.retry_count < 2:
        raise RuntimeError(f"attempt {ctx.attempt_number} fails")
    return {"now": first.isoformat()}


@hatchet.durable_task(name="durable-hangs", input_validator=Text, execution_timeout=EVER)
async def durable_hangs(input: Text, ctx: DurableContext) -> dict[str, str]:
    """Waits until it is cancelled, and says that it was."""
    mark(f"{input.text}-started")
    try:
        await ctx.aio_wait_for_event(f"hangs:{input.text}")
    except asyncio.CancelledError:
        mark(f"{input.text}-cancelled")
        raise
    mark(f"{input.text}-went-on")
    return {}


durable_steps = hatchet.workflow(name="durable-steps", input_validator=Text)


@durable_steps.task()
async def before(input: Text, ctx: Context) -> dict[str, str]:
    return {"text": input.text}


@durable_steps.durable_task(parents=[before], execution_timeout=EVER)
async def waiting(input: Text, ctx: DurableContext) -> dict[str, Any]:
    await ctx.aio_sleep_for(SECOND)
    event = await ctx.aio_wait_for_event(f"steps:{input.text}")
    return {"above": ctx.task_output(before), "event": event, "task": ctx.step_run_id}


@durable_steps.task(parents=[waiting])
async def after(input: Text, ctx: Context) -> dict[str, Any]:
    return {"event": ctx.task_output(waiting)["event"]}


@hatchet.durable_task(name="durable-idle", input_validator=Number)
async def durable_idle(input: Number, ctx: DurableContext) -> dict[str, int]:
    """Durable in name only (D-28.8)."""
    return {"n": input.n, "invocation": ctx.invocation_count}


DURABLE_WAITS: list[Any] = [
    durable_sleeper,
    durable_until,
    durable_listener,
    durable_looks_back,
    durable_first_of,
    durable_together,
    durable_flaky,
    durable_hangs,
    durable_steps,
    durable_idle,
]
"""What the worker of the tests runs."""
