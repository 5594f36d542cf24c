"""Chores that keep the tables in shape: day partitions exist before they are needed, and what has no
partitions is forgotten (design section 4.8)."""

from __future__ import annotations

from hatchet.core.clock import Clock
from hatchet.engine.component import Loop
from hatchet.store.gaps import forget_gaps
from hatchet.store.partitions import ensure_partitions
from hatchet.store.pool import Database

HOUR = 3600.0
GAPS_KEPT_SECONDS = 30 * 86_400.0


class Upkeep(Loop):
    """Makes the partitions of the coming days, at start and every hour."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__("upkeep", HOUR)
        self._database = database
        self._clock = clock

    async def start(self) -> None:
        # Nothing can be accepted before today's partitions exist.
        await self.turn()
        await super().start()

    async def turn(self) -> None:
        now = self._clock.now()
        await ensure_partitions(self._database, now)
        await forget_gaps(self._database, now - GAPS_KEPT_SECONDS)
