"""The bodies of the routes for crons and scheduled runs, by the names of the contract (behaviour-rest R-15, R-16)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from hatchet.rest.schemas import APIResourceMeta, Body, PaginationResponse

MethodName = Literal["DEFAULT", "API"]
Priority = Annotated[int, Field(ge=1, le=3)]
RunStatusName = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "QUEUED", "BACKOFF"]
MOST_IDS = 500


class CronWorkflows(Body):
    """R-15.1"""

    metadata: APIResourceMeta
    tenant_id: str
    workflow_version_id: str
    workflow_id: str
    workflow_name: str
    cron: str
    name: str | None = None
    input: dict[str, Any] | None = None
    additional_metadata: dict[str, Any] | None = None
    enabled: bool
    method: MethodName
    priority: int | None = None


class CronWorkflowsList(Body):
    """R-15.4"""

    pagination: PaginationResponse | None = None
    rows: list[CronWorkflows] | None = None


class CreateCronWorkflowTriggerRequest(Body):
    """R-15.2"""

    cron_name: str
    cron_expression: str
    input: dict[str, Any]
    additional_metadata: dict[str, Any]
    priority: Priority | None = None


class UpdateCronWorkflowTriggerRequest(Body):
    """R-15.5; a field that is absent is left as it is."""

    enabled: bool | None = None


class TriggerRunResult(Body):
    """R-15.7, R-16.5"""

    external_id: UUID


class ScheduledWorkflows(Body):
    """R-16.1"""

    metadata: APIResourceMeta
    tenant_id: str
    workflow_version_id: str
    workflow_id: str
    workflow_name: str
    trigger_at: datetime
    input: dict[str, Any] | None = None
    additional_metadata: dict[str, Any] | None = None
    workflow_run_id: UUID | None = None
    workflow_run_name: str | None = None
    workflow_run_status: RunStatusName | None = None
    workflow_run_created_at: datetime | None = None
    method: MethodName
    priority: int | None = None


class ScheduledWorkflowsList(Body):
    """R-16.3"""

    pagination: PaginationResponse | None = None
    rows: list[ScheduledWorkflows] | None = None


class ScheduleWorkflowRunRequest(Body):
    """R-16.2; the time needs a time zone."""

    trigger_at: AwareDatetime
    input: dict[str, Any]
    additional_metadata: dict[str, Any]
    priority: Priority | None = None


class UpdateScheduledWorkflowRunRequest(Body):
    """R-16.4"""

    trigger_at: AwareDatetime


class ScheduledWorkflowsBulkDeleteFilter(Body):
    """R-16.6; without a field it means all."""

    workflow_id: UUID | None = None
    parent_workflow_run_id: UUID | None = None
    parent_step_run_id: UUID | None = None
    additional_metadata: list[str] | None = None


class ScheduledWorkflowsBulkDeleteRequest(Body):
    """R-16.6; ids or a filter."""

    scheduled_workflow_run_ids: Annotated[list[UUID], Field(min_length=1, max_length=MOST_IDS)] | None = None
    filter: ScheduledWorkflowsBulkDeleteFilter | None = None


class ScheduledWorkflowsBulkError(Body):
    """Why one was left as it is."""

    id: UUID | None = None
    error: str


class ScheduledWorkflowsBulkDeleteResponse(Body):
    """R-16.6"""

    deleted_ids: list[UUID]
    errors: list[ScheduledWorkflowsBulkError]


class ScheduledWorkflowsBulkUpdateItem(Body):
    """R-16.7"""

    id: UUID
    trigger_at: AwareDatetime


class ScheduledWorkflowsBulkUpdateRequest(Body):
    """R-16.7"""

    updates: Annotated[list[ScheduledWorkflowsBulkUpdateItem], Field(min_length=1, max_length=MOST_IDS)]


class ScheduledWorkflowsBulkUpdateResponse(Body):
    """R-16.7"""

    updated_ids: list[UUID]
    errors: list[ScheduledWorkflowsBulkError]
