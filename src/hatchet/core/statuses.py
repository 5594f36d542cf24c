"""Statuses and outcomes by their wire names (behaviour-core C-6.1 to C-6.4, C-5.47)."""

from __future__ import annotations

from enum import Enum


class RunStatus(Enum):
    """Status of a task or of a run, as REST and gRPC name it (C-6.1)."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EVICTED = "EVICTED"

    @property
    def is_terminal(self) -> bool:
        return self in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


class Outcome(Enum):
    """How one attempt ended. Exactly one per (task, attempt), whoever writes it first.

    Whether a further attempt follows is told by the result row's ``retry_at``, not by the outcome.
    """

    COMPLETED = "COMPLETED"
    SKIPPED = "SKIPPED"
    """Its conditions or its parents decided that it does not run (C-6.3)."""
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    CANCELLED = "CANCELLED"
    OUTRUN = "OUTRUN"
    """A concurrency rule cancelled it in favour of others (C-9.11)."""
    SCHEDULING_TIMED_OUT = "SCHEDULING_TIMED_OUT"
    REASSIGNED = "REASSIGNED"
    COULD_NOT_SEND = "COULD_NOT_SEND"
    EVICTED = "EVICTED"
    """Its worker let go of it while it waited; the next attempt waits for its restore (D-17, D-18). Never the last."""

    @property
    def status(self) -> RunStatus:
        """The task's status when this outcome is its last (C-6.4, C-6.33, C-2.29); of EVICTED, while it is (D-24.1)."""
        return _STATUS[self]


_STATUS = {
    Outcome.COMPLETED: RunStatus.COMPLETED,
    Outcome.SKIPPED: RunStatus.COMPLETED,
    Outcome.FAILED: RunStatus.FAILED,
    Outcome.TIMED_OUT: RunStatus.FAILED,
    Outcome.CANCELLED: RunStatus.CANCELLED,
    Outcome.OUTRUN: RunStatus.CANCELLED,
    Outcome.SCHEDULING_TIMED_OUT: RunStatus.CANCELLED,
    Outcome.REASSIGNED: RunStatus.FAILED,
    Outcome.COULD_NOT_SEND: RunStatus.FAILED,
    Outcome.EVICTED: RunStatus.RUNNING,
}


class TaskEventType(Enum):
    """Task events as REST shows them (C-5.47); derived from facts, never stored as such."""

    CREATED = "CREATED"
    QUEUED = "QUEUED"
    REQUEUED_NO_WORKER = "REQUEUED_NO_WORKER"
    REQUEUED_RATE_LIMIT = "REQUEUED_RATE_LIMIT"
    BATCH_BUFFERED = "BATCH_BUFFERED"
    WAITING_FOR_BATCH = "WAITING_FOR_BATCH"
    BATCH_FLUSHED = "BATCH_FLUSHED"
    ASSIGNED = "ASSIGNED"
    SENT_TO_WORKER = "SENT_TO_WORKER"
    STARTED = "STARTED"
    SLOT_RELEASED = "SLOT_RELEASED"
    TIMEOUT_REFRESHED = "TIMEOUT_REFRESHED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    CANCELLED = "CANCELLED"
    SCHEDULING_TIMED_OUT = "SCHEDULING_TIMED_OUT"
    REASSIGNED = "REASSIGNED"
    COULD_NOT_SEND_TO_WORKER = "COULD_NOT_SEND_TO_WORKER"
    RETRYING = "RETRYING"
    SKIPPED = "SKIPPED"
    RETRIED_BY_USER = "RETRIED_BY_USER"
    DURABLE_EVICTED = "DURABLE_EVICTED"
    DURABLE_RESTORING = "DURABLE_RESTORING"
