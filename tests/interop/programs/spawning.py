"""Tasks and workflows of the interop tests that spawn others, and tasks with idempotency keys, streams and logs."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

from flows import diamond
from tasks import Number, Text, hatchet, mark, until_marked

from hatchet_sdk import (
    Context,
    StatusBasedIdempotencyConfig,
    TriggerWorkflowOptions,
    TTLBasedIdempotencyConfig,
)

logger = logging.getLogger("interop")


@hatchet.task(name="child", input_validator=Number)
async def child(input: Number, ctx: Context) -> dict[str, Any]:
    return {
        "n": input.n,
        "run_id": ctx.workflow_run_id,
        "index": ctx.child_index,
        "key": ctx.child_key,
        "parent": ctx.parent_workflow_run_id,
        "metadata": ctx.additional_metadata,
    }


@hatchet.task(name="by-key", input_validator=Number)
async def by_key(input: Number, ctx: Context) -> dict[str, Any]:
    """The same keys one by one and in bulk."""
    single = [
        await child.aio_run(Number(n=n), options=TriggerWorkflowOptions(child_key=key))
        for n, key in enumerate(["a", "a", "b"])
    ]
    items = [child.create_bulk_run_item(Number(n=n), child_key=key) for n, key in enumerate(["c", "c", "d", "a"])]
    return {"single": single, "bulk": await child.aio_run_many(items)}


@hatchet.task(name="by-index", input_validator=Number)
async def by_index(input: Number, ctx: Context) -> dict[str, Any]:
    """One by one and in bulk, without keys."""
    first = await child.aio_run(Number(n=0))
    bulk = await child.aio_run_many([child.create_bulk_run_item(Number(n=n)) for n in (1, 2, 3)])
    last = await child.aio_run(Number(n=4))
    return {"children": [first, *bulk, last], "task": ctx.step_run_id}


@hatchet.task(name="spawns-again", input_validator=Text, execution_timeout=timedelta(seconds=2), retries=1)
async def spawns_again(input: Text, ctx: Context) -> dict[str, Any]:
    """The first attempt spawns and runs into its timeout, the second one spawns the same."""
    spawned = await child.aio_run(Number(n=ctx.retry_count))
    bulk = await child.aio_run_many([child.create_bulk_run_item(Number(n=n)) for n in (7, 8)])
    ids = [spawned["run_id"], *(each["run_id"] for each in bulk)]
    mark(f"{input.text}-{ctx.attempt_number}", " ".join(ids))
    if ctx.retry_count == 0:
        await asyncio.sleep(300)
    return {"child": spawned, "ids": ids, "attempt": ctx.attempt_number}


@hatchet.task(name="tolerant", input_validator=Number)
async def tolerant(input: Number, ctx: Context) -> dict[str, Any]:
    items = [half_bad.create_bulk_run_item(Number(n=n)) for n in range(input.n)]
    results = await half_bad.aio_run_many(items, return_exceptions=True)
    return {"results": [type(each).__name__ if isinstance(each, BaseException) else each for each in results]}


@hatchet.task(name="half-bad", input_validator=Number)
async def half_bad(input: Number, ctx: Context) -> dict[str, int]:
    if input.n % 2:
        raise ValueError("odd")
    return {"n": input.n}


@hatchet.task(name="grandparent", input_validator=Number)
async def grandparent(input: Number, ctx: Context) -> dict[str, Any]:
    middle = await between.aio_run(input, options=TriggerWorkflowOptions(additional_metadata={"own": "middle"}))
    return {"task": ctx.step_run_id, "metadata": ctx.additional_metadata, "middle": middle}


@hatchet.task(name="between", input_validator=Number)
async def between(input: Number, ctx: Context) -> dict[str, Any]:
    youngest = await child.aio_run(input, options=TriggerWorkflowOptions(additional_metadata={"who": "youngest"}))
    return {"task": ctx.step_run_id, "metadata": ctx.additional_metadata, "youngest": youngest}


family = hatchet.workflow(name="family", input_validator=Number)


@family.task()
async def elder(input: Number, ctx: Context) -> dict[str, Any]:
    """As many children as the workflow has tasks (C-4.16)."""
    children = await child.aio_run_many([child.create_bulk_run_item(Number(n=n)) for n in range(3)])
    return {"task": ctx.step_run_id, "children": children}


@family.task()
async def younger(input: Number, ctx: Context) -> dict[str, Any]:
    spawned = await child.aio_run(Number(n=10))
    return {"task": ctx.step_run_id, "children": [spawned]}


@family.task(parents=[elder, younger])
async def whole(input: Number, ctx: Context) -> dict[str, Any]:
    """A child that is a workflow itself."""
    return {"diamond": await diamond.aio_run(input), "children": len(ctx.task_output(elder)["children"])}


@hatchet.task(name="leaves-child", input_validator=Text, execution_timeout=timedelta(minutes=5))
async def leaves_child(input: Text, ctx: Context) -> dict[str, str]:
    ref = await waits_for_mark.aio_run_no_wait(input)
    mark(f"{input.text}-child", ref.workflow_run_id)
    await asyncio.sleep(300)
    return {}


@hatchet.task(name="waits-for-mark", input_validator=Text, execution_timeout=timedelta(minutes=5))
async def waits_for_mark(input: Text, ctx: Context) -> dict[str, str]:
    await until_marked(f"{input.text}-go")
    return {"text": input.text}


@hatchet.task(
    name="one-at-a-time",
    input_validator=Text,
    retries=1,
    backoff_factor=1.0,
    idempotency=StatusBasedIdempotencyConfig(key_expression="'one:' + input.text", fallback_ttl=timedelta(minutes=5)),
)
async def one_at_a_time(input: Text, ctx: Context) -> dict[str, int]:
    """Fails once for texts that begin with ``retry``; waits for the mark ``<text>-go``."""
    if input.text.startswith("retry") and ctx.retry_count == 0:
        mark(f"{input.text}-failed")
        raise ValueError("the first attempt fails")
    await until_marked(f"{input.text}-go")
    return {"attempt": ctx.attempt_number}


@hatchet.task(
    name="once-in-three-seconds",
    input_validator=Text,
    idempotency=TTLBasedIdempotencyConfig(key_expression="'once:' + input.text", ttl=timedelta(seconds=3)),
)
async def once_in_three_seconds(input: Text, ctx: Context) -> dict[str, str]:
    return {"text": input.text}


claims = hatchet.workflow(
    name="claims",
    input_validator=Text,
    idempotency=StatusBasedIdempotencyConfig(
        key_expression="'claims:' + input.text", fallback_ttl=timedelta(minutes=5)
    ),
)


@claims.task()
async def quick(input: Text, ctx: Context) -> dict[str, str]:
    return {"quick": input.text}


@claims.task()
async def waits(input: Text, ctx: Context) -> dict[str, str]:
    await until_marked(f"{input.text}-go")
    return {"waited": input.text}


@hatchet.task(name="recites", input_validator=Number)
async def recites(input: Number, ctx: Context) -> dict[str, int]:
    """``n`` chunks, as fast as they go."""
    for number in range(input.n):
        await ctx.aio_put_stream(f"<chunk {number}>")
    return {"chunks": input.n}


duet = hatchet.workflow(name="duet", input_validator=Number)


@duet.task()
async def first_voice(input: Number, ctx: Context) -> dict[str, int]:
    for number in range(input.n):
        await ctx.aio_put_stream(f"a{number} ")
    return {}


@duet.task()
def second_voice(input: Number, ctx: Context) -> dict[str, int]:
    for number in range(input.n):
        ctx.put_stream(f"b{number} ")
    return {}


@hatchet.task(name="writes", input_validator=Text)
async def writes(input: Text, ctx: Context) -> dict[str, str]:
    ctx.log(f"{input.text} with the context")
    await ctx.aio_log(f"{input.text} with the context, async")
    logger.warning("%s with a logger", input.text)
    return {"task": ctx.step_run_id}


SPAWNING = [
    child,
    by_key,
    by_index,
    spawns_again,
    tolerant,
    half_bad,
    grandparent,
    between,
    family,
    leaves_child,
    waits_for_mark,
    one_at_a_time,
    once_in_three_seconds,
    claims,
    recites,
    duet,
    writes,
]
"""What the worker of the tests runs."""
