"""Workers as people and clients see them: the record, and the status that follows from it (behaviour-core C-2.39)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum

from hatchet.core.clock import Clock
from hatchet.store.pool import Queries, Row

ACTIVE_SECONDS = 5.0
"""A worker without heartbeat for longer is INACTIVE."""

LISTED_SECONDS = 86400.0
"""A worker without heartbeat for longer is not listed (behaviour-rest R-14.1)."""


class WorkerStatus(Enum):
    """Status by its wire name."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    PAUSED = "PAUSED"


@dataclass(slots=True, frozen=True, kw_only=True)
class WorkerRecord:
    """A worker with its status at the time of reading; times in seconds since 1970."""

    id: str
    name: str
    actions: tuple[str, ...]
    slots: dict[str, int]
    labels: dict[str, str | int]
    created_at: float
    status: WorkerStatus = WorkerStatus.INACTIVE
    sdk_version: str | None = None
    language: str | None = None
    language_version: str | None = None
    os: str | None = None
    runtime_extra: str | None = None
    is_paused: bool = False
    listener_instance: str | None = None
    last_heartbeat_at: float | None = None
    session_started_at: float | None = None
    unsubscribed_at: float | None = None


@dataclass(slots=True, frozen=True)
class WorkflowName:
    """A workflow that a worker can run."""

    id: str
    name: str


@dataclass(slots=True, frozen=True)
class WorkersRead:
    """Reads workers.

    ``heartbeats`` tells the time of the last heartbeat that this instance has in memory (None when it has none),
    because heartbeats reach the table later, together. ``slack_seconds`` is how much later they may reach it from other
    instances.
    """

    database: Queries
    clock: Clock
    heartbeats: Callable[[str], float | None] = field(default=lambda _worker_id: None)
    slack_seconds: float = 0.0

    async def list(self, tenant_id: str) -> list[WorkerRecord]:
        """The tenant's workers of the last 24 hours, oldest first."""
        now = self.clock.now()
        rows = await self.database.fetch("worker_read_list", tenant_id, now - LISTED_SECONDS)
        return [self._seen(_record(row), now) for row in rows]

    async def get(self, tenant_id: str, worker_id: str) -> WorkerRecord | None:
        """One worker, None when the tenant has no such worker."""
        rows = await self.database.fetch("worker_read_one", tenant_id, worker_id)
        return self._seen(_record(rows[0]), self.clock.now()) if rows else None

    async def tenant_of(self, worker_id: str) -> str | None:
        """The tenant that the worker belongs to, None when nobody has such a worker."""
        rows = await self.database.fetch("worker_read_tenant", worker_id)
        return str(rows[0]["tenant_id"]) if rows else None

    async def workflows(self, tenant_id: str, record: WorkerRecord) -> tuple[WorkflowName, ...]:
        """The workflows that the worker can run a task of."""
        rows = await self.database.fetch("worker_read_workflows", tenant_id, list(record.actions))
        return tuple(WorkflowName(str(row["id"]), row["name"]) for row in rows)

    async def connected(self) -> int:
        """How many workers of all tenants have an open stream."""
        since = self.clock.now() - ACTIVE_SECONDS - self.slack_seconds
        return int((await self.database.fetch("worker_read_connected", since))[0]["connected"])

    def _seen(self, record: WorkerRecord, now: float) -> WorkerRecord:
        remembered = self.heartbeats(record.id)
        slack = self.slack_seconds if remembered is None else 0.0
        times = [at for at in (record.last_heartbeat_at, remembered) if at is not None]
        record = replace(record, last_heartbeat_at=max(times, default=None))
        return replace(record, status=status(record, now, slack))


def status(record: WorkerRecord, now: float, slack_seconds: float = 0.0) -> WorkerStatus:
    """The status of C-2.39; a worker that signed off and sent nothing since is INACTIVE at once (R-14.9)."""
    seen = record.last_heartbeat_at
    if seen is None or now - seen > ACTIVE_SECONDS + slack_seconds:
        return WorkerStatus.INACTIVE
    if record.unsubscribed_at is not None and seen <= record.unsubscribed_at:
        return WorkerStatus.INACTIVE
    return WorkerStatus.PAUSED if record.is_paused else WorkerStatus.ACTIVE


def _record(row: Row) -> WorkerRecord:
    listener = row["listener_instance"]
    return WorkerRecord(
        id=str(row["id"]),
        name=row["name"],
        actions=tuple(row["actions"]),
        slots=json.loads(row["slots"]),
        labels=json.loads(row["labels"]),
        created_at=row["created_at"],
        sdk_version=row["sdk_version"],
        language=row["language"],
        language_version=row["language_version"],
        os=row["os"],
        runtime_extra=row["runtime_extra"],
        is_paused=row["is_paused"],
        listener_instance=None if listener is None else str(listener),
        last_heartbeat_at=row["last_heartbeat_at"],
        session_started_at=row["session_started_at"],
        unsubscribed_at=row["unsubscribed_at"],
    )
