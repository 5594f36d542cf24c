"""The bodies of the routes for logs, by the names of the contract (behaviour-rest R-12.4, R-23)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from hatchet.rest.schemas import Body, PaginationResponse

LogLevel = Literal["DEBUG", "INFO", "WARN", "ERROR"]


class V1LogLine(Body):
    """R-23.1"""

    created_at: datetime
    message: str
    metadata: dict[str, Any]
    task_external_id: UUID | None = None
    task_display_name: str | None = None
    retry_count: int | None = None
    attempt: int | None = None
    level: LogLevel | None = None


class V1LogLineList(Body):
    """R-23.1; the pagination is all zero (R-9.4)."""

    pagination: PaginationResponse | None = None
    rows: list[V1LogLine] | None = None


class V1LogsPointMetric(BaseModel):
    """R-12.4: the lines of one interval, by level."""

    time: datetime
    DEBUG: int
    INFO: int
    WARN: int
    ERROR: int


class V1LogsPointMetrics(Body):
    """R-12.4"""

    results: list[V1LogsPointMetric] | None = None
