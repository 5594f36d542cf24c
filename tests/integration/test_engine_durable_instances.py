"""Durable tasks with several instances: streams elsewhere than the owner, take-over, restarts (D-20.7, D-29).

What one instance does not hear from another one is repeated by polls, so these tests let no poll help where the rule is
about the message (D-15.9).
"""

from __future__ import annotations

import asyncio
from math import inf

import asyncpg
import pytest
import pytest_asyncio
from durable_code import everything
from durable_worker import DurableWorker, hears, retried, serving, sleeps, started
from engine_fixture import Instance, World
from engine_worker import TENANT, until

from hatchet.core.durable_messages import (
    EntryRef,
    MemoRequest,
    MemoValue,
    ReceivedOrder,
    Refused,
    ServerEvict,
    WaitAck,
    WaitRequest,
)
from hatchet.core.messages import Action
from hatchet.core.statuses import RunStatus
from hatchet.engine import (
    durable_checks,
    durable_completions,
    durable_evictions,
    durable_streams,
    durable_waits,
    leases,
)

Pair = tuple[Instance, Instance]


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead engine's lease ends after a moment instead of 6 s."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)


@pytest.fixture(autouse=True)
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found by looking again; what is tested is that it is told."""
    monkeypatch.setattr(durable_completions, "LOOK_SECONDS", inf)
    monkeypatch.setattr(durable_completions, "QUIET_LOOK_SECONDS", inf)
    monkeypatch.setattr(durable_evictions, "SOON_SECONDS", 3600.0)


@pytest_asyncio.fixture
async def pair(world: World) -> Pair:
    """The owner, and another instance that knows of it."""
    return await another(world, await world.engine())


async def another(world: World, owner: Instance) -> Pair:
    other = await world.engine(owns=False)
    await until(lambda: owner.engine.bus.has_peers and other.engine.bus.has_peers, "they know each other")
    return owner, other


async def moved(worker: DurableWorker, to: Instance) -> None:
    """The worker's streams break and open at another instance."""
    await worker.close()
    await worker.worker.close_stream()
    await worker.worker.open(to)
    await worker.open(to)


async def reopened(worker: DurableWorker, at: Instance) -> None:
    """The instance of the worker's streams is gone: they open at another one."""
    await worker.worker.open(at)
    await worker.open(at)


async def done(one: Instance, worker: DurableWorker, action: Action) -> None:
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)


def child_ref(action: Action, node: int) -> EntryRef:
    assert action.invocation is not None
    return EntryRef(action.task_id, action.invocation, 1, node)


# The stream is not where the owner is ---------------------------------------------------------------------------------


async def test_d_15_1_waits_memos_and_children_of_a_stream_elsewhere(pair: Pair) -> None:
    owner, other = pair
    worker = await serving(other)
    await owner.define("child")
    await owner.worker("child", completes=True)
    action = await started(worker)
    assert await worker.memoized(action, "k", 1) == 1
    await worker.result(await worker.wait(action, sleeps("10ms")))
    for instance in pair:
        ref = await worker.wait(action, hears("go"))
        await instance.push("go", '{"n":1}')
        assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1}]}}
    [run] = (await worker.spawn(action, "child")).runs
    worker.status(child_ref(action, run.node))
    assert await worker.result(child_ref(action, run.node)) == {"ok": True}
    await done(owner, worker, action)
    await owner.empty()


async def test_d_10_7_an_event_right_behind_the_ack_counts(pair: Pair) -> None:
    """Wherever it is pushed, and before the owner knows of the wait."""
    _, other = pair
    worker = await serving(other)
    action = await started(worker)
    for number, instance in enumerate(pair * 5):
        ref = await worker.wait(action, hears("go"))
        await instance.push("go", f'{{"n":{number}}}')
        assert await worker.result(ref) == {"CREATE": {"go": [{"n": number}]}}


