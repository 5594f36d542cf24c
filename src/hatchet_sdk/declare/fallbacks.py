"""What the options of a task are when neither the declaration nor the workflow's defaults say something."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

SCHEDULE_TIMEOUT = timedelta(minutes=5)
EXECUTION_TIMEOUT = timedelta(seconds=60)


def fall_back_to_default(value: T, param_default: T, fallback_value: T | None) -> T:
    """``value``, unless it is what a parameter has when it is not given and the workflow's defaults say something."""
    return fallback_value if fallback_value is not None and value == param_default else value
