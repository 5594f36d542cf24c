"""Batch tasks of the interop tests. Every output names the batch in which its run was."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

from tasks import Member, Number, hatchet

from hatchet_sdk import Context

LONG = timedelta(seconds=120)
"""An interval that no test waits for."""


async def gather(inputs: dict[Any, Member], ctx: Context) -> dict[Any, dict[str, Any]]:
    batch = str(uuid.uuid4())
    size = len(inputs)
    return {
        member: {"batch": batch, "size": size, "group": each.group, "name": each.name}
        for member, each in inputs.items()
    }


alone = hatchet.batch_task(name="batch-alone", input_validator=Member, batch_max_size=1, batch_max_interval=LONG)(
    gather
)
trio = hatchet.batch_task(name="batch-trio", input_validator=Member, batch_max_size=3, batch_max_interval=LONG)(gather)
pairs = hatchet.batch_task(
    name="batch-pairs",
    input_validator=Member,
    batch_max_size=2,
    batch_max_interval=LONG,
    batch_group_key="input.group",
)(gather)
wide = hatchet.batch_task(
    name="batch-wide",
    input_validator=Member,
    batch_max_size=50,
    batch_max_interval=timedelta(seconds=1),
    batch_group_key="input.group",
)(gather)
heavy = hatchet.batch_task(
    name="batch-heavy",
    input_validator=Member,
    batch_max_size=1000,
    batch_max_interval=timedelta(seconds=5),
)(gather)


@hatchet.batch_task(
    name="batch-sync", input_validator=Number, batch_max_size=5, batch_max_interval=timedelta(seconds=1)
)
def halves(inputs: dict[Any, Number], ctx: Context) -> dict[Any, dict[str, float]]:
    return {member: {"half": each.n / 2} for member, each in reversed(inputs.items())}


@hatchet.batch_task(
    name="batch-broadcast",
    input_validator=Number,
    batch_max_size=10,
    batch_max_interval=LONG,
    broadcast_output=True,
)
async def total(inputs: dict[Any, Number], ctx: Context) -> dict[str, int]:
    return {"total": sum(each.n for each in inputs.values())}


@hatchet.batch_task(name="batch-cancels", input_validator=Number, batch_max_size=10, batch_max_interval=LONG)
async def cancels_batch(inputs: dict[Any, Number], ctx: Context) -> dict[Any, dict[str, int]]:
    await ctx.aio_cancel()
    await asyncio.sleep(300)
    return {}


@hatchet.batch_task(name="batch-fails", input_validator=Number, batch_max_size=2, batch_max_interval=LONG)
async def fails_batch(inputs: dict[Any, Number], ctx: Context) -> dict[Any, dict[str, int]]:
    raise ValueError("the whole batch")


BATCHED = [alone, trio, pairs, wide, heavy, halves, total, cancels_batch, fails_batch]
"""What the worker of the tests runs."""
