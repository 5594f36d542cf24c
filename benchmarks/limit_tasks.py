"""Tasks with and without concurrency rules, who runs them and who triggers them.

``python -m benchmarks.limit_tasks work TASK SLOTS HOLD``  a worker; each task takes HOLD seconds on average
``python -m benchmarks.limit_tasks fill TASK COUNT``       bulk triggers as fast as they are taken, after ``go``
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import threading
import time
from datetime import timedelta
from typing import Any

from benchmarks.credit import say, standard_input
from benchmarks.limits import KEYS, KIND_PREFIX, KINDS, MAX_RUNS_OF_KIND, USER_PREFIX
from benchmarks.payload import task_input
from benchmarks.worker import announce
from hatchet_sdk import ConcurrencyExpression, ConcurrencyLimitStrategy, Context, Hatchet

BULK = 1000
BULKS_IN_FLIGHT = 2
DATA_BYTES = 256
"""With the two keys the input has about 300 bytes, as that of the other tasks."""
REPORT_SECONDS = 0.2
LONGEST_IN_MEANS = 4
"""A task takes at most so many times the mean, so that a worker that is stopped can end in time."""

hatchet = Hatchet()
held_seconds = 0.0
"""Mean of the time that a task takes in this worker."""
ran = 0


async def work() -> dict[str, float]:
    """Ends at once, or after a random time: then ends arrive evenly, at a steady rate from the first moment on."""
    global ran
    started = time.time()
    if held_seconds:
        await asyncio.sleep(min(random.expovariate(1 / held_seconds), LONGEST_IN_MEANS * held_seconds))
    ran += 1
    return {"started": started}


@hatchet.task(name="bench-unruled", input_validator=dict, schedule_timeout=timedelta(days=7))
async def unruled(input: dict[str, Any], ctx: Context) -> dict[str, float]:  # noqa: A002 - the documented name
    return await work()


@hatchet.task(
    name="bench-ruled",
    input_validator=dict,
    schedule_timeout=timedelta(days=7),
    concurrency=[
        ConcurrencyExpression(
            expression="input.user", max_runs=1, limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN
        ),
        ConcurrencyExpression(
            expression="input.kind",
            max_runs=MAX_RUNS_OF_KIND,
            limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN,
        ),
    ],
)
async def ruled(input: dict[str, Any], ctx: Context) -> dict[str, float]:  # noqa: A002 - the documented name
    return await work()


TASKS = {"unruled": unruled, "ruled": ruled}


def input_of(number: int) -> dict[str, str]:
    """The users take turns, and those that follow each other have different kinds, other ones in each turn."""
    user, kind = number % KEYS, (number + number // KEYS) % KINDS
    return {**task_input(DATA_BYTES), "user": f"{USER_PREFIX}{user}", "kind": f"{KIND_PREFIX}{kind}"}


async def fill(name: str, count: int) -> None:
    """Trigger exactly ``count`` tasks."""
    task = TASKS[name]
    firsts = list(range(0, count, BULK))[::-1]
    lines = await standard_input()
    say("ready")
    await lines.readline()
    began = time.monotonic()

    async def lane() -> None:
        while firsts:
            first = firsts.pop()
            numbers = range(first, min(first + BULK, count))
            items = [task.create_bulk_run_item(input=input_of(number)) for number in numbers]
            await task.aio_run_many(items, wait_for_result=False)

    await asyncio.gather(*(lane() for _ in range(BULKS_IN_FLIGHT)))
    say("done", tasks=count, seconds=time.monotonic() - began)


def tell_progress() -> None:
    """How many have ended here, so that nobody needs to ask the database all the time."""
    said = -1
    while True:
        if ran != said:
            said = ran
            say("ran", total=said)
        time.sleep(REPORT_SECONDS)


def serve(name: str, slots: int, hold: float) -> None:
    global held_seconds
    held_seconds = hold
    worker = hatchet.worker(f"bench-{name}-{os.getpid()}", slots=slots, workflows=[TASKS[name]])
    threading.Thread(target=announce, args=(worker,), daemon=True).start()
    threading.Thread(target=tell_progress, daemon=True).start()
    worker.start()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    mode, *arguments = sys.argv[1:]
    if mode == "work":
        serve(arguments[0], int(arguments[1]), float(arguments[2]))
    else:
        asyncio.run(fill(arguments[0], int(arguments[1])))
