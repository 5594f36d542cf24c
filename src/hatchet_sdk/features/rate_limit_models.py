"""The data of the rate limits client (R-17)."""

# ruff: noqa: UP042  # StrEnum prints differently; the documented bases are str and Enum

from __future__ import annotations

from datetime import datetime
from enum import Enum

from hatchet_sdk.features.rest_models import PaginationResponse, RestModel


class RateLimitOrderByField(str, Enum):
    KEY = "key"
    VALUE = "value"
    LIMITVALUE = "limitValue"


class RateLimitOrderByDirection(str, Enum):
    ASC = "asc"
    DESC = "desc"


class RateLimit(RestModel):
    """A rate limit as it stands: ``value`` units of ``limit_value`` are left in the present window (R-17.1)."""

    key: str
    tenant_id: str
    limit_value: int
    value: int
    window: str
    last_refill: datetime
    paused_until: datetime | None = None


class RateLimitList(RestModel):
    """Rate limits, a page of them."""

    pagination: PaginationResponse | None = None
    rows: list[RateLimit] | None = None
