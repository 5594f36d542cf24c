"""Reads events with what became of them (behaviour-rest R-19)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.clock import Clock
from hatchet.core.errors import NotFound
from hatchet.core.messages import EventRecord
from hatchet.core.statuses import RunStatus
from hatchet.engine.run_facts import RunFacts
from hatchet.engine.run_standings import RunStanding, run_standings
from hatchet.store.events import EventRun, events_by_ids
from hatchet.store.events_read import EventFilter, event_keys, event_page, event_runs
from hatchet.store.pool import Database

CHUNK = 1000
LISTED_SECONDS = 86400.0
"""How far the list goes back when nobody says (R-19.2)."""
MOST_KEYS = 10_000
NOT_FOUND = "event not found"


@dataclass(slots=True, frozen=True)
class EventView:
    """An event with the runs that it started."""

    record: EventRecord
    runs: Sequence[EventRun]
    standings: Sequence[RunStanding]
    """Of those of the runs that are known, in no order."""

    def counts(self) -> Counter[RunStatus]:
        """How many of its runs stand how."""
        return Counter(standing.status for standing in self.standings)


class EventReading:
    """Events, inside a tenant."""

    def __init__(self, database: Database, run_facts: RunFacts, clock: Clock) -> None:
        self._database = database
        self._run_facts = run_facts
        self._clock = clock

    async def page(
        self, tenant_id: str, wanted: EventFilter, *, statuses: frozenset[RunStatus], offset: int, limit: int
    ) -> tuple[Sequence[EventView], int]:
        """A page of the events, newest first, and how many there are on all pages.

        ``statuses``: of the events that started a run which stands so, and is of one of the wanted workflows; empty for
        all.
        """
        if not _storable(wanted):
            # No event has such a text, and PostgreSQL cannot be asked for it.
            return [], 0
        since = wanted.since
        if since is None:
            since = 0.0 if wanted.ids else self._clock.now() - LISTED_SECONDS
        if not statuses:
            records, total = await event_page(self._database, tenant_id, wanted, since, offset, limit)
            return await self._views(tenant_id, records), total
        # How a run stands follows from its facts and is in no column: all that may match are looked at.
        found: list[EventView] = []
        rest = wanted
        while True:
            records, _ = await event_page(self._database, tenant_id, rest, since, 0, CHUNK)
            views = await self._views(tenant_id, records)
            found += [view for view in views if _started(view, statuses, wanted.workflow_ids)]
            if len(records) < CHUNK:
                return found[offset : offset + limit], len(found)
            rest = rest.older_than(records[-1].id)

    async def get(self, tenant_id: str, event_id: str) -> EventView:
        """One event. Raises NotFound."""
        [view] = await self._views(tenant_id, [await self.record(tenant_id, event_id)])
        return view

    async def record(self, tenant_id: str, event_id: str) -> EventRecord:
        """One event without its runs. Raises NotFound."""
        records = await events_by_ids(self._database, tenant_id, [event_id])
        if not records:
            raise NotFound(NOT_FOUND)
        return records[0]

    async def keys(self, tenant_id: str) -> Sequence[str]:
        """The keys that events of the tenant have, in their order."""
        return await event_keys(self._database, tenant_id, MOST_KEYS)

    async def _views(self, tenant_id: str, records: Sequence[EventRecord]) -> list[EventView]:
        runs = await event_runs(self._database, tenant_id, [record.id for record in records])
        ids = list({run.run_id for of_event in runs.values() for run in of_event})
        standings = await run_standings(self._database, self._run_facts, tenant_id, ids)
        return [
            EventView(
                record,
                runs.get(record.id, ()),
                [standings[run.run_id] for run in runs.get(record.id, ()) if run.run_id in standings],
            )
            for record in records
        ]


def _started(view: EventView, statuses: frozenset[RunStatus], workflow_ids: Sequence[str]) -> bool:
    return any(
        standing.status in statuses and (not workflow_ids or standing.workflow_id in workflow_ids)
        for standing in view.standings
    )


def _storable(wanted: EventFilter) -> bool:
    texts = [*wanted.keys, *wanted.scopes]
    return not any(char == "\x00" or "\ud800" <= char <= "\udfff" for text in texts for char in text)
