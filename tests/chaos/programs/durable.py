"""Durable tasks that follow the plans of ``durable_plan.py``, and their children.

Every step leaves lines in the file of effects: when it is asked for, when a memo is computed, and what it gave.
"""

import asyncio
import json
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from durable_plan import FLOWS, LONG, Step, children, event, plan
from pydantic import BaseModel

from hatchet_sdk import (
    Context,
    DurableContext,
    EvictionPolicy,
    FailedTaskRunExceptionGroup,
    Hatchet,
    SleepCondition,
    UserEventCondition,
    or_,
)

hatchet = Hatchet()

EFFECTS = os.open(os.environ["CHAOS_EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
"""One write of one short line to a file opened for appending stays in one piece, whoever else writes."""
BACK = timedelta(hours=1)

Output = dict[str, Any]
PATIENT: dict[str, Any] = {"execution_timeout": "5m", "schedule_timeout": "20m"}


class Order(BaseModel):
    """``label``: of the client that triggers the run, so that keys of events tell clients apart."""

    n: int
    label: str


class Part(BaseModel):
    n: int


def note(ctx: Context, kind: str, path: str, **fields: Any) -> None:
    """Append a line about this invocation."""
    invocation = ctx.invocation_count if isinstance(ctx, DurableContext) else None
    line = {
        "kind": kind,
        "path": path,
        "task": ctx.step_run_id,
        "retry": ctx.retry_count,
        "invocation": invocation,
        "worker": os.getpid(),
        "at": time.time(),
        **fields,
    }
    os.write(EFFECTS, (json.dumps(line) + "\n").encode())


# Children ---------------------------------------------------------------------------------------------------------


@hatchet.task(name="durable-part", input_validator=Part, **PATIENT)
async def part(input: Part, ctx: Context) -> Output:
    execution = uuid.uuid4().hex
    await asyncio.sleep(abs(input.n) % 7 / 50)
    note(ctx, "part", "", execution=execution)
    if input.n < 0:
        raise RuntimeError(f"part {input.n} fails")
    return {"n": input.n, "run": ctx.workflow_run_id, "execution": execution}


@hatchet.durable_task(name="durable-lasting", input_validator=Part, retries=100, **PATIENT)
async def lasting(input: Part, ctx: DurableContext) -> Output:
    execution = await ctx.aio_memo(lambda: uuid.uuid4().hex)
    await ctx.aio_sleep_for("100ms")
    return {"n": input.n, "run": ctx.workflow_run_id, "execution": execution}


# Steps ------------------------------------------------------------------------------------------------------------


def computed(ctx: DurableContext, path: str) -> dict[str, str]:
    """A value that is another one each time."""
    value = {"path": path, "value": uuid.uuid4().hex}
    note(ctx, "computed", path, value=value)
    return value


async def memo(step: Step, order: Order, ctx: DurableContext) -> Any:
    async def compute(path: str) -> dict[str, str]:
        await asyncio.sleep(step.amount / 5000)
        return computed(ctx, path)

    return await ctx.aio_memo(compute, step.path)


async def nap(step: Step, order: Order, ctx: DurableContext) -> Any:
    return round((await ctx.aio_sleep_for(f"{step.amount}ms", label=step.path)).duration / timedelta(milliseconds=1))


async def listen(step: Step, order: Order, ctx: DurableContext) -> Any:
    return await ctx.aio_wait_for_event(event(step, order.label, order.n, ctx.step_run_id), label=step.path)


async def look_back(step: Step, order: Order, ctx: DurableContext) -> Any:
    key = event(step, order.label, order.n, ctx.step_run_id)
    return await ctx.aio_wait_for_event(key, scope=order.label, lookback_window=BACK, label=step.path)


async def several(step: Step, order: Order, ctx: DurableContext) -> Any:
    """A sleep and an event: one of them, or both."""
    key = event(step, order.label, order.n, ctx.step_run_id)
    sleep = SleepCondition(LONG if step.kind == "news" else f"{step.amount}ms", f"{step.path}-nap")
    news = UserEventCondition("chaos:never" if step.kind == "nap" else key, readable_data_key=f"{step.path}-news")
    conditions = (sleep, news) if step.kind == "both" else (or_(sleep, news),)
    return await ctx.aio_wait_for(step.path, *conditions, label=step.path)


async def spawn(step: Step, order: Order, ctx: DurableContext) -> Any:
    parts = [Part(n=one.n) for one in children(step)]
    if step.kind == "bulk":
        return await part.aio_run_many([part.create_bulk_run_item(input=one) for one in parts])
    [one] = parts
    if step.kind == "orphan":
        return {"run": (await part.aio_run(one, wait_for_result=False)).workflow_run_id}
    if step.kind == "keyed":
        return await part.aio_run(one, child_key=f"key-{step.amount}")
    if step.kind == "lasting":
        return await lasting.aio_run(one)
    if step.kind == "child":
        return await part.aio_run(one)
    try:
        await part.aio_run(one)
    except FailedTaskRunExceptionGroup as failed:
        return {"failed": failed.exceptions[0].exc}
    raise RuntimeError("a child that fails has completed")


Operation = Callable[[Step, Order, DurableContext], Awaitable[Any]]
OPERATIONS: dict[str, Operation] = {"memo": memo, "sleep": nap, "once": listen}
OPERATIONS |= dict.fromkeys(("past", "future"), look_back)
OPERATIONS |= dict.fromkeys(("nap", "news", "race", "both"), several)
OPERATIONS |= dict.fromkeys(("child", "lasting", "failing", "bulk", "keyed", "orphan"), spawn)


async def follow(steps: Sequence[Step], order: Order, ctx: DurableContext, saw: Output) -> None:
    """Do the steps; what they gave goes to ``saw``."""
    for step in steps:
        if step.branches:
            await asyncio.gather(*(follow(branch, order, ctx, saw) for branch in step.branches))
        else:
            note(ctx, "asks", step.path, step=step.kind)
            saw[step.path] = await OPERATIONS[step.kind](step, order, ctx)
            note(ctx, "saw", step.path, step=step.kind, value=saw[step.path])


async def whole(order: Order, ctx: DurableContext) -> Output:
    """The plan from its beginning to its end."""
    note(ctx, "begins", "")
    saw: Output = {}
    await follow(plan(order.n), order, ctx, saw)
    note(ctx, "ends", "")
    return {"n": order.n, "label": order.label, "saw": saw}


# A step whose answer gets lost in a cut connection ends the attempt (D-2.9): each cut costs one retry.
durable: dict[str, Any] = {"input_validator": Order, "retries": 100, **PATIENT}


@hatchet.durable_task(name=FLOWS[0], eviction_policy=None, **durable)
async def kept(input: Order, ctx: DurableContext) -> Output:
    return await whole(input, ctx)


@hatchet.durable_task(name=FLOWS[1], eviction_policy=EvictionPolicy(ttl=timedelta(milliseconds=50)), **durable)
async def brief(input: Order, ctx: DurableContext) -> Output:
    return await whole(input, ctx)


DURABLE = {FLOWS[0]: kept, FLOWS[1]: brief}
EVERYTHING = (kept, brief, part, lasting)
