"""The bodies of the rate limit routes, by the names of the contract (behaviour-rest R-17)."""

from __future__ import annotations

from datetime import datetime

from hatchet.rest.schemas import Body, PaginationResponse


class RateLimit(Body):
    """R-17.1"""

    key: str
    tenant_id: str
    limit_value: int
    value: int
    window: str
    last_refill: datetime
    paused_until: datetime | None = None


class RateLimitList(Body):
    """R-17.1"""

    pagination: PaginationResponse | None = None
    rows: list[RateLimit] | None = None
