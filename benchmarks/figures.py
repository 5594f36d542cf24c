"""Percentiles and rounding of what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hatchet.cli.loadtest.figures import spread


def spread_ms(seconds: Iterable[float]) -> dict[str, float]:
    """``p50``, ``p95``, ``p99`` and ``count`` of durations given in seconds, in milliseconds; empty without values."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    shares = {f"p{percent}": round(value * 1000, 2) for percent, value in spread(ordered).items()}
    return {**shares, "max": round(ordered[-1] * 1000, 2), "count": len(ordered)}


def rounded(value: Any, digits: int = 2) -> Any:
    """``value`` with every float inside rounded, in dictionaries too."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(inner, digits) for key, inner in value.items()}
    return value
