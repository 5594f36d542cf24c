"""Forgets attempts that were delivered here for an owner elsewhere and ended without this instance hearing of it."""

from __future__ import annotations

from hatchet.engine.component import Loop
from hatchet.engine.memory import Flight, Flights, Owners
from hatchet.engine.rebuild import Rebuild

SWEEP_SECONDS = 10.0
BATCH = 1000


class FlightSweep(Loop):
    """Compares the flights of tenants that are scheduled elsewhere with the rows; without any it does nothing."""

    def __init__(self, flights: Flights, owners: Owners, rebuild: Rebuild) -> None:
        super().__init__("flight-sweep", SWEEP_SECONDS)
        self._flights = flights
        self._owners = owners
        self._rebuild = rebuild

    async def turn(self) -> None:
        by_tenant: dict[str, list[Flight]] = {}
        for flight in self._flights:
            if self._owners.get(flight.tenant_id) is None:
                by_tenant.setdefault(flight.tenant_id, []).append(flight)
        for tenant_id, flights in by_tenant.items():
            for start in range(0, len(flights), BATCH):
                await self._compare(tenant_id, flights[start : start + BATCH])

    async def _compare(self, tenant_id: str, flights: list[Flight]) -> None:
        states = await self._rebuild.states(tenant_id, [flight.task.id for flight in flights])
        current = {state.id: state.attempt for state, _ in states if state.ended is None}
        for flight in flights:
            if current.get(flight.task.id) != flight.task.attempt:
                self._flights.end(flight.task.id, flight.task.attempt)
