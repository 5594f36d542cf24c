"""Invocations that are over, what clients do, and invariants (behaviour-durable D-16, D-28, D-29)."""

from __future__ import annotations

import asyncio

import pytest
from durable_worker import DurableWorker, hears, retried, serving, sleeps, started
from engine_fixture import Instance
from engine_worker import TENANT, Worker, until

from hatchet.core.durable_messages import (
    EntryRef,
    EvictionAck,
    EvictRequest,
    MemoAck,
    MemoRequest,
    MemoValue,
    ServerEvict,
    SpawnRequest,
    WaitRequest,
)
from hatchet.core.messages import Action, TriggerItem
from hatchet.core.statuses import RunStatus


async def entries(one: Instance) -> list[tuple[int, int, int]]:
    """(branch, node, invocation) of all entries."""
    rows = await one.rows("SELECT branch, node, invocation FROM durable_entry ORDER BY task_id, branch, node")
    return [(row["branch"], row["node"], row["invocation"]) for row in rows]


async def quiet(one: Instance) -> None:
    """All requests that were said are handled."""
    await until(lambda: not one.engine.durable_streams._chains, "all requests are handled")


def notices(worker: DurableWorker) -> list[ServerEvict]:
    return [each for each in worker.heard if isinstance(each, ServerEvict)]


async def cut_off(one: Instance, **options: object) -> tuple[DurableWorker, Action, DurableWorker, Action]:
    """A worker that was cut off and its invocation, and the one that has the task now."""
    old = await serving(one, **options)  # type: ignore[arg-type]
    action = await started(old)
    await old.wait(action, hears("go"))
    await one.lose(old.worker)
    new = await serving(one, **options)  # type: ignore[arg-type]
    return old, action, new, await new.invocation(action.task_id, 2)


# Stale invocations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("invocation", [-1, 0, 1, 3, 99])
async def test_d_16_1_another_count_is_told_so_and_changes_nothing(one: Instance, invocation: int) -> None:
    """D-16.2: with the count of the request; D-16.6: also one that is higher; D-5.6."""
    worker = await serving(one, retries=1)
    action = await retried(worker, await started(worker))
    for request in (
        MemoRequest(action.task_id, invocation, b"k"),
        WaitRequest(action.task_id, invocation, (sleeps("1h"),)),
        SpawnRequest(action.task_id, invocation, (TriggerItem(workflow_name="flow"),)),
    ):
        notice = await worker.ask(request, ServerEvict)
        assert (notice.task_id, notice.invocation) == (action.task_id, invocation)
        assert f"invocation {invocation} " in notice.reason
        assert "2 is the current one" in notice.reason
    # Answered from the task's chain of requests, so that whatever was written would be seen.
    assert (await worker.memo(action, "k")).ref.node == 1
    assert await entries(one) == [(1, 1, 2)]
    assert len(await one.rows("SELECT FROM task")) == 1


@pytest.mark.parametrize("invocation", [0, 1, 3])
async def test_d_5_6_a_stale_eviction_is_acknowledged_and_changes_nothing(one: Instance, invocation: int) -> None:
    """D-16.1, D-17.10: with server_evict alone the worker would stand still for 30 s."""
    worker = await serving(one, retries=1)
    action = await retried(worker, await started(worker))
    await worker.wait(action, hears("go"))
    ack = await worker.ask(EvictRequest(action.task_id, invocation), EvictionAck)
    assert ack == EvictionAck(action.task_id, invocation)
    assert not (await one.details(action.task_id)).is_evicted
    assert (await worker.memo(action, "k")).ref.node == 2
    assert notices(worker) == []


async def test_d_16_4_a_worker_that_was_cut_off_writes_nothing_and_ends_nothing(one: Instance) -> None:
    """D-16.7, D-4.11, D-29.1, D-20.11: neither with its own count, nor with that of its successor."""
    old, action, new, current = await cut_off(one)
    await old.worker.open()
    await old.open()
    for invocation in (1, 2):
        await old.ask(MemoRequest(action.task_id, invocation, b"k"), ServerEvict)
        await old.ask(EvictRequest(action.task_id, invocation), EvictionAck)
    await old.worker.complete(action, '{"by": "old"}')
    await old.worker.fail(action)
    ref = await new.wait(current, hears("go"))
    await one.push("go")
    await new.completed(ref)
    assert await entries(one) == [(1, 1, 1)]
    assert old.completions == []
    details = await one.details(action.task_id)
    assert (details.status, details.is_evicted) == (RunStatus.RUNNING, False)
    await new.worker.complete(current, '{"by": "new"}')
    details = await one.ended(action.task_id, RunStatus.COMPLETED)
    assert details.tasks[0].output == '{"by": "new"}'


