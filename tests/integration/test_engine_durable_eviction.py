"""Evictions and restores of durable tasks with their logs (behaviour-durable D-17, D-18, D-20, D-21, D-29)."""

from __future__ import annotations

from typing import Any

import pytest
from durable_worker import DurableWorker, hears, retried, serving, sleeps, started
from engine_fixture import Instance, World
from engine_worker import TENANT, until

from hatchet.core.durable_messages import (
    EntryRef,
    EvictionAck,
    EvictRequest,
    MemoRequest,
    MemoValue,
    ServerEvict,
    WaitRequest,
)
from hatchet.core.errors import NotFound
from hatchet.core.messages import Action
from hatchet.core.statuses import RunStatus
from hatchet.engine import durable_evictions


@pytest.fixture(autouse=True)
def no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be restored soon stays evicted: everything else has to restore at once."""
    monkeypatch.setattr(durable_evictions, "SOON_SECONDS", 3600.0)


async def restore(one: Instance, action: Action) -> None:
    """Somebody asks for the task to go on."""
    await one.engine.evicting.requeue(TENANT, action.task_id, "a test")


async def evicted(worker: DurableWorker, action: Action) -> None:
    """The worker lets go of the task, which stays evicted."""
    await worker.evict(action, "wait TTL exceeded")
    assert (await worker.worker.instance.details(action.task_id)).is_evicted


async def counts(one: Instance, action: Action) -> list[int]:
    """Invocations of the task's entries."""
    rows = await one.rows(
        "SELECT invocation FROM durable_entry WHERE task_id = $1 ORDER BY branch, node", action.task_id
    )
    return [row["invocation"] for row in rows]


async def completed_again(worker: DurableWorker, action: Action, output: str = '{"done":true}') -> None:
    await worker.worker.complete(action, output)
    details = await worker.worker.instance.ended(action.task_id, RunStatus.COMPLETED)
    assert details.tasks[0].output == output


# Restores -------------------------------------------------------------------------------------------------------------


async def test_d_18_1_a_sleep_that_ends_restores_the_task(one: Instance) -> None:
    """D-9.3, D-17.16: its deadline goes on meanwhile, and the wait answers from the log."""
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, sleeps("100ms"))
    await worker.evict(action)
    again = await worker.invocation(action.task_id, 2)
    assert again.retry_count == 0
    ref = await worker.wait(again, sleeps("100ms"))
    assert (ref.invocation, ref.branch, ref.node) == (2, 1, 1)
    assert await worker.result(ref) == {"CREATE": {"sleep:100ms": [{"sleep_duration": "100ms"}]}}
    await completed_again(worker, again)
    await one.empty()


async def test_d_18_1_an_ended_child_restores_the_task(one: Instance) -> None:
    """D-18.9: an evicted parent gets its child's result."""
    worker = await serving(one)
    await one.define("child")
    action = await started(worker)
    [run] = (await worker.spawn(action, "child")).runs
    worker.status(EntryRef(action.task_id, 1, run.branch, run.node))
    await evicted(worker, action)
    helper = await one.worker("child")
    await helper.complete(await helper.started(run.run_id), '{"n":1}')
    again = await worker.invocation(action.task_id, 2)
    assert (await worker.spawn(again, "child")).runs == (run,)
    ref = EntryRef(action.task_id, 2, run.branch, run.node)
    worker.status(ref)
    assert await worker.result(ref) == {"n": 1}
    assert len(helper.starts) == 1
    await completed_again(worker, again)
    await one.empty()


async def test_d_18_1_a_failed_child_restores_the_task_too(one: Instance) -> None:
    worker = await serving(one)
    await one.define("child")
    action = await started(worker)
    [run] = (await worker.spawn(action, "child")).runs
    await evicted(worker, action)
    await one.cancel(run.run_id)
    again = await worker.invocation(action.task_id, 2)
    await worker.spawn(again, "child")
    ref = EntryRef(action.task_id, 2, 1, 1)
    worker.status(ref)
    assert (await worker.completed(ref)).error == "task was cancelled"


async def test_d_18_1_any_entry_restores_the_task(one: Instance) -> None:
    """One of several waits at the same time; the others go on."""
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, sleeps("9h"))
    await worker.wait(action, hears("go"))
    await evicted(worker, action)
    await one.push("go", '{"n":1}')
    again = await worker.invocation(action.task_id, 2)
    await worker.wait(again, sleeps("9h"))
    ref = await worker.wait(again, hears("go"))
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1}]}}
    await evicted(worker, again)
    assert (await one.details(action.task_id)).is_evicted


