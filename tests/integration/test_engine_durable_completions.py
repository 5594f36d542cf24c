"""How completions are handed over: pushes, the poll, order, awaited children, the horizon (behaviour-durable D-15)."""

from __future__ import annotations

from functools import partial

import pytest
from durable_worker import DurableWorker, hears, retried, serving, sleeps, started
from engine_fixture import Instance, World
from engine_worker import TENANT, Worker, until

from hatchet.core.durable_log import PATIENCE_SECONDS, STALLED_SECONDS
from hatchet.core.durable_messages import EntryCompleted, EntryRef, ReceivedOrder
from hatchet.core.messages import Action, ReportKind
from hatchet.engine import leases

SOON = PATIENCE_SECONDS + 1


def of(ref: EntryRef, invocation: int) -> EntryRef:
    """The same entry for another invocation."""
    return EntryRef(ref.task_id, invocation, ref.branch, ref.node)


async def spawned(worker: DurableWorker, action: Action, index: int = 0) -> EntryRef:
    """Spawn a child; its entry."""
    [run] = (await worker.spawn(action, "child", index=index)).runs
    return EntryRef(action.task_id, action.invocation or 0, run.branch, run.node)


async def family(one: Instance, **options: object) -> tuple[DurableWorker, Worker]:
    """A worker for durable tasks, and one for their children, which waits to be told."""
    worker = await serving(one, **options)  # type: ignore[arg-type]
    await one.define("child")
    return worker, await one.worker("child")


async def child_ends(one: Instance, children: Worker, output: str = '{"ok": true}', number: int = 0) -> None:
    """A child completes, and its parent's log has its result."""
    before = len(await one.rows("SELECT FROM durable_result"))
    await until(lambda: len(children.starts) > number, "the child starts")
    await children.complete(children.starts[number], output)

    async def is_written() -> bool:
        return len(await one.rows("SELECT FROM durable_result")) > before

    await until(is_written, "the child's result is written")


async def pushed(one: Instance, worker: DurableWorker, keys: str) -> None:
    """Push these events, each after the one before was handed over."""
    for key in keys:
        before = len(worker.completions)
        await one.push(key)
        await until(partial(_has_more, worker, before), f"{key} completes")


def _has_more(worker: DurableWorker, than: int) -> bool:
    return len(worker.completions) > than


async def settled(worker: DurableWorker, action: Action, key: str = "settled") -> EntryRef:
    """Everything that was asked for this task before is done: an operation of it is answered."""
    return (await worker.memo(action, key)).ref


def nodes(worker: DurableWorker, invocation: int = 1) -> list[int]:
    """The nodes that were completed, in their order; without memos."""
    return [each.ref.node for each in worker.completions if each.order and each.ref.invocation == invocation]


# Pushes and the poll --------------------------------------------------------------------------------------------------


async def test_d_15_1_a_completion_comes_without_a_poll(one: Instance) -> None:
    """D-15.2, D-15.6: with the place in the log, the invocation that is current, and its order."""
    worker = await serving(one, retries=1)
    await retried(worker, await started(worker))
    [_, action] = worker.worker.starts
    ref = await worker.wait(action, hears("go"))
    await one.push("go", '{"n": 1}')
    assert await worker.completed(ref) == EntryCompleted(
        EntryRef(action.task_id, 2, 1, 1), '{"CREATE":{"go":[{"n": 1}]}}', order=1
    )


async def test_d_15_5_what_is_listed_again_is_sent_again(one: Instance) -> None:
    """D-15.8: and only what is listed. D-28.2: as often as it is listed. In the order of completion."""
    worker = await serving(one)
    action = await started(worker)
    refs = [await worker.wait(action, hears(key)) for key in "abc"]
    await pushed(one, worker, "bac")
    assert nodes(worker) == [2, 1, 3]
    worker.status(refs[0], refs[1])
    worker.status()
    worker.status(refs[1])
    await settled(worker, action)
    assert nodes(worker) == [2, 1, 3, 2, 1, 2]


