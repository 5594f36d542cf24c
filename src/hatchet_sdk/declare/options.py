"""Small option types of declarations and triggers."""

# ruff: noqa: UP042  # StrEnum prints differently; the documented bases are str and Enum

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hatchet_sdk.declare.durations import Duration
from hatchet_sdk.declare.labels import DesiredWorkerLabel


class EmptyModel(BaseModel):
    """The input of tasks that declare none; whatever keys arrive are kept as attributes."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Priority(int, Enum):
    """Higher runs first (C-4.29)."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


class StickyStrategy(str, Enum):
    """Whether tasks of one run prefer (soft) or require (hard) one worker."""

    SOFT = "SOFT"
    HARD = "HARD"


class SlotType(str, Enum):
    """The pools of slots that a worker offers (C-11.27)."""

    DEFAULT = "default"
    DURABLE = "durable"


class StepType(str, Enum):
    """What a task is to its workflow."""

    DEFAULT = "default"
    ON_FAILURE = "on_failure"
    ON_SUCCESS = "on_success"


class TaskDefaults(BaseModel):
    """Settings for those tasks of a workflow that do not set them; not for its on-failure and on-success tasks.

    Timeouts are ``timedelta`` or texts such as ``"90s"``. ``priority`` (1 to 3) is that of the runs, which their tasks
    share (C-4.29).
    """

    schedule_timeout: Duration | None = None
    execution_timeout: Duration | None = None
    priority: int | Priority | None = Field(default=None, gt=0, lt=4)
    retries: int | None = None
    backoff_factor: float | None = None
    backoff_max_seconds: int | None = None


class ScheduleTriggerWorkflowOptions(BaseModel):
    """Options that scheduled and immediate runs share."""

    parent_id: str | None = None
    parent_step_run_id: str | None = None
    child_index: int | None = None
    child_key: str | None = None
    namespace: str | None = None
    additional_metadata: dict[str, Any] = Field(default_factory=dict)
    priority: int | None = None


class TriggerWorkflowOptions(ScheduleTriggerWorkflowOptions):
    """Options of an immediate run."""

    desired_worker_id: str | None = None
    sticky: bool = False
    key: str | None = None
    desired_worker_label: dict[str, DesiredWorkerLabel] | list[DesiredWorkerLabel] | None = None


class WorkflowRunTriggerConfig(BaseModel):
    """One item of a bulk run; made by ``create_bulk_run_item``. ``input`` is JSON text."""

    workflow_name: str
    input: str | None
    options: TriggerWorkflowOptions
    key: str | None = None
