"""Pausing a workflow with a whole engine: who waits, who starts when it ends, who is cancelled (C-4.52 to C-4.56)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import pytest_asyncio
from engine_fixture import Instance, World
from engine_worker import TENANT, until

from hatchet.core.definitions import StoredVersion
from hatchet.core.errors import NotFound, ResourceExhausted, Unavailable
from hatchet.core.held import DuringPause, PauseSettings
from hatchet.core.statuses import RunStatus
from hatchet.engine import bus, leases, trigger, watch

UNKNOWN = "0195f2a0-0000-7000-8000-0000000000ff"
LONG = PauseSettings(queue_ttl="10h")


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead engine's lease ends after a moment instead of 6 s."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.2)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(leases, "DEAD_SECONDS", 1.6)


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What instances say to each other about pauses, and nobody hears; to be asked for before the instances."""
    found: list[str] = []
    real = bus.Bus._send

    async def send(sender: bus.Bus, texts: Sequence[str]) -> list[None]:
        kept = [text for text in texts if '"kind":"paused"' not in text]
        found.extend(text for text in texts if text not in kept)
        if kept:
            await real(sender, kept)
        return [None] * len(texts)

    monkeypatch.setattr(bus.Bus, "_send", send)
    return found


@pytest_asyncio.fixture
async def pair(world: World) -> tuple[Instance, Instance]:
    """The owner, and another instance that knows of it."""
    owner = await world.engine()
    other = await world.engine(owns=False)
    await until(lambda: owner.engine.bus.has_peers and other.engine.bus.has_peers, "they know each other")
    return owner, other


async def pause(instance: Instance, version: StoredVersion, ttl: str = "10h") -> None:
    await instance.engine.pausing.pause(TENANT, version.workflow_id, PauseSettings(queue_ttl=ttl))


async def unpause(instance: Instance, version: StoredVersion) -> None:
    await instance.engine.pausing.unpause(TENANT, version.workflow_id)


async def test_c_4_53_what_is_triggered_and_what_waits_is_not_assigned(one: Instance) -> None:
    version = await one.define()
    waiting = await one.run_many(5)
    await pause(one, version)
    triggered = await one.run_many(5)
    await one.define("free")
    worker = await one.worker("flow", "free", completes=True)
    await one.ended(await one.run("free"), RunStatus.COMPLETED)
    await one.watched(5)
    assert {await one.status(run_id) for run_id in (*waiting, *triggered)} == {RunStatus.QUEUED}
    assert [action.readable_id for action in worker.starts] == ["free"]
    assert len(one.scheduler.queues) == 0
    assert [task.id for task in one.scheduler.held] == [*waiting, *triggered]
    assert await one.event_names(waiting[0]) == ["CREATED", "QUEUED"]


async def test_c_4_55_the_end_of_the_pause_releases_in_order(one: Instance) -> None:
    version = await one.define()
    runs = await one.run_many(10)
    await pause(one, version)
    runs += await one.run_many(10)
    worker = await one.worker(slots=1, completes=True)
    urgent = await one.run(priority=3)
    await one.watched()
    assert worker.starts == []
    await unpause(one, version)
    for run_id in (urgent, *runs):
        await one.ended(run_id, RunStatus.COMPLETED)
    assert [action.task_id for action in worker.starts] == [urgent, *runs]
    assert len(one.scheduler.held) == 0


async def test_a_pause_lets_running_tasks_go_on_and_holds_their_retries(one: Instance) -> None:
    version = await one.define(retries=2)
    worker = await one.worker()
    good, bad, slow = await one.run_many(3)
    actions = [await worker.started(run_id) for run_id in (good, bad, slow)]
    await pause(one, version)
    await worker.complete(actions[0])
    await one.ended(good, RunStatus.COMPLETED)
    await worker.fail(actions[1])
    await worker.fail(actions[2], retry_after_ms=50)
    await until(lambda: len(one.scheduler.held) == 2, "both retries are held")
    assert await one.status(bad) is RunStatus.QUEUED
    await one.watched(5)
    assert len(worker.starts) == 3
    await unpause(one, version)
    await worker.complete(await worker.started(bad, 1))
    await worker.complete(await worker.started(slow, 1))
    await one.ended(bad, RunStatus.COMPLETED)
    await one.ended(slow, RunStatus.COMPLETED)


