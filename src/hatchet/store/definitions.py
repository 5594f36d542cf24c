"""Workflows and their versions. A version is immutable, and stays when its workflow is deleted: runs are of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hatchet.core.clock import Ids
from hatchet.core.definitions import StoredVersion, WorkflowDefinition, checksum, from_json, stored_version, to_json
from hatchet.store.filters import bump, declare_filters
from hatchet.store.pool import Connected, Database, Queries, Row
from hatchet.store.schedules import declare_crons


@dataclass(slots=True, frozen=True)
class Registered:
    """A stored version with the checksum that decides whether a registration repeats it (C-3.29)."""

    version: StoredVersion
    checksum: str


async def latest_versions(queries: Queries, tenant_id: str, names: Collection[str]) -> dict[str, Registered]:
    """The newest version of each of the workflows that exist, by name."""
    rows = await queries.fetch("definition_latest", tenant_id, list(names))
    return {registered.version.name: registered for registered in map(_registered, rows)}


async def versions_by_id(queries: Queries, ids: Collection[str]) -> dict[str, StoredVersion]:
    """The versions that exist, by id."""
    rows = await queries.fetch("definition_versions", list(ids))
    return {version.id: version for version in (_registered(row).version for row in rows)}


async def add_version(
    database: Database, ids: Ids, tenant_id: str, definition: WorkflowDefinition, *, now: float
) -> StoredVersion:
    """Make ``definition`` the newest version of its workflow, unless the newest one already equals it.

    The workflow's row is locked meanwhile: of equal concurrent calls one inserts, the others get its version (C-3.2).
    """
    async with database.transaction() as transaction:
        workflow_id = await _locked_workflow(transaction, ids, tenant_id, definition.name, now)
        newest = (await latest_versions(transaction, tenant_id, [definition.name])).get(definition.name)
        wanted = checksum(definition)
        if newest is not None and newest.checksum == wanted:
            return newest.version
        task_ids = {task.readable_id: ids.new() for task in definition.all_tasks}
        version = stored_version(
            definition,
            task_ids,
            version_id=ids.new(),
            tenant_id=tenant_id,
            workflow_id=workflow_id,
            order=newest.version.order + 1 if newest is not None else 1,
        )
        await _insert(transaction, version, definition, task_ids, wanted, now)
        await declare_crons(transaction, ids, tenant_id, workflow_id, definition, now)
        before = newest.version.event_triggers if newest is not None else ()
        if definition.default_filters or set(before) != set(definition.event_triggers):
            await bump(transaction, tenant_id)
            await declare_filters(transaction, ids, tenant_id, workflow_id, definition.default_filters, now)
        return version


async def _locked_workflow(transaction: Connected, ids: Ids, tenant_id: str, name: str, now: float) -> str:
    # A loop, because a workflow can be deleted between the two statements.
    while True:
        await transaction.execute("definition_add_workflow", ids.new(), tenant_id, name, now)
        rows = await transaction.fetch("definition_lock_workflow", tenant_id, name)
        if rows:
            return str(rows[0]["id"])


async def _insert(
    transaction: Connected,
    version: StoredVersion,
    definition: WorkflowDefinition,
    task_ids: Mapping[str, str],
    digest: str,
    now: float,
) -> None:
    await transaction.execute(
        "definition_add_version",
        version.id,
        version.tenant_id,
        version.workflow_id,
        version.order,
        digest,
        to_json(definition, task_ids),
        now,
    )


def _registered(row: Row) -> Registered:
    definition, task_ids = from_json(row["definition"])
    version = stored_version(
        definition,
        task_ids,
        version_id=str(row["id"]),
        tenant_id=str(row["tenant_id"]),
        workflow_id=str(row["workflow_id"]),
        order=row["version_order"],
    )
    return Registered(version, row["checksum"])
