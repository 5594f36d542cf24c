"""The bodies of the routes for events, by the names of the contract (behaviour-rest R-19)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from hatchet.rest.schemas import APIResourceMeta, Body, PaginationResponse


class V1EventWorkflowRunSummary(Body):
    """How many of an event's runs stand how."""

    running: int
    queued: int
    succeeded: int
    failed: int
    cancelled: int


class V1EventTriggeredRun(Body):
    """A run that an event started, and by which filter."""

    workflow_run_id: UUID
    filter_id: UUID | None = None


class V1Event(Body):
    """R-19.1"""

    metadata: APIResourceMeta
    key: str
    tenant_id: str
    workflow_run_summary: V1EventWorkflowRunSummary
    additional_metadata: dict[str, Any] | None = None
    payload: dict[str, Any] | None = None
    scope: str | None = None
    seen_at: datetime | None = None
    triggered_runs: list[V1EventTriggeredRun] | None = None
    triggering_webhook_name: str | None = None
    payloads_restricted: bool | None = None


class V1EventList(Body):
    """R-19.2"""

    pagination: PaginationResponse | None = None
    rows: list[V1Event] | None = None


class EventKeyList(Body):
    """R-19.5"""

    pagination: PaginationResponse | None = None
    rows: list[str] | None = None


class EventWorkflowRunSummary(Body):
    """The same counts in the older shape."""

    running: int | None = None
    queued: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    cancelled: int | None = None


class Event(Body):
    """An event in the older shape, without its payload."""

    metadata: APIResourceMeta
    key: str
    tenant_id: str
    workflow_run_summary: EventWorkflowRunSummary | None = None
    additional_metadata: dict[str, Any] | None = None


class EventData(Body):
    """R-19.6: the payload as JSON text."""

    data: str
