"""Durable steps in workflows of several tasks (behaviour-durable D-23)."""

from __future__ import annotations

from typing import Any

import pytest
from durable_worker import DurableWorker, hears, sleeps
from engine_fixture import Instance, World
from engine_worker import TENANT, Worker, until

from hatchet.core.definitions import StoredVersion
from hatchet.core.durable_messages import EntryRef, SpawnAck, SpawnRequest
from hatchet.core.messages import Action, TriggerItem, WorkerRegistration
from hatchet.core.statuses import RunStatus
from hatchet.engine import durable_evictions, leases


@pytest.fixture(autouse=True)
def no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eviction right behind an answer restores nothing by itself."""
    monkeypatch.setattr(durable_evictions, "SOON_SECONDS", 3600.0)


def step(*parents: str, **options: Any) -> dict[str, Any]:
    """A durable task of a workflow."""
    return {"parents": parents, "is_durable": True, "execution_timeout": "9000h", **options}


async def serving(one: Instance, version: StoredVersion) -> DurableWorker:
    """A worker for all tasks of a version, its streams open."""
    tasks = [*version.tasks]
    actions = tuple(task.definition.action for task in tasks)
    registration = WorkerRegistration(name="a worker", actions=actions, slots={"durable": 10, "default": 10})
    worker = Worker(one, await one.engine.workers.register(TENANT, registration))
    return await DurableWorker(await worker.open()).open()


async def invoked(worker: DurableWorker, readable_id: str, invocation: int = 1) -> Action:
    """Wait for that invocation of the step of that name."""

    def find() -> list[Action]:
        return [one for one in worker.worker.starts if (one.readable_id, one.invocation) == (readable_id, invocation)]

    return (await until(find, f"invocation {invocation} of {readable_id} arrives"))[0]


async def spawn(worker: DurableWorker, action: Action, name: str = "child", **fields: Any) -> tuple[EntryRef, str]:
    """Spawn one child as a client does from a step; its entry and its run."""
    assert action.invocation is not None
    item = TriggerItem(workflow_name=name, parent_run_id=action.run_id, parent_task_id=action.task_id, **fields)
    [run] = (await worker.ask(SpawnRequest(action.task_id, action.invocation, (item,)), SpawnAck)).runs
    return EntryRef(action.task_id, action.invocation, run.branch, run.node), run.run_id


async def test_d_23_1_a_durable_step_begins_when_its_parents_are_done(one: Instance) -> None:
    """D-23.2: and the run ends with all outputs."""
    worker = await serving(one, await one.define_dag("dag", a=(), step=step("a"), last=("step",)))
    run_id = await one.run("dag")
    a = await worker.worker.task("a")
    assert a.invocation is None
    assert worker.worker.begun() == [("a", 0)]
    await worker.worker.complete(a, '{"a":1}')
    action = await invoked(worker, "step")
    assert action.task_id != action.run_id == run_id
    await worker.result(await worker.wait(action, sleeps("1ms")))
    ref = await worker.wait(action, hears("go"))
    await one.push("go", '{"n":1}')
    await worker.result(ref)
    await worker.worker.complete(action, '{"step":1}')
    await worker.worker.complete(await worker.worker.task("last"), '{"last":1}')
    await one.ended(run_id, RunStatus.COMPLETED)
    assert await one.outcomes(run_id) == {"a": '{"a":1}', "step": '{"step":1}', "last": '{"last":1}'}
    assert len(await one.engine.durable.entries(TENANT, action.task_id, 0, 10)) == 2
    await one.empty()


async def test_d_23_3_children_attach_to_the_step_and_not_to_the_run(one: Instance) -> None:
    """D-27.17: never to the workflow's own steps, even when index and name coincide."""
    await one.define("child")
    helper = await one.worker("child")
    worker = await serving(one, await one.define_dag("dag", step=step(), other=step()))
    run_id = await one.run("dag")
    action, other = await invoked(worker, "step"), await invoked(worker, "other")
    ref, child = await spawn(worker, action, child_index=0)
    _, named = await spawn(worker, action, child_key="step", child_index=1)
    _, elsewhere = await spawn(worker, other, child_index=0)
    assert len({child, named, elsewhere, *(await one.task_ids(run_id)).values()}) == 5
    seen = await helper.started(child)
    assert (seen.parent_run_id, seen.parent_task_id, seen.child_index) == (run_id, action.task_id, 0)
    assert (await helper.started(elsewhere)).parent_task_id == other.task_id
    worker.status(ref)
    await helper.complete(seen, '{"c":1}')
    assert await worker.result(ref) == {"c": 1}
    await worker.worker.complete(action, '{"step":1}')
    await worker.worker.complete(other, '{"other":1}')
    await one.ended(run_id, RunStatus.COMPLETED)
    assert await one.outcomes(run_id) == {"step": '{"step":1}', "other": '{"other":1}'}


