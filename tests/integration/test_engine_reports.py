"""What workers say about their attempts (behaviour-core C-5.23 to C-5.46) and what the engine makes of it."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import Action, Worker

from hatchet.core.errors import InvalidArgument
from hatchet.core.messages import ReportKind, TaskReport
from hatchet.core.statuses import RunStatus
from hatchet.engine.report import NULL_IN_ERROR


async def attempt(one: Instance, **options: Any) -> tuple[Worker, Action, str]:
    """A task that a worker has got and not answered."""
    await one.define(**options)
    worker = await one.worker()
    run_id = await one.run(input='{"a": [1]}', additional_metadata='{"k": "v"}', priority=2)
    return worker, await worker.started(run_id), run_id


async def test_c_5_1_the_action_tells_everything_about_the_attempt(one: Instance) -> None:
    _, action, run_id = await attempt(one)
    version = (await one.engine.registration.latest(action.tenant_id, ["flow"]))["flow"]
    assert (action.run_id, action.task_id) == (run_id, run_id)
    assert (action.step_id, action.readable_id, action.action) == (version.tasks[0].id, "flow", "flow:run")
    assert (action.workflow_id, action.version_id) == (version.workflow_id, version.id)
    assert (action.retry_count, action.priority) == (0, 2)
    assert json.loads(action.additional_metadata) == {"k": "v"}


async def test_c_5_5_the_payload_has_the_keys_that_clients_need(one: Instance) -> None:
    _, action, _ = await attempt(one)
    payload = json.loads(action.payload)
    assert payload == {
        "input": {"a": [1]},
        "parents": {},
        "triggers": {},
        "triggered_by": "manual",
        "user_data": None,
        "overrides": None,
    }


async def test_c_5_25_an_unknown_task_is_an_invalid_argument(one: Instance) -> None:
    await attempt(one)
    unknown = TaskReport(task_id=str(uuid.uuid4()), kind=ReportKind.COMPLETED, payload="", retry_count=0, at=0.0)
    with pytest.raises(InvalidArgument, match="unknown task"):
        await one.engine.reports.report(OTHER_TENANT, unknown)


async def test_c_1_12_another_tenants_task_is_unknown(one: Instance) -> None:
    worker, action, run_id = await attempt(one)
    foreign = TaskReport(task_id=run_id, kind=ReportKind.COMPLETED, payload="{}", retry_count=0, at=0.0)
    with pytest.raises(InvalidArgument, match="unknown task"):
        await one.engine.reports.report(OTHER_TENANT, foreign)
    assert await one.status(run_id) is RunStatus.RUNNING
    await worker.complete(action)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_5_25_a_missing_retry_count_means_the_current_attempt(one: Instance) -> None:
    worker, action, run_id = await attempt(one, retries=1)
    await worker.say(action, ReportKind.FAILED, "boom", retry_count=None)
    second = await worker.started(run_id, 1)
    await worker.say(second, ReportKind.COMPLETED, '{"n":2}', retry_count=None)
    assert (await one.ended(run_id, RunStatus.COMPLETED)).tasks[0].output == '{"n":2}'


async def test_c_5_26_started_twice_is_once_and_c_5_27_sets_the_start(one: Instance) -> None:
    worker, action, run_id = await attempt(one)
    assert await one.status(run_id) is RunStatus.RUNNING
    began = one.clock.now()
    await worker.say(action, ReportKind.STARTED, at=began)
    await worker.say(action, ReportKind.STARTED, at=began + 100)
    await worker.complete(action)
    [started] = [event for event in await one.history(run_id) if event.type.value == "STARTED"]
    assert abs(started.at - began) < 0.01


async def test_c_5_28_acknowledged_changes_nothing(one: Instance) -> None:
    worker, action, run_id = await attempt(one)
    before = await one.event_names(run_id)
    await worker.say(action, ReportKind.ACKNOWLEDGED)
    assert await one.event_names(run_id) == before
    assert await one.status(run_id) is RunStatus.RUNNING


async def test_c_5_29_any_json_is_an_output_and_is_kept_as_it_is(one: Instance) -> None:
    outputs = ["", "null", '"text"', "[1,2]", "3.5", '{"lone":"\\ud800"}', '{"u":"\\\\u0000"}', "1" + "0" * 400]
    worker, action, run_id = await attempt(one)
    for output in outputs:
        end = one.ends(run_id)
        await worker.complete(action, output)
        details = await one.ended(run_id, RunStatus.COMPLETED)
        assert details.tasks[0].output == (output or None)
        assert (await end.of(run_id)).results[0].output == (output or None)
        run_id = await one.run()
        action = await worker.started(run_id)


async def test_c_5_31_an_output_that_is_not_json_fails_the_attempt_and_retries_apply(one: Instance) -> None:
    worker, action, run_id = await attempt(one, retries=1)
    for output in ["{", "NaN", '{"a":"\\u0000"}', '{"a":"\x00"}']:
        await worker.complete(action, output)
        second = await worker.started(run_id, 1)
        assert await one.event_names(run_id) == [
            *("CREATED", "QUEUED", "ASSIGNED", "SENT_TO_WORKER", "STARTED", "FAILED", "RETRYING"),
            *("QUEUED", "ASSIGNED", "SENT_TO_WORKER"),
        ]
        await worker.complete(second, output)
        details = await one.ended(run_id, RunStatus.FAILED)
        assert "invalid json in field" in str(details.tasks[0].error)
        assert details.tasks[0].output is None
        run_id = await one.run()
        action = await worker.started(run_id)


ERRORS = [
    "ValueError: boom\n  Traceback (most recent call last):\n\n" + '{"__hatchet_error_metadata__": {"x": "y"}}',
    '{"message": "boom", "stack": "s"}',
    '"quoted"',
    "",
    "ünïcode ☃ 𝄞",
    "[not json] with the text \\u0000 in it",
    "back\\\\slash \\u0000 in free text",
    '{"escaped backslash": "\\\\u0000"}',
]


async def test_c_5_32_and_c_5_42_error_texts_are_kept_byte_for_byte(one: Instance) -> None:
    worker, action, run_id = await attempt(one)
    for error in ERRORS:
        end = one.ends(run_id)
        await worker.fail(action, error)
        assert (await one.ended(run_id, RunStatus.FAILED)).tasks[0].error == error
        assert (await end.of(run_id)).results[0].error == error
        run_id = await one.run()
        action = await worker.started(run_id)


async def test_c_5_32_null_characters_do_not_break_storage(one: Instance) -> None:
    worker, action, run_id = await attempt(one)
    for error, kept in [
        ('{"message":"a\\u0000b"}', NULL_IN_ERROR),
        ('"\\u0000"', NULL_IN_ERROR),
        ("raw \x00 nul", "raw \ufffd nul"),
        ('{"raw": "\x00"}', '{"raw": "\ufffd"}'),
    ]:
        await worker.fail(action, error)
        assert (await one.ended(run_id, RunStatus.FAILED)).tasks[0].error == kept
        run_id = await one.run()
        action = await worker.started(run_id)


async def test_c_5_34_should_not_retry_is_final_whatever_retries_says(one: Instance) -> None:
    worker, action, run_id = await attempt(one, retries=5)
    await worker.fail(action, "fatal", should_not_retry=True)
    assert (await one.ended(run_id, RunStatus.FAILED)).tasks[0].error == "fatal"
    assert "RETRYING" not in await one.event_names(run_id)


async def test_c_5_36_a_worker_may_say_cancelled(one: Instance) -> None:
    worker, action, run_id = await attempt(one, retries=3)
    await worker.say(action, ReportKind.CANCELLED)
    details = await one.ended(run_id, RunStatus.CANCELLED)
    assert (details.tasks[0].error, details.tasks[0].output) == (None, None)
    assert one.free(worker) == 10


async def test_c_5_38_repeated_terminal_reports_are_harmless_the_first_wins(one: Instance) -> None:
    worker, action, run_id = await attempt(one, retries=1)
    await worker.complete(action, '{"n":1}')
    await worker.complete(action, '{"n":2}')
    await worker.fail(action, "too late")
    assert (await one.details(run_id)).tasks[0].output == '{"n":1}'
    assert one.engine.reports.late == 2
    assert one.free(worker) == 10


async def test_c_5_38_two_ends_in_one_batch_free_one_slot(one: Instance) -> None:
    worker, action, run_id = await attempt(one)
    await asyncio.gather(*(worker.complete(action, json.dumps({"n": number})) for number in range(20)))
    assert (await one.details(run_id)).tasks[0].output == '{"n": 0}'
    assert one.free(worker) == 10
    assert await one.rows("SELECT count(*) AS n FROM task_result") == [(1,)]


async def test_c_5_43_a_stale_attempts_report_changes_nothing(one: Instance) -> None:
    worker, first, run_id = await attempt(one, retries=1)
    await worker.fail(first)
    second = await worker.started(run_id, 1)
    await worker.complete(first, '{"n":1}')
    await worker.fail(first, "again")
    await worker.say(first, ReportKind.STARTED)
    assert await one.status(run_id) is RunStatus.RUNNING
    await worker.complete(second, '{"n":2}')
    assert (await one.ended(run_id, RunStatus.COMPLETED)).tasks[0].output == '{"n":2}'


async def test_c_5_43_a_report_of_an_attempt_that_does_not_exist_yet_changes_nothing(one: Instance) -> None:
    worker, action, run_id = await attempt(one, retries=1)
    await worker.say(action, ReportKind.COMPLETED, "{}", retry_count=1)
    assert await one.status(run_id) is RunStatus.RUNNING


async def test_c_5_44_a_late_completion_after_a_cancel_changes_nothing(one: Instance) -> None:
    worker, action, run_id = await attempt(one, retries=3)
    await one.engine.control.cancel(action.tenant_id, [run_id])
    await worker.complete(action)
    await worker.fail(action)
    details = await one.ended(run_id, RunStatus.CANCELLED)
    assert (details.tasks[0].output, details.tasks[0].error) == (None, None)
    assert "RETRYING" not in await one.event_names(run_id)
    assert one.free(worker) == 10


async def test_c_5_52_a_started_behind_the_end_is_ignored(one: Instance) -> None:
    worker, action, run_id = await attempt(one)
    await worker.complete(action)
    await worker.say(action, ReportKind.STARTED)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_2_45_the_end_may_come_before_the_start(one: Instance) -> None:
    worker, action, run_id = await attempt(one)
    await asyncio.gather(
        worker.complete(action), worker.say(action, ReportKind.STARTED), worker.say(action, ReportKind.STARTED)
    )
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_17_53_a_workers_clock_that_is_off_does_not_disorder_the_history(one: Instance) -> None:
    for at in (0.0, 5.0, one.clock.now() + 1e6):
        worker, action, run_id = await attempt(one)
        await worker.say(action, ReportKind.STARTED, at=at)
        await worker.complete(action)
        times = [event.at for event in await one.history(run_id)]
        assert times == sorted(times)
        await worker.close_stream()


async def test_poison_one_report_that_the_database_refuses_does_not_block_the_others(one: Instance) -> None:
    await one.define()
    worker = await one.worker(slots=20)
    runs = await one.run_many(20)
    actions = [await worker.started(run_id) for run_id in runs]
    await one.rows("ALTER TABLE task_result ADD CONSTRAINT poison CHECK (error IS DISTINCT FROM 'poison') NOT VALID")
    reports = [worker.fail(action, "poison" if index == 7 else "plain") for index, action in enumerate(actions)]
    answers = await asyncio.gather(*reports, return_exceptions=True)
    assert [index for index, answer in enumerate(answers) if answer is not None] == [7]
    for index, run_id in enumerate(runs):
        if index != 7:
            assert (await one.details(run_id)).tasks[0].error == "plain"
    assert await one.status(runs[7]) is RunStatus.RUNNING
    assert one.free(worker) == 19


async def test_several_reports_in_one_call_each_end_their_attempt_and_a_repeat_changes_nothing(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    runs = [await one.run() for _ in range(3)]
    actions = [await worker.started(run_id) for run_id in runs]
    reports = [
        TaskReport(task_id=action.task_id, kind=ReportKind.COMPLETED, payload=f'{{"n":{n}}}', retry_count=0, at=0.0)
        for n, action in enumerate(actions)
    ]
    await one.engine.reports.report_all(actions[0].tenant_id, [*reports, reports[0]])
    outputs = [(await one.ended(run_id, RunStatus.COMPLETED)).tasks[0].output for run_id in runs]
    assert outputs == ['{"n":0}', '{"n":1}', '{"n":2}']
    assert one.engine.reports.late == 1


async def test_c_5_25_an_unknown_task_in_a_call_does_not_keep_the_others_from_ending(one: Instance) -> None:
    _, action, run_id = await attempt(one)
    reports = [
        TaskReport(task_id=task_id, kind=ReportKind.COMPLETED, payload="{}", retry_count=0, at=0.0)
        for task_id in (str(uuid.uuid4()), run_id)
    ]
    with pytest.raises(InvalidArgument, match="unknown task"):
        await one.engine.reports.report_all(action.tenant_id, reports)
    await one.ended(run_id, RunStatus.COMPLETED)
