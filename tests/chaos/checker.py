"""The history checker (design section 10): what clients heard, what tasks did and what the rows say is one story."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import asyncpg
from harness import Chaos

WORK = """
work AS (
    SELECT t.id, t.creator FROM task t
    JOIN workflow_version v ON v.id = t.version_id JOIN workflow w ON w.id = v.workflow_id WHERE w.name = 'work'
)
"""
TASKS = f"WITH {WORK} SELECT id::text FROM work"
ASSIGNED = f"""
WITH {WORK}
SELECT a.task_id::text AS task, a.attempt FROM task_assignment a JOIN work ON work.id = a.task_id
ORDER BY a.task_id, a.attempt
"""
ENDS = f"""
WITH {WORK}
SELECT r.task_id::text AS task, r.attempt, r.outcome, r.output, r.retry_at IS NULL AS is_end, r.app_retries,
       r.internal_retries
FROM task_result r JOIN work ON work.id = r.task_id
ORDER BY r.task_id, r.attempt
"""
WORKERS = f"""
WITH {WORK}
SELECT w.name, count(*) AS attempts
FROM task_assignment a JOIN work ON work.id = a.task_id JOIN worker w ON w.id = a.worker_id
GROUP BY w.name
"""
FLOWS = f"""
WITH {WORK}
SELECT DISTINCT work.creator::text, w.name
FROM work JOIN task_assignment a ON a.task_id = work.id JOIN worker w ON w.id = a.worker_id
"""


@dataclass(frozen=True)
class Rows:
    """The facts about runs of the task ``work``; those of workflows are in :mod:`dag_rows`."""

    tasks: frozenset[str]
    assigned: dict[str, list[int]]
    """The attempts of a task that were given to a worker, in order."""
    results: dict[str, list[asyncpg.Record]]
    """The results of a task's attempts, in order."""
    workers: dict[str, int]
    """How many attempts each worker got, by its name."""
    flows: frozenset[tuple[str, str]]
    """Which instance accepted tasks that which worker (by its name) got."""

    @property
    def unfinished(self) -> set[str]:
        return {task for task in self.tasks if not any(row["is_end"] for row in self.results.get(task, ()))}


def read_rows(dsn: str) -> Rows:
    """Everything that the tables say about tasks."""
    return asyncio.run(_read(dsn))


async def _read(dsn: str) -> Rows:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            tasks = await connection.fetch(TASKS)
            assigned = await connection.fetch(ASSIGNED)
            results = await connection.fetch(ENDS)
            workers = await connection.fetch(WORKERS)
            flows = await connection.fetch(FLOWS)
    finally:
        await connection.close()
    return Rows(
        tasks=frozenset(row["id"] for row in tasks),
        assigned=_grouped((row["task"], row["attempt"]) for row in assigned),
        results=_grouped((row["task"], row) for row in results),
        workers={row["name"]: row["attempts"] for row in workers},
        flows=frozenset((row["creator"], row["name"]) for row in flows),
    )


def _grouped(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return dict(groups)


def check(chaos: Chaos, dsn: str, *, database_died: bool = False) -> Rows:
    """Compare the three stories; returns the rows when they agree.

    An assignment does not wait for the disk (design section 5): when the database died, the row of one that was made in
    its last moment may be missing.

    Every run is over, also one whose acknowledgement got lost; every acknowledged run completed, exactly once, with
    the result that its client heard; each accepted result belongs to exactly one execution that really took place.
    """
    chaos.wait(lambda: not read_rows(dsn).unfinished, "every task has an end")
    rows = read_rows(dsn)
    _check_attempts(rows, database_died=database_died)
    acknowledged = [line["run"] for client in chaos.clients for line in client.acknowledged_runs()]
    assert len(acknowledged) == len(set(acknowledged))
    assert not set(acknowledged) - rows.tasks, "acknowledged runs are gone"
    outputs = {task: _only_end(results) for task, results in rows.results.items()}
    heard = {line["run"]: line for client in chaos.clients for line in client.results.read()}
    assert set(heard) == set(acknowledged)
    different = [run for run, line in heard.items() if (line["n"], line["execution"]) != outputs[run]]
    assert not different, f"clients heard something else than what is stored: {different[:5]}"
    _check_effects(chaos, outputs)
    return rows


def _check_attempts(rows: Rows, *, database_died: bool) -> None:
    """Attempts follow each other without a gap; nothing follows the end; nothing ran beyond it."""
    for task, results in rows.results.items():
        attempts = [row["attempt"] for row in results]
        assert attempts == list(range(len(attempts))), f"{task}: results of attempts {attempts}"
        ends = [row["is_end"] for row in results]
        assert ends == [False] * (len(ends) - 1) + [True], f"{task}: not exactly one end: {ends}"
        assigned = rows.assigned.get(task, [])
        missing = [attempt for attempt in attempts if attempt not in assigned]
        assert set(assigned) <= set(attempts), f"{task}: attempts {assigned} were assigned, {attempts} have results"
        assert not missing or database_died, f"{task}: attempts {missing} have results and were never assigned"


def _only_end(results: list[asyncpg.Record]) -> tuple[int, str]:
    end = results[-1]
    assert end["outcome"] == "COMPLETED", f"{end['task']} ended {end['outcome']}"
    output = json.loads(end["output"])
    return output["n"], output["execution"]


def _check_effects(chaos: Chaos, outputs: dict[str, tuple[int, str]]) -> None:
    executions = chaos.history.read()
    counts = Counter(line["execution"] for line in executions)
    assert all(count == 1 for count in counts.values())
    by_id = {line["execution"]: line for line in executions}
    for task, (n, execution) in outputs.items():
        assert execution in by_id, f"{task} has the result of an execution that never was"
        assert (by_id[execution]["task"], by_id[execution]["n"]) == (task, n)
    assert {line["task"] for line in executions} == set(outputs), "executions without a run, or runs without one"
