"""Events as people see them (behaviour-rest R-19)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hatchet.core.ids import highest, lowest_at
from hatchet.core.messages import EventRecord
from hatchet.store.events import CLOCK_SLACK_SECONDS, EventRun, event_record
from hatchet.store.pool import Database


@dataclass(slots=True, frozen=True, kw_only=True)
class EventFilter:
    """Which events are meant; what is empty lets everything pass, and everything given must match."""

    since: float | None = None
    """None: the last day, or from the beginning when ids are given."""
    until: float | None = None
    keys: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    additional_metadata: tuple[tuple[str, str], ...] = ()
    workflow_ids: tuple[str, ...] = ()
    """Workflows of which a run was started."""
    below: str | None = None
    """Only events with lower ids."""

    def older_than(self, event_id: str) -> EventFilter:
        """The same, of what comes after the event in the list."""
        return replace(self, below=event_id)


async def event_page(
    database: Database, tenant_id: str, wanted: EventFilter, since: float, offset: int, limit: int
) -> tuple[list[EventRecord], int]:
    """A page of the events, newest first, and how many there are on all pages."""
    # Ids have the time of the machine that made them; the time in the row decides.
    before = highest() if wanted.until is None else lowest_at(wanted.until + CLOCK_SLACK_SECONDS)
    rows = await database.fetch(
        "event_page",
        tenant_id,
        lowest_at(since - CLOCK_SLACK_SECONDS),
        before if wanted.below is None else min(before, wanted.below),
        since,
        math.inf if wanted.until is None else wanted.until,
        list(wanted.keys) or None,
        list(wanted.scopes) or None,
        list(wanted.ids) or None,
        [key for key, _ in wanted.additional_metadata] or None,
        [value for _, value in wanted.additional_metadata] or None,
        list(wanted.workflow_ids) or None,
        offset,
        limit,
    )
    return [event_record(row) for row in rows if row["id"] is not None], int(rows[0]["total"])


async def event_keys(database: Database, tenant_id: str, limit: int) -> list[str]:
    """The keys that events of the tenant have, in their order."""
    return [str(row["key"]) for row in await database.fetch("event_keys", tenant_id, limit)]


async def event_runs(database: Database, tenant_id: str, event_ids: Sequence[str]) -> dict[str, list[EventRun]]:
    """The runs that each of the events started; events that started none are absent."""
    found: dict[str, list[EventRun]] = {}
    for row in await database.fetch("event_runs", tenant_id, event_ids) if event_ids else []:
        filter_id = None if row["filter_id"] is None else str(row["filter_id"])
        run = EventRun(tenant_id, str(row["event_id"]), str(row["run_id"]), filter_id)
        found.setdefault(run.event_id, []).append(run)
    return found
