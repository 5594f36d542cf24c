"""The total transition table of one attempt, as pure functions (C-6.5, C-6.20 to C-6.33, C-2.28, C-15.12).

A task is a chain of attempts. Each attempt is waiting or running until exactly one event ends it; an ending either ends
the task or opens the next attempt. Every (state, event) pair has an answer: a :class:`Decision` that ends the attempt,
or ``None`` when the event changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

from hatchet.core.statuses import Outcome, RunStatus

DEFAULT_BACKOFF_CAP_SECONDS = 86_400
"""C-3.13: the cap when a factor is set without one."""

HAND_OVER_DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before the next hand-over after one failed (C-2.35)."""


class State(Enum):
    """Where the current attempt of a task stands."""

    PENDING = "PENDING"
    """Waiting for its parents and conditions (C-6.13)."""
    BACKOFF = "BACKOFF"
    """Waiting for its retry delay; shown as QUEUED (C-6.23)."""
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    """Given to a worker (C-5.27)."""
    EVICTED = "EVICTED"
    """Taken off its worker until what it waits for is over; shown as RUNNING (D-17, D-24.1)."""
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class EventKind(Enum):
    """What can happen to an attempt."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"
    """Its parents or conditions say that it does not run (C-6.16, C-8.2)."""
    EXECUTION_TIMED_OUT = "EXECUTION_TIMED_OUT"
    SCHEDULE_TIMED_OUT = "SCHEDULE_TIMED_OUT"
    OUTRUN = "OUTRUN"
    """A concurrency rule prefers others (C-9.8 to C-9.11)."""
    REFUSED = "REFUSED"
    """What it must have before it starts cannot be computed (C-8.35)."""
    WORKER_LOST = "WORKER_LOST"
    HAND_OVER_FAILED = "HAND_OVER_FAILED"
    EVICTED = "EVICTED"
    """Its worker lets go of it while it waits (D-17.8)."""


@dataclass(slots=True, frozen=True)
class Policy:
    """The part of a definition that decides about retries."""

    retries: int
    backoff_factor: float | None
    backoff_max_seconds: int | None
    execution_timeout: str
    max_internal_retries: int = 10
    is_batched: bool = False
    """Whether its attempts run in batches, which time out as a whole (C-6.32)."""


@dataclass(slots=True, frozen=True)
class Counters:
    """How often the task was queued again, by whom (C-6.21)."""

    attempt: int
    """0 for the first attempt."""
    app_retries: int
    internal_retries: int
    evictions: int = 0
    """How many of the attempts before ended by an eviction: the wire's retry_count leaves them out (D-5.7)."""


@dataclass(slots=True, frozen=True)
class Event:
    """One thing that happened, at ``at`` seconds since 1970."""

    kind: EventKind
    at: float
    payload: str = ""
    """Output of a COMPLETED, error text of a FAILED event."""
    should_not_retry: bool = False
    retry_after_ms: int | None = None


@dataclass(slots=True, frozen=True)
class Decision:
    """How the attempt ends. ``retry_at`` set: the next attempt is ready from then on with these counters.

    Infinity: from its restore on (D-18).
    """

    outcome: Outcome
    retry_at: float | None
    app_retries: int
    internal_retries: int
    evictions: int
    output: str | None = None
    error: str | None = None


def decide(state: State, event: Event, policy: Policy, counters: Counters) -> Decision | None:
    """What ``event`` does to an attempt in ``state``; ``None``: nothing (late, stale or impossible here)."""
    handler = _TABLE.get((state, event.kind))
    return handler(event, policy, counters) if handler is not None else None


def replayed(state: State, counters: Counters) -> Counters | None:
    """The counters of the attempt that a replay opens; ``None``: only finished work is replayed (C-15.10, C-15.12).

    What is evicted has not ended: replaying it means to restore it (D-22.3).
    """
    if state not in (State.COMPLETED, State.FAILED, State.CANCELLED):
        return None
    return Counters(counters.attempt + 1, 0, 0, counters.evictions)


def retry_delay(policy: Policy, retry: int, retry_after_ms: int | None) -> float:
    """Seconds before user retry number ``retry`` (1 for the first): C-6.22, replaced by C-6.27."""
    if retry_after_ms is not None:
        return max(0, retry_after_ms) / 1000.0
    if policy.backoff_factor is None:
        return 0.0
    cap = float(policy.backoff_max_seconds or DEFAULT_BACKOFF_CAP_SECONDS)
    try:
        return float(min(cap, policy.backoff_factor**retry))
    except OverflowError:
        return cap


def status_of(state: State) -> RunStatus:
    """The status that listings and details show for a state."""
    if state in (State.PENDING, State.BACKOFF):
        return RunStatus.QUEUED
    return RunStatus.RUNNING if state is State.EVICTED else RunStatus(state.value)


