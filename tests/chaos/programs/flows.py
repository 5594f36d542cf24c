"""The workflows of the chaos tests: everything that decides about a task of a run happens in one of them.

What has to become of each task is written down in ``dag_checker.py``; events come from ``pusher.py``.
"""

import asyncio
import os
from datetime import timedelta
from typing import Any

from steps import Job, fail, fail_once, note, step
from task import hatchet

from hatchet_sdk import (
    Context,
    EngineError,
    ParentCondition,
    SleepCondition,
    TaskDefaults,
    UserEventCondition,
    or_,
)

PATIENT = TaskDefaults(schedule_timeout=timedelta(minutes=10), execution_timeout=timedelta(minutes=2))
GO = UserEventCondition("chaos:go", expression="input.number >= 0")
RARE = UserEventCondition("chaos:rare")
NEVER = UserEventCondition("chaos:never")
ERRORS_IN_A_ROW = 200

Output = dict[str, object]

leaf_options: dict[str, Any] = {"input_validator": Job, "execution_timeout": "2m", "schedule_timeout": "10m"}


@hatchet.task(name="leaf", **leaf_options)
async def leaf(job: Job, ctx: Context) -> Output:
    return await step(job, ctx)


# Tasks one after the other; the second needs its retry ------------------------------------------------------------

chain = hatchet.workflow(name="chain", input_validator=Job, task_defaults=PATIENT)


@chain.task()
async def first(job: Job, ctx: Context) -> Output:
    return await step(job, ctx)


@chain.task(parents=[first], retries=1)
async def second(job: Job, ctx: Context) -> Output:
    done = await step(job, ctx, first, milliseconds=30)
    fail_once(ctx, done)
    return done


@chain.task(parents=[second])
async def third(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, first, second)


# Branches that meet again -----------------------------------------------------------------------------------------

diamond = hatchet.workflow(name="diamond", input_validator=Job, task_defaults=PATIENT)


@diamond.task()
async def top(job: Job, ctx: Context) -> Output:
    return await step(job, ctx)


@diamond.task(parents=[top])
async def left(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, top, milliseconds=60)


@diamond.task(parents=[top], retries=1)
async def right(job: Job, ctx: Context) -> Output:
    done = await step(job, ctx, top)
    fail_once(ctx, done)
    return done


@diamond.task(parents=[left, right])
async def bottom(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, left, right)


# Sleeps and events ------------------------------------------------------------------------------------------------

listening = hatchet.workflow(name="listening", input_validator=Job, task_defaults=PATIENT)


@listening.task()
async def start(job: Job, ctx: Context) -> Output:
    return await step(job, ctx)


@listening.task(parents=[start], wait_for=[SleepCondition("300ms")])
async def napped(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, start)


@listening.task(parents=[start], wait_for=[GO])
async def heard(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, start)


@listening.task(parents=[start], wait_for=[or_(SleepCondition("200ms"), RARE)])
async def either(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, start)


@listening.task(parents=[start], wait_for=[RARE], skip_if=[SleepCondition("1500ms")])
async def timed(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, start)


@listening.task(parents=[napped, heard, either, timed])
async def gathered(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, napped, heard, either, timed)


# What is skipped and what is cancelled ----------------------------------------------------------------------------

choosing = hatchet.workflow(name="choosing", input_validator=Job, task_defaults=PATIENT)


@choosing.task()
async def choice(job: Job, ctx: Context) -> Output:
    return await step(job, ctx)


@choosing.task(parents=[choice], skip_if=[ParentCondition(choice, "output.n % 2 == 1")])
async def even(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, choice)


@choosing.task(parents=[choice], skip_if=[ParentCondition(choice, "output.n % 2 == 0")])
async def odd(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, choice)


@choosing.task(parents=[even, odd])
async def joined(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, even, odd)


@choosing.task(parents=[choice], wait_for=[NEVER], skip_if=[SleepCondition("200ms")])
async def quiet(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, choice)


@choosing.task(parents=[quiet])
async def echo(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, quiet)


@choosing.task(parents=[choice], cancel_if=[ParentCondition(choice, "output.n % 5 == 0")])
async def stopped(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, choice)


@choosing.task(parents=[stopped])
async def after_stopped(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, stopped)


@choosing.on_failure_task(name="nothing", execution_timeout="2m", schedule_timeout="10m")
async def nothing_failed(job: Job, ctx: Context) -> Output:
    return await step(job, ctx)


# Failure ----------------------------------------------------------------------------------------------------------

failing = hatchet.workflow(name="failing", input_validator=Job, task_defaults=PATIENT)


@failing.task()
async def doomed(job: Job, ctx: Context) -> Output:
    done = await step(job, ctx)
    fail(done)
    return done


@failing.task(retries=1)
async def twice_doomed(job: Job, ctx: Context) -> Output:
    done = await step(job, ctx)
    fail(done)
    return done


@failing.task(parents=[doomed])
async def after_doomed(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, doomed)


@failing.task()
async def good(job: Job, ctx: Context) -> Output:
    return await step(job, ctx)


@failing.task(parents=[good])
async def after_good(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, good)


@failing.on_failure_task(name="sorry", execution_timeout="2m", schedule_timeout="10m")
async def sorry(job: Job, ctx: Context) -> Output:
    done = await step(job, ctx)
    return {**done, "errors": sorted(ctx.task_run_errors)}


# Children ---------------------------------------------------------------------------------------------------------

spawning = hatchet.workflow(name="spawning", input_validator=Job, task_defaults=PATIENT)


async def until_answered(call: Any) -> Any:
    """The engine's answer, asked for again as long as there is none."""
    for _ in range(ERRORS_IN_A_ROW):
        try:
            return await call()
        except EngineError as error:
            print(f"child: {error}", flush=True)
            await asyncio.sleep(0.1)
    raise SystemExit("the engine never answered")


@spawning.task(retries=1)
async def parent(job: Job, ctx: Context) -> Output:
    refs = {}
    for key, child in (("task", leaf), ("run", chain)):
        refs[key] = await until_answered(
            lambda child=child, key=key: child.aio_run(job, wait_for_result=False, child_key=key)
        )
    note(ctx, "spawn", children={key: ref.workflow_run_id for key, ref in refs.items()}, worker=os.getpid())
    for ref in refs.values():
        await until_answered(ref.aio_result)
    done = await step(job, ctx)
    fail_once(ctx, done)
    return done


@spawning.task(parents=[parent])
async def after_parent(job: Job, ctx: Context) -> Output:
    return await step(job, ctx, parent)


FLOWS = (chain, diamond, listening, choosing, failing, spawning)
EVERYTHING = (leaf, *FLOWS)
