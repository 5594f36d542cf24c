"""Batch tasks with a whole engine (behaviour-core C-16, C-6.32)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from engine_fixture import Instance, World
from engine_worker import TENANT, Worker, until

from hatchet.core.definitions import StoredVersion
from hatchet.core.errors import InvalidArgument, ResourceExhausted
from hatchet.core.messages import Action, ActionKind, ReportKind, TaskReport, TriggerItem
from hatchet.core.rules import BatchRule, ConcurrencyRule, Strategy
from hatchet.core.statuses import RunStatus

LONG_MS = 600_000
"""An interval that does not end while a test runs, unless the test lets time pass."""
NOBODY = "99999999-9999-4999-8999-999999999999"


async def define(
    one: Instance,
    max_size: int = 3,
    interval_ms: int = LONG_MS,
    key: str = "'default'",
    max_runs: int = 100,
    **options: Any,
) -> StoredVersion:
    rule = BatchRule(max_size=max_size, interval_ms=interval_ms, key_expression=key, max_runs=max_runs)
    return await one.define(batch=rule, **options)


async def run_all(one: Instance, inputs: Sequence[object]) -> list[str]:
    items = [TriggerItem(workflow_name="flow", input=json.dumps(value)) for value in inputs]
    return await one.engine.trigger.trigger(TENANT, items)


def batches(worker: Worker) -> list[Action]:
    return [action for action in worker.actions if action.kind is ActionKind.START_BATCH]


def items(action: Action) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(action.payload)
    return found


def batch_id(action: Action) -> str:
    assert action.batch is not None
    return action.batch.id


async def arrived(worker: Worker, count: int) -> list[Action]:
    """Wait until that many batches came."""
    await until(lambda: len(batches(worker)) >= count, f"{count} batches arrive")
    return batches(worker)


async def buffered(one: Instance, count: int) -> None:
    await until(lambda: len(one.scheduler.gates.batches) == count, f"{count} attempts are buffered")


async def say(worker: Worker, action: Action, kind: ReportKind, payloads: dict[str, str], **fields: Any) -> None:
    """One event about items of a batch; the retry count is the one that Python sends."""
    fields = {"retry_count": 0, "batch_id": batch_id(action), **fields}
    at = worker.instance.clock.now()
    reports = [
        TaskReport(task_id=task_id, kind=kind, payload=payload, at=at, **fields)
        for task_id, payload in payloads.items()
    ]
    await worker.instance.engine.reports.report_all(TENANT, reports)


async def complete(worker: Worker, action: Action) -> None:
    """Every item gets its own input back."""
    outputs = {task_id: json.dumps({"got": item["payload"]["input"]}) for task_id, item in items(action).items()}
    await say(worker, action, ReportKind.COMPLETED, outputs)


async def do_all(worker: Worker, done: asyncio.Event, answer: Callable[[Worker, Action], Awaitable[None]]) -> None:
    """Answer every batch that comes until ``done``."""
    seen = 0
    while not done.is_set():
        for action in batches(worker)[seen:]:
            seen += 1
            await answer(worker, action)
        await asyncio.sleep(0.005)


async def test_c_16_7_a_full_batch_goes_without_waiting_for_the_interval(one: Instance) -> None:
    await define(one, max_size=3)
    worker = await one.worker()
    runs = await run_all(one, [{"n": n} for n in range(3)])
    [action] = await arrived(worker, 1)
    assert list(items(action)) == runs
    assert [item["workflow_run_id"] for item in items(action).values()] == runs
    assert [item["payload"]["input"] for item in items(action).values()] == [{"n": n} for n in range(3)]
    assert action.batch is not None
    assert (action.batch.key, action.batch.size) == ("default", 3)
    await complete(worker, action)
    for n, run_id in enumerate(runs):
        details = await one.ended(run_id, RunStatus.COMPLETED)
        assert json.loads(details.tasks[0].output or "") == {"got": {"n": n}}
    await one.empty()
    assert one.free(worker) == 10


async def test_c_16_8_what_is_not_full_goes_after_the_interval(one: Instance) -> None:
    await define(one, max_size=3, interval_ms=200)
    worker = await one.worker()
    runs = await run_all(one, [{}, {}])
    [action] = await arrived(worker, 1)
    assert list(items(action)) == runs
    names = await one.event_names(runs[0])
    assert names[:5] == ["CREATED", "QUEUED", "BATCH_BUFFERED", "BATCH_FLUSHED", "ASSIGNED"]
    [flushed] = [event for event in await one.history(runs[0]) if event.type.value == "BATCH_FLUSHED"]
    assert flushed.message.startswith("interval_elapsed")


async def test_c_16_9_a_hundred_items_of_100_kb_make_three_batches(one: Instance) -> None:
    await define(one, max_size=1000, interval_ms=1000)
    worker = await one.worker()
    runs = await run_all(one, [{"x": "x" * 100_000} for _ in range(100)])
    found = await arrived(worker, 3)
    await one.watched()
    assert [task_id for action in found for task_id in items(action)] == runs
    assert len(batches(worker)) == 3


async def test_c_16_11_every_batch_has_one_key(one: Instance) -> None:
    await define(one, max_size=2, key="input.key")
    worker = await one.worker()
    await run_all(one, [{"key": key} for key in ("t1", "t2", "t1", "t2")])
    found = await arrived(worker, 2)
    assert sorted(action.batch.key for action in found if action.batch is not None) == ["t1", "t2"]
    for action in found:
        keys = {item["payload"]["input"]["key"] for item in items(action).values()}
        assert action.batch is not None
        assert keys == {action.batch.key}
    assert len({batch_id(action) for action in found}) == 2


async def test_c_16_12_a_batch_takes_one_default_unit(one: Instance) -> None:
    await define(one, max_size=5, slot_requests={"default": 3, "gpu": 1})
    worker = await one.worker(slots=2)
    await run_all(one, [{}] * 5)
    [action] = await arrived(worker, 1)
    assert one.free(worker) == 1
    ids = list(items(action))
    await say(worker, action, ReportKind.COMPLETED, dict.fromkeys(ids[:4], "{}"))
    assert one.free(worker) == 1, "C-16.32: the slot is taken until the last item ends"
    await say(worker, action, ReportKind.COMPLETED, {ids[4]: "{}"})
    await until(lambda: one.free(worker) == 2, "the slot is free")


async def test_c_16_13_without_room_the_items_wait_and_time_out_alone(one: Instance) -> None:
    await define(one, max_size=2, schedule_timeout="30s")
    worker = await one.worker(slots=1)
    runs = await run_all(one, [{}] * 4)
    [first] = await arrived(worker, 1)
    await buffered(one, 2)

    async def told() -> bool:
        return "WAITING_FOR_BATCH" in await one.event_names(runs[2])

    await until(told, "the note is written")
    await complete(worker, first)
    _, second = await arrived(worker, 2)
    assert list(items(second)) == runs[2:]
    names = await one.event_names(runs[2])
    wanted = ["BATCH_BUFFERED", "WAITING_FOR_BATCH", "BATCH_FLUSHED", "ASSIGNED"]
    assert [name for name in names if name in wanted] == wanted
    [late] = await run_all(one, [{}])
    await buffered(one, 1)
    await one.pass_time(31, worker)
    details = await one.ended(late, RunStatus.CANCELLED)
    assert details.tasks[0].error is None


async def test_c_16_14_no_more_batches_of_a_key_than_declared(one: Instance) -> None:
    await define(one, max_size=1, max_runs=2)
    worker = await one.worker(slots=10)
    await run_all(one, [{}] * 4)
    first, *_ = await arrived(worker, 2)
    await one.watched()
    assert len(batches(worker)) == 2
    await complete(worker, first)
    await arrived(worker, 3)


async def test_c_16_16_a_cancelled_item_leaves_the_buffer(one: Instance) -> None:
    await define(one, max_size=3)
    worker = await one.worker()
    runs = await run_all(one, [{}] * 2)
    await buffered(one, 2)
    assert await one.cancel(runs[0]) == [runs[0]]
    await one.ended(runs[0], RunStatus.CANCELLED)
    runs += await run_all(one, [{}] * 2)
    [action] = await arrived(worker, 1)
    assert list(items(action)) == runs[1:]


async def test_c_16_17_max_size_1(one: Instance) -> None:
    await define(one, max_size=1)
    worker = await one.worker()
    runs = await run_all(one, [{}] * 3)
    found = await arrived(worker, 3)
    assert [list(items(action)) for action in found] == [[run_id] for run_id in runs]


async def test_c_16_18_an_item_without_a_key_fails_alone(one: Instance) -> None:
    await define(one, max_size=2, key="input.key")
    worker = await one.worker()
    good, bad, other = await run_all(one, [{"key": "a"}, {}, {"key": "a"}])
    details = await one.ended(bad, RunStatus.FAILED)
    assert "failed to parse batch group key expression" in (details.tasks[0].error or "")
    [action] = await arrived(worker, 1)
    assert list(items(action)) == [good, other]


async def test_c_16_26_items_are_judged_each_by_itself(one: Instance) -> None:
    await define(one, max_size=3)
    worker = await one.worker()
    a, b, c = await run_all(one, [{}] * 3)
    [action] = await arrived(worker, 1)
    await say(worker, action, ReportKind.STARTED, dict.fromkeys((a, b, c), ""))
    await say(worker, action, ReportKind.COMPLETED, {a: '{"ok":1}', b: "{not json"})
    await say(worker, action, ReportKind.FAILED, {c: "boom"})
    assert (await one.ended(a, RunStatus.COMPLETED)).tasks[0].output == '{"ok":1}'
    assert (await one.ended(b, RunStatus.FAILED)).tasks[0].error != "boom"
    assert (await one.ended(c, RunStatus.FAILED)).tasks[0].error == "boom"


async def test_c_5_25_an_unknown_item_is_named_after_the_others_were_taken(one: Instance) -> None:
    await define(one, max_size=1)
    worker = await one.worker()
    [known] = await run_all(one, [{}])
    [action] = await arrived(worker, 1)
    with pytest.raises(InvalidArgument, match=NOBODY):
        await say(worker, action, ReportKind.COMPLETED, {NOBODY: "{}", known: "{}"})
    await one.ended(known, RunStatus.COMPLETED)


@pytest.mark.parametrize("retry_count", [0, None, 1])
async def test_c_16_27_and_c_16_30_a_retried_item_completes_whatever_retry_count_is_sent(
    one: Instance, retry_count: int | None
) -> None:
    await define(one, max_size=2, retries=1)
    worker = await one.worker()
    a, b = await run_all(one, [{}] * 2)
    [first] = await arrived(worker, 1)
    await say(worker, first, ReportKind.FAILED, {a: "boom"})
    await say(worker, first, ReportKind.COMPLETED, {b: "{}"})
    await buffered(one, 1)
    [c] = await run_all(one, [{}])
    _, second = await arrived(worker, 2)
    assert list(items(second)) == [a, c], "C-16.7: the retry goes first"
    # What is late about the first attempt changes nothing.
    await say(worker, first, ReportKind.FAILED, {a: "late"}, retry_count=0)
    await say(worker, first, ReportKind.FAILED, {a: "late"}, retry_count=None)
    assert await one.status(a) is RunStatus.RUNNING
    await say(worker, second, ReportKind.COMPLETED, {a: '{"second":true}'}, retry_count=retry_count)
    assert (await one.ended(a, RunStatus.COMPLETED)).tasks[0].output == '{"second":true}'


async def test_c_16_29_a_cancelled_batch_cancels_all_items(one: Instance) -> None:
    await define(one, max_size=10)
    worker = await one.worker()
    runs = await run_all(one, [{}] * 10)
    [action] = await arrived(worker, 1)
    await say(worker, action, ReportKind.CANCELLED, dict.fromkeys(runs, ""))
    for run_id in runs:
        details = await one.ended(run_id, RunStatus.CANCELLED)
        assert (details.tasks[0].output, details.tasks[0].error) == (None, None)


async def test_c_6_32_and_c_16_31_a_batch_times_out_as_a_whole(one: Instance) -> None:
    await define(one, max_size=3, execution_timeout="60s")
    worker = await one.worker()
    a, b, c = await run_all(one, [{}] * 3)
    [action] = await arrived(worker, 1)
    await say(worker, action, ReportKind.COMPLETED, {a: "{}"})
    await one.pass_time(61, worker)
    for run_id in (b, c):
        details = await one.ended(run_id, RunStatus.FAILED)
        assert details.tasks[0].error == "Task failed due to batch timeout, exceeded timeout of 60s"
    await until(lambda: len(worker.actions) == 2, "the worker is told once")
    assert (worker.actions[1].kind, batch_id(worker.actions[1])) == (ActionKind.CANCEL_BATCH, batch_id(action))
    assert await one.status(a) is RunStatus.COMPLETED
    assert one.free(worker) == 10


async def test_c_16_33_the_items_of_a_lost_worker_are_buffered_again(one: Instance) -> None:
    await define(one, max_size=3)
    first, second = await one.worker(slots=1), await one.worker(slots=1, is_open=False)
    a, b, c = await run_all(one, [{}] * 3)
    [action] = await arrived(first, 1)
    await say(first, action, ReportKind.COMPLETED, {a: "{}"})
    await second.open()
    await one.lose(first, second)
    await buffered(one, 2)
    [d] = await run_all(one, [{}])
    [again] = await arrived(second, 1)
    assert list(items(again)) == [b, c, d]
    assert batch_id(again) != batch_id(action)


async def test_c_16_34_one_cancelled_item_sends_nothing_all_of_them_stop_the_batch(one: Instance) -> None:
    await define(one, max_size=3)
    worker = await one.worker()
    a, b, c = await run_all(one, [{}] * 3)
    [action] = await arrived(worker, 1)
    await one.cancel(a)
    await one.ended(a, RunStatus.CANCELLED)
    await say(worker, action, ReportKind.COMPLETED, {a: "{}"})
    await one.watched()
    assert await one.status(a) is RunStatus.CANCELLED
    assert len(worker.actions) == 1
    await one.cancel(b, c)
    await until(lambda: len(worker.actions) == 2, "the batch is stopped")
    await one.watched()
    assert [one.kind for one in worker.actions] == [ActionKind.START_BATCH, ActionKind.CANCEL_BATCH]
    assert one.free(worker) == 10


async def test_an_item_that_is_cancelled_before_its_batch_is_sent_is_left_out(one: Instance) -> None:
    await define(one, max_size=2)
    worker = await one.worker()
    worker.takes.clear()
    runs = await run_all(one, [{}] * 4)

    async def assigned() -> bool:
        return "ASSIGNED" in await one.event_names(runs[3])

    await until(assigned, "both batches have their worker")
    await one.cancel(runs[2])
    worker.takes.set()
    _, second = await arrived(worker, 2)
    assert second.batch is not None
    assert (list(items(second)), second.batch.size) == ([runs[3]], 1)


async def test_c_16_35_each_caller_gets_its_own_output(one: Instance) -> None:
    await define(one, max_size=6, interval_ms=100)
    worker = await one.worker()
    done = asyncio.Event()
    answering = asyncio.create_task(do_all(worker, done, complete))
    try:
        runs = [run_id for [run_id] in await asyncio.gather(*(run_all(one, [{"n": n}]) for n in range(20)))]
        for n, run_id in enumerate(runs):
            details = await one.ended(run_id, RunStatus.COMPLETED)
            assert json.loads(details.tasks[0].output or "") == {"got": {"n": n}}
    finally:
        done.set()
        await answering


async def test_c_16_38_concurrency_counts_items_before_they_are_buffered(one: Instance) -> None:
    rule = ConcurrencyRule(expression="'all'", max_runs=2, strategy=Strategy.GROUP_ROUND_ROBIN)
    await define(one, max_size=2, concurrency=(rule,))
    worker = await one.worker()
    runs = await run_all(one, [{}] * 4)
    [first] = await arrived(worker, 1)
    await one.watched()
    assert len(batches(worker)) == 1
    assert len(one.scheduler.gates.batches) == 0
    await complete(worker, first)
    _, second = await arrived(worker, 2)
    assert list(items(second)) == runs[2:]


async def test_a_batch_that_is_too_large_for_a_message_is_split_by_what_fits(one: Instance) -> None:
    await define(one, max_size=4)
    worker = await one.worker()
    take = worker._take

    async def limited(action: Action) -> None:
        if action.batch is not None and action.batch.size > 2:
            raise ResourceExhausted("too large")
        await take(action)

    worker._take = limited  # type: ignore[method-assign]
    await worker.close_stream()
    await worker.open()
    a, b, c, d = await run_all(one, [{}] * 4)
    [first] = await arrived(worker, 1)
    assert list(items(first)) == [a, b]
    await buffered(one, 2)
    assert "COULD_NOT_SEND_TO_WORKER" in await one.event_names(c)
    e, f = await run_all(one, [{}] * 2)
    _, second = await arrived(worker, 2)
    assert list(items(second)) == [c, d], f"before {e} and {f}"


async def test_one_item_that_no_message_can_hold_fails_with_the_reason(one: Instance) -> None:
    await define(one, max_size=1)
    worker = await one.worker()
    worker.send_error = ResourceExhausted("a message of 5 bytes is above the limit of 4")
    [run_id] = await run_all(one, [{}])

    async def ended() -> bool:
        one.clock.skip(10)
        await worker.beat()
        one.scheduler._time_passed()
        return (await one.details(run_id)).done

    await until(ended, "the item fails")
    assert "above the limit" in ((await one.details(run_id)).tasks[0].error or "")


async def test_what_is_buffered_survives_a_restart(world: World) -> None:
    one = await world.engine()
    await define(one, max_size=3, max_runs=1)
    worker = await one.worker()
    runs = await run_all(one, [{}] * 5)
    [first] = await arrived(worker, 1)
    await say(worker, first, ReportKind.STARTED, dict.fromkeys(items(first), ""))
    await say(worker, first, ReportKind.COMPLETED, {runs[0]: "{}"})
    await buffered(one, 2)
    await one.stop()
    two = await world.engine()
    await worker.close_stream()
    await worker.open(two)
    await buffered(two, 2)
    runs += await run_all(two, [{}])
    await two.watched()
    assert len(batches(worker)) == 1, "C-16.14: the batch that runs is known"
    assert two.free(worker) == 9
    await say(worker, first, ReportKind.COMPLETED, dict.fromkeys(runs[1:3], "{}"))
    _, second = await arrived(worker, 2)
    assert list(items(second)) == runs[3:]


async def test_a_batch_goes_in_one_message_to_a_worker_of_another_instance(world: World) -> None:
    one = await world.engine()
    two = await world.engine(owns=False)
    await define(one, max_size=300)
    worker = await two.worker()
    runs = await run_all(one, [{"n": n} for n in range(300)])
    [action] = await arrived(worker, 1)
    assert sorted(items(action)) == sorted(runs)
    await complete(worker, action)
    for run_id in (runs[0], runs[-1]):
        await one.ended(run_id, RunStatus.COMPLETED)
    assert len(worker.actions) == 1


async def test_items_of_a_dag_get_the_outputs_of_their_parents(one: Instance) -> None:
    rule = BatchRule(max_size=2, interval_ms=LONG_MS)
    version = await one.define_dag("dag", first=(), second={"parents": ("first",), "batch": rule})
    worker = await one.dag_worker(version)
    runs = await one.run_many(2, "dag")
    for run_id in runs:
        await worker.complete(await worker.task("first", run_id=run_id), f'{{"of":"{run_id}"}}')
    [action] = await arrived(worker, 1)
    found = {item["workflow_run_id"]: item["payload"]["parents"]["first"]["of"] for item in items(action).values()}
    assert found == {run_id: run_id for run_id in runs}
    await complete(worker, action)
    for run_id in runs:
        await one.ended(run_id, RunStatus.COMPLETED)
