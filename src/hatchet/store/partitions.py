"""Day partitions of the fact tables: retention drops a day instead of deleting its rows (design section 1)."""

from __future__ import annotations

from datetime import UTC, datetime

from hatchet.core.ids import lowest_at
from hatchet.store.pool import Connected, Database
from hatchet.store.statements import sql

FACT_TABLES = ("task", "task_assignment", "task_start", "task_result", "task_note", "task_child")
"""Tables partitioned by the UUIDv7 of their task."""

DAY = 86_400.0

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


async def _create(transaction: Connected, name: str, table: str, day: int) -> None:
    # CREATE TABLE ... PARTITION OF would stop every query on the parent; attaching lets them run.
    bounds = {"first": lowest_at(day * DAY), "after": lowest_at((day + 1) * DAY)}
    await transaction.raw.execute(sql("partition_create").format(name=name, parent=table))
    await transaction.raw.execute(sql("partition_attach").format(name=name, parent=table, **bounds))
