"""What a UUIDv7 tells without asking the database: when it was made, where a day's ids begin, the tasks of a run."""

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


def highest() -> str:
    """An id above all others: the bound of a range that has none."""
    return "ffffffff-ffff-ffff-ffff-ffffffffffff"


_TAIL = (1 << 62) - 1
_STRIDE = 0x1E3779B97F4A7C15
"""Odd, and near the golden ratio of the tail's range: multiples of it keep far apart, also from ids made in a row."""


def task_ids(run_id: str, count: int) -> list[str]:
    """The ids of a run's tasks, in the order of the definition.

    They follow from the run's id and share its time, so all rows of a run lie in one day and nobody looks them up. The
    only task of a run has the run's id (behaviour-core C-0.7).
    """
    if count == 1:
        return [run_id]
    prefix, half = run_id[:19], int(run_id[19:23] + run_id[24:], 16)
    head, tail = half & ~_TAIL, half & _TAIL
    ids: list[str] = []
    for number in range(1, count + 1):
        text = f"{head | ((tail + number * _STRIDE) & _TAIL):016x}"
        ids.append(f"{prefix}{text[:4]}-{text[4:]}")
    return ids