async def test_a_replay_of_a_paused_workflow_waits(one: Instance) -> None:
    version = await one.define()
    worker = await one.worker(completes=True)
    run_id = await one.run()
    await one.ended(run_id, RunStatus.COMPLETED)
    await pause(one, version)
    assert await one.engine.replay.replay(TENANT, [run_id]) == [run_id]
    await until(lambda: run_id in one.scheduler.held, "the attempt is held")
    assert await one.status(run_id) is RunStatus.QUEUED
    await unpause(one, version)
    await worker.started(run_id, 1)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_the_next_task_of_a_run_waits_and_goes_on_afterwards(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",), c=("b",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    first = await worker.task("a")
    await pause(one, version)
    await worker.complete(first)
    [held] = await until(lambda: list(one.scheduler.held), "the next task is held")
    assert (held.step.definition.readable_id, held.run_id) == ("b", run_id)
    assert one.scheduler.places(held.id)
    assert one.scheduler.knows(held.id)
    assert one.scheduler.waiting(held.id) is held
    await one.watched(5)
    assert len(worker.starts) == 1
    await unpause(one, version)
    await worker.complete(await worker.task("b"))
    await worker.complete(await worker.task("c"))
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_a_new_version_of_a_paused_workflow_is_paused(one: Instance) -> None:
    version = await one.define()
    await pause(one, version)
    again = await one.define(retries=3)
    assert (again.workflow_id, again.id == version.id) == (version.workflow_id, False)
    run_id = await one.run()
    assert run_id in one.scheduler.held


async def test_c_4_54_who_waits_longer_than_the_ttl_is_cancelled(one: Instance) -> None:
    version = await one.define(execution_timeout="1h")
    worker = await one.worker(slots=1)
    running, waiting = await one.run_many(2)
    await worker.started(running)
    await pause(one, version, "60s")
    one.clock.skip(50)
    await worker.beat()
    later = await one.run()
    ends = one.ends(waiting)
    await one.watched(3)
    assert await one.status(waiting) is RunStatus.QUEUED
    one.clock.skip(11)
    await worker.beat()
    assert (await ends.of(waiting)).results[0].status is RunStatus.CANCELLED
    await one.ended(waiting, RunStatus.CANCELLED)
    await one.watched(3)
    assert [task.id for task in one.scheduler.held] == [later]
    assert await one.status(later) is RunStatus.QUEUED
    assert worker.cancels == []


async def test_c_4_54_the_whole_run_is_cancelled(one: Instance) -> None:
    version = await one.define_dag(a=(), b=(), c=("a", "b"))
    worker = await one.dag_worker(version, slots=1)
    run_id = await one.run("dag")
    running = (await until(lambda: worker.starts, "one task runs"))[0]
    await pause(one, version, "30s")
    await until(lambda: len(one.scheduler.held) == 1, "the other is held")
    one.clock.skip(31)
    await worker.beat()
    details = await one.ended(run_id, RunStatus.CANCELLED)
    assert {task.status for task in details.tasks} == {RunStatus.CANCELLED}
    await worker.cancelled(running.task_id)
    assert len(one.scheduler.held) == 0


async def test_c_4_54_many_are_cancelled_in_batches(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hatchet.engine.pausing.CANCEL_BATCH", 20)
    version = await one.define()
    await pause(one, version, "1s")
    runs = await one.run_many(90)
    one.clock.skip(2)
    for run_id in runs:
        await one.ended(run_id, RunStatus.CANCELLED)
    assert one.scheduler.backlog() == 0


async def test_a_pause_that_nobody_told_of_is_found(one: Instance) -> None:
    await one.define()
    run_id = await one.run()
    await one.rows("UPDATE workflow SET paused_at = now(), paused_queue_ttl = '10h'")
    await until(lambda: run_id in one.scheduler.held, "the watch reads it")
    await one.rows("UPDATE workflow SET paused_at = NULL, resumed_at = now()")
    await one.worker(completes=True)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_4_54_nobody_is_cancelled_when_only_the_news_of_the_end_got_lost(one: Instance) -> None:
    version = await one.define()
    await pause(one, version, "60s")
    run_id = await one.run()
    # Behind the engine's back, as another instance would whose message is lost.
    await one.rows("UPDATE workflow SET paused_at = NULL, resumed_at = now()")
    one.clock.skip(61)
    await one.worker(completes=True)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_a_held_task_that_ended_unheard_is_forgotten(one: Instance) -> None:
    version = await one.define()
    await pause(one, version, "60s")
    run_id = await one.run()
    await one.rows(
        "INSERT INTO task_result (tenant_id, task_id, attempt, outcome, finished_at, app_retries, internal_retries) "
        "VALUES ($1, $2, 0, 'CANCELLED', now(), 0, 0)",
        TENANT,
        run_id,
    )
    one.clock.skip(61)
    await until(lambda: run_id not in one.scheduler.held, "it is forgotten")
    assert await one.status(run_id) is RunStatus.CANCELLED


async def test_c_6_34_the_schedule_timeout_does_not_run_while_paused(one: Instance) -> None:
    version = await one.define(schedule_timeout="60s")
    run_id = await one.run()
    await pause(one, version)
    one.clock.skip(600)
    await one.watched(5)
    assert await one.status(run_id) is RunStatus.QUEUED
    await unpause(one, version)
    one.clock.skip(50)
    await one.watched(5)
    assert await one.status(run_id) is RunStatus.QUEUED
    one.clock.skip(11)
    await one.ended(run_id, RunStatus.CANCELLED)
    assert (await one.event_names(run_id))[-1] == "SCHEDULING_TIMED_OUT"


async def test_c_6_34_after_a_restart_the_schedule_timeout_runs_from_the_end_of_the_pause(world: World) -> None:
    one = await world.engine()
    version = await one.define(schedule_timeout="60s")
    await one.define("other", schedule_timeout="60s")
    released = await one.run()
    await pause(one, version)
    one.clock.skip(600)
    await unpause(one, version)
    one.clock.skip(30)
    other = await one.run("other")
    await one.kill()
    two = await world.engine(skipped=630)
    await two.watched(3)
    assert {await two.status(run_id) for run_id in (released, other)} == {RunStatus.QUEUED}
    two.clock.skip(31)
    await two.ended(released, RunStatus.CANCELLED)
    await two.watched(3)
    assert await two.status(other) is RunStatus.QUEUED
    two.clock.skip(30)
    await two.ended(other, RunStatus.CANCELLED)


async def test_a_restart_keeps_holding_with_the_old_clock(world: World) -> None:
    one = await world.engine()
    version = await one.define(schedule_timeout="60s", retries=1)
    dag = await one.define_dag(a=())
    worker = await one.worker()
    retried = await one.run()
    action = await worker.started(retried)
    await pause(one, version, "10m")
    await pause(one, dag, "10m")
    await worker.fail(action)
    waiting, of_dag = await one.run(), await one.run("dag")
    await worker.fall_silent()
    one.clock.skip(400)
    await one.watched(3)
    await one.kill()
    two = await world.engine(skipped=400)
    await until(lambda: len(two.scheduler.held) == 3, "everything is held")
    assert len(two.scheduler.queues) == 0
    await worker.open(two)
    await two.watched(3)
    assert {await two.status(run_id) for run_id in (retried, waiting, of_dag)} == {RunStatus.QUEUED}
    await unpause(two, version)
    await worker.complete(await worker.started(retried, 1))
    await worker.complete(await worker.started(waiting))
    two.clock.skip(201)
    await two.ended(of_dag, RunStatus.CANCELLED)


async def test_a_pause_again_changes_the_ttl_and_starts_nothing_anew(one: Instance) -> None:
    version = await one.define()
    await pause(one, version, "10h")
    run_id = await one.run()
    one.clock.skip(100)
    await pause(one, version, "1m")
    await one.ended(run_id, RunStatus.CANCELLED)
    settings = PauseSettings(queue_ttl="1d", crons=DuringPause.DROP)
    await one.engine.pausing.pause(TENANT, version.workflow_id, settings)
    [row] = await one.rows("SELECT paused_queue_ttl, paused_crons, paused_scheduled, resumed_at FROM workflow")
    assert tuple(row) == ("1d", "DROP", "QUEUE", None)
    await unpause(one, version)
    [row] = await one.rows("SELECT paused_at, paused_queue_ttl, paused_crons, paused_scheduled FROM workflow")
    assert tuple(row) == (None, None, None, None)


async def test_the_end_of_no_pause_changes_nothing(one: Instance) -> None:
    version = await one.define()
    await unpause(one, version)
    assert await one.rows("SELECT 1 FROM workflow WHERE resumed_at IS NOT NULL") == []


async def test_an_unknown_or_foreign_workflow_is_not_found(one: Instance) -> None:
    version = await one.define()
    with pytest.raises(NotFound, match=UNKNOWN):
        await one.engine.pausing.pause(TENANT, UNKNOWN, LONG)
    with pytest.raises(NotFound, match=version.workflow_id):
        await one.engine.pausing.pause(UNKNOWN, version.workflow_id, LONG)
    assert await one.rows("SELECT 1 FROM workflow WHERE paused_at IS NOT NULL") == []


async def test_held_tasks_can_be_cancelled(one: Instance) -> None:
    version = await one.define()
    await pause(one, version)
    cancelled, kept = await one.run_many(2)
    assert await one.engine.control.cancel(TENANT, [cancelled]) == [cancelled]
    assert [task.id for task in one.scheduler.held] == [kept]
    await unpause(one, version)
    worker = await one.worker(completes=True)
    await one.ended(kept, RunStatus.COMPLETED)
    assert [action.task_id for action in worker.starts] == [kept]


async def test_held_tasks_count_as_backlog(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger, "MAX_WAITING", 3)
    await pause(one, await one.define())
    await one.run_many(3)
    with pytest.raises(ResourceExhausted):
        await one.run()


async def test_an_assignment_that_fails_while_the_workflow_is_paused_is_held(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hatchet.engine import assigning

    version = await one.define()
    begun, may_fail = asyncio.Event(), asyncio.Event()

    async def assign(*_: object) -> set[str]:
        begun.set()
        await may_fail.wait()
        raise Unavailable("the connection broke")

    with monkeypatch.context() as patched:
        patched.setattr(assigning, "assign", assign)
        worker = await one.worker(slots=2)
        runs = await one.run_many(2)
        await begun.wait()
        await pause(one, version)
        may_fail.set()
        await until(lambda: len(one.scheduler.held) == 2, "both are held")
    assert one.free(worker) == 2
    await one.watched(3)
    assert worker.starts == []
    await unpause(one, version)
    for run_id in runs:
        await worker.complete(await worker.started(run_id))
        await one.ended(run_id, RunStatus.COMPLETED)


async def test_a_watermark_hides_neither_held_nor_released_tasks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATERMARK_TURNS", 1)
    monkeypatch.setattr(watch, "WATERMARK_SAFETY_SECONDS", 2.0)
    one = await world.engine()
    held = await one.define("held", schedule_timeout="10h")
    released = await one.define("released", schedule_timeout="10h")
    await pause(one, held)
    await pause(one, released)
    runs = [await one.run("released"), await one.run("held")]
    one.clock.skip(100)
    await one.define("idle", schedule_timeout="10h")
    runs.append(await one.run("idle"))
    await unpause(one, released)
    one.clock.skip(100)
    await one.watched(5)
    await one.kill()
    two = await world.engine(skipped=200)
    assert {*(task.id for task in two.scheduler.queues), *(task.id for task in two.scheduler.held)} == set(runs)
    [lease] = await two.rows("SELECT low_watermark FROM lease WHERE name = $1", f"scheduler:{TENANT}")
    assert lease["low_watermark"] is not None


async def test_a_pause_at_the_other_instance_reaches_the_owner(pair: tuple[Instance, Instance]) -> None:
    owner, other = pair
    version = await owner.define()
    waiting = await owner.run()
    await pause(other, version)
    await until(lambda: waiting in owner.scheduler.held, "the owner holds what waits")
    far = await other.worker(completes=True)
    run_id = await other.run()
    await until(lambda: run_id in owner.scheduler.held, "the owner holds what comes")
    assert far.starts == []
    await unpause(other, version)
    await owner.ended(waiting, RunStatus.COMPLETED)
    await owner.ended(run_id, RunStatus.COMPLETED)


async def test_a_pause_whose_news_is_lost_is_found_by_the_poll(
    lost: list[str], pair: tuple[Instance, Instance]
) -> None:
    owner, other = pair
    version = await owner.define()
    waiting = await owner.run()
    await pause(other, version)
    await until(lambda: waiting in owner.scheduler.held, "the owner holds what waits")
    assert len(lost) == 1
    await owner.worker(completes=True)
    await owner.watched(2)
    assert await owner.status(waiting) is RunStatus.QUEUED
    await unpause(other, version)
    await owner.ended(waiting, RunStatus.COMPLETED)
    assert len(lost) == 2


async def test_a_take_over_keeps_holding(pair: tuple[Instance, Instance]) -> None:
    owner, other = pair
    version = await owner.define()
    await pause(owner, version)
    runs = await owner.run_many(10)
    await owner.stop()
    await until(lambda: other.owns, "the other takes over")
    worker = await other.worker(slots=1, completes=True)
    await other.watched(3)
    assert worker.starts == []
    assert {task.id for task in other.scheduler.held} == set(runs)
    await unpause(other, version)
    for run_id in runs:
        await other.ended(run_id, RunStatus.COMPLETED)
    assert [action.task_id for action in worker.starts] == runs
