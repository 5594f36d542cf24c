"""Runs of several tasks with two engines: one schedules, both accept, deliver, cancel and replay (design 7)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import pytest_asyncio
from engine_fixture import Instance, World, on_event, on_parent, sleep, waits
from engine_worker import TENANT, Action, Worker, until

from hatchet.core.conditions import Action as Does
from hatchet.core.errors import HatchetError
from hatchet.core.event_push import NewEvent
from hatchet.core.messages import TriggerItem
from hatchet.core.run_events import RunEvent
from hatchet.core.statuses import RunStatus
from hatchet.engine import bus, leases, publish
from hatchet.engine.bus import Bus
from hatchet.engine.component import Loop

SKIPPED = '{"skipped":true}'
OK = '{"ok":true}'


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead engine's lease ends after a moment, polls come more often; the proportions are those of production."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.2)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(leases, "DEAD_SECONDS", 1.6)
    monkeypatch.setattr(publish, "RECHECK_SECONDS", 0.2)


@pytest_asyncio.fixture
async def pair(world: World) -> tuple[Instance, Instance]:
    """The owner, and another instance that knows of it."""
    owner = await world.engine()
    other = await world.engine(owns=False)
    await until(lambda: owner.engine.bus.has_peers and other.engine.bus.has_peers, "they know each other")
    return owner, other


Pair = tuple[Instance, Instance]


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Kinds of messages between instances that get lost."""
    kinds: set[str] = set()
    real = Bus._send

    async def send(sender: Bus, texts: Sequence[str]) -> list[None]:
        kept = [text for text in texts if not any(f'"kind":"{kind}"' in text for kind in kinds)]
        if kept:
            await real(sender, kept)
        return [None] * len(texts)

    monkeypatch.setattr(bus.Bus, "_send", send)
    return kinds


async def insists(worker: Worker, action: Action, output: str = OK) -> None:
    """Report as a client does: again and again until an engine takes it."""
    while True:
        try:
            await worker.complete(action, output)
            return
        except (HatchetError, ConnectionError):
            await asyncio.sleep(0.02)


async def test_a_run_of_the_other_instance_with_its_worker_there(pair: Pair) -> None:
    owner, other = pair
    skip = waits(on_parent("a", "output.x > 0", Does.SKIP), parents=("a",))
    version = await owner.define_dag(a=(), b=("a",), skipped=skip, c=("b", "skipped"), on_failure=True)
    far = await other.dag_worker(version)
    run_id = await other.run("dag", input='{"n":1}', additional_metadata='{"m":1}')
    here, there = owner.ends(run_id), other.ends(run_id)
    await far.complete(await far.task("a"), '{"x":1}')
    b = await far.task("b")
    assert json.loads(b.payload)["parents"] == {"a": {"x": 1}}
    await far.complete(b, '{"y":2}')
    c = await far.task("c")
    # C-5.7 to C-5.9: the instance that delivers has nothing of it in memory.
    payload = json.loads(c.payload)
    assert payload["input"] == {"n": 1}
    assert payload["parents"] == {"a": {"x": 1}, "b": {"y": 2}, "skipped": {"skipped": True}}
    assert json.loads(c.additional_metadata) == {"m": 1}
    await far.complete(c)
    told = await here.of(run_id)
    assert (await there.of(run_id)).results == told.results
    assert [result.output for result in told.results] == ['{"x":1}', '{"y":2}', SKIPPED, OK, SKIPPED]
    await owner.ended(run_id, RunStatus.COMPLETED)
    await owner.empty()
    await until(lambda: len(other.engine.flights) == 0, "nothing is left behind")


async def test_work_flows_through_both(pair: Pair) -> None:
    owner, other = pair
    version = await owner.define_dag(a=(), b=("a",), c=("a",), d=("b", "c"))
    near, far = await owner.dag_worker(version, slots=10), await other.dag_worker(version, slots=10)
    near.completes()
    far.completes()
    runs = await owner.run_many(30, "dag") + await other.run_many(30, "dag")
    here, there = owner.ends(*runs), other.ends(*runs)
    for run_id in runs:
        assert len((await here.of(run_id)).results) == 4
        assert len((await there.of(run_id)).results) == 4
    assert near.starts
    assert far.starts
    assert len(near.starts) + len(far.starts) == 240
    await owner.empty()
    assert (owner.free(near), owner.free(far)) == (10, 10)
    assert Counter(end.run_id for end in there.told) == dict.fromkeys(runs, 1)


