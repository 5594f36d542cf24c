"""Two engines on one database: one schedules, both accept and deliver; the owner dies; messages get lost (design 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
import pytest_asyncio
from engine_fixture import Instance, World
from engine_worker import TENANT, Action, Worker, until

from hatchet.core.messages import ReportKind
from hatchet.core.statuses import RunStatus
from hatchet.engine import bus, leases, publish, watch
from hatchet.engine.bus import Bus
from hatchet.engine.component import Loop
from hatchet.store.tasks import NewAssignment, assign


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


async def test_work_flows_through_both(pair: Pair) -> None:
    owner, other = pair
    await owner.define()
    near, far = await owner.worker(slots=5), await other.worker(slots=5)
    near.completes()
    far.completes()
    runs = await owner.run_many(50) + await other.run_many(50)
    here, there = owner.ends(*runs), other.ends(*runs)
    for run_id in runs:
        assert (await here.of(run_id)).results[0].status is RunStatus.COMPLETED
        assert (await there.of(run_id)).results[0].output == '{"ok":true}'
    assert near.starts
    assert far.starts
    assert len(near.starts) + len(far.starts) == 100
    await until(lambda: (owner.free(near), owner.free(far)) == (5, 5), "every slot is free")
    await until(lambda: len(other.engine.flights) == 0, "nothing is left behind")
    assert other.engine.owners.get(TENANT) is None


async def test_a_task_of_the_other_instance_starts_at_once(pair: Pair) -> None:
    owner, other = pair
    await owner.define()
    far = await other.worker()
    run_id = await other.run(input='{"n":7}')
    action = await far.started(run_id)
    assert '"input":{"n":7}' in action.payload
    await far.say(action, ReportKind.STARTED)
    await far.fail(action, "boom")
    assert (await owner.ended(run_id, RunStatus.FAILED)).tasks[0].error == "boom"


async def test_retries_and_timeouts_reach_a_worker_of_the_other_instance(pair: Pair) -> None:
    owner, other = pair
    await owner.define(retries=1, execution_timeout="0.3s")
    far = await other.worker()
    run_id = await owner.run()
    await far.fail(await far.started(run_id))
    await far.started(run_id, 1)
    details = await owner.ended(run_id, RunStatus.FAILED)
    assert details.tasks[0].error == "Task exceeded timeout of 0.3s"
    await far.cancelled(run_id, 1)


async def test_c_6_39_a_cancel_reaches_the_worker_wherever_it_is_asked_for(pair: Pair) -> None:
    owner, other = pair
    await owner.define()
    near = await owner.worker(slots=1)
    on_near = await owner.run()
    await near.started(on_near)
    # Asked for at the instance that neither schedules nor holds the stream.
    assert await other.engine.control.cancel(TENANT, [on_near]) == [on_near]
    await near.cancelled(on_near)
    await until(lambda: owner.free(near) == 1, "the slot is free")
    await owner.engine.workers.set_paused(TENANT, near.id, True)
    far = await other.worker(slots=1)
    on_far = await owner.run()
    await far.started(on_far)
    assert await owner.engine.control.cancel(TENANT, [on_far]) == [on_far]
    await far.cancelled(on_far)
    await until(lambda: owner.free(far) == 1, "the slot is free")


async def test_c_11_34_and_c_11_38_release_and_refresh_work_at_the_other_instance(pair: Pair) -> None:
    owner, other = pair
    await owner.define(execution_timeout="60s")
    near = await owner.worker(slots=1)
    run_id, waiting = await owner.run_many(2)
    await near.started(run_id)
    deadline = owner.scheduler.flying[run_id].timeout_at
    await other.engine.control.release_slot(TENANT, run_id)
    await near.started(waiting)
    await other.engine.control.refresh_timeout(TENANT, run_id, 100.0)
    await until(lambda: owner.scheduler.flying[run_id].timeout_at > deadline + 99, "the owner heard of it")


async def test_c_2_38_pause_and_loss_of_a_worker_of_the_other_instance(pair: Pair) -> None:
    owner, other = pair
    await owner.define()
    far = await other.worker()
    run_id = await owner.run()
    await far.started(run_id)
    await other.engine.workers.set_paused(TENANT, far.id, True)
    await until(lambda: owner.engine.workers.get(far.id).row.is_paused, "the owner hears of it")  # type: ignore[union-attr]
    waiting = await owner.run()
    await owner.watched(8)
    assert await owner.status(waiting) is RunStatus.QUEUED
    await owner.lose(far)
    await owner.worker(completes=True)
    await owner.ended(run_id, RunStatus.COMPLETED)
    await owner.ended(waiting, RunStatus.COMPLETED)


async def test_a_worker_that_moves_to_the_other_instance_goes_on(pair: Pair) -> None:
    owner, other = pair
    await owner.define()
    worker = await owner.worker()
    run_id = await owner.run()
    action = await worker.started(run_id)
    await worker.close_stream()
    await worker.open(other)
    await worker.complete(action)
    await owner.ended(run_id, RunStatus.COMPLETED)
    next_id = await owner.run()
    await worker.complete(await worker.started(next_id, await _attempt(worker, next_id)))
    await owner.ended(next_id, RunStatus.COMPLETED)
    await worker.beat()


async def _attempt(worker: Worker, run_id: str) -> int:
    """The first attempt may have been handed to the stream that was just given up."""
    found = await until(lambda: [a for a in worker.starts if a.task_id == run_id], "the task arrives")
    return int(found[0].retry_count)


async def test_after_the_owner_was_killed_the_other_takes_over_within_10_s(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    owner = await world.engine()
    other = await world.engine(owns=False)
    await until(lambda: other.engine.bus.has_peers, "they know each other")
    await owner.define(execution_timeout="1h")
    far = await other.worker(slots=1)
    running, waiting = await other.run(), await owner.run()
    action = await far.started(running)
    ends = other.ends(running, waiting)
    loop = asyncio.get_running_loop()
    await owner.kill()
    killed = loop.time()
    later = await other.run()
    far.completes()
    await far.complete(action)
    assert (await ends.of(running)).results[0].status is RunStatus.COMPLETED
    await until(lambda: other.owns, "the other takes over", seconds=10 - (loop.time() - killed))
    for run_id in (waiting, later):
        await other.ended(run_id, RunStatus.COMPLETED)
    await ends.of(waiting)
    assert [action.task_id for action in far.starts] == [running, waiting, later]


async def test_a_stale_owner_assigns_nothing_and_times_nothing_out(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, other = pair
    await owner.define(execution_timeout="60s", schedule_timeout="60s")
    worker = await owner.worker(slots=1)
    running, waiting = await owner.run_many(2)
    await worker.started(running)
    stale = owner.scheduler
    # The owner stops renewing (its process hangs), the other takes over, and then the first wakes up.
    await Loop.stop(owner.engine.leases)
    await until(lambda: other.owns, "the other takes over")
    assert stale.lease.epoch < other.scheduler.lease.epoch
    rows = [NewAssignment(waiting, 0, worker.id, 0, 0, owner.clock.now() + 60)]
    assert await assign(owner.database, stale.lease, TENANT, owner.clock.now(), rows) == set()
    owner.clock.skip(61)
    await worker.beat()
    await owner.watched(4)
    assert await owner.rows("SELECT count(*) AS n FROM task_result") == [(0,)]
    assert worker.cancels == []
    assert await other.status(running) is RunStatus.RUNNING
    assert await other.status(waiting) is RunStatus.QUEUED
    # Whoever holds the fence may.
    newest = replace(stale.lease, epoch=other.scheduler.lease.epoch)
    assert await assign(owner.database, newest, TENANT, owner.clock.now(), rows) == {waiting}


async def test_a_stale_owner_that_tries_to_assign_lets_go(pair: Pair) -> None:
    owner, other = pair
    await owner.define()
    await Loop.stop(owner.engine.leases)
    await until(lambda: other.owns, "the other takes over")
    await owner.worker(completes=True)
    run_id = await owner.run()
    await until(lambda: owner.engine.owners.get(TENANT) is None, "the stale owner lets go")
    await other.ended(run_id, RunStatus.COMPLETED)


async def test_an_owner_that_stops_in_order_is_followed_at_once(pair: Pair) -> None:
    owner, other = pair
    await owner.define()
    far = await other.worker(slots=2)
    runs = await owner.run_many(10)
    ends = other.ends(*runs)
    await owner.stop()
    far.completes()
    for action in list(far.starts):
        await far.complete(action)
    for run_id in runs:
        assert (await ends.of(run_id)).results[0].status is RunStatus.COMPLETED


class Losses:
    """Drops messages of the bus."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kinds: set[str] = set()
        self.dropped: list[str] = []
        real = Bus._send

        async def send(sender: Bus, texts: Sequence[str]) -> list[None]:
            kept = [text for text in texts if not any(f'"kind":"{kind}"' in text for kind in self.kinds)]
            self.dropped += [text for text in texts if text not in kept]
            if kept:
                await real(sender, kept)
            return [None] * len(texts)

        monkeypatch.setattr(bus.Bus, "_send", send)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Losses:
    return Losses(monkeypatch)


