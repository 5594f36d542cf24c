"""Event filters and the revision of what a tenant's events start (behaviour-core C-12.16 to C-12.28).

Whoever changes filters or triggers calls :func:`bump` in the same transaction: after the workflow's row, if that is
locked, and before rows of filters. So all take their locks in one order, and changes of one tenant follow each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from hatchet.core.clock import Ids
from hatchet.core.event_triggers import Filter, TriggeredWorkflow, Triggers
from hatchet.core.json_texts import EMPTY_OBJECT
from hatchet.core.rules import DefaultFilter
from hatchet.store.pool import Queries, Row


@dataclass(slots=True, frozen=True, kw_only=True)
class FilterRecord:
    """A filter as people see it; times in seconds since 1970."""

    id: str
    tenant_id: str
    workflow_id: str
    scope: str
    expression: str
    payload: str
    """JSON object text."""
    is_declarative: bool
    created_at: float
    updated_at: float


async def triggers_of(queries: Queries, tenant_id: str) -> Triggers:
    """What the tenant's events start now.

    The revision is read first: rows that change meanwhile make this older than its rows, which is found out when it is
    compared, never newer.
    """
    revisions = await queries.fetch("trigger_revision_read", tenant_id)
    workflows = await queries.fetch("trigger_list", tenant_id)
    filters = await queries.fetch("filter_all", tenant_id) if workflows else []
    return Triggers(
        [TriggeredWorkflow(str(row["id"]), row["name"], tuple(orjson.loads(row["keys"]))) for row in workflows],
        [
            Filter(str(row["id"]), str(row["workflow_id"]), row["scope"], row["expression"], row["payload"])
            for row in filters
        ],
        revisions[0]["revision"] if revisions else 0,
    )


async def bump(transaction: Queries, tenant_id: str) -> None:
    """What instances remember of the tenant's triggers and filters is no longer true."""
    await transaction.execute("trigger_revision_bump", tenant_id)


async def hold_revisions(transaction: Queries, tenant_ids: Sequence[str]) -> None:
    """Keep these tenants' triggers and filters as they are until the end of the transaction."""
    await transaction.execute("trigger_revision_hold", sorted(set(tenant_ids)))


async def list_filters(
    queries: Queries,
    tenant_id: str,
    *,
    workflow_ids: Sequence[str] | None,
    scopes: Sequence[str] | None,
    offset: int,
    limit: int,
) -> tuple[list[FilterRecord], int]:
    """One page of the filters, the oldest first, and how many there are on all pages. None stands for all."""
    wanted = (tenant_id, workflow_ids or None, scopes or None)
    [counted] = await queries.fetch("filter_count", *wanted)
    return [_record(row) for row in await queries.fetch("filter_list", *wanted, offset, limit)], int(counted["total"])


async def get_filter(queries: Queries, tenant_id: str, filter_id: str) -> FilterRecord | None:
    """One filter; None when the tenant has no such filter."""
    rows = await queries.fetch("filter_one", tenant_id, filter_id)
    return _record(rows[0]) if rows else None


async def hold_workflow(transaction: Queries, tenant_id: str, workflow_id: str) -> bool:
    """Whether the tenant has the workflow, which then stays until the end of the transaction."""
    return bool(await transaction.fetch("workflow_hold", tenant_id, workflow_id))


async def add_filters(
    transaction: Queries,
    tenant_id: str,
    workflow_id: str,
    filters: Sequence[tuple[str, DefaultFilter]],
    *,
    is_declarative: bool,
    now: float,
) -> int:
    """Write new filters, each with its id; how many were new. Those that the workflow has already are left out."""
    return await transaction.execute(
        "filter_add",
        [filter_id for filter_id, _ in filters],
        [one.scope for _, one in filters],
        [one.expression for _, one in filters],
        [one.payload or EMPTY_OBJECT for _, one in filters],
        tenant_id,
        workflow_id,
        is_declarative,
        now,
        [_fingerprint(one) for _, one in filters],
    )


async def change_filter(
    transaction: Queries, tenant_id: str, filter_id: str, wanted: DefaultFilter, now: float
) -> bool:
    """Give a filter another scope, expression and payload; False when its workflow has such a filter already."""
    return bool(
        await transaction.execute(
            "filter_change",
            tenant_id,
            filter_id,
            wanted.scope,
            wanted.expression,
            wanted.payload,
            _fingerprint(wanted),
            now,
        )
    )


async def remove_filter(transaction: Queries, tenant_id: str, filter_id: str) -> None:
    """Delete a filter."""
    await transaction.execute("filter_remove", tenant_id, filter_id)


async def declare_filters(
    transaction: Queries, ids: Ids, tenant_id: str, workflow_id: str, filters: Sequence[DefaultFilter], now: float
) -> None:
    """Replace the filters of a workflow that are declared in code; an empty list leaves them (C-3.36)."""
    if filters:
        await transaction.execute("filter_remove_declared", tenant_id, workflow_id)
        named = [(ids.new(), one) for one in filters]
        await add_filters(transaction, tenant_id, workflow_id, named, is_declarative=True, now=now)


def _fingerprint(one: DefaultFilter) -> bytes:
    """The same for filters that are the same (C-12.25), in whatever order the payload's keys are."""
    payload = json.loads(one.payload or EMPTY_OBJECT)
    text = json.dumps([one.scope, one.expression, payload], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _record(row: Row) -> FilterRecord:
    return FilterRecord(
        id=str(row["id"]),
        tenant_id=str(row["tenant_id"]),
        workflow_id=str(row["workflow_id"]),
        scope=row["scope"],
        expression=row["expression"],
        payload=row["payload"],
        is_declarative=row["is_declarative"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
