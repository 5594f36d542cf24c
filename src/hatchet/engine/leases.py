"""Who schedules for which tenant: one owner at a time by a lease with an epoch (design sections 3.3 and 7).

The keeper renews every ``RENEW_SECONDS``; a lease that was not renewed for ``LEASE_SECONDS`` goes to whoever asks
first, with a higher epoch. Two owners can exist for a moment: the fence in an owner's writes makes the older fail.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog

from hatchet.core.clock import Clock
from hatchet.engine.bus import Bus
from hatchet.engine.clock import DatabaseClock
from hatchet.engine.component import Loop
from hatchet.store.leases import HeldLease, leave, tick
from hatchet.store.pool import Database

log = structlog.get_logger("hatchet.engine")

RENEW_SECONDS = 1.5
LEASE_SECONDS = 5.0
DEAD_SECONDS = 8.0
FORGET_SECONDS = 86_400.0

Gained = Callable[[HeldLease], Awaitable[None]]
Lost = Callable[[str], Awaitable[None]]
Met = Callable[[frozenset[str]], None]
"""Called with the other live instances whenever they were looked at."""


class LeaseKeeper(Loop):
    """Keeps this instance alive in the table of instances, and its leases held."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        clock: Clock,
        instance_id: str,
        *,
        takes: bool,
        gained: Gained,
        lost: Lost,
        met: Met,
    ) -> None:
        super().__init__("lease-keeper", RENEW_SECONDS)
        self._database = database
        self._bus = bus
        self._clock = clock
        self._instance_id = instance_id
        self._started_at = clock.now()
        self._takes = takes
        self._gained = gained
        self._lost = lost
        self._met = met
        self._held: dict[str, HeldLease] = {}
        self._peers: frozenset[str] = frozenset()
        bus.on("hello", self._greeted)
        bus.on("released", lambda _: self.nudge())

    async def start(self) -> None:
        # Twice: the first tick creates the lease rows of new tenants, the second can take them.
        await self.turn()
        await self.turn()
        await super().start()
        self._bus.announce("hello")

    async def stop(self) -> None:
        await super().stop()
        for name in list(self._held):
            await self._lost(name)
        self._held.clear()
        await leave(self._database, self._instance_id, self._clock.now() - FORGET_SECONDS)
        self._bus.announce("released")

    async def turn(self) -> None:
        before = time.time()
        told = await tick(
            self._database,
            self._instance_id,
            started_at=self._started_at,
            lease_seconds=LEASE_SECONDS,
            takes=self._takes,
            dead_after=DEAD_SECONDS,
        )
        if isinstance(self._clock, DatabaseClock):
            self._clock.follow(told.now, before, time.time())
        self._meet(frozenset(told.peers))
        held = {lease.name: lease for lease in told.held}
        for name, old in list(self._held.items()):
            if name not in held or held[name].epoch != old.epoch:
                log.warning("lost a lease", lease=name, epoch=old.epoch)
                await self._lost(name)
                del self._held[name]
        for name, lease in held.items():
            if name not in self._held:
                log.info("took a lease", lease=name, epoch=lease.epoch)
                self._held[name] = lease
                await self._gained(lease)

    def _greeted(self, message: dict[str, object]) -> None:
        self._meet(self._peers | {str(message["from"])})
        self.nudge()

    def _meet(self, peers: frozenset[str]) -> None:
        self._peers = peers
        self._bus.has_peers = bool(peers)
        self._met(peers)
