"""Sticky workflows with a whole engine (behaviour-core C-11.9 to C-11.16)."""

from __future__ import annotations

import pytest
from engine_fixture import Instance, World
from engine_worker import TENANT, Worker, until

from hatchet.core.definitions import StoredVersion
from hatchet.core.labels import DesiredLabel
from hatchet.core.reasons import Cause
from hatchet.core.rules import Sticky
from hatchet.core.statuses import RunStatus


async def a_dag(one: Instance, sticky: Sticky | None, name: str = "dag") -> StoredVersion:
    return await one.define_dag(name, a=(), b=("a",), c=("b",), workflow={"sticky": sticky})


async def workers_of(one: Instance, run_id: str) -> set[str]:
    ids = list((await one.task_ids(run_id)).values())
    rows = await one.rows("SELECT worker_id FROM task_assignment WHERE task_id = ANY($1::uuid[])", ids)
    return {str(row["worker_id"]) for row in rows}


@pytest.mark.parametrize("sticky", list(Sticky))
async def test_c_11_14_all_tasks_of_a_run_go_to_one_worker(one: Instance, sticky: Sticky) -> None:
    version = await a_dag(one, sticky)
    for _ in range(4):
        await one.dag_worker(version, completes=True)
    runs = await one.run_many(12, "dag")
    for run_id in runs:
        await one.ended(run_id, RunStatus.COMPLETED)
    used = [await workers_of(one, run_id) for run_id in runs]
    assert all(len(workers) == 1 for workers in used)
    assert len(set.union(*used)) > 1, "C-11.10: the first task may go anywhere"


async def test_c_11_13_without_the_option_a_wanted_worker_counts_for_nothing(one: Instance) -> None:
    version = await a_dag(one, None)
    workers = [await one.dag_worker(version, completes=True) for _ in range(3)]
    runs = await one.run_many(9, "dag", desired_worker=workers[0].id)
    for run_id in runs:
        await one.ended(run_id, RunStatus.COMPLETED)
    assert all(worker.starts for worker in workers)


async def test_c_11_11_the_first_task_goes_to_the_worker_that_was_asked_for(one: Instance) -> None:
    version = await a_dag(one, Sticky.HARD)
    workers = [await one.dag_worker(version, completes=True) for _ in range(3)]
    for worker in workers:
        run_id = await one.run("dag", desired_worker=worker.id)
        await one.ended(run_id, RunStatus.COMPLETED)
        assert await workers_of(one, run_id) == {worker.id}


async def test_c_11_9_soft_goes_elsewhere_when_its_worker_is_busy_and_hard_waits(one: Instance) -> None:
    soft = await a_dag(one, Sticky.SOFT, "soft")
    hard = await a_dag(one, Sticky.HARD, "hard")
    for version in (soft, hard):
        busy = await one.dag_worker(version, slots=1)
        other = await one.dag_worker(version, slots=1, is_open=False)
        holding = await one.run(version.name)
        await busy.started((await one.task_ids(holding))["a"])
        await other.open()
        wanting = await one.run(version.name, desired_worker=busy.id)
        task_id = (await one.task_ids(wanting))["a"]
        if version is soft:
            await other.started(task_id)
        else:
            await one.watched()
            assert not other.starts
            await busy.complete(busy.starts[0])
            # Its own second task is tied to the same worker and was there before.
            await until(lambda busy=busy: len(busy.starts) >= 2, "the next of the run starts")


async def test_c_11_16_hard_with_a_worker_that_is_gone_is_cancelled_by_its_schedule_timeout(one: Instance) -> None:
    version = await a_dag(one, Sticky.HARD)
    gone = await one.dag_worker(version)
    other = await one.dag_worker(version)
    run_id = await one.run("dag", desired_worker=gone.id)
    await gone.complete(await gone.started((await one.task_ids(run_id))["a"]))
    await one.lose(gone, other)

    async def is_explained() -> bool:
        waits = {wait.readable_id: wait.reasons for wait in await one.engine.why.explain(TENANT, run_id)}
        return [reason.cause for reason in waits.get("b", ())] == [Cause.DESIRED_WORKER]

    await until(is_explained, "it waits for its worker, after the delay of the hand-over that failed")
    await one.pass_time(400, other)
    await one.ended(run_id, RunStatus.CANCELLED)
    assert not other.starts


async def test_c_11_11_a_retry_keeps_the_wanted_worker_of_the_task(one: Instance) -> None:
    await one.define_dag("dag", a={"retries": 1}, b=("a",), workflow={"sticky": Sticky.SOFT})
    version = (await one.engine.registration.latest(TENANT, ["dag"]))["dag"]
    wanted = await one.dag_worker(version)
    other = await one.dag_worker(version, slots=1)
    run_id = await one.run("dag", desired_worker=wanted.id)
    a = (await one.task_ids(run_id))["a"]
    await wanted.fail(await wanted.started(a))
    await wanted.complete(await wanted.started(a, 1))
    await wanted.started((await one.task_ids(run_id))["b"])
    assert not other.starts


async def test_c_11_12_a_sticky_run_does_not_look_at_labels(one: Instance) -> None:
    wish = DesiredLabel(key="model", value="large", required=True)
    await one.define_dag("dag", a={"worker_labels": (wish,)}, b=("a",), workflow={"sticky": Sticky.SOFT})
    version = (await one.engine.registration.latest(TENANT, ["dag"]))["dag"]
    await one.dag_worker(version, completes=True)
    await one.ended(await one.run("dag"), RunStatus.COMPLETED)


async def test_the_worker_of_a_run_is_known_after_a_take_over(world: World) -> None:
    one = await world.engine()
    version = await a_dag(one, Sticky.HARD)
    mine = await one.dag_worker(version)
    other: Worker = await one.dag_worker(version)
    run_id = await one.run("dag", desired_worker=mine.id)
    await mine.complete(await mine.started((await one.task_ids(run_id))["a"]))
    await mine.started((await one.task_ids(run_id))["b"])
    for worker in (mine, other):
        await worker.die()
    await one.kill()
    two = await world.engine(skipped=10)
    # Whether the assignment was committed before the kill decides if the second task is sent again.
    mine.completes()
    other.completes()
    await other.open(two)
    await mine.open(two)
    await mine.complete(mine.starts[-1])
    await two.ended(run_id, RunStatus.COMPLETED)
    assert await workers_of(two, run_id) == {mine.id}
    assert not other.starts
