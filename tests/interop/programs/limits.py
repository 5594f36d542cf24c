"""Tasks of the interop tests with concurrency rules, rate limits and priorities."""

import asyncio
import time
from datetime import timedelta
from typing import Any

from tasks import Member, hatchet, mark, until_marked

from hatchet_sdk import ConcurrencyExpression, ConcurrencyLimitStrategy, Context, RateLimit, RateLimitDuration

LIMITS: list[Any] = []
"""What the worker of the tests runs."""

EVER = timedelta(minutes=5)
"""Longer than a test waits."""


def per_group(strategy: ConcurrencyLimitStrategy) -> ConcurrencyExpression:
    return ConcurrencyExpression(expression="input.group", max_runs=1, limit_strategy=strategy)


async def holds(input: Member, ctx: Context) -> dict[str, Any]:
    """Runs until the mark ``<group>-go`` is there, and says when it ran."""
    mark(f"{input.group}-{input.name}-started")
    start = time.time()
    await until_marked(f"{input.group}-go")
    await asyncio.sleep(input.seconds)
    return {"start": start, "end": time.time()}


def add_pair(strategy: ConcurrencyLimitStrategy) -> None:
    """Two workflows of two tasks: one with the rule for its runs, one with the same rule for its first task."""
    kind = strategy.value.lower().replace("_", "-")
    for level in ("workflow", "task"):
        rule = per_group(strategy)
        workflow = hatchet.workflow(
            name=f"{kind}-{level}", input_validator=Member, concurrency=rule if level == "workflow" else None
        )
        first = workflow.task(name="holds", execution_timeout=EVER, concurrency=[rule] if level == "task" else None)(
            holds
        )

        @workflow.task(name="after", parents=[first])
        async def after(input: Member, ctx: Context) -> dict[str, float]:
            return {"at": time.time()}

        globals()[f"{kind}_{level}".replace("-", "_")] = workflow
        LIMITS.append(workflow)


for each in (
    ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN,
    ConcurrencyLimitStrategy.CANCEL_IN_PROGRESS,
    ConcurrencyLimitStrategy.CANCEL_NEWEST,
    ConcurrencyLimitStrategy.CANCEL_QUEUED_EXCEPT_NEWEST,
    ConcurrencyLimitStrategy.CANCEL_QUEUED_EXCEPT_OLDEST,
):
    add_pair(each)


TWO_RULES = [
    ConcurrencyExpression(
        expression="input.group", max_runs=3, limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN
    ),
    ConcurrencyExpression(
        expression="input.name", max_runs=2, limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN
    ),
]


async def spans(input: Member, ctx: Context) -> dict[str, Any]:
    start = time.time()
    await asyncio.sleep(input.seconds)
    return {"group": input.group, "name": input.name, "start": start, "end": time.time()}


two_rules_workflow = hatchet.workflow(name="two-rules-workflow", input_validator=Member, concurrency=TWO_RULES)
two_rules_workflow.task(name="spans")(spans)
two_rules_task = hatchet.workflow(name="two-rules-task", input_validator=Member)
two_rules_task.task(name="spans", concurrency=TWO_RULES)(spans)
one_of_a_number = hatchet.task(name="one-of-a-number", input_validator=Member, concurrency=1)(spans)


def limited(name: str, *limits: RateLimit) -> Any:
    """A task under these rate limits."""
    task = hatchet.task(name=name, input_validator=Member, rate_limits=list(limits), schedule_timeout=EVER)(spans)
    LIMITS.append(task)
    return task


by_the_hour = limited("by-the-hour", RateLimit(static_key="interop-hour", units=2))
by_the_second = limited("by-the-second", RateLimit(static_key="interop-second", units=1))
by_user = limited(
    "by-user",
    RateLimit(dynamic_key="'user-' + input.group", units=1, limit=1, duration=RateLimitDuration.MINUTE),
)
by_weight = limited(
    "by-weight",
    RateLimit(dynamic_key="'weight-' + input.group", units="input.units", limit="input.limit"),
)


@hatchet.task(name="in-order", input_validator=Member, schedule_timeout=EVER)
async def in_order(input: Member, ctx: Context) -> dict[str, Any]:
    """The one that is called ``blocker`` runs until the mark ``order-go`` is there."""
    start = time.time()
    if input.name == "blocker":
        mark("order-blocked")
        await until_marked("order-go")
    return {"start": start, "end": time.time(), "priority": ctx.priority, "name": input.name}


LIMITS += [two_rules_workflow, two_rules_task, one_of_a_number]
