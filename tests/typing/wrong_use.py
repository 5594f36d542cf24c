"""Uses of the SDK that must be type errors. A comment that begins with E: says what the error of its line contains."""

# ruff: noqa: B018, F841  # the lines are there for the type checker, nobody runs them

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel

from hatchet_sdk import Context, EmptyModel, Hatchet, RetryAfterException

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


task.run(Other(c=1))  # E: No overload variant of "run" of "Standalone" matches argument type "Other"
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
