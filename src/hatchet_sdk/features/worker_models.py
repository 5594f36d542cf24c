"""The data of the workers client (R-14)."""

# ruff: noqa: UP042  # StrEnum prints differently; the documented bases are str and Enum

from __future__ import annotations

from datetime import datetime
from enum import Enum

from hatchet_sdk.features.rest_models import APIResourceMeta, PaginationResponse, RestModel


class WorkerType(str, Enum):
    SELFHOSTED = "SELFHOSTED"
    MANAGED = "MANAGED"
    WEBHOOK = "WEBHOOK"


class WorkerStatus(str, Enum):
    """INACTIVE: no heartbeat for more than 5 seconds; PAUSED: gets nothing new (R-14.3, R-14.7)."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    PAUSED = "PAUSED"


class WorkerRuntimeSDKs(str, Enum):
    GOLANG = "GOLANG"
    PYTHON = "PYTHON"
    TYPESCRIPT = "TYPESCRIPT"
    RUBY = "RUBY"


class StepRunStatus(str, Enum):
    """The status of a task in the older members of a worker."""

    PENDING = "PENDING"
    PENDING_ASSIGNMENT = "PENDING_ASSIGNMENT"
    ASSIGNED = "ASSIGNED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CANCELLING = "CANCELLING"
    BACKOFF = "BACKOFF"


class WorkerRuntimeInfo(RestModel):
    """What a worker runs on."""

    sdk_version: str | None = None
    language: WorkerRuntimeSDKs | None = None
    language_version: str | None = None
    os: str | None = None
    runtime_extra: str | None = None


class WorkerLabel(RestModel):
    """A label; numbers are texts here."""

    metadata: APIResourceMeta
    key: str
    value: str | None = None


class WorkerSlotConfig(RestModel):
    """Slots of one kind; ``available`` is None when it is not known (R-14.5)."""

    available: int | None = None
    limit: int


class RegisteredWorkflow(RestModel):
    """A workflow that a worker can run."""

    id: str
    name: str


class SemaphoreSlots(RestModel):
    """A used slot, as older engines list them."""

    step_run_id: str
    action_id: str
    started_at: datetime | None = None
    timeout_at: datetime | None = None
    workflow_run_id: str
    status: StepRunStatus | None = None


class RecentStepRuns(RestModel):
    """A task that a worker had, as older engines list them."""

    metadata: APIResourceMeta
    action_id: str
    status: StepRunStatus
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancelled_at: datetime | None = None
    workflow_run_id: str


class Worker(RestModel):
    """A worker as the engine knows it (R-14.2). ``metadata.id`` is its id, ``slot_config`` is by kind of slot."""

    metadata: APIResourceMeta
    name: str
    type: WorkerType
    last_heartbeat_at: datetime | None = None
    last_listener_established: datetime | None = None
    actions: list[str] | None = None
    registered_workflows: list[RegisteredWorkflow] | None = None
    slots: list[SemaphoreSlots] | None = None
    recent_step_runs: list[RecentStepRuns] | None = None
    status: WorkerStatus | None = None
    slot_config: dict[str, WorkerSlotConfig] | None = None
    dispatcher_id: str | None = None
    labels: list[WorkerLabel] | None = None
    webhook_url: str | None = None
    webhook_id: str | None = None
    runtime_info: WorkerRuntimeInfo | None = None
    operator_id: str | None = None
    evicted_durable_task_count: int | None = None


class WorkerList(RestModel):
    """Workers, a page of them."""

    pagination: PaginationResponse | None = None
    rows: list[Worker] | None = None


class UpdateWorkerRequest(RestModel):
    """What to change of a worker; what is not given stays."""

    is_paused: bool | None = None
