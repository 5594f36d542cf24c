"""Keeps an owner's picture of the rate limits and their rows together (behaviour-core C-10).

People change definitions in the rows; what was taken is the owner's to write. News may get lost, so all rows are read
again now and then while anything depends on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hatchet.core.rate_limits import RateLimits
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database
from hatchet.store.rate_limits import StoredLimit, all_limits, limits_by_keys, write_states

EVERYTHING_TURNS = 60
"""Turns of the watch after which everything is read again."""


class LimitRows:
    """The rows behind one tenant's rate limits."""

    def __init__(self, tenant_id: str, lease: HeldLease, limits: RateLimits, database: Database) -> None:
        self._tenant_id = tenant_id
        self._lease = lease
        self._limits = limits
        self._database = database
        self._turns = 0
        self.writing = asyncio.Lock()
        """Held by whoever writes what was taken, so that an older state never lands after a newer one."""

    async def turn(self, *, is_waited_for: bool) -> None:
        """Write what tasks defined; read everything again, when it is time and something depends on it.

        ``is_waited_for``: whether tasks wait for units.
        """
        self._turns += 1
        limits = self._limits
        async with self.writing:
            states = limits.changed()
            if states and await write_states(self._database, self._lease, self._tenant_id, states):
                limits.written(states)
        if self._turns % EVERYTHING_TURNS == 0 and (is_waited_for or limits.stored()):
            await self.read_all()

    async def read(self, keys: Sequence[str]) -> None:
        """These rows are others now."""
        stored = self._limits.stored() & set(keys)
        found = await limits_by_keys(self._database, self._tenant_id, keys)
        for row in found.values():
            self._load(row)
        self._limits.forget_missing(stored, found)

    async def read_all(self) -> None:
        """Take all rows over."""
        stored = self._limits.stored()
        keys: set[str] = set()
        async for page in all_limits(self._database, self._tenant_id):
            for row in page:
                self._load(row)
                keys.add(row.key)
        self._limits.forget_missing(stored, keys)

    def _load(self, row: StoredLimit) -> None:
        self._limits.load(
            row.key, row.limit, row.window, row.paused_until, row.units_left, row.refilled_at, row.updated_at
        )
