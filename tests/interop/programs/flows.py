"""Workflows of the interop tests: graphs and their results, failures, retries, cancellation, labels."""

import asyncio
import time
from datetime import timedelta
from typing import Any

from tasks import Doubled, Number, Text, hatchet, mark, until_marked

from hatchet_sdk import Context, NonRetryableException

diamond = hatchet.workflow(name="diamond", input_validator=Number)


@diamond.task()
async def start(input: Number, ctx: Context) -> Doubled:
    return Doubled(doubled=2 * input.n)


@diamond.task(parents=[start])
def left(input: Number, ctx: Context) -> dict[str, int]:
    return {"left": ctx.task_output(start).doubled + 1}


@diamond.task(parents=[start])
async def right(input: Number, ctx: Context) -> dict[str, int]:
    return {"right": ctx.task_output(start).doubled + 2}


@diamond.task(parents=[left, right])
async def join(input: Number, ctx: Context) -> dict[str, int]:
    return {
        "n": input.n,
        "grandparent": ctx.task_output(start).doubled,
        "sum": ctx.task_output(left)["left"] + ctx.task_output(right)["right"],
    }


quiet = hatchet.workflow(name="quiet")


@quiet.task()
async def silent(input: Any, ctx: Context) -> None:
    return None


@quiet.task(parents=[silent])
async def speaks(input: Any, ctx: Context) -> dict[str, str]:
    return {"said": "something"}


LAYERS, WIDTH = 6, 8
large = hatchet.workflow(name="large", input_validator=Number)


def add_layer(layer: int, above: list[Any]) -> list[Any]:
    """Tasks that add up what all tasks above them returned."""

    async def add(input: Number, ctx: Context) -> dict[str, int]:
        return {"value": input.n + sum(ctx.task_output(parent)["value"] for parent in above)}

    return [large.task(name=f"Task-{layer}-{place}", parents=above)(add) for place in range(WIDTH)]


bottom: list[Any] = []
for number in range(LAYERS):
    bottom = add_layer(number, bottom)


two_failures = hatchet.workflow(name="two-failures")


@two_failures.task()
async def first(input: Any, ctx: Context) -> dict[str, str]:
    raise ValueError("first: broke")


@two_failures.task()
def second(input: Any, ctx: Context) -> dict[str, str]:
    raise RuntimeError("second broke")


@two_failures.task()
def third(input: Any, ctx: Context) -> dict[str, str]:
    return {"third": "fine"}


judged = hatchet.workflow(name="judged", input_validator=Number)


@judged.task()
async def judge(input: Number, ctx: Context) -> dict[str, int]:
    if input.n % 2 == 0:
        raise RuntimeError(f"{input.n} is even")
    return {"odd": input.n}


@judged.task()
async def bystander(input: Number, ctx: Context) -> dict[str, int]:
    return {"n": input.n}


rescued = hatchet.workflow(name="rescued", input_validator=Number)


@rescued.task()
async def works(input: Number, ctx: Context) -> dict[str, int]:
    return {"worked": input.n}


@rescued.task(parents=[works])
async def breaks(input: Number, ctx: Context) -> dict[str, int]:
    if input.n == 0:
        raise KeyError("no zero: please")
    return {"held": input.n}


@rescued.on_failure_task()
async def rescue(input: Number, ctx: Context) -> dict[str, Any]:
    await asyncio.sleep(0.5)
    error = ctx.get_task_run_error(breaks)
    return {
        "failed": list(ctx.task_run_errors),
        "error": [error.exc_type, error.exc] if error else None,
        "worked": ctx.task_output(works)["worked"],
    }


@rescued.on_success_task()
async def celebrate(input: Number, ctx: Context) -> dict[str, int]:
    return {"celebrated": ctx.task_output(breaks)["held"]}


mixed = hatchet.workflow(name="mixed", input_validator=Text)


@mixed.task()
async def fails(input: Text, ctx: Context) -> dict[str, str]:
    raise ValueError("at once")


@mixed.task(parents=[fails])
async def below_fails(input: Text, ctx: Context) -> dict[str, str]:
    return {"never": "runs"}


@mixed.task()
async def cancels(input: Text, ctx: Context) -> dict[str, str]:
    await ctx.aio_cancel()
    await asyncio.sleep(300)
    return {}


