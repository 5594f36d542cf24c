"""What a UUIDv7 tells without asking the database: when it was made, and where a day's ids begin."""

from __future__ import annotations

import uuid


def parse_uuid(text: str) -> str | None:
    """The normal form of ``text`` (lower-case, hyphens), or ``None`` when it is not a UUID."""
    if len(text) != 36:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def time_of(uuid7: str) -> float:
    """The creation time inside a UUIDv7, in seconds since 1970 (millisecond precision)."""
    return int(uuid7[0:8] + uuid7[9:13], 16) / 1000.0


def lowest_at(seconds: float) -> str:
    """The smallest UUIDv7-shaped id of that instant: a bound for range scans and day partitions."""
    millis = max(0, int(seconds * 1000))
    head = f"{millis:012x}"
    return f"{head[:8]}-{head[8:]}-0000-0000-000000000000"
