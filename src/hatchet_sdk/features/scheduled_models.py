"""The data of the scheduled runs client (R-16)."""

# ruff: noqa: UP042  # StrEnum prints differently; the documented bases are str and Enum

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from hatchet_sdk.features.rest_models import APIResourceMeta, PaginationResponse, RestModel, WorkflowRunStatus


class ScheduledRunStatus(str, Enum):
    """SCHEDULED: its time has not come; else the status of the run that it started."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    QUEUED = "QUEUED"
    SCHEDULED = "SCHEDULED"


class ScheduledWorkflowsMethod(str, Enum):
    """DEFAULT: declared in code; API: created by a call or in the dashboard."""

    DEFAULT = "DEFAULT"
    API = "API"


class ScheduledWorkflowsOrderByField(str, Enum):
    TRIGGERAT = "triggerAt"
    CREATEDAT = "createdAt"


class ScheduledWorkflows(RestModel):
    """A scheduled run (R-16.1). ``metadata.id`` is its id; the fields ``workflow_run_…`` are set once it started."""

    metadata: APIResourceMeta
    tenant_id: str
    workflow_version_id: str
    workflow_id: str
    workflow_name: str
    trigger_at: datetime
    input: dict[str, Any] | None = None
    additional_metadata: dict[str, Any] | None = None
    workflow_run_created_at: datetime | None = None
    workflow_run_name: str | None = None
    workflow_run_status: WorkflowRunStatus | None = None
    workflow_run_id: str | None = None
    method: ScheduledWorkflowsMethod
    priority: int | None = None


class ScheduledWorkflowsList(RestModel):
    """Scheduled runs, a page of them."""

    rows: list[ScheduledWorkflows] | None = None
    pagination: PaginationResponse | None = None


class ScheduledWorkflowsBulkError(RestModel):
    """Why one of many was left as it is."""

    id: str | None = None
    error: str


class ScheduledWorkflowsBulkDeleteResponse(RestModel):
    """What was deleted, and what was not."""

    deleted_ids: list[str]
    errors: list[ScheduledWorkflowsBulkError]


class ScheduledWorkflowsBulkUpdateItem(RestModel):
    """A new time for a scheduled run; without a time zone it means local time."""

    id: str
    trigger_at: datetime


class ScheduledWorkflowsBulkUpdateResponse(RestModel):
    """What was given its new time, and what was not."""

    updated_ids: list[str]
    errors: list[ScheduledWorkflowsBulkError]


class ScheduledFilter(BaseModel):
    """Which scheduled runs are meant; all that is given must hold."""

    workflow_id: str | None = None
    parent_workflow_run_id: str | None = None
    parent_step_run_id: str | None = None
    statuses: list[ScheduledRunStatus] | None = None
    additional_metadata: list[str] | None = Field(default=None)

    def members(self) -> dict[str, Any]:
        """What was given, as parameters and bodies name it."""
        named = {
            "workflowId": self.workflow_id,
            "parentWorkflowRunId": self.parent_workflow_run_id,
            "parentStepRunId": self.parent_step_run_id,
            "statuses": [status.value for status in self.statuses or ()] or None,
            "additionalMetadata": self.additional_metadata,
        }
        return {name: value for name, value in named.items() if value is not None}
