"""The schedulers of this instance: one for each tenant whose lease it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from hatchet.engine.bus import Bus
from hatchet.engine.component import Background
from hatchet.engine.memory import Flights, Owners
from hatchet.engine.pausing import Pausing
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.recovery import recover
from hatchet.engine.registration import Registration
from hatchet.engine.run_facts import RunFacts
from hatchet.engine.schedule import TenantScheduler
from hatchet.engine.watch import Watch
from hatchet.engine.workers import Workers
from hatchet.store.leases import SCHEDULER_PREFIX, HeldLease
from hatchet.store.pool import Database

log = structlog.get_logger("hatchet.engine")

RECOVERY_RETRY_SECONDS = 0.5


@dataclass(slots=True)
class _Owned:
    scheduler: TenantScheduler
    watch: Watch
    recovery: asyncio.Task[None] | None = None


class Ownership:
    """Takes over tenants when their lease is gained, and lets them go when it is lost."""

    def __init__(
        self,
        database: Database,
        registration: Registration,
        workers: Workers,
        owners: Owners,
        flights: Flights,
        rebuild: Rebuild,
        run_facts: RunFacts,
        pausing: Pausing,
        bus: Bus,
        make_scheduler: Callable[[str, HeldLease], TenantScheduler],
        make_watch: Callable[[TenantScheduler], Watch],
    ) -> None:
        self._database = database
        self._registration = registration
        self._workers = workers
        self._owners = owners
        self._flights = flights
        self._rebuild = rebuild
        self._run_facts = run_facts
        self._pausing = pausing
        self._make_scheduler = make_scheduler
        self._make_watch = make_watch
        self._owned: dict[str, _Owned] = {}
        self._background = Background("news from another instance")
        bus.on("tasks", self._heard_tasks)
        bus.on("touched", self._heard_touched)
        bus.on("worker", self._heard_worker)
        bus.on_resync(self._resync)

    async def gained(self, lease: HeldLease) -> None:
        """Begin to schedule for the tenant; recovery goes on in the background."""
        if not lease.name.startswith(SCHEDULER_PREFIX):
            return
        tenant_id = lease.name.removeprefix(SCHEDULER_PREFIX)
        scheduler = self._make_scheduler(tenant_id, lease)
        owned = _Owned(scheduler, self._make_watch(scheduler))
        self._owned[tenant_id] = owned
        self._owners.put(tenant_id, scheduler)
        owned.recovery = asyncio.create_task(self._recover(owned), name=f"recovery:{tenant_id}")

    async def lost(self, lease_name: str) -> None:
        """Stop scheduling for the tenant: somebody else does."""
        owned = self._owned.pop(lease_name.removeprefix(SCHEDULER_PREFIX), None)
        if owned is None:
            return
        self._owners.remove(owned.scheduler.tenant_id)
        if owned.recovery is not None:
            owned.recovery.cancel()
        await owned.watch.stop()
        await owned.scheduler.stop()
        for flight in owned.scheduler.flying.values():
            # What was not delivered here is the next owner's to know.
            if flight.sent_on is None:
                self._flights.end(flight.task.id, flight.task.attempt)

    async def _recover(self, owned: _Owned) -> None:
        while True:
            try:
                await recover(
                    owned.scheduler,
                    self._database,
                    self._registration,
                    self._workers,
                    self._rebuild,
                    self._run_facts,
                    self._pausing,
                )
                break
            except Exception as error:
                log.error("take-over failed, trying again", tenant=owned.scheduler.tenant_id, error=str(error))
                await owned.scheduler.stop()
                await asyncio.sleep(RECOVERY_RETRY_SECONDS)
                fresh = self._make_scheduler(owned.scheduler.tenant_id, owned.scheduler.lease)
                owned.scheduler, owned.watch = fresh, self._make_watch(fresh)
                self._owners.put(fresh.tenant_id, fresh)
        owned.scheduler.start()
        await owned.watch.start()

    def _heard_tasks(self, message: dict[str, object]) -> None:
        owned = self._owned.get(str(message["tenant"]))
        if owned is not None:
            news = owned.watch.created_elsewhere(str(message["first"]), str(message["last"]), str(message["from"]))
            self._background.spawn(news)

    def _heard_touched(self, message: dict[str, object]) -> None:
        owned, ids = self._owned.get(str(message["tenant"])), message.get("ids")
        if owned is not None and isinstance(ids, list):
            owned.scheduler.touched(ids)
            owned.watch.nudge()

    def _heard_worker(self, message: dict[str, object]) -> None:
        owned = self._owned.get(str(message["tenant"]))
        if owned is not None:
            self._background.spawn(self._worker_changed(owned.scheduler, str(message["worker"])))

    async def _worker_changed(self, scheduler: TenantScheduler, worker_id: str) -> None:
        await self._workers.refresh(scheduler.tenant_id, [worker_id])
        scheduler.worker_changed(worker_id)

    def _resync(self) -> None:
        for owned in self._owned.values():
            owned.watch.nudge()
