"""Durable tasks of the interop tests that run a second time: replayed, reset, or changed meanwhile."""

import asyncio
from datetime import timedelta
from typing import Any

from durable_waits import EVER, SECOND
from spawning import child
from tasks import Number, Text, hatchet, mark
from triggered import add_line

from hatchet_sdk import DurableContext, NonDeterminismError


@hatchet.durable_task(name="again", input_validator=Text, execution_timeout=EVER)
async def again(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """A bit of everything."""
    now = await ctx.aio_now()
    slept = await ctx.aio_sleep_for(2 * SECOND)
    event = await ctx.aio_wait_for_event(f"again:{input.text}")
    one = await child.aio_run(Number(n=1))
    items = [child.create_bulk_run_item(Number(n=n), child_key=str(n)) for n in (2, 3)]
    many = await child.aio_run_many(items)
    result = {
        "now": now.isoformat(),
        "slept": slept.duration.total_seconds(),
        "event": event,
        "children": [one["run_id"], *(each["run_id"] for each in many)],
    }
    add_line(input.text, attempt=ctx.attempt_number, invocation=ctx.invocation_count, **result)
    return result


@hatchet.durable_task(name="changes-its-mind", input_validator=Text)
async def changes_its_mind(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Sleeps for as many seconds as it has attempts; catches what comes of that if its text says so."""
    try:
        await ctx.aio_sleep_for(timedelta(seconds=ctx.attempt_number))
    except NonDeterminismError as error:
        if not input.text.startswith("catches"):
            raise
        return {"attempt": ctx.attempt_number, "node": error.node_id, "text": str(error)}
    return {"attempt": ctx.attempt_number, "node": None}


@hatchet.durable_task(name="other-child", input_validator=Text, retries=1)
async def other_child(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Two children; the second attempt asks for the second one with another input (D-27.15)."""
    first = await child.aio_run(Number(n=0))
    second = await child.aio_run(Number(n=ctx.attempt_number))
    mark(f"{input.text}-{ctx.attempt_number}", f"{first['run_id']} {second['run_id']}")
    raise ValueError("the first attempt fails")


@hatchet.durable_task(name="in-steps", input_validator=Text, execution_timeout=EVER)
async def in_steps(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Node 1 and 3: the time; node 2: a sleep; node 4: a child."""
    first = await ctx.aio_now()
    await ctx.aio_sleep_for(SECOND)
    second = await ctx.aio_now()
    spawned = await child.aio_run(Number(n=1))
    result = {"first": first.isoformat(), "second": second.isoformat(), "child": spawned["run_id"]}
    add_line(input.text, **result)
    return {**result, "attempt": ctx.attempt_number, "invocation": ctx.invocation_count}


@hatchet.durable_task(name="races", input_validator=Text, execution_timeout=EVER)
async def races(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Three branches, each of two steps of several kinds; whoever is first takes the turn (D-15.17)."""
    order: list[str] = []

    async def sleeps_then_spawns() -> None:
        await ctx.aio_sleep_for(SECOND)
        order.append("a1")
        await child.aio_run(Number(n=1))
        order.append("a2")

    async def spawns_then_sleeps() -> None:
        await child.aio_run(Number(n=2))
        order.append("b1")
        await ctx.aio_sleep_for(2 * SECOND)
        order.append("b2")

    async def leaves_then_sleeps() -> None:
        await child.aio_run_no_wait(Number(n=3))
        order.append("c1")
        await ctx.aio_sleep_for(SECOND)
        order.append("c2")

    await asyncio.gather(sleeps_then_spawns(), spawns_then_sleeps(), leaves_then_sleeps())
    add_line(input.text, order=order)
    return {"order": order}


@hatchet.durable_task(name="long-sleeper", input_validator=Text, execution_timeout=EVER)
async def long_sleeper(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Three seconds, from when it was asked for the first time."""
    start = await ctx.aio_now()
    mark(f"{input.text}-{ctx.attempt_number}")
    await ctx.aio_sleep_for(3 * SECOND)
    return {"start": start.isoformat(), "took": (await ctx.aio_now() - start).total_seconds()}


DURABLE_AGAIN: list[Any] = [again, changes_its_mind, other_child, in_steps, races, long_sleeper]
"""What the worker of the tests runs."""
