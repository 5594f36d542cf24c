"""What is known of the tasks of a run, and what follows for one of them: the data of :mod:`hatchet.core.run_state`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from hatchet.core.statuses import Outcome

SKIPPED_OUTPUT = '{"skipped":true}'
"""The output of a skipped task (C-5.8, C-6.3)."""

DEAD_END = "The conditions that the task waited for can no longer be met."
"""Why a task was cancelled whose conditions are decided against it for good."""


class Verdict(Enum):
    """What the parents and conditions of a task say."""

    WAIT = "WAIT"
    QUEUE = "QUEUE"
    SKIP = "SKIP"
    CANCEL = "CANCEL"


@dataclass(slots=True, frozen=True)
class Decision:
    """What a task's parents and conditions decide, and since when."""

    verdict: Verdict
    at: float = 0.0
    """The instant of the decision; 0 for WAIT."""
    met: tuple[int, ...] = ()
    """For QUEUE: the numbers of the conditions that held then."""
    listens_since: float | None = None
    """For WAIT: from when on events count, once the parents have ended (C-8.7)."""
    wakes_at: float | None = None
    """For WAIT: when the next sleep ends, or an event comes into effect that is known already."""
    reason: str = ""


WAITING = Decision(Verdict.WAIT)


@dataclass(slots=True)
class TaskFacts:
    """What the rows say about one task of a run."""

    opened_at: float
    """When the current attempt came into being: with the run, or by a replay."""
    attempt: int = 0
    evictions: int = 0
    """How many of the attempts before it ended by an eviction."""
    is_decided: bool = False
    """Whether the current attempt may run, or did: it is not for parents and conditions to say any more."""
    is_seen: bool = False
    """Whether any attempt was ever with a worker, or ended."""
    outcome: Outcome | None = None
    """How the current attempt ended, when that was the end of the task."""
    ended_at: float = 0.0
    output: str | None = None
    """JSON text; kept for tasks that an expression looks at."""
    matches: dict[int, float] = field(default_factory=dict)
    """Number of a condition to the time of the event that met it, in the current attempt."""


@dataclass(slots=True, frozen=True)
class Change:
    """One task that :meth:`RunState.advance` decided."""

    index: int
    decision: Decision