async def test_d_16_5_one_notice_for_a_task_whatever_is_listed(one: Instance) -> None:
    """D-15.8."""
    worker = await serving(one, retries=1)
    action, other = await started(worker), await started(worker)
    refs = [await worker.wait(action, hears(key)) for key in "abc"]
    await retried(worker, action)
    mine = await worker.wait(other, hears("a"))
    worker.status(*refs, mine)
    await quiet(one)
    assert [(each.task_id, each.invocation) for each in notices(worker)] == [(action.task_id, 1)]


async def test_d_16_3_after_the_notice_the_invocation_is_forgotten(one: Instance) -> None:
    """Nothing is sent for it, and the slots are those of its successor."""
    old, action, new, current = await cut_off(one)
    await old.worker.open()
    await old.open()
    old.status(EntryRef(action.task_id, 1, 1, 1))
    await old.evicted_by_server(action)
    await one.push("go")
    await new.completed(await new.wait(current, hears("go")))
    assert old.completions == []
    assert one.free(old.worker, "durable") == 10
    assert one.free(new.worker, "durable") == 9


# What clients do ------------------------------------------------------------------------------------------------------


async def test_d_28_1_requests_that_waited_for_the_stream_are_taken_in_their_order(one: Instance) -> None:
    """D-2.9: behind the status, or before it."""
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    await worker.close()
    await one.push("go")
    await worker.open()
    worker.say(MemoRequest(action.task_id, 1, b"a"))
    worker.status(ref)
    worker.say(MemoRequest(action.task_id, 1, b"b"))
    await worker.completed(ref)
    await until(lambda: len(worker.acks) == 3, "both are answered")
    assert [each.ref.node for each in worker.acks if isinstance(each, MemoAck)] == [2, 3]


async def test_d_28_2_a_status_may_come_as_often_as_it_likes(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    refs = [await worker.wait(action, hears("go")) for _ in range(20)]
    for _ in range(200):
        worker.status(*refs)
    await one.push("go")
    for ref in refs:
        await worker.completed(ref)
    await quiet(one)
    assert len(await one.rows("SELECT FROM durable_release")) == 20


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.CANCELLED])
async def test_d_28_3_what_is_listed_of_a_finished_task_is_no_harm(one: Instance, status: RunStatus) -> None:
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    if status is RunStatus.COMPLETED:
        await worker.worker.complete(action)
    else:
        await one.cancel(action.task_id)
    await one.ended(action.task_id, status)
    worker.status(ref)
    await worker.evicted_by_server(action)
    assert await one.status(action.task_id) is status
    assert worker.completions == []


async def test_d_28_5_the_end_of_a_task_may_overtake_its_last_memo(one: Instance) -> None:
    """The value may get lost; a replay computes it again."""
    worker = await serving(one)
    action = await started(worker)
    ref = (await worker.memo(action, "k")).ref
    await worker.worker.complete(action)
    worker.say(MemoValue(ref, "1"))
    await one.ended(action.task_id, RunStatus.COMPLETED)
    await quiet(one)
    await one.replay(action.task_id)
    again = await worker.invocation(action.task_id, 2)
    ack = await worker.memo(again, "k")
    assert ack.existed
    assert ack.payload in (None, "1")


async def test_d_28_6_tasks_of_one_worker_do_not_mix(one: Instance) -> None:
    """Their counts are equal, and their requests come crosswise."""
    worker = await serving(one)
    actions = [await started(worker) for _ in range(5)]
    for number in range(20):
        for action in actions:
            worker.say(MemoRequest(action.task_id, 1, b"%d" % number))
    await until(lambda: len(worker.acks) == 100, "all are answered")
    for action in actions:
        acks = [each for each in worker.acks if isinstance(each, MemoAck) and each.ref.task_id == action.task_id]
        assert [each.ref.node for each in acks] == list(range(1, 21))


