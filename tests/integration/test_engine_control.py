"""Cancel, release of a slot, refresh of a timeout (behaviour-core C-6.37 to C-6.42, C-11.34 to C-11.41)."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT, Action, Worker, until

from hatchet.core.errors import NotFound
from hatchet.core.messages import ReportKind
from hatchet.core.statuses import RunStatus


async def attempt(one: Instance, *, slots: int = 10, **options: Any) -> tuple[Worker, Action, str]:
    await one.define(**options)
    worker = await one.worker(slots=slots)
    run_id = await one.run()
    return worker, await worker.started(run_id), run_id


async def cancel(one: Instance, *ids: str) -> list[str]:
    return await one.engine.control.cancel(TENANT, ids)


async def test_c_6_39_a_cancel_of_a_running_task_frees_its_slot_and_tells_its_worker(one: Instance) -> None:
    worker, action, run_id = await attempt(one, slots=1, retries=3)
    waiting = await one.run()
    end = one.ends(run_id)
    assert await cancel(one, run_id) == [run_id]
    # C-5.21: the slot is free at once, the worker said nothing.
    await worker.started(waiting)
    cancelled = await worker.cancelled(run_id)
    assert (cancelled.payload, cancelled.retry_count, cancelled.step_id) == ("", 0, action.step_id)
    details = await one.ended(run_id, RunStatus.CANCELLED)
    # C-6.42: no output, no error; on the wire the error is present and empty, which the front door makes of None.
    assert (details.tasks[0].output, details.tasks[0].error) == (None, None)
    told = await end.of(run_id)
    assert (told.results[0].status, told.results[0].error) == (RunStatus.CANCELLED, None)
    names = await one.event_names(run_id)
    assert names[-1] == "CANCELLED"
    assert names.count("QUEUED") == 1


async def test_c_2_38_a_paused_worker_is_told_of_a_cancel(one: Instance) -> None:
    worker, _, run_id = await attempt(one)
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await cancel(one, run_id)
    await worker.cancelled(run_id)


async def test_c_6_38_a_queued_task_is_cancelled_and_never_sent(one: Instance) -> None:
    await one.define()
    run_id, other = await one.run(), await one.run()
    assert await cancel(one, run_id) == [run_id]
    await one.ended(run_id, RunStatus.CANCELLED)
    worker = await one.worker()
    await worker.started(other)
    assert [action.task_id for action in worker.actions] == [other]
    assert await one.event_names(run_id) == ["CREATED", "QUEUED", "CANCELLED"]


async def test_c_6_40_a_task_that_waits_for_its_retry_is_cancelled(one: Instance) -> None:
    worker, action, run_id = await attempt(one, retries=3)
    await worker.fail(action, retry_after_ms=60_000)
    assert await cancel(one, run_id) == [run_id]
    await one.ended(run_id, RunStatus.CANCELLED)
    assert len(one.scheduler.backoff) == 0
    assert worker.cancels == []


async def test_c_6_38_terminal_and_unknown_tasks_are_left_alone(one: Instance) -> None:
    worker, action, run_id = await attempt(one)
    await worker.complete(action)
    assert await cancel(one, run_id, str(uuid.uuid4()), "no id at all") == []
    await one.ended(run_id, RunStatus.COMPLETED)
    assert worker.cancels == []


async def test_c_6_38_a_cancel_may_come_twice_and_name_a_run_twice(one: Instance) -> None:
    worker, _, run_id = await attempt(one)
    answers = await asyncio.gather(cancel(one, run_id, run_id.upper()), cancel(one, run_id))
    assert sum(map(len, answers)) == 1
    await worker.cancelled(run_id)
    assert one.free(worker) == 10


async def test_c_1_12_another_tenants_tasks_cannot_be_cancelled_released_or_refreshed(one: Instance) -> None:
    _, _, run_id = await attempt(one)
    control = one.engine.control
    assert await control.cancel(OTHER_TENANT, [run_id]) == []
    with pytest.raises(NotFound):
        await control.release_slot(OTHER_TENANT, run_id)
    with pytest.raises(NotFound):
        await control.refresh_timeout(OTHER_TENANT, run_id, 5.0)
    assert await one.status(run_id) is RunStatus.RUNNING


async def test_many_runs_are_cancelled_while_they_move(one: Instance) -> None:
    await one.define(retries=1)
    worker = await one.worker(slots=7)
    worker.answers(lambda action: worker.fail(action) if action.retry_count == 0 else worker.complete(action))
    runs = await one.run_many(100)
    cancelled = set(await cancel(one, *runs))
    for run_id in runs:
        await one.ended(run_id, RunStatus.CANCELLED if run_id in cancelled else RunStatus.COMPLETED)
    await until(lambda: one.free(worker) == 7, "every slot is free")
    assert len(one.scheduler.flying) == len(one.scheduler.queues) == len(one.engine.flights) == 0


async def test_c_11_34_a_released_slot_is_free_at_once_and_the_task_goes_on(one: Instance) -> None:
    worker, action, run_id = await attempt(one, slots=1)
    waiting = await one.run()
    await one.engine.control.release_slot(TENANT, run_id)
    second = await worker.started(waiting)
    assert await one.status(run_id) is RunStatus.RUNNING
    # C-11.36: a second release is harmless.
    await one.engine.control.release_slot(TENANT, run_id)
    assert one.free(worker) == 0
    await worker.complete(action)
    await one.ended(run_id, RunStatus.COMPLETED)
    assert one.free(worker) == 0
    await worker.complete(second)
    await one.ended(waiting, RunStatus.COMPLETED)
    assert one.free(worker) == 1
    assert (await one.event_names(run_id)).count("SLOT_RELEASED") == 1


async def test_c_11_34_only_a_running_task_has_a_slot_to_release(one: Instance) -> None:
    worker, action, run_id = await attempt(one)
    await worker.complete(action)
    for task_id in (run_id, str(uuid.uuid4()), "no id"):
        with pytest.raises(NotFound):
            await one.engine.control.release_slot(TENANT, task_id)


async def test_c_11_35_a_released_task_still_times_out_and_is_cancelled_at_its_worker(one: Instance) -> None:
    worker, _, run_id = await attempt(one, execution_timeout="60s")
    other = await one.run()
    await worker.started(other)
    await one.engine.control.release_slot(TENANT, run_id)
    await one.engine.control.release_slot(TENANT, other)
    await cancel(one, other)
    await worker.cancelled(other)
    one.clock.skip(61)
    await worker.beat()
    await one.ended(run_id, RunStatus.FAILED)
    await worker.cancelled(run_id)
    assert one.free(worker) == 10


async def test_c_2_30_a_released_task_is_not_reassigned(one: Instance) -> None:
    worker, action, run_id = await attempt(one, execution_timeout="1h")
    held = await one.run()
    await worker.started(held)
    await one.engine.control.release_slot(TENANT, run_id)
    await one.lose(worker)
    other = await one.worker()
    await other.started(held, 1)
    assert await one.status(run_id) is RunStatus.RUNNING
    # C-11.35: its completion is accepted.
    await other.say(action, ReportKind.COMPLETED, "{}")
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_11_38_and_c_11_40_a_refresh_adds_to_the_deadline(one: Instance) -> None:
    worker, action, run_id = await attempt(one, execution_timeout="4s")
    flight = one.scheduler.flying[run_id]
    deadline = flight.timeout_at
    first = await one.engine.control.refresh_timeout(TENANT, run_id, 10.0)
    second = await one.engine.control.refresh_timeout(TENANT, run_id, 5.0)
    assert (round(first - deadline, 3), round(second - deadline, 3)) == (10.0, 15.0)
    one.clock.skip(5)
    await worker.beat()
    await one.watched()
    await worker.complete(action)
    await one.ended(run_id, RunStatus.COMPLETED)
    assert (await one.event_names(run_id)).count("TIMEOUT_REFRESHED") == 2


async def test_c_11_39_only_a_running_task_has_a_deadline(one: Instance) -> None:
    await one.define()
    queued = await one.run()
    for task_id in (queued, str(uuid.uuid4()), "no id"):
        with pytest.raises(NotFound):
            await one.engine.control.refresh_timeout(TENANT, task_id, 1.0)


async def test_c_11_41_the_next_attempt_has_the_declared_timeout_again(one: Instance) -> None:
    worker, action, run_id = await attempt(one, execution_timeout="60s", retries=1)
    await one.engine.control.refresh_timeout(TENANT, run_id, 1000.0)
    await worker.fail(action)
    await worker.started(run_id, 1)
    flight = one.scheduler.flying[run_id]
    assert round(flight.timeout_at - flight.assigned_at) == 60
    one.clock.skip(61)
    await worker.beat()
    await one.ended(run_id, RunStatus.FAILED)
