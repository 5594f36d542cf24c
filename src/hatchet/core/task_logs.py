"""A line of a task's log, as a front door hands it to the engine (behaviour-core C-13.1)."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
DEFAULT_LEVEL = "INFO"
MOST_CHARACTERS = 10_000
"""Of one message (C-13.3)."""


@dataclass(slots=True, frozen=True, kw_only=True)
class TaskLogLine:
    """One line. Checked already: level, length and metadata are what the contract allows."""

    task_id: str
    message: str
    level: str = DEFAULT_LEVEL
    metadata: str = ""
    """JSON text of an object; empty when there is none."""
    retry_count: int | None = None
    """None means the task's current attempt (C-13.4)."""
    created_at: float | None = None
    """By the client's clock, in seconds since 1970; None when it did not say."""
