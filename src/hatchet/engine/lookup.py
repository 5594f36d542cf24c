"""What an id belongs to and where it stands, for those who stream and log (behaviour-core C-0.7, C-7.36, C-13.4)."""

from __future__ import annotations

from collections.abc import Sequence

from hatchet.core.statuses import RunStatus
from hatchet.engine.memory import Flights
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.run_facts import RunFacts
from hatchet.store.pool import Database
from hatchet.store.runs import resolve_ids, run_payloads
from hatchet.store.tasks import payloads


class Lookup:
    """Answers from memory where that can tell, else from the rows."""

    def __init__(self, database: Database, flights: Flights, rebuild: Rebuild, run_facts: RunFacts) -> None:
        self._database = database
        self._flights = flights
        self._rebuild = rebuild
        self._run_facts = run_facts

    async def run_of(self, tenant_id: str, task_id: str) -> str | None:
        """The run of a task (or of a run, itself); None when the tenant has no such id."""
        flight = self._flights.get(task_id)
        if flight is not None and flight.tenant_id == tenant_id:
            return flight.task.run_id or task_id
        resolved = await resolve_ids(self._database, tenant_id, [task_id])
        return (resolved[0].run_id or resolved[0].id) if resolved else None

    async def state_of(self, tenant_id: str, run_id: str) -> RunStatus | None:
        """The status of a run; None when the tenant has no such run."""
        resolved = await resolve_ids(self._database, tenant_id, [run_id])
        if not resolved:
            return None
        if resolved[0].run_id is None:
            [(state, _)] = await self._rebuild.states(tenant_id, [run_id])
            return state.status
        [run] = await self._run_facts.load(tenant_id, [resolved[0].run_id])
        return run.state.status()

    async def metadata_of(self, tenant_id: str, run_ids: Sequence[str]) -> dict[str, str]:
        """The additional metadata of runs as JSON text; runs without any are absent."""
        found = await payloads(self._database, tenant_id, run_ids)
        found |= await run_payloads(self._database, tenant_id, run_ids)
        return {run_id: payload.additional_metadata for run_id, payload in found.items() if payload.additional_metadata}

    async def attempt_of(self, tenant_id: str, task_id: str) -> int | None:
        """The current attempt of a task, counted from 0 without evictions; None when the tenant has no such task."""
        flight = self._flights.get(task_id)
        if flight is not None and flight.tenant_id == tenant_id:
            return flight.task.retry_count
        states = await self._rebuild.states(tenant_id, [task_id])
        return states[0][0].retry_count if states else None
