"""The bodies of a workflow's version, by the names of the contract (behaviour-rest R-13.4)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from hatchet.rest.schemas import APIResourceMeta, Body, Workflow

LimitStrategy = Literal["CANCEL_IN_PROGRESS", "DROP_NEWEST", "QUEUE_NEWEST", "GROUP_ROUND_ROBIN"]


class ConcurrencySetting(Body):
    """One concurrency rule."""

    max_runs: int
    limit_strategy: LimitStrategy
    expression: str
    step_readable_id: str | None = None
    scope: Literal["WORKFLOW", "TASK"]


class WorkflowConcurrency(Body):
    """The first rule of the workflow as a whole, in the older shape."""

    max_runs: int
    limit_strategy: LimitStrategy
    get_concurrency_group: str


class WorkflowTriggerEventRef(BaseModel):
    """A key of events that start a run; this and the next two are in snake_case."""

    event_key: str | None = None


class WorkflowTriggerCronRef(BaseModel):
    """A cron that is declared in code."""

    cron: str | None = None


class WorkflowTriggers(BaseModel):
    """What starts runs, as it is declared in code."""

    tenant_id: str | None = None
    workflow_version_id: str | None = None
    events: list[WorkflowTriggerEventRef] | None = None
    crons: list[WorkflowTriggerCronRef] | None = None


class Step(Body):
    """One task; parents and children are ids of steps."""

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


class Job(Body):
    """All tasks of a version; the on-failure task makes a job of its own."""

    metadata: APIResourceMeta
    tenant_id: str
    version_id: str
    name: str
    description: str | None = None
    timeout: str | None = None
    steps: list[Step]


class WorkflowVersion(Body):
    """R-13.4"""

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
