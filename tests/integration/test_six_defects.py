"""The six defects that every system of this kind has had, one named test each (design section 10)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from durable_worker import DurableWorker, hears
from engine_fixture import Instance, World, on_event, waits
from engine_worker import TENANT, Action, Worker, until

from hatchet.core.definitions import Idempotency, TaskDefinition, WorkflowDefinition
from hatchet.core.errors import Unavailable
from hatchet.core.messages import ReportKind, TriggerItem
from hatchet.core.rules import ConcurrencyRule, DefaultFilter, Strategy
from hatchet.core.statuses import Outcome, RunStatus
from hatchet.core.task_logs import TaskLogLine
from hatchet.engine import endings, leases, publish, watch
from hatchet.engine.component import Loop
from hatchet.engine.scheduled_runs import WantedRun
from hatchet.engine.upkeep import Upkeep
from hatchet.store.partitions import DAY
from hatchet.store.tasks import NewResult, append_results

ONE_AT_A_TIME = (ConcurrencyRule(expression="'everybody'", max_runs=1, strategy=Strategy.GROUP_ROUND_ROBIN),)


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead engine's lease ends after a moment; the proportions are those of production."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.2)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(leases, "DEAD_SECONDS", 1.6)


async def two(world: World) -> tuple[Instance, Instance]:
    """The owner, and another instance that knows of it."""
    owner = await world.engine()
    other = await world.engine(owns=False)
    await until(lambda: owner.engine.bus.has_peers and other.engine.bus.has_peers, "they know each other")
    return owner, other


# Leaked limit slot ------------------------------------------------------------------------------------------------


async def late_news(owner: Instance, other: Instance, worker: Worker, _: pytest.MonkeyPatch) -> None:
    """The message about a new task arrives when that has ended already."""
    run_id = await other.run()
    await owner.ended(run_id, RunStatus.COMPLETED)
    message = {"tenant": TENANT, "first": run_id, "last": run_id, "from": other.engine.instance_id}
    owner.engine.ownership._heard_tasks(message)
    await owner.engine.ownership._background.settle()


async def overtaken_reading(owner: Instance, other: Instance, worker: Worker, patch: pytest.MonkeyPatch) -> None:
    """The owner reads of a task that waits; before it goes on with that, the task has run and ended."""
    real, is_read, may_go_on = watch.ready_tasks, asyncio.Event(), asyncio.Event()

    async def slow_at_first(registration: Any, rows: Sequence[Any]) -> Any:
        tasks = await real(registration, rows)
        if tasks and not is_read.is_set():
            is_read.set()
            await may_go_on.wait()
        return tasks

    patch.setattr(watch, "ready_tasks", slow_at_first)
    run_id = await other.run()
    # Of the message and the poll behind it one stops here, and the other goes on.
    await is_read.wait()
    await owner.ended(run_id, RunStatus.COMPLETED)
    may_go_on.set()
    await owner.engine.ownership._background.settle()
    await owner.watched()


async def end_without_an_answer(owner: Instance, other: Instance, worker: Worker, patch: pytest.MonkeyPatch) -> None:
    """The end of the attempt is committed, and the connection breaks before that is known."""
    real, failures = endings.append_results, iter([Unavailable("the connection broke")])

    async def append(*args: Any, **named: Any) -> Any:
        written = await real(*args, **named)
        for failure in failures:
            raise failure
        return written

    patch.setattr(endings, "append_results", append)
    worker.answers(lambda action: _reports_once(worker, action))
    run_id = await owner.run()
    await owner.ended(run_id, RunStatus.COMPLETED)
    worker.completes()


async def _reports_once(worker: Worker, action: Action) -> None:
    with pytest.raises(Unavailable):
        await worker.complete(action)


Case = Callable[[Instance, Instance, Worker, pytest.MonkeyPatch], Awaitable[None]]


@pytest.mark.parametrize("case", [late_news, overtaken_reading, end_without_an_answer])
async def test_defect_leaked_limit_slot(world: World, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """Whatever happens to an attempt and to the news of it: when it has ended, its place is free."""
    owner, other = await two(world)
    await owner.define(concurrency=ONE_AT_A_TIME)
    worker = await owner.worker(completes=True)
    await case(owner, other, worker, monkeypatch)
    await owner.ended(await owner.run(), RunStatus.COMPLETED)
    await owner.ended(await other.run(), RunStatus.COMPLETED)
    await owner.empty()


# Stuck non-terminal run -------------------------------------------------------------------------------------------


async def test_defect_stuck_non_terminal_run(world: World) -> None:
    """The last task's end is in the rows and the engine died before it wrote that of the run: its successor does."""
    first = await world.engine()
    version = await first.define_dag(a=(), b=("a",))
    worker = await first.dag_worker(version)
    run_id = await first.run("dag")
    await worker.complete(await worker.task("a"))
    last = await worker.task("b")
    await first.kill()
    await worker.die()

    second = await world.engine(owns=False)
    now = second.clock.now()
    end = NewResult(TENANT, last.task_id, 0, Outcome.COMPLETED, '{"n":1}', None, now, now, None, 0, 0)
    assert await append_results(second.database, [end]) == {(last.task_id, 0)}
    ends = second.ends(run_id)
    assert {result.status for result in (await ends.of(run_id)).results} == {RunStatus.COMPLETED}
    await second.ended(run_id, RunStatus.COMPLETED)
    written = await until(lambda: second.rows("SELECT status FROM run_result"), "the end of the run is written")
    assert written == [("COMPLETED",)]


