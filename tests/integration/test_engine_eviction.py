"""Durable tasks are taken off their workers while they wait, and come back (behaviour-durable D-5, D-16 to D-24)."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from durable_worker import DurableWorker, sleeps
from engine_fixture import OTHER_TENANT, Instance, World
from engine_worker import TENANT, Action, Worker, until

from hatchet.core.clock import HeldClock
from hatchet.core.errors import NotFound
from hatchet.core.history import TaskEvent
from hatchet.core.ids import lowest_at
from hatchet.core.messages import ReportKind, RunFilter, WorkerRegistration
from hatchet.core.reasons import Cause
from hatchet.core.rules import ConcurrencyRule, RateLimitRule, Strategy, Window
from hatchet.core.run_events import RunEvent, RunEventKind
from hatchet.core.statuses import RunStatus
from hatchet.core.task_logs import TaskLogLine
from hatchet.engine import leases
from hatchet.engine.clock import UuidIds
from hatchet.engine.doctor import Doctor, Scope
from hatchet.store.run_search import search_runs

SLOTS = {"default": 10, "durable": 10}
EVENTS = ["CREATED", "QUEUED", "ASSIGNED", "SENT_TO_WORKER", "STARTED"]


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead engine's lease ends after a moment instead of 6 s."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)


async def define(one: Instance, **options: Any) -> None:
    await one.define(**{"is_durable": True, "execution_timeout": "1h", **options})


async def durable_worker(one: Instance, *names: str, slots: Mapping[str, int] | None = None) -> Worker:
    return await one.worker(*names, slots=dict(slots or SLOTS))


async def evict(one: Instance, task_id: str, reason: str | None = "its sleep is long") -> bool:
    """The worker lets go of the task."""
    flight = one.engine.flights.get(task_id)
    assert flight is not None
    return await one.engine.evicting.evict(TENANT, flight, reason)


async def restore(one: Instance, *ids: str, cause: str = "its sleep is over") -> set[str]:
    return await one.engine.evicting.restore(TENANT, ids, cause)


async def invoked(worker: Worker, task_id: str, invocation: int) -> Action:
    """Wait for that invocation of a task."""

    def find() -> list[Action]:
        return [one for one in worker.starts if (one.task_id, one.invocation) == (task_id, invocation)]

    [action] = await until(find, f"invocation {invocation} of {task_id} arrives")
    return action


async def sleep_long(worker: Worker, action: Action) -> None:
    """The task asks for a sleep of a day: without any wait it would be restored before long (D-29.6)."""
    durable = await DurableWorker(worker).open()
    await durable.wait(action, sleeps("24h"))
    await durable.close()


async def evicted(one: Instance, **options: Any) -> tuple[Worker, Action, str]:
    """A task that its worker let go of."""
    await define(one, **options)
    worker = await durable_worker(one)
    run_id = await one.run()
    action = await invoked(worker, run_id, 1)
    await sleep_long(worker, action)
    assert await evict(one, run_id)
    return worker, action, run_id


async def is_evicted(one: Instance, run_id: str) -> bool:
    details = await one.details(run_id)
    assert details.is_evicted == any(task.is_evicted for task in details.tasks)
    return details.is_evicted


async def names_of(one: Instance) -> list[str]:
    """What is named as old and open."""
    return [str(row["id"]) for row in await one.rows("SELECT id FROM reopened ORDER BY id")]


async def test_d_17_8_an_eviction_frees_the_slot_and_nothing_else_happens(one: Instance) -> None:
    """D-17.14: no slot, no timeout, no worker."""
    await define(one, execution_timeout="60s", schedule_timeout="60s")
    worker = await durable_worker(one, slots={"durable": 1})
    run_id = await one.run()
    first = await invoked(worker, run_id, 1)
    assert (first.retry_count, one.free(worker, "durable")) == (0, 0)
    await sleep_long(worker, first)
    assert await evict(one, run_id)
    assert one.free(worker, "durable") == 1
    assert one.engine.flights.get(run_id) is None
    # D-17.14: neither timeout runs.
    await one.pass_time(300, worker)
    details = await one.details(run_id)
    assert (details.status, details.is_evicted, details.done) == (RunStatus.RUNNING, True, False)
    assert (details.tasks[0].status, details.tasks[0].error) == (RunStatus.RUNNING, None)
    # D-19.2: the slot is another's.
    other = await one.run()
    await worker.complete(await invoked(worker, other, 1))
    await one.ended(other, RunStatus.COMPLETED)
    assert worker.cancels == []
    assert one.scheduler.backoff.next_at() is None


async def test_d_18_2_a_restored_task_goes_on_with_the_next_invocation(one: Instance) -> None:
    """D-5.2, D-5.7, D-18.6: the count of invocations grows, that of retries does not."""
    worker, first, run_id = await evicted(one, retries=3)
    assert await restore(one, run_id) == {run_id}
    second = await invoked(worker, run_id, 2)
    assert (first.retry_count, second.retry_count) == (0, 0)
    assert not await is_evicted(one, run_id)
    await worker.fail(second)
    third = await invoked(worker, run_id, 3)
    assert third.retry_count == 1
    assert await evict(one, run_id, None)
    assert await restore(one, run_id) == {run_id}
    await worker.complete(await invoked(worker, run_id, 4))
    await one.ended(run_id, RunStatus.COMPLETED)
    # D-5.7: a replay counts.
    assert await one.replay(run_id) == [run_id]
    again = await invoked(worker, run_id, 5)
    assert again.retry_count == 2
    await worker.complete(again)
    await one.ended(run_id, RunStatus.COMPLETED)
    await until(lambda: _nothing(one), "no name is left")
    await one.empty()


async def _nothing(one: Instance) -> bool:
    return not await names_of(one)


async def test_d_5_4_only_durable_tasks_have_invocations(one: Instance) -> None:
    await one.define("plain")
    worker = await durable_worker(one, "plain")
    run_id = await one.run("plain")
    assert (await worker.started(run_id)).invocation is None
    await one.cancel(run_id)
    assert (await worker.cancelled(run_id)).invocation is None


async def test_d_5_5_a_cancel_names_the_invocation_that_runs(one: Instance) -> None:
    """D-21.1."""
    worker, _, run_id = await evicted(one)
    await restore(one, run_id)
    await invoked(worker, run_id, 2)
    assert await one.cancel(run_id) == [run_id]
    cancelled = await worker.cancelled(run_id)
    assert (cancelled.retry_count, cancelled.invocation) == (0, 2)
    await one.ended(run_id, RunStatus.CANCELLED)


async def test_d_18_3_restoring_twice_is_restoring_once(one: Instance) -> None:
    worker, _, run_id = await evicted(one)
    found = await asyncio.gather(*(restore(one, run_id, run_id) for _ in range(5)))
    assert sorted(map(len, found)) == [0, 0, 0, 0, 1]
    second = await invoked(worker, run_id, 2)
    assert await restore(one, run_id) == set()
    await worker.complete(second)
    await one.ended(run_id, RunStatus.COMPLETED)
    assert await restore(one, run_id) == set()
    await one.watched()
    assert [action.invocation for action in worker.starts] == [1, 2]


async def test_d_18_7_any_task_run_of_the_tenant_may_be_restored_and_no_other(one: Instance) -> None:
    worker, _, run_id = await evicted(one)
    evicting = one.engine.evicting
    await evicting.requeue(TENANT, run_id, "asked for")
    await worker.complete(await invoked(worker, run_id, 2))
    await one.ended(run_id, RunStatus.COMPLETED)
    await evicting.requeue(TENANT, run_id, "asked for")
    with pytest.raises(NotFound):
        await evicting.requeue(OTHER_TENANT, run_id, "asked for")
    with pytest.raises(NotFound):
        await evicting.requeue(TENANT, str(uuid.uuid4()), "asked for")
    assert await one.status(run_id) is RunStatus.COMPLETED


async def test_d_18_4_the_mark_stays_until_a_worker_has_it_and_the_timeout_counts_from_the_restore(
    one: Instance,
) -> None:
    """D-18.2: it shows as RUNNING all the time."""
    worker, _, run_id = await evicted(one, schedule_timeout="60s")
    await one.pass_time(300, worker)
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await restore(one, run_id)
    await one.pass_time(40, worker)
    details = await one.details(run_id)
    assert (details.status, details.is_evicted) == (RunStatus.RUNNING, True)
    wanted = RunFilter(since=0.0, statuses=frozenset({RunStatus.RUNNING}))
    assert await search_runs(one.database, TENANT, wanted, 10) == [run_id]
    await one.pass_time(30, worker)
    await one.ended(run_id, RunStatus.CANCELLED)
    assert (await one.event_names(run_id))[-1] == "SCHEDULING_TIMED_OUT"


async def test_d_18_2_a_restored_task_comes_before_all_others(one: Instance) -> None:
    await define(one)
    worker = await durable_worker(one, slots={"durable": 1})
    run_id = await one.run()
    await invoked(worker, run_id, 1)
    assert await evict(one, run_id)
    blocking = await one.run(priority=3)
    action = await invoked(worker, blocking, 1)
    waiting = await one.run(priority=3)
    await restore(one, run_id)
    await worker.complete(action)
    await invoked(worker, run_id, 2)
    assert waiting not in {one.task_id for one in worker.starts}


async def test_d_18_5_any_worker_may_take_it_and_d_16_7_the_old_one_counts_no_more(one: Instance) -> None:
    worker, first, run_id = await evicted(one, retries=3)
    # D-16.7: while it is evicted nobody can end it.
    await worker.complete(first, '{"n":1}')
    await worker.fail(first, worker_id=worker.id)
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    other = await durable_worker(one)
    await restore(one, run_id)
    second = await invoked(other, run_id, 2)
    late = one.engine.reports.late
    for kind in (ReportKind.COMPLETED, ReportKind.FAILED, ReportKind.CANCELLED):
        await worker.say(first, kind, '{"n":1}', worker_id=worker.id)
    # TypeScript sends the name of a worker; this is nobody's.
    await worker.say(first, ReportKind.COMPLETED, '{"n":1}', worker_id="another worker")
    assert one.engine.reports.late == late + 4
    assert await one.status(run_id) is RunStatus.RUNNING
    await other.say(second, ReportKind.COMPLETED, '{"n":2}', worker_id="a worker")
    assert (await one.ended(run_id, RunStatus.COMPLETED)).tasks[0].output == '{"n":2}'


async def test_d_16_7_of_an_ordinary_task_anybody_may_report(one: Instance) -> None:
    await one.define()
    worker = await one.worker()
    run_id = await one.run()
    action = await worker.started(run_id)
    await worker.say(action, ReportKind.COMPLETED, "{}", worker_id=str(uuid.uuid4()))
    await one.ended(run_id, RunStatus.COMPLETED)


@pytest.mark.parametrize("is_restored", [False, True])
async def test_d_21_2_a_cancel_of_an_evicted_task_asks_no_worker_and_nothing_revives_it(
    one: Instance, is_restored: bool
) -> None:
    worker, _, run_id = await evicted(one)
    if is_restored:
        await one.engine.workers.set_paused(TENANT, worker.id, True)
        await restore(one, run_id)
        await until(lambda: len(one.scheduler.queues) == 1, "it waits for a worker")
    end = one.ends(run_id)
    assert await one.cancel(run_id) == [run_id]
    assert (await end.of(run_id)).results[0].status is RunStatus.CANCELLED
    await one.engine.workers.set_paused(TENANT, worker.id, False)
    assert await restore(one, run_id) == set()
    await one.pass_time(60, worker)
    details = await one.ended(run_id, RunStatus.CANCELLED)
    assert not details.is_evicted
    assert (worker.cancels, len(worker.starts)) == ([], 1)
    await one.empty()
    assert await names_of(one) == []


async def test_d_20_1_the_execution_timeout_counts_for_each_assignment(one: Instance) -> None:
    """D-20.3."""
    worker, _, run_id = await evicted(one, execution_timeout="60s")
    await one.pass_time(300, worker)
    await restore(one, run_id)
    await invoked(worker, run_id, 2)
    await one.pass_time(40, worker)
    assert await one.status(run_id) is RunStatus.RUNNING
    await one.pass_time(30, worker)
    await one.ended(run_id, RunStatus.FAILED)
    cancelled = await worker.cancelled(run_id)
    assert (cancelled.retry_count, cancelled.invocation) == (0, 2)


async def test_d_17_8_what_has_timed_out_or_ended_is_not_evicted(one: Instance) -> None:
    await define(one, execution_timeout="60s")
    worker = await durable_worker(one)
    run_id = await one.run()
    action = await invoked(worker, run_id, 1)
    flight = one.engine.flights.get(run_id)
    assert flight is not None
    evicting = one.engine.evicting
    await worker.complete(action)
    assert not await evicting.evict(TENANT, flight, None)
    await one.ended(run_id, RunStatus.COMPLETED)
    late = await one.run()
    await invoked(worker, late, 1)
    overdue = one.engine.flights.get(late)
    assert overdue is not None
    one.clock.skip(61)
    assert not await evicting.evict(TENANT, overdue, None)
    await one.ended(late, RunStatus.FAILED)


async def test_d_20_2_a_deadline_that_another_instance_moved_counts(one: Instance) -> None:
    await define(one, execution_timeout="60s")
    worker = await durable_worker(one)
    run_id = await one.run()
    await invoked(worker, run_id, 1)
    flight = one.engine.flights.get(run_id)
    assert flight is not None
    # What an instance with the stream remembers, when another one took the refresh.
    copy = type(flight)(TENANT, flight.task, flight.worker_id, flight.assigned_at, one.clock.now() - 1)
    assert await one.engine.evicting.evict(TENANT, copy, None)
    assert await is_evicted(one, run_id)


async def test_d_20_5_a_lost_worker_leaves_its_evicted_tasks_alone(one: Instance) -> None:
    await define(one)
    worker = await durable_worker(one)
    asleep, busy = await one.run(), await one.run()
    await sleep_long(worker, await invoked(worker, asleep, 1))
    await invoked(worker, busy, 1)
    assert await evict(one, asleep)
    other = await durable_worker(one)
    await one.lose(worker, other)
    again = await invoked(other, busy, 2)
    # C-2.28: a reassignment counts as a retry.
    assert again.retry_count == 1
    assert await is_evicted(one, asleep)
    assert "REASSIGNED" not in await one.event_names(asleep)
    await restore(one, asleep)
    assert (await invoked(other, asleep, 2)).retry_count == 0


async def test_d_19_6_an_evicted_run_keeps_its_place_in_its_group(world: World) -> None:
    one = await world.engine()
    rule = ConcurrencyRule(expression="'k'", max_runs=1, strategy=Strategy.GROUP_ROUND_ROBIN)
    await define(one, concurrency=(rule,))
    worker = await durable_worker(one)
    run_id = await one.run()
    await invoked(worker, run_id, 1)
    assert await evict(one, run_id)
    waiting = await one.run()
    await one.watched()
    assert [action.task_id for action in worker.starts] == [run_id]
    # Also after a take-over, restored or not.
    await worker.fall_silent()
    await one.kill()
    two = await world.engine()
    await worker.open(two)
    await two.watched()
    assert [action.task_id for action in worker.starts] == [run_id]
    await two.engine.workers.set_paused(TENANT, worker.id, True)
    await restore(two, run_id)
    await worker.fall_silent()
    await two.kill()
    three = await world.engine()
    await worker.open(three)
    await three.engine.workers.set_paused(TENANT, worker.id, False)
    second = await invoked(worker, run_id, 2)
    await three.watched()
    assert [action.task_id for action in worker.starts] == [run_id, run_id]
    await worker.complete(second)
    await worker.complete(await invoked(worker, waiting, 1))
    await three.ended(waiting, RunStatus.COMPLETED)
    await three.empty()


async def test_d_19_6_a_run_whose_step_is_evicted_keeps_its_place_too(world: World) -> None:
    one = await world.engine()
    rule = ConcurrencyRule(expression="'k'", max_runs=1, strategy=Strategy.GROUP_ROUND_ROBIN)
    worker = await dag(one, workflow={"concurrency": (rule,)})
    begun, waiting = await one.run(), await one.run()
    await worker.complete(await worker.task("first", run_id=begun))
    step = await worker.task("step", run_id=begun)
    await sleep_long(worker, step)
    assert await evict(one, step.task_id)
    await one.watched()
    await worker.fall_silent()
    await one.kill()
    two = await world.engine()
    await worker.open(two)
    await until(lambda: two.scheduler.is_evicted(step.task_id), "the step is found")
    await two.watched()
    assert {action.run_id for action in worker.starts} == {begun}
    await restore(two, step.task_id)
    await worker.complete(await invoked(worker, step.task_id, 2))
    await worker.complete(await worker.task("last", run_id=begun))
    await worker.task("first", run_id=waiting)


async def test_d_19_6_a_rule_that_prefers_newer_runs_cancels_an_evicted_one(one: Instance) -> None:
    """C-9.8."""
    rule = ConcurrencyRule(expression="'k'", max_runs=1, strategy=Strategy.CANCEL_IN_PROGRESS)
    worker, _, run_id = await evicted(one, concurrency=(rule,))
    newer = await one.run()
    await one.ended(run_id, RunStatus.CANCELLED)
    assert await restore(one, run_id) == set()
    await worker.complete(await invoked(worker, newer, 1))
    await one.ended(newer, RunStatus.COMPLETED)
    assert worker.cancels == []
    await one.empty()


async def test_d_5_3_chunks_that_a_later_invocation_sends_again_are_heard_once(one: Instance) -> None:
    """C-7.44: they are numbered within the retry, and evictions are no retries."""
    worker, action, run_id = await evicted(one)
    heard: list[str] = []

    async def send(invocation: Action, *texts: str) -> None:
        await worker.say(invocation, ReportKind.STARTED)
        for index, text in enumerate(texts):
            await one.engine.run_events.chunk(TENANT, run_id, None, index, text, one.clock.now())

    def take(event: RunEvent) -> None:
        if event.kind is RunEventKind.STREAM:
            heard.append(event.payload)

    async def follow() -> None:
        async with one.engine.run_events.subscribe_run(TENANT, run_id) as events:
            async for event in events:
                take(event)

    following = asyncio.create_task(follow())
    await restore(one, run_id)
    second = await invoked(worker, run_id, 2)
    await send(second, "a", "b")
    await until(lambda: heard == ["a", "b"], "the chunks are heard")
    assert await evict(one, run_id)
    await restore(one, run_id)
    third = await invoked(worker, run_id, 3)
    await send(third, "a", "b", "c")
    await worker.complete(third)
    await following
    assert (action.retry_count, heard) == (0, ["a", "b", "c"])


async def test_d_19_7_units_are_taken_again_at_each_assignment(one: Instance) -> None:
    await one.engine.rate_limits.put(TENANT, "k", 2, Window.HOUR)
    worker, _, run_id = await evicted(one, rate_limits=(RateLimitRule(key="k", units=1),))
    await restore(one, run_id)
    await invoked(worker, run_id, 2)
    [state] = await one.rows("SELECT units_left FROM rate_limit WHERE key = 'k'")
    assert state["units_left"] == 0


async def test_d_20_7_evicted_and_restored_tasks_survive_a_take_over(world: World) -> None:
    one = await world.engine()
    await define(one, retries=2)
    worker = await durable_worker(one)
    asleep, woken, ended = [await one.run() for _ in range(3)]
    for run_id in (asleep, woken, ended):
        await invoked(worker, run_id, 1)
        assert await evict(one, run_id)
    assert await names_of(one) == sorted([asleep, woken, ended])
    await one.cancel(ended)
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await restore(one, woken)
    # However old they are: the watermark has passed them.
    await one.rows("UPDATE lease SET low_watermark = $1 RETURNING 1", lowest_at(one.clock.now() + 60))
    await worker.fall_silent()
    await one.kill()

    two = await world.engine()
    await until(lambda: two.scheduler.is_evicted(asleep) and woken in two.scheduler.queues, "both are found")
    assert [task.id for task in two.scheduler.backoff] == [asleep]
    await worker.open(two)
    await two.engine.workers.set_paused(TENANT, worker.id, False)
    again = await invoked(worker, woken, 2)
    assert again.retry_count == 0
    await worker.complete(again)
    await two.ended(woken, RunStatus.COMPLETED)
    await restore(two, asleep)
    await worker.complete(await invoked(worker, asleep, 2))
    await two.ended(asleep, RunStatus.COMPLETED)
    await until(lambda: _nothing(two), "no name is left")
    await two.empty()


async def test_what_sleeps_long_holds_no_watermark_back(one: Instance) -> None:
    worker, _, run_id = await evicted(one)
    one.clock.skip(3600)
    await worker.beat()
    watch = one.engine.ownership._owned[TENANT].watch
    await watch._raise_watermark(one.clock.now())
    assert watch._watermark > run_id
    doctor = Doctor(one.database, one.clock, UuidIds(), max_internal_retries=10)
    outcomes = await doctor.examine(Scope())
    assert {outcome.check.name for outcome in outcomes if outcome.found} <= {"owner", "partitions", "crons"}


async def test_the_doctor_finds_restored_tasks_that_nobody_takes_and_leaves_evicted_ones_alone(one: Instance) -> None:
    worker, _, asleep = await evicted(one, schedule_timeout="60s")
    woken = await one.run()
    await invoked(worker, woken, 1)
    assert await evict(one, woken)
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await restore(one, woken)
    doctor = Doctor(one.database, HeldClock(one.clock.now() + 600), UuidIds(), max_internal_retries=10)
    found = {outcome.check.name: outcome.found for outcome in await doctor.examine(Scope())}
    assert [(case.id, case.attempt) for case in found["overdue-retries"]] == [(woken, 1)]
    named = {case.id for cases in found.values() for case in cases}
    assert asleep not in named


async def test_two_instances_evict_and_restore_for_each_other(world: World) -> None:
    owner = await world.engine()
    other = await world.engine(owns=False)
    await until(lambda: owner.engine.bus.has_peers and other.engine.bus.has_peers, "they know each other")
    await define(owner)
    worker = await durable_worker(other)
    run_id = await owner.run()
    await invoked(worker, run_id, 1)
    assert await evict(other, run_id)
    await until(lambda: owner.scheduler.is_evicted(run_id), "the owner hears of the eviction")
    assert owner.free(worker, "durable") == 10
    assert await restore(other, run_id) == {run_id}
    second = await invoked(worker, run_id, 2)
    assert await evict(other, run_id)
    await until(lambda: owner.scheduler.is_evicted(run_id), "the owner hears of the eviction")
    # The word gets lost: the poll behind it finds the row.
    other.engine.bus.has_peers = False
    assert await restore(other, run_id) == {run_id}
    third = await invoked(worker, run_id, 3)
    other.engine.bus.has_peers = True
    await worker.complete(second)
    await worker.complete(third)
    await owner.ended(run_id, RunStatus.COMPLETED)
    await until(lambda: _nothing(owner), "no name is left")


async def dag(one: Instance, **options: Any) -> Worker:
    step = {"parents": ("first",), "is_durable": True, "execution_timeout": "1h"}
    version = await one.define_dag("flow", first=(), step=step, last=("step",), **options)
    actions = tuple(task.definition.action for task in version.tasks)
    registration = WorkerRegistration(name="a worker", actions=actions, slots=dict(SLOTS))
    worker = Worker(one, await one.engine.workers.register(TENANT, registration))
    return await worker.open()


async def test_d_23_4_a_run_whose_step_is_evicted_is_running_and_goes_on(world: World) -> None:
    one = await world.engine()
    worker = await dag(one)
    run_id = await one.run()
    await worker.complete(await worker.task("first"))
    step = await worker.task("step")
    assert step.invocation == 1
    assert await evict(one, step.task_id)
    details = await one.details(run_id)
    assert (details.status, details.is_evicted) == (RunStatus.RUNNING, True)
    assert {task.readable_id: task.is_evicted for task in details.tasks} == {"first": False, "step": True}
    assert (await one.details(step.task_id)).is_evicted
    assert await names_of(one) == [run_id]
    assert one.scheduler.runs.oldest() is None
    await one.rows("UPDATE lease SET low_watermark = $1 RETURNING 1", lowest_at(one.clock.now() + 60))
    await worker.fall_silent()
    await one.kill()

    two = await world.engine()
    await worker.open(two)
    await until(lambda: two.scheduler.is_evicted(step.task_id), "the step is found")
    await restore(two, step.task_id)
    again = await invoked(worker, step.task_id, 2)
    assert again.retry_count == 0
    await worker.complete(again)
    await worker.complete(await worker.task("last"))
    await two.ended(run_id, RunStatus.COMPLETED)
    await until(lambda: _nothing(two), "no name is left")
    # D-5.7, D-23.2: what waits anew for its parents goes on with the counts, too.
    assert await two.replay(run_id) == [run_id]
    await worker.complete(await worker.task("first", 1))
    third = await invoked(worker, step.task_id, 3)
    assert third.retry_count == 1
    await worker.complete(third)
    await worker.complete(await worker.task("last", 1))
    await two.ended(run_id, RunStatus.COMPLETED)
    await until(lambda: _nothing(two), "no name is left")
    await two.empty()


async def test_d_21_2_a_run_is_cancelled_while_its_step_is_evicted(one: Instance) -> None:
    worker = await dag(one)
    run_id = await one.run()
    await worker.complete(await worker.task("first"))
    step = await worker.task("step")
    assert await evict(one, step.task_id)
    assert await one.cancel(run_id) == [run_id]
    await one.ended(run_id, RunStatus.CANCELLED)
    assert (worker.cancels, await restore(one, step.task_id)) == ([], set())
    await one.empty()


@pytest.mark.parametrize("is_dag", [False, True])
async def test_d_22_3_a_replay_of_an_evicted_run_leads_to_its_end(one: Instance, is_dag: bool) -> None:
    if is_dag:
        worker = await dag(one)
        run_id = await one.run()
        await worker.complete(await worker.task("first"))
        step = (await worker.task("step")).task_id
        assert await evict(one, step)
    else:
        worker, _, run_id = await evicted(one)
        step = run_id
    assert await one.replay(run_id) == [run_id]
    assert await one.replay(run_id) == []
    again = await invoked(worker, step, 2)
    assert (again.retry_count, await one.replay(run_id)) == (0, [])
    await worker.complete(again)
    if is_dag:
        await worker.complete(await worker.task("last"))
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_d_24_8_the_history_of_a_durable_life(one: Instance) -> None:
    """D-17.9: the reason, or a sentence; D-18.2: the cause."""
    worker, action, run_id = await evicted(one, retries=1)
    await restore(one, run_id, cause="its sleep of 1h is over")
    second = await invoked(worker, run_id, 2)
    await worker.say(second, ReportKind.STARTED)
    assert await evict(one, run_id, "a \x00 reason")
    assert await one.event_names(run_id) == [
        *EVENTS,
        "DURABLE_EVICTED",
        "DURABLE_RESTORING",
        *EVENTS[1:],
        "DURABLE_EVICTED",
    ]
    await restore(one, run_id)
    third = await invoked(worker, run_id, 3)
    assert await evict(one, run_id, None)
    await restore(one, run_id)
    await worker.fail(await invoked(worker, run_id, 4))
    await worker.complete(await invoked(worker, run_id, 5))
    await one.ended(run_id, RunStatus.COMPLETED)
    events = await one.history(run_id)
    assert messages(events, "DURABLE_EVICTED") == [
        "its sleep is long",
        "a \ufffd reason",
        "Task was paused and evicted from its worker",
    ]
    assert messages(events, "DURABLE_RESTORING")[0] == "its sleep of 1h is over"
    assert (action.retry_count, third.retry_count) == (0, 0)
    counts = [event.retry_count for event in events if event.type.value == "ASSIGNED"]
    assert counts == [0, 0, 0, 0, 1]


def messages(events: list[TaskEvent], kind: str) -> list[str]:
    return [event.message for event in events if event.type.value == kind]


async def test_d_5_7_log_lines_belong_to_the_retry_and_not_to_the_invocation(one: Instance) -> None:
    worker, _, run_id = await evicted(one)
    await restore(one, run_id)
    await invoked(worker, run_id, 2)
    await one.engine.logs.put(TENANT, TaskLogLine(task_id=run_id, message="a line"))
    await one.engine.logs.drain()
    [line] = await one.rows("SELECT attempt FROM task_log")
    assert line["attempt"] == 0


async def test_why_an_evicted_task_waits(one: Instance) -> None:
    _, _, run_id = await evicted(one)
    [wait] = await one.engine.why.explain(TENANT, run_id)
    [reason] = wait.reasons
    assert (reason.cause, reason.until) == (Cause.EVICTED, None)
    assert "evicted" in reason.text


async def test_d_24_1_evicted_runs_are_listed_as_running_and_not_as_queued(one: Instance) -> None:
    _, _, run_id = await evicted(one)
    for statuses, found in ((RunStatus.RUNNING, [run_id]), (RunStatus.QUEUED, []), (RunStatus.FAILED, [])):
        wanted = RunFilter(since=0.0, statuses=frozenset({statuses}))
        assert await search_runs(one.database, TENANT, wanted, 10) == found


async def test_many_are_restored_in_one_call(one: Instance) -> None:
    await define(one)
    worker = await durable_worker(one, slots={"durable": 2500})
    runs = await one.run_many(2500)
    await until(lambda: len(worker.starts) == 2500, "all start")
    assert all(await asyncio.gather(*(evict(one, run_id) for run_id in runs)))
    assert len(one.scheduler.backoff) == 2500
    assert all(task.ready_at == math.inf for task in one.scheduler.backoff)
    worker.answers(worker.complete)
    assert await restore(one, *runs) == set(runs)
    await until(lambda: len(worker.starts) == 5000, "all go on")
    for run_id in runs[::500]:
        await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()
    await until(lambda: _nothing(one), "no name is left")
