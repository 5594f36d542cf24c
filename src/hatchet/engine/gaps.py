"""Notices when tasks wait for an action that no worker serves, and when one serves it again."""

from __future__ import annotations

from hatchet.core.clock import Clock
from hatchet.engine.schedule import TenantScheduler
from hatchet.store.gaps import close_gaps, open_gaps
from hatchet.store.pool import Database


class Gaps:
    """The open gaps of one tenant: one row a gap, whatever the number of tasks that wait."""

    def __init__(self, scheduler: TenantScheduler, database: Database, clock: Clock) -> None:
        self._scheduler = scheduler
        self._database = database
        self._clock = clock
        self._open: set[str] | None = None

    async def look(self) -> None:
        """Compare the queues with the workers and write what changed; nothing is written when nothing did."""
        tenant_id, now = self._scheduler.tenant_id, self._clock.now()
        if self._open is None:
            # Gaps that the owner before left open: whether they go on shows below.
            await close_gaps(self._database, tenant_id, None, now)
            self._open = set()
        pool, queues = self._scheduler.pool, self._scheduler.queues
        unserved = {action for action in queues.actions() if not pool.serves(action)}
        if opened := unserved - self._open:
            await open_gaps(self._database, tenant_id, opened, now)
        if closed := self._open - unserved:
            await close_gaps(self._database, tenant_id, closed, now)
        self._open = unserved
