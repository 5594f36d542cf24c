"""The bodies of the routes for durable tasks, by the names of the contract (behaviour-durable D-25)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from hatchet.core.validation_texts import MAX_INT32
from hatchet.rest.schemas import Body

LogNumber = Annotated[int, Field(ge=1, le=MAX_INT32)]
"""Of a node or a branch."""


class V1DurableWaitCondition(Body):
    """D-25.3"""

    kind: Literal["SLEEP", "USER_EVENT", "CHILD_WORKFLOW"]
    sleep_duration_ms: int | None = None
    event_key: str | None = None
    workflow_name: str | None = None


class V1WaitItem(Body):
    """D-25.3: one condition, or alternatives."""

    kind: Literal["SLEEP", "USER_EVENT", "CHILD_WORKFLOW"] | None = None
    sleep_duration_ms: int | None = None
    event_key: str | None = None
    workflow_name: str | None = None
    any_of: list[V1DurableWaitCondition] | None = Field(default=None, alias="or")


class V1DurableEventLogEntry(Body):
    """D-25.2"""

    node_id: int
    branch_id: int
    kind: Literal["RUN", "WAIT_FOR", "MEMO"]
    wait_data: list[V1WaitItem] | None = None
    is_satisfied: bool
    satisfied_at: datetime | None = None
    inserted_at: datetime
    user_message: str | None = None
    task_external_id: UUID
    task_display_name: str


class V1BranchDurableTaskRequest(Body):
    """D-25.6"""

    task_external_id: UUID
    node_id: LogNumber
    branch_id: LogNumber


class V1BranchDurableTaskResponse(Body):
    """D-25.6"""

    task_external_id: UUID
    node_id: int
    branch_id: int


class V1RestoreTaskResponse(Body):
    """D-25.7"""

    requeued: bool
