"""The life of a worker: listening, heartbeats, loss, pause (behaviour-core C-2.12 to C-2.45)."""

from __future__ import annotations

import uuid

import pytest
from engine_fixture import OTHER_TENANT, Instance, World
from engine_worker import TENANT, Worker, until

from hatchet.core.errors import FailedPrecondition, NotFound, ResourceExhausted
from hatchet.core.messages import WorkerRegistration
from hatchet.core.statuses import RunStatus
from hatchet.engine import watch


async def test_c_2_5_each_registration_is_a_new_worker(one: Instance) -> None:
    registration = WorkerRegistration(name="same", actions=("flow:run",), slots={"default": 1})
    ids = [await one.engine.workers.register(TENANT, registration) for _ in range(2)]
    assert ids[0] != ids[1]


async def test_c_2_12_a_worker_without_a_stream_gets_nothing(one: Instance) -> None:
    await one.define()
    worker = await one.worker(is_open=False)
    await worker.beat()
    run_id = await one.run()
    await one.watched()
    assert await one.status(run_id) is RunStatus.QUEUED
    # C-2.44: opening the stream is enough.
    await worker.open()
    await worker.started(run_id)


async def test_c_2_13_an_unknown_or_foreign_worker_cannot_listen_or_beat(one: Instance) -> None:
    worker = await one.worker(is_open=False)

    async def send(_: object) -> None:
        raise AssertionError("nothing is sent")

    for tenant_id, worker_id in [(TENANT, str(uuid.uuid4())), (OTHER_TENANT, worker.id)]:
        with pytest.raises(NotFound):
            await one.engine.dispatch.listen(tenant_id, worker_id, send)
        with pytest.raises(NotFound):
            await one.engine.workers.heartbeat(tenant_id, worker_id)


async def test_c_2_14_the_newest_stream_gets_the_work_and_each_action_comes_once(one: Instance) -> None:
    await one.define()
    old = await one.worker()
    new = await Worker(one, old.id).open()
    runs = await one.run_many(5)
    for run_id in runs:
        await new.started(run_id)
    assert old.actions == []
    # C-2.15: the newer one ends, the older one still works.
    await new.close_stream()
    later = await one.run()
    await old.started(later)
    assert len(new.starts) == 5
    await old.beat()


async def test_c_2_15_the_old_stream_ends_and_the_new_one_goes_on(one: Instance) -> None:
    await one.define()
    old = await one.worker()
    new = await Worker(one, old.id).open()
    await old.close_stream()
    await until(lambda: one.engine.workers.get(old.id).sessions == 1, "the old stream is gone")  # type: ignore[union-attr]
    await new.started(await one.run())
    await new.beat()


