"""Slots of durable tasks, and what else holds around them (behaviour-durable D-19, D-20.6, D-13.13, D-13.19)."""

from __future__ import annotations

import orjson
from durable_worker import DurableWorker, hears, serving, started
from engine_fixture import Instance, on_parent, waits
from engine_worker import TENANT, until

from hatchet.core.conditions import Action as Does
from hatchet.core.durable_messages import EntryRef, SpawnAck, SpawnRequest
from hatchet.core.messages import TriggerItem
from hatchet.core.statuses import RunStatus


async def test_d_19_1_waiting_parents_do_not_take_the_slots_of_their_children(one: Instance) -> None:
    await one.define("parent", is_durable=True)
    await one.define("child")
    worker = await one.worker("parent", "child", slots={"durable": 1, "default": 1})
    stream = await DurableWorker(worker).open()
    action = await stream.invocation(await one.run("parent"), 1)
    ack = await stream.spawn(action, "child")
    assert one.free(worker, "durable") == 0
    child = await worker.started(ack.runs[0].run_id)
    await worker.complete(child)
    ref = EntryRef(action.task_id, 1, ack.runs[0].branch, ack.runs[0].node)
    stream.status(ref)
    await stream.completed(ref)


async def test_d_19_3_a_worker_without_durable_slots_gets_no_durable_task(one: Instance) -> None:
    await one.define("flow", is_durable=True)
    without = await one.worker(slots={"default": 10})
    run_id = await one.run()
    await one.watched()
    assert without.starts == []
    assert await one.status(run_id) is RunStatus.QUEUED
    other = await one.worker(slots={"durable": 1})
    await other.started(run_id)
    assert without.starts == []


async def test_d_19_4_both_pools_are_counted(one: Instance) -> None:
    await one.define("flow", is_durable=True)
    await one.define("plain")
    worker = await one.worker("flow", "plain", slots={"durable": 3, "default": 2})
    await worker.started(await one.run("flow"))
    assert (one.free(worker, "durable"), one.free(worker, "default")) == (2, 2)
    await worker.started(await one.run("plain"))
    assert (one.free(worker, "durable"), one.free(worker, "default")) == (2, 1)


async def test_d_19_5_a_slot_that_is_given_back_by_hand_evicts_nobody(one: Instance) -> None:
    worker = await serving(one, slots=1)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    await one.engine.control.release_slot(TENANT, action.task_id)
    await until(lambda: one.free(worker.worker, "durable") == 1, "the slot is free")
    details = await one.details(action.task_id)
    assert (details.status, details.is_evicted) == (RunStatus.RUNNING, False)
    await one.push("go")
    await worker.result(ref)


async def test_d_20_6_a_worker_of_the_same_name_takes_nothing_over(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, hears("go"))
    again = await one.worker(slots={"durable": 10})
    assert again.id != worker.worker.id
    await one.watched()
    assert again.starts == []


async def test_d_13_13_the_output_of_a_skipped_step_is_part_of_a_dag_childs_result(one: Instance) -> None:
    await one.define_dag("dag", first=(), second=waits(on_parent("first", "output.ok", Does.SKIP), parents=["first"]))
    version = (await one.engine.registration.latest(TENANT, ["dag"]))["dag"]
    await one.dag_worker(version, completes=True)
    worker = await serving(one)
    action = await started(worker)
    ack = await worker.spawn(action, "dag")
    ref = EntryRef(action.task_id, 1, ack.runs[0].branch, ack.runs[0].node)
    worker.status(ref)
    payload = orjson.loads((await worker.completed(ref)).payload)
    assert payload["second"] == {"skipped": True}
    assert "first" in payload
    # D-11.10: not wrapped as the result of a wait is.
    assert "CREATE" not in payload


async def test_d_13_19_a_childs_metadata_is_what_its_parent_sent(one: Instance) -> None:
    await one.define("child")
    worker = await serving(one)
    action = await started(worker)
    item = TriggerItem(
        workflow_name="child", parent_task_id=action.task_id, child_index=0, additional_metadata='{"who": "me"}'
    )
    ack = await worker.ask(SpawnRequest(action.task_id, 1, (item,)), SpawnAck)
    metadata = orjson.loads((await one.details(ack.runs[0].run_id)).additional_metadata)
    assert {key: value for key, value in metadata.items() if not key.startswith("hatchet__")} == {"who": "me"}
