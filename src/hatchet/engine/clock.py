"""The production clock and id source.

The clock follows the database's: several engines compare times that they wrote, so their own clocks must not matter.
"""

from __future__ import annotations

import time

import structlog
import uuid_utils

from hatchet.store.pool import Database

log = structlog.get_logger("hatchet.engine")

SUSPICIOUS_SECONDS = 5.0


class DatabaseClock:
    """This machine's clock shifted to the database's, measured at start and with every lease renewal."""

    def __init__(self) -> None:
        self._offset = 0.0

    def now(self) -> float:
        return time.time() + self._offset

    async def measure(self, database: Database) -> None:
        """Read the database's clock once and set the shift, counting half of the round trip."""
        before = time.time()
        [row] = await database.fetch("clock_read")
        after = time.time()
        self.follow(row["now"], before, after)
        if abs(self._offset) > SUSPICIOUS_SECONDS:
            # Ids carry this machine's own time, and other instances look for new tasks by it.
            log.warning("this machine's clock differs from the database's; set it", seconds=round(self._offset, 1))

    def follow(self, database_now: float, before: float, after: float) -> None:
        """Set the shift from a reading made between ``before`` and ``after`` on this machine's clock.

        A reading that took long says little, and a small difference is noise: both leave the shift alone. The database
        answered at some moment in between, so a difference of half the time that passed is none.
        """
        if after - before > 0.5:
            return
        offset = database_now - (before + after) / 2
        if abs(offset - self._offset) > max(0.05, (after - before) / 2):
            self._offset = offset


class UuidIds:
    """UUIDv7 texts, increasing within this process."""

    def new(self) -> str:
        return str(uuid_utils.uuid7())
