"""What the tables say about the runs of ``programs/limited.py``, read at one moment."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

TASKS = """
SELECT task.id::text AS id, coalesce(task.run_id, task.id)::text AS run, task.creator::text AS creator, w.name AS flow,
       coalesce(run.input, task.input) AS input,
       coalesce(run.additional_metadata, task.additional_metadata) AS metadata,
       extract(epoch FROM coalesce(run.inserted_at, task.inserted_at))::float8 AS inserted_at
FROM task LEFT JOIN run ON run.tenant_id = task.tenant_id AND run.id = task.run_id
JOIN workflow_version v ON v.id = task.version_id JOIN workflow w ON w.id = v.workflow_id
ORDER BY task.id
"""
ASSIGNED = """
SELECT a.task_id::text AS task, a.attempt, w.name AS worker, a.batch_id::text AS batch,
       extract(epoch FROM a.assigned_at)::float8 AS at
FROM task_assignment a JOIN worker w ON w.id = a.worker_id
ORDER BY a.assigned_at, a.task_id
"""
RESULTS = """
SELECT task_id::text AS task, attempt, outcome, output, error, retry_at IS NULL AS is_end, app_retries,
       internal_retries, extract(epoch FROM finished_at)::float8 AS at
FROM task_result ORDER BY task_id, attempt
"""
RUN_ENDS = "SELECT run_id::text AS run, status, extract(epoch FROM finished_at)::float8 AS at FROM run_result"
EVENTS = "SELECT id::text AS id, key, payload, scope FROM event"
EVENT_RUNS = """
SELECT event_id::text AS event, run_id::text AS run, f.payload AS payload
FROM event_run LEFT JOIN event_filter f ON f.id = event_run.filter_id
"""
PLANS = """
SELECT id::text AS id, run_id::text AS run, input, extract(epoch FROM trigger_at)::float8 AS at,
       extract(epoch FROM triggered_at)::float8 AS triggered_at
FROM scheduled_run
"""
LIMITS = """
SELECT key, limit_value AS most, units_left AS left, extract(epoch FROM refilled_at)::float8 AS refilled_at
FROM rate_limit
"""


SLACK_SECONDS = 0.05
"""How far the clocks of two instances may be apart: each follows the database's. Tasks take longer than that."""
OUTRUN = "OUTRUN"
"""The outcome of what a concurrency rule has cancelled."""
EXECUTION = re.compile(r"execution ([0-9a-f]{32}) fails")

Span = tuple[float, float]
Line = dict[str, Any]
"""What a program wrote down."""


@dataclass(slots=True)
class Attempt:
    """One attempt of a task, from the moment at which it was given to a worker to the moment of its result."""

    number: int
    assigned_at: float | None = None
    worker: str | None = None
    batch: str | None = None
    result: asyncpg.Record | None = None

    @property
    def finished_at(self) -> float:
        return self.result["at"] if self.result is not None else float("inf")

    @property
    def outcome(self) -> str | None:
        return self.result["outcome"] if self.result is not None else None

    @property
    def execution(self) -> str | None:
        """The execution whose result is that of the attempt; None when the engine ended it."""
        if self.result is None:
            return None
        if self.outcome == "COMPLETED":
            return str(json.loads(self.result["output"])["execution"])
        found = EXECUTION.search(self.result["error"] or "") if self.outcome == "FAILED" else None
        return found[1] if found else None


@dataclass(slots=True)
class LimitedTask:
    """One task."""

    row: asyncpg.Record
    job: dict[str, Any]
    attempts: dict[int, Attempt] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def flow(self) -> str:
        return str(self.row["flow"])

    @property
    def given(self) -> list[Attempt]:
        """The attempts that a worker got."""
        return [attempt for attempt in self.attempts.values() if attempt.assigned_at is not None]

    @property
    def end(self) -> asyncpg.Record:
        [end] = [one.result for one in self.attempts.values() if one.result is not None and one.result["is_end"]]
        return end

    @property
    def metadata(self) -> dict[str, Any]:
        return json.loads(self.row["metadata"] or "{}")  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"{self.flow} {self.id} ({self.job})"


@dataclass(slots=True)
class LimitsRows:
    """The facts about everything that ran under limits."""

    tasks: dict[str, LimitedTask]
    """In the order of their creation."""
    run_ends: dict[str, asyncpg.Record]
    """Runs of several tasks."""
    events: list[asyncpg.Record]
    event_runs: dict[str, list[asyncpg.Record]]
    plans: dict[str, asyncpg.Record]
    limits: dict[str, asyncpg.Record]

    def of(self, *flows: str) -> list[LimitedTask]:
        """The tasks of these workflows, in the order of their creation."""
        return [task for task in self.tasks.values() if task.flow in flows]


def read_limits_rows(dsn: str) -> LimitsRows:
    """Everything that the tables say."""
    read = asyncio.run(_fetched(dsn, TASKS, ASSIGNED, RESULTS, RUN_ENDS, EVENTS, EVENT_RUNS, PLANS, LIMITS))
    task_rows, assigned, results, run_ends, events, event_runs, plans, limits = read
    tasks = {row["id"]: LimitedTask(row, json.loads(row["input"])) for row in task_rows}
    for row in assigned:
        attempt = tasks[row["task"]].attempts.setdefault(row["attempt"], Attempt(row["attempt"]))
        attempt.assigned_at, attempt.worker, attempt.batch = row["at"], row["worker"], row["batch"]
    for row in results:
        tasks[row["task"]].attempts.setdefault(row["attempt"], Attempt(row["attempt"])).result = row
    for task in tasks.values():
        task.attempts = dict(sorted(task.attempts.items()))
    return LimitsRows(
        tasks,
        {row["run"]: row for row in run_ends},
        events,
        _grouped(event_runs, "event"),
        {row["id"]: row for row in plans},
        {row["key"]: row for row in limits},
    )


def _grouped(rows: Iterable[asyncpg.Record], name: str) -> dict[str, list[asyncpg.Record]]:
    groups: dict[str, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        groups[row[name]].append(row)
    return groups


async def _fetched(dsn: str, *queries: str) -> list[list[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return [await connection.fetch(query) for query in queries]
    finally:
        await connection.close()
