"""Worker records: who registered, when it was last seen, which instance holds its stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from hatchet.core.messages import WorkerRegistration
from hatchet.store.pool import Database, Row


@dataclass(slots=True, frozen=True)
class WorkerRow:
    """A worker as stored; times are seconds since 1970."""

    id: str
    tenant_id: str
    name: str
    actions: frozenset[str]
    slots: dict[str, int]
    labels: dict[str, str | int]
    is_paused: bool
    is_unsubscribed: bool
    listener_instance: str | None
    last_heartbeat_at: float
    session_started_at: float | None
    language: str | None = None
    """As it registered: PYTHON, TYPESCRIPT, GO."""


async def insert_worker(
    database: Database, worker_id: str, tenant_id: str, registration: WorkerRegistration, at: float
) -> None:
    """Each registration is a new worker, also for a repeated name (behaviour-core C-2.5)."""
    await database.execute(
        "worker_insert",
        worker_id,
        tenant_id,
        registration.name,
        list(registration.actions),
        orjson.dumps(registration.slots).decode(),
        orjson.dumps(registration.labels).decode(),
        registration.sdk_version,
        registration.language,
        registration.language_version,
        registration.os,
        registration.runtime_extra,
        at,
    )


async def forget_workers(database: Database, before: float) -> None:
    """Drop workers that were last seen before a time: every start of a process registers a new one."""
    await database.execute("worker_forget", before)


async def workers_by_id(database: Database, tenant_id: str, ids: Sequence[str]) -> list[WorkerRow]:
    """The named workers of a tenant; unknown ids are absent."""
    return [_worker(row) for row in await database.fetch("worker_by_id", tenant_id, ids)]


async def recent_workers(
    database: Database, tenant_id: str, seen_since: float, also: Sequence[str] = ()
) -> list[WorkerRow]:
    """The workers seen since a time, and those named in ``also``."""
    return [_worker(row) for row in await database.fetch("worker_recent", tenant_id, seen_since, also)]


async def write_heartbeats(database: Database, seen: Sequence[tuple[str, float]]) -> None:
    """Flush the heartbeats that were kept in memory, together."""
    await database.execute("worker_heartbeats", [worker_id for worker_id, _ in seen], [at for _, at in seen])


async def open_session(database: Database, tenant_id: str, worker_id: str, instance_id: str, at: float) -> None:
    """A stream to the worker is open on this instance; opening counts as a heartbeat (C-2.44)."""
    await database.execute("worker_session_opened", tenant_id, worker_id, instance_id, at)


async def close_session(database: Database, tenant_id: str, worker_id: str, instance_id: str) -> None:
    """The last stream to the worker on this instance is gone."""
    await database.execute("worker_session_closed", tenant_id, worker_id, instance_id)


async def unsubscribe(database: Database, tenant_id: str, worker_id: str, at: float) -> None:
    """The worker wants no more work (C-2.36)."""
    await database.execute("worker_unsubscribe", tenant_id, worker_id, at)


async def pause(database: Database, tenant_id: str, worker_id: str, paused: bool) -> None:
    """Stop or resume giving work to the worker (C-2.38)."""
    await database.execute("worker_pause", tenant_id, worker_id, paused)


async def merge_labels(database: Database, tenant_id: str, worker_id: str, labels: dict[str, str | int]) -> None:
    """Replace the given label keys and keep the others (C-2.40)."""
    await database.execute("worker_labels_merge", tenant_id, worker_id, orjson.dumps(labels).decode())


def _worker(row: Row) -> WorkerRow:
    listener = row["listener_instance"]
    return WorkerRow(
        id=str(row["id"]),
        tenant_id=str(row["tenant_id"]),
        name=row["name"],
        actions=frozenset(row["actions"]),
        slots=orjson.loads(row["slots"]),
        labels=orjson.loads(row["labels"]),
        is_paused=row["is_paused"],
        is_unsubscribed=row["is_unsubscribed"],
        listener_instance=None if listener is None else str(listener),
        last_heartbeat_at=row["last_heartbeat_at"] or 0.0,
        session_started_at=row["session_started_at"],
        language=row["language"],
    )
