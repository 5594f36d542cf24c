"""Uses of the SDK that must be type errors. A comment that begins with E: says what the error of its line contains."""

# ruff: noqa: B018, F841  # the lines are there for the type checker, nobody runs them

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel

from hatchet_sdk import (
    Context,
    DurableContext,
    EmptyModel,
    EvictionPolicy,
    Hatchet,
    ParentCondition,
    RetryAfterException,
    SleepCondition,
    or_,
)

hatchet = Hatchet()


class In(BaseModel):
    a: int


class Out(BaseModel):
    b: int


class Other(BaseModel):
    c: int


@hatchet.task(input_validator=In)
async def task(input: In, ctx: Context) -> Out:
    return Out(b=input.a)


@hatchet.task(input_validator=In)  # E: "Callable[[Other, Context], Out]"; expected "Callable[[In, Context]
def wrong_input(input: Other, ctx: Context) -> Out:
    return Out(b=1)


@hatchet.task()  # E: "Callable[[In, Context], Out]"; expected "Callable[[EmptyModel, Context]
def undeclared_input(input: In, ctx: Context) -> Out:
    return Out(b=1)


@hatchet.task()  # E: incompatible type "Callable[[EmptyModel, Context], str]"
def wrong_output(input: EmptyModel, ctx: Context) -> str:
    return "text"


@hatchet.task()  # E: "Callable[[EmptyModel], None]"; expected "Callable[[EmptyModel, Context]
def no_context(input: EmptyModel) -> None: ...


task.run(Other(c=1))  # E: No overload variant of "run" of "Runnable" matches argument type "Other"
task.run(a=1)  # E: Unexpected keyword argument "a"
task.create_bulk_run_item(Other(c=1))  # E: incompatible type "Other"; expected "In"
text: str = task.run(In(a=1))  # E: expression has type "Out", variable has type "str"
task.run(In(a=1), priority="high")  # E: No overload variant
hatchet.task("name")  # E: No overload variant of "task" of "Hatchet" matches argument type "str"
hatchet.task(retries="3")  # E: No overload variant
hatchet.worker(slots=3)  # E: Missing positional argument "name"
RetryAfterException("m", timedelta(seconds=1))  # E: Too many positional arguments


async def use() -> None:
    text: str = await task.aio_run(In(a=1))  # E: expression has type "Out", variable has type "str"
    task.run(In(a=1), wait_for_result=False).b  # E: "TaskRunRef[In, Out]" has no attribute "b"


# --- workflows ---

flow = hatchet.workflow(name="flow", input_validator=In)
other_flow = hatchet.workflow(name="other", input_validator=Other)


@flow.task()
def first(input: In, ctx: Context) -> Out:
    return Out(b=1)


@other_flow.task()
def stranger(input: Other, ctx: Context) -> Out:
    return Out(b=1)


@flow.task()  # E: "Callable[[Other, Context], Out]"; expected "Callable[[In, Context]
def wrong_flow_input(input: Other, ctx: Context) -> Out:
    return Out(b=1)


@flow.task()  # E: incompatible type "Callable[[In, Context], int]"
def wrong_flow_output(input: In, ctx: Context) -> int:
    return 1


@flow.on_failure_task()  # E: "Callable[[Other, Context], None]"; expected "Callable[[In, Context]
def wrong_failure_input(input: Other, ctx: Context) -> None: ...


@flow.task(parents=[first])
def reads_parent(input: In, ctx: Context) -> None:
    text: str = ctx.task_output(first)  # E: expression has type "Out", variable has type "str"


