"""What people and tasks do to running and waiting work: cancel, release a slot, extend a timeout."""

from __future__ import annotations

from collections.abc import Sequence

from hatchet.core.clock import Clock
from hatchet.core.errors import NotFound
from hatchet.core.ids import parse_uuid
from hatchet.core.transitions import Counters, Event, EventKind, State, decide
from hatchet.engine.bus import Bus
from hatchet.engine.dispatch import Dispatch
from hatchet.engine.endings import Ending, Endings
from hatchet.engine.memory import Flight, Flights, Owners, policy_of
from hatchet.engine.rebuild import Rebuild, flight_of
from hatchet.store.pool import Database
from hatchet.store.tasks import append_note

ATTEMPTS = 5
"""How often a cancel looks again when the task moves on under it."""


class Control:
    """Cancels, releases, refreshes."""

    def __init__(
        self,
        database: Database,
        owners: Owners,
        flights: Flights,
        endings: Endings,
        rebuild: Rebuild,
        dispatch: Dispatch,
        bus: Bus,
        clock: Clock,
        *,
        max_internal_retries: int,
    ) -> None:
        self._database = database
        self._owners = owners
        self._flights = flights
        self._endings = endings
        self._rebuild = rebuild
        self._dispatch = dispatch
        self._bus = bus
        self._clock = clock
        self._max_internal_retries = max_internal_retries

    async def cancel(self, tenant_id: str, ids: Sequence[str]) -> list[str]:
        """Cancel runs or tasks; returns the ids that were cancelled.

        Terminal tasks are left alone, unknown ids ignored (behaviour-core C-6.38). When this returns the cancel is
        committed, the slots are free and the workers have been told (C-6.39). Cancelled tasks are not retried (C-6.28).
        """
        pending = list({normal for normal in map(parse_uuid, ids) if normal is not None})
        cancelled: list[str] = []
        for _ in range(ATTEMPTS):
            if not pending:
                break
            moved: list[str] = []
            endings, flights = await self._cancellations(tenant_id, pending)
            for ending, is_first in zip(endings, await self._endings.end_all(endings), strict=True):
                if not is_first:
                    moved.append(ending.task.id)
                    continue
                cancelled.append(ending.task.id)
                flight = flights.get(ending.task.id)
                if flight is not None:
                    self._dispatch.cancel(tenant_id, flight)
            pending = moved
        return cancelled

    async def release_slot(self, tenant_id: str, task_id: str) -> None:
        """Free the units of a running task at once; it keeps running (C-11.34). NotFound when it is not running."""
        flight = await self._running(tenant_id, task_id)
        if flight.is_released:
            return
        now = self._clock.now()
        await append_note(self._database, tenant_id, task_id, flight.task.attempt, now, "SLOT_RELEASED")
        owner = self._owners.get(tenant_id)
        if owner is not None:
            owner.slot_released(flight)
        else:
            flight.is_released = True
            self._bus.publish("touched", tenant=tenant_id, ids=[task_id])

    async def refresh_timeout(self, tenant_id: str, task_id: str, increment_seconds: float) -> float:
        """Move the deadline of a running task by ``increment_seconds`` (C-11.38); the new deadline.

        Raises NotFound when the task is not running. The next attempt has the declared timeout again (C-11.41).
        """
        flight = await self._running(tenant_id, task_id)
        timeout_at = flight.timeout_at + increment_seconds
        now = self._clock.now()
        await append_note(self._database, tenant_id, task_id, flight.task.attempt, now, "TIMEOUT_REFRESHED", timeout_at)
        flight.timeout_at = max(flight.timeout_at, timeout_at)
        if self._owners.get(tenant_id) is None:
            self._bus.publish("touched", tenant=tenant_id, ids=[task_id])
        return timeout_at

    async def _cancellations(self, tenant_id: str, ids: Sequence[str]) -> tuple[list[Ending], dict[str, Flight]]:
        event = Event(EventKind.CANCELLED, self._clock.now())
        endings: list[Ending] = []
        flights: dict[str, Flight] = {}
        for state, task in await self._rebuild.states(tenant_id, ids):
            if state.ended is not None:
                continue
            flight = self._flights.get(task.id) or flight_of(tenant_id, state, task)
            if flight is not None and flight.task.attempt == task.attempt:
                flights[task.id] = flight
            where = State.RUNNING if task.id in flights else State.QUEUED
            policy = policy_of(task, self._max_internal_retries)
            decision = decide(where, event, policy, Counters(task.attempt, task.app_retries, task.internal_retries))
            if decision is not None:
                endings.append(Ending(tenant_id, task, decision, event.at, state.started_at))
        return endings, flights

    async def _running(self, tenant_id: str, task_id: str) -> Flight:
        flight = self._flights.get(task_id)
        if flight is not None and flight.tenant_id == tenant_id:
            return flight
        normal = parse_uuid(task_id)
        found = await self._rebuild.flights(tenant_id, [normal]) if normal is not None else []
        if not found:
            raise NotFound(f"task is not running: {task_id}")
        return found[0]
