"""Tasks: cancel, replay, and the history of one (behaviour-rest R-11.3 to R-11.11)."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Query

from hatchet.core.errors import InvalidArgument
from hatchet.core.history import TaskEvent
from hatchet.core.messages import RunFilter
from hatchet.core.roles import Role
from hatchet.core.run_filter import BOTH_GIVEN, listed_statuses, metadata_pairs
from hatchet.core.statuses import TaskEventType
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.schemas import (
    PaginationResponse,
    V1CancelledTasks,
    V1CancelTaskRequest,
    V1ReplayedTasks,
    V1ReplayTaskRequest,
    V1TaskEvent,
    V1TaskEventList,
    V1TaskFilter,
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
@needs(Role.MEMBER)
async def cancel_tasks(
    tenant: str, body: V1CancelTaskRequest, caller: CallerOf, services: ServicesOf
) -> V1CancelledTasks:
    """Cancel tasks and runs, by ids or by a filter (R-11.6 to R-11.10)."""
    ids = await services.bulk.cancel(caller.tenant_id, _wanted_runs(body))
    return V1CancelledTasks(ids=[uuid.UUID(found) for found in ids])


@router.post("/api/v1/stable/tenants/{tenant}/tasks/replay", response_model_exclude_none=True)
@needs(Role.MEMBER)
async def replay_tasks(
    tenant: str, body: V1ReplayTaskRequest, caller: CallerOf, services: ServicesOf
) -> V1ReplayedTasks:
    """Replay tasks and runs, by ids or by a filter (R-11.6 to R-11.11)."""
    ids = await services.bulk.replay(caller.tenant_id, _wanted_runs(body))
    return V1ReplayedTasks(ids=[uuid.UUID(found) for found in ids])


@router.get("/api/v1/stable/tasks/{task}/task-events", response_model_exclude_none=True)
@needs(Role.VIEWER)
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


def _wanted_runs(body: V1CancelTaskRequest) -> list[str] | RunFilter:
    """The ids, none when neither is given (R-11.7), or the filter."""
    if body.filter is None:
        return [str(wanted) for wanted in body.external_ids or ()]
    if body.external_ids:
        raise InvalidArgument(BOTH_GIVEN)
    return _run_filter(body.filter)


def _run_filter(body: V1TaskFilter) -> RunFilter:
    return RunFilter(
        since=body.since.timestamp(),
        until=None if body.until is None else body.until.timestamp(),
        statuses=listed_statuses(body.statuses or (), "filter.statuses"),
        workflow_ids=tuple(str(workflow_id) for workflow_id in body.workflow_ids or ()),
        additional_metadata=metadata_pairs(body.additional_metadata or (), "filter.additionalMetadata"),
    )


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
