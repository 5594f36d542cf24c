"""Log lines of all tasks of a tenant, and counts of them (behaviour-rest R-12.4, R-23.4)."""

from __future__ import annotations

from dataclasses import dataclass

from hatchet.store.pool import Database
from hatchet.store.task_logs import LogLine


@dataclass(slots=True, frozen=True, kw_only=True)
class LogFilter:
    """Which lines are meant; what is None or empty lets everything pass. Times in seconds, both exclusive."""

    since: float | None = None
    until: float | None = None
    search: str | None = None
    """A part of the message, in any case."""
    levels: tuple[str, ...] = ()
    attempt: int | None = None
    """0 for the first one."""
    task_ids: tuple[str, ...] = ()
    workflow_ids: tuple[str, ...] = ()
    step_ids: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class TaskLine:
    """A line with the task that wrote it."""

    line: LogLine
    task_id: str
    version_id: str
    step_id: str
    task_created_at: float


async def log_page(
    database: Database, tenant_id: str, wanted: LogFilter, *, newest_first: bool, limit: int
) -> list[TaskLine]:
    """Lines in the order of their times."""
    rows = await database.fetch(
        "log_page", tenant_id, wanted.since, wanted.until, *_columns(wanted), newest_first, limit
    )
    return [
        TaskLine(
            LogLine(
                str(row["id"]),
                row["attempt"],
                row["level"],
                row["message"],
                row["metadata"] or "{}",
                row["created_at"],
            ),
            str(row["task_id"]),
            str(row["version_id"]),
            str(row["step_id"]),
            row["inserted_at"],
        )
        for row in rows
    ]


async def log_points(
    database: Database, tenant_id: str, wanted: LogFilter, since: float, until: float, width: float
) -> dict[tuple[float, str], int]:
    """The number of lines from ``since`` to before ``until``, by the beginning of their interval and their level."""
    rows = await database.fetch("log_points", tenant_id, since, until, *_columns(wanted), width)
    return {(row["begins_at"], row["level"]): row["lines"] for row in rows}


def _columns(wanted: LogFilter) -> tuple[object, ...]:
    return (
        wanted.search or None,
        list(wanted.levels) or None,
        wanted.attempt,
        list(wanted.task_ids) or None,
        list(wanted.workflow_ids) or None,
        list(wanted.step_ids) or None,
    )
