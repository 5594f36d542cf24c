"""Which workflows are paused, and how (behaviour-core C-4.52)."""

from __future__ import annotations

from hatchet.core.durations import parse_duration
from hatchet.core.held import Pause, PauseSettings
from hatchet.store.pool import Queries, Row


async def pause_workflow(
    queries: Queries, tenant_id: str, workflow_id: str, settings: PauseSettings, at: float
) -> bool:
    """Pause the workflow, or change the settings of its pause; whether the tenant has such a workflow."""
    touched = await queries.execute(
        "workflow_pause",
        tenant_id,
        workflow_id,
        at,
        settings.queue_ttl,
        settings.crons.value,
        settings.scheduled.value,
    )
    return bool(touched)


async def end_pause(queries: Queries, tenant_id: str, workflow_id: str, at: float) -> None:
    """End the workflow's pause; without one nothing changes."""
    await queries.execute("workflow_pause_end", tenant_id, workflow_id, at)


async def workflow_pauses(queries: Queries, tenant_id: str) -> dict[str, Pause]:
    """By workflow id: the pauses that last, and what is left of those that are over."""
    rows = await queries.fetch("workflow_paused", tenant_id)
    return {str(row["id"]): _pause(row) for row in rows}


def _pause(row: Row) -> Pause:
    queue_ttl = row["paused_queue_ttl"]
    seconds = parse_duration(queue_ttl, days=True) if queue_ttl is not None else 0.0
    return Pause(row["paused_at"], seconds, row["resumed_at"])