async def test_c_5_13_and_c_5_15_payloads_with_conditions_and_errors_at_the_other_instance(pair: Pair) -> None:
    owner, other = pair
    version = await owner.define_dag(
        a=(), b=waits(sleep("20ms"), on_event("e", group=1), parents=("a",), retries=1), bad=("a",), on_failure=True
    )
    far = await other.dag_worker(version)
    run_id = await other.run("dag")
    await far.complete(await far.task("a"))
    await until(lambda: len(owner.scheduler.runs.waits) == 1, "b listens at the owner")
    await other.push("e", '{"v":1}')
    data = {"sleep:20ms": {"sleep_duration": "20ms"}, "e": {"v": 1}}
    b = await far.task("b")
    assert json.loads(b.payload)["triggers"] == data
    await far.fail(b)
    assert json.loads((await far.task("b", 1)).payload)["triggers"] == data
    await far.fail(await far.task("bad"), "boom")
    last = json.loads((await far.task("on-failure")).payload)
    assert last["step_run_errors"] == {"bad": "boom"}
    assert last["parents"] == {"a": {"ok": True}}
    await far.complete(await far.task("b", 1))
    await far.complete(await far.task("on-failure"))
    await owner.ended(run_id, RunStatus.FAILED)
    await owner.empty()


async def test_c_8_25_events_that_are_pushed_at_the_other_instance(pair: Pair, lost: set[str]) -> None:
    owner, other = pair
    version = await owner.define_dag(a=(), b=waits(on_event("e"), parents=("a",)))
    worker = await owner.dag_worker(version)
    told, polled = await owner.run("dag"), await owner.run("dag")
    await worker.complete(await worker.task("a", run_id=told))
    await until(lambda: len(owner.scheduler.runs.waits) == 1, "b listens")
    await other.push("e", '{"v":1}')
    await worker.complete(await worker.task("b", run_id=told))
    # The message gets lost: the poll behind it finds the event.
    lost.add("events")
    await worker.complete(await worker.task("a", run_id=polled))
    await until(lambda: len(owner.scheduler.runs.waits) == 1, "b listens")
    await owner.scheduler.runs.waits._looks.drain()
    await other.push("e", '{"v":2}')
    b = await worker.task("b", run_id=polled)
    assert json.loads(b.payload)["triggers"] == {"e": {"v": 2}}
    await worker.complete(b)
    for run_id in (told, polled):
        await owner.ended(run_id, RunStatus.COMPLETED)
    await owner.empty()


async def test_c_6_38_a_cancel_at_the_other_instance(pair: Pair) -> None:
    owner, other = pair
    version = await owner.define_dag(a=(), far=(), b=("a",), c=("b", "far"), slept=waits(sleep("24h")), on_failure=True)
    near = await owner.dag_worker(version, slots=1)
    run_id = await owner.run("dag")
    far = await other.dag_worker(version, slots=1)
    await until(lambda: near.starts and far.starts, "both have one")
    await until(lambda: len(owner.scheduler.runs._sleeps) == 1, "one sleeps")
    ends = other.ends(run_id)
    assert await other.cancel(run_id) == [run_id]
    for worker in (near, far):
        await worker.cancelled(worker.starts[0].task_id)
    told = await ends.of(run_id)
    assert Counter(result.status for result in told.results) == {RunStatus.CANCELLED: 5, RunStatus.COMPLETED: 1}
    await owner.ended(run_id, RunStatus.CANCELLED)
    here = await owner.ends(run_id).of(run_id)
    assert here.results == told.results
    await owner.empty()
    assert (owner.free(near), owner.free(far)) == (1, 1)


async def test_c_6_38_a_large_run_is_cancelled_at_the_other_instance(pair: Pair) -> None:
    owner, other = pair
    tasks = {f"t{n}": (f"t{n - 1}",) if n % 10 else () for n in range(600)}
    version = await owner.define_dag(**tasks, on_failure=True)
    near = await owner.dag_worker(version)
    run_id = await owner.run("dag")
    await until(lambda: len(near.starts) == 60, "the roots run")
    ends = owner.ends(run_id)
    assert await other.cancel(run_id) == [run_id]
    told = await ends.of(run_id)
    await owner.ended(run_id, RunStatus.CANCELLED)
    owner.engine.results._recent.clear()
    # What was told is what the rows say.
    assert (await owner.ends(run_id).of(run_id)).results == told.results
    await owner.empty()
    assert owner.free(near) == 100


