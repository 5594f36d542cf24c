"""Percentiles of durations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

SHOWN = (50, 95, 99)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of the ascending values that at least ``percent`` of them do not exceed (nearest rank).

    Raises ValueError without a value.
    """
    if not ordered:
        raise ValueError("a percentile of no values")
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


def spread(seconds: Iterable[float]) -> dict[int, float]:
    """The shown percentiles, in the unit that was given; empty without a value."""
    ordered = sorted(seconds)
    return {percent: percentile(ordered, percent) for percent in SHOWN} if ordered else {}