async def test_d_18_8_a_forced_restore_waits_for_the_rest_of_the_time(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, sleeps("100s"))
    deadline = one.scheduler.durable._due[0][0]
    await one.pass_time(40, worker.worker)
    await evicted(worker, action)
    await restore(one, action)
    again = await worker.invocation(action.task_id, 2)
    ref = await worker.wait(again, sleeps("100s"))
    await one.pass_time(50, worker.worker)
    assert worker.completions == []
    assert [at for at, _, waiting in one.scheduler.durable._due if not waiting.is_ending] == [deadline]
    await evicted(worker, again)
    await one.pass_time(11, worker.worker)
    third = await worker.invocation(action.task_id, 3)
    ref = await worker.wait(third, sleeps("100s"))
    await worker.result(ref)
    await completed_again(worker, third)


async def test_d_18_9_restoring_twice_and_a_running_task(one: Instance) -> None:
    """D-18.3, D-18.7: nothing happens, and that is success."""
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, hears("go"))
    await restore(one, action)
    await evicted(worker, action)
    await restore(one, action)
    await restore(one, action)
    again = await worker.invocation(action.task_id, 2)
    await restore(one, action)
    ref = await worker.wait(again, hears("go"))
    await one.push("go")
    await worker.result(ref)
    await completed_again(worker, again)
    await restore(one, action)
    await one.watched()
    assert [start.invocation for start in worker.worker.starts] == [1, 2]
    with pytest.raises(NotFound):
        await one.engine.evicting.requeue(TENANT, "707d0855-80ab-4e1f-a156-f1c4546cbf00", "a test")


async def test_d_18_9_three_cycles_of_bulk_children(one: Instance) -> None:
    """Children end one after the other, and the task is evicted in between."""
    worker = await serving(one, language="TYPESCRIPT")
    await one.define("child")
    helper = await one.worker("child")
    action = await started(worker)
    names = ("child",) * 3
    runs = (await worker.spawn(action, *names)).runs
    for number, run in enumerate(runs):
        await evicted(worker, action)
        await helper.complete(await helper.started(run.run_id), f'{{"n":{number}}}')
        action = await worker.invocation(action.task_id, number + 2)
        assert (await worker.spawn(action, *names)).runs == runs
        refs = [EntryRef(action.task_id, number + 2, one.branch, one.node) for one in runs]
        worker.status(*refs)
        for at, ref in enumerate(refs[: number + 1]):
            assert await worker.result(ref) == {"n": at}
    orders = [one.order for one in worker.completions if one.ref.invocation == 4]
    assert orders == sorted(orders, key=lambda order: order or 0)
    assert len(helper.starts) == 3
    await completed_again(worker, action)
    await one.empty()


async def test_d_18_5_any_worker_may_go_on(one: Instance) -> None:
    """D-16.4: and the old one's requests change nothing."""
    worker = await serving(one)
    action = await started(worker)
    await worker.memoized(action, "k", {"at": "first"})
    await worker.wait(action, hears("go"))
    await evicted(worker, action)
    await worker.worker.die()
    await one.engine.workers.set_paused(TENANT, worker.worker.id, True)
    other = await serving(one)
    await one.push("go", '{"n":1}')
    again = await other.invocation(action.task_id, 2)
    assert await other.memoized(again, "k", {"at": "second"}) == {"at": "first"}
    assert await other.result(await other.wait(again, hears("go"))) == {"CREATE": {"go": [{"n": 1}]}}
    stale = await worker.ask(MemoRequest(action.task_id, 1, b"late"), ServerEvict)
    assert "2" in stale.reason
    # D-16.6, D-4.11: nor does the current count from a worker that does not have the task.
    await worker.ask(MemoRequest(action.task_id, 2, b"late"), ServerEvict)
    await worker.ask(MemoRequest(action.task_id, 3, b"late"), ServerEvict)
    # D-5.6: a stale eviction is acknowledged and changes nothing.
    await worker.ask(EvictRequest(action.task_id, 1), EvictionAck)
    await worker.ask(EvictRequest(action.task_id, 2), EvictionAck)
    assert not (await one.details(action.task_id)).is_evicted
    assert (await other.memo(again, "next")).ref.node == 3
    await other.worker.complete(again)
    await one.ended(action.task_id, RunStatus.COMPLETED)