flow.task(parents=["first"])  # E: List item 0 has incompatible type "str"; expected "Task[In, Any]"
flow.task(parents=[stranger])  # E: List item 0 has incompatible type "Task[Other, Out]"; expected "Task[In, Any]"
flow.task(parents=first)  # E: incompatible type "Task[In, Out]"; expected "list[Task[In, Any]]
flow.task(wait_for=[first])  # E: List item 0 has incompatible type "Task[In, Out]"; expected "Condition | OrGroup"
flow.task(skip_if=SleepCondition("1s"))  # E: incompatible type "SleepCondition"; expected "list[Condition | OrGroup]
flow.on_success_task(parents=[first])  # E: Unexpected keyword argument "parents"
hatchet.workflow("name")  # E: No overload variant of "workflow" of "Hatchet" matches argument type "str"
or_(or_(SleepCondition("1s")))  # E: incompatible type "OrGroup"; expected "Condition"
ParentCondition(parent="first")  # E: incompatible type "str"; expected "Task[Any, Any]"
SleepCondition(5)  # E: incompatible type "int"; expected "timedelta | str"
flow.run(Other(c=1))  # E: No overload variant of "run" of "Runnable" matches argument type "Other"
flow.run(In(a=1)).b  # E: "dict[str, Any]" has no attribute "b"
flow.run(In(a=1), wait_for_result=False)["first"]  # E: "WorkflowRunRef" is not indexable
flow.run_many([In(a=1)])  # E: incompatible type "In"; expected "WorkflowRunTriggerConfig"
flow.create_bulk_run_item(Other(c=1))  # E: incompatible type "Other"; expected "In"


# --- flow control and triggers --------------------------------------------------------------------------------------


@hatchet.batch_task(input_validator=In, batch_max_size=2)  # E: incompatible type "Callable[[In, Context], Out]"
def batch_of_one(input: In, ctx: Context) -> Out:
    return Out(b=1)


@hatchet.batch_task(input_validator=In, batch_max_size=2)  # E: incompatible type
def one_output_for_all(input: dict[str, In], ctx: Context) -> Out:
    return Out(b=1)


task.schedule("tomorrow", In(a=1))  # E: incompatible type "str"; expected "datetime"
task.schedule(datetime.now(), Other(c=1))  # E: incompatible type "Other"; expected "In"
task.create_cron("name", "@daily", Other(c=1))  # E: incompatible type "Other"; expected "In"
hatchet.rate_limits.put("key", 1, "SECOND")  # E: incompatible type "str"; expected "RateLimitDuration"
hatchet.scheduled.list(statuses=["SCHEDULED"])  # E: expected "ScheduledRunStatus"
hatchet.workflow(name="w", sticky="SOFT")  # E: No overload variant of "workflow"


# --- durable tasks --------------------------------------------------------------------------------------------------


@hatchet.task()  # E: "Callable[[EmptyModel, DurableContext], None]"; expected "Callable[[EmptyModel, Context]
def not_declared_durable(input: EmptyModel, ctx: DurableContext) -> None: ...


@flow.task()  # E: "Callable[[In, DurableContext], None]"; expected "Callable[[In, Context]
def step_not_declared_durable(input: In, ctx: DurableContext) -> None: ...


@hatchet.durable_task(input_validator=In)  # E: expected "Callable[[In, DurableContext]
async def wrong_durable_input(input: Other, ctx: DurableContext) -> None: ...


@hatchet.durable_task()
async def durable(input: EmptyModel, ctx: DurableContext) -> None:
    await ctx.aio_sleep_for(5)  # E: incompatible type "int"; expected "timedelta | str"
    await ctx.aio_wait_for("k", "event")  # E: incompatible type "str"; expected "SleepCondition | UserEventCondition
    await ctx.aio_wait_for("k", ParentCondition(first))  # E: incompatible type "ParentCondition"
    await ctx.aio_wait_for_event("e", None, Out)  # E: No overload variant of "aio_wait_for_event"
    await ctx.aio_memo(len, 5)  # E: No overload variant of "aio_memo"
    text: str = (await ctx.aio_wait_for_event("e", payload_validator=Out)).b  # E: expression has type "int"
    await ctx.aio_run_child(task, Other(c=1))  # E: Cannot infer value of type parameter "TWorkflowInput"


@hatchet.task()
async def plain(input: EmptyModel, ctx: Context) -> None:
    await ctx.aio_sleep_for("1s")  # E: "Context" has no attribute "aio_sleep_for"


EvictionPolicy()  # E: Missing named argument "ttl"
hatchet.durable_task(eviction_policy="never")  # E: No overload variant of "durable_task"
