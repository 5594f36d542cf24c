"""Pushed events: appended in batches with which runs they started, read back by id or by key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hatchet.core.ids import lowest_at
from hatchet.core.messages import EventRecord
from hatchet.store.pool import Database, Queries, Row

CLOCK_SLACK_SECONDS = 60.0
"""How far an id's time, which is the machine's, may lag behind the time in its row, which follows the database's."""


class EventRun(NamedTuple):
    """A run that an event started; ``filter_id`` None: the workflow has no filters."""

    tenant_id: str
    event_id: str
    run_id: str
    filter_id: str | None


async def append_events(
    queries: Queries, rows: Sequence[EventRecord], revisions: Iterable[tuple[str, int]] = ()
) -> bool:
    """Write new events; False, and nothing is written, when a revision is no longer the tenant's.

    ``revisions``: (tenant, revision of its triggers and filters) from which it was decided what the events start.
    """
    known = list(revisions)
    written = await queries.execute(
        "event_append",
        [row.tenant_id for row in rows],
        [row.id for row in rows],
        [row.key for row in rows],
        [row.payload.encode() for row in rows],
        [row.additional_metadata or None for row in rows],
        [row.scope for row in rows],
        [row.priority for row in rows],
        [row.happened_at for row in rows],
        [row.inserted_at for row in rows],
        [tenant_id for tenant_id, _ in known],
        [revision for _, revision in known],
    )
    return written == len(rows)


async def append_event_runs(queries: Queries, rows: Sequence[EventRun]) -> None:
    """Write which runs events started."""
    await queries.execute(
        "event_run_append",
        [row.tenant_id for row in rows],
        [row.event_id for row in rows],
        [row.run_id for row in rows],
        [row.filter_id for row in rows],
    )


async def events_by_ids(database: Database, tenant_id: str, ids: Sequence[str]) -> list[EventRecord]:
    """The named events, oldest first; ids that the tenant does not have are absent."""
    return [event_record(row) for row in await database.fetch("event_by_ids", tenant_id, ids)]


async def events_since(database: Database, tenant_id: str, keys: Sequence[str], since: float) -> list[EventRecord]:
    """The events with one of these keys that were taken at ``since`` (seconds) or later, oldest first.

    Keys are compared exactly (behaviour-core C-8.23). An event is taken a moment before its commit: who asks again and
    again has to ask from some seconds before the last time.
    """
    first = lowest_at(since - CLOCK_SLACK_SECONDS)
    return [event_record(row) for row in await database.fetch("event_since", tenant_id, keys, first, since)]


class LookBack(NamedTuple):
    """A question for stored events: of this key and scope, seen at ``since`` (seconds) or later."""

    key: str
    scope: str
    lowest: str
    """No id that is meant lies below."""
    since: float
    highest: str
    """Only ids below are meant."""

    def below(self, event_id: str) -> LookBack:
        """The same question for older events."""
        return self._replace(highest=event_id)


async def look_back(
    database: Database, tenant_id: str, questions: Sequence[LookBack], limit: int
) -> list[list[EventRecord]]:
    """For each question up to ``limit`` events, newest first (behaviour-durable D-10.9)."""
    rows = await database.fetch(
        "event_look_back",
        tenant_id,
        list(range(len(questions))),
        [one.key for one in questions],
        [one.scope for one in questions],
        [one.lowest for one in questions],
        [one.since for one in questions],
        [one.highest for one in questions],
        limit,
    )
    found: list[list[EventRecord]] = [[] for _ in questions]
    for row in rows:
        question = questions[row["number"]]
        found[row["number"]].append(
            EventRecord(
                tenant_id=tenant_id,
                id=str(row["id"]),
                key=question.key,
                payload=row["payload"].decode(),
                additional_metadata="",
                scope=question.scope,
                priority=None,
                happened_at=row["inserted_at"],
                inserted_at=row["inserted_at"],
            )
        )
    return found


def event_record(row: Row) -> EventRecord:
    """An event out of a row with all its columns."""
    return EventRecord(
        tenant_id=str(row["tenant_id"]),
        id=str(row["id"]),
        key=row["key"],
        payload=row["payload"].decode(),
        additional_metadata=row["additional_metadata"] or "",
        scope=row["scope"],
        priority=row["priority"],
        happened_at=row["happened_at"],
        inserted_at=row["inserted_at"],
    )
