"""Each hot statement uses its index on tables that are full and analysed (design section 6).

The tables hold some 20,000 finished tasks and a few open ones; the plans are asked for on connections with the
settings that production uses.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest_asyncio

from hatchet.core.ids import lowest_at, time_of
from hatchet.store.pool import Database
from hatchet.store.statements import sql

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
DONE = 20_000
OPEN = 50

# Every task of one day: where midnight would fall between them, two half-full days make a scan look cheap.
FILL = """
WITH newest AS (
    SELECT (extract(epoch FROM CASE WHEN now() - today < interval '2 hours' THEN today ELSE now() END) * 1000)::bigint
           - 600000 AS at
    FROM (SELECT date_trunc('day', now(), 'UTC') AS today) AS days
), numbers AS MATERIALIZED (
    SELECT n, (lpad(to_hex(newest.at - (n % 2) * 3600000), 12, '0')
               || '7' || lpad(to_hex(n % 4096), 3, '0') || '8000' || lpad(to_hex(n), 12, '0'))::uuid AS id
    FROM newest, generate_series(1, {total}) AS n
), tasks AS (
    INSERT INTO task (tenant_id, id, version_id, step_id, creator, priority, input, inserted_at)
    SELECT '{tenant}', id, '{tenant}', '{tenant}', '{tenant}', 1, repeat('x', 200)::bytea, now() FROM numbers
), assignments AS (
    INSERT INTO task_assignment
    SELECT '{tenant}', id, 0, '{tenant}', 0, 0, now(), now() + interval '1 minute' FROM numbers WHERE n <= {assigned}
), starts AS (
    INSERT INTO task_start SELECT '{tenant}', id, 0, now() FROM numbers WHERE n <= {assigned} AND n % 20 = 0
), runs AS (
    INSERT INTO run (tenant_id, id, version_id, creator, priority, input, inserted_at)
    SELECT '{tenant}', id, '{tenant}', '{tenant}', 1, repeat('x', 200)::bytea, now() FROM numbers
), run_results AS (
    INSERT INTO run_result SELECT '{tenant}', id, 'COMPLETED', now() FROM numbers WHERE n <= {done}
), replays AS (
    INSERT INTO task_replay SELECT '{tenant}', id, 1, now(), true FROM numbers WHERE n % 100 = 0
), matches AS (
    INSERT INTO task_match SELECT '{tenant}', id, 0, 0, id, now(), repeat('x', 50)::bytea FROM numbers WHERE n % 4 = 0
), notes AS (
    INSERT INTO task_note SELECT '{tenant}', id, 0, now(), 'SLOT_RELEASED', NULL FROM numbers WHERE n % 100 = 0
)
INSERT INTO task_result (tenant_id, task_id, attempt, outcome, output, finished_at, app_retries, internal_retries)
SELECT '{tenant}', id, 0, 'COMPLETED', '{{}}', now(), 0, 0 FROM numbers WHERE n <= {done}
"""


@pytest_asyncio.fixture
async def full(database: Database) -> AsyncIterator[Database]:
    """A database with data and statistics."""
    async with database.transaction() as transaction:
        await transaction.raw.execute(
            FILL.format(tenant=TENANT, total=DONE + 2 * OPEN, assigned=DONE + OPEN, done=DONE)
        )
        await transaction.raw.execute(
            "INSERT INTO worker (id, tenant_id, name, actions, slots, labels, created_at, last_heartbeat_at) "
            "SELECT gen_random_uuid(), $1::uuid, 'w', '{a:run}', '{}', '{}', now(), now() - n * interval '1 hour' "
            "FROM generate_series(1, 3000) AS n",
            TENANT,
        )
    async with database.transaction() as transaction:
        await transaction.raw.execute("ANALYZE")
    yield database


BY_IDS = (
    "ids_resolve",
    "run_ended",
    "run_payloads",
    "run_rows",
    "task_ends",
    "task_evicted",
    "task_matches",
    "task_outputs",
    "task_parents",
    "task_payloads",
    "task_states",
)
"""Statements that read tasks or runs by their ids."""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def scanned(database: Database, statement: str, *args: object) -> set[str]:
    """The tables that the statement reads from end to end."""
    async with database.transaction() as transaction:
        text = await transaction.raw.fetchval(f"EXPLAIN (FORMAT JSON) {sql(statement)}", *args)
    plan = json.loads(text)[0]["Plan"]
    # A partition without rows is read from end to end for nothing.
    return {
        node["Relation Name"]
        for node in nodes(plan)
        if node["Node Type"] == "Seq Scan" and node["Plan Rows"] > 0 and node["Total Cost"] > 50
    }


async def some_ids(database: Database, count: int) -> list[str]:
    async with database.transaction() as transaction:
        rows = await transaction.raw.fetch("SELECT id FROM task ORDER BY id DESC LIMIT $1", count)
    return [str(row["id"]) for row in rows]


async def test_hot_statements_read_no_table_from_end_to_end(full: Database, dsn: str) -> None:
    for hot in (False, True):
        connections = await Database.open(dsn, max_connections=2, hot=hot)
        for count in (1, 100, 1000):
            ids = await some_ids(full, count)
            zeros, now = [0] * count, time.time()
            times, texts, nothing = [now] * count, ["COMPLETED"] * count, [None] * count
            attempts = [[TENANT] * count, ids, [1] * count]
            rows = [*attempts, texts, nothing, nothing, nothing, times, nothing, zeros, zeros, zeros]
            workers = [TENANT] * count
            found = {
                "task_assign": await scanned(
                    connections, "task_assign", "x", 1, TENANT, now, ids, zeros, workers, zeros, zeros, times, zeros
                ),
                "task_result_append": await scanned(connections, "task_result_append", *rows),
                "task_result_append_fenced": await scanned(connections, "task_result_append_fenced", *rows, "x", 1),
            }
            assert {name: tables for name, tables in found.items() if tables} == {}, (hot, count)
        await connections.close()


async def test_statements_by_id_read_no_table_from_end_to_end(full: Database) -> None:
    for count in (1, 100):
        ids = await some_ids(full, count)
        for statement in BY_IDS:
            assert await scanned(full, statement, TENANT, ids) == set(), (statement, count)
        assert await scanned(full, "task_attempts", TENANT, ids, True) == set()
        assert await scanned(full, "task_restore_append", TENANT, ids, time.time(), "x") == set(), count
    assert await scanned(full, "worker_heartbeats", ids[:5], [time.time()] * 5) == set()
    assert await scanned(full, "worker_by_id", TENANT, ids[:5]) == set()


async def test_polls_and_recovery_read_from_the_watermark_on(full: Database) -> None:
    recent = lowest_at(time.time() - 60)
    assert await scanned(full, "task_never_assigned_by_others", TENANT, lowest_at(time.time() + 1), TENANT) == set()
    for statement, args in {
        "task_never_assigned": (TENANT, recent, 100),
        "task_open_retries": (TENANT, lowest_at(time.time() + 1)),
        "task_open_assignments": (TENANT, lowest_at(time.time() + 1)),
        "run_open": (TENANT, recent, 100),
        "run_open_by_others": (TENANT, lowest_at(time.time() + 1), TENANT),
    }.items():
        tables = await scanned(full, statement, *args)
        assert not any(table.startswith(("task_2", "run_2")) for table in tables), (statement, tables)


async def test_a_day_that_is_not_asked_for_is_not_touched(full: Database) -> None:
    [task_id] = await some_ids(full, 1)
    async with full.transaction() as transaction:
        text = await transaction.raw.fetchval(
            f"EXPLAIN (FORMAT JSON) {sql('task_never_assigned_by_others')}", TENANT, task_id, TENANT
        )
    read = {node.get("Relation Name") for node in nodes(json.loads(text)[0]["Plan"])}
    days = {name.rsplit("_", 1)[1] for name in read if name and name.startswith("task_2")}
    assert min(days) == time.strftime("%Y%m%d", time.gmtime(time_of(task_id)))
