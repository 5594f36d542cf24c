"""The data of the workflows client (R-13)."""

# ruff: noqa: UP042  # StrEnum prints differently; the documented bases are str and Enum

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import ConfigDict

from hatchet_sdk.features.rest_models import APIResourceMeta, PaginationResponse, RestModel


class WorkflowPauseScheduledCronRunQueueBehavior(str, Enum):
    """What crons and scheduled runs do while a workflow is paused: fire nothing, or let runs queue (R-13.8)."""

    DROP = "DROP"
    QUEUE = "QUEUE"


class ConcurrencyLimitStrategy(str, Enum):
    """The strategies as REST names them (R-13.5): DROP_NEWEST stands for CANCEL_NEWEST of declarations."""

    CANCEL_IN_PROGRESS = "CANCEL_IN_PROGRESS"
    DROP_NEWEST = "DROP_NEWEST"
    QUEUE_NEWEST = "QUEUE_NEWEST"
    GROUP_ROUND_ROBIN = "GROUP_ROUND_ROBIN"


class ConcurrencyScope(str, Enum):
    """Whether a rule counts whole runs or runs of one task."""

    WORKFLOW = "WORKFLOW"
    TASK = "TASK"


class WorkflowTag(RestModel):
    """A label of a workflow for people."""

    name: str
    color: str


class Step(RestModel):
    """A task of a version. ``parents`` and ``children`` are ids of steps; ``timeout`` is a duration text."""

    metadata: APIResourceMeta
    readable_id: str
    tenant_id: str
    job_id: str
    action: str
    timeout: str | None = None
    children: list[str] | None = None
    parents: list[str] | None = None
    is_durable: bool | None = None
    slot_requests: dict[str, int] | None = None


class Job(RestModel):
    """The tasks of a version; an on-failure task makes a job of its own."""

    metadata: APIResourceMeta
    tenant_id: str
    version_id: str
    name: str
    description: str | None = None
    steps: list[Step]
    timeout: str | None = None


class WorkflowTriggerEventRef(RestModel):
    """A key of events that start a run."""

    parent_id: str | None = None
    event_key: str | None = None

    model_config = ConfigDict(alias_generator=None)


class WorkflowTriggerCronRef(RestModel):
    """A cron expression of the declaration."""

    parent_id: str | None = None
    cron: str | None = None

    model_config = ConfigDict(alias_generator=None)


class WorkflowTriggers(RestModel):
    """What starts runs by the declaration."""

    metadata: APIResourceMeta | None = None
    workflow_version_id: str | None = None
    tenant_id: str | None = None
    events: list[WorkflowTriggerEventRef] | None = None
    crons: list[WorkflowTriggerCronRef] | None = None

    model_config = ConfigDict(alias_generator=None)


class WorkflowVersionMeta(RestModel):
    """A version in a workflow's list. ``metadata.id`` is what `get_version` takes."""

    metadata: APIResourceMeta
    version: str
    order: int
    workflow_id: str
    workflow: Workflow | None = None


class Workflow(RestModel):
    """A registered workflow (R-13.2). ``metadata.id`` is its id, ``name`` has the namespace, newest version first."""

    metadata: APIResourceMeta
    name: str
    description: str | None = None
    is_paused: bool | None = None
    versions: list[WorkflowVersionMeta] | None = None
    tags: list[WorkflowTag] | None = None
    jobs: list[Job] | None = None
    tenant_id: str
    paused_workflow_cron_run_queue_behavior: WorkflowPauseScheduledCronRunQueueBehavior | None = None
    paused_workflow_scheduled_run_queue_behavior: WorkflowPauseScheduledCronRunQueueBehavior | None = None
    triggers: WorkflowTriggers | None = None


class WorkflowList(RestModel):
    """Workflows, a page of them."""

    metadata: APIResourceMeta | None = None
    rows: list[Workflow] | None = None
    pagination: PaginationResponse | None = None


class WorkflowConcurrency(RestModel):
    """The first rule of a workflow as a whole, in its older form."""

    max_runs: int
    limit_strategy: ConcurrencyLimitStrategy
    get_concurrency_group: str


class ConcurrencySetting(RestModel):
    """A concurrency rule. ``step_readable_id`` names the task of a rule with scope TASK."""

    max_runs: int
    limit_strategy: ConcurrencyLimitStrategy
    expression: str
    step_readable_id: str | None = None
    scope: ConcurrencyScope


class WorkflowVersion(RestModel):
    """A version with all that was registered (R-13.4)."""

    metadata: APIResourceMeta
    version: str
    order: int
    workflow_id: str
    sticky: str | None = None
    default_priority: int | None = None
    workflow: Workflow | None = None
    concurrency: WorkflowConcurrency | None = None
    v1_concurrency: list[ConcurrencySetting] | None = None
    triggers: WorkflowTriggers | None = None
    schedule_timeout: str | None = None
    jobs: list[Job] | None = None
    workflow_config: dict[str, Any] | None = None
    input_json_schema: dict[str, Any] | None = None
