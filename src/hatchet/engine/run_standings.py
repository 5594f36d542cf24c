"""How many runs stand, for lists of what started them (behaviour-rest R-19.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.statuses import Outcome, RunStatus
from hatchet.engine.run_facts import RunFacts
from hatchet.store.pool import Database

_ENDS = {one.value: one.status for one in Outcome} | {one.value: one for one in RunStatus}
"""Names of statuses and of outcomes never contradict each other."""


@dataclass(slots=True, frozen=True)
class RunStanding:
    """One run."""

    workflow_id: str
    status: RunStatus


async def run_standings(
    database: Database, run_facts: RunFacts, tenant_id: str, run_ids: Sequence[str]
) -> dict[str, RunStanding]:
    """The named runs that exist. Only open runs of several tasks are read whole: others are told by a few rows."""
    found: dict[str, RunStanding] = {}
    unclear: dict[str, str] = {}
    for row in await database.fetch("run_ends", tenant_id, run_ids) if run_ids else []:
        run_id, workflow_id, ended = str(row["id"]), str(row["workflow_id"]), row["how_ended"]
        if ended is not None:
            found[run_id] = RunStanding(workflow_id, _ENDS[ended])
        elif row["is_running"] is None:
            unclear[run_id] = workflow_id
        else:
            status = RunStatus.RUNNING if row["is_running"] else RunStatus.QUEUED
            found[run_id] = RunStanding(workflow_id, status)
    for run in await run_facts.load(tenant_id, list(unclear)) if unclear else []:
        found[run.row.id] = RunStanding(unclear[run.row.id], run.state.status())
    return found
