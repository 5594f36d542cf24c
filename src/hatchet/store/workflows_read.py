"""Workflows as people and clients see them (behaviour-rest R-13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.held import DuringPause
from hatchet.store.pool import Queries, Row

VERSIONS_SHOWN = 100
"""How many of its versions a single workflow is shown with, the newest ones."""


@dataclass(slots=True, frozen=True, kw_only=True)
class VersionRecord:
    """One version of a workflow; times in seconds since 1970."""

    id: str
    order: int
    version: str
    """What its definition calls it; may be empty."""
    created_at: float


@dataclass(slots=True, frozen=True, kw_only=True)
class WorkflowRecord:
    """A workflow at the time of reading."""

    id: str
    tenant_id: str
    name: str
    description: str
    """That of the newest version."""
    created_at: float
    is_paused: bool
    crons: DuringPause | None
    """What the pause means for its crons; None while it is not paused."""
    scheduled: DuringPause | None
    versions: tuple[VersionRecord, ...]
    """The newest first; never empty."""


@dataclass(slots=True, frozen=True, kw_only=True)
class VersionDetails:
    """One version with its definition."""

    id: str
    order: int
    definition: str
    """JSON text, as :func:`hatchet.core.definitions.to_json` made it."""
    created_at: float


@dataclass(slots=True, frozen=True)
class WorkflowsRead:
    """Reads workflows, inside a tenant. One without a version does not exist for readers (R-13.3)."""

    database: Queries

    async def list(
        self, tenant_id: str, *, name: str | None, offset: int, limit: int
    ) -> tuple[Sequence[WorkflowRecord], int]:
        """One page of the workflows, with their newest version only, and how many there are on all pages.

        ``name``: what their names contain, whatever the case. The one of exactly that name comes first, the others the
        newest first (R-13.1).
        """
        wanted = name or None
        if wanted is not None and "\0" in wanted:
            # Neither does a name have it, nor can PostgreSQL be asked for it.
            return [], 0
        [counted] = await self.database.fetch("workflow_read_count", tenant_id, wanted)
        rows = await self.database.fetch("workflow_read_list", tenant_id, wanted, offset, limit)
        return [_record([row]) for row in rows], int(counted["total"])

    async def get(self, tenant_id: str, workflow_id: str) -> WorkflowRecord | None:
        """One workflow, None when the tenant has no such workflow."""
        rows = await self.database.fetch("workflow_read_one", tenant_id, workflow_id, VERSIONS_SHOWN)
        return _record(rows) if rows else None

    async def version(self, tenant_id: str, workflow_id: str, version_id: str | None) -> VersionDetails | None:
        """A version of a workflow, by default the newest one; None when the workflow has no such version."""
        rows = await self.database.fetch("workflow_read_version", tenant_id, workflow_id, version_id)
        if not rows:
            return None
        [row] = rows
        return VersionDetails(
            id=str(row["id"]),
            order=row["version_order"],
            definition=row["definition"],
            created_at=row["created_at"],
        )

    async def definition(self, tenant_id: str, version_id: str) -> str | None:
        """The registered definition of a version as JSON text; None when the tenant has no such version."""
        rows = await self.database.fetch("definition_of_version", tenant_id, version_id)
        return str(rows[0]["definition"]) if rows else None

    async def tenant_of(self, workflow_id: str) -> str | None:
        """The tenant that the workflow belongs to, None when nobody has such a workflow."""
        rows = await self.database.fetch("workflow_read_tenant", workflow_id)
        return str(rows[0]["tenant_id"]) if rows else None


def _record(rows: Sequence[Row]) -> WorkflowRecord:
    newest = rows[0]
    crons, scheduled = newest["paused_crons"], newest["paused_scheduled"]
    return WorkflowRecord(
        id=str(newest["id"]),
        tenant_id=str(newest["tenant_id"]),
        name=newest["name"],
        description=newest["description"] or "",
        created_at=newest["created_at"],
        is_paused=newest["is_paused"],
        crons=DuringPause(crons) if crons is not None else None,
        scheduled=DuringPause(scheduled) if scheduled is not None else None,
        versions=tuple(
            VersionRecord(
                id=str(row["version_id"]),
                order=row["version_order"],
                version=row["version"] or "",
                created_at=row["version_created_at"],
            )
            for row in rows
        ),
    )
