"""Replays and branches of durable tasks through the engine (behaviour-durable D-22, D-6.7 to D-6.10, D-8.10, D-9.7)."""

from __future__ import annotations

import asyncio

import pytest
from durable_worker import DurableWorker, hears, serving, sleeps, started
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT, until

from hatchet.core.durable_messages import EntryRef, LogLine, MemoRequest, Refused, WaitRequest
from hatchet.core.errors import FailedPrecondition, NotFound
from hatchet.core.messages import Action
from hatchet.core.statuses import RunStatus
from hatchet.engine import durable_evictions

UNKNOWN = "707d0855-80ab-4e1f-a156-f1c4546cbf00"
DURATIONS = ("1ms", "2ms", "3ms")


@pytest.fixture(autouse=True)
def no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eviction right behind an answer restores nothing by itself."""
    monkeypatch.setattr(durable_evictions, "SOON_SECONDS", 3600.0)


async def branch(one: Instance, action: Action, node: int, of: int = 1) -> int:
    return await one.engine.durable.branch(TENANT, action.task_id, node, of)


async def lines(one: Instance, action: Action) -> list[LogLine]:
    return await one.engine.durable.entries(TENANT, action.task_id, 0, 1000)


async def places(one: Instance, action: Action) -> list[tuple[int, int]]:
    return [(line.branch, line.node) for line in await lines(one, action)]


async def three_sleeps(worker: DurableWorker, action: Action) -> list[EntryRef]:
    """What the code does: three sleeps one after the other; their places."""
    refs = []
    for text in DURATIONS:
        refs.append(await worker.wait(action, sleeps(text)))
        await worker.result(refs[-1])
    return refs


async def done(worker: DurableWorker, action: Action, output: str = '{"ok":true}') -> None:
    await worker.worker.complete(action, output)
    await worker.worker.instance.ended(action.task_id, RunStatus.COMPLETED)


async def of_three_sleeps(one: Instance) -> tuple[DurableWorker, Action]:
    """A completed run."""
    worker = await serving(one)
    action = await started(worker)
    await three_sleeps(worker, action)
    await done(worker, action)
    return worker, action


async def test_d_22_1_a_replay_of_a_completed_run_answers_from_the_log(one: Instance) -> None:
    """D-22.4, D-27.6: sleep, event, memo and child; nothing is begun again."""
    worker = await serving(one)
    await one.define("child")
    helper = await one.worker("child", completes=True)

    async def code(action: Action) -> list[object]:
        slept = await worker.wait(action, sleeps("20ms"))
        results = [await worker.result(slept)]
        heard = await worker.wait(action, hears("go"))
        if action.invocation == 1:
            await one.push("go", '{"n":1}')
        results.append(await worker.result(heard))
        results.append(await worker.memoized(action, "k", {"by": action.invocation}))
        [run] = (await worker.spawn(action, "child")).runs
        ref = EntryRef(action.task_id, heard.invocation, run.branch, run.node)
        worker.status(ref)
        results.append(await worker.result(ref))
        return [*results, run.run_id]

    action = await started(worker)
    first = await code(action)
    await done(worker, action)
    before = await lines(one, action)
    assert await one.replay(action.task_id)
    again = await worker.invocation(action.task_id, 2)
    assert again.retry_count == 1
    assert await code(again) == first
    await done(worker, again)
    assert await lines(one, action) == before
    assert len(helper.starts) == 1
    for invocation in (1, 2):
        found = [(one.order, one.ref.node) for one in worker.completions if one.ref.invocation == invocation]
        # D-15.5: one may come twice.
        assert list(dict.fromkeys(one for one in found if one[0])) == [(1, 1), (2, 2), (3, 4)]
    await one.empty()


async def test_d_22_2_a_replay_of_a_failed_run_goes_on_from_what_was_not_over(one: Instance) -> None:
    """A child that failed stays failed."""
    worker = await serving(one)
    await one.define("child")
    helper = await one.worker("child")
    action = await started(worker)
    [run] = (await worker.spawn(action, "child")).runs
    await helper.fail(await helper.started(run.run_id), "no")
    ref = EntryRef(action.task_id, 1, 1, 1)
    worker.status(ref)
    assert (await worker.completed(ref)).error == "no"
    await worker.wait(action, hears("go"))
    await worker.worker.fail(action)
    await one.ended(action.task_id, RunStatus.FAILED)
    # Nobody listens meanwhile.
    await one.push("go", '{"n":1}')
    assert await one.replay(action.task_id)
    again = await worker.invocation(action.task_id, 2)
    assert (await worker.spawn(again, "child")).runs == (run,)
    ref = EntryRef(action.task_id, 2, 1, 1)
    worker.status(ref)
    assert (await worker.completed(ref)).error == "no"
    wait = await worker.wait(again, hears("go"))
    await one.push("go", '{"n":2}')
    found = await worker.result(wait)
    # What came between the end and the replay counts, too: the wait goes on as first registered.
    assert found["CREATE"]["go"] in ([{"n": 1}], [{"n": 2}])
    await done(worker, again)
    assert len(helper.starts) == 1


async def test_d_9_7_a_replay_of_a_cancelled_run_keeps_the_deadlines(one: Instance) -> None:
    """D-21.4, D-8.10, D-27.3: what is over answers, what is not goes on; one deadline passed meanwhile."""
    worker = await serving(one)
    action = await started(worker)
    await worker.result(await worker.wait(action, sleeps("1ms")))
    await worker.wait(action, sleeps("100s"))
    await worker.wait(action, sleeps("1000s"))
    await worker.wait(action, hears("a", "g"), sleeps("9h", "g"), hears("b"))
    await one.push("a", '{"n":1}')
    await until(lambda: any(waiting.matches for waiting in one.scheduler.durable), "the event is taken")
    await one.cancel(action.task_id)
    await until(lambda: not one.scheduler.durable.knows(action.task_id), "its waits are dropped")
    one.clock.skip(200)
    await worker.worker.beat()
    assert await one.replay(action.task_id)
    again = await worker.invocation(action.task_id, 2)
    assert again.retry_count == 1
    await worker.result(await worker.wait(again, sleeps("1ms")))
    passed = await worker.wait(again, sleeps("100s"))
    longer = await worker.wait(again, sleeps("1000s"))
    group = await worker.wait(again, hears("a", "h"), sleeps("9h", "h"), hears("b"))
    await worker.result(passed)
    # D-8.10: its partial result is kept.
    await one.push("b", '{"n":2}')
    assert await worker.result(group) == {"CREATE": {"a": [{"n": 1}], "b": [{"n": 2}]}}
    assert longer not in [completion.ref for completion in worker.completions]
    await one.pass_time(801, worker.worker)
    await worker.result(longer)
    await done(worker, again)


async def test_d_22_3_a_replay_of_a_running_task_changes_nothing(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    assert await one.replay(action.task_id) == []
    await one.push("go")
    await worker.result(ref)
    await done(worker, action)
    assert [start.invocation for start in worker.worker.starts] == [1]


async def test_d_22_3_a_replay_of_an_evicted_run_leads_to_its_end(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, hears("go"))
    await worker.evict(action)
    await one.replay(action.task_id)
    again = await worker.invocation(action.task_id, 2)
    ref = await worker.wait(again, hears("go"))
    await one.push("go")
    await worker.result(ref)
    await done(worker, again)
    await one.empty()


@pytest.mark.parametrize("node", [1, 2, 3])
async def test_d_22_9_a_branch_repeats_what_comes_from_its_node_on(one: Instance, node: int) -> None:
    """D-22.5, D-22.6: what is below answers from the log."""
    worker, action = await of_three_sleeps(one)
    old = await lines(one, action)
    assert await branch(one, action, node) == 2
    again = await worker.invocation(action.task_id, 2)
    assert again.retry_count == 1
    refs = await three_sleeps(worker, again)
    assert [(ref.branch, ref.node) for ref in refs] == [(1 if at < node else 2, at) for at in (1, 2, 3)]
    await done(worker, again)
    found = await lines(one, action)
    assert found[:3] == old
    assert [(line.branch, line.node) for line in found[3:]] == [(2, at) for at in range(node, 4)]
    assert all(line.is_satisfied for line in found)
    # D-22.7: orders go on from the inherited ones.
    orders = [completion.order for completion in worker.completions if completion.ref.invocation == 2]
    assert orders == [1, 2, 3]


async def test_d_6_10_a_branch_of_a_branch(one: Instance) -> None:
    """D-6.8: a node below belongs to the branch that is nearest on the way to the root."""
    worker, action = await of_three_sleeps(one)
    assert await branch(one, action, 2) == 2
    second = await worker.invocation(action.task_id, 2)
    await three_sleeps(worker, second)
    await done(worker, second)
    assert await branch(one, action, 3, of=2) == 3
    third = await worker.invocation(action.task_id, 3)
    assert [(ref.branch, ref.node) for ref in await three_sleeps(worker, third)] == [(1, 1), (2, 2), (3, 3)]
    await done(worker, third)
    # Siblings are never consulted.
    assert await branch(one, action, 3, of=1) == 4
    fourth = await worker.invocation(action.task_id, 4)
    assert [(ref.branch, ref.node) for ref in await three_sleeps(worker, fourth)] == [(1, 1), (1, 2), (4, 3)]
    await done(worker, fourth)
    assert await places(one, action) == [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3), (4, 3)]


async def test_d_22_6_a_memo_is_computed_again_on_a_branch(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    assert [await worker.memoized(action, key, 1) for key in "ab"] == [1, 1]
    await done(worker, action)
    await branch(one, action, 2)
    again = await worker.invocation(action.task_id, 2)
    assert [await worker.memoized(again, key, 2) for key in "ab"] == [1, 2]
    await done(worker, again)
    assert await one.replay(action.task_id)
    third = await worker.invocation(action.task_id, 3)
    assert [await worker.memoized(third, key, 3) for key in "ab"] == [1, 2]


async def test_d_14_1_on_a_branch_other_operations_are_allowed(one: Instance) -> None:
    """Below its node they are compared."""
    worker, action = await of_three_sleeps(one)
    await branch(one, action, 2)
    again = await worker.invocation(action.task_id, 2)
    assert (await worker.ask(MemoRequest(again.task_id, 2, b"k"), Refused)).is_non_determinism
    await worker.result(await worker.wait(again, sleeps("1ms")))
    assert await worker.memoized(again, "k", 1) == 1
    await done(worker, again)
    await one.replay(action.task_id)
    third = await worker.invocation(action.task_id, 3)
    await worker.result(await worker.wait(third, sleeps("1ms")))
    refusal = await worker.ask(WaitRequest(third.task_id, 3, (sleeps("2ms"),)), Refused)
    assert (refusal.is_non_determinism, refusal.ref.branch, refusal.ref.node) == (True, 2, 2)


async def test_d_15_3_inherited_completions_come_in_their_order_whatever_their_numbers(one: Instance) -> None:
    """Nodes 1 and 2 concurrent, node 2 first: on a branch at node 2 node 1 comes first, then the new entries."""
    worker = await serving(one)
    action = await started(worker)
    first = await worker.wait(action, hears("a"))
    second = await worker.wait(action, hears("b"))
    await one.push("b")
    await worker.result(second)
    await one.push("a")
    await worker.result(first)
    await worker.result(await worker.wait(action, sleeps("1ms")))
    await done(worker, action)
    assert [completion.order for completion in worker.completions] == [1, 2, 3]
    await branch(one, action, 2)
    again = await worker.invocation(action.task_id, 2)
    first = await worker.wait(again, hears("a"))
    second = await worker.wait(again, hears("b"))
    assert (first.branch, second.branch) == (1, 2)
    await one.push("b", '{"n":2}')
    assert await worker.result(second) == {"CREATE": {"b": [{"n": 2}]}}
    third = await worker.wait(again, sleeps("1ms"))
    await worker.result(third)
    found = [completion for completion in worker.completions if completion.ref.invocation == 2]
    assert [completion.ref.node for completion in found] == [1, 2, 3]
    orders = [completion.order or 0 for completion in found]
    assert orders == sorted(set(orders))


async def test_d_22_8_an_old_branch_completes_nothing_on_the_new_one(one: Instance) -> None:
    """Nor does it restore the task."""
    worker = await serving(one)
    action = await started(worker)
    await worker.result(await worker.wait(action, sleeps("1ms")))
    await worker.wait(action, hears("old"))
    await worker.wait(action, sleeps("100s"))
    await worker.evict(action)
    assert await branch(one, action, 2) == 2
    again = await worker.invocation(action.task_id, 2)
    assert again.retry_count == 0
    await worker.result(await worker.wait(again, sleeps("1ms")))
    wait = await worker.wait(again, hears("new"))
    assert (wait.branch, wait.node) == (2, 2)
    await worker.evict(again)
    await one.push("old")
    await one.pass_time(101, worker.worker)
    assert (await one.details(action.task_id)).is_evicted
    assert [line.is_satisfied for line in await lines(one, action)] == [True, False, False, False]
    await one.push("new")
    third = await worker.invocation(action.task_id, 3)
    await worker.wait(third, sleeps("1ms"))
    await worker.result(await worker.wait(third, hears("new")))
    await done(worker, third)
    await one.empty()


async def test_d_22_6_a_repeated_sleep_takes_its_full_time(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, sleeps("100s"))
    await worker.evict(action)
    await one.pass_time(90, worker.worker)
    await branch(one, action, 1)
    again = await worker.invocation(action.task_id, 2)
    ref = await worker.wait(again, sleeps("100s"))
    await one.pass_time(90, worker.worker)
    assert worker.completions == []
    await one.pass_time(11, worker.worker)
    await worker.result(ref)


async def test_d_22_10_what_cannot_be_branched(one: Instance) -> None:
    worker, action = await of_three_sleeps(one)
    for task_id in (UNKNOWN, "x"):
        with pytest.raises(NotFound):
            await one.engine.durable.branch(TENANT, task_id, 1, 1)
    with pytest.raises(NotFound):
        await one.engine.durable.branch(OTHER_TENANT, action.task_id, 1, 1)
    for node, of in ((4, 1), (0, 1), (-1, 1), (1, 2), (1, 0)):
        with pytest.raises(NotFound, match=rf"no node {node} on branch {of}"):
            await branch(one, action, node, of)
    await one.watched()
    assert [start.invocation for start in worker.worker.starts] == [1]
    assert (await one.rows("SELECT count(*) AS n FROM durable_branch"))[0]["n"] == 0


async def test_d_22_11_an_executing_run_is_not_branched(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    with pytest.raises(FailedPrecondition, match="RUNNING"):
        await branch(one, action, 1)
    await one.push("go")
    await worker.result(ref)
    await done(worker, action)


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
async def test_d_22_11_whatever_its_end_a_run_may_be_branched(one: Instance, ends: str) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.memoized(action, "k", 1)
    if ends == "fails":
        await worker.worker.fail(action)
        await one.ended(action.task_id, RunStatus.FAILED)
    else:
        await one.cancel(action.task_id)
    assert await branch(one, action, 1) == 2
    # The branch request un-finishes the run before it answers (D-9.10).
    assert not (await one.details(action.task_id)).done
    again = await worker.invocation(action.task_id, 2)
    assert await worker.memoized(again, "k", 2) == 2
    await done(worker, again)


async def test_d_22_two_branches_at_once_are_two(one: Instance) -> None:
    worker, action = await of_three_sleeps(one)
    results = await asyncio.gather(*(branch(one, action, 1) for _ in range(2)), return_exceptions=True)
    numbers = sorted(result for result in results if isinstance(result, int))
    assert numbers in ([2], [2, 3])
    again = await worker.invocation(action.task_id, 2)
    refs = await three_sleeps(worker, again)
    assert {ref.branch for ref in refs} <= {2, 3}
    assert len({ref.branch for ref in refs}) == 1
    await done(worker, again)
