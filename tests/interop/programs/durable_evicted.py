"""Durable tasks of the interop tests that leave their worker while they wait."""

import asyncio
from datetime import timedelta
from typing import Any

from durable_waits import EVER, SECOND
from spawning import waits_for_mark
from tasks import Number, Text, hatchet, mark
from triggered import add_line

from hatchet_sdk import DurableContext, EvictionPolicy

SOON = EvictionPolicy(ttl=SECOND, allow_capacity_eviction=False)
ONLY_FOR_ROOM = EvictionPolicy(ttl=None, allow_capacity_eviction=True)


def counts(ctx: DurableContext) -> dict[str, int]:
    return {"invocation": ctx.invocation_count, "attempt": ctx.attempt_number, "retries": ctx.retry_count}


@hatchet.durable_task(name="evicted-listener", input_validator=Text, execution_timeout=EVER, eviction_policy=SOON)
async def evicted_listener(input: Text, ctx: DurableContext) -> dict[str, Any]:
    now = await ctx.aio_now()
    add_line(f"evicted-{input.text}", now=now.isoformat(), **counts(ctx))
    event = await ctx.aio_wait_for_event(f"evicted:{input.text}")
    return {"event": event, "now": now.isoformat(), **counts(ctx)}


@hatchet.durable_task(name="evicted-sleeper", input_validator=Number, execution_timeout=EVER, eviction_policy=SOON)
async def evicted_sleeper(input: Number, ctx: DurableContext) -> dict[str, Any]:
    """Sleeps for ``n`` seconds."""
    start = await ctx.aio_now()
    slept = await ctx.aio_sleep_for(timedelta(seconds=input.n))
    return {
        "slept": slept.duration.total_seconds(),
        "took": (await ctx.aio_now() - start).total_seconds(),
        **counts(ctx),
    }


@hatchet.durable_task(name="evicted-parent", input_validator=Text, execution_timeout=EVER, eviction_policy=SOON)
async def evicted_parent(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """One child, then three at once, each of which waits for a mark of its own."""
    one = await waits_for_mark.aio_run(Text(text=f"{input.text}-0"))
    items = [waits_for_mark.create_bulk_run_item(Text(text=f"{input.text}-{n}")) for n in (1, 2, 3)]
    many = await waits_for_mark.aio_run_many(items)
    return {"children": [one, *many], **counts(ctx)}


@hatchet.durable_task(name="never-evicted", input_validator=Text, execution_timeout=EVER, eviction_policy=None)
async def never_evicted(input: Text, ctx: DurableContext) -> dict[str, Any]:
    event = await ctx.aio_wait_for_event(f"kept:{input.text}")
    return {"event": event, **counts(ctx)}


@hatchet.durable_task(name="evicted-branches", input_validator=Text, execution_timeout=EVER, eviction_policy=SOON)
async def evicted_branches(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Branches that go on at once; each has several steps, and they take turns (D-18.9)."""
    order: list[str] = []

    async def branch(name: str, seconds: int) -> None:
        for step in (1, 2):
            await ctx.aio_sleep_for(timedelta(seconds=seconds))
            order.append(f"{name}{step}")
            add_line(f"{input.text}-{ctx.invocation_count}", step=f"{name}{step}")

    await asyncio.gather(branch("slow", 3), branch("quick", 1))
    event = await ctx.aio_wait_for_event(f"branches:{input.text}")
    return {"order": order, "event": event, **counts(ctx)}


@hatchet.durable_task(name="moves", input_validator=Text, execution_timeout=EVER)
async def moves(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Waits for an event; its workers are stopped and killed meanwhile."""
    now = await ctx.aio_now()
    add_line(f"moves-{input.text}", worker=ctx.worker_id, **counts(ctx))
    event = await ctx.aio_wait_for_event(f"moves:{input.text}")
    return {"event": event, "now": now.isoformat(), "worker": ctx.worker_id, **counts(ctx)}


@hatchet.durable_task(name="makes-room", input_validator=Text, execution_timeout=EVER, eviction_policy=ONLY_FOR_ROOM)
async def makes_room(input: Text, ctx: DurableContext) -> dict[str, Any]:
    mark(f"{input.text}-{ctx.invocation_count}")
    event = await ctx.aio_wait_for_event(f"room:{input.text}")
    return {"event": event, **counts(ctx)}


DURABLE_EVICTED: list[Any] = [
    evicted_listener,
    evicted_sleeper,
    evicted_parent,
    never_evicted,
    evicted_branches,
]
"""What the worker of the tests runs; ``moves`` and ``makes_room`` have workers of their own."""
