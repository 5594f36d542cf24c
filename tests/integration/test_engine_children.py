"""Runs that tasks spawn: what a spawn key stands for, and what children inherit (behaviour-core C-4.11 to C-4.23)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from engine_fixture import OTHER_TENANT, Instance, World
from engine_worker import TENANT, Action, Worker

from hatchet.core.definitions import Idempotency, TaskDefinition, WorkflowDefinition
from hatchet.core.errors import IdempotencyCollision, InvalidArgument
from hatchet.core.messages import TriggerItem
from hatchet.core.statuses import RunStatus

UNKNOWN = "707d0855-80ab-4e1f-a156-f1c4546cbf00"


def child_of(parent: Action, name: str = "child", **fields: Any) -> TriggerItem:
    """What a client sends from inside a task."""
    return TriggerItem(workflow_name=name, parent_run_id=parent.run_id, parent_task_id=parent.task_id, **fields)


async def spawn(one: Instance, *items: TriggerItem) -> list[str]:
    return await one.engine.trigger.trigger(TENANT, list(items))


async def parent(one: Instance, **fields: Any) -> tuple[Worker, Action]:
    """A running task of a run of its own, and its worker."""
    await one.define("child")
    await one.define("parent", retries=3)
    worker = await one.worker("parent")
    run_id = await one.run("parent", **fields)
    return worker, await worker.started(run_id)


async def test_c_4_12_a_child_knows_its_parent(one: Instance) -> None:
    _, action = await parent(one)
    helper = await one.worker("child")
    [child] = await spawn(one, child_of(action, child_index=3, child_key="k"))
    seen = await helper.started(child)
    assert (seen.parent_run_id, seen.parent_task_id) == (action.run_id, action.task_id)
    assert (seen.child_index, seen.child_key) == (3, "k")
    rows = await one.rows("SELECT parent_run_id, parent_task_id, child_index, child_key FROM task WHERE id = $1", child)
    [row] = rows
    assert [str(value) for value in row] == [action.run_id, action.task_id, "3", "k"]


async def test_c_4_12_a_child_of_several_tasks_knows_its_parent_in_each(one: Instance) -> None:
    _, action = await parent(one)
    version = await one.define_dag("family", a=(), b=("a",))
    worker = await one.dag_worker(version)
    [child] = await spawn(one, child_of(action, "family", child_index=0))
    a = await worker.task("a")
    await worker.complete(a)
    b = await worker.task("b")
    for seen in (a, b):
        assert (seen.run_id, seen.parent_task_id, seen.child_index) == (child, action.task_id, 0)
        # One-to-one what inherited metadata says.
        assert json.loads(seen.additional_metadata)["hatchet__parent_step_run_id"] == action.task_id


async def test_c_4_11_a_parents_run_alone_makes_no_child(one: Instance) -> None:
    _, action = await parent(one)
    item = TriggerItem(workflow_name="child", parent_run_id=action.run_id, child_index=0, child_key="k")
    first, second = await spawn(one, item, item)
    third = (await spawn(one, TriggerItem(workflow_name="child", parent_task_id="", child_index=0)))[0]
    assert len({first, second, third}) == 3
    rows = await one.rows("SELECT additional_metadata FROM task WHERE id = $1", first)
    assert rows[0]["additional_metadata"] is None


async def test_c_4_13_the_same_key_gives_the_same_child(one: Instance) -> None:
    _, action = await parent(one)
    [first] = await spawn(one, child_of(action, child_index=0, input='{"n":1}'))
    # Whatever its input and even its workflow.
    await one.define("other")
    assert await spawn(one, child_of(action, child_index=0, input='{"n":2}')) == [first]
    assert await spawn(one, child_of(action, "other", child_index=0)) == [first]
    assert json.loads((await one.details(first)).input) == {"n": 1}
    # A key comes before an index, and a key that looks like an index is another one.
    [keyed] = await spawn(one, child_of(action, child_index=0, child_key="0"))
    assert keyed != first
    assert await spawn(one, child_of(action, child_index=7, child_key="0")) == [keyed]


@pytest.mark.parametrize("how", ["fails", "times out", "is lost"])
async def test_c_4_14_the_key_survives_attempts(one: Instance, how: str) -> None:
    await one.define("child")
    await one.define("parent", retries=1, execution_timeout="20s")
    worker = await one.worker("parent", "child")
    run_id = await one.run("parent")
    action = await worker.started(run_id)
    [child] = await spawn(one, child_of(action, child_index=0))
    await worker.complete(await worker.started(child))
    if how == "fails":
        await worker.fail(action)
    elif how == "times out":
        await one.pass_time(21, worker)
    else:
        await one.lose(worker)
        worker = await one.worker("parent", "child")
    again = await worker.started(run_id, 1)
    assert await spawn(one, child_of(again, child_index=0)) == [child]
    await worker.complete(again)
    await one.ended(run_id, RunStatus.COMPLETED)
    assert (await one.ended(child, RunStatus.COMPLETED)).tasks[0].output == '{"ok":true}'
    assert await one.rows("SELECT count(*) AS n FROM task") == [(2,)]


async def test_c_4_14_and_c_15_19_a_replayed_parent_gets_its_old_children_and_their_results(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    await one.define("child")
    worker, helper = await one.dag_worker(version), await one.worker("child", completes=True)
    run_id = await one.run("dag")
    a = await worker.task("a")
    [child] = await spawn(one, child_of(a, child_index=0))
    await one.ended(child, RunStatus.COMPLETED)
    await worker.complete(a)
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.replay(run_id)
    again = await worker.task("a", 1)
    assert await spawn(one, child_of(again, child_index=0)) == [child]
    assert (await one.ends(child).of(child)).results[0].output == '{"ok":true}'
    assert len(helper.starts) == 1
    # Replaying the child alone: a parent that waits for it sees the new result.
    helper.answers(lambda action: helper.complete(action, '{"second":1}'))
    await one.replay(child)
    assert (await one.ends(child).of(child)).results[0].output == '{"second":1}'
    await worker.complete(again)
    await worker.complete(await worker.task("b", 1))
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_4_15_single_and_bulk_spawns_take_consecutive_indexes(one: Instance) -> None:
    _, action = await parent(one)
    [single] = await spawn(one, child_of(action, child_index=0))
    bulk = await spawn(one, *[child_of(action, child_index=index) for index in range(1, 6)])
    [last] = await spawn(one, child_of(action, child_index=6))
    assert len({single, last, *bulk}) == 7
    # C-4.4: the order of the request, also when some are there already.
    mixed = await spawn(one, *[child_of(action, child_index=index) for index in (6, 99, 0, 3, 98)])
    assert (mixed[0], mixed[2], mixed[3]) == (last, single, bulk[2])
    assert len({*mixed, *bulk, single, last}) == 9


async def test_c_4_16_keys_belong_to_the_parent_task(one: Instance) -> None:
    version = await one.define_dag(a=(), b=(), c=("a", "b"))
    await one.define("child")
    worker = await one.dag_worker(version)
    await one.worker("child", completes=True)
    run_id = await one.run("dag")
    a, b = await worker.task("a"), await worker.task("b")
    of_a = await spawn(one, *[child_of(a, child_index=index) for index in range(3)])
    of_b = await spawn(one, *[child_of(b, child_index=index) for index in range(3)])
    assert len({*of_a, *of_b}) == 6
    for action in (a, b):
        await worker.complete(action)
    await worker.complete(await worker.task("c"))
    await one.ended(run_id, RunStatus.COMPLETED)
    ids = set((await one.task_ids(run_id)).values())
    assert len(ids) == 3
    assert not ids & {*of_a, *of_b}
    for action, children in ((a, of_a), (b, of_b)):
        rows = await one.rows("SELECT id FROM task WHERE parent_task_id = $1", action.task_id)
        assert {str(row["id"]) for row in rows} == set(children)
    for child in (*of_a, *of_b):
        await one.ended(child, RunStatus.COMPLETED)


async def test_c_4_17_and_c_4_18_items_of_one_request_are_told_apart_by_key(one: Instance) -> None:
    _, action = await parent(one)
    same = await spawn(one, *[child_of(action, child_index=index, child_key="k") for index in range(3)])
    assert len(set(same)) == 1
    a1, a2, b = await spawn(one, *[child_of(action, child_key=key) for key in ("a", "a", "b")])
    assert a1 == a2 != b
    assert await one.rows("SELECT count(*) AS n FROM task WHERE parent_task_id IS NOT NULL") == [(3,)]


async def test_c_4_13_callers_at_the_same_time_get_one_child(world: World) -> None:
    one = await world.engine()
    two = await world.engine(owns=False)
    _, action = await parent(one)
    calls = [
        spawn(instance, child_of(action, child_index=index), child_of(action, child_index=1 - index))
        for instance in (one, two) * 10
        for index in (0, 1)
    ]
    found = await asyncio.gather(*calls)
    assert len({ids[0] for ids in found}) == len({frozenset(ids) for ids in found}) + 1 == 2
    assert await one.rows("SELECT count(*) AS n FROM task WHERE parent_task_id IS NOT NULL") == [(2,)]


async def test_c_4_19_and_c_6_41_a_child_is_independent(one: Instance) -> None:
    worker, action = await parent(one)
    helper = await one.worker("child")
    child, other = await spawn(one, child_of(action, child_index=0), child_of(action, child_index=1))
    await one.cancel(action.task_id)
    await worker.cancelled(action.task_id)
    await one.ended(action.run_id, RunStatus.CANCELLED)
    await helper.complete(await helper.started(child))
    await helper.fail(await helper.started(other))
    await one.ended(child, RunStatus.COMPLETED)
    await one.ended(other, RunStatus.FAILED)
    assert await one.status(action.run_id) is RunStatus.CANCELLED


async def test_c_4_22_and_c_4_23_metadata_is_inherited_without_reserved_keys(one: Instance) -> None:
    given = {"test_run_id": "t", "mine": "parent", "hatchet__event_id": "e", "hatchet__event_key": "k"}
    _, action = await parent(one, additional_metadata=json.dumps(given))
    # The client copies the metadata of the running task, reserved keys included.
    request = {**given, "mine": "child", "hatchet__parent_step_run_id": "stale", "own": {"deep": [1]}}
    [child] = await spawn(one, child_of(action, child_index=0, additional_metadata=json.dumps(request)))
    [bare] = await spawn(one, child_of(action, child_index=1))
    ids = {"hatchet__parent_workflow_run_id": action.run_id, "hatchet__parent_step_run_id": action.task_id}
    assert json.loads((await one.details(child)).additional_metadata) == {
        "test_run_id": "t",
        "mine": "child",
        "own": {"deep": [1]},
        **ids,
    }
    assert json.loads((await one.details(bare)).additional_metadata) == {"test_run_id": "t", "mine": "parent", **ids}


async def test_c_4_22_children_of_children_name_their_own_parent(one: Instance) -> None:
    version = await one.define_dag("family", a=(), b=("a",))
    worker = await one.dag_worker(version)
    top = await one.run("family", additional_metadata='{"who":"top"}')
    first = await worker.task("a", run_id=top)
    [middle] = await spawn(one, child_of(first, "family", child_index=0, additional_metadata=first.additional_metadata))
    second = await worker.task("a", run_id=middle)
    [last] = await spawn(one, child_of(second, "family", child_index=0, additional_metadata=second.additional_metadata))
    for run_id, above in ((middle, first), (last, second)):
        assert json.loads((await one.details(run_id)).additional_metadata) == {
            "who": "top",
            "hatchet__parent_workflow_run_id": above.run_id,
            "hatchet__parent_step_run_id": above.task_id,
        }
    assert json.loads((await one.details(top)).additional_metadata) == {"who": "top"}


async def test_c_4_8_unknown_and_foreign_parents_are_refused(one: Instance) -> None:
    _, action = await parent(one)
    for bad in (UNKNOWN, "no id"):
        with pytest.raises(InvalidArgument, match="parent_task_run_external_id"):
            await spawn(one, TriggerItem(workflow_name="child", parent_task_id=bad, child_index=0))
    with pytest.raises(InvalidArgument, match="parent_id"):
        await spawn(one, TriggerItem(workflow_name="child", parent_run_id="no id", parent_task_id=action.task_id))
    # All items are checked before any run is created.
    with pytest.raises(InvalidArgument):
        await spawn(one, child_of(action, child_index=0), TriggerItem(workflow_name="child", parent_task_id=UNKNOWN))
    assert await one.rows("SELECT count(*) AS n FROM task") == [(1,)]
    # The parent is known and cached: another tenant must not see it.
    await spawn(one, child_of(action, child_index=0))
    task = TaskDefinition(readable_id="child", action="child:run")
    await one.engine.registration.put(OTHER_TENANT, WorkflowDefinition(name="child", tasks=(task,)))
    with pytest.raises(InvalidArgument, match="no such task"):
        await one.engine.trigger.trigger(OTHER_TENANT, [child_of(action, child_index=0)])


async def test_a_run_is_no_parent_task_unless_it_is_one(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    await one.define("child")
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.task("a")
    with pytest.raises(InvalidArgument, match="no such task"):
        await spawn(one, TriggerItem(workflow_name="child", parent_task_id=run_id, child_index=0))


async def test_c_4_40_a_child_that_is_there_claims_no_idempotency_key(one: Instance) -> None:
    version = await one.define_dag(
        "child", a=(), b=("a",), workflow={"idempotency": Idempotency(expression="input.id", ttl_ms=60_000)}
    )
    assert not version.is_plain
    await one.define("parent")
    worker = await one.worker("parent")
    action = await worker.started(await one.run("parent"))
    [child] = await spawn(one, child_of(action, child_index=0, input='{"id":"1"}'))
    # The same key would collide, and another would be claimed.
    assert await spawn(one, child_of(action, child_index=0, input='{"id":"1"}')) == [child]
    assert await spawn(one, child_of(action, child_index=0, input='{"id":"2"}')) == [child]
    await one.run("child", input='{"id":"2"}')


async def test_a_child_that_was_refused_for_its_key_may_be_spawned_later(one: Instance) -> None:
    await one.define_dag(
        "child", a=(), b=("a",), workflow={"idempotency": Idempotency(expression="input.id", ttl_ms=10_000)}
    )
    await one.define("parent")
    worker = await one.worker("parent")
    action = await worker.started(await one.run("parent"))
    holder = await one.run("child", input='{"id":"1"}')
    items = [child_of(action, "child", child_index=index, input='{"id":"1"}') for index in (0, 0)]
    with pytest.raises(IdempotencyCollision) as refused:
        await spawn(one, *items)
    assert [existing for existing, _ in refused.value.collisions] == [holder, holder]
    one.clock.skip(11)
    await worker.beat()
    # No run was created under the spawn key, so it must not stand for one.
    child, same = await spawn(one, *items)
    assert child == same
    assert (await one.details(child)).run_id == child
    assert await one.rows("SELECT count(*) AS n FROM run") == [(2,)]
