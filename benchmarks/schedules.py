"""Crons and scheduled runs: statements at rest whatever their number, and how fast many that are due at once fire."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg

from benchmarks.bench import Bench
from benchmarks.usage import Parties

CRONS = 10_000
SCHEDULED = 100_000
DUE = 1000
"""In one second: so many scheduled runs, and then so many crons."""
WORKFLOW = "bench-noop"
"""Its worker is gone again when it counts, so that only the firing is measured."""
AHEAD_SECONDS = 3.0
SETTLE_SECONDS = 12.0
"""PostgreSQL's idle connections hand in their counts within ten seconds."""
PATIENCE_SECONDS = 60.0

_CRONS = """
INSERT INTO cron_trigger (id, tenant_id, workflow_id, name, expression, method, input, priority, next_at,
                          created_at, updated_at)
SELECT gen_random_uuid(), tenant_id, id, $2 || number, $3, 'API', '{}', 1, $4::timestamptz, now(), now()
FROM workflow, generate_series(1, $5::integer) AS number WHERE name = $1
"""
_SCHEDULED = """
INSERT INTO scheduled_run (id, tenant_id, workflow_id, trigger_at, method, input, priority, created_at, updated_at)
SELECT gen_random_uuid(), tenant_id, id, $2::timestamptz + number * $3::interval, 'API', '{}', 1, now(), now()
FROM workflow, generate_series(1, $4::integer) AS number WHERE name = $1
"""
_FIRED = "SELECT count(*) FROM task WHERE version_id IN (SELECT v.id FROM workflow_version AS v JOIN workflow AS w"
_FIRED += " ON w.id = v.workflow_id WHERE w.name = $1)"


async def schedules(bench: Bench) -> dict[str, Any]:
    """At rest without and with full tables; then many that are due at once."""
    async with bench.worker():
        """It registers the workflows."""
    connection = await asyncpg.connect(bench.postgres.dsn())
    try:
        empty = await _statements_at_rest(bench)
        await _fill(connection)
        full = await _statements_at_rest(bench)
        found: dict[str, Any] = {
            "statements_per_second": {"empty": empty, "full": full},
            "scheduled_at_once": await _scheduled_at_once(bench, connection),
            "crons_at_once": await _crons_at_once(bench, connection),
        }
    finally:
        await connection.close()
    return {"schedules": {"crons": CRONS, "scheduled": SCHEDULED, "due": DUE, **found}}


async def _fill(connection: asyncpg.Connection[Any]) -> None:
    later = await connection.fetchval("SELECT now() + interval '1 day'")
    await connection.execute(_CRONS, WORKFLOW, "far ", "0 0 1 1 *", later, CRONS)
    second = await connection.fetchval("SELECT interval '1 second'")
    await connection.execute(_SCHEDULED, WORKFLOW, later, second, SCHEDULED)
    await connection.execute("ANALYZE cron_trigger, scheduled_run")


async def _statements_at_rest(bench: Bench) -> float:
    await asyncio.sleep(SETTLE_SECONDS)
    before, began = await bench.counters.read(), time.monotonic()
    await asyncio.sleep(bench.options.short_seconds)
    counts = (await bench.counters.read()).since(before)
    return counts.statements / (time.monotonic() - began)


async def _scheduled_at_once(bench: Bench, connection: asyncpg.Connection[Any]) -> dict[str, float]:
    due = await _soon(connection)
    nothing = await connection.fetchval("SELECT interval '0'")
    return await _fired(bench, connection, due, _SCHEDULED, due, nothing, DUE)


async def _crons_at_once(bench: Bench, connection: asyncpg.Connection[Any]) -> dict[str, float]:
    due = await _soon(connection)
    expression = f"{due.second} {due.minute} {due.hour} * * *"
    return await _fired(bench, connection, due, _CRONS, "due ", expression, due, DUE)


async def _soon(connection: asyncpg.Connection[Any]) -> Any:
    return await connection.fetchval("SELECT date_trunc('second', now()) + $1 * interval '1 second'", AHEAD_SECONDS)


async def _fired(
    bench: Bench, connection: asyncpg.Connection[Any], due: Any, insert: str, *arguments: object
) -> dict[str, float]:
    """Seconds from the due time until all their runs are there, and what that cost."""
    parties = Parties({"engine": bench.engine.pid, "postgres": bench.postgres.pid})
    known = await connection.fetchval(_FIRED, WORKFLOW)
    await connection.execute(insert, WORKFLOW, *arguments)
    cpu, began = parties.cpu(), time.monotonic()
    while await connection.fetchval(_FIRED, WORKFLOW) < known + DUE:
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise RuntimeError(f"{DUE} that were due at once did not fire in {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(0.02)
    late = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp() - $1::timestamptz)::float8", due)
    spent = {name: after - cpu[name] for name, after in parties.cpu().items()}
    return {"seconds": late, **{f"{name}_cpu_ms": seconds * 1000 for name, seconds in spent.items()}}
