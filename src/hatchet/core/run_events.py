"""What a subscriber of a run is told while the run goes on (behaviour-core C-7.33, C-7.34)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hatchet.core.statuses import RunStatus


class RunEventKind(Enum):
    """What happened. A timeout is FAILED (C-7.35)."""

    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    STREAM = "STREAM"


@dataclass(slots=True)
class RunEvent:
    """One event. Without ``task_id`` it is about the run itself, which is the run's end (C-7.41)."""

    run_id: str
    task_id: str | None
    kind: RunEventKind
    at: float
    payload: str = ""
    """The output of COMPLETED, the error text of FAILED, the chunk of STREAM."""
    retry_count: int | None = None
    """The attempt; None for the run itself, and for a chunk whose attempt is not known."""
    task_retries: int | None = None
    """The retries that the task's definition allows."""
    index: int | None = None
    """The number of a chunk within its attempt, from 0 (C-7.42)."""
    is_last: bool = False
    """Nothing follows on this subscription: the wire calls it hangup."""


def run_event_kind(status: RunStatus) -> RunEventKind:
    """The kind of the event that tells a run's or task's end. Raises ValueError for a status that is not terminal."""
    return RunEventKind(status.value)
