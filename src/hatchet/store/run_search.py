"""Finds runs by what they are and how they stand."""

from __future__ import annotations

import math

from hatchet.core.ids import lowest_at
from hatchet.core.messages import RunFilter
from hatchet.core.statuses import Outcome, RunStatus
from hatchet.store.pool import Database

CLOCK_MARGIN_SECONDS = 60.0
"""Ids carry the time of the machine that made them, which may differ from the database's: the rows between the bounds
decide by their own time, so the margin costs a little reading and nothing else."""

_HIGHEST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_WAITING = frozenset({RunStatus.QUEUED})
_RUNNING = frozenset({RunStatus.RUNNING, RunStatus.EVICTED})


async def search_runs(database: Database, tenant_id: str, wanted: RunFilter, limit: int) -> list[str]:
    """The ids of at most ``limit`` runs that match, newest first; tasks that are runs of their own among them.

    The status follows from the facts (C-6.7). That a run of several tasks has ended is known a moment after its last
    task's result, when its owner has written the end: until then it counts as RUNNING.
    """
    until = math.inf if wanted.until is None else wanted.until
    statuses = wanted.statuses or None
    rows = await database.fetch(
        "run_search",
        tenant_id,
        lowest_at(wanted.since - CLOCK_MARGIN_SECONDS),
        _HIGHEST if wanted.until is None else lowest_at(until + CLOCK_MARGIN_SECONDS),
        wanted.since,
        until,
        list(wanted.workflow_ids) or None,
        [key for key, _ in wanted.additional_metadata] or None,
        [value for _, value in wanted.additional_metadata] or None,
        None if statuses is None else _names_of_ends(statuses),
        statuses is not None and bool(statuses & _WAITING),
        statuses is not None and bool(statuses & _RUNNING),
        limit,
    )
    return [str(row["id"]) for row in rows]


def _names_of_ends(statuses: frozenset[RunStatus]) -> list[str]:
    """How runs (by status) and tasks (by outcome) with one of these statuses have ended, as the rows name it."""
    ends = {status.value for status in statuses if status.is_terminal}
    return sorted(ends | {outcome.value for outcome in Outcome if outcome.status in statuses})
