"""The ends of runs, read back for those who ask after the fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.payloads import TaskEnd
from hatchet.core.statuses import Outcome
from hatchet.store.pool import Database, Queries


@dataclass(slots=True, frozen=True)
class EndedTask:
    """The last result of a task."""

    task_id: str
    version_id: str
    step_id: str
    end: TaskEnd
    finished_at: float


async def task_ends(queries: Queries, tenant_id: str, task_ids: Sequence[str]) -> list[EndedTask]:
    """The ends of those tasks that have ended and were not opened again; the others are absent."""
    rows = await queries.fetch("task_ends", tenant_id, task_ids)
    return [
        EndedTask(
            str(row["id"]),
            str(row["version_id"]),
            str(row["step_id"]),
            TaskEnd(
                Outcome(row["outcome"]), row["output"].decode() if row["output"] is not None else None, row["error"]
            ),
            row["finished_at"],
        )
        for row in rows
    ]


async def ended_runs(database: Database, tenant_id: str, run_ids: Sequence[str]) -> list[str]:
    """Those of the runs whose end is written and which were not opened again."""
    return [str(row["run_id"]) for row in await database.fetch("run_ended", tenant_id, run_ids)]
