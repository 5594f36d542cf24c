"""The data of the runs client: statuses, filters, details."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import from_json

if TYPE_CHECKING:
    from hatchet_contracts.v1.workflows_pb2 import GetRunDetailsResponse, TasksFilter
    from hatchet_contracts.v1.workflows_pb2 import TaskRunDetail as TaskRunMessage


class V1TaskStatus(str, Enum):  # noqa: UP042  # StrEnum prints differently
    """The statuses of tasks and runs (C-6.1)."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


class RunStatus(str, Enum):  # noqa: UP042  # StrEnum prints differently
    """The status of a run in its details."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @staticmethod
    def from_proto(proto_status: int) -> RunStatus:
        """The status for a number of the wire; an evicted run is RUNNING (C-7.31)."""
        from hatchet_contracts.v1 import workflows_pb2

        name = workflows_pb2.RunStatus.Name(workflows_pb2.RunStatus.ValueType(proto_status))
        return RunStatus.RUNNING if name == "EVICTED" else RunStatus(name)

    @staticmethod
    def from_v1_task_status(v1_task_status: V1TaskStatus) -> RunStatus:
        return RunStatus(v1_task_status.value)

    def to_v1_task_status(self) -> V1TaskStatus:
        return V1TaskStatus(self.value)


class RunFilter(BaseModel):
    """Which runs a bulk operation is about; all that is given must hold, of several metadata pairs one (C-15.4).

    Attributes:
        since, until: when the run was created; without a time zone it means local time.
        statuses: None for all.
    """

    since: datetime
    until: datetime | None = None
    statuses: list[V1TaskStatus] | None = None
    workflow_ids: list[str] | None = None
    additional_metadata: dict[str, str] | None = None

    def to_proto(self) -> TasksFilter:
        """The filter on the wire (C-15.3)."""
        from hatchet_contracts.v1 import workflows_pb2

        message = workflows_pb2.TasksFilter(
            statuses=[status.value for status in self.statuses or ()],
            workflow_ids=self.workflow_ids,
            additional_metadata=[f"{key}:{value}" for key, value in (self.additional_metadata or {}).items()],
        )
        message.since.FromNanoseconds(_nanoseconds(self.since))
        if self.until is not None:
            message.until.FromNanoseconds(_nanoseconds(self.until))
        return message


class BulkCancelReplayOpts(BaseModel):
    """What to cancel or to replay: runs and tasks by id, or those that match a filter.

    Raises:
        pydantic.ValidationError: (a ValueError) both are given, or none.
    """

    ids: list[str] | None = None
    filters: RunFilter | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> BulkCancelReplayOpts:
        if (self.ids is None) == (self.filters is None):
            raise ValueError("give either ids or filters" + (", not both" if self.filters is not None else ""))
        return self


class TaskRunDetail(BaseModel):
    """A task of a run. `error` is empty or None unless it failed."""

    external_id: str
    readable_id: str
    output: dict[str, Any] | None = None
    error: str | None = None
    status: V1TaskStatus
    is_evicted: bool = False

    @classmethod
    def from_proto(cls, message: TaskRunMessage) -> TaskRunDetail:
        return cls(
            external_id=message.external_id,
            readable_id=message.readable_id,
            output=_object(message.output),
            error=message.error or None,
            status=RunStatus.from_proto(message.status).to_v1_task_status(),
            is_evicted=message.is_evicted,
        )


class V1BranchDurableTaskResponse(BaseModel):
    """The new branch of a durable task's log, and the first node that is its own."""

    model_config = ConfigDict(populate_by_name=True)

    task_external_id: str = Field(alias="taskExternalId")
    node_id: int = Field(alias="nodeId")
    branch_id: int = Field(alias="branchId")


class WorkflowRunDetail(BaseModel):
    """A run as GetRunDetails shows it. `task_runs` are by task name; `done` says that nothing of it will change."""

    external_id: str
    status: RunStatus
    input: dict[str, Any] | None = None
    additional_metadata: dict[str, Any] | None = None
    task_runs: dict[str, TaskRunDetail] = Field(...)
    done: bool = False

    @classmethod
    def from_proto(cls, external_id: str, message: GetRunDetailsResponse) -> WorkflowRunDetail:
        return cls(
            external_id=external_id,
            status=RunStatus.from_proto(message.status),
            input=_object(message.input),
            additional_metadata=_object(message.additional_metadata),
            task_runs={name: TaskRunDetail.from_proto(task) for name, task in message.task_runs.items()},
            done=message.done,
        )


def _object(text: bytes) -> dict[str, Any] | None:
    """A JSON object; None for no text, and for another kind of JSON, which only tasks of other SDKs return."""
    value = from_json(text) if text else None
    return value if isinstance(value, dict) else None


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1000