async def test_d_13_2_a_step_that_names_no_run_is_its_childs_parent_all_the_same(one: Instance) -> None:
    await one.define("child")
    worker = await serving(one, await one.define_dag("dag", step=step(), last=("step",)))
    run_id = await one.run("dag")
    action = await invoked(worker, "step")
    [run] = (await worker.spawn(action, "child")).runs
    rows = await one.rows("SELECT parent_run_id, parent_task_id FROM task WHERE id = $1", run.run_id)
    assert [str(value) for value in rows[0]] == [run_id, action.task_id]


async def test_d_23_4_a_run_is_evicted_when_all_that_is_left_of_it_is(one: Instance) -> None:
    worker = await serving(one, await one.define_dag("dag", step=step(), other=(), last=("step",)))
    run_id = await one.run("dag")
    action = await invoked(worker, "step")
    await worker.wait(action, hears("go"))
    await worker.evict(action)
    details = await one.details(run_id)
    assert (details.status, details.done) == (RunStatus.RUNNING, False)
    assert {task.readable_id: task.is_evicted for task in details.tasks if task.is_evicted} == {"step": True}
    await worker.worker.complete(await worker.worker.task("other"))
    await one.watched()
    assert await one.status(run_id) is RunStatus.RUNNING
    await one.push("go", '{"n":1}')
    again = await invoked(worker, "step", 2)
    assert again.retry_count == 0
    assert await worker.result(await worker.wait(again, hears("go"))) == {"CREATE": {"go": [{"n": 1}]}}
    await worker.worker.complete(again)
    await worker.worker.complete(await worker.worker.task("last"))
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()


async def test_d_23_2_a_replay_of_the_run_replays_the_step_with_its_log(one: Instance) -> None:
    """D-22.1: the child is not spawned again."""
    await one.define("child")
    helper = await one.worker("child", completes=True)
    worker = await serving(one, await one.define_dag("dag", a=(), step=step("a"), last=("step",)))
    run_id = await one.run("dag")
    for invocation in (1, 2):
        await worker.worker.complete(await worker.worker.task("a", invocation - 1))
        action = await invoked(worker, "step", invocation)
        assert action.retry_count == invocation - 1
        assert await worker.memoized(action, "k", invocation) == 1
        ref, _ = await spawn(worker, action, child_index=0)
        worker.status(ref)
        assert await worker.result(ref) == {"ok": True}
        await worker.worker.complete(action)
        await worker.worker.complete(await worker.worker.task("last", invocation - 1))
        await one.ended(run_id, RunStatus.COMPLETED)
        if invocation == 1:
            assert await one.replay(run_id) == [run_id]
    assert len(helper.starts) == 1
    await one.empty()


async def test_d_22_3_a_replay_of_the_run_restores_its_evicted_step(one: Instance) -> None:
    worker = await serving(one, await one.define_dag("dag", step=step(), last=("step",)))
    run_id = await one.run("dag")
    action = await invoked(worker, "step")
    await worker.wait(action, hears("go"))
    await worker.evict(action)
    await one.replay(run_id)
    again = await invoked(worker, "step", 2)
    await worker.wait(again, hears("go"))
    await worker.worker.complete(again)
    await worker.worker.complete(await worker.worker.task("last"))
    await one.ended(run_id, RunStatus.COMPLETED)


