"""Day partitions of the fact tables."""

from __future__ import annotations

import asyncio
import time
import uuid

import asyncpg
import pytest

from hatchet.core.clock import HeldClock
from hatchet.core.ids import lowest_at
from hatchet.engine.upkeep import Upkeep
from hatchet.store.partitions import DAY, FACT_TABLES, drop_partitions, ensure_partitions, partition_name
from hatchet.store.pool import Database

# Far from the days that the template database has already.
NOW = 1_900_000_000.0
DAYS = 9


async def _partitions(dsn: str, table: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY 1",
            table,
        )
    finally:
        await connection.close()
    return [row["name"] for row in rows]


async def test_from_yesterday_to_a_week_ahead_for_every_fact_table(database: Database) -> None:
    assert await ensure_partitions(database, NOW) == DAYS * len(FACT_TABLES)
    today = int(NOW // DAY)
    for table in FACT_TABLES:
        made = await _partitions(database.dsn, table)
        assert {partition_name(table, day) for day in range(today - 1, today + 8)} <= set(made)


async def test_a_second_call_makes_nothing(database: Database) -> None:
    await ensure_partitions(database, NOW)
    assert await ensure_partitions(database, NOW) == 0


async def test_the_next_day_adds_one_day(database: Database) -> None:
    await ensure_partitions(database, NOW)
    assert await ensure_partitions(database, NOW + DAY) == len(FACT_TABLES)


async def test_instances_that_do_it_together_make_each_once(database: Database) -> None:
    second = await Database.open(database.dsn, max_connections=4)
    try:
        made = await asyncio.gather(*(ensure_partitions(each, NOW) for each in (database, second) * 3))
    finally:
        await second.close()
    assert sum(made) == DAYS * len(FACT_TABLES)


async def _insert(connection: asyncpg.Connection[asyncpg.Record], identifier: str) -> str:
    return await connection.fetchval(
        """INSERT INTO task_start (tenant_id, task_id, attempt, started_at)
           VALUES ($1, $2, 0, to_timestamp(0)) RETURNING tableoid::regclass::text""",
        uuid.uuid4(),
        identifier,
    )


async def test_the_bounds_are_whole_utc_days(database: Database) -> None:
    await ensure_partitions(database, NOW)
    day = int(NOW // DAY)
    connection = await asyncpg.connect(database.dsn)
    try:
        first = await _insert(connection, lowest_at(day * DAY))
        last = await _insert(connection, lowest_at((day + 1) * DAY - 0.001)[:14] + "7fff-bfff-ffffffffffff")
        following = await _insert(connection, lowest_at((day + 1) * DAY))
        with pytest.raises(asyncpg.CheckViolationError, match="no partition"):
            await _insert(connection, lowest_at((day - 1) * DAY - 0.001))
    finally:
        await connection.close()
    assert (first, last) == (partition_name("task_start", day),) * 2
    assert following == partition_name("task_start", day + 1)


async def test_making_them_does_not_wait_for_open_transactions_that_write(database: Database) -> None:
    await ensure_partitions(database, NOW)
    connection = await asyncpg.connect(database.dsn)
    try:
        async with connection.transaction():
            await _insert(connection, lowest_at(NOW))
            assert await asyncio.wait_for(ensure_partitions(database, NOW + DAY), 30) == len(FACT_TABLES)
    finally:
        await connection.close()


async def test_the_template_covers_the_present(database: Database) -> None:
    assert await ensure_partitions(database, time.time(), days_ahead=0) == 0


async def test_old_days_are_dropped_and_the_others_stay(database: Database) -> None:
    await ensure_partitions(database, NOW)
    yesterday, today = int(NOW // DAY) - 1, int(NOW // DAY)
    dropped = await drop_partitions(database, today * DAY)
    assert {partition_name(table, yesterday) for table in FACT_TABLES} <= set(dropped)
    for table in FACT_TABLES:
        left = await _partitions(database.dsn, table)
        assert partition_name(table, today) in left
        assert partition_name(table, yesterday) not in left
    assert await drop_partitions(database, today * DAY) == []


async def test_a_day_that_somebody_reads_is_left_for_the_next_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hatchet.store.partitions._PATIENCE", "50ms")
    await ensure_partitions(database, NOW)
    connection = await asyncpg.connect(database.dsn)
    try:
        async with connection.transaction():
            await connection.fetch("SELECT count(*) FROM task")
            assert await drop_partitions(database, NOW + 3 * DAY) == []
        assert await drop_partitions(database, NOW + 3 * DAY) != []
    finally:
        await connection.close()


@pytest.mark.parametrize(("watermark", "is_kept"), [(NOW - 90 * DAY, True), (NOW - 1, False), (None, True)])
async def test_the_retention_never_takes_a_day_with_an_unfinished_task(
    database: Database, watermark: float | None, is_kept: bool
) -> None:
    """Design section 10, unbounded table: what is old goes, unless a task of that day has not ended."""
    old = NOW - 60 * DAY
    await ensure_partitions(database, old)
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute(
            "INSERT INTO lease (name, expires_at, low_watermark) VALUES ('scheduler:x', now(), $1::uuid)",
            None if watermark is None else lowest_at(watermark),
        )
    finally:
        await connection.close()
    upkeep = Upkeep(database, HeldClock(NOW), retention=30 * DAY)
    await upkeep.turn()
    assert (partition_name("task", int(old // DAY)) in await _partitions(database.dsn, "task")) is is_kept
