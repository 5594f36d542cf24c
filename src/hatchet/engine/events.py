"""Events: stored, acknowledged after the commit, handed to whoever schedules for the tenant (behaviour-core C-12).

Who waits for an event is the owner's to know. A hand-over may get lost, between instances or with an owner: owners
read the rows again by key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from hatchet.core.clock import Clock, Ids
from hatchet.core.errors import NotFound
from hatchet.core.event_push import NewEvent, accepted
from hatchet.core.messages import EventRecord
from hatchet.engine.batcher import Batcher
from hatchet.engine.bus import Bus
from hatchet.engine.component import Background
from hatchet.engine.memory import Owners
from hatchet.store.events import append_events, events_by_ids
from hatchet.store.pool import Database

log = structlog.get_logger("hatchet.engine")

PUSHED = "events"
"""Kind of the message that names pushed events to other instances."""


class Events:
    """Takes pushed events."""

    def __init__(
        self,
        database: Database,
        hot: Database,
        owners: Owners,
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
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._writes: Batcher[EventRecord, None] = Batcher(
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
        return await self._stored(records)

    async def replay(self, tenant_id: str, event_id: str) -> EventRecord:
        """Push a stored event again, as a new one that happened when the old one did (C-12.9).

        Raises NotFound for an id that the tenant does not have.
        """
        found = await events_by_ids(self._database, tenant_id, [event_id])
        if not found:
            raise NotFound(f"no event has the id {event_id}")
        again = replace(found[0], id=self._ids.new(), inserted_at=self._clock.now())
        [record] = await self._stored([again])
        return record

    async def drain(self) -> None:
        """Wait for the writes and readings that are under way."""
        await self._writes.drain()
        await self._background.settle()

    async def _stored(self, records: list[EventRecord]) -> list[EventRecord]:
        for written in self._writes.submit_all(records):
            await written
        return records

    async def _write(self, batch: Sequence[EventRecord]) -> list[None]:
        await append_events(self._hot, batch)
        by_tenant: dict[str, list[EventRecord]] = {}
        for record in batch:
            by_tenant.setdefault(record.tenant_id, []).append(record)
        for tenant_id, records in by_tenant.items():
            if not self._tell(tenant_id, records):
                self._bus.publish_ids(PUSHED, [record.id for record in records], tenant=tenant_id)
        return [None] * len(batch)

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
