"""Deletes workflows (behaviour-rest R-13.9, behaviour-core C-3.33, C-14.15).

The row of the workflow goes, and with it its name, crons, scheduled runs and filters. Versions stay: runs are of them.
"""

from __future__ import annotations

import structlog

from hatchet.core.errors import NotFound
from hatchet.core.ids import time_of
from hatchet.core.messages import RunFilter
from hatchet.core.statuses import RunStatus
from hatchet.engine.bus import Bus
from hatchet.engine.control import Control
from hatchet.engine.registration import Registration
from hatchet.store.filters import bump
from hatchet.store.leases import SCHEDULER_PREFIX
from hatchet.store.pool import Database
from hatchet.store.run_search import search_runs

log = structlog.get_logger("hatchet.engine")

MOST_AT_ONCE = 20_000
CANCEL_BATCH = 200
CLOCK_MARGIN_SECONDS = 3600.0


class WorkflowRemoval:
    """Deletes a workflow and cancels what is open of it."""

    def __init__(self, database: Database, registration: Registration, control: Control, bus: Bus) -> None:
        self._database = database
        self._registration = registration
        self._control = control
        self._bus = bus
        bus.on("workflow-deleted", self._heard)

    async def delete(self, tenant_id: str, workflow_id: str) -> None:
        """Delete the workflow. When this returns nothing starts runs of it, and its open runs are cancelled.

        Those that run are cancelled, too: their retries and the tasks after them would be new work. Raises NotFound
        when the tenant has no such workflow.
        """
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch("workflow_lock", tenant_id, workflow_id)
            if not rows:
                raise NotFound(f"workflow not found: {workflow_id}")
            await bump(transaction, tenant_id)
            await transaction.execute("workflow_delete", tenant_id, workflow_id)
        name = rows[0]["name"]
        self._registration.forget(tenant_id, name)
        self._bus.publish("workflow-deleted", tenant=tenant_id, name=name)
        cancelled = await self._cancel_open(tenant_id, workflow_id)
        log.info("a workflow was deleted", tenant=tenant_id, workflow=name, cancelled=cancelled)

    async def _cancel_open(self, tenant_id: str, workflow_id: str) -> int:
        """Cancel its runs that have not ended; how many were."""
        reopened = await self._database.fetch("workflow_reopened", tenant_id, workflow_id)
        cancelled = await self._cancel(tenant_id, [str(row["id"]) for row in reopened])
        marks = await self._database.fetch("lease_mark", f"{SCHEDULER_PREFIX}{tenant_id}")
        lowest = marks[0]["low_watermark"] if marks else None
        wanted = RunFilter(
            # Nothing else that is open is older; ids have the time of the machine that made them.
            since=0.0 if lowest is None else max(0.0, time_of(str(lowest)) - CLOCK_MARGIN_SECONDS),
            statuses=frozenset({RunStatus.QUEUED, RunStatus.RUNNING}),
            workflow_ids=(workflow_id,),
        )
        while found := await search_runs(self._database, tenant_id, wanted, MOST_AT_ONCE):
            done = await self._cancel(tenant_id, found)
            cancelled += done
            if not done:
                # They have ended a moment ago, which their rows will tell soon.
                break
        return cancelled

    async def _cancel(self, tenant_id: str, ids: list[str]) -> int:
        done = 0
        for start in range(0, len(ids), CANCEL_BATCH):
            done += len(await self._control.cancel(tenant_id, ids[start : start + CANCEL_BATCH]))
        return done

    def _heard(self, message: dict[str, object]) -> None:
        self._registration.forget(str(message["tenant"]), str(message["name"]))
