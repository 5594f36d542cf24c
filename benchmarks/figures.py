"""Percentiles and rounding of what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

SHOWN = (50, 95, 99)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of the ascending ``ordered`` values do not exceed (nearest rank).

    Raises ValueError without a value.
    """
    if not ordered:
        raise ValueError("a percentile of no values")
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


def spread_ms(seconds: Iterable[float]) -> dict[str, float]:
    """``p50``, ``p95``, ``p99`` and ``count`` of durations given in seconds, in milliseconds; empty without values."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    shares = {f"p{percent}": round(percentile(ordered, percent) * 1000, 2) for percent in SHOWN}
    return {**shares, "max": round(ordered[-1] * 1000, 2), "count": len(ordered)}


def rounded(value: Any, digits: int = 2) -> Any:
    """``value`` with every float inside rounded, in dictionaries too."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(inner, digits) for key, inner in value.items()}
    return value