async def test_d_10_9_a_stream_elsewhere_looks_back_too(pair: Pair) -> None:
    """D-10.11; and D-8.3: again with each invocation."""
    owner, other = pair
    worker = await serving(other, retries=1)
    action = await started(worker)
    since = owner.clock.now()
    await owner.push("go", '{"n":1}', scope="s")
    ref = await worker.wait(action, hears("go", scope="s", since=since))
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1}]}}
    await worker.wait(action, hears("late", scope="s", since=since))
    again = await retried(worker, action)
    await worker.result(await worker.wait(again, hears("go", scope="s", since=since)))
    ref = await worker.wait(again, hears("late", scope="s", since=since))
    await other.push("late", '{"n":2}', scope="s")
    assert await worker.result(ref) == {"CREATE": {"late": [{"n": 2}]}}


async def test_d_18_1_an_evicted_task_of_a_stream_elsewhere_is_restored(pair: Pair) -> None:
    owner, other = pair
    worker = await serving(other)
    await owner.define("child")
    helper = await owner.worker("child")
    action = await started(worker)
    await worker.wait(action, hears("go"))
    [run] = (await worker.spawn(action, "child")).runs
    await worker.evict(action)
    await until(lambda: owner.scheduler.is_evicted(action.task_id), "the owner hears of the eviction")
    await other.push("go", '{"n":1}')
    again = await worker.invocation(action.task_id, 2)
    await worker.wait(again, hears("go"))
    assert (await worker.spawn(again, "child")).runs == (run,)
    await worker.evict(again)
    await until(lambda: owner.scheduler.is_evicted(action.task_id), "the owner hears of the eviction")
    await helper.complete(await helper.started(run.run_id), '{"c":1}')
    third = await worker.invocation(action.task_id, 3)
    heard = await worker.wait(third, hears("go"))
    await worker.spawn(third, "child")
    worker.status(child_ref(third, 2))
    assert await worker.result(heard) == {"CREATE": {"go": [{"n": 1}]}}
    assert await worker.result(child_ref(third, 2)) == {"c": 1}
    await done(owner, worker, third)
    await owner.empty()


@pytest.mark.parametrize("what", ["event", "child"])
async def test_d_18_1_a_result_before_the_owner_heard_of_the_eviction(pair: Pair, what: str) -> None:
    """Whoever evicted it has looked already, and something else is still open."""
    owner, other = pair
    worker = await serving(other, language="PYTHON")
    await owner.define("child")
    helper = await owner.worker("child")
    action = await started(worker)
    [run] = (await worker.spawn(action, "child")).runs
    await worker.wait(action, hears("go"))
    await worker.wait(action, hears("never"))
    worker.status(child_ref(action, run.node))
    await until(lambda: len(owner.scheduler.durable) == 3, "the owner knows what the task waits for")
    start = await helper.started(run.run_id)
    # The message is on its way while the result is written.
    heard, owner.scheduler.touched = owner.scheduler.touched, lambda task_ids: None  # type: ignore[method-assign]
    await worker.evict(action)
    if what == "event":
        await other.push("go")
    else:
        await helper.complete(start)
    await until(lambda: len(owner.scheduler.durable) == 2, "the result is written")
    owner.scheduler.touched = heard  # type: ignore[method-assign]
    owner.scheduler.touched([action.task_id])
    await owner.watched()
    await owner.pass_time(6, worker.worker, helper)
    await worker.invocation(action.task_id, 2)


async def test_d_29_5_a_wait_that_the_owner_was_not_told_of_is_found_when_the_task_is_evicted(pair: Pair) -> None:
    owner, other = pair
    worker = await serving(other)
    action = await started(worker)
    await worker.wait(action, hears("known"))
    await until(lambda: len(owner.scheduler.durable) == 1, "the owner knows what the task waits for")
    # The message gets lost.
    publish, other.engine.bus.publish_ids = other.engine.bus.publish_ids, lambda *_, **__: None  # type: ignore[method-assign]
    await worker.wait(action, hears("go"))
    other.engine.bus.publish_ids = publish  # type: ignore[method-assign]
    await worker.evict(action)
    await until(lambda: owner.scheduler.is_evicted(action.task_id), "the owner hears of the eviction")
    await other.push("go")
    await owner.pass_time(6, worker.worker)
    await worker.invocation(action.task_id, 2)