async def _fail_first(worker: Worker, action: Action) -> None:
    if action.retry_count:
        await worker.complete(action)
    else:
        await worker.fail(action)


async def test_lost_news_of_tasks_and_ends_are_repaired_by_the_polls(losses: Losses, pair: Pair) -> None:
    owner, other = pair
    losses.kinds = {"tasks", "touched", "finished", "worker"}
    await owner.define(retries=1)
    near, far = await owner.worker(slots=3), await other.worker(slots=3)
    for worker in (near, far):
        worker.answers(partial(_fail_first, worker))
    runs = await other.run_many(20)
    here, there = owner.ends(*runs), other.ends(*runs)
    for run_id in runs:
        await here.of(run_id)
        await there.of(run_id)
    assert losses.dropped
    await until(lambda: (owner.free(near), owner.free(far)) == (3, 3), "every slot is free")


async def test_a_lost_hand_over_is_repaired(losses: Losses, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, other = pair
    monkeypatch.setattr(watch, "CONFIRM_SECONDS", 0.3)
    losses.kinds = {"deliver"}
    await owner.define()
    far = await other.worker()
    run_id = await owner.run()
    await until(lambda: losses.dropped, "the hand-over gets lost")
    losses.kinds = set()
    far.completes()
    await owner.ended(run_id, RunStatus.COMPLETED)


async def test_a_lost_cancel_frees_the_slot_of_the_owners_worker(losses: Losses, pair: Pair) -> None:
    owner, other = pair
    losses.kinds = {"touched", "cancel", "finished"}
    await owner.define(execution_timeout="1h")
    near = await owner.worker(slots=1)
    run_id = await owner.run()
    await near.started(run_id)
    await until(lambda: owner.clock.now() - owner.scheduler.flying[run_id].assigned_at > 1.1, "it runs for a moment")
    await other.engine.control.cancel(TENANT, [run_id])
    await near.cancelled(run_id)
    await until(lambda: owner.free(near) == 1, "the slot is free")


async def test_the_bus_listens_again_after_its_connection_broke(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, other = pair
    monkeypatch.setattr(watch, "CONFIRM_SECONDS", 0.5)
    await owner.define()
    await owner.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'hatchet-bus'"
    )
    await other.worker(completes=True)
    for _ in range(3):
        await owner.ended(await other.run(), RunStatus.COMPLETED)
