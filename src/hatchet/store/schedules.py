"""What is due of the crons and scheduled runs, and what becomes of it (behaviour-core C-14).

A row is read, then locked as it was read, and changed in the transaction that writes its runs: nothing fires twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hatchet.core.clock import Ids
from hatchet.core.definitions import DEFAULT_PRIORITY, WorkflowDefinition
from hatchet.core.schedules import next_after, split_zone
from hatchet.store.pool import Connected, Queries, Row


@dataclass(slots=True, frozen=True, kw_only=True)
class DueCron:
    """A cron whose next instant has come; times in seconds since 1970."""

    id: str
    tenant_id: str
    workflow_id: str
    workflow: str
    name: str
    expression: str
    time_zone: str
    input: str
    additional_metadata: str
    priority: int
    next_at: float
    is_dropped: bool
    """Its workflow is paused, and fires nothing meanwhile (C-4.56)."""


@dataclass(slots=True, frozen=True, kw_only=True)
class DueRun:
    """A scheduled run whose time has come."""

    id: str
    tenant_id: str
    workflow_id: str
    workflow: str
    input: str
    additional_metadata: str
    priority: int
    parent_run_id: str | None
    parent_task_id: str | None
    child_index: int | None
    child_key: str | None
    is_dropped: bool
    """Its workflow is paused, and starts nothing meanwhile (C-4.56)."""


@dataclass(slots=True, frozen=True)
class Upcoming:
    """When something is due; None: nothing ever."""

    cron_at: float | None
    scheduled_at: float | None

    @property
    def at(self) -> float | None:
        """The earlier of the two."""
        return min((at for at in (self.cron_at, self.scheduled_at) if at is not None), default=None)


async def upcoming(queries: Queries) -> Upcoming:
    """When the next cron and the next scheduled run are due."""
    [row] = await queries.fetch("schedule_next")
    return Upcoming(row["cron_at"], row["scheduled_at"])


async def due_crons(queries: Queries, now: float, limit: int, without: Sequence[str]) -> list[DueCron]:
    """The crons that are due, the oldest first, none of the tenants ``without``."""
    return [
        DueCron(
            id=str(row["id"]),
            tenant_id=str(row["tenant_id"]),
            workflow_id=str(row["workflow_id"]),
            workflow=row["workflow"],
            name=row["name"],
            expression=row["expression"],
            time_zone=row["time_zone"],
            input=row["input"].decode(),
            additional_metadata=row["additional_metadata"],
            priority=row["priority"],
            next_at=row["next_at"],
            is_dropped=row["is_dropped"],
        )
        for row in await queries.fetch("cron_due", now, limit, list(without))
    ]


async def due_runs(queries: Queries, now: float, limit: int, without: Sequence[str]) -> list[DueRun]:
    """The scheduled runs that are due, the oldest first, none of the tenants ``without``."""
    return [_due_run(row) for row in await queries.fetch("scheduled_due", now, limit, list(without))]


async def waiting_run(queries: Queries, tenant_id: str, scheduled_id: str) -> DueRun | None:
    """A scheduled run that was not started, as one that is due; None when the tenant has none with that id."""
    rows = await queries.fetch("scheduled_one", tenant_id, scheduled_id)
    return _due_run(rows[0]) if rows else None


async def lock_crons(transaction: Connected, crons: Sequence[DueCron]) -> set[str]:
    """Lock those of the crons that still are as they were read and that nobody else fires; their ids."""
    rows = await transaction.fetch("cron_lock", [cron.id for cron in crons], [cron.next_at for cron in crons])
    return {str(row["id"]) for row in rows}


async def advance_crons(transaction: Connected, next_at: Mapping[str, float | None]) -> None:
    """Set the next instants by cron id; None: it never fires again."""
    await transaction.execute("cron_advance", list(next_at), list(next_at.values()))


async def remove_crons(transaction: Queries, ids: Sequence[str]) -> None:
    """Delete crons, whoever made them."""
    await transaction.execute("cron_remove", list(ids))


async def lock_runs(transaction: Connected, ids: Sequence[str], due_until: float) -> set[str]:
    """Lock those of the scheduled runs that are due, were not started and that nobody else starts; their ids."""
    return {str(row["id"]) for row in await transaction.fetch("scheduled_lock", list(ids), due_until)}


async def runs_started(transaction: Connected, run_ids: Mapping[str, str | None], at: float) -> None:
    """The run of each scheduled run; None when it came to nothing."""
    await transaction.execute("scheduled_started", list(run_ids), list(run_ids.values()), at)


async def forget_scheduled(queries: Queries, before: float) -> int:
    """Delete the scheduled runs that were started before then; how many."""
    return await queries.execute("scheduled_forget", before)


async def declare_crons(
    transaction: Connected, ids: Ids, tenant_id: str, workflow_id: str, definition: WorkflowDefinition, now: float
) -> None:
    """Make the declared crons of a workflow those of its new version (C-3.35, C-14.16).

    Those of API and the switch of an expression that stays are left alone. Raises InvalidArgument for an expression
    that is none.
    """
    expressions = list(dict.fromkeys(definition.cron_triggers))
    await transaction.execute("cron_undeclare", workflow_id, expressions)
    if not expressions:
        return
    zones = [split_zone(expression)[0] for expression in expressions]
    await transaction.execute(
        "cron_declare",
        tenant_id,
        workflow_id,
        (definition.cron_input or "{}").encode(),
        definition.default_priority or DEFAULT_PRIORITY,
        now,
        [ids.new() for _ in expressions],
        expressions,
        zones,
        [next_after(expression, zone, now) for expression, zone in zip(expressions, zones, strict=True)],
    )


def _due_run(row: Row) -> DueRun:
    return DueRun(
        id=str(row["id"]),
        tenant_id=str(row["tenant_id"]),
        workflow_id=str(row["workflow_id"]),
        workflow=row["workflow"],
        input=row["input"].decode(),
        additional_metadata=row["additional_metadata"],
        priority=row["priority"],
        parent_run_id=_text(row["parent_run_id"]),
        parent_task_id=_text(row["parent_task_id"]),
        child_index=row["child_index"],
        child_key=row["child_key"],
        is_dropped=row["is_dropped"],
    )


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)
