"""The ends of runs, read back for those who ask after the fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.statuses import Outcome
from hatchet.store.pool import Database


@dataclass(slots=True, frozen=True)
class RunEnd:
    """The last result of a standalone run."""

    run_id: str
    version_id: str
    outcome: Outcome
    output: str | None
    error: str | None
    finished_at: float


async def run_ends(database: Database, tenant_id: str, run_ids: Sequence[str]) -> list[RunEnd]:
    """The ends of those runs that have ended; the others are absent."""
    rows = await database.fetch("task_ends", tenant_id, run_ids)
    return [
        RunEnd(
            str(row["id"]),
            str(row["version_id"]),
            Outcome(row["outcome"]),
            row["output"].decode() if row["output"] is not None else None,
            row["error"],
            row["finished_at"],
        )
        for row in rows
    ]
