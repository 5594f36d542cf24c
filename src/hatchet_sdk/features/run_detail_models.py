"""Runs and tasks as REST shows them (R-10)."""

# ruff: noqa: UP042  # StrEnum prints differently; the documented bases are str and Enum

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any

from hatchet_sdk.features.rest_models import APIResourceMeta, RestModel
from hatchet_sdk.features.run_models import V1TaskStatus


class V1WorkflowType(str, Enum):
    """DAG: a run of a workflow; TASK: a task, also one of a workflow."""

    DAG = "DAG"
    TASK = "TASK"


class V1TaskEventType(str, Enum):
    """What can happen to a task."""

    REQUEUED_NO_WORKER = "REQUEUED_NO_WORKER"
    REQUEUED_RATE_LIMIT = "REQUEUED_RATE_LIMIT"
    SCHEDULING_TIMED_OUT = "SCHEDULING_TIMED_OUT"
    ASSIGNED = "ASSIGNED"
    STARTED = "STARTED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    RETRYING = "RETRYING"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    REASSIGNED = "REASSIGNED"
    SLOT_RELEASED = "SLOT_RELEASED"
    TIMEOUT_REFRESHED = "TIMEOUT_REFRESHED"
    RETRIED_BY_USER = "RETRIED_BY_USER"
    SENT_TO_WORKER = "SENT_TO_WORKER"
    RATE_LIMIT_ERROR = "RATE_LIMIT_ERROR"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    CREATED = "CREATED"
    QUEUED = "QUEUED"
    SKIPPED = "SKIPPED"
    WAITING_FOR_BATCH = "WAITING_FOR_BATCH"
    BATCH_FLUSHED = "BATCH_FLUSHED"
    COULD_NOT_SEND_TO_WORKER = "COULD_NOT_SEND_TO_WORKER"
    DURABLE_EVICTED = "DURABLE_EVICTED"
    DURABLE_RESTORING = "DURABLE_RESTORING"


class V1TaskEvent(RestModel):
    """Something that happened to a task. ``task_id`` is its external id (R-11.15), ``output`` a JSON text."""

    id: int
    task_id: str
    timestamp: datetime
    event_type: V1TaskEventType
    message: str
    error_message: str | None = None
    output: str | None = None
    worker_id: str | None = None
    task_display_name: str | None = None
    retry_count: int | None = None
    attempt: int | None = None


class V1TaskSummary(RestModel):
    """A task, or in lists of runs a run (R-10.1, R-10.2). ``metadata.id`` is its id, ``duration`` in milliseconds.

    ``children`` of a run are its tasks; ``attempt`` counts from 1.
    """

    metadata: APIResourceMeta
    action_id: str | None = None
    retry_count: int | None = None
    attempt: int | None = None
    additional_metadata: dict[str, Any] | None = None
    children: list[V1TaskSummary] | None = None
    created_at: datetime
    display_name: str
    duration: int | None = None
    error_message: str | None = None
    finished_at: datetime | None = None
    idempotency_key: str | None = None
    input: dict[str, Any]
    num_spawned_children: int
    output: dict[str, Any]
    payloads_restricted: bool | None = None
    status: V1TaskStatus
    is_durable: bool | None = None
    is_evicted: bool | None = None
    started_at: datetime | None = None
    step_id: str | None = None
    task_external_id: str
    task_id: int
    task_inserted_at: datetime
    tenant_id: str
    type: V1WorkflowType
    workflow_id: str
    workflow_name: str | None = None
    workflow_run_external_id: str
    workflow_version_id: str | None = None
    workflow_config: dict[str, Any] | None = None
    parent_task_external_id: str | None = None


class V1WorkflowRun(RestModel):
    """A run as a whole (R-10.23). ``metadata.id`` is its id, ``output`` that of its last tasks by their names."""

    metadata: APIResourceMeta
    status: V1TaskStatus
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: int | None = None
    tenant_id: str
    additional_metadata: dict[str, Any] | None = None
    display_name: str
    workflow_id: str
    output: dict[str, Any]
    payloads_restricted: bool | None = None
    error_message: str | None = None
    workflow_version_id: str | None = None
    input: dict[str, Any]
    created_at: datetime | None = None
    parent_task_external_id: str | None = None


class WorkflowRunShapeItemForWorkflowRunDetails(RestModel):
    """A step of the run's version and those that depend on it (R-10.25)."""

    task_external_id: str
    step_id: str
    children_step_ids: list[str]
    task_name: str


class V1WorkflowRunDetails(RestModel):
    """A run with its tasks and what happened to them (R-10.22)."""

    run: V1WorkflowRun
    task_events: list[V1TaskEvent]
    shape: list[WorkflowRunShapeItemForWorkflowRunDetails]
    tasks: list[V1TaskSummary]
    workflow_config: dict[str, Any] | None = None
