"""Events: list, read, keys, payloads (behaviour-rest R-19, behaviour-core C-12)."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from hatchet.core.messages import Caller, EventRecord
from hatchet.core.roles import Role
from hatchet.core.run_filter import listed_statuses, metadata_pairs
from hatchet.core.statuses import RunStatus
from hatchet.engine.event_reading import EventView
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.json_bodies import object_of
from hatchet.rest.pagination import pagination
from hatchet.rest.schemas import APIResourceMeta, PaginationResponse
from hatchet.rest.schemas_events import (
    Event,
    EventData,
    EventKeyList,
    EventWorkflowRunSummary,
    V1Event,
    V1EventList,
    V1EventTriggeredRun,
    V1EventWorkflowRunSummary,
)
from hatchet.rest.times import instant, resource_meta
from hatchet.store.events_read import EventFilter

LISTED = 50
MOST_LISTED = 1000
LAST_OFFSET = 2**31 - 1

EVENTS = "/api/v1/stable/tenants/{tenant}/events"

Status = Literal["QUEUED", "RUNNING", "COMPLETED", "CANCELLED", "FAILED"]

router = APIRouter(route_class=GuardedRoute)


@router.get(EVENTS, response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_events(
    tenant: str,
    caller: CallerOf,
    services: ServicesOf,
    offset: Annotated[int, Query(ge=0, le=LAST_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1)] = LISTED,
    keys: Annotated[list[str] | None, Query()] = None,
    since: Annotated[AwareDatetime | None, Query()] = None,
    until: Annotated[AwareDatetime | None, Query()] = None,
    workflow_ids: Annotated[list[UUID] | None, Query(alias="workflowIds")] = None,
    workflow_run_statuses: Annotated[list[Status] | None, Query(alias="workflowRunStatuses")] = None,
    event_ids: Annotated[list[UUID] | None, Query(alias="eventIds")] = None,
    additional_metadata: Annotated[list[str] | None, Query(alias="additionalMetadata")] = None,
    scopes: Annotated[list[str] | None, Query()] = None,
) -> V1EventList:
    """Events, newest first (R-19.2). Of the last day, unless a time or ids are given; all pairs of metadata must match.

    With workflows and statuses: those that started a run of one of these workflows that stands so (R-19.4).
    """
    limit = min(limit, MOST_LISTED)
    wanted = EventFilter(
        since=None if since is None else since.timestamp(),
        until=None if until is None else until.timestamp(),
        keys=tuple(keys or ()),
        scopes=tuple(scopes or ()),
        ids=tuple(str(event_id) for event_id in event_ids or ()),
        additional_metadata=metadata_pairs(additional_metadata or (), "additionalMetadata"),
        workflow_ids=tuple(str(workflow_id) for workflow_id in workflow_ids or ()),
    )
    statuses = listed_statuses(workflow_run_statuses or (), "workflowRunStatuses")
    found, total = await services.events.page(caller.tenant_id, wanted, statuses=statuses, offset=offset, limit=limit)
    page = pagination(total, offset, limit)
    if total >= offset + limit:
        # here the last page has a next one when it is full.
        page.next_page = (page.current_page or 0) + 1
    return V1EventList(pagination=page, rows=[_event_body(view, caller) for view in found])


@router.get(f"{EVENTS}/keys", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def list_event_keys(tenant: str, caller: CallerOf, services: ServicesOf) -> EventKeyList:
    """The keys that events have (R-19.5)."""
    keys = list(await services.events.keys(caller.tenant_id))
    return EventKeyList(pagination=PaginationResponse(), rows=keys)


@router.get(f"{EVENTS}/{{v1_event}}", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_event(tenant: str, v1_event: UUID, caller: CallerOf, services: ServicesOf) -> V1Event:
    """One event (R-19.5)."""
    return _event_body(await services.events.get(caller.tenant_id, str(v1_event)), caller)


@router.get("/api/v1/events/{event}", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_older_event(event: str, caller: CallerOf, services: ServicesOf) -> Event:
    """One event in the older shape."""
    view = await services.events.get(caller.tenant_id, str(UUID(event)))
    counts = view.counts()
    return Event(
        metadata=_meta(view.record),
        key=view.record.key,
        tenant_id=view.record.tenant_id,
        workflow_run_summary=EventWorkflowRunSummary(
            running=counts[RunStatus.RUNNING],
            queued=counts[RunStatus.QUEUED],
            succeeded=counts[RunStatus.COMPLETED],
            failed=counts[RunStatus.FAILED],
            cancelled=counts[RunStatus.CANCELLED],
        ),
        additional_metadata=object_of(view.record.additional_metadata),
    )


@router.get("/api/v1/events/{event}/data", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_event_data(event: str, caller: CallerOf, services: ServicesOf) -> EventData:
    """The payload as text (R-19.6)."""
    return _data_body(await services.events.record(caller.tenant_id, str(UUID(event))), caller)


@router.get("/api/v1/tenants/{tenant}/events/{event_with_tenant}/data", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_event_data_of_tenant(
    tenant: str, event_with_tenant: UUID, caller: CallerOf, services: ServicesOf
) -> EventData:
    """The payload as text (R-19.6)."""
    return _data_body(await services.events.record(caller.tenant_id, str(event_with_tenant)), caller)


def _data_body(record: EventRecord, caller: Caller) -> EventData:
    return EventData(data=record.payload if caller.sees_payloads else "{}")


def _event_body(view: EventView, caller: Caller) -> V1Event:
    record, counts = view.record, view.counts()
    return V1Event(
        metadata=_meta(record),
        key=record.key,
        tenant_id=record.tenant_id,
        workflow_run_summary=V1EventWorkflowRunSummary(
            running=counts[RunStatus.RUNNING],
            queued=counts[RunStatus.QUEUED],
            succeeded=counts[RunStatus.COMPLETED],
            failed=counts[RunStatus.FAILED],
            cancelled=counts[RunStatus.CANCELLED],
        ),
        additional_metadata=object_of(record.additional_metadata),
        payload=object_of(record.payload) if caller.sees_payloads else {},
        scope=record.scope,
        seen_at=instant(record.inserted_at),
        triggered_runs=[
            V1EventTriggeredRun(
                workflow_run_id=UUID(run.run_id), filter_id=None if run.filter_id is None else UUID(run.filter_id)
            )
            for run in view.runs
        ],
        payloads_restricted=None if caller.sees_payloads else True,
    )


def _meta(record: EventRecord) -> APIResourceMeta:
    return resource_meta(record.id, record.inserted_at)
