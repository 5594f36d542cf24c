"""Chores that keep the tables in shape: partitions of the coming days, an end to what is old (design section 4.8)."""

from __future__ import annotations

import structlog

from hatchet.core.clock import Clock
from hatchet.core.ids import time_of
from hatchet.engine.component import Loop
from hatchet.store.gaps import forget_gaps
from hatchet.store.leases import forget_instances, lowest_watermark
from hatchet.store.partitions import DAY, drop_partitions, ensure_partitions
from hatchet.store.people import forget_sessions
from hatchet.store.pool import Database
from hatchet.store.rate_limits import forget_limits
from hatchet.store.schedules import forget_scheduled
from hatchet.store.triggers import sweep_claims
from hatchet.store.workers import forget_workers

log = structlog.get_logger("hatchet.engine")

HOUR = 3600.0


class Upkeep(Loop):
    """Makes the partitions of the coming days and drops those that are older than the retention, every hour.

    Idempotency keys whose time is over go, too, rate limits of keys that nobody uses any more, and workers and
    instances that have been gone for so long.

    ``retention`` in seconds, None keeps everything. A day with an unfinished task is kept, and so are all after it.
    """

    def __init__(self, database: Database, clock: Clock, retention: float | None) -> None:
        super().__init__("upkeep", HOUR)
        self._database = database
        self._clock = clock
        self._retention = retention

    async def start(self) -> None:
        # Nothing can be accepted before today's partitions exist.
        await ensure_partitions(self._database, self._clock.now())
        await super().start()

    async def turn(self) -> None:
        now = self._clock.now()
        await ensure_partitions(self._database, now)
        await sweep_claims(self._database, now)
        await forget_instances(self._database, now - DAY)
        await forget_limits(self._database, now)
        await forget_sessions(self._database, now)
        if self._retention is not None:
            await forget_scheduled(self._database, now - self._retention)
            await self._forget(now - self._retention)

    async def _forget(self, before: float) -> None:
        unfinished = await lowest_watermark(self._database)
        if unfinished is None:
            return
        before = min(before, time_of(unfinished))
        await forget_gaps(self._database, before)
        # A day longer than the tasks of the last day that goes: those of the next one may name it.
        await forget_workers(self._database, before - DAY)
        if dropped := await drop_partitions(self._database, before):
            log.info("dropped what is older than the retention", partitions=dropped)