# Wake-up missed after reconnect -----------------------------------------------------------------------------------


async def test_defect_wake_up_missed_after_reconnect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run ends while the instance of whoever waits for it hears nothing; it asks when it hears again."""
    # The poll behind the messages would hide it, or come in an hour.
    monkeypatch.setattr(publish, "RECHECK_SECONDS", 3600.0)
    owner, other = await two(world)
    await owner.define()
    worker = await owner.worker()
    run_id = await owner.run()
    ends = other.ends(run_id)
    action = await worker.started(run_id)

    bus = other.engine.bus
    listen_once, may_listen = bus._listen_once, asyncio.Event()

    async def listen(first: bool) -> None:
        await may_listen.wait()
        await listen_once(first)

    monkeypatch.setattr(bus, "_listen_once", listen)
    await until(lambda: other.engine.results._lookups._task is None, "the rows were looked at once")
    assert bus._broken is not None
    bus._broken.set()
    await asyncio.sleep(0)
    await worker.complete(action)
    await owner.ended(run_id, RunStatus.COMPLETED)
    assert ends.told == []
    may_listen.set()
    assert (await ends.of(run_id)).results[0].status is RunStatus.COMPLETED


# Stale owner completes --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_leases")
async def test_defect_stale_owner_completes(world: World) -> None:
    """An owner that slept through the loss of its lease ends nothing, and neither does the attempt that it gave out."""
    owner, other = await two(world)
    await owner.define(execution_timeout="10m", concurrency=ONE_AT_A_TIME)
    old, new = await owner.worker(), await other.worker(is_open=False)
    run_id, waiting = await owner.run_many(2)
    first = await old.started(run_id)
    await Loop.stop(owner.engine.leases)
    await until(lambda: other.owns, "the other takes over")

    # For the stale owner the attempt's time is over; what it decides is not written.
    owner.clock.skip(601)
    await owner.watched(4)
    assert await owner.rows("SELECT 1 FROM task_result") == []

    # The new owner gives the task to another worker. Then the first one says that it is done.
    await new.open()
    await other.lose(old, new)
    second = await new.started(run_id, 1)
    await old.complete(first, '{"from":"the first"}')
    assert await other.status(run_id) is RunStatus.RUNNING
    await other.watched()
    assert [action.task_id for action in new.starts] == [run_id], "the place went to the next"
    await new.complete(second, '{"from":"the second"}')
    assert (await other.ended(run_id, RunStatus.COMPLETED)).tasks[0].output == '{"from":"the second"}'
    await new.complete(await new.started(waiting))
    await other.ended(waiting, RunStatus.COMPLETED)


# Unbounded table --------------------------------------------------------------------------------------------------

AS_MANY_AS_PEOPLE_MADE = {
    "tenant",
    "app_user",
    "tenant_member",
    "api_token",
    "workflow",
    "workflow_version",
    "tenant_rule",
    "event_filter",
    "cron_trigger",
    "trigger_revision",
    "rate_limit",
    "lease",
    "schema_migration",
}
"""Definitions and names. Everything else grows with the work, and must shrink."""
TABLES = """
SELECT relname::text AS name FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1
"""


async def sizes(one: Instance) -> dict[str, int]:
    """The number of rows of each table that grows with the work."""
    names = {row["name"] for row in await one.rows(TABLES)} - AS_MANY_AS_PEOPLE_MADE
    return {name: (await one.rows(f"SELECT count(*) FROM {name}"))[0][0] for name in sorted(names)}


async def work_of_all_kinds(one: Instance) -> None:
    """Leaves rows in every table that work leaves rows in."""
    claim = {"idempotency": Idempotency(expression="input.id", ttl_ms=1000)}
    version = await one.define_dag(
        "dag", on_failure=True, workflow=claim, a=(), b=waits(on_event("go"), parents=("a",))
    )
    dag_worker = await one.dag_worker(version, completes=True)
    dag = await one.run("dag", input='{"id":"1"}')
    task = TaskDefinition(readable_id="flow", action="flow:run")
    definition = WorkflowDefinition(name="flow", tasks=(task,), event_triggers=("go",))
    triggered = await one.engine.registration.put(TENANT, definition)
    for expression in ("true", "input.nothing.at.all"):
        wanted = DefaultFilter(scope="s", expression=expression, payload="{}")
        await one.engine.filters.add(TENANT, triggered.workflow_id, wanted)
    worker = await one.worker("flow")
    run_id = await one.run("flow")
    action = await worker.started(run_id)
    await worker.say(action, ReportKind.STARTED)
    await one.engine.control.release_slot(TENANT, run_id)
    await one.engine.logs.put(TENANT, TaskLogLine(task_id=run_id, message="hello"))
    child = TriggerItem(workflow_name="flow", parent_run_id=run_id, parent_task_id=run_id, child_key="k")
    await one.engine.trigger.trigger(TENANT, [child])
    await one.engine.scheduled.add(TENANT, WantedRun(workflow="flow", times=[one.clock.now()]))
    await until(lambda: one.rows("SELECT 1 FROM task_start"), "the start is written")
    worker.completes()
    await worker.complete(action)
    for started in list(worker.starts):
        await worker.complete(started)
    await until(lambda: [name for name, _ in dag_worker.begun(dag)] == ["a"], "a has begun")
    await until(lambda: len(one.scheduler.runs.waits), "b waits for the event")
    await one.push("go", scope="s")
    await one.ended(dag, RunStatus.COMPLETED)
    await one.replay(run_id)
    await one.define("nobody")
    await one.run("nobody")
    await until(lambda: one.rows("SELECT 1 FROM action_gap"), "somebody noticed that nobody serves it")
    nobody = await one.worker("nobody", completes=True)
    await until(lambda: one.rows(ALL_ENDED), "everything has ended")
    await until(lambda: one.rows("SELECT 1 FROM action_gap WHERE until IS NOT NULL"), "somebody serves it")
    await durable_work(one)
    await one.rows("""
        WITH person AS (
            INSERT INTO app_user (id, email, name, created_at) VALUES (gen_random_uuid(), 'a@b.c', 'a', now())
            RETURNING id
        )
        INSERT INTO user_session (id, user_id, created_at, expires_at)
        SELECT '\\x01', id, now(), now() + interval '30 days' FROM person""")
    for each in (dag_worker, worker, nobody):
        await each.die()


async def durable_work(one: Instance) -> None:
    """A durable task that remembers, waits, is evicted, comes back, and is run again from a branch."""
    await one.define("durable", is_durable=True)
    worker = await one.worker("durable", slots={"durable": 5})
    durable = await DurableWorker(worker).open()
    run_id = await one.run("durable")
    first = await durable.invocation(run_id, 1)
    await durable.memoized(first, "m", 1)
    both = (hears("one"), hears("other"))
    await durable.wait(first, *both)
    await one.push("one")
    await until(lambda: one.rows("SELECT 1 FROM durable_match"), "the first event is noted")
    await durable.evict(first)
    await one.push("other")
    second = await durable.invocation(run_id, 2)
    await durable.memoized(second, "m", 1)
    await durable.result(await durable.wait(second, *both))
    await worker.complete(second)
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.engine.durable.branch(TENANT, run_id, 2, 1)
    await worker.complete(await durable.invocation(run_id, 3))
    await until(lambda: one.rows(ALL_ENDED), "everything has ended")
    await durable.close()
    await worker.die()


ALL_ENDED = """
SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM task WHERE NOT EXISTS (
    SELECT 1 FROM task_result r WHERE r.tenant_id = task.tenant_id AND r.task_id = task.id AND r.retry_at IS NULL
)) AND NOT EXISTS (SELECT 1 FROM scheduled_run WHERE triggered_at IS NULL) AND NOT EXISTS (SELECT 1 FROM reopened)
"""


async def test_defect_unbounded_table(one: Instance) -> None:
    """After the retention nothing is left of work, in no table; a new table has to say which kind it is."""
    await work_of_all_kinds(one)
    before = await sizes(one)
    assert [name for name, count in before.items() if not count] == ["reopened"], (
        "work that leaves no trace proves nothing"
    )
    one.clock.skip(40 * DAY)
    watching = one.engine.ownership._owned[TENANT].watch
    await one.watched(2 * watch.WATERMARK_TURNS)
    assert watching._watermark
    await Upkeep(one.database, one.clock, retention=30 * DAY).turn()
    left = await sizes(one)
    assert left.pop("instance") <= 1
    assert {name: count for name, count in left.items() if count} == {}


# Poison row blocks a batch ----------------------------------------------------------------------------------------


async def test_defect_poison_row_blocks_a_batch(one: Instance) -> None:
    """One row that the database refuses fails alone and with an error, in every kind of write that comes in batches."""
    await one.define()
    worker = await one.worker(slots=20)
    await one.rows("ALTER TABLE task ADD CONSTRAINT poison CHECK (priority <> 3) NOT VALID")
    await one.rows("ALTER TABLE task_result ADD CONSTRAINT poison CHECK (error IS DISTINCT FROM 'poison') NOT VALID")
    await one.rows("ALTER TABLE event ADD CONSTRAINT poison CHECK (scope IS DISTINCT FROM 'poison') NOT VALID")
    priorities = [3 if number == 4 else 1 for number in range(10)]
    triggers = await asyncio.gather(*(one.run(priority=each) for each in priorities), return_exceptions=True)
    assert [number for number, answer in enumerate(triggers) if isinstance(answer, Exception)] == [4]

    runs = [answer for answer in triggers if isinstance(answer, str)]
    actions = [await worker.started(run_id) for run_id in runs]
    reports = [worker.fail(action, "poison" if number == 7 else "plain") for number, action in enumerate(actions)]
    answers = await asyncio.gather(*reports, return_exceptions=True)
    assert [number for number, answer in enumerate(answers) if answer is not None] == [7]
    for number, run_id in enumerate(runs):
        assert await one.status(run_id) is (RunStatus.RUNNING if number == 7 else RunStatus.FAILED)

    events = [one.push("go", scope="poison" if number == 5 else None) for number in range(10)]
    pushed = await asyncio.gather(*events, return_exceptions=True)
    assert [number for number, answer in enumerate(pushed) if isinstance(answer, Exception)] == [5]
    assert await one.rows("SELECT count(*) FROM event") == [(9,)]