async def test_c_15_9_a_replay_at_the_other_instance(pair: Pair) -> None:
    owner, other = pair
    version = await owner.define_dag(a=(), b=("a",), c=("b",), on_failure=True)
    near = await owner.dag_worker(version)
    run_id = await owner.run("dag")
    for name in "ab":
        await near.complete(await near.task(name))
    await near.complete(await near.task("c"), '{"n":1}')
    assert (await owner.ends(run_id).of(run_id)).results[2].output == '{"n":1}'
    b = (await near.task("b")).task_id
    assert await other.replay(b) == [b]
    there = other.ends(run_id)
    again = await near.task("b", 1)
    # The owner knows of it now, and forgets what it remembers.
    here = owner.ends(run_id)
    await near.complete(again)
    await near.complete(await near.task("c", 1), '{"n":2}')
    # C-7.14.
    for ends in (here, there):
        assert (await ends.of(run_id)).results[2].output == '{"n":2}'
    assert await other.replay(run_id) == [run_id]
    for name, attempt in (("a", 1), ("b", 2), ("c", 2)):
        await near.complete(await near.task(name, attempt))
    await owner.ended(run_id, RunStatus.COMPLETED)
    await until(lambda: _is_closed(owner), "the list of what is open again is empty")
    await owner.empty()


async def _is_closed(one: Instance) -> bool:
    return not await one.rows("SELECT 1 FROM reopened")


