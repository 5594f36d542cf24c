"""Child runs of a durable task go by way of its log (behaviour-durable D-13)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel

from fakes.durable_world import durable_worker, error_of, output_of
from fakes.fake_durable import FakeDurable
from fakes.worker_world import Number, double, running
from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
from hatchet_sdk import (
    CancelledRunError,
    Context,
    DurableContext,
    FailedTaskRunExceptionGroup,
    Hatchet,
    Standalone,
    TaskRunError,
)
from hatchet_sdk.declare.workflow import Workflow

pytest_plugins = ["fakes.durable_fixtures"]


class Doubled(BaseModel):
    n: int


@pytest.fixture
def child(hatchet: Hatchet) -> Standalone[Number, Doubled]:
    async def child(input: Number, ctx: Context) -> Doubled:
        return Doubled(n=input.n * 2)

    return hatchet.task(name="child", input_validator=Number)(child)


@pytest.fixture
def flow(hatchet: Hatchet) -> Workflow[Number]:
    flow = hatchet.workflow(name="flow", input_validator=Number)
    flow.task(name="one")(double)
    flow.task(name="two")(double)
    return flow


def _answer(fake: FakeDurable) -> None:
    """Children end at once, doubled."""

    def finish(request: TriggerWorkflowRequest, run_id: str) -> None:
        fake.finish_child(run_id, {"n": json.loads(request.input)["n"] * 2})

    fake.on_child = finish


def test_d_13_1_a_child_is_triggered_through_the_log(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        first = await child.aio_run(Number(n=1), additional_metadata={"who": "me"}, priority=3)
        second = await ctx.aio_run_child(child, Number(n=2), key="second")
        third = await ctx.run_child(child, Number(n=3))
        assert isinstance(first, Doubled)
        return {"sum": first.n + second.n + third.n}

    _answer(fake)
    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        assert output_of(fake, action) == {"sum": 12}
    assert fake.requests("TriggerWorkflow") == []
    first, second, third = fake.log_of(action).requests
    assert (first.name, first.priority, json.loads(first.additional_metadata)) == ("child", 3, {"who": "me"})
    assert first.parent_task_run_external_id == action.task_run_external_id
    # D-13.3: indexes count from 0 in every invocation.
    assert [one.child_index for one in (first, second, third)] == [0, 1, 2]
    assert [one.child_key for one in (first, second, third)] == ["", "second", ""]


def test_d_13_12_the_result_of_a_workflow_is_by_task(
    fake: FakeDurable, hatchet: Hatchet, flow: Workflow[Number]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        return await flow.aio_run(Number(n=1))

    fake.on_child = lambda _, run_id: fake.finish_child(run_id, {"one": {"n": 2}, "two": {"n": 3}})
    with running(durable_worker(hatchet, task)):
        assert output_of(fake, fake.start_durable("task:task")) == {"one": {"n": 2}, "two": {"n": 3}}


def test_d_13_12_a_workflow_of_one_task_gives_what_the_task_returned(fake: FakeDurable, hatchet: Hatchet) -> None:
    lonely = hatchet.workflow(name="lonely", input_validator=Number)
    lonely.task(name="only")(double)

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        return await lonely.aio_run(Number(n=1))

    _answer(fake)
    with running(durable_worker(hatchet, task)):
        assert output_of(fake, fake.start_durable("task:task")) == {"only": {"n": 2}}


def test_d_4_6_many_children_travel_in_parts_of_a_hundred_and_keep_their_order(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        # A second branch, whose steps must not come between the parts.
        sleeping = asyncio.create_task(ctx.aio_sleep_for("1ms"))
        results = await child.aio_run_many([child.create_bulk_run_item(Number(n=n)) for n in range(250)])
        await sleeping
        return {"results": [result.n for result in results]}

    ended: list[str] = []

    def finish_backwards(request: TriggerWorkflowRequest, run_id: str) -> None:
        ended.append(run_id)
        if len(ended) == 250:
            for number, one in reversed(list(enumerate(ended))):
                fake.finish_child(one, {"n": number * 2})

    fake.on_child = finish_backwards
    with running(durable_worker(hatchet, task)):
        assert output_of(fake, fake.start_durable("task:task")) == {"results": [n * 2 for n in range(250)]}
    assert [len(request.trigger_opts) for request in fake.asked("trigger_runs")] == [100, 100, 50]
    kinds = [request.WhichOneof("message") for request in fake.durable_requests]
    first = kinds.index("trigger_runs")
    assert [kind for kind in kinds[first:] if kind in ("trigger_runs", "wait_for")][:3] == ["trigger_runs"] * 3


def test_d_4_6_large_inputs_make_smaller_parts(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        items = [
            child.create_bulk_run_item(Number(n=n), additional_metadata={"text": "x" * 1_500_000}) for n in range(5)
        ]
        return {"n": [result.n for result in await child.aio_run_many(items)]}

    _answer(fake)
    with running(durable_worker(hatchet, task)):
        assert output_of(fake, fake.start_durable("task:task")) == {"n": [0, 2, 4, 6, 8]}
    assert [len(request.trigger_opts) for request in fake.asked("trigger_runs")] == [2, 2, 1]


def test_a_child_above_the_message_limit_is_refused_here(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> None:
        await child.aio_run(Number(n=1), additional_metadata={"text": "x" * 5_000_000})

    with running(durable_worker(hatchet, task)):
        assert "ValueError: the input of a child run of 'child' has 50" in error_of(
            fake, fake.start_durable("task:task")
        )
    assert fake.asked("trigger_runs") == []


def test_d_13_20_a_child_that_is_only_started_holds_up_nothing(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        ref = await child.aio_run(Number(n=4), wait_for_result=False)
        await ctx.aio_sleep_for("20ms")
        return {"id": ref.workflow_run_id}

    _answer(fake)
    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        output = output_of(fake, action)
    (entry,) = fake.log_of(action).children.values()
    assert output == {"id": entry.run_id}
    # D-15.16: nobody awaits it, so it was never listed.
    assert not entry.awaited


def test_a_reference_is_awaited_through_the_log_where_it_was_made(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled], flow: Workflow[Number]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        refs = await child.aio_run_many(
            [child.create_bulk_run_item(Number(n=n)) for n in (1, 2)], wait_for_result=False
        )
        flow_ref = await flow.aio_run(Number(), wait_for_result=False)
        ends = [(await ref.aio_result()).n for ref in reversed(refs)]
        return {"ends": ends, "again": (await refs[0].aio_result()).n, "flow": await flow_ref.aio_result()}

    def finish(request: TriggerWorkflowRequest, run_id: str) -> None:
        number = json.loads(request.input)["n"]
        fake.finish_child(run_id, {"one": {"n": 5}} if request.name == "flow" else {"n": number * 2})

    fake.on_child = finish
    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        assert output_of(fake, action) == {"ends": [4, 2], "again": 2, "flow": {"one": {"n": 5}}}


def test_a_function_that_is_not_async_runs_children_too(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        many = child.run_many([child.create_bulk_run_item(Number(n=n)) for n in (2, 3)])
        ref = child.run(Number(n=4), wait_for_result=False)
        return {"n": [child.run(Number(n=1)).n, *(result.n for result in many), ref.result().n]}

    _answer(fake)
    with running(durable_worker(hatchet, task)):
        assert output_of(fake, fake.start_durable("task:task")) == {"n": [2, 4, 6, 8]}
    assert fake.requests("TriggerWorkflow") == []


def test_d_13_18_a_child_failure_is_an_exception_that_may_be_caught(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        try:
            await child.aio_run(Number(n=1))
        except FailedTaskRunExceptionGroup as group:
            (error,) = group.exceptions
            return {"type": error.exc_type, "message": error.exc, "id": error.task_run_external_id}
        return {}

    text = TaskRunError.from_exception(ValueError("too odd"), "task-7").serialize(include_metadata=True)
    fake.on_child = lambda _, run_id: fake.finish_child(run_id, error=text)
    with running(durable_worker(hatchet, task)):
        output = output_of(fake, fake.start_durable("task:task"))
    assert output == {"type": "ValueError", "message": "too odd", "id": "task-7"}


def test_d_13_15_a_cancelled_child_is_a_cancelled_run(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled], flow: Workflow[Number]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        ended = await asyncio.gather(child.aio_run(), flow.aio_run(), return_exceptions=True)
        return {"cancelled": [isinstance(error, CancelledRunError) for error in ended]}

    fake.on_child = lambda _, run_id: fake.finish_child(run_id, error="task was cancelled")
    with running(durable_worker(hatchet, task)):
        assert output_of(fake, fake.start_durable("task:task")) == {"cancelled": [True, True]}


def test_the_first_failure_of_many_is_raised_without_waiting_for_the_others(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        items = [child.create_bulk_run_item(Number(n=n)) for n in range(3)]
        try:
            await child.aio_run_many(items)
        except FailedTaskRunExceptionGroup as group:
            return {"error": group.exceptions[0].exc}
        return {}

    def fail_second(request: TriggerWorkflowRequest, run_id: str) -> None:
        if json.loads(request.input)["n"] == 1:
            fake.finish_child(run_id, error="the second fails")

    fake.on_child = fail_second
    with running(durable_worker(hatchet, task)):
        assert output_of(fake, fake.start_durable("task:task")) == {"error": "the second fails"}


def test_failures_in_the_places_of_results(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        items = [child.create_bulk_run_item(Number(n=n)) for n in range(3)]
        ended = await child.aio_run_many(items, return_exceptions=True)
        return {"ended": [one.n if isinstance(one, Doubled) else type(one).__name__ for one in ended]}

    def fail_second(request: TriggerWorkflowRequest, run_id: str) -> None:
        number = json.loads(request.input)["n"]
        fake.finish_child(run_id, {"n": number}, error="no" if number == 1 else None)

    fake.on_child = fail_second
    with running(durable_worker(hatchet, task)):
        output = output_of(fake, fake.start_durable("task:task"))
    assert output == {"ended": [0, "FailedTaskRunExceptionGroup", 2]}


def test_d_13_7_children_with_one_key_are_one_run(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        items = [child.create_bulk_run_item(Number(n=n), key=key) for n, key in ((1, "a"), (2, "b"), (3, "a"))]
        results = await child.aio_run_many(items)
        return {"n": [result.n for result in results], "later": (await child.aio_run(Number(n=9), child_key="b")).n}

    _answer(fake)
    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        assert output_of(fake, action) == {"n": [2, 4, 2], "later": 4}
    assert len(fake.log_of(action).requests) == 2
    # Asked for again, the answer would come at a time that the log does not know.
    assert len(fake.asked("trigger_runs")) == 1


def test_d_22_4_a_later_invocation_finds_its_children(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        many = await child.aio_run_many([child.create_bulk_run_item(Number(n=n)) for n in range(120)])
        if ctx.invocation_count == 1:
            raise RuntimeError("the worker stumbles")
        last = await child.aio_run(Number(n=200))
        return {"sum": sum(one.n for one in many) + last.n}

    _answer(fake)
    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        error_of(fake, action)
        fake.next_invocation(action, retry_count=1)
        fake.wait_for(lambda: "COMPLETED" in fake.events(action), "the second invocation ends")
    assert json.loads(fake.requests("SendStepActionEvent")[-1].event_payload) == {"sum": 119 * 120 + 400}
    assert len(fake.log_of(action).requests) == 121


def test_d_28_9_a_run_of_an_ordinary_task_is_no_step(
    fake: FakeDurable, hatchet: Hatchet, child: Standalone[Number, Doubled]
) -> None:
    async def plain(input: Number, ctx: Context) -> dict[str, Any]:
        return {"id": (await child.aio_run(Number(n=1), wait_for_result=False)).workflow_run_id}

    async def task(input: Number, ctx: DurableContext) -> None: ...

    parent = hatchet.task(name="plain", input_validator=Number)(plain)
    with running(durable_worker(hatchet, task, parent)):
        output_of(fake, fake.start_task("plain:plain"))  # type: ignore[arg-type]
    assert len(fake.requests("TriggerWorkflow")) == 1
    assert fake.asked("trigger_runs") == []
