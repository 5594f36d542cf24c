"""Times on the wire: RFC 3339 with the time zone (behaviour-rest R-1.3)."""

from __future__ import annotations

from datetime import UTC, datetime

from hatchet.rest.schemas import APIResourceMeta


def instant(seconds: float) -> datetime:
    """Seconds since 1970 as a moment in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def maybe_instant(seconds: float | None) -> datetime | None:
    """The same, None for None."""
    return None if seconds is None else instant(seconds)


def resource_meta(resource_id: str, created_at: float, updated_at: float | None = None) -> APIResourceMeta:
    """The metadata of a resource that was last changed at ``updated_at``, by default when it was made."""
    changed = created_at if updated_at is None else updated_at
    return APIResourceMeta(id=resource_id, created_at=instant(created_at), updated_at=instant(changed))
