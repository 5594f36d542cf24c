"""The data of the logs client (R-23)."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any

from hatchet_sdk.features.rest_models import PaginationResponse, RestModel


class V1LogLineLevel(str, Enum):  # noqa: UP042  # StrEnum prints differently
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class V1LogLine(RestModel):
    """A line that a task has logged (R-23.1). ``attempt`` counts from 1, ``retry_count`` from 0."""

    task_external_id: str | None = None
    task_display_name: str | None = None
    created_at: datetime
    message: str
    metadata: dict[str, Any]
    retry_count: int | None = None
    attempt: int | None = None
    level: V1LogLineLevel | None = None


class V1LogLineList(RestModel):
    """Lines in the order of their times."""

    pagination: PaginationResponse | None = None
    rows: list[V1LogLine] | None = None
