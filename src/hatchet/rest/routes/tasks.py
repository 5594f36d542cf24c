"""Tasks: cancel, and the history of one (behaviour-rest R-11.3 to R-11.9)."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Query

from hatchet.core.errors import InvalidArgument, Unimplemented
from hatchet.core.history import TaskEvent
from hatchet.core.statuses import TaskEventType
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.schemas import (
    PaginationResponse,
    V1CancelledTasks,
    V1CancelTaskRequest,
    V1TaskEvent,
    V1TaskEventList,
)
from hatchet.rest.times import instant

_ERRORS = {
    TaskEventType.FAILED,
    TaskEventType.TIMED_OUT,
    TaskEventType.SCHEDULING_TIMED_OUT,
    TaskEventType.COULD_NOT_SEND_TO_WORKER,
}

router = APIRouter(route_class=GuardedRoute)


@router.post("/api/v1/stable/tenants/{tenant}/tasks/cancel", response_model_exclude_none=True)
async def cancel_tasks(
    tenant: str, body: V1CancelTaskRequest, caller: CallerOf, services: ServicesOf
) -> V1CancelledTasks:
    """Cancel the named tasks or runs; the answer means "accepted" (R-11.6 to R-11.10)."""
    if body.external_ids is not None and body.filter is not None:
        raise InvalidArgument("externalIds and filter exclude each other; send one of them.")
    if body.filter is not None:
        raise Unimplemented("filter: cancelling by filter is not part of this version; send externalIds.")
    if not body.external_ids:
        return V1CancelledTasks(ids=[])
    ids = await services.control.cancel(caller.tenant_id, [str(wanted) for wanted in body.external_ids])
    return V1CancelledTasks(ids=[uuid.UUID(found) for found in ids])


@router.get("/api/v1/stable/tasks/{task}/task-events", response_model_exclude_none=True)
async def list_task_events(
    task: str,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1)] = 1000,
) -> V1TaskEventList:
    """The history of one task, newest first; an event's id is its place in the history (R-11.3)."""
    task_id = uuid.UUID(task)
    events = await services.reading.history(caller.tenant_id, str(task_id))
    rows = [_event_body(task_id, number, event) for number, event in enumerate(events, start=1)]
    rows.reverse()
    return V1TaskEventList(pagination=PaginationResponse(), rows=rows[offset : offset + limit])


def _event_body(task_id: uuid.UUID, number: int, event: TaskEvent) -> V1TaskEvent:
    return V1TaskEvent(
        id=number,
        task_id=task_id,
        timestamp=instant(event.at),
        event_type=event.type.value,
        message=event.message,
        error_message=event.message if event.type in _ERRORS else None,
        worker_id=None if event.worker_id is None else uuid.UUID(event.worker_id),
        retry_count=event.retry_count,
        attempt=event.retry_count + 1,
    )
