"""Rate limits: what people and tasks ask for, and what the tenant's owner has taken (behaviour-core C-10)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from hatchet.core.limits import short_key
from hatchet.core.rate_limits import KeyState
from hatchet.core.rules import Window
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database, Queries, Row
from hatchet.store.tasks import NewAssignment

PAGE = 5000


@dataclass(slots=True, frozen=True)
class StoredLimit:
    """A row as the owner takes it over; times in seconds since 1970."""

    key: str
    limit: int | None
    """None: the key is only paused."""
    window: Window | None
    paused_until: float | None
    units_left: int | None
    refilled_at: float | None
    updated_at: float


@dataclass(slots=True, frozen=True, kw_only=True)
class LimitRecord:
    """A rate limit as people see it; times in seconds since 1970."""

    key: str
    limit: int
    value: int
    """Units left at the time of reading."""
    window: Window
    refilled_at: float
    paused_until: float | None


async def put_limit(queries: Queries, tenant_id: str, key: str, limit: int, window: Window, at: float) -> None:
    """Set a tenant-wide limit (C-10.1, C-10.2)."""
    await queries.execute("rate_limit_put", tenant_id, key, limit, window.value, at)


async def pause_limit(queries: Queries, tenant_id: str, key: str, until: float, at: float) -> float:
    """Pause a key, which may not exist yet; until when it is paused now, never earlier than before (C-10.4)."""
    [row] = await queries.fetch("rate_limit_pause", tenant_id, key, until, at)
    return float(row["paused_until"])


async def delete_limit(queries: Queries, tenant_id: str, key: str) -> list[str]:
    """Delete a key and its pause; the keys that there were (R-17.2). A long key may be named in full or as listed."""
    rows = await queries.fetch("rate_limit_delete", tenant_id, sorted({key, short_key(key)}))
    return [row["key"] for row in rows]


async def forget_limits(queries: Queries, now: float) -> int:
    """Drop limits of dynamic keys that nobody has used for two days, or two years where windows are long; how many."""
    return await queries.execute("rate_limit_forget", now - 2 * 86_400, now - 2 * 366 * 86_400)


async def all_limits(queries: Queries, tenant_id: str, page: int = PAGE) -> AsyncIterator[list[StoredLimit]]:
    """All rows of the tenant, page by page."""
    last = ""
    while True:
        rows = await queries.fetch("rate_limit_page", tenant_id, last, page)
        if rows:
            yield [_stored(row) for row in rows]
        if len(rows) < page:
            return
        last = rows[-1]["key"]


async def limits_by_keys(queries: Queries, tenant_id: str, keys: Sequence[str]) -> dict[str, StoredLimit]:
    """The rows of these keys; those that are not there are absent."""
    rows = await queries.fetch("rate_limit_by_keys", tenant_id, list(keys))
    return {row["key"]: _stored(row) for row in rows}


async def list_limits(
    queries: Queries,
    tenant_id: str,
    *,
    search: str | None,
    order_by: str,
    is_descending: bool,
    now: float,
    offset: int,
    limit: int,
) -> tuple[Sequence[LimitRecord], int]:
    """One page of the limits whose key contains ``search``, and how many there are on all pages (R-17.1).

    ``order_by``: ``key``, ``value`` or ``limitValue``.
    """
    wanted = search or None
    if wanted is not None and "\0" in wanted:
        # Neither does a key have it, nor can PostgreSQL be asked for it.
        return [], 0
    [counted] = await queries.fetch("rate_limit_count", tenant_id, wanted)
    rows = await queries.fetch("rate_limit_list", tenant_id, wanted, now, order_by, is_descending, offset, limit)
    return [_record(row) for row in rows], int(counted["total"])


async def write_states(database: Database, lease: HeldLease, tenant_id: str, states: Sequence[KeyState]) -> bool:
    """Write what the owner has taken, under its fence; False when another owner has taken over."""
    [row] = await database.fetch("rate_limit_states", lease.name, lease.epoch, tenant_id, *_columns(states))
    return bool(row["is_owner"])


async def assign_limited(
    database: Database,
    lease: HeldLease,
    tenant_id: str,
    assigned_at: float,
    rows: Sequence[NewAssignment],
    states: Sequence[KeyState],
) -> set[str]:
    """Give attempts to workers and write what was taken of rate limits, together, under the owner's fence.

    Returns the ids of the tasks that were assigned. For the others the units are to be given back.
    """
    written = await database.fetch(
        "task_assign_limited",
        lease.name,
        lease.epoch,
        tenant_id,
        assigned_at,
        [row.task_id for row in rows],
        [row.attempt for row in rows],
        [row.worker_id for row in rows],
        [row.app_retries for row in rows],
        [row.internal_retries for row in rows],
        [row.timeout_at for row in rows],
        [row.batch_id for row in rows],
        [row.batch_reason for row in rows],
        *_columns(states),
        [row.evictions for row in rows],
    )
    return {str(row["task_id"]) for row in written}


def _columns(states: Sequence[KeyState]) -> list[object]:
    # In one order for everybody who locks several rows.
    ordered = sorted(states, key=lambda state: state.key)
    return [
        [state.key for state in ordered],
        [state.limit for state in ordered],
        [None if state.window is None else state.window.value for state in ordered],
        [state.units_left for state in ordered],
        [state.refilled_at for state in ordered],
        [state.updated_at for state in ordered],
    ]


def _stored(row: Row) -> StoredLimit:
    window = row["time_window"]
    return StoredLimit(
        row["key"],
        row["limit_value"],
        None if window is None else Window(window),
        row["paused_until"],
        row["units_left"],
        row["refilled_at"],
        row["updated_at"],
    )


def _record(row: Row) -> LimitRecord:
    return LimitRecord(
        key=row["key"],
        limit=row["limit_value"],
        value=row["value"],
        window=Window(row["time_window"]),
        refilled_at=row["refilled_at"],
        paused_until=row["paused_until"],
    )
