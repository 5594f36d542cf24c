"""Concurrency rules: what they cost for each task, and how soon the next task of a key follows the one that frees it.

Many tasks are triggered while no worker is there, and then a worker drains them: once without rules, once with two.
Then the same number with rules waits again, and a worker whose tasks take their time frees about 200 places a second:
the times from the report that frees a key to the assignment of the next task of the key are those of an engine that is
not saturated, with everything else waiting.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from benchmarks.bench import WORKER_READY_SECONDS, Bench
from benchmarks.figures import spread_ms
from benchmarks.peer import Peer, PeerEnded
from benchmarks.usage import Parties, per_task_us

KEYS = 1000
"""Users, of whom each has one task at a time."""
USER_PREFIX = "user-"
KINDS = 10
KIND_PREFIX = "kind-"
MAX_RUNS_OF_KIND = 200
SLOTS = 1200
"""More than the rules admit, so that what waits waits for them."""
RATE = 200.0
"""Places that are freed each second while the admission is timed: each of the users' tasks takes five seconds."""
WARM_UP_TASKS = 2000
SETTLE_SECONDS = 2.0
POLL_SECONDS = 0.1
FILL_SECONDS = 1800.0
STALL_SECONDS = 60.0

_BAD = "SELECT count(*) FROM task_result WHERE task_id > $1 AND (outcome <> 'COMPLETED' OR attempt > 0)"
_ENDED = "SELECT count(*) FROM task_result WHERE task_id > $1"
_NEWEST = "SELECT coalesce((SELECT id FROM task ORDER BY id DESC LIMIT 1), '00000000-0000-0000-0000-000000000000')"
# The places of one user follow each other: an assignment's latency is the time since the end of the one before.
_ADMISSIONS = """
SELECT extract(epoch FROM assigned_at - freed_at)::float8 AS assigned,
       extract(epoch FROM started_at - freed_at)::float8 AS started
FROM (
    SELECT a.assigned_at, result.started_at,
           lag(result.finished_at) OVER (PARTITION BY ask ->> 2 ORDER BY a.assigned_at) AS freed_at
    FROM task
    CROSS JOIN LATERAL jsonb_array_elements(task.limits -> 'asks') AS ask
    JOIN task_assignment AS a ON a.tenant_id = task.tenant_id AND a.task_id = task.id
    JOIN task_result AS result
      ON result.tenant_id = a.tenant_id AND result.task_id = a.task_id AND result.attempt = a.attempt
    WHERE task.id > $1 AND ask ->> 2 LIKE $2 || '%'
) AS places
WHERE freed_at >= to_timestamp($3::float8) AND assigned_at < to_timestamp($4::float8)
"""


async def limits(bench: Bench) -> dict[str, Any]:
    """Costs without and with rules, their ratio, and the admission latency."""
    tasks = bench.options.limited
    connection = await asyncpg.connect(bench.postgres.dsn(), server_settings={"jit": "off"})
    try:
        for name in ("unruled", "ruled"):
            async with _worker(bench, name):
                """It registers the workflow."""
            await _cost(bench, connection, name, WARM_UP_TASKS)
        without = await _cost(bench, connection, "unruled", tasks)
        mark = await connection.fetchval(_NEWEST)
        with_rules = await _cost(bench, connection, "ruled", tasks)
        admission = await _admission(bench, connection)
        overlaps = await connection.fetchval(
            f"SELECT count(*) FROM ({_ADMISSIONS}) AS a WHERE assigned < 0", mark, USER_PREFIX, 0.0, time.time()
        )
    finally:
        await connection.close()
    return {
        "limits": {
            "tasks": tasks,
            "keys": KEYS,
            "without_rules": without,
            "with_rules": with_rules,
            "ratio_engine_and_postgres": with_rules["cpu_us"] / max(without["cpu_us"], 1e-9),
            "overlaps": overlaps,
            **admission,
        }
    }