@mixed.task()
def fine(input: Text, ctx: Context) -> dict[str, str]:
    return {"fine": "yes"}


@mixed.task()
async def slow(input: Text, ctx: Context) -> dict[str, str]:
    await until_marked(f"{input.text}-go")
    return {"slow": "done"}


@mixed.task(parents=[slow])
async def below_slow(input: Text, ctx: Context) -> dict[str, str]:
    return {"after": ctx.task_output(slow)["slow"]}


half_cancelled = hatchet.workflow(name="half-cancelled")


@half_cancelled.task()
async def quits(input: Any, ctx: Context) -> dict[str, str]:
    await ctx.aio_cancel()
    await asyncio.sleep(300)
    return {}


@half_cancelled.task()
async def stays(input: Any, ctx: Context) -> dict[str, str]:
    return {"stayed": "to the end"}


chain = hatchet.workflow(name="chain", input_validator=Text)


@chain.task(execution_timeout=timedelta(minutes=5))
async def held(input: Text, ctx: Context) -> dict[str, int]:
    """Runs until the mark ``<text>-go`` is there."""
    mark(f"{input.text}-held-{ctx.attempt_number}")
    await until_marked(f"{input.text}-go")
    return {"retry_count": ctx.retry_count}


@chain.task(parents=[held])
async def after_held(input: Text, ctx: Context) -> dict[str, int]:
    return {"after": ctx.task_output(held)["retry_count"], "retry_count": ctx.retry_count}


@chain.task()
async def beside_held(input: Text, ctx: Context) -> dict[str, int]:
    return {"retry_count": ctx.retry_count}


unsteady = hatchet.workflow(name="unsteady", input_validator=Text)


@unsteady.task(retries=2, backoff_factor=1.0)
async def tries(input: Text, ctx: Context) -> dict[str, Any]:
    mark(f"{input.text}-{ctx.attempt_number}", str(time.time()))
    if ctx.retry_count == 0:
        raise RuntimeError("the first attempt fails")
    return {"attempt": ctx.attempt_number}


@unsteady.task(parents=[tries])
async def after_tries(input: Text, ctx: Context) -> dict[str, Any]:
    return {"parent": ctx.task_output(tries)["attempt"], "attempt": ctx.attempt_number}


line = hatchet.workflow(name="line", input_validator=Number)


@line.task()
async def head(input: Number, ctx: Context) -> dict[str, int]:
    return {"n": input.n, "retry_count": ctx.retry_count}


@line.task(parents=[head])
async def middle(input: Number, ctx: Context) -> dict[str, int]:
    return {"head": ctx.task_output(head)["retry_count"], "retry_count": ctx.retry_count}


@line.task(parents=[middle])
async def tail(input: Number, ctx: Context) -> dict[str, int]:
    return {"middle": ctx.task_output(middle)["retry_count"], "retry_count": ctx.retry_count}


second_chance = hatchet.workflow(name="second-chance", input_validator=Number)


@second_chance.task()
async def succeeds_when_replayed(input: Number, ctx: Context) -> dict[str, int]:
    if ctx.retry_count == 0:
        raise RuntimeError("not yet")
    return {"n": input.n, "attempt": ctx.attempt_number}


@second_chance.on_failure_task()
async def mourns(input: Number, ctx: Context) -> dict[str, int]:
    return {"n": input.n}


two_budgets = hatchet.workflow(name="two-budgets")


@two_budgets.task(retries=1)
async def gives_up(input: Any, ctx: Context) -> dict[str, str]:
    raise NonRetryableException("no second try")


@two_budgets.task(retries=1)
async def tries_twice(input: Any, ctx: Context) -> dict[str, str]:
    raise ValueError("both tries fail")


labelled = hatchet.workflow(name="labelled")


@labelled.task()
async def where(input: Any, ctx: Context) -> dict[str, str]:
    return {"worker": ctx.worker_id}


@labelled.task(parents=[where])
async def where_below(input: Any, ctx: Context) -> dict[str, str]:
    return {"worker": ctx.worker_id}


FLOWS = [
    diamond,
    quiet,
    large,
    two_failures,
    judged,
    rescued,
    mixed,
    half_cancelled,
    chain,
    unsteady,
    line,
    second_chance,
    two_budgets,
]
"""What the worker of the tests runs; all workers run ``labelled``."""
