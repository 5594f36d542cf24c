"""The bodies of the routes, by the names of the contract; fields without value are left out (behaviour-rest R-1.6)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Body(BaseModel):
    """Fields in camelCase on the wire, unknown ones ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class APIResourceMeta(Body):
    """Identity and age of a stored resource (R-1.4)."""

    id: str = Field(max_length=36)
    created_at: datetime
    updated_at: datetime


class PaginationResponse(BaseModel):
    """Position in a list (R-9.3); the only object whose fields are in snake_case."""

    current_page: int | None = None
    next_page: int | None = None
    num_pages: int | None = None


class APIMetaAuth(Body):
    """Ways to sign in."""

    schemes: list[str] | None = None


class APIMeta(Body):
    """R-8.1"""

    auth: APIMetaAuth | None = None
    allow_signup: bool | None = None
    allow_invites: bool | None = None
    allow_create_tenant: bool | None = None
    allow_change_password: bool | None = None
    observability_enabled: bool | None = None
    prometheus_server_enabled: bool | None = None
    auth_disabled: bool | None = None
    embedded: bool | None = None


class APIMetaIntegration(Body):
    """R-8.3"""

    name: str
    enabled: bool


class Version(Body):
    """R-8.4"""

    version: str


class Tenant(Body):
    """A tenant as a client sees it."""

    metadata: APIResourceMeta
    name: str
    slug: str
    version: Literal["V0", "V1"]
    server_url: str | None = None


class WorkerLabel(Body):
    """One label of a worker; the value is always a text (C-2.41)."""

    metadata: APIResourceMeta
    key: str
    value: str | None = None


class WorkerSlotConfig(Body):
    """Units of one slot type (R-14.5)."""

    available: int | None = None
    limit: int


class WorkerRuntimeInfo(Body):
    """What the worker told about the program that it is."""

    sdk_version: str | None = None
    language: Literal["GOLANG", "PYTHON", "TYPESCRIPT", "RUBY"] | None = None
    language_version: str | None = None
    os: str | None = None
    runtime_extra: str | None = None


class RegisteredWorkflow(Body):
    """A workflow that a worker can run."""

    id: UUID
    name: str


class Worker(Body):
    """R-14.2"""

    metadata: APIResourceMeta
    name: str
    type: Literal["SELFHOSTED", "MANAGED", "WEBHOOK"]
    status: Literal["ACTIVE", "INACTIVE", "PAUSED"] | None = None
    last_heartbeat_at: datetime | None = None
    last_listener_established: datetime | None = None
    dispatcher_id: UUID | None = None
    actions: list[str] | None = None
    registered_workflows: list[RegisteredWorkflow] | None = None
    slot_config: dict[str, WorkerSlotConfig] | None = None
    labels: list[WorkerLabel] | None = None
    runtime_info: WorkerRuntimeInfo | None = None
    recent_step_runs: list[object] | None = None
    evicted_durable_task_count: int | None = None


class WorkerList(Body):
    """R-14.1"""

    pagination: PaginationResponse | None = None
    rows: list[Worker] | None = None


class UpdateWorkerRequest(Body):
    """R-14.7; a field that is absent is left as it is."""

    is_paused: bool | None = None


class WorkflowVersionMeta(Body):
    """One version of a workflow."""

    metadata: APIResourceMeta
    version: str
    order: int
    workflow_id: str


class Workflow(Body):
    """R-13.2"""

    metadata: APIResourceMeta
    name: str
    tenant_id: str
    description: str | None = None
    is_paused: bool | None = None
    paused_workflow_cron_run_queue_behavior: Literal["DROP", "QUEUE"] | None = None
    paused_workflow_scheduled_run_queue_behavior: Literal["DROP", "QUEUE"] | None = None
    versions: list[WorkflowVersionMeta] | None = None


class WorkflowList(Body):
    """R-13.1"""

    pagination: PaginationResponse | None = None
    rows: list[Workflow] | None = None


class PauseWorkflowRequestPause(Body):
    """Pause the workflow, or change how it is paused (R-13.7)."""

    action: Literal["pause"]
    paused_workflow_cron_run_queue_behavior: Literal["DROP", "QUEUE"]
    paused_workflow_scheduled_run_queue_behavior: Literal["DROP", "QUEUE"]
    queue_ttl: str = Field(alias="pausedWorkflowQueueTTL")


class PauseWorkflowRequestUnpause(Body):
    """End the pause (R-13.7)."""

    action: Literal["unpause"]


class WorkflowUpdateRequest(Body):
    """R-13.7; a field that is absent is left as it is."""

    pause: Annotated[PauseWorkflowRequestPause | PauseWorkflowRequestUnpause, Field(discriminator="action")] | None = (
        None
    )


class V1TaskFilter(Body):
    """R-11.6; times need a time zone, metadata is ``key:value``."""

    since: AwareDatetime
    until: AwareDatetime | None = None
    statuses: list[Literal["QUEUED", "RUNNING", "COMPLETED", "CANCELLED", "FAILED"]] | None = None
    workflow_ids: list[UUID] | None = None
    additional_metadata: list[str] | None = None


class V1CancelTaskRequest(Body):
    """R-11.6"""

    external_ids: list[UUID] | None = None
    filter: V1TaskFilter | None = None


class V1ReplayTaskRequest(V1CancelTaskRequest):
    """R-11.6"""


class V1CancelledTasks(Body):
    """R-11.9"""

    ids: list[UUID] | None = None


class V1ReplayedTasks(Body):
    """R-11.9"""

    ids: list[UUID] | None = None


class V1TaskEvent(Body):
    """R-11.3"""

    id: int
    task_id: UUID
    timestamp: datetime
    event_type: str
    message: str
    error_message: str | None = None
    output: str | None = None
    worker_id: UUID | None = None
    task_display_name: str | None = None
    retry_count: int | None = None
    attempt: int | None = None


class V1TaskEventList(Body):
    """R-11.3, newest first; the pagination is an empty object (R-9.4)."""

    pagination: PaginationResponse | None = None
    rows: list[V1TaskEvent] | None = None