async def test_d_15_8_open_and_unknown_entries_are_not_answered(one: Instance) -> None:
    """D-28.3."""
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    worker.status(ref, EntryRef(action.task_id, 1, 1, 99), EntryRef(action.task_id, 1, 7, 1))
    worker.status(EntryRef("no uuid", 1, 1, 1), EntryRef("00000000-0000-4000-8000-000000000001", 1, 1, 1))
    await settled(worker, action)
    assert len(worker.heard) == 2


async def test_d_15_9_the_poll_finds_what_no_push_told(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner's news are lost, and the worker lists the entry for a while."""
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    worker.status(ref)
    monkeypatch.setattr(one.engine.durable_streams, "satisfied", lambda *_: None)
    await one.push("go", '{"n": 1}')
    await until(lambda: one.rows("SELECT FROM durable_result"), "the result is written")
    worker.status(ref)
    await settled(worker, action)
    assert worker.completions == []
    await one.pass_time(40, worker.worker)
    worker.status(ref)
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1}]}}


async def test_d_15_6_what_was_received_is_not_sent_after_a_reconnect(one: Instance) -> None:
    """And what was lost with the stream is, once it is listed."""
    worker = await serving(one)
    action = await started(worker)
    refs = [await worker.wait(action, hears(key)) for key in "ab"]
    for key in "ab":
        await one.push(key)
    await until(lambda: len(worker.completions) == 2, "both complete")
    await worker.close()
    await worker.open()
    worker.status(refs[1], received=[ReceivedOrder(action.task_id, 1, 1)])
    await settled(worker, action)
    assert nodes(worker) == [1, 2, 2]


async def test_d_15_6_after_a_restart_the_release_goes_on_behind_what_was_received(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-20.7: two completions were handed over before; the third comes while the engine is away, and gets order 3."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)
    one = await world.engine()
    worker = await serving(one)
    action = await started(worker)
    await worker.worker.say(action, ReportKind.STARTED)
    refs = [await worker.wait(action, hears(key)) for key in "ab"]
    last = await worker.wait(action, sleeps("10s"))
    await pushed(one, worker, "ba")
    await worker.close()
    await worker.worker.close_stream()
    await one.stop()
    two = await world.engine(skipped=12)
    await worker.worker.open(two)
    await worker.open(two)
    worker.status(last, received=[ReceivedOrder(action.task_id, 1, 2)])
    assert (await worker.completed(last)).order == 3
    worker.status(refs[0])
    await worker.completed(refs[0], times=2)
    assert nodes(worker) == [2, 1, 3, 1]
    assert len(worker.worker.starts) == 1
    assert (await worker.memo(action, "k")).ref.node == 4


# Order ----------------------------------------------------------------------------------------------------------------


async def test_d_15_3_completions_come_in_their_order_and_not_before_their_predecessor(one: Instance) -> None:
    """D-15.12: a new invocation starts with nothing released, and each is behind its acknowledgement."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    for key in "abc":
        await worker.wait(action, hears(key))
    await pushed(one, worker, "cab")
    again = await retried(worker, action)
    for key in "ab":
        await worker.wait(again, hears(key))
    assert nodes(worker, 2) == []
    await worker.wait(again, hears("c"))
    await until(lambda: len(nodes(worker, 2)) == 3, "all complete")
    assert nodes(worker, 2) == [3, 1, 2]
    assert [each.order for each in worker.completions] == [1, 2, 3, 1, 2, 3]


async def test_d_15_3_on_a_branch_the_inherited_orders_count(one: Instance) -> None:
    """The contract's example: node 2 first, then node 1; branch at node 2; node 1 first there."""
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, hears("a"))
    await worker.wait(action, hears("b"))
    await pushed(one, worker, "ba")
    await worker.worker.complete(action)
    await one.ended(action.task_id, (await one.details(action.task_id)).status)
    await one.engine.durable.branch(TENANT, action.task_id, 2, 1)
    again = await worker.invocation(action.task_id, 2)
    await worker.wait(again, hears("a"))
    fresh = await worker.wait(again, hears("b"))
    assert fresh.branch == 2
    await until(lambda: nodes(worker, 2) == [1], "the inherited one completes")
    await one.push("b")
    last = await worker.completed(fresh)
    assert nodes(worker, 2) == [1, 2]
    # D-22.7: higher than the inherited ones.
    orders = [each.order or 0 for each in worker.completions]
    assert last.order == orders[-1] > max(orders[:-1])


