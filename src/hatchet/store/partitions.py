"""Day partitions of the fact tables: retention drops a day instead of deleting its rows (design section 1)."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg

from hatchet.core.ids import lowest_at
from hatchet.store.pool import Connected, Database
from hatchet.store.statements import sql

FACT_TABLES = (
    "task",
    "task_assignment",
    "task_start",
    "task_result",
    "task_note",
    "task_child",
    "run",
    "run_result",
    "task_replay",
    "task_match",
    "task_log",
    "task_restore",
    "durable_branch",
    "durable_entry",
    "durable_result",
    "durable_release",
    "durable_match",
    "durable_walk",
    "event",
    "event_run",
    "evaluation_failure",
)
"""Tables partitioned by the UUIDv7 of their task, run or event, or by their own."""

DAY = 86_400.0

_PATIENCE = "2s"

_LOCK_KEY = 0x6861_7463_6865_7402


def partition_name(table: str, day: int) -> str:
    """Name of the partition for a UTC day, counted in days since 1970."""
    return f"{table}_{datetime.fromtimestamp(day * DAY, UTC):%Y%m%d}"


async def ensure_partitions(database: Database, now: float, *, days_ahead: int = 7) -> int:
    """Make the missing partitions from yesterday to ``days_ahead`` days after ``now`` (seconds); how many were made.

    When nothing is missing this is one catalogue look-up. Any number of instances may call it at the same time.
    Raises :class:`Unavailable` when the database is away; calling again later is safe.
    """
    today = int(now // DAY)
    wanted = {
        partition_name(table, day): (table, day)
        for day in range(today - 1, today + days_ahead + 1)
        for table in FACT_TABLES
    }
    names = list(wanted)
    if not await database.fetch("partitions_missing", names):
        return 0
    async with database.transaction() as transaction:
        # The others wait here, and then see in the second look-up what the first one made.
        await transaction.fetch("partition_lock", _LOCK_KEY)
        missing = [row["wanted"] for row in await transaction.fetch("partitions_missing", names)]
        for name in missing:
            await _create(transaction, name, *wanted[name])
    return len(missing)


async def drop_partitions(database: Database, before: float) -> list[str]:
    """Drop the days that end at or before ``before`` (seconds), oldest first; the names of what was dropped.

    A day that somebody is reading is left for the next time: dropping waits ``_PATIENCE`` for its locks, no longer.
    """
    rows = await database.fetch("partitions_list", list(FACT_TABLES))
    days: dict[int, list[str]] = {}
    for row in rows:
        day = _day_of(row["name"], row["parent"])
        if day is not None and (day + 1) * DAY <= before:
            days.setdefault(day, []).append(row["name"])
    dropped: list[str] = []
    for day in sorted(days):
        try:
            async with database.transaction() as transaction:
                await transaction.fetch("partition_drop_timeout", _PATIENCE)
                for name in sorted(days[day]):
                    await transaction.raw.execute(sql("partition_drop").format(name=name))
        except asyncpg.LockNotAvailableError:
            break
        dropped.extend(sorted(days[day]))
    return dropped


def _day_of(name: str, parent: str) -> int | None:
    """The day of a partition that :func:`partition_name` named."""
    try:
        when = datetime.strptime(name.removeprefix(f"{parent}_"), "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(when.timestamp() // DAY)


async def _create(transaction: Connected, name: str, table: str, day: int) -> None:
    # CREATE TABLE ... PARTITION OF would stop every query on the parent; attaching lets them run.
    bounds = {"first": lowest_at(day * DAY), "after": lowest_at((day + 1) * DAY)}
    await transaction.raw.execute(sql("partition_create").format(name=name, parent=table))
    await transaction.raw.execute(sql("partition_attach").format(name=name, parent=table, **bounds))
