"""The statements behind lists use their indexes on tables that are full and analysed (design section 6)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest_asyncio
from test_plans import TENANT, full, scanned, some_ids

from hatchet.core.ids import highest, lowest_at
from hatchet.store.pool import Database

__all__ = ["full"]

FILL = """
WITH ids AS MATERIALIZED (SELECT id, row_number() OVER (ORDER BY id) AS n FROM task), events AS (
    INSERT INTO event (tenant_id, id, key, payload, additional_metadata, happened_at, inserted_at)
    SELECT $1::uuid, id, 'key' || n % 50, repeat('x', 200)::bytea, '{"k": "v"}', now(), now() FROM ids
), started AS (
    INSERT INTO event_run SELECT $1::uuid, id, id, NULL FROM ids
), children AS (
    INSERT INTO task_child SELECT $1::uuid, id, 'index:0', id FROM ids
)
INSERT INTO task_log (tenant_id, task_id, id, attempt, level, message, created_at)
SELECT $1::uuid, id, id, 0, 'INFO', repeat('x', 100), now() - n * interval '1 second' FROM ids
"""


@pytest_asyncio.fixture
async def fuller(full: Database) -> AsyncIterator[Database]:
    """The same with events, log lines and children."""
    async with full.transaction() as transaction:
        await transaction.raw.execute(FILL, TENANT)
        await transaction.raw.execute("ANALYZE")
    yield full


async def test_reads_by_ids_read_no_table_from_end_to_end(fuller: Database) -> None:
    for count in (1, 100):
        ids = await some_ids(fuller, count)
        for statement in ("event_by_ids", "event_runs", "run_ends", "task_child_counts", "task_evicted_workers"):
            assert await scanned(fuller, statement, TENANT, ids) == set(), (statement, count)
        assert await scanned(fuller, "task_children", TENANT, ids, 100) == set(), count


async def test_lists_of_events_read_what_they_show(fuller: Database) -> None:
    everything = (lowest_at(0), highest(), 0.0, time.time() + 60)
    nothing = [None] * 6
    recent = (lowest_at(time.time() - 60), highest(), time.time() - 60, time.time() + 60)
    assert await scanned(fuller, "event_page", TENANT, *recent, *nothing, 0, 50) == set()
    by_key = [["key7"], None, None, None, None, None]
    assert await scanned(fuller, "event_page", TENANT, *everything, *by_key, 0, 50) == set()
    by_id = [None, None, await some_ids(fuller, 10), None, None, None]
    assert await scanned(fuller, "event_page", TENANT, *everything, *by_id, 0, 50) == set()
    assert await scanned(fuller, "event_keys", TENANT, 1000) == set()


async def test_lists_of_log_lines_read_what_they_show(fuller: Database) -> None:
    nothing = [None] * 8
    for newest_first in (False, True):
        assert await scanned(fuller, "log_page", TENANT, *nothing, newest_first, 50) == set()
        of_tasks = [None, None, None, None, None, await some_ids(fuller, 5), None, None]
        assert await scanned(fuller, "log_page", TENANT, *of_tasks, newest_first, 50) == set()
    recent = (time.time() - 600, time.time())
    assert await scanned(fuller, "log_points", TENANT, *recent, *[None] * 6, 60.0) == set()
