"""What the tables say about durable runs, read at one moment."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import asyncpg

TASKS = """
SELECT task.id::text AS id, w.name AS flow, task.input, task.parent_task_id::text AS parent
FROM task JOIN workflow_version v ON v.id = task.version_id JOIN workflow w ON w.id = v.workflow_id
WHERE w.name LIKE 'durable-%'
"""
RESULTS = """
SELECT task_id::text AS task, attempt, outcome, output, error, retry_at IS NULL AS is_end, app_retries, evictions,
       retry_at = 'infinity' AS is_evicted, internal_retries
FROM task_result ORDER BY task_id, attempt
"""
ASSIGNED = "SELECT task_id::text AS task, attempt, evictions FROM task_assignment ORDER BY task_id, attempt"
RESTORED = "SELECT task_id::text AS task, attempt, cause FROM task_restore ORDER BY task_id, attempt"
ENTRIES = """
SELECT e.task_id::text AS task, e.branch, e.node, e.kind, e.invocation, e.label, e.run_id::text AS run, e.subject,
       extract(epoch FROM e.created_at)::float8 AS created_at, r.task_id IS NOT NULL AS is_satisfied,
       convert_from(r.payload, 'UTF8') AS payload, r.is_failure, r.error,
       extract(epoch FROM r.satisfied_at)::float8 AS satisfied_at
FROM durable_entry e LEFT JOIN durable_result r USING (tenant_id, task_id, branch, node)
ORDER BY e.task_id, e.branch, e.node
"""
RELEASES = """
SELECT task_id::text AS task, branch, node, order_branch, satisfied_order, tip, invocation
FROM durable_release ORDER BY task_id, order_branch, satisfied_order
"""
LOOSE = """
SELECT 'result' AS what, task_id::text AS task, branch, node
FROM durable_result LEFT JOIN durable_entry e USING (tenant_id, task_id, branch, node) WHERE e.kind IS NULL
UNION ALL
SELECT 'release', task_id::text, branch, node
FROM durable_release LEFT JOIN durable_result r USING (tenant_id, task_id, branch, node) WHERE r.payload IS NULL
UNION ALL
SELECT 'match', task_id::text, branch, node
FROM durable_match m LEFT JOIN durable_entry e USING (tenant_id, task_id, branch, node)
LEFT JOIN event ON event.tenant_id = m.tenant_id AND event.id = m.event_id
WHERE e.kind IS NULL OR event.key IS NULL
UNION ALL
SELECT 'walk', w.task_id::text, w.invocation, w.node
FROM durable_walk w
LEFT JOIN durable_entry e ON e.tenant_id = w.tenant_id AND e.task_id = w.task_id AND e.node = w.node
WHERE w.node > 0 AND e.kind IS NULL
"""
"""Rows of a log that nothing else in it accounts for."""


@dataclass(slots=True)
class DurableTask:
    """One task run, durable or a child of one that is not."""

    id: str
    flow: str
    input: dict[str, Any]
    parent: str | None
    results: list[asyncpg.Record]
    """One for each attempt that ended, in order."""
    assigned: dict[int, asyncpg.Record]
    """The attempts that were given to a worker."""
    restored: dict[int, asyncpg.Record]
    """The attempts that an eviction had opened and that were ready some time."""
    entries: list[asyncpg.Record]
    """The log, each entry with its result, in the order of branch and node."""
    releases: list[asyncpg.Record]
    """In the satisfied order."""

    @property
    def end(self) -> asyncpg.Record:
        return self.results[-1]

    @property
    def output(self) -> dict[str, Any]:
        return json.loads(self.end["output"] or "{}")  # type: ignore[no-any-return]

    def of_kind(self, kind: str) -> list[asyncpg.Record]:
        return [entry for entry in self.entries if entry["kind"] == kind]

    @property
    def story(self) -> str:
        """What is known of it, for whoever looks for the reason why it does not end."""
        wanted = [f"{row['node']} {row['kind']} {row['subject']}" for row in self.entries if not row["is_satisfied"]]
        released = {row["node"] for row in self.releases}
        held = [row["node"] for row in self.entries if row["is_satisfied"] and row["node"] not in released]
        return "\n".join(
            (
                f"{self}: {self.input}, child of {self.parent}",
                f"  ended: {[(row['attempt'], row['outcome']) for row in self.results]}",
                f"  given to workers: {list(self.assigned)}, restored: {list(self.restored)}",
                f"  {len(self.entries)} entries; open: {wanted}; over and never handed over: {held}",
            )
        )

    def __str__(self) -> str:
        return f"{self.flow} {self.id}"


@dataclass(slots=True)
class DurableRows:
    """The facts about durable runs and their children."""

    tasks: dict[str, DurableTask]
    loose: list[asyncpg.Record]

    def of(self, *flows: str) -> list[DurableTask]:
        return [task for task in self.tasks.values() if task.flow in flows]

    def open(self) -> list[DurableTask]:
        """What has not ended."""
        return [task for task in self.tasks.values() if not task.results or not task.end["is_end"]]

    def children(self) -> dict[str, list[DurableTask]]:
        """Task to the runs that name it as their parent."""
        found: dict[str, list[DurableTask]] = defaultdict(list)
        for task in self.tasks.values():
            if task.parent is not None:
                found[task.parent].append(task)
        return found


def read_durable_rows(dsn: str) -> DurableRows:
    """Everything that the tables say about durable runs."""
    queries = (TASKS, RESULTS, ASSIGNED, RESTORED, ENTRIES, RELEASES, LOOSE)
    tasks, results, assigned, restored, entries, releases, loose = asyncio.run(_fetched(dsn, *queries))
    results_of, assigned_of, restored_of = _by_task(results), _by_task(assigned), _by_task(restored)
    entries_of, releases_of = _by_task(entries), _by_task(releases)
    return DurableRows(
        {
            row["id"]: DurableTask(
                row["id"],
                row["flow"],
                json.loads(row["input"]),
                row["parent"],
                results_of[row["id"]],
                {one["attempt"]: one for one in assigned_of[row["id"]]},
                {one["attempt"]: one for one in restored_of[row["id"]]},
                entries_of[row["id"]],
                releases_of[row["id"]],
            )
            for row in tasks
        },
        loose,
    )


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
