"""Workflows under limits and with triggers: one for each kind of rule (behaviour-core C-9, C-10, C-12, C-14, C-16).

What must hold of them is written down in ``limits_checker.py``. ``n`` is the number of a run within its client and its
workflow, ``k`` and ``b`` are keys; what fails is decided by ``n`` alone.
"""

import asyncio
import json
import os
import time
import uuid
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from hatchet_sdk import (
    ConcurrencyExpression,
    ConcurrencyLimitStrategy,
    Context,
    DefaultFilter,
    Hatchet,
    RateLimit,
    RateLimitDuration,
    TaskDefaults,
)

hatchet = Hatchet()

EFFECTS = os.open(os.environ["CHAOS_EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
"""One write of one short line to a file opened for appending stays in one piece, whoever else writes."""

STATIC_KEY, STATIC_LIMIT = "chaos-static", 25
DYNAMIC_LIMIT = 4
SCARCE_LIMIT = 10
EVENT = "limited:event"
FILTERS = {"even": ("left", "input.n % 2 == 0"), "third": ("left", "input.n % 3 == 0"), "right": ("right", "true")}
"""Name of a filter to its scope and its expression."""

Output = dict[str, object]


class Job(BaseModel):
    n: int = 0
    k: str = ""
    b: str = ""


def effect(ctx: Context, kind: str, task: str, execution: str, job: Job) -> None:
    """A line that is on the disk before anything else happens."""
    line = {
        "kind": kind,
        "task": task,
        "attempt": ctx.retry_count,
        "execution": execution,
        "n": job.n,
        "keys": [job.k, job.b],
        "worker": os.getpid(),
        "at": time.time(),
    }
    os.write(EFFECTS, (json.dumps(line) + "\n").encode())
    os.fsync(EFFECTS)


async def work(job: Job, ctx: Context, milliseconds: int) -> Output:
    """Begin, take a while, end; then fail when it is this run's turn to."""
    execution = uuid.uuid4().hex
    effect(ctx, "start", ctx.step_run_id, execution, job)
    await asyncio.sleep(milliseconds / 1000)
    effect(ctx, "end", ctx.step_run_id, execution, job)
    if job.n % 25 == 7 or (job.n % 10 == 3 and is_first(ctx)):
        raise RuntimeError(f"execution {execution} fails")
    return {"n": job.n, "execution": execution}


def is_first(ctx: Context) -> bool:
    """Whether no execution of this task came here before, whichever attempt that was."""
    try:
        os.close(os.open(os.path.join(os.environ["CHAOS_MARKS"], ctx.step_run_id), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def rule(expression: str, most: int, strategy: str = "GROUP_ROUND_ROBIN") -> ConcurrencyExpression:
    return ConcurrencyExpression(
        expression=expression, max_runs=most, limit_strategy=ConcurrencyLimitStrategy(strategy)
    )


PATIENT: dict[str, Any] = {"input_validator": Job, "execution_timeout": "2m", "schedule_timeout": "20m"}


@hatchet.task(name="single", concurrency=rule("input.k", 1), retries=1, **PATIENT)
async def single(job: Job, ctx: Context) -> Output:
    return await work(job, ctx, 80)


@hatchet.task(name="three", concurrency=rule("input.k", 3), retries=1, **PATIENT)
async def three(job: Job, ctx: Context) -> Output:
    return await work(job, ctx, 100)


@hatchet.task(name="both", concurrency=[rule("input.k", 2), rule("input.b", 3)], retries=1, **PATIENT)
async def both(job: Job, ctx: Context) -> Output:
    return await work(job, ctx, 100)


@hatchet.task(name="outrun", concurrency=rule("input.k", 1, "CANCEL_IN_PROGRESS"), retries=1, **PATIENT)
async def outrun(job: Job, ctx: Context) -> Output:
    return await work(job, ctx, 150)


@hatchet.task(name="refused", concurrency=rule("input.k", 2, "CANCEL_NEWEST"), retries=1, **PATIENT)
async def refused(job: Job, ctx: Context) -> Output:
    return await work(job, ctx, 100)


@hatchet.task(
    name="static",
    rate_limits=[RateLimit(static_key=STATIC_KEY, duration=RateLimitDuration.SECOND)],
    retries=1,
    **PATIENT,
)
async def static(job: Job, ctx: Context) -> Output:
    return await work(job, ctx, 10)


@hatchet.task(
    name="dynamic",
    rate_limits=[RateLimit(dynamic_key="'dynamic-' + input.k", limit=DYNAMIC_LIMIT, duration=RateLimitDuration.SECOND)],
    retries=1,
    **PATIENT,
)
async def dynamic(job: Job, ctx: Context) -> Output:
    return await work(job, ctx, 10)


@hatchet.task(
    name="scarce",
    input_validator=Job,
    execution_timeout="2m",
    schedule_timeout="3s",
    rate_limits=[RateLimit(dynamic_key="'scarce-' + input.k", limit=SCARCE_LIMIT, duration=RateLimitDuration.MINUTE)],
)
async def scarce(job: Job, ctx: Context) -> Output:
    """Windows last longer than a take-over; who finds no unit does not wait for the next one."""
    return {**await work(Job(k=job.k), ctx, 5), "n": job.n}


# A run holds a place until all its tasks have ended ---------------------------------------------------------------

line = hatchet.workflow(
    name="line",
    input_validator=Job,
    concurrency=rule("input.k", 2),
    task_defaults=TaskDefaults(schedule_timeout=timedelta(minutes=20), execution_timeout=timedelta(minutes=2)),
)


@line.task(retries=1)
async def first(job: Job, ctx: Context) -> Output:
    return await work(job, ctx, 40)


@line.task(parents=[first], retries=1)
async def second(job: Job, ctx: Context) -> Output:
    return await work(job.model_copy(update={"n": 0}), ctx, 40)


# Batches ----------------------------------------------------------------------------------------------------------


gathering = hatchet.workflow(name="gathered", input_validator=Job)


@gathering.batch_task(
    name="gathered",
    batch_max_size=5,
    batch_max_interval=timedelta(milliseconds=200),
    batch_group_key="input.k",
    batch_group_max_runs=2,
    retries=1,
    execution_timeout="2m",
    schedule_timeout="20m",
)
async def gathered(jobs: dict[str, Job], ctx: Context) -> dict[str, Output]:
    executions = {task: uuid.uuid4().hex for task in jobs}
    for task, job in jobs.items():
        effect(ctx, "start", task, executions[task], job)
    await asyncio.sleep(0.06)
    for task, job in jobs.items():
        effect(ctx, "end", task, executions[task], job)
    return {task: {"n": job.n, "execution": executions[task]} for task, job in jobs.items()}


# What starts by itself --------------------------------------------------------------------------------------------


@hatchet.task(
    name="pushed",
    on_events=["limited:*"],
    default_filters=[
        DefaultFilter(scope=scope, expression=expression, payload={"filter": name})
        for name, (scope, expression) in FILTERS.items()
    ],
    **PATIENT,
)
async def pushed(job: Job, ctx: Context) -> Output:
    return {**await work(Job(k=job.k), ctx, 5), "filter": ctx.filter_payload["filter"], "n": job.n}


@hatchet.task(name="ticking", on_crons=["* * * * * *"], **PATIENT)
async def ticking(job: Job, ctx: Context) -> Output:
    return await work(Job(), ctx, 5)


@hatchet.task(name="planned", **PATIENT)
async def planned(job: Job, ctx: Context) -> Output:
    return {**await work(Job(), ctx, 5), "n": job.n}


QUEUED_BY_RULES = (single, three, both, outrun, refused, line)
QUEUED_BY_UNITS = (static, dynamic, scarce, gathering)
STARTED_BY_TRIGGERS = (pushed, ticking, planned)
LIMITED = {flow.name: flow for flow in (*QUEUED_BY_RULES, *QUEUED_BY_UNITS, *STARTED_BY_TRIGGERS)}
