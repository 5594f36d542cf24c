"""Retries, back-off and timeouts (behaviour-core C-6.20 to C-6.34)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engine_fixture import Instance
from engine_worker import TENANT, Action, Worker, until

from hatchet.core.messages import ReportKind
from hatchet.core.statuses import RunStatus


async def attempt(one: Instance, **options: Any) -> tuple[Worker, Action, str]:
    await one.define(**options)
    worker = await one.worker()
    run_id = await one.run(input='{"n":1}', additional_metadata='{"k":"v"}')
    return worker, await worker.started(run_id), run_id


async def test_c_6_20_retries_are_additional_attempts_and_the_last_error_counts(one: Instance) -> None:
    worker, action, run_id = await attempt(one, retries=2)
    payload = action.payload
    for number in range(3):
        action = await worker.started(run_id, number)
        # C-6.24: a retry keeps id, input and metadata.
        assert (action.payload, json.loads(action.additional_metadata)) == (payload, {"k": "v"})
        await worker.fail(action, f"error {number}")
    details = await one.ended(run_id, RunStatus.FAILED)
    assert details.tasks[0].error == "error 2"
    events = await one.history(run_id)
    failed = [(event.message, event.retry_count) for event in events if event.type.value == "FAILED"]
    assert failed == [("error 0", 0), ("error 1", 1), ("error 2", 2)]
    assert [event.type.value for event in events].count("RETRYING") == 2
    assert len(worker.starts) == 3


async def test_c_5_34_t_two_failing_tasks_one_of_them_not_retryable(one: Instance) -> None:
    await one.define("plain", retries=1)
    await one.define("fatal", retries=1)
    worker = await one.worker("plain", "fatal")
    worker.answers(lambda action: worker.fail(action, should_not_retry=action.readable_id == "fatal"))
    runs = [await one.run("plain"), await one.run("fatal")]
    names = []
    for run_id in runs:
        await one.ended(run_id, RunStatus.FAILED)
        names += await one.event_names(run_id)
    assert (names.count("RETRYING"), names.count("FAILED")) == (1, 3)


async def test_c_6_22_and_c_6_23_a_delayed_retry_is_queued_and_holds_no_slot(one: Instance) -> None:
    worker, action, run_id = await attempt(one, retries=2, backoff_factor=2.0, backoff_max_seconds=10)
    before = one.clock.now()
    await worker.fail(action)
    assert await one.status(run_id) is RunStatus.QUEUED
    assert one.free(worker) == 10
    assert (await one.event_names(run_id))[-3:] == ["FAILED", "RETRYING", "QUEUED"]
    waiting = one.scheduler.backoff.get(run_id)
    assert waiting is not None
    assert 2.0 <= waiting.ready_at - before < 5.0
    second = await worker.started(run_id, 1)
    assert one.clock.now() - before >= 2.0
    await worker.fail(second)
    third = one.scheduler.backoff.get(run_id)
    assert third is not None
    assert third.ready_at - one.clock.now() + 1.0 >= 4.0


@pytest.mark.parametrize("after_ms", [0, 50])
async def test_c_6_27_and_c_5_51_retry_after_replaces_the_back_off(one: Instance, after_ms: int) -> None:
    worker, action, run_id = await attempt(one, retries=1, backoff_factor=1000.0)
    before = one.clock.now()
    await worker.fail(action, retry_after_ms=after_ms)
    second = await worker.started(run_id, 1)
    assert one.clock.now() - before >= after_ms / 1000
    # It consumed the only retry.
    await worker.fail(second, "last", retry_after_ms=after_ms)
    assert (await one.ended(run_id, RunStatus.FAILED)).tasks[0].error == "last"


async def test_c_6_30_an_execution_timeout_fails_the_attempt_and_tells_the_worker(one: Instance) -> None:
    worker, action, run_id = await attempt(one, execution_timeout="0.2s")
    await worker.say(action, ReportKind.STARTED)
    details = await one.ended(run_id, RunStatus.FAILED)
    assert details.tasks[0].error == "Task exceeded timeout of 0.2s"
    cancel = await worker.cancelled(run_id)
    # C-5.2, C-5.18: the same identifying fields, no payload.
    same = ("run_id", "task_id", "step_id", "readable_id", "action", "workflow_id", "version_id", "retry_count")
    assert [getattr(cancel, name) for name in same] == [getattr(action, name) for name in same]
    assert cancel.payload == ""
    assert (await one.event_names(run_id))[-2:] == ["STARTED", "TIMED_OUT"]
    assert one.free(worker) == 10


async def test_c_5_45_t_a_timed_out_attempt_is_retried_and_its_late_report_is_ignored(one: Instance) -> None:
    worker, first, run_id = await attempt(one, execution_timeout="0.2s", retries=1)
    second = await worker.started(run_id, 1)
    await worker.complete(first, '{"n":1}')
    await worker.complete(second, '{"n":2}')
    assert (await one.ended(run_id, RunStatus.COMPLETED)).tasks[0].output == '{"n":2}'
    names = await one.event_names(run_id)
    assert names[names.index("TIMED_OUT") :][:3] == ["TIMED_OUT", "RETRYING", "QUEUED"]


async def test_c_6_30_an_execution_timeout_applies_the_back_off(one: Instance) -> None:
    worker, _, run_id = await attempt(one, execution_timeout="0.1s", retries=1, backoff_factor=1000.0)
    await worker.cancelled(run_id)
    waiting = await until(lambda: one.scheduler.backoff.get(run_id), "the retry waits")
    assert waiting.ready_at - one.clock.now() > 900


async def test_c_6_33_a_schedule_timeout_is_cancelled_and_never_retried(one: Instance) -> None:
    await one.define(schedule_timeout="0.1s", retries=3)
    run_id = await one.run()
    end = one.ends(run_id)
    details = await one.ended(run_id, RunStatus.CANCELLED)
    assert (details.tasks[0].error, details.tasks[0].output) == (None, None)
    assert (await end.of(run_id)).results[0].status is RunStatus.CANCELLED
    assert await one.event_names(run_id) == ["CREATED", "QUEUED", "SCHEDULING_TIMED_OUT"]
    worker = await one.worker()
    other = await one.run()
    await worker.started(other)
    assert [action.task_id for action in worker.starts] == [other]
    assert worker.cancels == []


async def test_c_6_33_a_running_task_has_no_schedule_timeout(one: Instance) -> None:
    worker, action, run_id = await attempt(one, schedule_timeout="10s", execution_timeout="1h")
    one.clock.skip(11)
    await worker.beat()
    await one.watched()
    await worker.complete(action)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_6_24_a_retry_has_a_fresh_schedule_timeout(one: Instance) -> None:
    worker, action, run_id = await attempt(one, schedule_timeout="60s", execution_timeout="1h", retries=1)
    one.clock.skip(50)
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await worker.fail(action)
    queued = await until(lambda: one.scheduler.queues.get(run_id), "the retry waits")
    assert one.clock.now() - queued.ready_at < 10
    one.clock.skip(50)
    assert one.scheduler.queues.deadlines.expired(one.clock.now()) == []
    one.clock.skip(15)
    await one.ended(run_id, RunStatus.CANCELLED)


async def test_c_6_34_the_back_off_does_not_count_for_the_schedule_timeout(one: Instance) -> None:
    worker, action, run_id = await attempt(one, schedule_timeout="0.1s", retries=1)
    await worker.fail(action, retry_after_ms=500)
    second = await worker.started(run_id, 1)
    await worker.complete(second)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_more_than_a_batch_of_tasks_expires_at_once(one: Instance) -> None:
    await one.define(schedule_timeout="60s")
    runs = await one.run_many(1500)
    one.clock.skip(61)
    await until(lambda: len(one.scheduler.queues) == 0, "all are cancelled")
    ends = one.ends(*runs)
    for run_id in runs:
        assert (await ends.of(run_id)).results[0].status is RunStatus.CANCELLED