async def test_d_15_10_a_release_that_is_stalled_ends_the_invocation(one: Instance) -> None:
    """The completion before it is never asked for again: another invocation walks the log from its beginning."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.wait(action, hears("a"))
    await worker.wait(action, hears("b"))
    await pushed(one, worker, "ba")
    again = await retried(worker, action)
    ref = await worker.wait(again, hears("a"))
    worker.status(ref)
    await settled_quietly(worker, one)
    await one.pass_time(STALLED_SECONDS - 5, worker.worker)
    worker.status(ref)
    await settled_quietly(worker, one)
    assert nodes(worker, 2) == []
    await one.pass_time(10, worker.worker)
    worker.status(ref)
    notice = await worker.evicted_by_server(again)
    assert "ordered completion release stalled" in notice.reason
    last = await worker.invocation(action.task_id, 3)
    assert last.retry_count == again.retry_count


async def settled_quietly(worker: DurableWorker, one: Instance) -> None:
    """Everything that was said before is handled."""
    await until(lambda: not one.engine.durable_streams._chains, "all requests are handled")


# Children that are awaited --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["PYTHON", None])
async def test_d_15_16_a_child_is_handed_over_once_it_is_awaited(one: Instance, language: str | None) -> None:
    """Before, it gets no order and holds nothing back (D-13.20)."""
    worker, children = await family(one, language=language)
    action = await started(worker)
    child = await spawned(worker, action)
    wait = await worker.wait(action, hears("go"))
    await child_ends(one, children)
    await one.push("go")
    assert (await worker.completed(wait)).order == 1
    assert nodes(worker) == [2]
    worker.status(child)
    completed = await worker.completed(child)
    assert (completed.order, completed.payload) == (2, '{"ok": true}')


@pytest.mark.parametrize("language", ["GO", "TYPESCRIPT"])
async def test_d_15_16_others_are_told_of_a_child_at_once(one: Instance, language: str) -> None:
    worker, children = await family(one, language=language)
    action = await started(worker)
    child = await spawned(worker, action)
    await child_ends(one, children)
    assert (await worker.completed(child)).order == 1


async def test_d_15_16_who_tells_its_orders_hands_over_in_order(one: Instance) -> None:
    """Whatever its language is."""
    worker, children = await family(one, language="GO")
    action = await started(worker)
    wait = await worker.wait(action, hears("go"))
    worker.status(wait, received=[])
    child = await spawned(worker, action)
    await child_ends(one, children)
    await one.push("go")
    assert (await worker.completed(wait)).order == 1
    worker.status(child, received=[ReceivedOrder(action.task_id, 1, 1)])
    assert (await worker.completed(child)).order == 2


async def test_d_15_16_a_child_that_is_awaited_early_comes_as_soon_as_it_ends(one: Instance) -> None:
    worker, children = await family(one)
    action = await started(worker)
    child = await spawned(worker, action)
    worker.status(child)
    await child_ends(one, children)
    await worker.completed(child)


async def test_d_15_16_a_child_that_was_handed_over_is_so_in_later_invocations(one: Instance) -> None:
    """It has its order, and the replay need not list it."""
    worker, children = await family(one, retries=1)
    action = await started(worker)
    child = await spawned(worker, action)
    worker.status(child)
    await child_ends(one, children)
    await worker.completed(child)
    again = await retried(worker, action)
    child = await spawned(worker, again)
    assert (await worker.completed(child)).order == 1


@pytest.mark.parametrize("output", ['"text"', "5", "[1]", "null", "true"])
async def test_d_15_15_an_output_that_is_no_object_is_a_failure(one: Instance, output: str) -> None:
    worker, children = await family(one)
    action = await started(worker)
    child = await spawned(worker, action)
    worker.status(child)
    await child_ends(one, children, output)
    completed = await worker.completed(child)
    assert completed.is_failure
    assert completed.payload == ""
    assert "its output is no JSON object" in (completed.error or "")


async def test_d_15_14_only_children_fail(one: Instance) -> None:
    """A wait whose expression fails goes on."""
    worker, children = await family(one)
    action = await started(worker)
    wait = await worker.wait(action, hears("go", when="input.n == 1"))
    child = await spawned(worker, action)
    worker.status(wait, child)
    await one.push("go", '{"m": 1}')
    await until(lambda: children.starts, "the child starts")
    await children.fail(children.starts[0], "ValueError: boom")
    completed = await worker.completed(child)
    assert (completed.is_failure, completed.error, completed.payload) == (True, "ValueError: boom", "")
    assert nodes(worker) == [2]


# The horizon ----------------------------------------------------------------------------------------------------------


async def beside(one: Instance) -> tuple[DurableWorker, Action]:
    """A wait that was over when another one had been asked for; the replay of that, up to the first wait's node."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    ref = await worker.wait(action, hears("a"))
    await worker.wait(action, hears("b"))
    await worker.memoized(action, "k", 1)
    await one.push("a")
    await worker.completed(ref)
    return worker, await retried(worker, action)


