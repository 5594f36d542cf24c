"""Workflows of the interop tests that say on which worker they run. All workers of the tests run them."""

from typing import Any

from tasks import Number, Text, hatchet

from hatchet_sdk import Context, DesiredWorkerLabel, StickyStrategy, WorkerLabelComparator

PLACED: list[Any] = []
"""What every worker of the tests runs."""


def add_sticky(strategy: StickyStrategy) -> Any:
    """A diamond that stays on one worker, and takes a child of its own kind along."""
    kind = strategy.value.lower()
    child = hatchet.workflow(name=f"sticky-child-{kind}", input_validator=Number, sticky=strategy)

    @child.task(name="upper")
    async def upper(input: Number, ctx: Context) -> dict[str, str | None]:
        return {"worker": ctx.worker_id}

    @child.task(name="lower", parents=[upper])
    async def lower(input: Number, ctx: Context) -> dict[str, str | None]:
        return {"worker": ctx.worker_id}

    workflow = hatchet.workflow(name=f"sticky-{kind}", input_validator=Number, sticky=strategy)

    @workflow.task(name="top")
    async def top(input: Number, ctx: Context) -> dict[str, str | None]:
        return {"worker": ctx.worker_id}

    @workflow.task(name="left", parents=[top])
    def left(input: Number, ctx: Context) -> dict[str, str | None]:
        return {"worker": ctx.worker_id}

    @workflow.task(name="right", parents=[top])
    async def right(input: Number, ctx: Context) -> dict[str, str | None]:
        return {"worker": ctx.worker_id}

    @workflow.task(name="spawns", parents=[left, right])
    async def spawns(input: Number, ctx: Context) -> dict[str, Any]:
        results = [await child.aio_run(Number(n=n), sticky=True) for n in range(input.n)]
        return {"worker": ctx.worker_id, "children": [task["worker"] for each in results for task in each.values()]}

    PLACED.extend([child, workflow])
    return workflow


sticky_soft = add_sticky(StickyStrategy.SOFT)
sticky_hard = add_sticky(StickyStrategy.HARD)


def needs(name: str, label: str) -> Any:
    """A task that only a worker runs which has more than ten of the label."""
    wanted = DesiredWorkerLabel(value=10, required=True, comparator=WorkerLabelComparator.GREATER_THAN)
    task = hatchet.task(name=name, input_validator=Text, desired_worker_labels={label: wanted})(tells_worker)
    PLACED.append(task)
    return task


async def tells_worker(input: Text, ctx: Context) -> dict[str, str | None]:
    return {"worker": ctx.worker_id}


needs_capacity = needs("needs-capacity", "capacity")
needs_memory = needs("needs-memory", "memory")


@hatchet.task(name="sets-memory", input_validator=Number)
async def sets_memory(input: Number, ctx: Context) -> dict[str, str | None]:
    await ctx.worker.async_upsert_labels({"memory": input.n})
    return {"worker": ctx.worker_id}


PLACED.append(sets_memory)