async def test_d_22_a_replay_and_a_branch_asked_for_elsewhere(pair: Pair) -> None:
    """D-22.8: what waits on the old branch restores nothing."""
    owner, other = pair
    worker = await serving(other)
    action = await started(worker)
    assert await worker.memoized(action, "k", 1) == 1
    await done(owner, worker, action)
    assert await other.replay(action.task_id)
    again = await worker.invocation(action.task_id, 2)
    assert await worker.memoized(again, "k", 2) == 1
    await worker.wait(again, hears("old"))
    await worker.evict(again)
    await until(lambda: owner.scheduler.is_evicted(action.task_id), "the owner hears of the eviction")
    assert await other.engine.durable.branch(TENANT, action.task_id, 1, 1) == 2
    third = await worker.invocation(action.task_id, 3)
    assert await worker.memoized(third, "k", 3) == 3
    await worker.wait(third, hears("new"))
    await until(lambda: "new" in owner.scheduler.durable._by_event, "the owner knows what the task waits for")
    await worker.evict(third)
    await until(lambda: owner.scheduler.is_evicted(action.task_id), "the owner hears of the eviction")
    await other.push("old")
    await owner.watched(8)
    assert (await owner.details(action.task_id)).is_evicted
    await other.push("new")
    fourth = await worker.invocation(action.task_id, 4)
    assert await worker.memoized(fourth, "k", 4) == 3
    await worker.result(await worker.wait(fourth, hears("new")))
    await done(owner, worker, fourth)


# A stream that moves --------------------------------------------------------------------------------------------------


async def test_d_2_7_a_worker_that_moves_is_told_where_it_is(pair: Pair) -> None:
    """From the owner to the other instance and back; what it waits for is all it says (D-2.5)."""
    owner, other = pair
    worker = await serving(owner)
    action = await started(worker)
    first, second, third = [await worker.wait(action, hears(key)) for key in "abc"]
    await moved(worker, other)
    worker.status(first, second, third)
    await until(lambda: action.task_id in other.engine.durable_streams._walks, "the log is read there")
    await owner.push("a")
    await worker.result(first)
    fourth = await worker.wait(action, hears("d"))
    await moved(worker, owner)
    worker.status(second, third, fourth)
    await other.push("d", '{"n":4}')
    assert await worker.result(fourth) == {"CREATE": {"d": [{"n": 4}]}}
    await other.push("b")
    await worker.result(second)
    assert (await worker.wait(action, hears("e"))).node == 5
    orders = [completion.order for completion in worker.completions]
    assert list(dict.fromkeys(orders)) == [1, 2, 3]
    await done(owner, worker, action)


async def test_d_4_1_a_request_after_a_move_back_is_answered_once(pair: Pair) -> None:
    """Its picture of the log is older than the rows (D-29.2)."""
    owner, other = pair
    worker = await serving(owner)
    action = await started(worker)
    await worker.wait(action, hears("a"))
    await moved(worker, other)
    second = await worker.wait(action, hears("b"))
    await other.push("b")
    await worker.result(second)
    await moved(worker, owner)
    before = len(worker.heard)
    ack = await worker.ask(WaitRequest(action.task_id, 1, (hears("c"),)), WaitAck)
    assert ack.ref.node == 3
    await owner.push("a")
    await worker.result(EntryRef(action.task_id, 1, 1, 1))
    assert len([one for one in worker.heard[before:] if isinstance(one, WaitAck)]) == 1
    rows = await owner.rows("SELECT node FROM durable_entry ORDER BY node")
    assert [row["node"] for row in rows] == [1, 2, 3]


