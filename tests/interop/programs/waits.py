"""Workflows of the interop tests whose tasks wait for sleeps and events, or are skipped or cancelled by conditions."""

import time
from datetime import timedelta
from typing import Any

from tasks import Number, Text, hatchet

from hatchet_sdk import Context, ParentCondition, SleepCondition, UserEventCondition, or_

WAITS: list[Any] = []
"""What the worker of the tests runs."""

EVER = timedelta(minutes=5)
"""Longer than a test waits."""


def waiting(name: str, **conditions: Any) -> Any:
    """A workflow: ``begin``, then ``waiter`` under these conditions, then ``below``. Events are asked for by the input.

    Keys of events belong to one workflow, so that tests do not disturb each other.
    """
    workflow = hatchet.workflow(name=name, input_validator=Text)

    @workflow.task(name="begin")
    async def begin(input: Text, ctx: Context) -> dict[str, float]:
        return {"at": time.time()}

    @workflow.task(name="waiter", parents=[begin], **conditions)
    async def waiter(input: Text, ctx: Context) -> dict[str, Any]:
        return {"waited": time.time() - ctx.task_output(begin)["at"], "triggers": ctx.trigger_data, "text": input.text}

    @workflow.task(name="below", parents=[waiter])
    async def below(input: Text, ctx: Context) -> dict[str, bool]:
        return {"skipped": False, "parent_skipped": ctx.was_skipped(waiter)}

    WAITS.append(workflow)
    return workflow


sleeps = waiting("sleeps", wait_for=[SleepCondition(timedelta(seconds=1))])
skipped_by_event = waiting(
    "skipped-by-event", wait_for=[SleepCondition(EVER)], skip_if=[UserEventCondition("skipped-by-event")]
)
skipped_by_sleep = waiting(
    "skipped-by-sleep",
    wait_for=[UserEventCondition("skipped-by-sleep")],
    skip_if=[SleepCondition(timedelta(seconds=2))],
)
cancelled_by_event = waiting(
    "cancelled-by-event", wait_for=[SleepCondition(EVER)], cancel_if=[UserEventCondition("cancelled-by-event")]
)
cancelled_by_sleep = waiting(
    "cancelled-by-sleep",
    wait_for=[UserEventCondition("cancelled-by-sleep")],
    cancel_if=[SleepCondition(timedelta(seconds=1))],
)
cancelled_by_either = waiting(
    "cancelled-by-either",
    wait_for=[SleepCondition(EVER)],
    cancel_if=[or_(UserEventCondition("cancelled-by-either"), SleepCondition(timedelta(seconds=1)))],
)
either = waiting("either", wait_for=[or_(SleepCondition(EVER), UserEventCondition("either"))])
two_groups = waiting(
    "two-groups",
    wait_for=[
        or_(SleepCondition(timedelta(seconds=1))),
        or_(SleepCondition(EVER), UserEventCondition("two-groups")),
    ],
)
choosy = waiting(
    "choosy", wait_for=[UserEventCondition("choosy", expression="input.n > 5", scope="right", readable_data_key="why")]
)

branches = hatchet.workflow(name="branches", input_validator=Number)


@branches.task()
async def draw(input: Number, ctx: Context) -> dict[str, int]:
    return {"n": input.n}


@branches.task(parents=[draw], skip_if=[ParentCondition(draw, "output.n > 5")])
async def low(input: Number, ctx: Context) -> dict[str, str]:
    return {"was": "low"}


@branches.task(parents=[draw], skip_if=[ParentCondition(draw, "output.n <= 5")])
async def high(input: Number, ctx: Context) -> dict[str, str]:
    return {"was": "high"}


@branches.task(parents=[low])
async def below_low(input: Number, ctx: Context) -> dict[str, str]:
    return {"below": "low"}


@branches.task(parents=[low, high])
async def meet(input: Number, ctx: Context) -> dict[str, bool]:
    return {"low_skipped": ctx.was_skipped(low), "high_skipped": ctx.was_skipped(high)}


@branches.task(parents=[draw, meet], skip_if=[or_(ParentCondition(draw, "false"), ParentCondition(draw, "true"))])
async def never(input: Number, ctx: Context) -> dict[str, str]:
    return {"never": "runs"}


second_time = hatchet.workflow(name="second-time", input_validator=Number)


@second_time.task()
async def counts(input: Number, ctx: Context) -> dict[str, int]:
    return {"retry_count": ctx.retry_count}


@second_time.task(parents=[counts], cancel_if=[ParentCondition(counts, "output.retry_count == 0")])
async def runs_when_replayed(input: Number, ctx: Context) -> dict[str, int]:
    return {"n": input.n, "parent": ctx.task_output(counts)["retry_count"]}


@second_time.task(parents=[runs_when_replayed])
async def below_it(input: Number, ctx: Context) -> dict[str, int]:
    return {"n": input.n}


rooted = hatchet.workflow(name="rooted", input_validator=Text)


@rooted.task(wait_for=[UserEventCondition("rooted")])
async def root(input: Text, ctx: Context) -> dict[str, Any]:
    return {"triggers": ctx.trigger_data}


@rooted.task()
async def other_root(input: Text, ctx: Context) -> dict[str, str]:
    return {"text": input.text}


WAITS += [branches, second_time, rooted]