@pytest.mark.parametrize("what", ["the run", "the task"])
async def test_c_15_9_a_replay_right_after_an_end_that_the_owner_has_not_heard_of(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    owner, other = pair
    version = await owner.define_dag(a=(), b=("a",))
    far = await other.dag_worker(version, slots=2)
    run_id = await other.run("dag")
    await far.complete(await far.task("a"))
    b = await far.task("b")
    looking = owner.engine.ownership._owned[TENANT].watch
    real, gate = looking._reconcile, asyncio.Event()

    async def held() -> None:
        await gate.wait()
        await real()

    monkeypatch.setattr(looking, "_reconcile", held)
    await far.complete(b, '{"n":1}')
    name = run_id if what == "the run" else b.task_id
    assert await other.replay(name) == [name]
    assert b.task_id in owner.scheduler.flying
    gate.set()
    if what == "the run":
        await far.complete(await far.task("a", 1))
    await far.complete(await far.task("b", 1), '{"n":2}')
    assert (await other.ends(run_id).of(run_id)).results[1].output == '{"n":2}'
    await owner.ended(run_id, RunStatus.COMPLETED)
    await owner.empty()
    await until(lambda: _is_closed(owner), "the list of what is open again is empty")
    assert owner.free(far) == 2
    again = {("a", 1): 1} if what == "the run" else {}
    assert Counter(far.begun()) == {("a", 0): 1, ("b", 0): 1, ("b", 1): 1, **again}


async def test_c_4_13_children_of_a_task_at_the_other_instance(pair: Pair) -> None:
    owner, other = pair
    version = await owner.define_dag(a=(), b=("a",))
    await owner.define("child")
    far = await other.dag_worker(version)
    await other.worker("child", completes=True)
    await owner.run("dag", additional_metadata='{"m":1}')
    a = await far.task("a")
    item = TriggerItem(workflow_name="child", parent_task_id=a.task_id, child_index=0)
    [child] = await other.engine.trigger.trigger(TENANT, [item])
    assert await owner.engine.trigger.trigger(TENANT, [item]) == [child]
    await other.ends(child).of(child)
    assert json.loads((await owner.details(child)).additional_metadata)["m"] == 1


async def test_c_7_34_events_of_a_run_reach_a_subscriber_of_the_other_instance(pair: Pair) -> None:
    owner, other = pair
    skip = waits(on_parent("a", "true", Does.SKIP), parents=("a",))
    version = await owner.define_dag(a=(), skipped=skip, bad=("a",), on_failure=True)
    near = await owner.dag_worker(version)
    run_id = await owner.run("dag")
    events: list[RunEvent] = []
    async with other.engine.run_events.subscribe_run(TENANT, run_id) as queue:
        await near.complete(await near.task("a"))
        await near.fail(await near.task("bad"))
        await near.complete(await near.task("on-failure"))
        events.extend([event async for event in queue])
    ends = [event.kind.value for event in events]
    assert Counter(ends) == {"COMPLETED": 3, "FAILED": 2}
    assert events[-1].task_id is None


async def test_lost_news_are_repaired_by_the_polls(pair: Pair, lost: set[str]) -> None:
    owner, other = pair
    lost |= {"tasks", "touched", "finished", "worker", "events", "replayed"}
    version = await owner.define_dag(a=(), b=("a",), c=("a", "b"))
    near, far = await owner.dag_worker(version, slots=3), await other.dag_worker(version, slots=3)
    near.completes()
    far.completes()
    runs = await other.run_many(10, "dag")
    here, there = owner.ends(*runs), other.ends(*runs)
    for run_id in runs:
        assert len((await here.of(run_id)).results) == 3
        assert len((await there.of(run_id)).results) == 3
    await owner.empty()
    assert (owner.free(near), owner.free(far)) == (3, 3)


async def test_the_owner_is_killed_in_the_middle(world: World) -> None:
    owner = await world.engine()
    other = await world.engine(owns=False)
    await until(lambda: owner.engine.bus.has_peers and other.engine.bus.has_peers, "they know each other")
    version = await owner.define_dag(
        a=(), b=("a",), slept=waits(sleep("100ms"), parents=("a",)), heard=waits(on_event("e"), parents=("b",))
    )
    far = await other.dag_worker(version, slots=5)
    far.answers(lambda action: insists(far, action))
    runs = await owner.run_many(10, "dag") + await other.run_many(10, "dag")
    ends = other.ends(*runs)
    await until(lambda: len(far.starts) > 15, "some tasks ran")
    await owner.kill()
    runs.append(await other.run("dag"))
    ends.ask(runs[-1])
    await until(lambda: other.owns, "the other takes over")
    while len(ends.told) < 21:
        await other.push("e")
        await other.watched()
    for run_id in runs:
        assert [result.output for result in (await ends.of(run_id)).results] == [OK] * 4
    await other.empty()
    assert other.free(far) == 5
    assert set(Counter((action.task_id, action.retry_count) for action in far.starts).values()) == {1}


async def test_a_stale_owner_decides_nothing(pair: Pair) -> None:
    """It hangs while another takes over; what it writes of runs when it wakes up is refused."""
    owner, other = pair
    version = await owner.define_dag(a=(), b=waits(on_event("e"), parents=("a",)))
    worker = await other.dag_worker(version)
    run_id = await owner.run("dag")
    await worker.complete(await worker.task("a"))
    await until(lambda: len(owner.scheduler.runs.waits) == 1, "b listens")
    stale = owner.scheduler
    await Loop.stop(owner.engine.leases)
    await until(lambda: other.owns, "the other takes over")
    await until(lambda: len(other.scheduler.runs.waits) == 1, "b listens there")
    # The event is told to both.
    stale.pushed(await other.engine.events.push(TENANT, [NewEvent(key="e", payload='{"v":1}')]))
    await stale.runs.waits._writes.drain()
    await worker.complete(await worker.task("b"))
    await other.ended(run_id, RunStatus.COMPLETED)
    assert worker.begun() == [("a", 0), ("b", 0)]
    await other.empty()
    assert await other.rows("SELECT count(*) AS n FROM run_result") == [(1,)]


async def test_an_owner_that_stops_in_order_is_followed_at_once(pair: Pair) -> None:
    owner, other = pair
    version = await owner.define_dag(a=(), b=("a",), c=("b",))
    far = await other.dag_worker(version, slots=3)
    far.answers(lambda action: insists(far, action))
    runs = await owner.run_many(20, "dag")
    ends = other.ends(*runs)
    await until(lambda: len(far.starts) > 10, "some tasks ran")
    await owner.stop()
    for run_id in runs:
        assert len((await ends.of(run_id)).results) == 3
    await other.empty()


async def test_replays_and_cancels_at_both_while_it_runs(pair: Pair) -> None:
    """Whatever is asked for where: the run ends, memory and rows agree, and nothing is left."""
    owner, other = pair
    version = await owner.define_dag(a=(), b=("a",), c=(), d=("b", "c"), on_failure=True)
    near, far = await owner.dag_worker(version, slots=3), await other.dag_worker(version, slots=3)
    near.completes()
    far.completes()
    runs = await owner.run_many(4, "dag")
    for run_id in runs:
        await owner.ended(run_id, RunStatus.COMPLETED)
    ids = {run_id: list((await owner.task_ids(run_id)).values()) for run_id in runs}

    async def stir(number: int) -> Any:
        run_id = runs[number % 4]
        instance = (owner, other)[number // 4 % 2]
        if number % 5 == 0:
            return await instance.cancel(ids[run_id][number % 3])
        return await instance.replay(run_id if number % 3 == 0 else ids[run_id][number % 5])

    for start in range(0, 60, 4):
        await asyncio.gather(*(stir(number) for number in range(start, start + 4)))
    for run_id in runs:
        await until(lambda run_id=run_id: _is_over(owner, run_id), "the run ends")  # type: ignore[misc]
    await until(lambda: _is_closed(owner), "the list of what is open again is empty")
    await owner.empty()
    await until(lambda: len(other.engine.flights) == 0, "nothing is left behind")
    assert (owner.free(near), owner.free(far)) == (3, 3)
    begun = [(action.task_id, action.retry_count) for action in (*near.starts, *far.starts)]
    assert len(begun) == len(set(begun))
    for run_id in runs:
        told = await other.ends(run_id).of(run_id)
        assert [result.status for result in told.results] == [
            task.status for task in (await owner.details(run_id)).tasks
        ]


async def _is_over(one: Instance, run_id: str) -> bool:
    return (await one.details(run_id)).done