async def test_c_2_18_a_lost_stream_alone_neither_fails_nor_moves_a_running_task(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    action = await worker.started(run_id)
    await worker.close_stream()
    await one.watched()
    assert await one.status(run_id) is RunStatus.RUNNING
    # C-2.17: the stream may be opened again at any time.
    await worker.open()
    await worker.complete(action)
    assert "REASSIGNED" not in await one.event_names(run_id)


async def test_c_2_17_a_worker_may_come_back_after_its_heartbeats_lapsed(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    await one.lose(worker)
    await until(lambda: one.scheduler.pool.get(worker.id) is None, "the worker is lost")
    run_id = await one.run()
    await worker.open()
    await worker.started(run_id)


async def test_c_2_19_an_action_that_was_not_taken_goes_to_the_other_stream(one: Instance) -> None:
    await one.define()
    old = await one.worker()
    new = await Worker(one, old.id).open()
    new.send_error = ConnectionError("gone")
    run_id = await one.run()
    await old.started(run_id)
    assert "COULD_NOT_SEND_TO_WORKER" not in await one.event_names(run_id)


async def test_c_2_35_a_stream_that_breaks_while_sending_is_a_failed_hand_over(one: Instance) -> None:
    await one.define()
    worker = await one.worker(slots=2)
    worker.send_error = ConnectionError("gone")
    runs = await one.run_many(2)
    await until(lambda: one.scheduler.waiting(runs[1]), "the tasks wait again")
    other = await one.worker()
    for run_id in runs:
        action = await other.started(run_id, 1)
        await other.complete(action)
        names = await one.event_names(run_id)
        assert names[4:6] == ["COULD_NOT_SEND_TO_WORKER", "QUEUED"]
    assert one.free(worker) == 2


async def test_c_2_35_a_payload_that_the_transport_refuses_fails_alone(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    worker.send_error = ResourceExhausted("the message is larger than 4 MB")
    run_id = await one.run()
    await until(lambda: one.scheduler.backoff.get(run_id), "the task waits again")
    worker.send_error = None
    await worker.started(run_id, 1)
    assert "COULD_NOT_SEND_TO_WORKER" in await one.event_names(run_id)
    other = await one.run()
    await worker.started(other)


async def test_c_2_35_after_the_limit_the_task_fails_with_the_cause(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hatchet.core import transitions

    monkeypatch.setattr(transitions, "HAND_OVER_DELAYS", (0.0,))
    await one.define()
    worker = await one.worker()
    worker.send_error = ResourceExhausted("the message is larger than 4 MB")
    details = await one.ended(await one.run(), RunStatus.FAILED)
    assert "larger than 4 MB" in str(details.tasks[0].error)
    names = await one.event_names(details.run_id)
    assert names.count("COULD_NOT_SEND_TO_WORKER") == 11


async def test_c_2_22_a_heartbeat_without_the_stream_says_so_and_never_with_one(one: Instance) -> None:
    worker = await one.worker()
    await worker.beat()
    await worker.close_stream()
    await until(lambda: one.engine.workers.get(worker.id).sessions == 0, "the stream is gone")  # type: ignore[union-attr]
    with pytest.raises(FailedPrecondition, match="not active"):
        await worker.beat()
    await worker.open()
    await worker.beat()


async def test_c_2_22_a_worker_that_never_listened_may_beat(one: Instance) -> None:
    worker = await one.worker(is_open=False)
    await worker.beat()


async def test_c_2_24_a_stale_heartbeat_stops_new_work_and_a_fresh_one_resumes_it(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    await worker.fall_silent()
    one.clock.skip(6)
    await one.watched()
    run_id = await one.run()
    await one.watched()
    assert await one.status(run_id) is RunStatus.QUEUED
    await worker.beat()
    await worker.started(run_id)


async def test_c_2_25_and_c_2_28_a_lost_workers_tasks_go_to_another(one: Instance) -> None:
    await one.define(retries=1)
    worker = await one.worker()
    run_id = await one.run(priority=3)
    first = await worker.started(run_id)
    await one.lose(worker)
    other = await one.worker()
    second = await other.started(run_id, 1)
    assert second.priority == 3
    assert worker.cancels == []
    # C-2.31: what the lost worker says later is ignored.
    await other.complete(first, '{"from":"lost"}')
    await other.fail(second)
    # The user's budget is untouched: the failure still has its retry.
    third = await other.started(run_id, 2)
    await other.complete(third, '{"from":"other"}')
    assert (await one.ended(run_id, RunStatus.COMPLETED)).tasks[0].output == '{"from":"other"}'
    names = await one.event_names(run_id)
    assert names[4:6] == ["REASSIGNED", "QUEUED"]
    assert (names.count("REASSIGNED"), names.count("RETRYING"), names.count("FAILED")) == (1, 1, 1)


async def test_c_2_33_a_task_without_retries_is_reassigned_at_once(one: Instance) -> None:
    await one.define(retries=0, backoff_factor=100.0)
    worker = await one.worker()
    run_id = await one.run()
    await worker.started(run_id)
    await one.lose(worker)
    other = await one.worker()
    await other.complete(await other.started(run_id, 1))
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_2_29_too_many_reassignments_fail_the_task(world: World) -> None:
    one = await world.engine(settings={"SERVER_MAX_INTERNAL_RETRY_COUNT": "1"})
    await one.define(retries=5)
    run_id = await one.run()
    for attempt in range(2):
        worker = await one.worker()
        await worker.started(run_id, attempt)
        await one.lose(worker)
    details = await one.ended(run_id, RunStatus.FAILED)
    assert "lost" in str(details.tasks[0].error)
    assert (await one.event_names(run_id)).count("REASSIGNED") == 2


async def test_c_2_27_a_draining_worker_keeps_its_task(one: Instance) -> None:
    await one.define()
    worker = await one.worker(slots=1)
    idle = await one.worker()
    run_id = await one.run()
    await until(lambda: worker.starts or idle.starts, "one has it")
    busy = worker if worker.starts else idle
    action = await busy.started(run_id)
    await one.engine.workers.set_paused(TENANT, busy.id, True)
    one.clock.skip(31)
    await worker.beat()
    await idle.beat()
    await one.watched()
    await busy.complete(action)
    await one.ended(run_id, RunStatus.COMPLETED)
    assert len(worker.starts) + len(idle.starts) == 1


async def test_c_2_36_unsubscribe_ends_the_stream_and_leaves_running_tasks(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    action = await worker.started(run_id)
    await one.engine.workers.unsubscribe(TENANT, worker.id)
    await worker.stream_ended()
    waiting = await one.run()
    await one.watched()
    assert await one.status(waiting) is RunStatus.QUEUED
    assert await one.status(run_id) is RunStatus.RUNNING
    await worker.complete(action)
    await one.ended(run_id, RunStatus.COMPLETED)
    with pytest.raises(NotFound):
        await one.engine.workers.unsubscribe(OTHER_TENANT, worker.id)


async def test_c_2_38_a_paused_worker_keeps_its_tasks_and_gets_no_new_ones(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    action = await worker.started(run_id)
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    waiting = await one.run()
    await one.watched()
    assert await one.status(waiting) is RunStatus.QUEUED
    await worker.complete(action)
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.engine.workers.set_paused(TENANT, worker.id, False)
    await worker.started(waiting)


async def test_c_2_40_labels_are_merged_by_key(one: Instance) -> None:
    worker = await one.worker()
    await one.engine.workers.upsert_labels(TENANT, worker.id, {"a": "x", "n": 1})
    await one.engine.workers.upsert_labels(TENANT, worker.id, {"n": 2})
    record = one.engine.workers.get(worker.id)
    assert record is not None
    assert record.row.labels == {"a": "x", "n": 2}


async def test_a_hand_over_that_was_never_confirmed_is_repaired(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "CONFIRM_SECONDS", 0.2)
    await one.define()
    worker = await one.worker()
    lost, kept = await one.run(), await one.run()
    await worker.started(lost)
    confirmed = await worker.started(kept)
    from hatchet.core.messages import ReportKind

    await worker.say(confirmed, ReportKind.STARTED)
    # The connection breaks; the worker says it never got the first one.
    await worker.close_stream()
    await worker.open()
    again = await worker.started(lost, 1)
    await worker.complete(again)
    await one.watched()
    assert await one.status(kept) is RunStatus.RUNNING
    assert (await one.event_names(lost))[4] == "COULD_NOT_SEND_TO_WORKER"


async def test_a_stream_that_ends_while_the_database_is_away_is_not_taken_for_open(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hatchet.core.errors import Unavailable
    from hatchet.store import workers as rows

    async def away(*_: object) -> None:
        raise Unavailable("away")

    await one.define()
    worker = await one.worker(slots=1)
    worker.takes.clear()
    run_id = await one.run()
    await until(lambda: run_id in one.scheduler.flying, "the task is on its way")
    monkeypatch.setattr(rows, "close_session", away)
    monkeypatch.setattr(one.engine.endings, "end", away)
    await worker.close_stream()
    await one.engine.dispatch.settle()
    record = one.engine.workers.get(worker.id)
    assert record is not None
    assert record.sessions == 0
    assert not one.engine.workers.is_assignable(record)


async def test_heartbeats_are_flushed_together_and_not_lost_when_a_flush_fails(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hatchet.core.errors import Unavailable
    from hatchet.store import workers as rows

    workers = [await one.worker() for _ in range(3)]
    for worker in workers:
        await worker.fall_silent()
    one.clock.skip(100)
    for worker in workers:
        await worker.beat()
    real, calls = rows.write_heartbeats, []

    async def flaky(database: object, seen: list[object]) -> None:
        calls.append(len(seen))
        if len(calls) == 1:
            raise Unavailable("away")
        await real(database, seen)  # type: ignore[arg-type]

    monkeypatch.setattr(rows, "write_heartbeats", flaky)
    with pytest.raises(Unavailable):
        await one.engine.workers.turn()
    await one.engine.workers.turn()
    assert calls == [3, 3]
    seen = await one.rows("SELECT count(DISTINCT last_heartbeat_at) AS n FROM worker WHERE last_heartbeat_at > now()")
    assert seen[0]["n"] >= 1
