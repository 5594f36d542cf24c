"""The intervals of counts over time (behaviour-rest R-12.3): wider, the longer the range is."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
MOST_POINTS = 1000
"""Of a longer range the end is told."""


def width(seconds: float) -> float:
    """The width of an interval for a range of so many seconds."""
    if seconds < 61 * MINUTE:
        return MINUTE
    if seconds < 12 * HOUR:
        return 5 * MINUTE
    if seconds < 48 * HOUR:
        return 30 * MINUTE
    return 8 * HOUR if seconds < 8 * DAY else DAY


def intervals(since: float, until: float) -> tuple[list[float], float]:
    """When the intervals between two times (seconds since 1970) begin, and how wide they are.

    They begin at whole multiples of their width; the first one holds ``since``, or is one of the last ``MOST_POINTS``.
    """
    wide = width(until - since)
    last = int(until // wide)
    if until % wide == 0:
        last -= 1
    first = max(int(since // wide), last - MOST_POINTS + 1)
    return [number * wide for number in range(first, last + 1)], wide
