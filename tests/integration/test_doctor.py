"""``hatchet-admin doctor``: a healthy engine has no findings; planted damage is found, and mended beside an engine."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from engine_fixture import Instance, World, on_event
from engine_worker import TENANT, until

from hatchet.cli.admin import main
from hatchet.cli.doctor import as_json, as_text, exit_code
from hatchet.core.ids import lowest_at, time_of
from hatchet.core.rules import ConcurrencyRule, Strategy
from hatchet.core.run_state import RunState
from hatchet.core.statuses import RunStatus
from hatchet.engine.clock import UuidIds
from hatchet.engine.doctor import Doctor, Scope
from hatchet.engine.doctor_checks import CHECKS, Outcome
from hatchet.engine.doctor_runs import has_future
from hatchet.engine.run_facts import RunFacts
from hatchet.store.doctor import reading
from hatchet.store.pool import Database

LONG_AGO = "to_timestamp(0)"


def doctor_of(one: Instance) -> Doctor:
    return Doctor(one.database, one.clock, UuidIds(), max_internal_retries=10)


async def findings(one: Instance) -> dict[str, Outcome]:
    """Checks that found something or could not look."""
    outcomes = await doctor_of(one).examine(Scope())
    assert [outcome.check for outcome in outcomes] == list(CHECKS)
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    return {outcome.check.name: outcome for outcome in outcomes if outcome.found}


async def mended(one: Instance, *names: str) -> dict[str, Outcome]:
    """Exactly these checks find something; mend it."""
    found = await findings(one)
    assert set(found) == set(names)
    doctor = doctor_of(one)
    outcomes = await doctor.examine(Scope())
    await doctor.mend(outcomes)
    assert exit_code(outcomes) == 0
    return found


async def change(one: Instance, statement: str, *args: object) -> None:
    async with one.database.transaction() as transaction:
        await transaction.raw.execute(statement, *args)


async def copied(one: Instance, source: str, seconds: float = 3600.0) -> str:
    """A task like that one, so many seconds older, that no engine has heard of."""
    new = lowest_at(one.clock.now() - seconds)[:-4] + source[-4:]
    await change(
        one,
        "INSERT INTO task (tenant_id, id, version_id, step_id, creator, priority, input, inserted_at, limits) "
        "SELECT tenant_id, $2::uuid, version_id, step_id, creator, priority, input, to_timestamp($3::float8), limits "
        "FROM task WHERE id = $1::uuid",
        source,
        new,
        time_of(new),
    )
    return new


async def given(one: Instance, task_id: str, worker_id: str, timeout: str = LONG_AGO) -> None:
    """An assignment row that the engine has not written."""
    await change(
        one,
        "INSERT INTO task_assignment (tenant_id, task_id, attempt, worker_id, app_retries, internal_retries, "
        f"assigned_at, timeout_at) VALUES ($1::uuid, $2::uuid, 0, $3::uuid, 0, 0, {LONG_AGO}, {timeout})",
        TENANT,
        task_id,
        worker_id,
    )


async def ended_task(one: Instance, **options: Any) -> str:
    """A task of workflow ``flow`` that has ended."""
    await one.define(**options)
    worker = await one.worker(completes=True)
    run_id = await one.run()
    await one.ended(run_id, RunStatus.COMPLETED)
    await worker.die()
    return run_id


async def test_a_healthy_engine_has_no_findings_also_while_it_works(one: Instance) -> None:
    await one.define(retries=1)
    await one.define_dag("dag", a=(), b=("a",), c={"parents": ("b",), "conditions": (on_event("later"),)})
    version = await one.define_dag("line", a=(), b=("a",))
    await one.worker(slots=5, completes=True)
    await one.dag_worker(version, slots=3, completes=True)
    ids: list[str] = []
    for _ in range(8):
        ids += await one.run_many(20)
        ids += await one.run_many(5, "line")
        await one.run("dag")
        assert await findings(one) == {}
    for run_id in ids:
        await one.ended(run_id, RunStatus.COMPLETED)
    assert await findings(one) == {}


async def test_looking_writes_nothing(one: Instance) -> None:
    doctor = doctor_of(one)
    async with reading(one.database, 5) as rows:
        [row] = await rows._connected.raw.fetch("SHOW transaction_read_only")
        assert row[0] == "on"
        [row] = await rows._connected.raw.fetch("SHOW statement_timeout")
        assert row[0] == "5s"
    assert exit_code(await doctor.examine(Scope(days=1))) == 0


async def test_a_look_that_takes_too_long_is_not_checked(one: Instance) -> None:
    await change(one, "CREATE FUNCTION slow() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT pg_sleep(5) IS NULL'")
    await change(one, "ALTER TABLE rate_limit RENAME TO hidden")
    await change(one, "CREATE VIEW rate_limit AS SELECT * FROM hidden RIGHT JOIN (SELECT slow()) AS s ON true")
    outcomes = await doctor_of(one).examine(Scope(patience_seconds=0.2))
    assert [outcome.check.name for outcome in outcomes if outcome.error] == ["rate-limits"]
    assert exit_code(outcomes) == 2
    assert "not checked" in as_text(outcomes, fixes=False)


async def test_an_overdue_attempt_ends_as_its_timeout_would(one: Instance) -> None:
    source = await ended_task(one)
    await unmarked(one)
    task = await copied(one, source)
    worker = await one.worker(is_open=False)
    await given(one, task, worker.id)
    found = await mended(one, "overdue-attempts")
    assert [case.id for case in found["overdue-attempts"].found] == [task]
    await one.ended(task, RunStatus.FAILED)
    assert await findings(one) == {}


async def behind(one: Instance, task_id: str) -> bool:
    """Whether the low-watermark has passed the task."""
    return bool(
        await one.rows(
            "SELECT 1 FROM lease WHERE name = $2 AND low_watermark > $1::uuid", task_id, f"scheduler:{TENANT}"
        )
    )


async def unmarked(one: Instance) -> None:
    """No low-watermark: only what the test plants below one is found."""
    one.engine.ownership._owned[TENANT].watch._watermark = lowest_at(one.clock.now() + 86_400)
    await change(one, "UPDATE lease SET low_watermark = NULL")


async def test_an_attempt_of_a_lost_worker_goes_to_another(one: Instance) -> None:
    source = await ended_task(one)
    await unmarked(one)
    task = await copied(one, source, 600)
    worker = await one.worker(is_open=False)
    await given(one, task, worker.id, "to_timestamp(9e9)")
    await change(one, f"UPDATE worker SET last_heartbeat_at = {LONG_AGO} WHERE id = $1::uuid", worker.id)
    assert await findings(one) == {}
    await change(one, f"UPDATE instance SET started_at = {LONG_AGO}")
    await mended(one, "lost-workers")
    other = await one.worker(completes=True)
    await one.ended(task, RunStatus.COMPLETED)
    assert [start.retry_count for start in other.starts] == [1]
    assert "REASSIGNED" in await one.event_names(task)
    assert await findings(one) == {}


async def test_waiting_tasks_and_retries_that_nobody_remembers_are_cancelled(one: Instance) -> None:
    source = await ended_task(one, retries=1)
    await unmarked(one)
    first, retry = await copied(one, source), await copied(one, source, 3700)
    await change(
        one,
        "INSERT INTO task_result (tenant_id, task_id, attempt, outcome, finished_at, retry_at, app_retries, "
        "internal_retries) VALUES ($1::uuid, $2::uuid, 0, 'FAILED', to_timestamp($3::float8), "
        "to_timestamp($3::float8), 1, 0)",
        TENANT,
        retry,
        time_of(retry) + 1,
    )
    found = await mended(one, "overdue-waiting", "overdue-retries")
    assert [case.id for case in found["overdue-waiting"].found] == [first]
    assert [case.id for case in found["overdue-retries"].found] == [retry]
    for task in (first, retry):
        await one.ended(task, RunStatus.CANCELLED)
    assert await findings(one) == {}


async def test_work_below_the_watermark_is_found_again_by_its_owner(one: Instance) -> None:
    source = await ended_task(one)
    task = await copied(one, source, 200)
    await unmarked(one)
    await change(one, "UPDATE lease SET low_watermark = $1::uuid", lowest_at(one.clock.now() - 100))
    await mended(one, "watermark")
    assert not await behind(one, task)
    await one.worker(completes=True)
    await one.ended(task, RunStatus.COMPLETED)
    assert await findings(one) == {}


async def test_a_run_whose_end_was_not_written_gets_it(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    await one.ended(run_id, RunStatus.COMPLETED)
    await until(lambda: written(one, "run_result"), "its end is written")
    await change(one, "DELETE FROM run_result")
    await change(one, "UPDATE task_result SET finished_at = finished_at - interval '2 minutes'")
    await mended(one, "runs-without-end")
    [row] = await one.rows("SELECT run_id::text, status FROM run_result")
    assert tuple(row) == (run_id, "COMPLETED")
    assert await findings(one) == {}


async def test_a_run_that_nobody_remembers_goes_on(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",), c=())
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    first, other = await worker.task("a"), await worker.task("c")
    await worker.fail(first)
    await until(lambda: has_cancelled(one), "b is cancelled")
    one.scheduler.runs.drop(run_id)
    await change(one, "DELETE FROM task_result WHERE outcome = 'CANCELLED'")
    await change(one, "UPDATE task_result SET finished_at = finished_at - interval '2 minutes'")
    await change(one, "UPDATE task SET inserted_at = inserted_at - interval '3 minutes'")
    await mended(one, "runs-not-advanced")
    assert await has_cancelled(one)
    await until(lambda: run_id in one.scheduler.runs, "its owner knows it again")
    await worker.complete(other)
    await one.ended(run_id, RunStatus.FAILED)
    await until(lambda: written(one, "run_result"), "its end is written")
    assert await findings(one) == {}


async def test_a_run_has_a_future_as_long_as_one_of_its_open_tasks_has(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    run_id = await one.run("dag")
    facts = RunFacts(one.database, one.engine.registration, one.clock)
    [run] = await facts.load(TENANT, [run_id])
    assert has_future(run, one.clock.now())
    # What rows cannot say: that the first task waits for something that it does not wait for.
    graph = SimpleNamespace(parents=((1,), (0,)), on_failure=None)
    version = cast(Any, SimpleNamespace(graph=graph, tasks=version.tasks))
    run.state = RunState.fresh(version, one.clock.now())
    assert not has_future(run, one.clock.now())


async def test_missing_rows_do_not_stop_the_doctor(one: Instance) -> None:
    run_id = await ended_run(one)
    await change(one, f"INSERT INTO reopened (tenant_id, id, reopened_at) VALUES ($1, $2, {LONG_AGO})", TENANT, run_id)
    await change(one, "DELETE FROM task WHERE run_id IS NOT NULL")
    outcomes = await doctor_of(one).examine(Scope())
    assert not [outcome.error for outcome in outcomes if outcome.error]
    assert {outcome.check.name for outcome in outcomes if outcome.found} == {"facts-without-task", "stale-reopened"}


async def ended_run(one: Instance) -> str:
    version = await one.define_dag(a=(), b=("a",))
    await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    await one.ended(run_id, RunStatus.COMPLETED)
    await until(lambda: written(one, "run_result"), "its end is written")
    return run_id


async def has_cancelled(one: Instance) -> bool:
    return bool(await one.rows("SELECT 1 FROM task_result WHERE outcome = 'CANCELLED'"))


async def written(one: Instance, table: str) -> bool:
    return bool(await one.rows(f"SELECT 1 FROM {table}"))


async def test_a_run_without_its_tasks_is_ended_and_stops_no_take_over(world: World, one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    run_id = await one.run("dag")
    await change(one, "DELETE FROM task WHERE run_id = $1::uuid", run_id)
    await mended(one, "runs-without-tasks")
    assert [row["status"] for row in await one.rows("SELECT status FROM run_result")] == ["CANCELLED"]
    await one.stop()
    other = await world.engine()
    await other.dag_worker(version, completes=True)
    await other.ended(await other.run("dag"), RunStatus.COMPLETED)


async def test_bookkeeping_of_nothing_is_deleted(one: Instance) -> None:
    source = await ended_task(one)
    await unmarked(one)
    gone = lowest_at(one.clock.now() - 5)
    await given(one, gone, source)
    await change(
        one,
        "INSERT INTO task_child (tenant_id, parent_task_id, child_key, child_id) VALUES ($1, $2, 'key', $3)",
        TENANT,
        source,
        gone,
    )
    await change(one, f"INSERT INTO reopened (tenant_id, id, reopened_at) VALUES ($1, $2, {LONG_AGO})", TENANT, gone)
    await change(
        one,
        "INSERT INTO run_result (tenant_id, run_id, status, finished_at) VALUES ($1, $2, 'FAILED', now())",
        TENANT,
        gone,
    )
    await mended(one, "facts-without-task", "children-without-run", "stale-reopened")
    assert await findings(one) == {}


async def test_a_replay_that_is_not_listed_is_listed_again(one: Instance) -> None:
    run_id = await ended_task(one)
    await one.replay(run_id)
    await change(one, "DELETE FROM reopened")
    await change(one, "UPDATE task_replay SET replayed_at = replayed_at - interval '2 minutes'")
    await mended(one, "lost-replays")
    assert [str(row["id"]) for row in await one.rows("SELECT id FROM reopened")] == [run_id]


async def test_crons_keys_rates_and_partitions_are_mended(one: Instance) -> None:
    version = await one.define()
    cron = (
        "INSERT INTO cron_trigger (id, tenant_id, workflow_id, name, expression, method, input, priority, is_enabled, "
        "next_at, created_at, updated_at) VALUES ($1, $2, $3, $4, '0 0 1 1 *', 'API', '{}', 1, $5, "
        "to_timestamp($6::float8), now(), now())"
    )
    ids = [UuidIds().new() for _ in range(2)]
    await change(one, cron, ids[0], TENANT, version.workflow_id, "none", True, None)
    await change(one, cron, ids[1], TENANT, version.workflow_id, "off", False, 9e9)
    await change(
        one,
        "INSERT INTO idempotency_claim VALUES ($1, 'key', $2, false, to_timestamp(0))",
        TENANT,
        ids[1],
    )
    await change(
        one,
        "INSERT INTO rate_limit (tenant_id, key, limit_value, time_window, units_left, refilled_at, updated_at) "
        "VALUES ($1, 'low', 5, 'DAY', -3, now(), now()), "
        "($1, 'high', 5, 'DAY', 9, now(), to_timestamp(0)), ($1, 'lowered', 5, 'DAY', 9, to_timestamp(0), now())",
        TENANT,
    )
    [row] = await one.rows("SELECT to_char(now() at time zone 'UTC', 'YYYYMMDD') AS day")
    await change(one, f"DROP TABLE event_run_{row['day']}")
    found = await mended(one, "crons", "expired-keys", "rate-limits", "partitions")
    assert [case.id for case in found["crons"].found] == ids
    assert await findings(one) == {}
    rows = await one.rows("SELECT key, units_left FROM rate_limit ORDER BY key")
    assert [tuple(row) for row in rows] == [("high", 5), ("low", 0), ("lowered", 9)]


async def test_full_workers_and_groups_are_reported_and_left_alone(one: Instance) -> None:
    rule = ConcurrencyRule(expression="'all'", max_runs=2, strategy=Strategy.GROUP_ROUND_ROBIN)
    source = await ended_task(one, concurrency=(rule,))
    await unmarked(one)
    worker = await one.worker(slots=1, is_open=False)
    for number in range(3):
        await given(one, await copied(one, source, 10 + number), worker.id, "to_timestamp(9e9)")
    found = await findings(one)
    assert set(found) == {"worker-capacity", "concurrency"}
    assert "3 of 1 default" in found["worker-capacity"].found[0].text
    assert "3 of 2 run" in found["concurrency"].found[0].text
    outcomes = await doctor_of(one).examine(Scope())
    await doctor_of(one).mend(outcomes)
    assert exit_code(outcomes) == 1


async def test_what_only_a_person_can_mend_is_reported(one: Instance) -> None:
    source = await ended_task(one)
    await unmarked(one)
    await one.define("empty")
    [row] = await one.rows("SELECT id FROM workflow WHERE name = 'empty'")
    await change(one, "DELETE FROM workflow_version WHERE workflow_id = $1", row["id"])
    scheduled = (
        "INSERT INTO scheduled_run (id, tenant_id, workflow_id, trigger_at, method, input, priority, created_at, "
    )
    scheduled += "updated_at) VALUES ($1, $2, $3, to_timestamp($4), 'API', '{}', 1, now(), now())"
    await one.engine.schedules.stop()
    await change(one, scheduled, UuidIds().new(), TENANT, row["id"], one.clock.now() - 600)
    task = await copied(one, source, 100)
    await change(one, "UPDATE task SET version_id = $2 WHERE id = $1", task, UuidIds().new())
    orphan = await copied(one, source, 5)
    await change(one, "UPDATE task SET run_id = $2 WHERE id = $1", orphan, UuidIds().new())
    found = await findings(one)
    assert set(found) == {"scheduled-runs", "without-version", "work-without-version", "tasks-without-run"}


async def test_a_tenant_without_an_owner_is_reported(one: Instance) -> None:
    await one.stop()
    database = await Database.open(one.database.dsn, max_connections=1)
    try:
        outcomes = await Doctor(database, one.clock, UuidIds(), max_internal_retries=1).examine(Scope())
        assert [outcome.check.name for outcome in outcomes if outcome.found] == ["owner"]
        text = as_text(outcomes, fixes=False)
        assert TENANT in text
        assert "remedy: Start a server" in text
        assert json.loads(as_json(outcomes))["healthy"] is False
    finally:
        await database.close()


@pytest.mark.parametrize(("variables", "code"), [({}, 0), ({"wrong": "1"}, 2)])
async def test_the_command_says_by_its_exit_code_how_it_is(
    one: Instance,
    variables: dict[str, str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> None:
    dsn = "postgresql://127.0.0.1:1/none" if variables else one.database.dsn
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("HATCHET_DATA_DIR", str(tmp_path))
    # It would be for the whole process, and loggers remember it.
    monkeypatch.setattr("hatchet.cli.admin.configure", lambda **_: None)

    def call() -> int:
        with pytest.raises(SystemExit) as ended:
            main(["doctor", "--json"])
        return int(ended.value.code or 0)

    assert await asyncio.to_thread(call) == code
    if not code:
        # The engine of this test logs to the same place.
        lines = capsys.readouterr().out.splitlines()
        said = "\n".join(lines[lines.index("{") : lines.index("}") + 1])
        assert json.loads(said)["healthy"] is True
