"""Tasks of the interop tests. All programs here are written against the documented interface of the Python client."""

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from hatchet_sdk import Context, EmptyModel, Hatchet, NonRetryableException

hatchet = Hatchet()

MARKS = Path(os.environ["INTEROP_MARKS"])
"""A directory in which tasks leave a mark when something happened to them."""


class Number(BaseModel):
    n: int = 0


class Text(BaseModel):
    text: str = ""


class Member(BaseModel):
    """One of a group."""

    group: str = ""
    name: str = ""
    seconds: float = 0.0
    units: int = 1
    limit: int = 1


class Doubled(BaseModel):
    doubled: int


@dataclass
class Halved:
    half: float


def mark(name: str, text: str = "x") -> None:
    (MARKS / name).write_text(text)


async def until_marked(name: str) -> None:
    """Returns when the test has left the mark."""
    while not (MARKS / name).exists():  # noqa: ASYNC110  # another process leaves it
        await asyncio.sleep(0.05)


@hatchet.task(name="double-sync", input_validator=Number)
def double_sync(input: Number, ctx: Context) -> Doubled:
    return Doubled(doubled=2 * input.n)


@hatchet.task(name="double-async", input_validator=Number)
async def double_async(input: Number, ctx: Context) -> dict[str, int]:
    await asyncio.sleep(0)
    return {"doubled": 2 * input.n}


@hatchet.task(name="halve", input_validator=Number)
async def halve(input: Number, ctx: Context) -> Halved:
    return Halved(half=input.n / 2)


@hatchet.task(name="nothing")
async def nothing(input: EmptyModel, ctx: Context) -> None:
    return None


@hatchet.task(name="describe", input_validator=Text)
async def describe(input: Text, ctx: Context) -> dict[str, object]:
    return {
        "text": input.text,
        "run_id": ctx.workflow_run_id,
        "worker_id": ctx.worker_id,
        "metadata": ctx.additional_metadata,
        "priority": ctx.priority,
        "attempt": ctx.attempt_number,
        "retries": ctx.retry_count,
        "child_index": ctx.child_index,
        "child_key": ctx.child_key,
        "parent": ctx.parent_workflow_run_id,
    }


@hatchet.task(name="fail", input_validator=Text)
async def fail(input: Text, ctx: Context) -> dict[str, str]:
    raise ValueError(input.text)


@hatchet.task(name="fail-when-even", input_validator=Number)
def fail_when_even(input: Number, ctx: Context) -> Doubled:
    if input.n % 2 == 0:
        raise RuntimeError(f"{input.n} is even")
    return Doubled(doubled=2 * input.n)


@hatchet.task(name="flaky", input_validator=Number, retries=5)
def flaky(input: Number, ctx: Context) -> dict[str, int]:
    if ctx.retry_count < input.n:
        raise RuntimeError(f"attempt {ctx.attempt_number} fails")
    return {"attempt": ctx.attempt_number, "retry_count": ctx.retry_count}


@hatchet.task(name="flaky-with-backoff", input_validator=Number, retries=2, backoff_factor=1.5, backoff_max_seconds=3)
async def flaky_with_backoff(input: Number, ctx: Context) -> dict[str, int]:
    if ctx.retry_count < input.n:
        raise RuntimeError(f"attempt {ctx.attempt_number} fails")
    return {"attempt": ctx.attempt_number}


@hatchet.task(name="never-retried", retries=3)
async def never_retried(input: EmptyModel, ctx: Context) -> dict[str, str]:
    raise NonRetryableException(f"given up in attempt {ctx.attempt_number}")


@hatchet.task(name="too-slow", execution_timeout=timedelta(seconds=2))
async def too_slow(input: EmptyModel, ctx: Context) -> dict[str, str]:
    await asyncio.sleep(300)
    return {}


@hatchet.task(name="asks-for-time", execution_timeout=timedelta(seconds=2))
async def asks_for_time(input: EmptyModel, ctx: Context) -> dict[str, str]:
    await ctx.aio_refresh_timeout(timedelta(seconds=30))
    await asyncio.sleep(4)
    return {"finished": "in the time that it asked for"}


@hatchet.task(name="cancel-me", input_validator=Text, execution_timeout=timedelta(minutes=5))
async def cancel_me(input: Text, ctx: Context) -> dict[str, str]:
    mark(f"{input.text}-started")
    try:
        await asyncio.sleep(300)
    except asyncio.CancelledError:
        mark(f"{input.text}-cancelled")
        raise
    return {}


@hatchet.task(name="cancels-itself")
async def cancels_itself(input: EmptyModel, ctx: Context) -> dict[str, str]:
    await ctx.aio_cancel()
    await asyncio.sleep(300)
    return {}


@hatchet.task(name="talkative", input_validator=Text)
def talkative(input: Text, ctx: Context) -> dict[str, str]:
    ctx.log(f"a line about {input.text}")
    return {"text": input.text}


@hatchet.task(name="parent", input_validator=Number)
async def parent(input: Number, ctx: Context) -> dict[str, object]:
    children = [double_async.create_bulk_run_item(input=Number(n=n), key=f"child-{n}") for n in range(input.n)]
    many = await double_async.aio_run_many(children)
    one = await describe.aio_run(Text(text="child"))
    return {"many": [result["doubled"] for result in many], "one": one, "task": ctx.step_run_id}


@hatchet.task(name="gives-slot-back")
def gives_slot_back(input: EmptyModel, ctx: Context) -> dict[str, str]:
    ctx.release_slot()
    return {"slot": "given back"}


@hatchet.task(name="long", input_validator=Text, execution_timeout=timedelta(minutes=5))
def long(input: Text, ctx: Context) -> dict[str, int]:
    """Runs until somebody leaves the mark ``<text>-go``."""
    mark(f"{input.text}-started", str(ctx.attempt_number))
    while not (MARKS / f"{input.text}-go").exists():
        time.sleep(0.05)
    return {"attempt": ctx.attempt_number, "retry_count": ctx.retry_count}


@hatchet.task(name="orphan", input_validator=Text, schedule_timeout=timedelta(minutes=5))
async def orphan(input: Text, ctx: Context) -> dict[str, str]:
    return {}


@hatchet.task(name="short-lived-orphan", schedule_timeout=timedelta(seconds=2))
async def short_lived_orphan(input: EmptyModel, ctx: Context) -> dict[str, str]:
    return {}


SERVED = [
    double_sync,
    double_async,
    halve,
    nothing,
    describe,
    fail,
    fail_when_even,
    flaky,
    flaky_with_backoff,
    never_retried,
    too_slow,
    asks_for_time,
    cancel_me,
    cancels_itself,
    talkative,
    parent,
    gives_slot_back,
]
"""What the worker of the tests runs; nobody runs the orphans, and ``long`` has a worker of its own."""