@pytest.mark.parametrize("is_evicted", [False, True])
async def test_d_22_5_a_branch_of_a_step_runs_it_and_what_follows_again(one: Instance, is_evicted: bool) -> None:
    worker = await serving(one, await one.define_dag("dag", a=(), step=step("a"), last=("step",)))
    run_id = await one.run("dag")
    await worker.worker.complete(await worker.worker.task("a"))
    action = await invoked(worker, "step")
    await worker.memoized(action, "first", 1)
    await worker.memoized(action, "second", 1)
    if is_evicted:
        await worker.wait(action, hears("never"))
        await worker.evict(action)
    else:
        await worker.worker.complete(action)
        await worker.worker.complete(await worker.worker.task("last"))
        await one.ended(run_id, RunStatus.COMPLETED)
    assert await one.engine.durable.branch(TENANT, action.task_id, 2, 1) == 2
    again = await invoked(worker, "step", 2)
    assert await worker.memoized(again, "first", 2) == 1
    assert await worker.memoized(again, "second", 2) == 2
    await worker.worker.complete(again, '{"by":2}')
    await worker.worker.complete(await worker.worker.task("last", 0 if is_evicted else 1))
    await one.ended(run_id, RunStatus.COMPLETED)
    assert (await one.outcomes(run_id))["step"] == '{"by":2}'
    assert len([start for start in worker.worker.starts if start.readable_id == "a"]) == 1
    await one.empty()


async def test_d_23_5_a_failed_step_has_the_consequences_of_any_step(one: Instance) -> None:
    version = await one.define_dag("dag", on_failure=True, step=step(retries=1), last=("step",))
    worker = await serving(one, version)
    run_id = await one.run("dag")
    action = await invoked(worker, "step")
    await worker.memoized(action, "k", 1)
    await worker.worker.fail(action, "no")
    again = await invoked(worker, "step", 2)
    assert await worker.memoized(again, "k", 2) == 1
    await worker.worker.fail(again, "still no")
    await worker.worker.complete(await worker.worker.task("on-failure"))
    await one.ended(run_id, RunStatus.FAILED)
    outcomes = await one.outcomes(run_id)
    assert outcomes["step"] == "FAILED:still no"
    assert outcomes["last"].startswith("CANCELLED")
    await one.empty()


async def test_d_21_2_a_cancel_of_the_run_ends_its_evicted_step(one: Instance) -> None:
    worker = await serving(one, await one.define_dag("dag", step=step(), last=("step",)))
    run_id = await one.run("dag")
    action = await invoked(worker, "step")
    await worker.wait(action, hears("go"))
    await worker.evict(action)
    await one.cancel(run_id)
    await one.ended(run_id, RunStatus.CANCELLED)
    await one.push("go")
    await one.empty()
    assert len(worker.worker.starts) == 1


async def test_d_29_5_a_durable_step_survives_its_owner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step waits on its worker, another one is evicted; their child and their event come without an owner."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)
    one = await world.engine()
    await one.define("child")
    worker = await serving(one, await one.define_dag("dag", on=step(), off=step(), last=("on", "off")))
    run_id = await one.run("dag")
    on, off = await invoked(worker, "on"), await invoked(worker, "off")
    ref, child = await spawn(worker, on, child_index=0)
    await worker.wait(off, hears("go"))
    await worker.evict(off)
    await worker.worker.fall_silent()
    await one.kill()
    two = await world.engine()
    await worker.worker.open(two)
    await worker.open(two)
    worker.status(ref)
    helper = await two.worker("child")
    await helper.complete(await helper.started(child), '{"c":1}')
    assert await worker.result(ref) == {"c": 1}
    await two.push("go", '{"n":1}')
    again = await invoked(worker, "off", 2)
    assert await worker.result(await worker.wait(again, hears("go"))) == {"CREATE": {"go": [{"n": 1}]}}
    await worker.worker.complete(on)
    await worker.worker.complete(again)
    await worker.worker.complete(await worker.worker.task("last"))
    await two.ended(run_id, RunStatus.COMPLETED)
    await two.empty()
