"""Finds runs by what they are and how they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hatchet.core.ids import lowest_at
from hatchet.core.messages import RunFilter
from hatchet.core.statuses import Outcome, RunStatus
from hatchet.store.pool import Database, Row

CLOCK_MARGIN_SECONDS = 60.0
"""Ids carry the time of the machine that made them, which may differ from the database's: the rows between the bounds
decide by their own time, so the margin costs a little reading and nothing else."""

_SHARED = 19
"""Characters of a run's id that the ids of its tasks have too (see :func:`hatchet.core.ids.task_ids`)."""

_HIGHEST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_WAITING = frozenset({RunStatus.QUEUED})
_RUNNING = frozenset({RunStatus.RUNNING, RunStatus.EVICTED})


async def search_runs(database: Database, tenant_id: str, wanted: RunFilter, limit: int) -> list[str]:
    """The ids of at most ``limit`` runs that match, newest first; tasks that are runs of their own among them.

    The status follows from the facts (C-6.7). That a run of several tasks has ended is known a moment after its last
    task's result, when its owner has written the end: until then it counts as RUNNING.
    """
    found: list[str] = []
    below = _HIGHEST if wanted.until is None else lowest_at(wanted.until + CLOCK_MARGIN_SECONDS)
    while len(found) < limit:
        rows = await _page(database, tenant_id, wanted, below, limit)
        found.extend(await _decided(database, tenant_id, wanted.statuses, rows))
        if len(rows) < limit:
            break
        below = str(rows[-1]["id"])
    return found[:limit]


async def begun_runs(database: Database, tenant_id: str, run_ids: Sequence[str]) -> set[str]:
    """Those of the runs of which a task was ever given to a worker, or has ended."""
    if not run_ids:
        return set()
    first = min(run_ids)[:_SHARED] + "8000-000000000000"
    last = max(run_ids)[:_SHARED] + "bfff-ffffffffffff"
    return {str(row["run_id"]) for row in await database.fetch("run_begun", tenant_id, run_ids, first, last)}


async def _page(database: Database, tenant_id: str, wanted: RunFilter, below: str, limit: int) -> list[Row]:
    """Matches with ids below ``below``; of open runs of several tasks those that have not begun, too."""
    statuses = wanted.statuses or None
    return await database.fetch(
        "run_search",
        tenant_id,
        lowest_at(wanted.since - CLOCK_MARGIN_SECONDS),
        below,
        wanted.since,
        math.inf if wanted.until is None else wanted.until,
        list(wanted.workflow_ids) or None,
        [key for key, _ in wanted.additional_metadata] or None,
        [value for _, value in wanted.additional_metadata] or None,
        None if statuses is None else _names_of_ends(statuses),
        statuses is not None and bool(statuses & _WAITING),
        statuses is not None and bool(statuses & _RUNNING),
        limit,
    )


async def _decided(
    database: Database, tenant_id: str, statuses: frozenset[RunStatus], rows: Sequence[Row]
) -> list[str]:
    """The ids of the rows, without open runs that wait when only running ones are wanted, or the other way round."""
    wants_running = bool(statuses & _RUNNING)
    if wants_running == bool(statuses & _WAITING):
        return [str(row["id"]) for row in rows]
    begun = await begun_runs(database, tenant_id, [str(row["id"]) for row in rows if row["is_open"]])
    return [
        run_id
        for run_id, is_open in ((str(row["id"]), row["is_open"]) for row in rows)
        if not is_open or (run_id in begun) == wants_running
    ]


def _names_of_ends(statuses: frozenset[RunStatus]) -> list[str]:
    """How runs (by status) and tasks (by outcome) with one of these statuses have ended, as the rows name it."""
    ends = {status.value for status in statuses if status.is_terminal}
    return sorted(ends | {one.value for one in Outcome if one.status.is_terminal and one.status in statuses})