async def test_d_15_5_what_was_sent_on_a_lost_stream_is_sent_again(world: World) -> None:
    """D-15.6: after what the worker says it has."""
    one = await world.engine()
    worker = await serving(one)
    action = await started(worker)
    refs = [await worker.wait(action, hears(key)) for key in "abc"]
    await one.push("a")
    await worker.result(refs[0])
    worker.is_deaf = True
    await one.push("b")
    await until(lambda: len(one.scheduler.durable) == 1, "the result is written")
    await worker.close()
    worker.is_deaf = False
    await worker.open()
    worker.status(*refs[1:], received=[ReceivedOrder(action.task_id, 1, 1)])
    await worker.result(refs[1])
    await one.push("c")
    await worker.result(refs[2])
    orders = [completion.order for completion in worker.completions]
    assert list(dict.fromkeys(orders)) == [1, 2, 3]


# Instances that die ---------------------------------------------------------------------------------------------------


async def test_d_20_7_the_owner_dies_while_tasks_wait_on_their_worker(world: World) -> None:
    """For a sleep, for an event and a child's end that come without an owner; nothing is invoked anew."""
    owner, other = await another(world, await world.engine())
    worker = await serving(other)
    await owner.define("child")
    helper = await other.worker("child")
    asleep, listening, parent = [await started(worker) for _ in range(3)]
    slept = await worker.wait(asleep, sleeps("700ms"))
    heard = await worker.wait(listening, hears("go"))
    [run] = (await worker.spawn(parent, "child")).runs
    worker.status(child_ref(parent, 1))
    start = await helper.started(run.run_id)
    await owner.kill()
    assert other.engine.owners.get(TENANT) is None
    await other.push("go", '{"n":1}')
    await helper.complete(start, '{"c":1}')
    assert await worker.result(slept) == {"CREATE": {"sleep:700ms": [{"sleep_duration": "700ms"}]}}
    assert await worker.result(heard) == {"CREATE": {"go": [{"n": 1}]}}
    assert await worker.result(child_ref(parent, 1)) == {"c": 1}
    for action in (asleep, listening, parent):
        await done(other, worker, action)
    assert [start.invocation for start in worker.worker.starts] == [1, 1, 1]
    await other.empty()


async def test_d_20_7_the_owner_dies_while_tasks_are_evicted(world: World) -> None:
    owner, other = await another(world, await world.engine())
    worker = await serving(other)
    await owner.define("child")
    helper = await other.worker("child")
    asleep, listening, parent, later = [await started(worker) for _ in range(4)]
    await worker.wait(asleep, sleeps("300ms"))
    await worker.wait(listening, hears("go", when="input.n == 1"))
    await worker.spawn(parent, "child")
    await worker.wait(later, hears("later"))
    for action in (asleep, listening, parent, later):
        await worker.evict(action)
    await until(lambda: owner.scheduler.is_evicted(later.task_id), "the owner hears of the last eviction")
    start = await until(lambda: helper.starts, "the child starts")
    await owner.kill()
    await other.push("go", '{"n":2}')
    await other.push("go", '{"n":1}')
    await helper.complete(start[0], '{"c":1}')
    again = [await worker.invocation(action.task_id, 2) for action in (asleep, listening, parent)]
    await worker.result(await worker.wait(again[0], sleeps("300ms")))
    ref = await worker.wait(again[1], hears("go", when="input.n == 1"))
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1}]}}
    await worker.spawn(again[2], "child")
    worker.status(child_ref(again[2], 1))
    assert await worker.result(child_ref(again[2], 1)) == {"c": 1}
    for action in again:
        await done(other, worker, action)
    assert (await other.details(later.task_id)).is_evicted
    await other.push("later")
    await done(other, worker, await worker.invocation(later.task_id, 2))
    await other.empty()


