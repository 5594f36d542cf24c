"""Workers: list, read, pause (behaviour-rest R-14, behaviour-core C-2.37 to C-2.41)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from hatchet.core.errors import InvalidArgument
from hatchet.core.roles import Role
from hatchet.engine.worker_use import Use
from hatchet.rest.access import needs
from hatchet.rest.errors import Refused
from hatchet.rest.guard import NOT_FOUND, CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.pagination import pagination
from hatchet.rest.ports import Services
from hatchet.rest.schemas import (
    RegisteredWorkflow,
    UpdateWorkerRequest,
    Worker,
    WorkerLabel,
    WorkerList,
    WorkerRuntimeInfo,
    WorkerSlotConfig,
)
from hatchet.rest.times import maybe_instant, resource_meta
from hatchet.store.workers_read import WorkerRecord, WorkflowName

MOST_LISTED = 10_000

Language = Literal["GOLANG", "PYTHON", "TYPESCRIPT", "RUBY"]
_LANGUAGES: dict[str, Language] = {
    "GO": "GOLANG",
    "GOLANG": "GOLANG",
    "PYTHON": "PYTHON",
    "TYPESCRIPT": "TYPESCRIPT",
    "RUBY": "RUBY",
}

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/v1/tenants/{tenant}/worker", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_workers(
    tenant: str,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1)] = MOST_LISTED,
    statuses: Annotated[list[Literal["ACTIVE", "INACTIVE", "PAUSED"]] | None, Query()] = None,
    labels: Annotated[list[str] | None, Query()] = None,
    include_operators: Annotated[bool, Query(alias="includeOperators")] = False,
) -> WorkerList:
    """Workers with a heartbeat in the last 24 hours (R-14.1). There are no operators, so asking for them adds none."""
    wanted = _label_filter(labels or ())
    found = [
        record
        for record in await services.workers.list(caller.tenant_id)
        if (not statuses or record.status.value in statuses) and _has_labels(record, wanted)
    ]
    limit = min(limit, MOST_LISTED)
    uses = await services.worker_uses.of(caller.tenant_id)
    page = [worker_body(record, use=uses.get(record.id)) for record in found[offset : offset + limit]]
    return WorkerList(pagination=pagination(len(found), offset, limit), rows=page)


@router.get("/api/v1/workers/{worker}", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_worker(worker: str, caller: CallerOf, services: ServicesOf) -> Worker:
    """One worker with the workflows that it can run (R-14.6)."""
    return await _read(worker, caller.tenant_id, services)


@router.patch("/api/v1/workers/{worker}", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def update_worker(worker: str, body: UpdateWorkerRequest, caller: CallerOf, services: ServicesOf) -> Worker:
    """Pause or resume; a paused worker finishes what it has and gets nothing new (R-14.7)."""
    if body.is_paused is not None:
        await services.pausing.set_paused(caller.tenant_id, str(uuid.UUID(worker)), body.is_paused)
    return await _read(worker, caller.tenant_id, services)


async def _read(worker: str, tenant_id: str, services: Services) -> Worker:
    record = await services.workers.get(tenant_id, str(uuid.UUID(worker)))
    if record is None:
        raise Refused(404, NOT_FOUND)
    uses = await services.worker_uses.of(tenant_id)
    return worker_body(record, await services.workers.workflows(tenant_id, record), uses.get(record.id))


def worker_body(
    record: WorkerRecord, workflows: Iterable[WorkflowName] | None = None, use: Use | None = None
) -> Worker:
    """A worker in the shape of the contract (R-14.2); ``workflows`` None when they were not asked for.

    ``use``: None when it is not known; then only the limits of its slots are shown (R-14.5).
    """
    free = {} if use is None else use.free
    single = workflows is not None
    return Worker(
        metadata=resource_meta(record.id, record.created_at, record.last_heartbeat_at),
        name=record.name,
        type="SELFHOSTED",
        status=record.status.value,
        last_heartbeat_at=maybe_instant(record.last_heartbeat_at),
        last_listener_established=maybe_instant(record.session_started_at),
        dispatcher_id=None if record.listener_instance is None else uuid.UUID(record.listener_instance),
        actions=list(record.actions),
        registered_workflows=_workflows(workflows),
        slot_config={
            kind: WorkerSlotConfig(available=free.get(kind), limit=limit) for kind, limit in record.slots.items()
        },
        labels=[_label(record, key, value) for key, value in record.labels.items()],
        runtime_info=_runtime_info(record),
        recent_step_runs=[] if single else None,
        evicted_durable_task_count=None if use is None else use.evicted,
    )


def _workflows(workflows: Iterable[WorkflowName] | None) -> list[RegisteredWorkflow] | None:
    if workflows is None:
        return None
    return [RegisteredWorkflow(id=uuid.UUID(workflow.id), name=workflow.name) for workflow in workflows]


def _label(record: WorkerRecord, key: str, value: str | int) -> WorkerLabel:
    # Labels are no rows of their own; an id derived from worker and key stays the same from read to read.
    label_id = str(uuid.uuid5(uuid.UUID(record.id), key))
    return WorkerLabel(metadata=resource_meta(label_id, record.created_at), key=key, value=str(value))


def _runtime_info(record: WorkerRecord) -> WorkerRuntimeInfo:
    return WorkerRuntimeInfo(
        sdk_version=record.sdk_version,
        language=_LANGUAGES.get((record.language or "").upper()),
        language_version=record.language_version,
        os=record.os,
        runtime_extra=record.runtime_extra,
    )


def _label_filter(labels: Iterable[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for label in labels:
        key, colon, value = label.partition(":")
        if not key or not colon or ":" in value:
            raise InvalidArgument(f'labels: "{label}" must be in the format key:value, with exactly one colon.')
        wanted[key] = value
    return wanted


def _has_labels(record: WorkerRecord, wanted: dict[str, str]) -> bool:
    return all(key in record.labels and str(record.labels[key]) == value for key, value in wanted.items())
