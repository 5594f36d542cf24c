"""Events: stored with the runs that they start, acknowledged after the commit, handed to the owner of the tenant.

An event, its runs and what became of its filters are one transaction: an acknowledged event cannot lose its runs, and
a crash cannot start them twice (behaviour-core C-12.7 to C-12.37).

Who waits for an event is the owner's to know. A hand-over may get lost, between instances or with an owner: owners
read the rows again by key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace

import structlog

from hatchet.core.clock import Clock, Ids
from hatchet.core.errors import NotFound, Unavailable
from hatchet.core.event_push import NewEvent, accepted
from hatchet.core.messages import EventRecord
from hatchet.engine.batcher import Batcher
from hatchet.engine.bus import Bus
from hatchet.engine.component import Background
from hatchet.engine.event_triggers import EventTriggers, PushedEvent
from hatchet.engine.memory import Owners
from hatchet.store.events import append_events, events_by_ids
from hatchet.store.filters import hold_revisions
from hatchet.store.pool import Database
from hatchet.store.triggers import Accepted

log = structlog.get_logger("hatchet.engine")

PUSHED = "events"
"""Kind of the message that names pushed events to other instances."""

HEAVIEST = 2000
"""Rows of a transaction, about; a single event may be heavier."""


class Events:
    """Takes pushed events."""

    def __init__(
        self,
        database: Database,
        hot: Database,
        owners: Owners,
        triggers: EventTriggers,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        *,
        flush_gap: float,
        flush_maximum: int,
    ) -> None:
        """``database`` reads, ``hot`` writes and waits for the disk."""
        self._database = database
        self._hot = hot
        self._owners = owners
        self._triggers = triggers
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._writes: Batcher[PushedEvent, Exception | None] = Batcher(
            PUSHED, self._write, gap=flush_gap, maximum=flush_maximum, high_water=100_000
        )
        self._background = Background(PUSHED)
        bus.on(PUSHED, self._heard)

    async def push(self, tenant_id: str, items: Sequence[NewEvent]) -> list[EventRecord]:
        """Store the events and return them in the items' order, once all are committed (C-12.3, C-12.7).

        All items are checked before any is stored (C-12.4). Raises InvalidArgument for an empty or unstorable key, a
        payload or metadata that is not JSON and a priority outside 1 to 3 (C-12.5), ResourceExhausted when the server
        is too far behind.
        """
        now = self._clock.now()
        records = [
            accepted(
                item,
                tenant_id=tenant_id,
                event_id=self._ids.new(),
                now=now,
                where=f"events[{index}]." if len(items) > 1 else "",
            )
            for index, item in enumerate(items)
        ]
        return await self._stored(tenant_id, records)

    async def replay(self, tenant_id: str, event_id: str) -> EventRecord:
        """Push a stored event again, as a new one that happened when the old one did and starts runs anew (C-12.9).

        Raises NotFound for an id that the tenant does not have.
        """
        found = await events_by_ids(self._database, tenant_id, [event_id])
        if not found:
            raise NotFound(f"no event has the id {event_id}")
        again = replace(found[0], id=self._ids.new(), inserted_at=self._clock.now())
        [record] = await self._stored(tenant_id, [again])
        return record

    async def drain(self) -> None:
        """Wait for the writes and readings that are under way."""
        await self._writes.drain()
        await self._background.settle()

    async def _stored(self, tenant_id: str, records: list[EventRecord]) -> list[EventRecord]:
        planned = await self._triggers.planned(tenant_id, records)
        failed = [error for written in self._writes.submit_all(planned) if (error := await written) is not None]
        if failed:
            # Others may raise the same object, and each adds its own traceback.
            raise copy(failed[0]) from failed[0]
        return records

    async def _write(self, batch: Sequence[PushedEvent]) -> list[Exception | None]:
        """Write the events, some at a time. What one lot fails with is returned: others may be committed already."""
        found: list[Exception | None] = []
        for lot in _lots(batch):
            found += await self._written(lot)
        return found

    async def _written(self, events: Sequence[PushedEvent]) -> list[Exception | None]:
        try:
            accepted, events = await self._commit(events)
        except Unavailable as error:
            return [error] * len(events)
        except Exception as error:
            if len(events) == 1:
                return [error]
            middle = len(events) // 2
            return [*await self._written(events[:middle]), *await self._written(events[middle:])]
        self._triggers.committed(events, accepted)
        self._hand_over([event.record for event in events])
        return [None] * len(events)

    async def _commit(self, events: Sequence[PushedEvent]) -> tuple[Accepted, Sequence[PushedEvent]]:
        """Write the events and what they start; both as they were written."""
        records = [event.record for event in events]
        revisions = {(event.record.tenant_id, event.revision) for event in events}
        try:
            if not any(event.runs or event.failures for event in events):
                if await append_events(self._hot, records, revisions):
                    return Accepted({}, {}), events
            else:
                async with self._hot.transaction() as transaction:
                    if await append_events(transaction, records, revisions):
                        return await self._triggers.write(transaction, events), events
            # Triggers or filters have changed. Once more, and this time those who change them wait.
            async with self._hot.transaction() as transaction:
                await hold_revisions(transaction, [record.tenant_id for record in records])
                await append_events(transaction, records)
                events = await self._planned_anew(records)
                return await self._triggers.write(transaction, events), events
        except Unavailable:
            self._triggers.uncertain(events)
            raise

    async def _planned_anew(self, records: Sequence[EventRecord]) -> list[PushedEvent]:
        planned = {
            event.record.id: event
            for tenant_id, of_tenant in _by_tenant(records).items()
            for event in await self._triggers.planned(tenant_id, of_tenant, is_fresh=True)
        }
        return [planned[record.id] for record in records]

    def _hand_over(self, records: Sequence[EventRecord]) -> None:
        for tenant_id, of_tenant in _by_tenant(records).items():
            if not self._tell(tenant_id, of_tenant):
                self._bus.publish_ids(PUSHED, [record.id for record in of_tenant], tenant=tenant_id)

    def _tell(self, tenant_id: str, records: list[EventRecord]) -> bool:
        """Hand the events to the tenant's owner; whether it is here."""
        owner = self._owners.get(tenant_id)
        if owner is None:
            return False
        try:
            owner.pushed(records)
        except Exception as error:
            # They are committed: whoever pushed them must not hear of it, or would push them again.
            log.error("pushed events were not taken", tenant=tenant_id, events=len(records), exc_info=error)
        return True

    def _heard(self, message: dict[str, object]) -> None:
        tenant_id, ids = str(message["tenant"]), message.get("ids")
        if isinstance(ids, list) and self._owners.get(tenant_id) is not None:
            self._background.spawn(self._take(tenant_id, ids))

    async def _take(self, tenant_id: str, ids: list[str]) -> None:
        self._tell(tenant_id, await events_by_ids(self._database, tenant_id, ids))


def _by_tenant(records: Sequence[EventRecord]) -> dict[str, list[EventRecord]]:
    found: dict[str, list[EventRecord]] = {}
    for record in records:
        found.setdefault(record.tenant_id, []).append(record)
    return found


def _lots(batch: Sequence[PushedEvent]) -> Iterator[Sequence[PushedEvent]]:
    """The batch in its order, cut where a lot would be too heavy for one transaction."""
    first, weight = 0, 0
    for number, event in enumerate(batch):
        if weight and weight + event.weight > HEAVIEST:
            yield batch[first:number]
            first, weight = number, 0
        weight += event.weight
    yield batch[first:]
