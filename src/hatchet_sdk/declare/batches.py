"""Batch tasks: the function gets the inputs of many runs at once (behaviour-core C-16)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_origin

from pydantic import BaseModel, Field, field_validator

if TYPE_CHECKING:
    from hatchet_contracts.v1 import workflows_pb2

BatchMemberId: TypeAlias = str
"""The id of a task run in a batch: the key of its input, and of its output."""

LARGEST_BATCH = 100_000
LONGEST_INTERVAL = timedelta(days=1)
MOST_BATCHES = 10_000


class BatchTaskConfig(BaseModel):
    """How runs are put together to batches (C-3.22).

    A batch starts when ``batch_max_size`` runs wait, or ``batch_max_interval`` (1 ms to 1 day, default 1 s) after the
    first of them came. Only runs for which the CEL expression ``batch_group_key`` gives the same text come together,
    and ``batch_group_max_runs`` (default 100) batches of one key run at a time. ``broadcast_output`` says that the
    function returns one value for all runs, instead of one for each.
    """

    batch_max_size: int = Field(ge=1, le=LARGEST_BATCH)
    batch_max_interval: timedelta | None = None
    batch_group_key: str | None = None
    batch_group_max_runs: int | None = Field(default=None, ge=1, le=MOST_BATCHES)
    broadcast_output: bool = False

    @field_validator("batch_max_interval", mode="after")
    @classmethod
    def _check_interval(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and not timedelta(milliseconds=1) <= value <= LONGEST_INTERVAL:
            raise ValueError(f"batch_max_interval must be from 1 ms to 1 day, got {value}")
        return value

    @field_validator("batch_group_key", mode="after")
    @classmethod
    def _check_key(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("batch_group_key is an empty text; give a CEL expression, or leave it out for one group")
        return value

    def to_proto(self) -> workflows_pb2.TaskBatchConfig:
        """The batch on the wire (C-16.1); what is not set is the engine's default."""
        from hatchet_contracts.v1 import workflows_pb2

        message = workflows_pb2.TaskBatchConfig(
            batch_max_size=self.batch_max_size, broadcast_output=self.broadcast_output
        )
        if self.batch_max_interval is not None:
            message.batch_max_interval_ms = round(self.batch_max_interval.total_seconds() * 1000)
        if self.batch_group_key is not None:
            message.batch_group_key = self.batch_group_key
        if self.batch_group_max_runs is not None:
            message.batch_group_max_runs = self.batch_group_max_runs
        return message


def member_type(annotation: Any, undeclared: Any) -> Any:
    """The type of one output, of the return annotation ``dict[BatchMemberId, X]`` of a batch task.

    ``undeclared`` for an annotation that does not tell.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping) and len(arguments) == 2:
        return arguments[1]
    return undeclared
