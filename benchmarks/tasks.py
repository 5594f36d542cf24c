"""The tasks that are measured. Importing makes a client, so the environment must carry a token."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()


@hatchet.task(name="bench-noop", input_validator=dict)
async def noop(input: dict[str, Any], ctx: Context) -> dict[str, float]:  # noqa: A002 - the documented name
    """Does nothing; tells when it began, by the clock of this machine."""
    return {"started": time.time()}


@hatchet.task(name="bench-parked", input_validator=dict, schedule_timeout=timedelta(days=7))
async def parked(input: dict[str, Any], ctx: Context) -> dict[str, float]:  # noqa: A002 - the documented name
    """Never runs: after its registration no worker offers it, so its tasks wait."""
    return {"started": time.time()}


line = hatchet.workflow(name="bench-line", input_validator=dict)
"""Three tasks, one after the other."""


@line.task()
async def first(input: dict[str, Any], ctx: Context) -> dict[str, float]:  # noqa: A002 - the documented name
    return {"started": time.time()}


@line.task(parents=[first])
async def second(input: dict[str, Any], ctx: Context) -> dict[str, float]:  # noqa: A002 - the documented name
    return {"started": ctx.task_output(first)["started"]}


@line.task(parents=[second])
async def third(input: dict[str, Any], ctx: Context) -> dict[str, float]:  # noqa: A002 - the documented name
    return {"started": ctx.task_output(second)["started"]}


@hatchet.task(name="bench-fan-out", input_validator=dict, execution_timeout=timedelta(minutes=5))
async def fan_out(input: dict[str, Any], ctx: Context) -> dict[str, int]:  # noqa: A002 - the documented name
    """Spawns as many children as it is told and collects what they return."""
    items = [noop.create_bulk_run_item(input={"number": number}) for number in range(input["children"])]
    results = await noop.aio_run_many(items)
    return {"collected": sum("started" in result for result in results)}
