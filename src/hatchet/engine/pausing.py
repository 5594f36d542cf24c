"""Pauses of workflows: while one lasts its runs are accepted and wait (behaviour-core C-4.52 to C-4.56).

The row says whether a workflow is paused. The owner of the tenant hears of a change at once, and its watch reads the
rows again and again behind that, because what it was told may get lost.
"""

from __future__ import annotations

import asyncio

import structlog

from hatchet.core.clock import Clock
from hatchet.core.errors import NotFound
from hatchet.core.held import PauseSettings
from hatchet.engine.bus import Bus
from hatchet.engine.component import Background
from hatchet.engine.control import Control
from hatchet.engine.memory import Owners
from hatchet.engine.schedule import TenantScheduler
from hatchet.store.pausing import end_pause, pause_workflow, workflow_pauses
from hatchet.store.pool import Database

log = structlog.get_logger("hatchet.engine")

CANCEL_BATCH = 1000


class Pausing:
    """Pauses and resumes workflows, and ends runs that waited too long for the end of a pause."""

    def __init__(self, database: Database, owners: Owners, control: Control, bus: Bus, clock: Clock) -> None:
        self._database = database
        self._owners = owners
        self._control = control
        self._bus = bus
        self._clock = clock
        self._turns: dict[str, asyncio.Lock] = {}
        self._background = Background("pauses from another instance")
        bus.on("paused", self._heard)

    async def pause(self, tenant_id: str, workflow_id: str, settings: PauseSettings) -> None:
        """Pause the workflow, or change how it is paused. What runs goes on; what waits or is triggered waits.

        Raises NotFound when the tenant has no such workflow.
        """
        if not await pause_workflow(self._database, tenant_id, workflow_id, settings, self._clock.now()):
            raise NotFound(f"workflow not found: {workflow_id}")
        await self._changed(tenant_id)

    async def unpause(self, tenant_id: str, workflow_id: str) -> None:
        """Let the waiting tasks of the workflow start, in their order (C-4.55); without a pause nothing changes."""
        await end_pause(self._database, tenant_id, workflow_id, self._clock.now())
        await self._changed(tenant_id)

    async def refresh(self, tenant_id: str) -> None:
        """Read the tenant's pauses and tell its scheduler, when that runs here."""
        # One look at a time, so that an old answer never comes after a new one.
        async with self._turns.setdefault(tenant_id, asyncio.Lock()):
            owner = self._owners.get(tenant_id)
            if owner is not None:
                owner.paused(await workflow_pauses(self._database, tenant_id))

    async def expire(self, scheduler: TenantScheduler) -> None:
        """Cancel the runs that have been held for longer than the queue TTL (C-4.54), by their ids (C-6.38)."""
        if not scheduler.held.expired(self._clock.now(), 1):
            return
        # The pause may be over and the news of it lost: then nothing must be cancelled.
        await self.refresh(scheduler.tenant_id)
        while expired := scheduler.held.expired(self._clock.now(), CANCEL_BATCH):
            run_ids = list(dict.fromkeys(task.run_id or task.id for task in expired))
            done = await self._control.cancel(scheduler.tenant_id, run_ids)
            log.info("runs waited too long for the end of a pause", tenant=scheduler.tenant_id, cancelled=len(done))
            left = [task.id for task in expired if task.id in scheduler.held]
            if left:
                # Whatever happened to them, the rows tell.
                scheduler.touched(left)
                return

    async def _changed(self, tenant_id: str) -> None:
        if self._owners.get(tenant_id) is None:
            self._bus.publish("paused", tenant=tenant_id)
        else:
            await self.refresh(tenant_id)

    def _heard(self, message: dict[str, object]) -> None:
        self._background.spawn(self.refresh(str(message["tenant"])))
