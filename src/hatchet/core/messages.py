"""Data that crosses the border between a front door and the engine: a request in, a response out.

Front doors translate their wire format to these and back; the engine never sees a transport.
Ids are lower-case UUID texts, times are seconds since 1970, payloads are JSON texts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum

from hatchet.core.labels import DesiredLabels
from hatchet.core.roles import Role
from hatchet.core.statuses import RunStatus


@dataclass(slots=True, frozen=True)
class Caller:
    """Who sends a request: resolved from the API token or the session, the border of everything it may see (C-1.12)."""

    tenant_id: str
    token_id: str
    """Empty for a person with a session."""
    role: Role = Role.OWNER
    """API tokens act like an owner (behaviour-rest R-2.4)."""
    sees_payloads: bool = True
    """False: inputs, outputs and event payloads are withheld (behaviour-rest R-3.6)."""
    user_id: str | None = None
    """The person; None for an API token."""


@dataclass(slots=True, frozen=True, kw_only=True)
class TriggerItem:
    """One run to create (C-4.1)."""

    workflow_name: str
    input: str = ""
    additional_metadata: str = ""
    priority: int | None = None
    parent_run_id: str | None = None
    parent_task_id: str | None = None
    child_index: int | None = None
    child_key: str | None = None
    desired_labels: DesiredLabels = ()
    """Wishes about the worker for every task of the run (C-4.30)."""
    desired_worker: str | None = None
    """Id of the worker that a sticky run goes to (C-11.11)."""
    filter_payload: str | None = None
    """Of the event filter that starts the run, JSON object text (C-12.27)."""


@dataclass(slots=True, frozen=True, kw_only=True)
class EventRecord:
    """One pushed event (C-12.1); texts are JSON."""

    tenant_id: str
    id: str
    key: str
    payload: str
    additional_metadata: str
    """JSON object text; empty when there is none."""
    scope: str | None
    priority: int | None
    happened_at: float
    """The time that the caller gave it."""
    inserted_at: float
    """When the engine took it; what waits compare with (C-8.8)."""


@dataclass(slots=True, frozen=True, kw_only=True)
class RunFilter:
    """Which runs a bulk operation means (C-15.3, C-15.4).

    All fields must match, of ``additional_metadata`` any pair. Times in seconds since 1970.
    """

    since: float
    until: float | None = None
    statuses: frozenset[RunStatus] = frozenset()
    """Empty: every status."""
    workflow_ids: tuple[str, ...] = ()
    """Empty: every workflow."""
    additional_metadata: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, frozen=True, kw_only=True)
class WorkerRegistration:
    """What a worker tells about itself (C-2.4 to C-2.10)."""

    name: str
    actions: tuple[str, ...]
    slots: dict[str, int]
    labels: dict[str, str | int] = field(default_factory=dict)
    sdk_version: str | None = None
    language: str | None = None
    language_version: str | None = None
    os: str | None = None
    runtime_extra: str | None = None


class ActionKind(Enum):
    """What a worker is told to do."""

    START = "START"
    CANCEL = "CANCEL"
    START_BATCH = "START_BATCH"
    CANCEL_BATCH = "CANCEL_BATCH"


@dataclass(slots=True, kw_only=True)
class BatchStart:
    """What is common to the attempts that a worker gets in one message (C-16.19)."""

    id: str
    key: str
    reason: str
    """A sentence for people."""
    flushed_at: float
    size: int


@dataclass(slots=True, kw_only=True)
class Action:
    """One message on a worker's stream (C-5.1)."""

    kind: ActionKind
    tenant_id: str
    run_id: str
    task_id: str
    step_id: str
    readable_id: str
    action: str
    workflow_id: str
    version_id: str
    retry_count: int
    priority: int
    payload: str
    """JSON text of C-5.5 for START, of C-16.20 for START_BATCH, empty for a cancel (C-5.18)."""
    additional_metadata: str
    inserted_at: float
    parent_run_id: str | None = None
    parent_task_id: str | None = None
    child_index: int | None = None
    child_key: str | None = None
    invocation: int | None = None
    """Of a durable task: which hand-over this is, from 1; of the attempt to stop for a cancel (D-5.4, D-5.5)."""
    batch: BatchStart | None = None
    """With START_BATCH and CANCEL_BATCH: the message is about it and not about the task that the others name."""


Send = Callable[[Action], Awaitable[None]]
"""Hands one action to a worker's transport; raises when the stream is gone."""


class ReportKind(Enum):
    """What a worker says about an attempt (C-5.23)."""

    STARTED = "STARTED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(slots=True, kw_only=True)
class TaskReport:
    """One StepActionEvent, or one item of a BatchActionEvent.

    ``retry_count`` None means the task's current attempt (C-5.25). ``batch_id``: the batch in which the worker got it.
    ``worker_id``: who says it, if that is told: the worker's id, or its name, which TypeScript sends (C-5.24). It
    counts for durable tasks only (D-16.7).
    """

    task_id: str
    kind: ReportKind
    payload: str
    retry_count: int | None
    at: float
    should_not_retry: bool = False
    retry_after_ms: int | None = None
    batch_id: str | None = None
    worker_id: str | None = None


@dataclass(slots=True, kw_only=True)
class TaskResult:
    """The end of one task, as a subscriber sees it (C-7.9)."""

    task_id: str
    readable_id: str
    status: RunStatus
    output: str | None
    """JSON text; None when there was none or the task did not complete."""
    error: str | None
    """Error text of a FAILED task; None otherwise (the front door sends the empty text for CANCELLED)."""


@dataclass(slots=True, kw_only=True)
class RunFinished:
    """Sent once per subscription and requested id (C-7.2)."""

    run_id: str
    at: float
    results: list[TaskResult]


@dataclass(slots=True, kw_only=True)
class TaskDetail:
    """One task of a run (C-7.24)."""

    task_id: str
    readable_id: str
    status: RunStatus
    output: str | None
    error: str | None
    is_evicted: bool = False
    """Whether it is with no worker because it waits durably, or waits for a worker since; its status is RUNNING."""


@dataclass(slots=True, kw_only=True)
class RunDetails:
    """Everything GetRunDetails tells (C-7.23)."""

    run_id: str
    input: str
    additional_metadata: str
    status: RunStatus
    done: bool
    tasks: list[TaskDetail]

    @property
    def is_evicted(self) -> bool:
        """Whether any of its tasks is (D-24.1)."""
        return any(task.is_evicted for task in self.tasks)
