"""Uses of the SDK that a type checker accepts, with the types that it must see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel

from hatchet_sdk import Context, EmptyModel, Hatchet, Standalone, TaskRunRef, TriggerWorkflowOptions

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


hatchet.worker("w", slots=3, workflows=[sync_task, async_task, no_input])
