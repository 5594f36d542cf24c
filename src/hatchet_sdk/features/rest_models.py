"""What the models of the REST API share: snake case in Python, camel case in JSON; unknown members are ignored."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class RestModel(BaseModel):
    """A resource, or a part of one."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def to_body(self) -> dict[str, Any]:
        """What was set, as the body of a request."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class APIResourceMeta(RestModel):
    """Id and times of a stored resource (R-1.4)."""

    id: str
    created_at: datetime
    updated_at: datetime


class PaginationResponse(BaseModel):
    """Where a list stands; pages count from 1."""

    current_page: int | None = None
    next_page: int | None = None
    num_pages: int | None = None


class WorkflowRunOrderByDirection(str, Enum):  # noqa: UP042  # StrEnum prints differently
    ASC = "ASC"
    DESC = "DESC"


class WorkflowRunStatus(str, Enum):  # noqa: UP042  # StrEnum prints differently
    """The status of a run in the older lists (R-16.1)."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    QUEUED = "QUEUED"
    BACKOFF = "BACKOFF"


def utc(at: datetime, what: str) -> datetime:
    """``at`` in UTC; without a time zone it means local time (C-14.29). Raises ``TypeError`` for something else."""
    if not isinstance(at, datetime):
        raise TypeError(f"{what} must be a datetime, got {type(at).__name__}")
    return at.astimezone(UTC)


def time_text(at: datetime, what: str) -> str:
    """``at`` as requests have it: UTC with microseconds and `Z` (R-1.3)."""
    return utc(at, what).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def metadata_items(metadata: dict[str, Any] | None) -> list[str] | None:
    """Metadata to filter by, as query parameters have it."""
    return [f"{key}:{value}" for key, value in metadata.items()] if metadata else None
