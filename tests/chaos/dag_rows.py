"""What the tables say about runs of workflows, read at one moment."""

from __future__ import annotations

import asyncio
import bisect
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

OPEN = """
SELECT 'run without an end' AS what, run.id::text AS id FROM run
WHERE NOT EXISTS (SELECT 1 FROM run_result r WHERE r.tenant_id = run.tenant_id AND r.run_id = run.id)
UNION ALL
SELECT 'task without an end', task.id::text FROM task
WHERE NOT EXISTS (
    SELECT 1 FROM task_result r WHERE r.tenant_id = task.tenant_id AND r.task_id = task.id AND r.retry_at IS NULL
)
UNION ALL
SELECT 'reopened', id::text FROM reopened
"""
VERSIONS = """
SELECT v.id::text AS id, w.name, v.definition::text AS definition
FROM workflow_version v JOIN workflow w ON w.id = v.workflow_id
"""
RUNS = """
SELECT run.id::text AS id, run.version_id::text AS version, run.input, run.parent_task_id::text AS parent,
       run.child_key, extract(epoch FROM run.inserted_at)::float8 AS inserted_at, r.status,
       extract(epoch FROM r.finished_at)::float8 AS finished_at
FROM run LEFT JOIN run_result r ON r.tenant_id = run.tenant_id AND r.run_id = run.id
"""
TASKS = """
SELECT id::text AS id, run_id::text AS run, version_id::text AS version, step_id::text AS step,
       parent_task_id::text AS parent, child_key FROM task
"""
RESULTS = """
SELECT task_id::text AS task, attempt, outcome, output, error, retry_at IS NULL AS is_end, app_retries,
       internal_retries, extract(epoch FROM finished_at)::float8 AS finished_at
FROM task_result ORDER BY task_id, attempt
"""
ASSIGNED = """
SELECT a.task_id::text AS task, a.attempt, w.name AS worker, extract(epoch FROM a.assigned_at)::float8 AS at
FROM task_assignment a JOIN worker w ON w.id = a.worker_id ORDER BY a.task_id, a.attempt
"""
MATCHES = """
SELECT task_id::text AS task, attempt, condition, event_id::text AS event,
       extract(epoch FROM matched_at)::float8 AS at
FROM task_match
"""
EVENTS = "SELECT id::text AS id, key, extract(epoch FROM inserted_at)::float8 AS at FROM event ORDER BY inserted_at"
CHILDREN = "SELECT parent_task_id::text AS parent, child_key AS key, child_id::text AS child FROM task_child"


@dataclass(slots=True)
class DagTask:
    """One task of a run."""

    id: str
    run: DagRun
    name: str
    definition: dict[str, Any]
    results: list[asyncpg.Record]
    """One for each attempt that ended, in order."""
    assigned: dict[int, asyncpg.Record]
    """The attempts that were given to a worker."""
    matches: dict[int, asyncpg.Record]
    """Number of a condition to the event that met it."""

    @property
    def end(self) -> asyncpg.Record:
        return self.results[-1]

    @property
    def outcome(self) -> str:
        return str(self.end["outcome"])

    @property
    def output(self) -> dict[str, Any]:
        return json.loads(self.end["output"] or "{}")  # type: ignore[no-any-return]

    @property
    def parents(self) -> list[DagTask]:
        return [self.run.tasks[name] for name in self.definition.get("parents", ())]

    @property
    def since(self) -> float:
        """When the last parent ended: sleeps and events count from then on (behaviour-core C-8.7, C-8.8)."""
        return max((parent.end["finished_at"] for parent in self.parents), default=self.run.row["inserted_at"])

    def conditions(self, kind: str, action: str) -> list[tuple[int, dict[str, Any]]]:
        """The conditions of that kind and action with their numbers."""
        every = enumerate(self.definition.get("conditions", ()))
        return [(number, one) for number, one in every if (one["kind"], one["action"]) == (kind, action)]

    def __str__(self) -> str:
        return f"{self.run.flow}/{self.name} {self.id} of run {self.run.row['id']}"


@dataclass(slots=True)
class DagRun:
    """One run."""

    row: asyncpg.Record
    flow: str
    n: int
    tasks: dict[str, DagTask] = field(default_factory=dict)
    """By readable id."""


@dataclass(slots=True)
class Pushed:
    """The stored events."""

    at: dict[str, float]
    """Id to the time at which the engine took it."""
    by_key: dict[str, list[float]]
    """Key to the times of its events, ascending."""

    def first(self, key: str, since: float) -> float | None:
        """The first event with that key at or after a time."""
        times = self.by_key.get(key, [])
        index = bisect.bisect_left(times, since)
        return times[index] if index < len(times) else None


@dataclass(slots=True)
class DagRows:
    """The facts about runs of workflows and about what their tasks spawned."""

    runs: dict[str, DagRun]
    tasks: dict[str, DagTask]
    children: dict[str, list[tuple[str, str]]]
    """Spawning task to (key, run) of the runs that name it as their parent."""
    keys: dict[tuple[str, str], str]
    """(spawning task, key) to the run that holds the key."""
    events: Pushed


def still_open(dsn: str) -> list[tuple[str, str]]:
    """What has not ended."""
    return [(row["what"], row["id"]) for row in asyncio.run(_fetched(dsn, OPEN))[0]]


def read_dag_rows(dsn: str) -> DagRows:
    """Everything that the tables say about runs of workflows."""
    read = asyncio.run(_fetched(dsn, VERSIONS, RUNS, TASKS, RESULTS, ASSIGNED, MATCHES, EVENTS, CHILDREN))
    versions, run_rows, task_rows, results, assigned, matches, events, keys = read
    names = {row["id"]: row["name"] for row in versions}
    steps = {row["id"]: _steps(row["definition"]) for row in versions}
    runs = {row["id"]: DagRun(row, names[row["version"]], json.loads(row["input"])["n"]) for row in run_rows}
    results_of, assigned_of, matches_of = _by_task(results), _by_task(assigned), _by_task(matches)
    tasks: dict[str, DagTask] = {}
    children: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in (*run_rows, *task_rows):
        if row["parent"] is not None:
            children[row["parent"]].append((row["child_key"], row["id"]))
    for row in task_rows:
        if row["run"] is None:
            continue
        run, definition = runs[row["run"]], steps[row["version"]][row["step"]]
        task = DagTask(
            row["id"],
            run,
            definition["readable_id"],
            definition,
            results_of[row["id"]],
            {one["attempt"]: one for one in assigned_of[row["id"]]},
            {one["condition"]: one for one in matches_of[row["id"]]},
        )
        tasks[task.id] = run.tasks[task.name] = task
    by_key: dict[str, list[float]] = defaultdict(list)
    for row in events:
        by_key[row["key"]].append(row["at"])
    return DagRows(
        runs,
        tasks,
        children,
        {(row["parent"], row["key"]): row["child"] for row in keys},
        Pushed({row["id"]: row["at"] for row in events}, by_key),
    )


def _steps(definition: str) -> dict[str, dict[str, Any]]:
    data = json.loads(definition)
    every = [*data["tasks"], *([data["on_failure"]] if data.get("on_failure") else [])]
    return {task["id"]: task for task in every}


def _by_task(rows: Iterable[asyncpg.Record]) -> dict[str, list[asyncpg.Record]]:
    groups: dict[str, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        groups[row["task"]].append(row)
    return groups


async def _fetched(dsn: str, *queries: str) -> list[list[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return [await connection.fetch(query) for query in queries]
    finally:
        await connection.close()