async def test_d_15_17_a_replay_hands_nothing_over_before_its_siblings_have_asked(one: Instance) -> None:
    worker, again = await beside(one)
    ref = await worker.wait(again, hears("a"))
    worker.status(ref)
    other = await worker.wait(again, hears("b"))
    worker.status(ref, other)
    await settled_quietly(worker, one)
    assert nodes(worker, 2) == []
    await worker.memo(again, "k")
    await worker.completed(ref)


async def test_d_15_17_what_is_listed_for_long_comes_all_the_same(one: Instance) -> None:
    """For code with fewer operations than before (D-14.11)."""
    worker, again = await beside(one)
    ref = await worker.wait(again, hears("a"))
    worker.status(ref)
    await settled_quietly(worker, one)
    await one.pass_time(SOON, worker.worker)
    worker.status(ref)
    await worker.completed(ref)


async def test_d_15_17_a_result_that_came_while_the_task_was_away_is_held_as_well(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, hears("a"))
    await worker.wait(action, hears("b"))
    await worker.evict(action)
    await one.push("a")
    again = await worker.invocation(action.task_id, 2)
    ref = await worker.wait(again, hears("a"))
    worker.status(ref)
    await settled_quietly(worker, one)
    assert nodes(worker, 2) == []
    await worker.wait(again, hears("b"))
    await worker.completed(ref)


async def test_d_15_12_a_completion_is_only_sent_for_what_the_invocation_asked_for(one: Instance) -> None:
    """D-15.11: of the one before nothing is sent, and its numbers mean nothing."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    first = await worker.wait(action, hears("a"))
    await worker.wait(action, hears("b"))
    await one.push("a")
    await worker.completed(first)
    again = await retried(worker, action)
    await one.push("b")
    await until(lambda: two_results(one), "both are over")
    worker.status(of(first, 2))
    assert nodes(worker, 2) == []
    refs = [await worker.wait(again, hears(key)) for key in "ab"]
    for ref in refs:
        await worker.completed(ref)
    assert nodes(worker, 2) == [1, 2]


async def two_results(one: Instance) -> bool:
    return len(await one.rows("SELECT FROM durable_result")) == 2