async def test_d_29_6_the_owner_dies_between_a_result_and_the_restore(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = await another(world, await world.engine())
    worker = await serving(other)
    action = await started(worker)
    await worker.wait(action, hears("go"))
    await worker.evict(action)
    await until(lambda: owner.scheduler.is_evicted(action.task_id), "the owner hears of the eviction")
    waits = owner.scheduler.durable
    monkeypatch.setattr(waits._endings, "_restore", lambda _: asyncio.Event().wait())
    await owner.push("go")
    await until(lambda: not len(waits), "the result is written")
    await owner.kill()
    monkeypatch.setattr(durable_checks, "CHECK_SECONDS", 0.2)
    again = await worker.invocation(action.task_id, 2)
    assert await worker.result(await worker.wait(again, hears("go"))) == {"CREATE": {"go": [{}]}}
    await done(other, worker, again)
    await other.empty()


async def test_d_20_7_the_only_instance_dies_and_the_next_one_goes_on(world: World) -> None:
    """Events of the time between are those of an instance that owns nothing, or none; partial matches are kept."""
    one = await world.engine()
    worker = await serving(one)
    action = await started(worker)
    memo = await worker.memo(action, "half")
    both = await worker.wait(action, hears("a"), hears("b"))
    any_of = await worker.wait(action, hears("x", "g"), sleeps("9h", "g"))
    await one.push("a", '{"n":1}')
    waits = one.scheduler.durable
    await until(lambda: any(waiting.matches for waiting in waits) and waits._endings.is_idle, "the match is written")
    await worker.worker.fall_silent()
    await one.kill()
    two = await world.engine()
    await reopened(worker, two)
    worker.status(memo.ref, both, any_of)
    await two.push("b", '{"n":2}')
    assert await worker.result(both) == {"CREATE": {"a": [{"n": 1}], "b": [{"n": 2}]}}
    await two.push("x", '{"n":3}')
    assert await worker.result(any_of) == {"CREATE": {"x": [{"n": 3}]}}
    # D-28.4: the memo's value comes on another stream than its request.
    worker.say(MemoValue(memo.ref, "7"))
    await worker.completed(memo.ref)
    assert (await worker.wait(action, hears("y"))).node == 4
    assert [start.invocation for start in worker.worker.starts] == [1]
    await done(two, worker, action)
    await two.empty()


async def test_d_15_12_the_streams_instance_dies_and_the_walk_is_known_from_the_rows(world: World) -> None:
    """In the second invocation, which had walked all that was recorded."""
    owner, other = await another(world, await world.engine())
    worker = await serving(other, retries=1)
    action = await started(worker)
    for key in "ab":
        await worker.memoized(action, key, 1)
    again = await retried(worker, action)
    for key in "ab":
        assert await worker.memoized(again, key, 2) == 1
    await worker.memoized(again, "c", 2)
    waits = await worker.wait(again, hears("go"))
    await other.kill()
    await reopened(worker, owner)
    worker.status(waits)
    await owner.push("go", '{"n":1}')
    assert await worker.result(waits) == {"CREATE": {"go": [{"n": 1}]}}
    assert (await worker.memo(again, "d")).ref.node == 5
    assert [start.invocation for start in worker.worker.starts] == [1, 2]
    await done(owner, worker, again)


async def test_d_15_12_exactly_at_the_end_of_what_is_recorded(world: World) -> None:
    owner, other = await another(world, await world.engine())
    worker = await serving(other, retries=1)
    action = await started(worker)
    await worker.memoized(action, "a", 1)
    again = await retried(worker, action)
    assert await worker.memoized(again, "a", 2) == 1
    await other.kill()
    await reopened(worker, owner)
    assert (await worker.memo(again, "b")).ref.node == 2


@pytest.mark.parametrize("how", ["a request", "a status", "an eviction"])
async def test_d_29_8_a_restart_in_the_middle_of_a_replay_leads_to_the_next_invocation(world: World, how: str) -> None:
    """How far it had come is not known: never a wrong answer."""
    owner, other = await another(world, await world.engine())
    worker = await serving(other, retries=1)
    action = await started(worker)
    await worker.memoized(action, "a", 1)
    await worker.wait(action, hears("go"))
    await worker.memoized(action, "c", 1)
    again = await retried(worker, action)
    assert await worker.memoized(again, "a", 2) == 1
    waits = await worker.wait(again, hears("go"))
    await other.kill()
    await reopened(worker, owner)
    if how == "a request":
        assert (await worker.ask(MemoRequest(again.task_id, 2, b"c"), ServerEvict)).invocation == 2
    elif how == "a status":
        worker.status(waits)
        await worker.evicted_by_server(again)
    else:
        await worker.evict(again)
    third = await worker.invocation(action.task_id, 3)
    assert third.retry_count == 1
    assert await worker.memoized(third, "a", 3) == 1
    waits = await worker.wait(third, hears("go"))
    assert await worker.memoized(third, "c", 3) == 1
    await owner.push("go")
    await worker.result(waits)
    await done(owner, worker, third)
    rows = await owner.rows("SELECT node FROM durable_entry ORDER BY node")
    assert [row["node"] for row in rows] == [1, 2, 3]


async def test_d_29_8_an_invocation_that_ends_for_another_one_is_restored_with_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance that dies between the two would leave a task that waits, while its code had other things to do."""
    owner, other = await another(world, await world.engine())
    worker = await serving(other, retries=1)
    action = await started(worker)
    await worker.wait(action, hears("go"))
    await worker.memoized(action, "b", 1)
    again = await retried(worker, action)
    await worker.wait(again, hears("go"))
    await other.kill()
    monkeypatch.setattr(owner.engine.evicting, "restore", lambda *_: asyncio.Event().wait())
    await reopened(worker, owner)
    assert (await worker.ask(MemoRequest(again.task_id, 2, b"b"), ServerEvict)).invocation == 2
    third = await worker.invocation(action.task_id, 3)
    await worker.wait(third, hears("go"))
    assert await worker.memoized(third, "b", 3) == 1
    await done(owner, worker, third)


async def test_d_15_17_a_moved_stream_in_the_middle_of_a_replay_never_answers_wrong(pair: Pair) -> None:
    """It moves away and back: the first instance still knows how far the walk had come."""
    owner, other = pair
    worker = await serving(owner, retries=1)
    action = await started(worker)
    for key in "abc":
        await worker.memoized(action, key, 1)
    again = await retried(worker, action)
    assert await worker.memoized(again, "a", 2) == 1
    await moved(worker, other)
    await moved(worker, owner)
    assert await worker.memoized(again, "b", 2) == 1
    assert await worker.memoized(again, "c", 2) == 1
    assert (await worker.memo(again, "d")).ref.node == 4
    assert [start.invocation for start in worker.worker.starts] == [1, 2]


async def test_d_13_1_children_of_a_killed_instance_are_neither_lost_nor_doubled(world: World) -> None:
    """Whatever of them was acknowledged."""
    owner, other = await another(world, await world.engine())
    worker = await serving(other, retries=5)
    await owner.define("child")
    helper = await owner.worker("child", completes=True)
    action = await started(worker)
    spawning = asyncio.create_task(worker.spawn(action, *["child"] * 20))
    await asyncio.sleep(0)
    await other.kill()
    spawning.cancel()
    await asyncio.gather(spawning, return_exceptions=True)
    await reopened(worker, owner)
    await worker.worker.fail(action)
    again = await worker.invocation(action.task_id, 2)
    runs = (await worker.spawn(again, *["child"] * 20)).runs
    assert [run.node for run in runs] == list(range(1, 21))
    worker.status(*(child_ref(again, node) for node in range(1, 21)))
    for node in range(1, 21):
        await worker.result(child_ref(again, node))
    assert len(helper.starts) == 20
    assert len({start.task_id for start in helper.starts}) == 20


# The database ---------------------------------------------------------------------------------------------------------


async def cut(world: World) -> None:
    """Every connection to the database breaks."""
    connection = await asyncpg.connect(world.dsn)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def test_d_4_2_a_request_while_the_database_is_away_is_refused_and_may_be_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it stays away for too long."""
    monkeypatch.setattr(durable_streams, "AWAY_SECONDS", -1.0)
    one = await world.engine()
    worker = await serving(one)
    action = await started(worker)
    await worker.memoized(action, "a", 1)
    answers = []
    for _ in range(20):
        cutting = asyncio.create_task(cut(world))
        before = len(worker.heard)
        worker.say(WaitRequest(action.task_id, 1, (sleeps("9h"),)))
        await until(lambda: len(worker.heard) > before, "it is answered")  # noqa: B023
        answers.append(worker.heard[before])
        await cutting
    acknowledged = [answer.ref.node for answer in answers if isinstance(answer, WaitAck)]
    rows = await one.rows("SELECT node FROM durable_entry ORDER BY node")
    nodes = [row["node"] for row in rows]
    # D-29.2, D-4.2: contiguous, and what was acknowledged is there, each once.
    assert nodes == list(range(1, len(nodes) + 1))
    assert acknowledged == sorted(set(acknowledged))
    assert set(acknowledged) <= set(nodes)
    assert all(isinstance(answer, WaitAck | Refused) for answer in answers)


# Many -----------------------------------------------------------------------------------------------------------------


async def test_d_9_8_many_evicted_sleepers_of_which_some_became_due_while_no_engine_ran(world: World) -> None:
    """2,000 evicted, 500 due: these go on, the others sleep on."""
    one = await world.engine()
    worker = await serving(one, slots=2000)
    ids = await one.run_many(2000)
    actions = [await worker.invocation(run_id, 1) for run_id in ids]
    due = set(ids[:500])

    async def sleep(action: Action) -> None:
        await worker.wait(action, sleeps("30s" if action.task_id in due else "9h"))
        await worker.evict(action)

    for start in range(0, len(actions), 200):
        await asyncio.gather(*map(sleep, actions[start : start + 200]))
        worker.heard.clear()
    await worker.worker.fall_silent()
    await one.kill()
    two = await world.engine(skipped=100)
    waits = two.scheduler.durable
    await until(lambda: len(waits) == 1500, "what is due has its result")
    worker.worker.completes()
    await worker.worker.open(two)

    def begun() -> set[str]:
        return {start.task_id for start in worker.worker.starts if start.invocation == 2}

    await until(lambda: begun() == due, "all that is due goes on")
    for run_id in due:
        await two.ended(run_id, RunStatus.COMPLETED)
    await until(lambda: sum(task.is_evicted for task in two.scheduler.backoff) == 1500, "the others sleep on")
    assert durable_waits.BATCH < 2000
    assert len(begun()) == 500


# All of it at once ----------------------------------------------------------------------------------------------------


async def test_d_29_9_whatever_dies_runs_complete_with_the_same_outputs(world: World) -> None:
    """D-29.1 to D-29.4: owners and streams' instances die one after the other, tasks are evicted in between."""
    beside, alive = await another(world, await world.engine())
    runs = await everything(alive)
    for number in range(4):
        await runs.some_more()
        fresh = await world.engine(owns=False)
        await (alive if number % 2 else beside).kill()
        if number % 2:
            alive, beside = beside, fresh
            await reopened(runs.worker, alive)
            await runs.helper.open(alive)
        else:
            beside = fresh
    await until(lambda: alive.owns or beside.owns, "somebody owns the tenant")
    await runs.ended(alive if alive.owns else beside)


async def test_d_29_8_the_database_goes_away_for_a_moment_again_and_again(world: World) -> None:
    """A refused request has left nothing or one entry; sleeps, events and children end all the same."""
    one = await world.engine()
    runs = await everything(one)
    for _ in range(5):
        await runs.some_more()
        await cut(world)
    await runs.ended(one)
