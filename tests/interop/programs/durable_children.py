"""Durable tasks of the interop tests that spawn children."""

import asyncio
from typing import Any

from durable_waits import EVER, SECOND
from flows import diamond
from spawning import child, half_bad
from tasks import Number, Text, hatchet, mark

from hatchet_sdk import Context, DurableContext, TriggerWorkflowOptions


@hatchet.durable_task(name="durable-parent", input_validator=Number, execution_timeout=EVER)
async def durable_parent(input: Number, ctx: DurableContext) -> dict[str, Any]:
    """One child, and ``n`` in bulk."""
    one = await child.aio_run(Number(n=-1))
    many = await child.aio_run_many([child.create_bulk_run_item(Number(n=n)) for n in range(input.n)])
    return {"one": one, "many": many, "task": ctx.step_run_id}


@hatchet.durable_task(name="durable-keyed", input_validator=Number)
async def durable_keyed(input: Number, ctx: DurableContext) -> dict[str, Any]:
    """The same keys one by one and in bulk; the inputs differ."""
    single = [
        await child.aio_run(Number(n=n), options=TriggerWorkflowOptions(child_key=key))
        for n, key in enumerate(["a", "b", "a"])
    ]
    items = [child.create_bulk_run_item(Number(n=n), child_key=key) for n, key in enumerate(["c", "c", "d", "a"])]
    return {"single": single, "bulk": await child.aio_run_many(items)}


@hatchet.durable_task(name="durable-tolerant", input_validator=Number)
async def durable_tolerant(input: Number, ctx: DurableContext) -> dict[str, Any]:
    """A child that fails, alone and among others; what was caught."""
    caught = []
    try:
        await half_bad.aio_run(Number(n=1))
    except Exception as error:
        caught.append({"type": type(error).__name__, "text": str(error)})
    items = [half_bad.create_bulk_run_item(Number(n=n)) for n in range(input.n)]
    results = await half_bad.aio_run_many(items, return_exceptions=True)
    return {
        "caught": caught,
        "results": [type(each).__name__ if isinstance(each, BaseException) else each for each in results],
    }


@hatchet.durable_task(name="durable-intolerant", input_validator=Number)
async def durable_intolerant(input: Number, ctx: DurableContext) -> dict[str, Any]:
    """A child fails, and nobody catches it."""
    return await half_bad.aio_run(Number(n=1))


@hatchet.task(name="says-who-it-is", input_validator=Text, execution_timeout=EVER)
async def says_who_it_is(input: Text, ctx: Context) -> dict[str, Any]:
    """Leaves its run's id, and runs until it is cancelled."""
    mark(f"{input.text}-run", ctx.workflow_run_id)
    await asyncio.sleep(300)
    return {}


@hatchet.durable_task(name="durable-bereft", input_validator=Text, execution_timeout=EVER)
async def durable_bereft(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """The child that it waits for gets cancelled."""
    try:
        await says_who_it_is.aio_run(input)
    except Exception as error:
        return {"type": type(error).__name__, "text": str(error)}
    return {}


@hatchet.durable_task(name="durable-forgetful", input_validator=Text)
async def durable_forgetful(input: Text, ctx: DurableContext) -> dict[str, Any]:
    """Spawns without waiting, then sleeps, then waits for another child, then for the first one (D-13.20)."""
    ref = await child.aio_run_no_wait(Number(n=1))
    refs = await child.aio_run_many_no_wait([child.create_bulk_run_item(Number(n=n)) for n in (2, 3)])
    slept = await ctx.aio_sleep_for(SECOND)
    waited = await child.aio_run(Number(n=4))
    return {
        "slept": slept.duration.total_seconds(),
        "waited": waited["n"],
        "spawned": [ref.workflow_run_id, *(each.workflow_run_id for each in refs)],
        "later": await ref.aio_result(),
    }


@hatchet.durable_task(name="durable-nested", input_validator=Number)
async def durable_nested(input: Number, ctx: DurableContext) -> dict[str, Any]:
    """Children that are a workflow, a durable task, and several at once."""
    workflow, durable, *others = await asyncio.gather(
        diamond.aio_run(input),
        durable_parent.aio_run(Number(n=2)),
        *(child.aio_run(Number(n=n)) for n in range(3)),
    )
    return {"workflow": workflow, "durable": durable, "others": [each["n"] for each in others]}


durable_family = hatchet.workflow(name="durable-family", input_validator=Number)


@durable_family.task()
async def plain_step(input: Number, ctx: Context) -> dict[str, int]:
    return {"n": input.n}


@durable_family.durable_task(parents=[plain_step])
async def spawning_step(input: Number, ctx: DurableContext) -> dict[str, Any]:
    """Child indexes that are also those of the workflow's own tasks (D-23.3)."""
    children = [await child.aio_run(Number(n=n)) for n in range(3)]
    return {"task": ctx.step_run_id, "children": children, "above": ctx.task_output(plain_step)}


DURABLE_CHILDREN: list[Any] = [
    durable_parent,
    durable_keyed,
    durable_tolerant,
    durable_intolerant,
    says_who_it_is,
    durable_bereft,
    durable_forgetful,
    durable_nested,
    durable_family,
]
"""What the worker of the tests runs."""
