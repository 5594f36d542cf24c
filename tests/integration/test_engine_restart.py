"""Nothing acknowledged is lost when an engine or the database goes (design sections 4.1, 4.3, 4.6)."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from engine_fixture import Instance, World
from engine_worker import TENANT, Action, until

from hatchet.core.errors import HatchetError, Unavailable
from hatchet.core.messages import ReportKind
from hatchet.core.statuses import RunStatus
from hatchet.engine import leases, watch


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead engine's lease ends after a moment instead of 6 s."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)


async def test_waiting_running_retrying_and_released_tasks_survive_a_killed_engine(world: World) -> None:
    one = await world.engine()
    await one.define(retries=3, execution_timeout="1h")
    worker = await one.worker(slots=3)
    running, released, retrying = [await one.run(input=f"[{number}]") for number in range(3)]
    await worker.started(running)
    await worker.started(released)
    await one.engine.control.release_slot(TENANT, released)
    deadline = await one.engine.control.refresh_timeout(TENANT, running, 500.0)
    await worker.fail(await worker.started(retrying), retry_after_ms=3_600_000)
    await one.define("other", schedule_timeout="1h")
    waiting = [await one.run("other", priority=priority) for priority in (1, 3, 2)]
    cancelled = await one.run("other")
    await one.engine.control.cancel(TENANT, [cancelled])
    await worker.fall_silent()
    await one.kill()

    two = await world.engine()
    scheduler = two.scheduler
    assert set(scheduler.flying) == {running, released}
    assert scheduler.flying[released].is_released
    assert not scheduler.flying[running].is_released
    assert abs(scheduler.flying[running].timeout_at - deadline) < 0.001
    [retry] = list(scheduler.backoff)
    assert (retry.id, retry.attempt, retry.app_retries) == (retrying, 1, 1)
    assert retry.ready_at - two.clock.now() > 3500
    assert len(scheduler.queues) == 3
    assert cancelled not in scheduler.queues
    # The worker comes back with what it runs, and gets what waited, in order.
    await worker.open(two)
    assert two.free(worker) == 2
    first = worker.starts[0]
    await worker.complete(first, '{"n":1}')
    assert (await two.ended(running, RunStatus.COMPLETED)).tasks[0].output == '{"n":1}'
    assert two.free(worker) == 3
    helper = await two.worker("other", slots=1, completes=True)
    for run_id in waiting:
        await two.ended(run_id, RunStatus.COMPLETED)
    assert [action.task_id for action in helper.starts] == [waiting[1], waiting[2], waiting[0]]


async def test_c_6_33_schedule_timeouts_pass_on_time_after_a_take_over(world: World) -> None:
    one = await world.engine()
    await one.define(schedule_timeout="60s", retries=1)
    worker = await one.worker(slots=1)
    retried = await one.run()
    action = await worker.started(retried)
    old = await one.run()
    await worker.fall_silent()
    one.clock.skip(50)
    # The retry is queued 50 s later than the task behind it.
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await worker.fail(action)
    await one.kill()

    two = await world.engine(skipped=52)
    two.clock.skip(10)
    await two.ended(old, RunStatus.CANCELLED)
    assert await two.status(retried) is RunStatus.QUEUED
    two.clock.skip(50)
    await two.ended(retried, RunStatus.CANCELLED)


async def test_c_6_30_an_execution_timeout_survives_a_killed_engine(world: World) -> None:
    one = await world.engine()
    await one.define(execution_timeout="60s")
    worker = await one.worker()
    run_id = await one.run()
    await worker.started(run_id)
    await worker.fall_silent()
    await one.kill()
    two = await world.engine()
    await worker.open(two)
    two.clock.skip(61)
    await worker.beat()
    details = await two.ended(run_id, RunStatus.FAILED)
    assert details.tasks[0].error == "Task exceeded timeout of 60s"
    await worker.cancelled(run_id)


async def test_c_2_25_a_worker_that_died_with_its_engine_is_found_lost(world: World) -> None:
    one = await world.engine()
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    await worker.started(run_id)
    await worker.fall_silent()
    await one.kill()
    two = await world.engine()
    await two.lose(worker)
    other = await two.worker()
    await other.complete(await other.started(run_id, 1))
    await two.ended(run_id, RunStatus.COMPLETED)


async def test_an_attempt_that_was_assigned_but_never_sent_is_repaired_after_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "CONFIRM_SECONDS", 0.2)
    one = await world.engine()
    await one.define()
    worker = await one.worker()
    worker.takes.clear()
    run_id = await one.run()
    await until(lambda: run_id in one.scheduler.flying, "the attempt is assigned")
    await worker.fall_silent()
    await one.kill()
    worker.actions.clear()
    two = await world.engine()
    worker.takes.set()
    worker.actions.clear()
    await worker.open(two)
    await worker.complete(await worker.started(run_id, 1))
    await two.ended(run_id, RunStatus.COMPLETED)


async def test_an_orderly_stop_hands_over_at_once_and_loses_nothing(world: World) -> None:
    one = await world.engine()
    await one.define()
    runs = await one.run_many(50)
    await one.stop()
    two = await world.engine()
    await two.worker(slots=50, completes=True)
    for run_id in runs:
        await two.ended(run_id, RunStatus.COMPLETED)
    [lease] = await two.rows("SELECT epoch, holder FROM lease WHERE name = $1", f"scheduler:{TENANT}")
    assert (lease["epoch"], str(lease["holder"])) == (2, two.engine.instance_id)


async def test_a_watermark_never_hides_an_open_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATERMARK_TURNS", 1)
    monkeypatch.setattr(watch, "WATERMARK_SAFETY_SECONDS", 2.0)
    one = await world.engine()
    await one.define(retries=1, execution_timeout="10h")
    await one.define("idle", schedule_timeout="10h")
    worker = await one.worker()
    retrying, running = await one.run(), await one.run()
    await worker.fail(await worker.started(retrying), retry_after_ms=3_600_000)
    await worker.started(running)
    waiting = await one.run("idle")
    done = await one.run()
    await worker.complete(await worker.started(done))
    one.clock.skip(10)
    await worker.beat()
    await one.watched(5)
    await worker.fall_silent()
    await one.kill()
    two = await world.engine()
    assert {retrying, running, waiting} == {
        *two.scheduler.flying,
        *(task.id for task in two.scheduler.backoff),
        *two.scheduler.queues._by_id,
    }
    [lease] = await two.rows("SELECT low_watermark FROM lease WHERE name = $1", f"scheduler:{TENANT}")
    assert lease["low_watermark"] is not None
    assert str(lease["low_watermark"]) <= retrying


async def test_a_run_that_was_written_without_an_answer_is_not_stuck(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit happened, its answer was lost: the caller tries again, but the first run must end as well."""
    from hatchet.engine import trigger

    real, failures = trigger.accept, iter([Unavailable("the connection broke")])

    async def append(*args: object, **named: object) -> object:
        held = await real(*args, **named)  # type: ignore[arg-type]
        for failure in failures:
            raise failure
        return held

    monkeypatch.setattr(trigger, "accept", append)
    await one.define()
    with pytest.raises(Unavailable):
        await one.run()
    [row] = await one.rows("SELECT id FROM task")
    await one.worker(completes=True)
    await one.ended(str(row["id"]), RunStatus.COMPLETED)


