"""What tasks wrote to their logs (behaviour-rest R-12.4, R-23, behaviour-core C-13)."""

from __future__ import annotations

from typing import Annotated, Literal, cast, get_args
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from hatchet.core.roles import Role
from hatchet.core.validation_texts import MAX_INT32
from hatchet.engine.log_reading import LogPoint, ShownLine
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.json_bodies import object_of
from hatchet.rest.schemas import PaginationResponse
from hatchet.rest.schemas_logs import LogLevel, V1LogLine, V1LogLineList, V1LogsPointMetric, V1LogsPointMetrics
from hatchet.rest.times import instant
from hatchet.store.logs_read import LogFilter

LISTED = 50
MOST_LISTED = 10_000

Limit = Annotated[int, Query(ge=1)]
Since = Annotated[AwareDatetime | None, Query()]
Search = Annotated[str | None, Query()]
Levels = Annotated[list[LogLevel] | None, Query()]
Direction = Annotated[Literal["ASC", "DESC"], Query()]
Attempt = Annotated[int | None, Query(ge=1, le=MAX_INT32)]
Ids = Annotated[list[UUID] | None, Query()]

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/v1/stable/tasks/{task}/logs", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_task_logs(
    task: str,
    caller: CallerOf,
    services: ServicesOf,
    limit: Limit = LISTED,
    since: Since = None,
    until: Since = None,
    search: Search = None,
    levels: Levels = None,
    order_by_direction: Direction = "ASC",
    attempt: Attempt = None,
) -> V1LogLineList:
    """The lines of one task by their times (R-23.1); both times are exclusive (R-23.3)."""
    wanted = _wanted(since, until, search, levels, attempt)
    lines = await services.logs.of_task(
        caller.tenant_id,
        str(UUID(task)),
        wanted,
        newest_first=order_by_direction == "DESC",
        limit=min(limit, MOST_LISTED),
    )
    return V1LogLineList(pagination=_no_pages(), rows=[_line_body(line) for line in lines])


@router.get("/api/v1/stable/tenants/{tenant}/logs", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_tenant_logs(
    tenant: str,
    caller: CallerOf,
    services: ServicesOf,
    limit: Limit = LISTED,
    since: Since = None,
    until: Since = None,
    search: Search = None,
    levels: Levels = None,
    order_by_direction: Direction = "ASC",
    attempt: Attempt = None,
    task_external_ids: Annotated[list[UUID] | None, Query(alias="taskExternalIds")] = None,
    workflow_ids: Ids = None,
    step_ids: Ids = None,
) -> V1LogLineList:
    """The lines of all tasks by their times (R-23.4)."""
    wanted = _wanted(since, until, search, levels, attempt, task_external_ids, workflow_ids, step_ids)
    lines = await services.logs.of_tenant(
        caller.tenant_id, wanted, newest_first=order_by_direction == "DESC", limit=min(limit, MOST_LISTED)
    )
    return V1LogLineList(pagination=_no_pages(), rows=[_line_body(line) for line in lines])


@router.get("/api/v1/stable/tenants/{tenant}/log-point-metrics", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_log_points(
    tenant: str,
    caller: CallerOf,
    services: ServicesOf,
    since: Since = None,
    until: Since = None,
    search: Search = None,
    levels: Levels = None,
    task_external_ids: Annotated[list[UUID] | None, Query(alias="taskExternalIds")] = None,
    workflow_ids: Ids = None,
    step_ids: Ids = None,
) -> V1LogsPointMetrics:
    """How many lines were written when, by level (R-12.4)."""
    wanted = _wanted(since, until, search, levels, None, task_external_ids, workflow_ids, step_ids)
    points = await services.logs.points(caller.tenant_id, wanted)
    return V1LogsPointMetrics(results=[_point_body(point) for point in points])


def _wanted(
    since: AwareDatetime | None,
    until: AwareDatetime | None,
    search: str | None,
    levels: list[LogLevel] | None,
    attempt: int | None,
    task_ids: list[UUID] | None = None,
    workflow_ids: list[UUID] | None = None,
    step_ids: list[UUID] | None = None,
) -> LogFilter:
    return LogFilter(
        since=None if since is None else since.timestamp(),
        until=None if until is None else until.timestamp(),
        search=search,
        levels=tuple(levels or ()),
        attempt=None if attempt is None else attempt - 1,
        task_ids=_texts(task_ids),
        workflow_ids=_texts(workflow_ids),
        step_ids=_texts(step_ids),
    )


def _texts(ids: list[UUID] | None) -> tuple[str, ...]:
    return tuple(str(one) for one in ids or ())


def _no_pages() -> PaginationResponse:
    return PaginationResponse(current_page=0, next_page=0, num_pages=0)


def _line_body(shown: ShownLine) -> V1LogLine:
    line = shown.line
    return V1LogLine(
        created_at=instant(line.created_at),
        message=line.message,
        metadata=object_of(line.metadata),
        task_external_id=UUID(shown.task_id),
        task_display_name=shown.task_name,
        retry_count=line.attempt,
        attempt=line.attempt + 1,
        level=cast("LogLevel", line.level) if line.level in get_args(LogLevel) else None,
    )


def _point_body(point: LogPoint) -> V1LogsPointMetric:
    counts = {level: point.lines.get(level, 0) for level in get_args(LogLevel)}
    return V1LogsPointMetric(time=instant(point.begins_at), **counts)
