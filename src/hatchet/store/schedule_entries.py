"""Crons and scheduled runs as people see and change them (behaviour-rest R-15, R-16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hatchet.store.pool import Queries, Row

Pairs = Sequence[tuple[str, str]]


class Method(Enum):
    """Who made it: the code of the workflow, or a caller."""

    DEFAULT = "DEFAULT"
    API = "API"


@dataclass(slots=True, frozen=True, kw_only=True)
class CronRecord:
    """A cron with the newest version of its workflow; times in seconds since 1970."""

    id: str
    tenant_id: str
    workflow_id: str
    workflow: str
    version_id: str
    name: str
    expression: str
    time_zone: str
    method: Method
    input: str
    additional_metadata: str
    priority: int
    is_enabled: bool
    created_at: float
    updated_at: float


@dataclass(slots=True, frozen=True, kw_only=True)
class ScheduledRecord:
    """A scheduled run with the newest version of its workflow; times in seconds since 1970."""

    id: str
    tenant_id: str
    workflow_id: str
    workflow: str
    version_id: str
    method: Method
    input: str
    additional_metadata: str
    priority: int
    trigger_at: float
    run_id: str | None
    triggered_at: float | None
    created_at: float
    updated_at: float


@dataclass(slots=True, frozen=True, kw_only=True)
class CronFilter:
    """Which crons are listed, in which order; None: all."""

    workflow_id: str | None = None
    workflow: str | None = None
    name: str | None = None
    additional_metadata: Pairs = ()
    by_name: bool = False
    descending: bool = True


@dataclass(slots=True, frozen=True, kw_only=True)
class ScheduledFilter:
    """Which scheduled runs are meant; None: all."""

    workflow_id: str | None = None
    parent_run_id: str | None = None
    parent_task_id: str | None = None
    additional_metadata: Pairs = ()

    @property
    def arguments(self) -> tuple[object, ...]:
        """As the statements take them."""
        keys, values = _columns(self.additional_metadata)
        return (self.workflow_id, self.parent_run_id, self.parent_task_id, keys, values)


class Added(Enum):
    """What became of a new cron."""

    ADDED = "ADDED"
    KNOWN = "KNOWN"
    """The workflow has one of that name and expression (C-14.5)."""
    NO_WORKFLOW = "NO_WORKFLOW"


async def add_cron(queries: Queries, cron: CronRecord, next_at: float | None) -> Added:
    """Write a new cron; its version is not stored."""
    [row] = await queries.fetch(
        "cron_add",
        cron.id,
        cron.tenant_id,
        cron.workflow_id,
        cron.name,
        cron.expression,
        cron.time_zone,
        cron.input.encode(),
        cron.additional_metadata,
        cron.priority,
        next_at,
        cron.created_at,
    )
    if not row["is_found"]:
        return Added.NO_WORKFLOW
    return Added.ADDED if row["is_added"] else Added.KNOWN


async def one_cron(queries: Queries, tenant_id: str, cron_id: str) -> CronRecord | None:
    """One cron, None when the tenant has no such cron."""
    rows = await queries.fetch("cron_one", tenant_id, cron_id)
    return _cron(rows[0]) if rows else None


async def list_crons(
    queries: Queries, tenant_id: str, wanted: CronFilter, offset: int, limit: int
) -> tuple[list[CronRecord], int]:
    """A page of crons, and how many there are on all pages (0 behind the last)."""
    keys, values = _columns(wanted.additional_metadata)
    rows = await queries.fetch(
        "cron_list",
        tenant_id,
        wanted.workflow_id,
        wanted.workflow,
        wanted.name,
        keys,
        values,
        "name" if wanted.by_name else "createdAt",
        wanted.descending,
        offset,
        limit,
    )
    return [_cron(row) for row in rows], int(rows[0]["total"]) if rows else 0


async def switch_cron(
    queries: Queries, tenant_id: str, cron_id: str, is_enabled: bool, next_at: float | None, at: float
) -> None:
    """Switch a cron on or off; one that stands so already is left alone."""
    await queries.execute("cron_switch", tenant_id, cron_id, is_enabled, next_at, at)


async def delete_cron(queries: Queries, tenant_id: str, cron_id: str) -> bool:
    """Delete a cron that is not declared in code; whether there was one."""
    return bool(await queries.execute("cron_delete", tenant_id, cron_id))


@dataclass(slots=True, frozen=True, kw_only=True)
class NewScheduled:
    """What scheduled runs that are made together have in common."""

    tenant_id: str
    workflow_id: str
    input: str
    additional_metadata: str
    priority: int
    parent_run_id: str | None = None
    parent_task_id: str | None = None
    child_index: int | None = None
    child_key: str | None = None


async def add_scheduled(queries: Queries, new: NewScheduled, times: Sequence[tuple[str, float]], at: float) -> bool:
    """Write a scheduled run for each (id, time); whether the workflow is there."""
    added = await queries.execute(
        "scheduled_add",
        [scheduled_id for scheduled_id, _ in times],
        [trigger_at for _, trigger_at in times],
        new.tenant_id,
        new.workflow_id,
        new.input.encode(),
        new.additional_metadata,
        new.priority,
        new.parent_run_id,
        new.parent_task_id,
        new.child_index,
        new.child_key,
        at,
    )
    return added == len(times)


async def some_scheduled(queries: Queries, tenant_id: str, ids: Sequence[str]) -> dict[str, ScheduledRecord]:
    """Scheduled runs of the tenant by id."""
    rows = await queries.fetch("scheduled_some", tenant_id, list(ids))
    return {record.id: record for record in map(_scheduled, rows)}


async def list_scheduled(
    queries: Queries,
    tenant_id: str,
    wanted: ScheduledFilter,
    *,
    is_triggered: bool | None,
    by_creation: bool,
    descending: bool,
    offset: int,
    limit: int,
) -> tuple[list[ScheduledRecord], int]:
    """A page of scheduled runs, and how many there are on all pages (0 behind the last)."""
    order = "createdAt" if by_creation else "triggerAt"
    rows = await queries.fetch(
        "scheduled_list", tenant_id, *wanted.arguments, is_triggered, order, descending, offset, limit
    )
    return [_scheduled(row) for row in rows], int(rows[0]["total"]) if rows else 0


async def matching_scheduled(
    queries: Queries, tenant_id: str, wanted: ScheduledFilter, after: str, limit: int
) -> list[tuple[str, Method]]:
    """Scheduled runs that were not started, in the order of their ids."""
    rows = await queries.fetch("scheduled_matching", tenant_id, *wanted.arguments, after, limit)
    return [(str(row["id"]), Method(row["method"])) for row in rows]


async def move_scheduled(queries: Queries, tenant_id: str, times: dict[str, float], at: float) -> set[str]:
    """Give scheduled runs other times by id; the ids of those that could still be moved."""
    rows = await queries.fetch("scheduled_move", tenant_id, list(times), list(times.values()), at)
    return {str(row["id"]) for row in rows}


async def delete_scheduled(queries: Queries, tenant_id: str, ids: Sequence[str]) -> set[str]:
    """Delete scheduled runs; the ids of those that could still be deleted."""
    return {str(row["id"]) for row in await queries.fetch("scheduled_delete", tenant_id, list(ids))}


def _columns(pairs: Pairs) -> tuple[list[str], list[str]]:
    return [key for key, _ in pairs], [value for _, value in pairs]


def _cron(row: Row) -> CronRecord:
    return CronRecord(
        id=str(row["id"]),
        tenant_id=str(row["tenant_id"]),
        workflow_id=str(row["workflow_id"]),
        workflow=row["workflow"],
        version_id=str(row["version_id"]),
        name=row["name"],
        expression=row["expression"],
        time_zone=row["time_zone"],
        method=Method(row["method"]),
        input=row["input"].decode(),
        additional_metadata=row["additional_metadata"],
        priority=row["priority"],
        is_enabled=row["is_enabled"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _scheduled(row: Row) -> ScheduledRecord:
    return ScheduledRecord(
        id=str(row["id"]),
        tenant_id=str(row["tenant_id"]),
        workflow_id=str(row["workflow_id"]),
        workflow=row["workflow"],
        version_id=str(row["version_id"]),
        method=Method(row["method"]),
        input=row["input"].decode(),
        additional_metadata=row["additional_metadata"],
        priority=row["priority"],
        trigger_at=row["trigger_at"],
        run_id=None if row["run_id"] is None else str(row["run_id"]),
        triggered_at=row["triggered_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