async def _cost(bench: Bench, connection: asyncpg.Connection[Any], name: str, tasks: int) -> dict[str, Any]:
    """Trigger so many, drain them, and tell what both took of the engine and of PostgreSQL, in microseconds a task."""
    parties = Parties({"engine": bench.engine.pid, "postgres": bench.postgres.pid})
    mark = await connection.fetchval(_NEWEST)
    began = parties.cpu()
    filled = await _filled(bench, name, tasks)
    between = parties.cpu()
    async with _worker(bench, name) as worker:
        drain_began = time.monotonic()
        await _drained(worker, connection, mark, tasks, tasks)
        ended, seconds = parties.cpu(), time.monotonic() - drain_began
    each = per_task_us(began, ended, tasks)
    return {
        "accepted_per_second": tasks / filled["seconds"],
        "drained_per_second": tasks / seconds,
        "cpu_us": each["engine"] + each["postgres"],
        "trigger_us": per_task_us(began, between, tasks),
        "drain_us": per_task_us(between, ended, tasks),
    }


async def _admission(bench: Bench, connection: asyncpg.Connection[Any]) -> dict[str, Any]:
    """Admissions at a moderate load; then a fast worker takes the rest, so that later scenarios find nothing."""
    tasks, mark = bench.options.limited, await connection.fetchval(_NEWEST)
    await _filled(bench, "ruled", tasks)
    async with _worker(bench, "ruled", hold=KEYS / RATE):
        # All users begin at once: that burst is not what is timed.
        await asyncio.sleep(SETTLE_SECONDS)
        began = time.time()
        await asyncio.sleep(bench.options.short_seconds)
        ended = time.time()
    rest = tasks - await connection.fetchval(_ENDED, mark)
    async with _worker(bench, "ruled") as worker:
        await _drained(worker, connection, mark, rest, tasks)
    rows = await connection.fetch(_ADMISSIONS, mark, USER_PREFIX, began, ended)
    return {
        "admitted_per_second": len(rows) / (ended - began),
        "admission_ms": spread_ms(row["assigned"] for row in rows),
        "admission_to_start_ms": spread_ms(row["started"] for row in rows if row["started"] is not None),
    }


async def _filled(bench: Bench, name: str, tasks: int) -> dict[str, Any]:
    arguments = ("fill", name, str(tasks))
    async with Peer.module("client", "benchmarks.limit_tasks", *arguments, env=bench.engine.env) as client:
        await client.expect("ready", WORKER_READY_SECONDS)
        await client.tell("go")
        return await client.expect("done", FILL_SECONDS)


@asynccontextmanager
async def _worker(bench: Bench, name: str, *, hold: float = 0.0) -> AsyncIterator[Peer]:
    arguments = ("work", name, str(SLOTS), str(hold))
    async with Peer.module("worker", "benchmarks.limit_tasks", *arguments, env=bench.engine.env) as peer:
        await peer.expect("ready", WORKER_READY_SECONDS)
        yield peer
    if peer.errors:
        print(f"the worker said:\n{peer.errors}", file=sys.stderr)


async def _drained(worker: Peer, connection: asyncpg.Connection[Any], mark: Any, here: int, all_: int) -> None:
    """Wait until ``here`` tasks ran in this worker and ``all_`` results of tasks after the mark are committed.

    The database is asked only when the worker has run everything: counting would show in the figures.
    Raises :class:`PeerEnded` when nothing moves for a minute, RuntimeError when a task did not complete at once.
    """
    last, moved_at = -1, time.monotonic()
    while True:
        ran = worker.latest("ran").get("total", 0)
        if ran >= here and await connection.fetchval(_ENDED, mark) >= all_:
            break
        if ran != last:
            last, moved_at = ran, time.monotonic()
        elif time.monotonic() - moved_at > STALL_SECONDS:
            raise PeerEnded(f"{ran} of {here} tasks ran, and nothing for {STALL_SECONDS:.0f} s. {worker.errors}")
        await asyncio.sleep(POLL_SECONDS)
    if bad := await connection.fetchval(_BAD, mark):
        raise RuntimeError(f"{bad} attempts failed or were repeated: the figures would not be comparable")
