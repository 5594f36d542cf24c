"""Who hears of a run's end, and what may be read about it (behaviour-core C-7.1 to C-7.31, C-17.45 to C-17.48)."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from engine_fixture import OTHER_TENANT, Ends, Instance
from engine_worker import TENANT, until

from hatchet.core.errors import InvalidArgument, NotFound
from hatchet.core.messages import ReportKind, RunFinished
from hatchet.core.statuses import RunStatus


async def test_c_7_2_one_end_per_requested_id_and_c_7_9_what_it_says(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    done, failed = await one.run(), await one.run()
    ends = one.ends(done, failed)
    await worker.complete(await worker.started(done), '{"n":1}')
    await worker.fail(await worker.started(failed), "boom")
    [result] = (await ends.of(done)).results
    assert (result.task_id, result.readable_id, result.status) == (done, "flow", RunStatus.COMPLETED)
    # C-7.10: presence matters.
    assert (result.output, result.error) == ('{"n":1}', None)
    [result] = (await ends.of(failed)).results
    assert (result.status, result.output, result.error) == (RunStatus.FAILED, None, "boom")
    await one.watched()
    assert sorted(end.run_id for end in ends.told) == sorted([done, failed])


async def test_c_7_2_no_end_while_a_retry_is_to_come(one: Instance) -> None:
    await one.define(retries=1)
    worker = await one.worker()
    run_id = await one.run()
    ends = one.ends(run_id)
    await worker.fail(await worker.started(run_id))
    second = await worker.started(run_id, 1)
    assert ends.told == []
    await worker.complete(second)
    assert (await ends.of(run_id)).results[0].status is RunStatus.COMPLETED


async def test_c_7_2_a_final_run_is_answered_at_once_from_memory_or_from_rows(one: Instance) -> None:
    await one.define()
    await one.worker(completes=True)
    run_id = await one.run()
    await one.ended(run_id, RunStatus.COMPLETED)
    remembered = await one.ends(run_id).of(run_id)
    one.engine.results._recent.clear()
    read = await one.ends(run_id).of(run_id)
    assert remembered.results == read.results
    assert abs(remembered.at - read.at) < 0.001


async def test_c_7_4_asking_again_is_answered_again(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    ends = one.ends(run_id, run_id).ask(run_id)
    other = one.ends(run_id)
    await worker.complete(await worker.started(run_id))
    await ends.of(run_id)
    await other.of(run_id)
    await one.watched()
    assert len(ends.told) == 1
    ends.ask(run_id)
    await ends.of(run_id, times=2)


async def test_c_7_5_unknown_ids_wait_and_bad_ones_are_ignored(one: Instance) -> None:
    await one.define()
    await one.worker(completes=True)
    ends = one.ends("no id", "", str(uuid.uuid4()))
    run_id = await one.run()
    ends.ask(run_id.upper())
    await ends.of(run_id)
    assert len(ends.told) == 1


async def test_c_1_12_a_subscription_sees_its_own_tenant_only(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    told: list[RunFinished] = []

    async def deliver(ends: list[RunFinished]) -> None:
        told.extend(ends)

    foreign = one.engine.results.open(OTHER_TENANT, deliver)
    foreign.add([run_id])
    await worker.complete(await worker.started(run_id))
    await one.ends(run_id).of(run_id)
    foreign.add([run_id])
    one.engine.results._recent.clear()
    foreign.add([run_id])
    await one.ends(run_id).of(run_id)
    assert told == []
    await foreign.close()


async def test_a_closed_subscription_hears_nothing_and_leaves_nothing_behind(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    ends, others = one.ends(run_id), one.ends(run_id)
    await ends.subscription.close()
    await worker.complete(await worker.started(run_id))
    await others.of(run_id)
    assert ends.told == []
    assert one.engine.results._watchers == {}


async def test_every_end_is_told_while_runs_end_and_are_asked_for_at_the_same_time(one: Instance) -> None:
    await one.define()
    await one.worker(slots=20, completes=True)
    runs: list[str] = []
    ends = Ends(one)
    for _ in range(10):
        fresh = await one.run_many(20)
        ends.ask(*fresh)
        runs += fresh
        await asyncio.sleep(0)
    for run_id in runs:
        await ends.of(run_id)
    assert len(ends.told) == 200
    assert len({end.run_id for end in ends.told}) == 200


async def test_what_is_remembered_of_ends_is_bounded(one: Instance) -> None:
    from hatchet.engine import publish

    await one.define()
    worker = await one.worker(slots=50)
    big = '"' + "x" * 200_000 + '"'
    worker.answers(lambda action: worker.complete(action, big))
    runs = await one.run_many(60)
    ends = one.ends(*runs)
    for run_id in runs:
        await ends.of(run_id)
    assert one.engine.results._recent_size <= publish.RECENT_CHARACTERS
    assert (await one.ends(runs[0]).of(runs[0])).results[0].output == big


async def test_c_7_26_unknown_and_bad_ids(one: Instance) -> None:
    await one.define()
    run_id = await one.run()
    reading = one.engine.reading
    with pytest.raises(NotFound):
        await reading.run_details(TENANT, str(uuid.uuid4()))
    with pytest.raises(NotFound):
        await reading.run_details(OTHER_TENANT, run_id)
    with pytest.raises(InvalidArgument, match="invalid external id"):
        await reading.run_details(TENANT, "no id")
    with pytest.raises(NotFound):
        await one.engine.views.task(OTHER_TENANT, run_id)


async def test_c_7_23_details_from_the_queue_to_the_end(one: Instance) -> None:
    await one.define(retries=1)
    run_id = await one.run(input='{"a":1}', additional_metadata='{"k":"v"}')
    details = await one.details(run_id)
    assert (details.status, details.done, details.input) == (RunStatus.QUEUED, False, '{"a":1}')
    worker = await one.worker()
    first = await worker.started(run_id)
    assert (await one.details(run_id)).status is RunStatus.RUNNING
    await worker.fail(first, "boom")
    details = await one.details(run_id)
    # C-7.28: an attempt that failed and will be retried shows neither error nor end.
    assert (details.done, details.tasks[0].error, details.tasks[0].output) == (False, None, None)
    await worker.complete(await worker.started(run_id, 1), '{"n":2}')
    details = await one.details(run_id.upper())
    assert (details.status, details.done, details.run_id) == (RunStatus.COMPLETED, True, run_id)
    assert (details.tasks[0].task_id, details.tasks[0].output, details.tasks[0].error) == (run_id, '{"n":2}', None)


async def test_c_4_3_and_c_4_10_missing_input_and_metadata_are_empty_objects(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    details = await one.details(run_id)
    assert (details.input, details.additional_metadata) == ("{}", "{}")
    assert '"input":{}' in (await worker.started(run_id)).payload


async def test_c_4_8_bad_input_and_metadata_are_refused(one: Instance) -> None:
    await one.define()
    for fields in ({"input": "{"}, {"additional_metadata": "[1]"}, {"input": '{"a":"\\u0000"}'}):
        with pytest.raises(InvalidArgument, match=f"field {next(iter(fields))}"):
            await one.run(**fields)
    with pytest.raises(InvalidArgument, match="not a UUID"):
        await one.run(parent_run_id="x")


async def test_c_17_45_to_c_17_48_the_history_of_a_task_with_everything(one: Instance) -> None:
    await one.define(retries=2, execution_timeout="1h")
    worker = await one.worker()
    run_id = await one.run()
    first = await worker.started(run_id)
    await worker.say(first, ReportKind.STARTED)
    await one.engine.control.refresh_timeout(TENANT, run_id, 1.0)
    await worker.fail(first, "boom")
    await worker.started(run_id, 1)
    await one.lose(worker)
    other = await one.worker()
    third = await other.started(run_id, 2)
    await other.say(third, ReportKind.STARTED)
    await one.engine.control.release_slot(TENANT, run_id)
    await other.complete(third)
    events = await one.history(run_id)
    told = [(event.type.value, event.retry_count) for event in events]
    begin = ("QUEUED", "ASSIGNED", "SENT_TO_WORKER", "STARTED")
    assert told == [
        ("CREATED", 0),
        *((name, 0) for name in (*begin, "TIMEOUT_REFRESHED", "FAILED", "RETRYING")),
        *((name, 1) for name in (*begin[:3], "REASSIGNED")),
        *((name, 2) for name in (*begin, "SLOT_RELEASED", "FINISHED")),
    ]
    times = [event.at for event in events]
    assert times == sorted(times)
    workers = {event.retry_count: event.worker_id for event in events if event.type.value == "ASSIGNED"}
    assert workers == {0: worker.id, 1: worker.id, 2: other.id}


async def test_an_end_that_was_written_without_an_answer_is_told_and_frees_its_slot(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit happened, its answer was lost, the worker reports again as C-5.38 says."""
    from hatchet.core.errors import Unavailable
    from hatchet.engine import endings

    real, failures = endings.append_results, iter([Unavailable("the connection broke")])

    async def append(*args: object, **named: object) -> object:
        written = await real(*args, **named)  # type: ignore[arg-type]
        for failure in failures:
            raise failure
        return written

    monkeypatch.setattr(endings, "append_results", append)
    await one.define(execution_timeout="1h")
    worker = await one.worker()
    run_id = await one.run()
    ends = one.ends(run_id)
    action = await worker.started(run_id)
    with pytest.raises(Unavailable):
        await worker.complete(action, '{"n":1}')
    await worker.complete(action, '{"n":1}')
    await until(lambda: one.free(worker) == 10, "the slot is free")
    assert (await ends.of(run_id)).results[0].output == '{"n":1}'
    assert len(one.engine.flights) == 0


async def test_a_retry_that_was_opened_without_an_answer_runs(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    from hatchet.core.errors import Unavailable
    from hatchet.engine import endings

    real, failures = endings.append_results, iter([Unavailable("the connection broke")])

    async def append(*args: object, **named: object) -> object:
        written = await real(*args, **named)  # type: ignore[arg-type]
        for failure in failures:
            raise failure
        return written

    monkeypatch.setattr(endings, "append_results", append)
    await one.define(execution_timeout="1h", retries=1)
    worker = await one.worker()
    run_id = await one.run()
    action = await worker.started(run_id)
    with pytest.raises(Unavailable):
        await worker.fail(action)
    # Even when the worker gives up, the retry is found.
    await worker.complete(await worker.started(run_id, 1))
    await one.ended(run_id, RunStatus.COMPLETED)
    assert one.free(worker) == 10