async def test_d_4_11_an_evicted_task_takes_no_requests(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    await evicted(worker, action)
    await worker.ask(WaitRequest(action.task_id, 1, (hears("x"),)), ServerEvict)
    await worker.ask(MemoRequest(action.task_id, 1, b"k"), ServerEvict)
    before = len(worker.heard)
    worker.status(ref)
    # D-16.5: one notice for the task.
    worker.status(ref, ref)
    await until(lambda: len(worker.heard) == before + 2, "both messages are answered")
    assert {type(response) for response in worker.heard[before:]} == {ServerEvict}
    # D-17.10: once more is acknowledged once more.
    await worker.evict(action)
    assert await counts(one, action) == [1]


# Races (D-17.15) ------------------------------------------------------------------------------------------------------


async def test_d_17_15_a_a_result_that_was_not_handed_over_restores_at_once(one: Instance) -> None:
    """The completion is written while the eviction is on its way."""
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, hears("go"))
    walk = one.engine.durable_streams._walks.get(action.task_id)
    # The news does not reach the stream before the eviction does.
    waits = one.scheduler.durable
    around, waits._endings._around = waits._endings._around, _Deaf(waits._endings._around)  # type: ignore[assignment]
    await one.push("go", '{"n":1}')
    await until(lambda: not len(waits), "the result is written")
    waits._endings._around = around
    assert walk.log.get(1, 1) is not None
    await worker.evict(action)
    again = await worker.invocation(action.task_id, 2)
    assert await worker.result(await worker.wait(again, hears("go"))) == {"CREATE": {"go": [{"n": 1}]}}


class _Deaf:
    """Surroundings that hear of no result, and restore nothing."""

    def __init__(self, around: Any) -> None:
        self._around = around

    def evicted_attempt(self, task_id: str) -> int | None:
        return None

    def satisfied(self, news: object) -> None:
        pass

    async def restore(self, task_ids: object, cause: str) -> None:
        raise AssertionError("nothing is evicted")


async def test_d_17_15_b_a_completion_that_was_not_used_restores_at_once(one: Instance) -> None:
    """The client cancels its local run on the ack, whatever it has received."""
    worker = await serving(one)
    action = await started(worker)
    await worker.result(await worker.wait(action, sleeps("1ms")))
    await worker.evict(action)
    again = await worker.invocation(action.task_id, 2)
    await worker.result(await worker.wait(again, sleeps("1ms")))
    # A completion that is not new does not count: the task waits for something, and stays evicted.
    await worker.wait(again, hears("never"))
    await evicted(worker, again)
    await one.watched()
    assert (await one.details(action.task_id)).is_evicted


