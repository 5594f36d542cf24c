"""The bodies of the routes for single runs and tasks, by the names of the contract (behaviour-rest R-10, R-11)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from hatchet.rest.schemas import APIResourceMeta, Body, PaginationResponse, V1TaskEvent

TaskStatus = Literal["QUEUED", "RUNNING", "COMPLETED", "CANCELLED", "FAILED"]


class V1TaskSummary(Body):
    """R-10.1, R-10.2"""

    metadata: APIResourceMeta
    task_external_id: UUID
    task_id: int
    """Follows from the id, below 2^53 so that JavaScript can hold it."""
    task_inserted_at: datetime
    created_at: datetime
    display_name: str
    status: TaskStatus
    type: Literal["DAG", "TASK"]
    tenant_id: UUID
    workflow_id: UUID
    workflow_run_external_id: UUID
    input: dict[str, Any]
    output: dict[str, Any]
    num_spawned_children: int
    action_id: str | None = None
    step_id: UUID | None = None
    workflow_name: str | None = None
    workflow_version_id: UUID | None = None
    retry_count: int | None = None
    attempt: int | None = None
    additional_metadata: dict[str, Any] | None = None
    children: list[V1TaskSummary] | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: int | None = None
    """Milliseconds."""
    error_message: str | None = None
    is_durable: bool | None = None
    is_evicted: bool | None = None
    workflow_config: dict[str, Any] | None = None
    parent_task_external_id: UUID | None = None
    payloads_restricted: bool | None = None


class V1WorkflowRun(Body):
    """R-10.23"""

    metadata: APIResourceMeta
    status: TaskStatus
    display_name: str
    tenant_id: UUID
    workflow_id: UUID
    workflow_version_id: UUID | None = None
    input: dict[str, Any]
    output: dict[str, Any]
    additional_metadata: dict[str, Any] | None = None
    error_message: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: int | None = None
    """Milliseconds."""
    created_at: datetime | None = None
    parent_task_external_id: UUID | None = None
    payloads_restricted: bool | None = None


class WorkflowRunShapeItemForWorkflowRunDetails(Body):
    """R-10.25"""

    task_external_id: UUID
    step_id: UUID
    children_step_ids: list[UUID]
    task_name: str


class V1WorkflowRunDetails(Body):
    """R-10.22"""

    run: V1WorkflowRun
    shape: list[WorkflowRunShapeItemForWorkflowRunDetails]
    task_events: list[V1TaskEvent]
    tasks: list[V1TaskSummary]
    workflow_config: dict[str, Any] | None = None


class V1DagChildren(Body):
    """R-11.14: the tasks of one run."""

    dag_id: UUID | None = None
    children: list[V1TaskSummary] | None = None


class V1TaskTiming(Body):
    """R-10.30"""

    metadata: APIResourceMeta
    depth: int
    status: TaskStatus
    is_evicted: bool | None = None
    task_display_name: str
    task_external_id: UUID
    task_id: int
    task_inserted_at: datetime
    tenant_id: UUID
    parent_task_external_id: UUID | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    workflow_run_id: UUID | None = None
    retry_count: int | None = None
    attempt: int | None = None


class V1TaskTimingList(Body):
    """R-10.30"""

    pagination: PaginationResponse
    rows: list[V1TaskTiming]


class V1TriggerWorkflowRunRequest(Body):
    """R-10.31"""

    workflow_name: str
    input: dict[str, Any]
    additional_metadata: dict[str, Any] | None = None
    priority: int | None = None
    return_only_id: bool | None = Field(default=None, alias="return_only_id")
