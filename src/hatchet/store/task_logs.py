"""Lines that tasks wrote to their log: appended in batches, read by task (behaviour-core C-13.1 to C-13.8)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hatchet.store.pool import Database


@dataclass(slots=True, frozen=True)
class NewLogLine:
    """One line to write; ``created_at`` in seconds since 1970, ``metadata`` the JSON text of an object or empty."""

    tenant_id: str
    task_id: str
    id: str
    attempt: int
    level: str
    message: str
    metadata: str
    created_at: float


@dataclass(slots=True, frozen=True)
class LogLine:
    """One line as it was written."""

    id: str
    attempt: int
    """0 for the first attempt: the retry count (C-0.8)."""
    level: str
    message: str
    metadata: str
    """JSON text of an object."""
    created_at: float


async def append_log_lines(database: Database, lines: Sequence[NewLogLine]) -> None:
    """Write lines; repeating is harmless."""
    await database.execute(
        "task_log_append",
        [line.tenant_id for line in lines],
        [line.task_id for line in lines],
        [line.id for line in lines],
        [line.attempt for line in lines],
        [line.level for line in lines],
        [line.message for line in lines],
        [line.metadata or None for line in lines],
        [line.created_at for line in lines],
    )


async def log_line_counts(database: Database, tasks: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """How many lines each (tenant id, task id) has."""
    rows = await database.fetch("task_log_counts", [tenant for tenant, _ in tasks], [task for _, task in tasks])
    return {(str(row["tenant_id"]), str(row["task_id"])): row["lines"] for row in rows}


async def task_logs(
    database: Database,
    tenant_id: str,
    task_id: str,
    *,
    search: str | None = None,
    levels: Collection[str] | None = None,
    since: float | None = None,
    until: float | None = None,
    attempt: int | None = None,
    newest_first: bool = False,
    limit: int = 1000,
    offset: int = 0,
) -> list[LogLine]:
    """The lines of a task in the order of their times (C-13.7, behaviour-rest R-23).

    ``search``: a part of the message, in any case. ``since`` and ``until``: seconds, both exclusive. ``attempt``: 0 for
    the first one. A task that the tenant does not have has no lines.
    """
    rows = await database.fetch(
        "task_log_read",
        tenant_id,
        task_id,
        search or None,
        list(levels) if levels else None,
        since,
        until,
        attempt,
        newest_first,
        limit,
        offset,
    )
    return [
        LogLine(
            str(row["id"]),
            row["attempt"],
            row["level"],
            row["message"],
            row["metadata"] or "{}",
            row["created_at"],
        )
        for row in rows
    ]