async def test_d_17_15_b_a_completion_that_a_request_followed_was_used(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.result(await worker.wait(action, sleeps("1ms")))
    await worker.wait(action, hears("go"))
    await evicted(worker, action)
    await one.watched()
    assert (await one.details(action.task_id)).is_evicted
    assert [start.invocation for start in worker.worker.starts] == [1]


async def test_d_17_15_b_beside_open_entries_it_goes_on_after_a_while(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-18.9: the TypeScript bulk test looks for the eviction every two seconds."""
    worker = await serving(one)
    action = await started(worker)
    first = await worker.wait(action, hears("first"))
    await worker.wait(action, hears("second"))
    await one.push("first")
    await worker.result(first)
    await evicted(worker, action)
    await one.watched()
    assert (await one.details(action.task_id)).is_evicted
    await restore(one, action)
    monkeypatch.setattr(durable_evictions, "SOON_SECONDS", 0.05)
    again = await worker.invocation(action.task_id, 2)
    await worker.wait(again, hears("first"))
    second = await worker.wait(again, hears("second"))
    await one.push("second")
    await worker.result(second)
    await worker.evict(again)
    await worker.invocation(action.task_id, 3)


async def test_d_17_15_b_the_moment_belongs_to_one_eviction(one: Instance) -> None:
    """What was to be restored soon and went on earlier is not restored after its next eviction."""
    worker = await serving(one)
    action = await started(worker)
    first = await worker.wait(action, hears("first"))
    await worker.wait(action, hears("second"))
    await one.push("first")
    await worker.result(first)
    await evicted(worker, action)
    soon = one.engine.durable_streams._evictions._soon
    await until(lambda: list(soon) == [action.task_id], "it is to be restored soon")
    await restore(one, action)
    again = await worker.invocation(action.task_id, 2)
    await worker.wait(again, hears("first"))
    assert list(soon) == []


async def test_d_17_15_b_an_instance_that_stops_restores_at_once(world: World) -> None:
    one = await world.engine()
    worker = await serving(one)
    action = await started(worker)
    first = await worker.wait(action, hears("first"))
    await worker.wait(action, hears("second"))
    await one.push("first")
    await worker.result(first)
    await evicted(worker, action)
    await worker.worker.fall_silent()
    await one.stop()
    two = await world.engine()
    await worker.worker.open(two)
    await worker.invocation(action.task_id, 2)


async def test_d_17_15_b_something_else_restores_it_earlier(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    first = await worker.wait(action, hears("first"))
    await worker.wait(action, hears("second"))
    await one.push("first")
    await worker.result(first)
    await evicted(worker, action)
    await one.push("second")
    again = await worker.invocation(action.task_id, 2)
    await worker.wait(again, hears("first"))
    second = await worker.wait(again, hears("second"))
    await worker.result(second)
    await completed_again(worker, again)


async def test_d_17_15_a_memo_under_way_is_computed_again(one: Instance) -> None:
    """Evicted between the ack of a memo and its value."""
    worker = await serving(one)
    action = await started(worker)
    ack = await worker.memo(action, "k")
    await worker.evict(action)
    again = await worker.invocation(action.task_id, 2)
    # D-12.7: the value of a stale invocation is ignored.
    worker.say(MemoValue(ack.ref, '{"n":1}'))
    found = await worker.memo(again, "k")
    assert (found.existed, found.payload, found.ref.node) == (True, None, 1)
    worker.say(MemoValue(found.ref, '{"n":2}'))
    await worker.completed(found.ref)
    assert (await one.engine.durable.entries(TENANT, action.task_id, 0, 10))[0].is_satisfied


async def test_d_29_6_what_nobody_noticed_is_found_after_a_while(one: Instance) -> None:
    """The evictor dies between the eviction and its look at what came of it."""
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, hears("go"))
    waits = one.scheduler.durable
    around, waits._endings._around = waits._endings._around, _Deaf(waits._endings._around)  # type: ignore[assignment]
    await one.push("go", '{"n":1}')
    await until(lambda: not len(waits), "the result is written")
    waits._endings._around = around
    flight = one.engine.flights.get(action.task_id)
    assert flight is not None
    assert await one.engine.evicting.evict(TENANT, flight, "a test")
    await one.pass_time(6, worker.worker)
    await worker.invocation(action.task_id, 2)


# Timeouts, retries, losses (D-20) -------------------------------------------------------------------------------------


async def test_d_20_1_time_on_the_worker_counts_and_time_evicted_does_not(one: Instance) -> None:
    worker = await serving(one, execution_timeout="60s")
    action = await started(worker)
    await worker.wait(action, hears("go"))
    await one.pass_time(50, worker.worker)
    await evicted(worker, action)
    await one.pass_time(500, worker.worker)
    assert (await one.details(action.task_id)).is_evicted
    await one.push("go")
    again = await worker.invocation(action.task_id, 2)
    # The full timeout again.
    await one.pass_time(50, worker.worker)
    await worker.result(await worker.wait(again, hears("go")))
    await worker.wait(again, hears("never"))
    # D-20.2, D-20.3: a wait on the worker is not stretched; the cancel names the invocation.
    await one.pass_time(11, worker.worker)
    cancel = await worker.worker.cancelled(action.task_id)
    assert (cancel.retry_count, cancel.invocation) == (0, 2)
    await one.ended(action.task_id, RunStatus.FAILED)
    await one.empty()


async def test_d_17_8_a_task_whose_time_is_over_is_not_evicted(one: Instance) -> None:
    """D-17.10: it is acknowledged all the same."""
    worker = await serving(one, execution_timeout="60s")
    action = await started(worker)
    await worker.wait(action, hears("go"))
    one.clock.skip(61)
    await worker.evict(action)
    assert not (await one.details(action.task_id)).is_evicted
    await one.ended(action.task_id, RunStatus.FAILED)


async def test_d_20_4_a_retry_goes_on_from_the_log(one: Instance) -> None:
    """D-8.8: what happened while it was queued is delivered; D-20.10: exhausted retries end the run, its log stays."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.memoized(action, "k", 1)
    await worker.wait(action, hears("go"))
    await one.engine.workers.set_paused(TENANT, worker.worker.id, True)
    await worker.worker.fail(action)
    await one.push("go", '{"n":1}')
    await until(lambda: not len(one.scheduler.durable), "the event is taken")
    await one.engine.workers.set_paused(TENANT, worker.worker.id, False)
    again = await worker.invocation(action.task_id, 2)
    assert again.retry_count == 1
    assert await worker.memoized(again, "k", 2) == 1
    assert await worker.result(await worker.wait(again, hears("go"))) == {"CREATE": {"go": [{"n": 1}]}}
    await worker.worker.fail(again)
    await one.ended(action.task_id, RunStatus.FAILED)
    assert len(await one.engine.durable.entries(TENANT, action.task_id, 0, 10)) == 2
    await one.empty()


async def test_d_20_5_a_lost_worker_leads_to_the_next_invocation(one: Instance) -> None:
    """D-16.1, D-20.11: the old worker, woken again, does no harm."""
    worker = await serving(one)
    action = await started(worker)
    await worker.memoized(action, "k", 1)
    ref = await worker.wait(action, hears("go"))
    await one.lose(worker.worker)
    other = await serving(one)
    again = await other.invocation(action.task_id, 2)
    assert await other.memoized(again, "k", 2) == 1
    await worker.worker.open()
    stale = await worker.ask(MemoRequest(action.task_id, 1, b"late"), ServerEvict)
    assert stale.invocation == 1
    worker.status(ref)
    await worker.evicted_by_server(action)
    # D-16.7: nor does its report.
    await worker.worker.complete(action, '{"by":"the old one"}')
    assert not (await one.details(action.task_id)).done
    second = await other.wait(again, hears("go"))
    await one.push("go")
    await other.result(second)
    await completed_again(other, again)
    assert ref not in [completion.ref for completion in worker.completions]


async def test_d_20_8_an_acknowledged_operation_is_never_done_again(one: Instance) -> None:
    """D-29.1, D-29.2: the count grows by one, nodes are contiguous."""
    worker = await serving(one, retries=5)
    await one.define("child")
    action = await started(worker)
    for number in range(5):
        for node in range(number):
            await worker.memoized(action, f"k{node}", node)
        await worker.memoized(action, f"k{number}", number)
        action = await retried(worker, action)
    assert action.invocation == 6
    rows = await one.rows("SELECT branch, node, invocation FROM durable_entry ORDER BY node")
    assert [tuple(row) for row in rows] == [(1, node, node) for node in range(1, 6)]


# Cancels (D-21) -------------------------------------------------------------------------------------------------------


async def test_d_21_1_a_running_task_is_cancelled_on_its_worker(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    await one.cancel(action.task_id)
    cancel = await worker.worker.cancelled(action.task_id)
    assert (cancel.retry_count, cancel.invocation) == (0, 1)
    assert one.free(worker.worker, "durable") == 10
    # D-21.3, D-4.10.
    refusal = await worker.refused(MemoRequest(action.task_id, 1, b"k"))
    assert not refusal.is_non_determinism
    assert "CANCELLED" in refusal.message
    # D-28.3: what it still lists does no harm.
    worker.status(ref)
    await one.push("go")
    await one.empty()
    assert await one.status(action.task_id) is RunStatus.CANCELLED
    assert await counts(one, action) == [1]


async def test_d_27_19_a_cancelled_evicted_task_stays_cancelled(one: Instance) -> None:
    """D-21.2: its deadline passes, its event comes."""
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, sleeps("100s"))
    await worker.wait(action, hears("go"))
    await evicted(worker, action)
    await one.cancel(action.task_id)
    await one.ended(action.task_id, RunStatus.CANCELLED)
    await one.push("go")
    await one.pass_time(101, worker.worker)
    await one.empty()
    assert await one.status(action.task_id) is RunStatus.CANCELLED
    assert [start.invocation for start in worker.worker.starts] == [1]
    assert worker.worker.cancels == []


@pytest.mark.parametrize("ends", ["completes", "fails", "is cancelled"])
async def test_d_8_9_nothing_is_kept_of_a_task_that_has_ended(one: Instance, ends: str) -> None:
    worker = await serving(one)
    await one.define("child")
    action = await started(worker)
    [run] = (await worker.spawn(action, "child")).runs
    await worker.wait(action, sleeps("9h"))
    await worker.wait(action, hears("never"))
    if ends == "completes":
        await worker.worker.complete(action)
    elif ends == "fails":
        await worker.worker.fail(action)
    else:
        await one.cancel(action.task_id)
    await until(lambda: not one.scheduler.durable.knows(action.task_id), "its waits are dropped")
    await one.cancel(run.run_id)
    await one.empty()


async def test_d_4_10_a_finished_task_takes_no_requests(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    for request in (MemoRequest(action.task_id, 1, b"k"), WaitRequest(action.task_id, 1, (sleeps("1s"),))):
        assert "COMPLETED" in (await worker.refused(request)).message
    await worker.ask(EvictRequest(action.task_id, 1), EvictionAck)
    assert await counts(one, action) == []
