"""Timeouts, retries and cancellation: what ends a task, and what a task can do about it."""

import asyncio
import time
from datetime import timedelta

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet, NonRetryableException

hatchet = Hatchet()


class Job(BaseModel):
    name: str


@hatchet.task(name="flaky", input_validator=Job, retries=3, backoff_factor=1.2, backoff_max_seconds=2)
async def flaky(input: Job, ctx: Context) -> dict[str, int]:
    if input.name == "hopeless":
        raise NonRetryableException("trying again does not help")
    if ctx.retry_count < 1:
        raise RuntimeError("the first attempt fails")
    return {"attempt": ctx.attempt_number, "of": ctx.max_attempts}


@hatchet.task(name="too-slow", input_validator=Job, execution_timeout=timedelta(seconds=1))
async def too_slow(input: Job, ctx: Context) -> dict[str, str]:
    await asyncio.sleep(60)
    return {}


@hatchet.task(name="asks-for-time", input_validator=Job, execution_timeout=timedelta(seconds=2))
async def asks_for_time(input: Job, ctx: Context) -> dict[str, str]:
    await ctx.aio_refresh_timeout(timedelta(seconds=30))
    await asyncio.sleep(3)
    return {"finished": input.name}


@hatchet.task(name="waits-for-a-partner", input_validator=Job)
async def waits_for_a_partner(input: Job, ctx: Context) -> dict[str, str]:
    # This worker has two slots. While the task only waits, another one may have its slot.
    await ctx.aio_release_slot()
    await asyncio.sleep(1)
    return {"finished": input.name}


@hatchet.task(name="can-be-cancelled", input_validator=Job, execution_timeout=timedelta(minutes=5))
def can_be_cancelled(input: Job, ctx: Context) -> dict[str, str]:
    # Nobody can stop a thread from outside, so a synchronous task looks at the flag. An async one is cancelled.
    while not ctx.exit_flag:
        time.sleep(0.05)
    print(f"{input.name} was cancelled", flush=True)
    return {}


if __name__ == "__main__":
    workflows = [flaky, too_slow, asks_for_time, waits_for_a_partner, can_be_cancelled]
    hatchet.worker("retries-and-timeouts-worker", slots=2, workflows=workflows).start()
