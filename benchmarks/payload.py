"""The input of every task that is measured."""

from __future__ import annotations

import json

INPUT_BYTES = 300


def task_input(size: int = INPUT_BYTES) -> dict[str, str]:
    """An object whose JSON text has ``size`` bytes (at least the 10 of the frame)."""
    frame = len(json.dumps({"data": ""}))
    return {"data": "x" * max(size - frame, 0)}
