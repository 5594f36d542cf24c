"""What the doctor checks: the invariants between rows (design section 4), what each means, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST = 1000
"""Cases of one check that are looked at, and mended, at a time."""
EXAMPLES = 10
GRACE_SECONDS = 60.0
"""How late the engine may be before it is a finding."""
SILENT_SECONDS = 120.0
"""How long a worker is not heard of before its attempts are a finding."""
OWNER_SECONDS = 10.0
"""How long a tenant may be without an owner: a take-over needs 6.5 s."""
SWEEP_SECONDS = 7200.0
"""How long an expired idempotency key may stay: they are swept every hour."""


@dataclass(slots=True, frozen=True)
class Check:
    """One invariant."""

    name: str
    meaning: str
    remedy: str
    mends: str = ""
    """What ``--fix`` does; empty: nothing, it is for a person to decide."""


@dataclass(slots=True, frozen=True)
class CronFound:
    """A cron as it was read."""

    expression: str
    time_zone: str
    is_enabled: bool
    next_at: float | None


@dataclass(slots=True, frozen=True, kw_only=True)
class Found:
    """One case of a finding."""

    id: str
    text: str
    tenant_id: str = ""
    attempt: int = 0
    key: str = ""
    at: float | None = None
    """A time that the mending needs, in seconds since 1970."""
    other_id: str = ""
    cron: CronFound | None = None
    """Of a cron whose next instant can be computed."""


@dataclass(slots=True)
class Outcome:
    """What one check found."""

    check: Check
    found: list[Found] = field(default_factory=list)
    error: str = ""
    """Why it could not be checked."""
    mended: int | None = None
    """How many cases were mended; None: none were tried."""

    @property
    def is_open(self) -> bool:
        """Whether something is left to do."""
        return bool(self.found) and (self.mended or 0) < len(self.found)


_WAIT = "Start a server; see its log for why it does not write."
CHECKS = (
    Check("owner", "tenants whose work nobody schedules", "Start a server on this database."),
    Check(
        "partitions",
        "tables without a partition for today or tomorrow: nothing can be accepted",
        "A server makes them every hour; see its log.",
        "makes the partitions",
    ),
    Check(
        "overdue-attempts",
        "attempts with a worker whose execution timeout passed more than a minute ago",
        _WAIT,
        "ends them as the timeout would, with a retry where the task has one, and tells the owner",
    ),
    Check(
        "lost-workers",
        "attempts with a worker that has not been heard of for two minutes",
        _WAIT,
        "gives them back as the loss of a worker does, without using up retries, and tells the owner",
    ),
    Check(
        "overdue-waiting",
        "tasks that wait for a worker, and whose schedule timeout passed more than a minute ago",
        _WAIT,
        "cancels them as the timeout would, and tells the owner",
    ),
    Check(
        "overdue-retries",
        "retries and replays whose delay is over, and whose schedule timeout passed more than a minute ago",
        _WAIT,
        "cancels them as the timeout would, and tells the owner",
    ),
    Check("worker-capacity", "workers with more running than they have slots", "It ends with what runs; report it."),
    Check("concurrency", "concurrency groups with more running than their limit", "It ends with what runs; report it."),
    Check(
        "rate-limits",
        "rate limits with units below zero or above their limit",
        "They are full again with the next window.",
        "puts the units back between zero and the limit",
    ),
    Check(
        "runs-without-end",
        "runs whose tasks have all ended more than a minute ago, and that have no end themselves",
        _WAIT,
        "writes the end that follows from the tasks, and tells the owner",
    ),
    Check(
        "runs-not-advanced",
        "runs of which tasks should have been skipped or cancelled more than a minute ago",
        _WAIT,
        "writes what follows for these tasks, and tells the owner",
    ),
    Check(
        "runs-without-future",
        "open runs of which no task runs, waits for a worker, sleeps, listens or is in a retry delay",
        "Cancel them, and report it.",
    ),
    Check(
        "runs-without-tasks",
        "open runs of which tasks have no rows: they stop the next take-over",
        "Restore the rows from a backup, or end the runs.",
        "ends the runs as CANCELLED",
    ),
    Check("tasks-without-run", "tasks of runs that do not exist", "Restore the rows from a backup."),
    Check(
        "work-without-version",
        "open work of a workflow version that does not exist: it stops the next take-over",
        "Restore the rows of workflow_version from a backup.",
    ),
    Check(
        "facts-without-task",
        "assignments, starts, results, notes, replays, restores, matches of tasks and ends of runs that do not exist",
        "Nothing reads them.",
        "deletes them",
    ),
    Check(
        "children-without-run",
        "keys of spawning tasks kept by runs that do not exist: a repeated spawn gets an id of nothing",
        "Delete them.",
        "gives the keys back, so that the next spawn makes the run",
    ),
    Check(
        "stale-reopened",
        "replayed or evicted work that has ended, and still holds the retention back",
        _WAIT,
        "takes it from the list of what may be old and open",
    ),
    Check(
        "lost-replays",
        "replayed work that is open, and that the next take-over would not find",
        "Put it into the list of what is open again.",
        "puts it into that list, and tells the owner",
    ),
    Check(
        "watermark",
        "open work older than the low-watermark of its tenant: the next take-over would not find it",
        "Lower the watermark.",
        "lowers the watermark to the oldest open work, and tells the owner",
    ),
    Check(
        "crons",
        "enabled crons without a next instant or long after it, disabled ones with one",
        "Start a server; delete a cron whose expression cannot be read.",
        "computes the next instant from now on; what was missed is not started (C-14.3)",
    ),
    Check("scheduled-runs", "scheduled runs that were due more than a minute ago", _WAIT),
    Check("without-version", "crons, filters and scheduled runs of workflows without a version", "Register or delete."),
    Check(
        "expired-keys",
        "idempotency keys that expired more than two hours ago",
        "A server sweeps them up every hour; see its log.",
        "deletes all that have expired",
    ),
)
