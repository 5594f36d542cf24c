"""What child runs take over from the task that spawned them (behaviour-core C-4.8, C-4.12, C-4.21 to C-4.23)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from hatchet.core.errors import InvalidArgument
from hatchet.core.payloads import TaskPayload
from hatchet.store.pool import Database

RESERVED = "hatchet__"
"""Metadata keys of the engine and the clients (C-4.21)."""
CACHED_PARENTS = 10_000


@dataclass(slots=True, frozen=True)
class _Parent:
    tenant_id: str
    run_id: str
    metadata: dict[str, Any]
    """Without reserved keys."""


class Parents:
    """Looks spawning tasks up; what a task is never changes, so answers are remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, _Parent] = OrderedDict()

    async def inherit(self, tenant_id: str, payloads: Sequence[TaskPayload]) -> list[TaskPayload]:
        """The payloads with what children inherit; others come back as they are.

        A child's own metadata wins over its parent's. Reserved keys in the request are dropped, because clients copy
        those of the running task; the parent's ids are added (C-4.22). Raises InvalidArgument for an unknown parent.
        """
        wanted = {payload.parent_task_id for payload in payloads if payload.parent_task_id}
        if not wanted:
            return list(payloads)
        await self._look_up(tenant_id, wanted)
        missing = sorted(task_id for task_id in wanted if self._get(tenant_id, task_id) is None)
        if missing:
            raise InvalidArgument(f"parent_task_run_external_id: no such task: {', '.join(missing)}")
        return [self._inherited(tenant_id, payload) for payload in payloads]

    async def _look_up(self, tenant_id: str, task_ids: set[str]) -> None:
        unknown = [task_id for task_id in task_ids if self._get(tenant_id, task_id) is None]
        if not unknown:
            return
        for row in await self._database.fetch("task_parents", tenant_id, unknown):
            metadata = orjson.loads(row["additional_metadata"] or "{}")
            self._known[str(row["id"])] = _Parent(tenant_id, str(row["run_id"]), _unreserved(metadata))
        while len(self._known) > CACHED_PARENTS + len(task_ids):
            self._known.popitem(last=False)

    def _get(self, tenant_id: str, task_id: str) -> _Parent | None:
        parent = self._known.get(task_id)
        return parent if parent is not None and parent.tenant_id == tenant_id else None

    def _inherited(self, tenant_id: str, payload: TaskPayload) -> TaskPayload:
        parent = self._get(tenant_id, payload.parent_task_id or "")
        if parent is None or payload.parent_task_id is None:
            return payload
        own = _unreserved(orjson.loads(payload.additional_metadata or "{}"))
        metadata = {
            **parent.metadata,
            **own,
            f"{RESERVED}parent_workflow_run_id": parent.run_id,
            f"{RESERVED}parent_step_run_id": payload.parent_task_id,
        }
        return replace(
            payload,
            additional_metadata=orjson.dumps(metadata).decode(),
            parent_run_id=payload.parent_run_id or parent.run_id,
        )


def _unreserved(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if not key.startswith(RESERVED)}
