"""Uses of the SDK that a type checker accepts, with the types that it must see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_type

from pydantic import BaseModel

from hatchet_contracts.workflows_pb2 import WorkflowVersion
from hatchet_sdk import (
    ConcurrencyExpression,
    ConcurrencyLimitStrategy,
    Context,
    DefaultFilter,
    DurableContext,
    EmptyModel,
    EvictionPolicy,
    Hatchet,
    ParentCondition,
    RateLimit,
    RateLimitDuration,
    ScheduledRunStatus,
    SleepCondition,
    Standalone,
    StickyStrategy,
    Task,
    TaskDefaults,
    TaskRunRef,
    TriggerWorkflowOptions,
    UserEventCondition,
    WorkflowRunRef,
    or_,
)
from hatchet_sdk.context.durable import SleepResult
from hatchet_sdk.declare.batches import BatchMemberId
from hatchet_sdk.declare.workflow import Workflow
from hatchet_sdk.features.cron_models import CronWorkflows
from hatchet_sdk.features.filter_models import V1Filter
from hatchet_sdk.features.scheduled_models import ScheduledWorkflowsBulkUpdateResponse as ScheduledMoved
from hatchet_sdk.features.scheduled_models import ScheduledWorkflowsList

hatchet = Hatchet()


class In(BaseModel):
    a: int


class Out(BaseModel):
    b: int


@dataclass
class Pair:
    left: int


@hatchet.task(input_validator=In, retries=2, execution_timeout="10s")
def sync_task(input: In, ctx: Context) -> Out:
    return Out(b=input.a)


@hatchet.task(name="other", input_validator=In)
async def async_task(input: In, ctx: Context) -> Out:
    return Out(b=input.a)


@hatchet.task()
def no_input(input: EmptyModel, ctx: Context) -> None: ...


@hatchet.task(input_validator=Pair)
async def with_dataclass(input: Pair, ctx: Context) -> Pair:
    return input


@hatchet.task(input_validator=dict)
def with_dict(input: dict[str, Any], ctx: Context) -> dict[str, int]:
    return {"a": 1}


@hatchet.task()
def with_mapping(input: EmptyModel, ctx: Context) -> Mapping[str, int]:
    return {"a": 1}


assert_type(sync_task, Standalone[In, Out])
assert_type(async_task, Standalone[In, Out])
assert_type(with_dataclass, Standalone[Pair, Pair])

assert_type(sync_task.run(In(a=1)), Out)
assert_type(sync_task.run(In(a=1), wait_for_result=False), TaskRunRef[In, Out])
assert_type(sync_task.run(In(a=1), wait_for_result=False).result(), Out)
assert_type(no_input.run(), None)
assert_type(with_dict.run({"x": 1}), dict[str, int])

items = [sync_task.create_bulk_run_item(In(a=1), options=TriggerWorkflowOptions(priority=3))]
assert_type(sync_task.run_many(items), list[Out])
assert_type(sync_task.run_many(items, return_exceptions=True), list[Out | BaseException])
assert_type(sync_task.run_many(items, wait_for_result=False), list[TaskRunRef[In, Out]])
assert_type(sync_task.get_result("id"), Out)
assert_type(sync_task.get_run_ref("id"), TaskRunRef[In, Out])


async def use() -> None:
    assert_type(await async_task.aio_run(In(a=1)), Out)
    assert_type(await (await async_task.aio_run(In(a=1), wait_for_result=False)).aio_result(), Out)
    assert_type(await async_task.aio_run_many(items), list[Out])


flow = hatchet.workflow(name="flow", input_validator=In, task_defaults=TaskDefaults(retries=2))
plain_flow = hatchet.workflow(name="plain")
assert_type(flow, Workflow[In])
assert_type(plain_flow, Workflow[EmptyModel])


@flow.task(execution_timeout="10s")
def first(input: In, ctx: Context) -> Out:
    return Out(b=input.a)


@flow.task(
    parents=[first],
    wait_for=[SleepCondition("1s"), or_(UserEventCondition(event_key="e"), SleepCondition("2s"))],
    skip_if=[ParentCondition(parent=first, expression="output.b > 1")],
)
async def second(input: In, ctx: Context) -> dict[str, int]:
    return {"b": ctx.task_output(first).b}


@flow.task(parents=[first, second])
def third(input: In, ctx: Context) -> None: ...


@flow.on_failure_task()
def cleaned(input: In, ctx: Context) -> dict[str, str]:
    return ctx.task_run_errors


@flow.on_success_task(retries=1)
async def done(input: In, ctx: Context) -> Out:
    return Out(b=1)


@plain_flow.task()
def plain(input: EmptyModel, ctx: Context) -> None: ...


flow.add_task(sync_task)
assert_type(first, Task[In, Out])
assert_type(second, Task[In, dict[str, int]])
assert_type(done, Task[In, Out])

assert_type(flow.run(In(a=1)), dict[str, Any])
assert_type(flow.run(In(a=1), wait_for_result=False), WorkflowRunRef)
assert_type(flow.run(In(a=1), wait_for_result=False).result(), dict[str, Any])
assert_type(plain_flow.run(), dict[str, Any])
flow_items = [flow.create_bulk_run_item(In(a=1), key="k")]
assert_type(flow.run_many(flow_items), list[dict[str, Any]])
assert_type(flow.run_many(flow_items, return_exceptions=True), list[dict[str, Any] | BaseException])
assert_type(flow.run_many(flow_items, wait_for_result=False), list[WorkflowRunRef])


async def use_flow() -> None:
    assert_type(await flow.aio_run(In(a=1)), dict[str, Any])
    assert_type(await (await flow.aio_run(In(a=1), wait_for_result=False)).aio_result(), dict[str, Any])
    assert_type(await flow.aio_run_many(flow_items), list[dict[str, Any]])


hatchet.worker("w", slots=3, workflows=[sync_task, async_task, no_input, flow])


# --- flow control and triggers --------------------------------------------------------------------------------------

each = ConcurrencyExpression(
    expression="input.a", max_runs=1, limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN
)
limited = hatchet.workflow(
    name="limited",
    input_validator=In,
    concurrency=[each],
    sticky=StickyStrategy.SOFT,
    on_crons=["@daily"],
    cron_input=In(a=1),
    default_filters=[DefaultFilter(expression="true", scope="s")],
)


@limited.task(concurrency=2, rate_limits=[RateLimit(static_key="k", duration=RateLimitDuration.HOUR)])
def slow(input: In, ctx: Context) -> Out:
    return Out(b=1)


@limited.batch_task(batch_max_size=10, parents=[slow])
async def each_of_many(input: dict[BatchMemberId, In], ctx: Context) -> dict[BatchMemberId, Out]:
    return {run: Out(b=value.a) for run, value in input.items()}


@limited.batch_task(batch_max_size=10, broadcast_output=True)
def one_for_many(input: dict[str, In], ctx: Context) -> Out:
    return Out(b=len(input))


@hatchet.batch_task(input_validator=In, batch_max_size=10, batch_max_interval=timedelta(seconds=1))
def many(input: dict[str, In], ctx: Context) -> dict[str, Out]:
    return {run: Out(b=value.a) for run, value in input.items()}


@hatchet.batch_task(batch_max_size=10, broadcast_output=True, retries=1)
async def same_for_all(input: dict[str, EmptyModel], ctx: Context) -> Out:
    return Out(b=1)


assert_type(each_of_many, Task[In, Out])
assert_type(one_for_many, Task[In, Out])
assert_type(many, Standalone[In, Out])
assert_type(same_for_all, Standalone[EmptyModel, Out])
assert_type(many.run(In(a=1)), Out)
assert_type(same_for_all.run(), Out)

assert_type(limited.id, str)
assert_type(limited.schedule(datetime.now(), In(a=1), priority=2), WorkflowVersion)
assert_type(many.create_cron("n", "@daily", In(a=1)), CronWorkflows)
assert_type(limited.create_filter("true", "s"), V1Filter)
assert_type(hatchet.scheduled.list(statuses=[ScheduledRunStatus.SCHEDULED]), ScheduledWorkflowsList)
hatchet.rate_limits.put("k", 2, RateLimitDuration.SECOND)


async def use_triggers() -> None:
    assert_type(await limited.aio_schedule(datetime.now(), In(a=1)), WorkflowVersion)
    assert_type(await many.aio_create_cron("n", "@daily", In(a=1)), CronWorkflows)
    assert_type(await hatchet.scheduled.aio_bulk_update([("id", datetime.now())]), ScheduledMoved)


# --- durable tasks --------------------------------------------------------------------------------------------------


async def compute(a: int, b: str = "") -> Out:
    return Out(b=a)


@hatchet.durable_task(input_validator=In, eviction_policy=EvictionPolicy(ttl=None))
async def durable(input: In, ctx: DurableContext) -> Out:
    assert_type(await ctx.aio_sleep_for(timedelta(seconds=1)), SleepResult)
    assert_type(await ctx.aio_sleep_until(datetime.now()), SleepResult)
    assert_type(await ctx.aio_wait_for("k", or_(SleepCondition("1s"), UserEventCondition("e"))), dict[str, Any])
    assert_type(await ctx.aio_wait_for_event("e"), dict[str, Any])
    assert_type(await ctx.aio_wait_for_event("e", payload_validator=Out), Out)
    assert_type(await ctx.aio_memo(compute, 1, b="x"), Out)
    assert_type(await ctx.aio_memo(len, [1]), int)
    assert_type(await ctx.aio_now(), datetime)
    assert_type(await ctx.aio_run_child(many, In(a=1), key="k"), Out)
    assert_type(await ctx.run_child(limited, In(a=1)), dict[str, Any])
    assert_type(await many.aio_run(In(a=1)), Out)
    ctx.log("a durable context is a context")
    return Out(b=ctx.invocation_count + ctx.wait_index)


@hatchet.durable_task(eviction_policy=None)
def durable_in_a_thread(input: EmptyModel, ctx: DurableContext) -> Out:
    assert_type(ctx.sleep_for("1s"), SleepResult)
    assert_type(ctx.wait_for("k", SleepCondition("1s")), dict[str, Any])
    assert_type(ctx.wait_for_event("e", payload_validator=Out), Out)
    assert_type(ctx.memo(len, [1]), int)
    assert_type(ctx.now(), datetime)
    return Out(b=1)


@limited.durable_task(parents=[slow], execution_timeout="1h")
async def durable_step(input: In, ctx: DurableContext) -> Out:
    return Out(b=1)


# A function that needs no more than every task has may be made durable.
@hatchet.durable_task()
async def takes_any_context(input: EmptyModel, ctx: Context) -> None: ...


assert_type(durable, Standalone[In, Out])
assert_type(durable_in_a_thread.run(), Out)
assert_type(durable_step, Task[In, Out])