def _completed(event: Event, policy: Policy, counters: Counters) -> Decision:
    return _end(Outcome.COMPLETED, counters, output=event.payload or None)


def _failed(event: Event, policy: Policy, counters: Counters) -> Decision:
    return _user_retry(Outcome.FAILED, event.payload, event, policy, counters)


def _timed_out(event: Event, policy: Policy, counters: Counters) -> Decision:
    what = "Task failed due to batch timeout, exceeded" if policy.is_batched else "Task exceeded"
    text = f"{what} timeout of {policy.execution_timeout}"
    return _user_retry(Outcome.TIMED_OUT, text, event, policy, counters)


def _user_retry(outcome: Outcome, error: str, event: Event, policy: Policy, counters: Counters) -> Decision:
    if event.should_not_retry or counters.app_retries >= policy.retries:
        return _end(outcome, counters, error=error)
    used = counters.app_retries + 1
    delay = retry_delay(policy, used, event.retry_after_ms)
    return Decision(outcome, event.at + delay, used, counters.internal_retries, counters.evictions, error=error)


def _cancelled(event: Event, policy: Policy, counters: Counters) -> Decision:
    return _end(Outcome.CANCELLED, counters)


def _skipped(event: Event, policy: Policy, counters: Counters) -> Decision:
    return _end(Outcome.SKIPPED, counters, output='{"skipped":true}')


def _outrun(event: Event, policy: Policy, counters: Counters) -> Decision:
    return _end(Outcome.OUTRUN, counters)


def _refused(event: Event, policy: Policy, counters: Counters) -> Decision:
    return _end(Outcome.FAILED, counters, error=event.payload)


def _schedule_timed_out(event: Event, policy: Policy, counters: Counters) -> Decision:
    return _end(Outcome.SCHEDULING_TIMED_OUT, counters)


def _worker_lost(event: Event, policy: Policy, counters: Counters) -> Decision:
    return _internal_retry(Outcome.REASSIGNED, 0.0, "its worker was lost", event, policy, counters)


def _hand_over_failed(event: Event, policy: Policy, counters: Counters) -> Decision:
    delay = HAND_OVER_DELAYS[min(counters.internal_retries, len(HAND_OVER_DELAYS) - 1)]
    cause = event.payload or "it could not be handed to its worker"
    return _internal_retry(Outcome.COULD_NOT_SEND, delay, cause, event, policy, counters)


def _internal_retry(
    outcome: Outcome, delay: float, cause: str, event: Event, policy: Policy, counters: Counters
) -> Decision:
    if counters.internal_retries >= policy.max_internal_retries:
        times = counters.internal_retries + 1
        error = f"The engine gave the task to a worker {times} times in vain. The last time {cause}."
        return _end(outcome, counters, error=error)
    used = counters.internal_retries + 1
    return Decision(outcome, event.at + delay, counters.app_retries, used, counters.evictions)


def _evicted(event: Event, policy: Policy, counters: Counters) -> Decision:
    """The reason that the worker gave is kept as the result's error text (D-17.9)."""
    return Decision(
        Outcome.EVICTED,
        inf,
        counters.app_retries,
        counters.internal_retries,
        counters.evictions + 1,
        error=event.payload or None,
    )


def _end(outcome: Outcome, counters: Counters, *, output: str | None = None, error: str | None = None) -> Decision:
    """The task's end."""
    return Decision(outcome, None, counters.app_retries, counters.internal_retries, counters.evictions, output, error)


_WAITING = {
    EventKind.CANCELLED: _cancelled,
    EventKind.OUTRUN: _outrun,
}
_TABLE = {
    (State.PENDING, EventKind.CANCELLED): _cancelled,
    (State.PENDING, EventKind.OUTRUN): _outrun,
    (State.PENDING, EventKind.SKIPPED): _skipped,
    **{(State.BACKOFF, kind): handler for kind, handler in _WAITING.items()},
    **{(State.QUEUED, kind): handler for kind, handler in _WAITING.items()},
    **{(State.EVICTED, kind): handler for kind, handler in _WAITING.items()},
    (State.QUEUED, EventKind.SCHEDULE_TIMED_OUT): _schedule_timed_out,
    (State.QUEUED, EventKind.REFUSED): _refused,
    (State.RUNNING, EventKind.COMPLETED): _completed,
    (State.RUNNING, EventKind.FAILED): _failed,
    (State.RUNNING, EventKind.CANCELLED): _cancelled,
    (State.RUNNING, EventKind.OUTRUN): _outrun,
    (State.RUNNING, EventKind.EXECUTION_TIMED_OUT): _timed_out,
    (State.RUNNING, EventKind.WORKER_LOST): _worker_lost,
    (State.RUNNING, EventKind.HAND_OVER_FAILED): _hand_over_failed,
    (State.RUNNING, EventKind.EVICTED): _evicted,
}
