"""The bodies of the routes for queues and task statistics, by the names of the contract (behaviour-rest R-12)."""

from __future__ import annotations

from datetime import datetime

from hatchet.rest.schemas import Body


class TenantStepRunQueueMetrics(Body):
    """R-12.5: the name of a queue to how many attempts wait in it."""

    queues: dict[str, int] | None = None


class ConcurrencyStat(Body):
    """Attempts by the key of their group, for one concurrency rule."""

    expression: str | None = None
    type: str | None = None
    keys: dict[str, int] | None = None


class TaskStatusStat(Body):
    """The attempts of one task that wait, or those that run."""

    total: int | None = None
    queues: dict[str, int] | None = None
    concurrency: list[ConcurrencyStat] | None = None
    oldest: datetime | None = None
    oldest_excluding_retries: datetime | None = None


class TaskStat(Body):
    """R-12.7"""

    queued: TaskStatusStat | None = None
    running: TaskStatusStat | None = None
