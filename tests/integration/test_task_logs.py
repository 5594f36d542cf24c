"""Lines of tasks: written in batches, bounded, read with filters (behaviour-core C-13.1 to C-13.8)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from hatchet.core.clock import HeldClock
from hatchet.core.errors import NotFound, ResourceExhausted
from hatchet.core.ids import lowest_at
from hatchet.core.task_logs import TaskLogLine
from hatchet.engine import task_logs as engine_task_logs
from hatchet.engine.clock import UuidIds
from hatchet.engine.task_logs import TaskLogs
from hatchet.store.pool import Database
from hatchet.store.statements import sql
from hatchet.store.task_logs import LogLine, NewLogLine, append_log_lines, task_logs

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
OTHER_TENANT = "11111111-1111-4111-8111-111111111111"


class Attempts:
    """The tasks that exist, with their current attempts."""

    def __init__(self) -> None:
        self.current: dict[str, int] = {}
        self.questions = 0

    async def attempt_of(self, tenant_id: str, task_id: str) -> int | None:
        self.questions += 1
        return self.current.get(task_id) if tenant_id == TENANT else None


class World:
    """Logs of a task that was made a minute ago."""

    def __init__(self, database: Database, relaxed: Database) -> None:
        self.database = database
        self.relaxed = relaxed
        self.clock = HeldClock(time.time())
        self.made_at = self.clock.now() - 60
        self.task_id = UuidIds().new()
        self.task_id = lowest_at(self.made_at)[:13] + self.task_id[13:]
        self.attempts = Attempts()
        self.attempts.current[self.task_id] = 0
        self.logs = self.new_logs()

    def new_logs(self) -> TaskLogs:
        return TaskLogs(self.relaxed, self.attempts, self.clock, UuidIds())

    async def put(self, message: str, **fields: object) -> None:
        line = TaskLogLine(**{"task_id": self.task_id, "message": message, **fields})  # type: ignore[arg-type]
        await self.logs.put(TENANT, line)

    async def lines(self, **filters: object) -> list[LogLine]:
        await self.logs.drain()
        return await task_logs(self.database, TENANT, self.task_id, **filters)  # type: ignore[arg-type]

    async def messages(self, **filters: object) -> list[str]:
        return [line.message for line in await self.lines(**filters)]


@pytest_asyncio.fixture
async def world(database: Database, dsn: str) -> AsyncIterator[World]:
    relaxed = await Database.open(dsn, max_connections=2, hot=True, relaxed=True)
    made = World(database, relaxed)
    yield made
    await made.logs.drain()
    await relaxed.close()


async def test_c13_7_a_line_is_read_as_it_was_written(world: World) -> None:
    at = world.clock.now() - 1.5
    await world.put("hello", level="WARN", metadata='{"a": [1, "ä"]}', retry_count=2, created_at=at)
    await world.put("plain", created_at=at + 1)
    first, second = await world.lines()
    assert (first.message, first.level, first.attempt, first.created_at) == ("hello", "WARN", 2, pytest.approx(at))
    assert json.loads(first.metadata) == {"a": [1, "ä"]}
    assert (second.level, second.metadata, second.attempt) == ("INFO", "{}", 0)


async def test_c13_4_a_missing_retry_count_is_the_current_attempt(world: World) -> None:
    await world.put("first")
    world.attempts.current[world.task_id] = 3
    await world.put("second")
    assert [line.attempt for line in await world.lines()] == [0, 3]


async def test_c13_4_an_unknown_task_is_not_found(world: World) -> None:
    unknown = UuidIds().new()
    with pytest.raises(NotFound, match=unknown):
        await world.put("x", task_id=unknown)
    with pytest.raises(NotFound):
        await world.put("x", task_id=unknown, retry_count=0)
    with pytest.raises(NotFound):
        await world.logs.put(OTHER_TENANT, TaskLogLine(task_id=world.task_id, message="x"))
    assert await task_logs(world.database, OTHER_TENANT, world.task_id) == []


async def test_c13_6_a_task_is_looked_up_once_when_its_lines_name_the_attempt(world: World) -> None:
    for number in range(20):
        await world.put(f"line {number}", retry_count=0)
    assert world.attempts.questions == 1
    assert len(await world.lines()) == 20


async def test_c13_6_a_line_is_answered_before_it_is_written(world: World) -> None:
    async with world.database.transaction() as transaction:
        await transaction.raw.execute("LOCK TABLE task_log IN EXCLUSIVE MODE")
        await asyncio.wait_for(world.put("waits"), 10)
    assert await world.messages() == ["waits"]


async def test_c13_5_at_most_1000_lines_a_task_also_after_a_restart(world: World) -> None:
    await asyncio.gather(*(world.put(f"{number}") for number in range(700)))
    await world.logs.drain()
    world.logs = world.new_logs()
    await asyncio.gather(*(world.put(f"{number}") for number in range(700, 1200)))
    messages = await world.messages(limit=5000)
    assert messages == [f"{number}" for number in range(1000)]
    # A second task is not hindered by the first one.
    other = world.task_id[:-1] + ("0" if world.task_id[-1] != "0" else "1")
    world.attempts.current[other] = 0
    await world.put("one", task_id=other)
    await world.logs.drain()
    assert [line.message for line in await task_logs(world.database, TENANT, other)] == ["one"]


async def test_c17_53_a_time_that_cannot_be_is_replaced(world: World) -> None:
    now = world.clock.now()
    for at in (now - 30, now + 3600, world.made_at - 3600, None):
        await world.put(f"{at}", created_at=at)
    assert [line.created_at for line in await world.lines()] == pytest.approx([now - 30, now, now, now])


async def test_lines_of_one_instant_stay_in_the_order_in_which_they_came(world: World) -> None:
    at = world.clock.now() - 1
    for number in range(50):
        await world.put(f"{number}", created_at=at)
    assert await world.messages() == [f"{number}" for number in range(50)]
    assert await world.messages(newest_first=True) == [f"{number}" for number in reversed(range(50))]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["A one", "b two", "c ONE%", "d"]),
        ({"search": "one"}, ["A one", "c ONE%"]),
        ({"search": "%"}, ["c ONE%"]),
        ({"search": ""}, ["A one", "b two", "c ONE%", "d"]),
        ({"levels": ["ERROR", "WARN"]}, ["b two", "c ONE%"]),
        ({"levels": []}, ["A one", "b two", "c ONE%", "d"]),
        ({"since": 1}, ["c ONE%", "d"]),
        ({"until": 1}, ["A one"]),
        ({"since": 0, "until": 3}, ["b two", "c ONE%"]),
        ({"attempt": 1}, ["b two", "c ONE%"]),
        ({"newest_first": True, "limit": 2}, ["d", "c ONE%"]),
        ({"limit": 2, "offset": 1}, ["b two", "c ONE%"]),
        ({"levels": ["WARN"], "search": "TWO", "attempt": 1}, ["b two"]),
        ({"levels": ["WARN"], "search": "one"}, []),
    ],
)
async def test_c13_7_filters(world: World, filters: dict[str, object], found: list[str]) -> None:
    start = world.clock.now() - 10
    for number, (message, level, attempt) in enumerate(
        [("A one", "INFO", 0), ("b two", "WARN", 1), ("c ONE%", "ERROR", 1), ("d", "DEBUG", 2)]
    ):
        await world.put(message, level=level, retry_count=attempt, created_at=start + number)
    moved = {
        name: start + value if name in ("since", "until") and isinstance(value, int) else value
        for name, value in filters.items()
    }
    assert await world.messages(**moved) == found


async def test_what_waits_to_be_written_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_task_logs, "MOST_WAITING_CHARACTERS", 50_000)
    with pytest.raises(ResourceExhausted, match="behind"):
        await asyncio.gather(*(world.put("x" * 10_000) for _ in range(10)))
    assert 1 <= len(await world.lines()) < 10
    await world.put("again")
    assert (await world.messages())[-1] == "again"


async def test_one_line_that_cannot_be_written_does_not_lose_the_others(world: World) -> None:
    # The day of that task was dropped by the retention.
    old = "00000000-0000-7000-8000-000000000001"
    world.attempts.current[old] = 0
    await asyncio.gather(world.put("before"), world.put("lost", task_id=old), world.put("after"))
    assert await world.messages() == ["before", "after"]
    assert world.logs._waiting_characters == 0
    await asyncio.gather(*(world.put(f"{number}") for number in range(1100)))
    assert len(await world.lines(limit=5000)) == 1000


async def test_counters_of_tasks_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_task_logs, "MOST_TASKS", 10)
    for number in range(30):
        task_id = world.task_id[:-2] + f"{number:02}"
        world.attempts.current[task_id] = 0
        await world.put("x", task_id=task_id)
    await world.logs.drain()
    assert len(world.logs._lines) == 10


async def test_lines_are_read_and_counted_by_index(world: World, dsn: str) -> None:
    ids = UuidIds()
    tasks = [world.task_id[:14] + ids.new()[14:] for _ in range(200)]
    for task_id in tasks:
        await append_log_lines(
            world.database,
            [
                NewLogLine(TENANT, task_id, ids.new(), 0, "INFO", f"line {number}", "", world.clock.now())
                for number in range(100)
            ],
        )
    hot = await Database.open(dsn, max_connections=1, hot=True)
    try:
        async with world.database.transaction() as transaction:
            await transaction.raw.execute("ANALYZE")
        for database, statement, args in (
            (world.database, "task_log_read", (TENANT, tasks[0], None, None, None, None, None, False, 1000, 0)),
            (world.database, "task_log_counts", ([TENANT] * 3, tasks[:3])),
            (hot, "task_log_counts", ([TENANT] * 3, tasks[:3])),
        ):
            async with database.transaction() as transaction:
                plan: list[asyncpg.Record] = await transaction.raw.fetch(f"EXPLAIN {sql(statement)}", *args)
            text = "\n".join(row[0] for row in plan)
            today = f"task_log_{time.strftime('%Y%m%d', time.gmtime(world.made_at))}"
            assert f"Seq Scan on {today}" not in text, text
            assert f"{today}_pkey" in text, text
    finally:
        await hot.close()
