"""Rate limits in the database: definitions, pauses, what an owner has taken, and its fence (behaviour-core C-10)."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest_asyncio
from engine_worker import until

from hatchet.core.limits import Units, short_key
from hatchet.core.rate_limits import KeyState, RateLimits
from hatchet.core.rules import Window
from hatchet.engine.bus import Bus
from hatchet.engine.clock import DatabaseClock, UuidIds
from hatchet.engine.memory import Owner, Owners
from hatchet.engine.rate_limits import RateLimiting
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database
from hatchet.store.rate_limits import (
    StoredLimit,
    all_limits,
    assign_limited,
    delete_limit,
    forget_limits,
    limits_by_keys,
    list_limits,
    pause_limit,
    put_limit,
    write_states,
)
from hatchet.store.statements import sql
from hatchet.store.tasks import NewAssignment

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
OTHER = "707d0855-80ab-4e1f-a156-f1c4546cbf53"
LEASE = HeldLease(f"scheduler:{TENANT}", 7, None)
STALE = replace(LEASE, epoch=6)
NOW = 1_750_000_000.25
MINUTE, HOUR = Window.MINUTE, Window.HOUR


@pytest_asyncio.fixture
async def store(database: Database) -> Database:
    """A database with two tenants, and a lease of the first."""
    async with database.transaction() as transaction:
        await transaction.raw.execute(
            "INSERT INTO tenant (id, name, slug, created_at) "
            "SELECT id, slug, slug, now() FROM unnest($1::uuid[], $2::text[]) AS t (id, slug)",
            [TENANT, OTHER],
            ["one", "other"],
        )
        await transaction.raw.execute(
            "INSERT INTO lease (name, epoch, holder, expires_at) VALUES ($1, $2, $3, now() + interval '1 hour')",
            LEASE.name,
            LEASE.epoch,
            str(uuid.uuid4()),
        )
    return database


@pytest_asyncio.fixture
async def hot(store: Database) -> AsyncIterator[Database]:
    """Connections as assignments have them."""
    opened = await Database.open(store.dsn, max_connections=2, hot=True)
    yield opened
    await opened.close()


def state(key: str, left: int, *, limit: int | None = None, window: Window | None = None, at: float = NOW) -> KeyState:
    return KeyState(key, limit, window, left, at, at)


def attempt(task_id: str, **fields: Any) -> NewAssignment:
    return NewAssignment(task_id, 0, str(uuid.uuid4()), 0, 0, NOW + 60, **fields)


async def stored(database: Database, tenant_id: str = TENANT) -> dict[str, StoredLimit]:
    return {row.key: row async for page in all_limits(database, tenant_id) for row in page}


async def listed(database: Database, *, now: float = NOW, **options: Any) -> list[tuple[str, int]]:
    wanted = {"search": None, "order_by": "key", "is_descending": False, "offset": 0, "limit": 50, **options}
    rows, _ = await list_limits(database, TENANT, now=now, **wanted)
    return [(row.key, row.value) for row in rows]


async def test_c_10_1_a_limit_is_put_and_replaced(store: Database) -> None:
    await put_limit(store, TENANT, "a", 5, MINUTE, NOW)
    assert await stored(store) == {"a": StoredLimit("a", 5, MINUTE, None, None, None, NOW)}
    await put_limit(store, TENANT, "a", 2**63 - 1, HOUR, NOW + 1)
    assert await stored(store) == {"a": StoredLimit("a", 2**63 - 1, HOUR, None, None, None, NOW + 1)}
    assert await stored(store, OTHER) == {}


async def test_c_10_2_what_was_taken_stays_when_a_limit_is_put_again(store: Database) -> None:
    await put_limit(store, TENANT, "a", 5, MINUTE, NOW)
    assert await write_states(store, LEASE, TENANT, [state("a", 1)])
    await put_limit(store, TENANT, "a", 3, MINUTE, NOW + 1)
    row = (await stored(store))["a"]
    assert (row.limit, row.units_left, row.refilled_at) == (3, 1, NOW)


async def test_c_10_4_a_pause_is_never_shortened_and_waits_for_its_key(store: Database) -> None:
    assert await pause_limit(store, TENANT, "a", NOW + 60, NOW) == NOW + 60
    assert await pause_limit(store, TENANT, "a", NOW + 30, NOW) == NOW + 60
    assert await pause_limit(store, TENANT, "a", NOW + 90, NOW) == NOW + 90
    assert await listed(store) == []
    await put_limit(store, TENANT, "a", 5, MINUTE, NOW)
    assert (await stored(store))["a"] == StoredLimit("a", 5, MINUTE, NOW + 90, None, None, NOW)
    assert await listed(store) == [("a", 5)]


async def test_c_10_4_pauses_that_come_together_leave_the_latest(store: Database) -> None:
    async def pause(seconds: int) -> float:
        return await pause_limit(store, TENANT, "a", NOW + seconds, NOW)

    answers = await asyncio.gather(*(pause(seconds) for seconds in range(20)))
    assert all(answer >= NOW + seconds for seconds, answer in enumerate(answers))
    assert (await stored(store))["a"].paused_until == NOW + 19


async def test_r_17_2_delete_takes_the_row_of_its_own_tenant(store: Database) -> None:
    await put_limit(store, TENANT, "a", 5, MINUTE, NOW)
    await put_limit(store, OTHER, "a", 5, MINUTE, NOW)
    assert await delete_limit(store, TENANT, "a") == ["a"]
    assert await delete_limit(store, TENANT, "a") == []
    assert list(await stored(store, OTHER)) == ["a"]


async def test_r_17_2_a_long_key_is_deleted_in_full_and_as_listed(store: Database) -> None:
    long = "k" * 1000
    for name in (long, short_key(long)):
        await put_limit(store, TENANT, short_key(long), 5, MINUTE, NOW)
        assert await delete_limit(store, TENANT, name) == [short_key(long)]


async def test_all_limits_come_in_pages_and_some_by_key(store: Database) -> None:
    for number in range(7):
        await put_limit(store, TENANT, f"k{number}", number, MINUTE, NOW)
    pages = [[row.key for row in page] async for page in all_limits(store, TENANT, 3)]
    assert pages == [["k0", "k1", "k2"], ["k3", "k4", "k5"], ["k6"]]
    assert set(await limits_by_keys(store, TENANT, ["k1", "nobody", "k5"])) == {"k1", "k5"}


async def test_r_17_1_the_value_is_refilled_at_read(store: Database) -> None:
    for window in Window:
        await put_limit(store, TENANT, window.value, 5, window, NOW)
    await write_states(store, LEASE, TENANT, [state(window.value, 2) for window in Window])
    assert {value for _, value in await listed(store, now=NOW + 0.98)} == {2}
    for days, over in ((1 / 86_400, 1), (1 / 1440, 2), (1 / 24, 3), (1, 4), (7, 5), (31, 6), (366, 7)):
        values = [value for _, value in await listed(store, now=NOW + days * 86_400)]
        assert sorted(values) == sorted([5] * over + [2] * (7 - over)), days


async def test_r_17_1_a_list_is_searched_ordered_and_paged(store: Database) -> None:
    for key, limit, left in (("User-b", 9, 1), ("user-a", 7, 3), ("other", 8, 2), ("100%", 6, 4)):
        await put_limit(store, TENANT, key, limit, MINUTE, NOW)
        await write_states(store, LEASE, TENANT, [state(key, left)])
    assert {key for key, _ in await listed(store, search="USER")} == {"User-b", "user-a"}
    assert await listed(store, search="%") == [("100%", 4)]
    assert await listed(store, search="\0") == []
    up = await listed(store)
    assert await listed(store, is_descending=True) == up[::-1]
    assert [value for _, value in await listed(store, order_by="value")] == [1, 2, 3, 4]
    assert [value for _, value in await listed(store, order_by="value", is_descending=True)] == [4, 3, 2, 1]
    assert [value for _, value in await listed(store, order_by="limitValue")] == [4, 3, 2, 1]
    assert await listed(store, offset=1, limit=2) == up[1:3]
    _, total = await list_limits(
        store, TENANT, search="user", order_by="key", is_descending=False, now=NOW, offset=0, limit=1
    )
    assert total == 2


async def test_a_state_leaves_definitions_of_others_alone(store: Database) -> None:
    await put_limit(store, TENANT, "a", 5, MINUTE, NOW + 10)
    # A task had defined the key before; its owner learns of the change later.
    await write_states(store, LEASE, TENANT, [state("a", 1, limit=100, window=HOUR, at=NOW)])
    assert (await stored(store))["a"] == StoredLimit("a", 5, MINUTE, None, 1, NOW, NOW + 10)
    await write_states(store, LEASE, TENANT, [state("a", 1, limit=100, window=HOUR, at=NOW + 20)])
    assert (await stored(store))["a"] == StoredLimit("a", 100, HOUR, None, 1, NOW + 20, NOW + 20)


async def test_r_17_3_a_deleted_key_comes_again_only_with_a_definition(store: Database) -> None:
    assert await write_states(store, LEASE, TENANT, [state("a", 1)])
    assert await stored(store) == {}
    await write_states(store, LEASE, TENANT, [state("a", 1, limit=2, window=MINUTE)])
    assert (await stored(store))["a"] == StoredLimit("a", 2, MINUTE, None, 1, NOW, NOW)


async def test_c_10_4_a_key_that_a_task_defines_keeps_its_pause(store: Database) -> None:
    await pause_limit(store, TENANT, "a", NOW + 60, NOW + 5)
    await write_states(store, LEASE, TENANT, [state("a", 2, limit=2, window=MINUTE)])
    row = (await stored(store))["a"]
    assert (row.limit, row.window, row.paused_until) == (2, MINUTE, NOW + 60)


async def test_limits_that_tasks_defined_and_nobody_uses_any_more_go(store: Database) -> None:
    await put_limit(store, TENANT, "of people", 5, MINUTE, NOW)
    used = [
        KeyState("of people", None, None, 4, NOW, NOW),
        KeyState("of a task", 3, MINUTE, 2, NOW, NOW),
        KeyState("of a year", 3, Window.YEAR, 2, NOW, NOW),
    ]
    assert await write_states(store, LEASE, TENANT, used)
    assert await forget_limits(store, NOW + 86_400) == 0
    assert await forget_limits(store, NOW + 3 * 86_400) == 1
    left = await limits_by_keys(store, TENANT, ["of people", "of a task", "of a year"])
    assert set(left) == {"of people", "of a year"}
    assert await forget_limits(store, NOW + 800 * 86_400) == 1


async def test_an_owner_that_was_replaced_writes_nothing(store: Database) -> None:
    await put_limit(store, TENANT, "a", 5, MINUTE, NOW)
    assert not await write_states(store, STALE, TENANT, [state("a", 1), state("b", 1, limit=2, window=MINUTE)])
    assert (await stored(store)) == {"a": StoredLimit("a", 5, MINUTE, None, None, None, NOW)}


async def test_c_10_12_assignments_and_units_are_written_together(store: Database, hot: Database) -> None:
    await put_limit(store, TENANT, "a", 5, MINUTE, NOW)
    batch = str(uuid.uuid4())
    one, two = UuidIds().new(), UuidIds().new()
    rows = [attempt(one), attempt(two, batch_id=batch, batch_reason="BATCH_SIZE")]
    states = [state("z", 0, limit=1, window=HOUR), state("a", 3), state("gone", 3)]
    assert await assign_limited(hot, STALE, TENANT, NOW, rows, states) == set()
    assert (await stored(store))["a"].units_left is None
    assert await assign_limited(hot, LEASE, TENANT, NOW, rows, states) == {one, two}
    # Again: the attempts are assigned already, the units are what they are.
    assert await assign_limited(hot, LEASE, TENANT, NOW, rows, states) == set()
    found = await stored(store)
    assert {key: (row.limit, row.units_left) for key, row in found.items()} == {"a": (5, 3), "z": (1, 0)}
    async with store.transaction() as transaction:
        written = await transaction.raw.fetch(
            "SELECT task_id::text, batch_id::text, batch_reason FROM task_assignment ORDER BY batch_reason NULLS FIRST"
        )
    assert [tuple(row) for row in written] == [(one, None, None), (two, batch, "BATCH_SIZE")]


async def test_an_attempt_that_has_ended_is_not_assigned(store: Database, hot: Database) -> None:
    ended, other = UuidIds().new(), UuidIds().new()
    async with store.transaction() as transaction:
        await transaction.raw.execute(
            "INSERT INTO task_result (tenant_id, task_id, attempt, outcome, finished_at, app_retries, internal_retries)"
            " VALUES ($1, $2, 0, 'CANCELLED', now(), 0, 0)",
            TENANT,
            ended,
        )
    assert await assign_limited(hot, LEASE, TENANT, NOW, [attempt(ended), attempt(other)], []) == {other}


async def test_what_memory_says_and_what_the_rows_say_agree(store: Database) -> None:
    limits = RateLimits()
    units = (Units("u", 2, 5, MINUTE),)
    limits.define(units, NOW + 1 / 3)
    limits.take(units, NOW + 1)
    states = limits.changed()
    assert await write_states(store, LEASE, TENANT, states)
    limits.written(states)
    other = RateLimits()
    for row in (await stored(store)).values():
        fields = (row.key, row.limit, row.window, row.paused_until, row.units_left, row.refilled_at, row.updated_at)
        limits.load(*fields)
        other.load(*fields)
    for each in (limits, other):
        assert each.changed() == []
        lack = each.lack((Units("u", 4),), NOW + 2)
        assert lack is not None
        assert lack.left == 3
    # A put at the very moment of the definition counts, too.
    await put_limit(store, TENANT, "u", 1, HOUR, NOW)
    row = (await stored(store))["u"]
    limits.load(row.key, row.limit, row.window, None, row.units_left, row.refilled_at, row.updated_at)
    assert limits.limit_of("u") == 1


async def test_statements_of_assignments_read_no_table_from_end_to_end(store: Database, hot: Database) -> None:
    async with store.transaction() as transaction:
        await transaction.raw.execute(
            "INSERT INTO rate_limit SELECT $1::uuid, 'k' || n, 5, 'MINUTE', NULL, 5, now(), now() "
            "FROM generate_series(1, 20000) AS n",
            TENANT,
        )
    async with store.transaction() as transaction:
        await transaction.raw.execute("ANALYZE rate_limit")
    keys = [f"k{number}" for number in range(500)]
    columns = [keys, [None] * 500, [None] * 500, [1] * 500, [NOW] * 500, [NOW] * 500]
    ids = [str(uuid.uuid4()) for _ in range(100)]
    zeros, nothing = [0] * 100, [None] * 100
    fence = ["x", 1, TENANT]
    assignment = [NOW, ids, zeros, ids, zeros, zeros, [NOW] * 100, nothing, nothing]
    for connections in (store, hot):
        for name, args in (
            ("task_assign_limited", [*fence, *assignment, *columns, zeros]),
            ("rate_limit_states", [*fence, *columns]),
        ):
            async with connections.transaction() as transaction:
                text = await transaction.raw.fetchval(f"EXPLAIN (FORMAT JSON) {sql(name)}", *args)
            scans = [
                node["Relation Name"]
                for node in nodes(json.loads(text)[0]["Plan"])
                if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "rate_limit"
            ]
            assert scans == [], name


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


class Told:
    """An owner that notes which limits changed."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def limits_changed(self, keys: list[str]) -> None:
        self.keys.extend(keys)


async def test_the_owner_hears_of_changes_here_and_elsewhere(store: Database) -> None:
    clock = DatabaseClock()
    here, there = Owners(), Owners()
    owner = Told()
    buses = [Bus(store, str(uuid.uuid4())) for _ in range(2)]
    near = RateLimiting(store, here, buses[0], clock)
    RateLimiting(store, there, buses[1], clock)
    for bus in buses:
        await bus.start()
        bus.has_peers = True
    try:
        here.put(TENANT, cast("Owner", owner))
        await near.put(TENANT, "a", 5, MINUTE)
        await near.pause(TENANT, "b", clock.now() + 60)
        await near.delete(TENANT, "a")
        await near.delete(TENANT, "unknown")
        assert owner.keys == ["a", "b", "a"]
        here.remove(TENANT)
        there.put(TENANT, cast("Owner", owner))
        key = "schlüssel-" + "\U0001f600" * 300
        await near.put(TENANT, key, 5, MINUTE)
        await until(lambda: len(owner.keys) == 4, "the owner hears of it")
        assert owner.keys[3] == short_key(key)
    finally:
        for bus in buses:
            await bus.stop()