async def test_d_28_7_concurrent_waits_complete_in_the_order_of_what_happened(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    for key in "abcde":
        worker.say(WaitRequest(action.task_id, 1, (hears(key),)))
    await until(lambda: len(worker.acks) == 5, "all are registered")
    for key in "edabc":
        await one.push(key)
    await until(lambda: len(worker.completions) == 5, "all complete")
    assert [each.ref.node for each in worker.completions] == [5, 4, 1, 2, 3]
    assert [each.order for each in worker.completions] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("is_open", [True, False])
async def test_d_28_8_a_task_without_durable_operations_completes(one: Instance, is_open: bool) -> None:
    """With a stream that says nothing, or without one."""
    worker = await serving(one)
    if not is_open:
        await worker.close()
    action = await started(worker)
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    assert worker.heard == []
    await one.empty()


async def test_d_28_11_a_failure_of_a_stopping_worker_is_an_ordinary_one(one: Instance) -> None:
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.memoized(action, "k", 1)
    await worker.close()
    await worker.worker.fail(action, "DurableListener stopped")
    await worker.open()
    again = await worker.invocation(action.task_id, 2)
    assert again.retry_count == 1
    assert (await worker.memo(again, "k")).payload == "1"


# Invariants -----------------------------------------------------------------------------------------------------------


async def test_d_29_2_places_are_unique_and_contiguous_whoever_asks(one: Instance) -> None:
    """Two streams of the worker say requests of one task at the same time."""
    worker = await serving(one)
    action = await started(worker)
    other = await DurableWorker(worker.worker).open()
    for number in range(50):
        worker.say(MemoRequest(action.task_id, 1, b"a%d" % number))
        other.say(MemoRequest(action.task_id, 1, b"b%d" % number))
    await until(lambda: len(worker.acks) + len(other.acks) == 100, "all are answered")
    acks = [each.ref.node for each in worker.acks + other.acks if isinstance(each, MemoAck)]
    assert sorted(acks) == list(range(1, 101))
    assert await entries(one) == [(1, node, 1) for node in range(1, 101)]


async def test_d_29_3_an_entry_keeps_its_order_and_payload(one: Instance) -> None:
    """Through retry, eviction and restore."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    refs = [await worker.wait(action, hears(key)) for key in "ab"]
    await worker.wait(action, hears("never"))
    for key in "ba":
        await one.push(key, f'{{"k": "{key}"}}')
    for ref in refs:
        await worker.completed(ref)
    first = {(each.ref.node, each.order, each.payload) for each in worker.completions}
    again = await retried(worker, action)
    for invocation in (2, 3):
        del worker.heard[:]
        refs = [await worker.wait(again, hears(key)) for key in "ab"]
        await worker.wait(again, hears("never"))
        for ref in refs:
            await worker.completed(ref)
        assert {(each.ref.node, each.order, each.payload) for each in worker.completions} == first
        if invocation == 2:
            await worker.evict(again)
            await one.engine.evicting.restore(TENANT, [action.task_id], "a test")
            again = await worker.invocation(action.task_id, 3)


async def test_d_29_4_there_are_as_many_children_as_run_entries(one: Instance) -> None:
    """Over all branches and invocations."""
    worker = await serving(one, retries=1)
    await one.define("child")
    action = await started(worker)
    await worker.spawn(action, "child", "child")
    again = await retried(worker, action)
    await worker.spawn(again, "child", "child", "child")
    await worker.worker.complete(again)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    await one.engine.durable.branch(TENANT, action.task_id, 2, 1)
    third = await worker.invocation(action.task_id, 3)
    ack = await worker.spawn(third, "child", "child")
    assert [(run.branch, run.node) for run in ack.runs] == [(1, 1), (2, 2)]
    rows = await one.rows("SELECT run_id FROM durable_entry WHERE kind = 'RUN'")
    made = await one.rows("SELECT id FROM task WHERE parent_task_id = $1::uuid", action.task_id)
    assert {row["run_id"] for row in rows} == {row["id"] for row in made}
    assert len(rows) == len(made) == 4


async def test_d_29_6_an_evicted_task_whose_result_came_meanwhile_goes_on(one: Instance) -> None:
    """Whatever comes first: the eviction or the event."""
    worker = await serving(one, slots=40)
    actions = [await started(worker) for _ in range(20)]
    for action in actions:
        await worker.wait(action, hears(action.task_id))

    async def evict_and_push(number: int, action: Action) -> None:
        both = [worker.evict(action), one.push(action.task_id)]
        await asyncio.gather(*(both if number % 2 else reversed(both)))

    await asyncio.gather(*(evict_and_push(*each) for each in enumerate(actions)))
    for action in actions:
        again = await worker.invocation(action.task_id, 2)
        await worker.completed(await worker.wait(again, hears(action.task_id)))
        await worker.worker.complete(again)
        await one.ended(action.task_id, RunStatus.COMPLETED)
    await one.empty()


async def test_d_29_7_the_slots_in_use_are_those_of_tasks_on_the_worker(one: Instance) -> None:
    worker = await serving(one, retries=1)
    actions = [await started(worker) for _ in range(4)]

    def free(of: Worker) -> tuple[int, int]:
        return one.free(of, "durable"), one.free(of)

    assert free(worker.worker) == (6, 10)
    await worker.wait(actions[0], hears("go"))
    await one.pass_time(2, worker.worker)
    await worker.evict(actions[0])
    assert free(worker.worker) == (7, 10)
    await worker.worker.complete(actions[1])
    await one.cancel(actions[2].task_id)
    await until(lambda: free(worker.worker) == (9, 10), "the slots are free")
    await retried(worker, actions[3])
    await one.push("go")
    await worker.invocation(actions[0].task_id, 2)
    assert free(worker.worker) == (8, 10)
