"""Durable tasks through the engine: what one invocation asks for, what the next one is answered (behaviour-durable)."""

from __future__ import annotations

import orjson
from durable_worker import DurableWorker, hears, sleeps
from engine_fixture import Instance

from hatchet.core.durable_messages import MemoRequest, Refused, WaitRequest
from hatchet.core.statuses import RunStatus


async def durable(one: Instance, name: str = "flow", slots: int = 10, **options: object) -> DurableWorker:
    """A worker for durable tasks of that name, its streams open."""
    await one.define(name, is_durable=True, **options)
    worker = await one.worker(name, slots={"durable": slots, "default": slots})
    return await DurableWorker(worker).open()


async def test_d_8_1_a_sleep_is_acknowledged_and_completes(one: Instance) -> None:
    worker = await durable(one)
    action = await worker.invocation(await one.run(), 1)
    ref = await worker.wait(action, sleeps("50ms"))
    assert (ref.branch, ref.node) == (1, 1)
    assert await worker.result(ref) == {"CREATE": {"sleep:50ms": [{"sleep_duration": "50ms"}]}}
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    await one.empty()


async def test_d_10_7_an_event_wakes_a_wait(one: Instance) -> None:
    worker = await durable(one)
    action = await worker.invocation(await one.run(), 1)
    ref = await worker.wait(action, hears("order", when="input.id == 7"))
    await one.push("order", '{"id": 1}')
    await one.push("order", '{"id": 7}')
    assert await worker.result(ref) == {"CREATE": {"order": [{"id": 7}]}}


async def test_d_12_5_a_memo_is_computed_once(one: Instance) -> None:
    worker = await durable(one, retries=1)
    action = await worker.invocation(await one.run(), 1)
    assert await worker.memoized(action, "k", {"n": 1}) == {"n": 1}
    await worker.worker.fail(action)
    again = await worker.invocation(action.task_id, 2)
    assert again.retry_count == 1
    ack = await worker.memo(again, "k")
    assert ack.existed
    assert orjson.loads(ack.payload or "") == {"n": 1}


async def test_d_13_1_children_are_spawned_and_their_results_come_back(one: Instance) -> None:
    worker = await durable(one)
    await one.define("child")
    children = await one.worker("child", completes=True)
    action = await worker.invocation(await one.run(), 1)
    ack = await worker.spawn(action, "child", "child")
    assert [run.node for run in ack.runs] == [1, 2]
    refs = [await worker.wait(action, sleeps("0s"))]
    del children
    worker.status(*(type(refs[0])(action.task_id, 1, run.branch, run.node) for run in ack.runs))
    for run in ack.runs:
        completed = await worker.completed(type(refs[0])(action.task_id, 1, run.branch, run.node))
        assert not completed.is_failure


async def test_d_18_1_an_evicted_task_goes_on_when_its_wait_is_over(one: Instance) -> None:
    worker = await durable(one)
    action = await worker.invocation(await one.run(), 1)
    ref = await worker.wait(action, hears("go"))
    await worker.evict(action, "wait TTL exceeded")
    details = await one.details(action.task_id)
    assert details.is_evicted
    assert details.status is RunStatus.RUNNING
    assert one.free(worker.worker, "durable") == 10
    await one.push("go", '{"ok": true}')
    again = await worker.invocation(action.task_id, 2)
    assert again.retry_count == 0
    ref = await worker.wait(again, hears("go"))
    assert await worker.result(ref) == {"CREATE": {"go": [{"ok": True}]}}


async def test_d_14_1_another_operation_at_the_same_node_is_refused(one: Instance) -> None:
    worker = await durable(one, retries=1)
    action = await worker.invocation(await one.run(), 1)
    await worker.result(await worker.wait(action, sleeps("1ms")))
    await worker.worker.fail(action)
    again = await worker.invocation(action.task_id, 2)
    refused = await worker.ask(WaitRequest(again.task_id, 2, (hears("x"),)), Refused)
    assert refused.is_non_determinism
    assert (refused.ref.node, refused.ref.branch) == (1, 1)
    assert "expected: sleep(1ms)" in refused.message
    assert "received: event(x)" in refused.message
    assert (await worker.ask(MemoRequest(again.task_id, 2, b"k"), Refused)).is_non_determinism


async def test_d_20_7_a_restarted_engine_goes_on_with_the_log(one: Instance) -> None:
    worker = await durable(one)
    action = await worker.invocation(await one.run(), 1)
    await worker.memoized(action, "k", 5)
    ref = await worker.wait(action, hears("go"))
    one.engine.durable_streams.forget(action.task_id)
    worker.status(ref)
    await one.push("go")
    assert await worker.result(ref) == {"CREATE": {"go": [{}]}}
    assert (await worker.wait(action, sleeps("1h"))).node == 3