async def test_an_assignment_that_was_written_without_an_answer_is_repaired(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hatchet.engine import assigning

    monkeypatch.setattr(watch, "CONFIRM_SECONDS", 0.2)
    real, failures = assigning.assign, iter([Unavailable("the connection broke")])

    async def assign(*args: object) -> object:
        written = await real(*args)  # type: ignore[arg-type]
        for failure in failures:
            raise failure
        return written

    monkeypatch.setattr(assigning, "assign", assign)
    await one.define()
    worker = await one.worker(completes=True)
    run_id = await one.run()
    await one.ended(run_id, RunStatus.COMPLETED)
    assert one.free(worker) == 10


async def test_news_of_tasks_is_not_forgotten_while_the_database_is_away(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hatchet.engine import rebuild

    real, failures = rebuild.task_states, iter([Unavailable("away"), Unavailable("away")])

    async def task_states(*args: object) -> object:
        for failure in failures:
            raise failure
        return await real(*args)  # type: ignore[arg-type]

    await one.define(execution_timeout="1h")
    worker = await one.worker()
    run_id = await one.run()
    await worker.started(run_id)
    await one.rows(
        "INSERT INTO task_result (tenant_id, task_id, attempt, outcome, finished_at, app_retries, internal_retries) "
        "VALUES ($1::uuid, $2::uuid, 0, 'CANCELLED', to_timestamp(0), 0, 0)",
        TENANT,
        run_id,
    )
    monkeypatch.setattr(rebuild, "task_states", task_states)
    one.scheduler.touched([run_id])
    await until(lambda: one.free(worker) == 10, "the slot is free")


async def test_connections_that_break_lose_nothing(world: World) -> None:
    one = await world.engine()
    await one.define(retries=2)
    worker = await one.worker(slots=10)
    effects: dict[str, int] = {}

    async def answer(action: Action) -> None:
        output = f'{{"attempt":{action.retry_count}}}'
        while True:
            try:
                await worker.say(action, ReportKind.COMPLETED, output)
                break
            except HatchetError:
                await asyncio.sleep(0.01)
        effects[action.task_id] = effects.get(action.task_id, 0) + 1

    worker.answers(answer)
    accepted: list[str] = []

    async def produce() -> None:
        while len(accepted) < 300:
            try:
                accepted.extend(await one.run_many(5))
            except HatchetError:
                await asyncio.sleep(0.01)

    async def cut() -> None:
        for _ in range(5):
            seen = len(effects)
            await until(lambda: len(effects) > seen + 20 or len(accepted) >= 300, "work goes on")  # noqa: B023
            connection = await asyncpg.connect(world.dsn)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await connection.close()

    await asyncio.gather(produce(), cut())
    ends = one.ends(*accepted)
    for run_id in accepted:
        assert (await ends.of(run_id)).results[0].status is RunStatus.COMPLETED
    # Every row that was written has ended: acknowledged or not, nothing hangs.
    open_tasks = (
        "SELECT count(*) AS n FROM task WHERE NOT EXISTS ("
        "SELECT 1 FROM task_result AS r WHERE r.task_id = task.id AND r.retry_at IS NULL)"
    )

    async def none_open() -> bool:
        return (await one.rows(open_tasks))[0]["n"] == 0

    await until(none_open, "every task ends")
    await until(lambda: one.free(worker) == 10, "every slot is free")
