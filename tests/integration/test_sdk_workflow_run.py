"""Runs of workflows against a small engine of our own: results of several tasks, children, many runs, collisions."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, cast

import grpc
import pytest
from pydantic import BaseModel

from fakes.caller_world import InTask, caller_config
from fakes.fake_engine import FakeEngine, FakeRun
from hatchet_sdk import (
    BulkTriggerIdempotencyCollisionError,
    CancelledRunError,
    Context,
    EngineError,
    FailedTaskRunExceptionGroup,
    Hatchet,
    IdempotencyCollisionError,
    TTLBasedIdempotencyConfig,
    WorkflowRunRef,
)
from hatchet_sdk.context.current import current_context
from hatchet_sdk.declare.workflow import Workflow

NO_WAIT = pytest.mark.filterwarnings("ignore:.*wait_for_result=False:DeprecationWarning")


class In(BaseModel):
    n: int


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine().start()
    yield engine
    engine.close()


@pytest.fixture
def hatchet(engine: FakeEngine) -> Hatchet:
    return Hatchet(config=caller_config(engine))


@pytest.fixture
def flow(hatchet: Hatchet) -> Workflow[In]:
    return _flow(hatchet)


def _flow(hatchet: Hatchet, **options: Any) -> Workflow[In]:
    flow = hatchet.workflow(name="Flow", input_validator=In, **options)

    @flow.task()
    def first(input: In, ctx: Context) -> dict[str, int]:
        return {"n": input.n}

    @flow.task(parents=[first])
    def second(input: In, ctx: Context) -> None: ...

    return flow


def _n(run: FakeRun) -> int:
    return int(json.loads(run.request.input)["n"])


def _items(flow: Workflow[In], count: int) -> list[Any]:
    return [flow.create_bulk_run_item(In(n=n)) for n in range(count)]


# --- results (C-7.15 to C-7.22) -------------------------------------------------------------------------------------


async def test_c_7_15_blocking_callers_get_every_task_and_awaiting_ones_those_with_an_output(
    flow: Workflow[In], engine: FakeEngine
) -> None:
    engine.on_trigger = lambda run: engine.end(
        run, {"first": {"n": _n(run)}, "second": None, "third": {"skipped": True}}
    )
    awaited = {"first": {"n": 4}, "third": {"skipped": True}}
    assert await flow.aio_run(In(n=4)) == awaited
    assert await asyncio.to_thread(flow.run, In(n=4)) == {**awaited, "second": None}
    ref = await flow.aio_run(In(n=4), wait_for_result=False)
    assert isinstance(ref, WorkflowRunRef)
    assert ref.workflow_run_id == engine.last().run_id
    assert await ref.aio_result() == awaited
    assert await asyncio.to_thread(ref.result, poll_interval=0.1) == {**awaited, "second": None}


async def test_c_7_19_each_failed_task_is_a_member_of_the_group(flow: Workflow[In], engine: FakeEngine) -> None:
    errors = {"left": "ValueError: no\nTraceback (most recent call last):\n...", "right": "late"}
    engine.on_trigger = lambda run: engine.end(run, {"first": {"n": 1}}, failed=errors, cancelled=["below"])
    for ended in (flow.aio_run(In(n=1)), asyncio.to_thread(flow.run, In(n=1))):
        with pytest.raises(FailedTaskRunExceptionGroup, match=r"Workflow run \S+ failed\.") as caught:
            await ended
        assert [(e.exc_type, e.exc) for e in caught.value.exceptions] == [
            ("ValueError", "no"),
            ("HatchetError", "late"),
        ]
        assert engine.last().run_id in str(caught.value)
        assert {e.task_run_external_id for e in caught.value.exceptions} <= {
            result.task_run_external_id for result in engine.last().results or ()
        }


async def test_c_7_21_a_cancelled_run_gives_awaiting_callers_what_there_is_and_tells_blocking_ones(
    flow: Workflow[In], engine: FakeEngine
) -> None:
    engine.on_trigger = lambda run: engine.end(run, {"first": {"n": 1}}, cancelled=["second"])
    assert await flow.aio_run(In(n=1)) == {"first": {"n": 1}}
    with pytest.raises(CancelledRunError, match="was cancelled"):
        await asyncio.to_thread(flow.run, In(n=1))
    ref = flow.run(In(n=1), wait_for_result=False)
    assert await ref.aio_result() == {"first": {"n": 1}}
    with pytest.raises(ValueError, match=f"{ref.workflow_run_id} was cancelled"):
        await asyncio.to_thread(ref.result)


async def test_results_that_are_looked_up_are_those_of_the_stream(flow: Workflow[In], engine: FakeEngine) -> None:
    engine.drop_results = True
    engine.on_trigger = lambda run: engine.end(run, {"first": {"n": 1}, "second": None}, cancelled=["third"])
    assert await flow.aio_run(In(n=1)) == {"first": {"n": 1}}
    engine.on_trigger = lambda run: engine.end(run, {"first": {"n": 1}}, failed={"second": "broken"})
    with pytest.raises(FailedTaskRunExceptionGroup, match="broken"):
        await flow.aio_run(In(n=1))
    assert engine.calls["GetRunDetails"] == 2


@NO_WAIT
async def test_the_deprecated_spellings_work(flow: Workflow[In], engine: FakeEngine) -> None:
    engine.on_trigger = lambda run: engine.end(run, {"first": {"n": _n(run)}})
    assert flow.run_no_wait(In(n=1)).result() == {"first": {"n": 1}}
    assert await (await flow.aio_run_no_wait(In(n=2))).aio_result() == {"first": {"n": 2}}
    assert [ref.result() for ref in flow.run_many_no_wait(_items(flow, 2))] == [{"first": {"n": n}} for n in range(2)]
    refs = await flow.aio_run_many_no_wait(_items(flow, 2))
    assert [await ref.aio_result() for ref in refs] == [{"first": {"n": n}} for n in range(2)]


# --- many runs ------------------------------------------------------------------------------------------------------


async def test_c_4_5_many_runs_travel_in_chunks_and_come_back_in_order(flow: Workflow[In], engine: FakeEngine) -> None:
    engine.on_trigger = lambda run: engine.end(run, {"first": {"n": _n(run)}})
    results = await flow.aio_run_many(_items(flow, 2500))
    assert [result["first"]["n"] for result in results] == list(range(2500))
    assert sorted(engine.bulk_sizes) == [500, 1000, 1000]


async def test_c_7_22_each_run_is_judged_by_itself(flow: Workflow[In], engine: FakeEngine) -> None:
    def end(run: FakeRun) -> None:
        ends = [{"failed": {"second": "broken"}}, {"cancelled": ["second"]}, {}]
        engine.end(run, {"first": {"n": _n(run)}}, **cast("Any", ends[_n(run) % 3]))

    engine.on_trigger = end
    items = _items(flow, 6)
    blocking = await asyncio.to_thread(flow.run_many, items, return_exceptions=True)
    assert [type(result) for result in blocking] == [FailedTaskRunExceptionGroup, CancelledRunError, dict] * 2
    awaited = await flow.aio_run_many(items, return_exceptions=True)
    assert [type(result) for result in awaited] == [FailedTaskRunExceptionGroup, dict, dict] * 2
    assert awaited[4] == {"first": {"n": 4}}


async def test_a_cancelled_run_among_awaited_ones_does_not_end_the_wait(flow: Workflow[In], engine: FakeEngine) -> None:
    engine.on_trigger = lambda run: engine.end(run, {}, cancelled=["first"]) if _n(run) == 0 else None
    waiting = asyncio.create_task(flow.aio_run_many(_items(flow, 2)))
    await asyncio.to_thread(engine.wait_until, lambda: len(engine.subscribed) == 2)
    engine.end(engine.last(), {"first": {"n": 1}})
    assert await waiting == [{}, {"first": {"n": 1}}]


def test_a_cancelled_run_among_others_is_told_to_a_blocking_caller_at_once(
    flow: Workflow[In], engine: FakeEngine
) -> None:
    engine.on_trigger = lambda run: engine.end(run, {}, cancelled=["first"]) if _n(run) == 1 else None
    with pytest.raises(CancelledRunError):
        flow.run_many(_items(flow, 3))


def test_items_of_another_kind_are_refused(flow: Workflow[In], engine: FakeEngine) -> None:
    with pytest.raises(TypeError, match="run_many of 'Flow' takes items made with create_bulk_run_item, got In"):
        flow.run_many([In(n=1)])  # type: ignore[list-item]
    assert not engine.runs


# --- inside a task (C-4.11 to C-4.18) -------------------------------------------------------------------------------


@pytest.fixture
def in_task() -> Iterator[InTask]:
    context = InTask({"Flow": True})
    token = current_context.set(cast("Context", context))
    yield context
    current_context.reset(token)


def test_c_4_15_single_and_bulk_spawns_of_one_attempt_are_counted_together(
    flow: Workflow[In], engine: FakeEngine, in_task: InTask
) -> None:
    engine.on_trigger = lambda run: engine.end(run, {"first": {"n": _n(run)}})
    flow.run(In(n=1))
    flow.run_many([*_items(flow, 2), flow.create_bulk_run_item(In(n=9), key="k")])
    flow.run(In(n=1), child_key="k", sticky=True)
    requests = [run.request for run in engine.runs.values()]
    assert [request.child_index for request in requests] == [0, 1, 2, 3, 4]
    assert [request.child_key for request in requests] == ["", "", "", "k", "k"]
    assert {request.parent_id for request in requests} == {in_task.workflow_run_id}
    assert {request.parent_task_run_external_id for request in requests} == {in_task.task_run_id}
    assert [request.desired_worker_id for request in requests] == ["", "", "", "", in_task.worker_id]


async def test_c_4_15_concurrent_spawns_of_coroutines_and_threads_get_distinct_indices(
    flow: Workflow[In], engine: FakeEngine, in_task: InTask
) -> None:
    engine.on_trigger = lambda run: engine.end(run, {"first": {"n": _n(run)}})
    await asyncio.gather(*(flow.aio_run(In(n=n)) for n in range(10)))
    await asyncio.gather(*(asyncio.to_thread(flow.run, In(n=n)) for n in range(10)))
    assert sorted(run.request.child_index for run in engine.runs.values()) == list(range(20))
    assert {run.request.parent_task_run_external_id for run in engine.runs.values()} == {in_task.task_run_id}


def test_c_4_22_the_engine_is_left_to_inherit_the_metadata(
    flow: Workflow[In], engine: FakeEngine, in_task: InTask
) -> None:
    flow.run(In(n=1), wait_for_result=False, additional_metadata={"own": 1})
    assert json.loads(engine.last().request.additional_metadata) == {"own": 1}
    flow.run(In(n=1), wait_for_result=False)
    assert not engine.last().request.HasField("additional_metadata")


def test_two_tasks_in_threads_never_count_for_each_other(flow: Workflow[In], engine: FakeEngine) -> None:
    def task() -> None:
        current_context.set(cast("Context", InTask()))
        for n in range(3):
            flow.run(In(n=n), wait_for_result=False)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(contextvars.copy_context().run, task) for _ in range(2)]:
            done.result()
    assert sorted(run.request.child_index for run in engine.runs.values()) == [0, 0, 1, 1, 2, 2]


# --- idempotency (C-4.42 to C-4.50) ---------------------------------------------------------------------------------


@pytest.fixture
def once(hatchet: Hatchet, engine: FakeEngine) -> Workflow[In]:
    """A workflow whose runs collide when they have the same ``n`` modulo 1000."""
    engine.idempotency_key = lambda request: str(json.loads(request.input)["n"] % 1000)
    return _flow(hatchet, idempotency=TTLBasedIdempotencyConfig(key_expression="input.n", ttl=timedelta(minutes=1)))


async def test_c_4_47_a_collision_names_the_run_that_exists(once: Workflow[In], engine: FakeEngine) -> None:
    first = await once.aio_run(In(n=1), wait_for_result=False)
    with pytest.raises(IdempotencyCollisionError) as caught:
        await once.aio_run(In(n=1001), wait_for_result=False)
    assert caught.value.existing_run_external_id == first.workflow_run_id
    with pytest.raises(IdempotencyCollisionError):
        await asyncio.to_thread(once.run, In(n=1))
    assert (engine.calls["TriggerWorkflow"], engine.calls["BulkTriggerWorkflow"]) == (3, 0)


def test_c_4_46_a_bulk_collision_lists_both_kinds(once: Workflow[In], engine: FakeEngine) -> None:
    with pytest.raises(BulkTriggerIdempotencyCollisionError) as caught:
        once.run_many([once.create_bulk_run_item(In(n=5)) for _ in range(2)])
    created = [run.run_id for run in engine.runs.values()]
    assert caught.value.successful_workflow_run_external_ids == created
    assert [collision.existing_run_external_id for collision in caught.value.collisions] == created
    assert len(created) == 1


def test_c_4_43_a_collision_in_one_chunk_leaves_the_others(once: Workflow[In], engine: FakeEngine) -> None:
    with pytest.raises(BulkTriggerIdempotencyCollisionError) as caught:
        once.run_many([*_items(once, 1000), *_items(once, 1000)])
    assert len(engine.bulk_sizes) == 2
    assert len(caught.value.successful_workflow_run_external_ids) == len(engine.runs) == 1000
    assert len(caught.value.collisions) == 1000
    assert set(caught.value.successful_workflow_run_external_ids) == set(engine.runs)


def test_a_refused_chunk_wins_over_collisions(once: Workflow[In], engine: FakeEngine) -> None:
    engine.fail_next("BulkTriggerWorkflow", grpc.StatusCode.INVALID_ARGUMENT, "no")
    items = [*_items(once, 1000), once.create_bulk_run_item(In(n=1)), once.create_bulk_run_item(In(n=1))]
    with pytest.raises(EngineError, match="no") as caught:
        once.run_many(items)
    assert len(caught.value.__notes__) == 1
