"""Pushed events on a real database: stored, acknowledged after the commit, handed to the tenant's owner (C-12)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
import pytest_asyncio
from engine_worker import TENANT, until

from hatchet.core.errors import InvalidArgument, NotFound, ResourceExhausted, Unavailable
from hatchet.core.event_push import NewEvent
from hatchet.core.ids import lowest_at, time_of
from hatchet.core.messages import EventRecord
from hatchet.engine.bus import IDS_PER_MESSAGE, Bus
from hatchet.engine.clock import DatabaseClock, UuidIds
from hatchet.engine.event_triggers import EventTriggers
from hatchet.engine.events import Events
from hatchet.engine.memory import Owner, Owners
from hatchet.engine.registration import Registration
from hatchet.engine.trigger import Trigger
from hatchet.store.events import append_events, events_by_ids, events_since
from hatchet.store.pool import Database
from hatchet.store.statements import sql

OTHER_TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf60"


class Listener:
    """The part of a tenant's owner that hears of events; it sees what is committed when it is told."""

    def __init__(self) -> None:
        self.told: list[EventRecord] = []
        self.calls: list[int] = []
        self.failure: Exception | None = None

    def pushed(self, records: list[EventRecord]) -> None:
        self.calls.append(len(records))
        if self.failure is not None:
            raise self.failure
        self.told.extend(records)


class Place:
    """The events of one instance."""

    def __init__(self, database: Database, name: str, hot: Database | None = None) -> None:
        self.database = database
        self.owners = Owners()
        self.bus = Bus(database, name)
        self.clock = DatabaseClock()
        ids = UuidIds()
        registration = Registration(database=database, clock=self.clock, ids=ids)
        # No workflow is registered here, so nothing is ever started.
        triggers = EventTriggers(database, registration, cast("Trigger", None), self.clock, ids)
        self.events = Events(
            database,
            hot or database,
            self.owners,
            triggers,
            self.bus,
            self.clock,
            ids,
            flush_gap=0.0,
            flush_maximum=1000,
        )

    def listen(self, tenant_id: str = TENANT) -> Listener:
        """Become the owner of a tenant."""
        listener = Listener()
        self.owners.put(tenant_id, cast("Owner", listener))
        return listener

    async def push(self, key: str = "k", tenant_id: str = TENANT, **fields: Any) -> EventRecord:
        [record] = await self.events.push(tenant_id, [NewEvent(**{"key": key, "payload": "{}", **fields})])
        return record

    async def stored(self, *records: EventRecord) -> list[EventRecord]:
        return await events_by_ids(self.database, TENANT, [record.id for record in records])

    async def count(self) -> int:
        async with self.database.transaction() as transaction:
            return cast("int", await transaction.raw.fetchval("SELECT count(*) FROM event"))


@pytest_asyncio.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    """One instance, which writes on a connection as in production."""
    hot = await Database.open(database.dsn, max_connections=1, hot=True)
    made = Place(database, "one", hot)
    yield made
    await made.events.drain()
    await hot.close()


@asynccontextmanager
async def listening(*places: Place) -> AsyncIterator[None]:
    """Their buses run and know of each other."""
    for place in places:
        await place.bus.start()
        place.bus.has_peers = True
    try:
        yield
    finally:
        for place in places:
            await place.events.drain()
            await place.bus.stop()


@pytest_asyncio.fixture
async def pair(database: Database) -> AsyncIterator[tuple[Place, Place]]:
    one, other = Place(database, "one"), Place(database, "other")
    async with listening(one, other):
        yield one, other


# Storing ---------------------------------------------------------------------------------------------------------


async def test_c_12_7_an_event_is_stored_as_it_was_pushed(place: Place) -> None:
    before = place.clock.now()
    record = await place.push(
        "user:created",
        payload='{"b": 1.0, "a": "\\ud800 é"}',
        additional_metadata='{"hatchet__source_step_run_id":"x","n":[1,2]}',
        scope="customer-7",
        priority=3,
        happened_at=1_600_000_000.123456,
    )
    [stored] = await place.stored(record)
    assert stored.payload == record.payload
    assert json.loads(stored.additional_metadata) == json.loads(record.additional_metadata)
    assert (stored.tenant_id, stored.id, stored.key) == (TENANT, record.id, "user:created")
    assert (stored.scope, stored.priority, stored.happened_at) == ("customer-7", 3, 1_600_000_000.123456)
    assert before - 1e-6 <= record.inserted_at <= place.clock.now() + 1e-6
    assert stored.inserted_at == record.inserted_at
    assert time_of(record.id) == pytest.approx(record.inserted_at, abs=1.0)


async def test_c_12_7_an_event_that_nobody_waits_for_is_stored(place: Place) -> None:
    record = await place.push(payload='"just text"')
    [stored] = await place.stored(record)
    assert (stored.payload, stored.additional_metadata, stored.scope, stored.priority) == (
        '"just text"',
        "",
        None,
        None,
    )
    assert stored.happened_at == stored.inserted_at


async def test_c_12_3_a_bulk_keeps_its_order(place: Place) -> None:
    listener = place.listen()
    records = await place.events.push(TENANT, [NewEvent(key=f"k{n % 3}", payload=str(n)) for n in range(1000)])
    assert [record.payload for record in records] == [str(n) for n in range(1000)]
    assert len({record.id for record in records}) == 1000
    assert [record.id for record in records] == sorted(record.id for record in records)
    assert listener.told == records
    assert len(await place.stored(*records)) == 1000


async def test_c_12_4_one_invalid_item_fails_the_bulk_before_anything_is_stored(place: Place) -> None:
    listener = place.listen()
    items = [NewEvent(key="k", payload="{}"), NewEvent(key="k", payload="{}", priority=4)]
    with pytest.raises(InvalidArgument, match=r"events\[1\]\.priority"):
        await place.events.push(TENANT, items)
    assert await place.count() == 0
    assert listener.calls == []


async def test_a_single_event_is_not_numbered_in_an_error(place: Place) -> None:
    with pytest.raises(InvalidArgument, match=r"^key must not be empty"):
        await place.push("")


async def test_many_pushes_at_once_share_commits(place: Place) -> None:
    listener = place.listen()
    records = await asyncio.gather(*(place.push(f"k{n}") for n in range(200)))
    assert sorted(record.id for record in listener.told) == sorted(record.id for record in records)
    assert len(listener.calls) < 50
    assert await place.count() == 200


async def test_a_server_that_is_too_far_behind_refuses(place: Place) -> None:
    place.events._writes._high_water = 1
    with pytest.raises(ResourceExhausted):
        await place.events.push(TENANT, [NewEvent(key="k", payload="{}")] * 2)
    assert await place.count() == 0


# Handing over ----------------------------------------------------------------------------------------------------


async def test_c_8_25_the_owner_hears_of_every_event_after_the_commit(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed: list[str] = []

    async def append(queries: Database, rows: Sequence[EventRecord], revisions: Iterable[tuple[str, int]]) -> bool:
        written = await append_events(queries, rows, revisions)
        committed.extend(row.id for row in rows)
        return written

    monkeypatch.setattr("hatchet.engine.events.append_events", append)
    listener = place.listen()
    monkeypatch.setattr(
        listener, "pushed", lambda records: listener.told.extend(one for one in records if one.id in committed)
    )
    record = await place.push()
    assert listener.told == [record]


async def test_an_event_that_was_not_committed_is_not_handed_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> bool:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr("hatchet.engine.events.append_events", away)
    listener = place.listen()
    with pytest.raises(Unavailable):
        await place.push()
    assert listener.calls == []


async def test_tenants_hear_of_their_own_events_only(place: Place) -> None:
    mine, theirs = place.listen(), place.listen(OTHER_TENANT)
    records = await asyncio.gather(place.push(), place.push(), place.push(tenant_id=OTHER_TENANT))
    assert mine.told == records[:2]
    assert (mine.calls, theirs.calls) == ([2], [1]), "all three were in one flush"
    assert theirs.told == [records[2]]
    assert [record.id for record in await place.stored(*records)] == sorted(record.id for record in records[:2])


async def test_a_listener_that_fails_does_not_fail_the_push(place: Place) -> None:
    broken, sound = place.listen(), place.listen(OTHER_TENANT)
    broken.failure = ZeroDivisionError()
    record, other = await asyncio.gather(place.push(), place.push(tenant_id=OTHER_TENANT))
    assert broken.calls == [1]
    assert sound.told == [other]
    assert await place.stored(record)
    assert await place.count() == 2


async def test_events_reach_an_owner_in_another_instance(pair: tuple[Place, Place]) -> None:
    one, other = pair
    listener = other.listen()
    count = 2 * IDS_PER_MESSAGE + 1
    items = [NewEvent(key="k", payload=f"[{n}]", scope="s", additional_metadata='{"a":1}') for n in range(count)]
    records = await one.events.push(TENANT, items)
    await until(lambda: len(listener.told) == count, "the owner hears of every event")
    assert sorted(record.id for record in listener.told) == [record.id for record in records]
    assert {(record.key, record.scope, json.loads(record.additional_metadata)["a"]) for record in listener.told} == {
        ("k", "s", 1)
    }


async def test_an_instance_that_owns_nothing_reads_nothing(
    pair: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    heard: list[dict[str, object]] = []
    other.bus.on("events", heard.append)
    reads: list[str] = []

    async def read(_database: Database, tenant_id: str, _ids: Sequence[str]) -> list[EventRecord]:
        reads.append(tenant_id)
        return []

    monkeypatch.setattr("hatchet.engine.events.events_by_ids", read)
    other.listen(OTHER_TENANT)
    record = await one.push()
    await until(lambda: bool(heard), "the message arrives")
    await other.events.drain()
    assert heard[0]["ids"] == [record.id]
    assert reads == []


async def test_a_lost_message_is_found_by_key(pair: tuple[Place, Place]) -> None:
    one, other = pair
    since = other.clock.now()
    one.bus.has_peers = False
    listener = other.listen()
    record = await one.push("a")
    assert listener.told == []
    [found] = await events_since(other.database, TENANT, ["a"], since)
    assert found.id == record.id


# Reading by key --------------------------------------------------------------------------------------------------


async def test_c_8_9_only_events_from_the_given_time_on_are_found(place: Place) -> None:
    early = await place.push("a")
    since = place.clock.now()
    late = [await place.push("a"), await place.push("b"), await place.push("a")]
    await place.push("c")
    await place.push("a", tenant_id=OTHER_TENANT)
    found = await events_since(place.database, TENANT, ["b", "a", "never"], since)
    assert [record.id for record in found] == [record.id for record in late]
    everything = await events_since(place.database, TENANT, ["a"], early.inserted_at)
    assert [record.id for record in everything] == [early.id, late[0].id, late[2].id]
    assert await events_since(place.database, TENANT, [], early.inserted_at) == []


async def test_c_8_23_keys_are_compared_exactly(place: Place) -> None:
    since = place.clock.now()
    record = await place.push("a%")
    for key in ("a*", "a_", "A%", "a", "a% ", "%"):
        assert await events_since(place.database, TENANT, [key], since) == []
    [found] = await events_since(place.database, TENANT, ["a%"], since)
    assert found.id == record.id


async def test_an_id_from_a_slow_clock_is_found_by_the_time_in_its_row(place: Place) -> None:
    record = await place.push("a")
    slow = replace(record, id=lowest_at(record.inserted_at - 50), key="slow")
    await append_events(place.database, [slow])
    assert await events_since(place.database, TENANT, ["slow"], record.inserted_at) == [slow]
    assert await events_since(place.database, TENANT, ["slow"], record.inserted_at + 0.001) == []


# Replay ----------------------------------------------------------------------------------------------------------


async def test_c_12_9_a_replay_pushes_the_stored_event_again(place: Place) -> None:
    old = await place.push(
        "a", payload="[1]", additional_metadata='{"m":1}', scope="s", priority=2, happened_at=1_600_000_000.5
    )
    listener = place.listen()
    new = await place.events.replay(TENANT, old.id)
    assert new.id > old.id
    assert new.inserted_at > old.inserted_at
    assert (new.key, new.payload, json.loads(new.additional_metadata)) == ("a", "[1]", {"m": 1})
    assert (new.scope, new.priority, new.happened_at) == ("s", 2, 1_600_000_000.5)
    assert listener.told == [new]
    assert [record.id for record in await place.stored(old, new)] == [old.id, new.id]


async def test_c_1_12_an_event_of_another_tenant_is_unknown(place: Place) -> None:
    record = await place.push()
    for tenant_id, event_id in ((OTHER_TENANT, record.id), (TENANT, UuidIds().new())):
        with pytest.raises(NotFound, match=event_id):
            await place.events.replay(tenant_id, event_id)
    assert await place.count() == 1


# Plans -----------------------------------------------------------------------------------------------------------

FILL = """
INSERT INTO event (tenant_id, id, key, payload, happened_at, inserted_at)
SELECT '{tenant}', (lpad(to_hex(newest.at - n * 3000), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0')
                    || '8000' || lpad(to_hex(n), 12, '0'))::uuid,
       'key-' || (n % 200), repeat('x', 300)::bytea, now(), to_timestamp((newest.at - n * 3000) / 1000.0)
FROM (SELECT (extract(epoch FROM now()) * 1000)::bigint AS at) AS newest, generate_series(1, 24000) AS n
"""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def test_events_are_read_through_their_indexes(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.raw.execute(FILL.format(tenant=TENANT))
    async with database.transaction() as transaction:
        await transaction.raw.execute("ANALYZE event")
        ids = [str(row["id"]) for row in await transaction.raw.fetch("SELECT id FROM event ORDER BY id LIMIT 150")]
        plans = {}
        long_ago, now = time.time() - 20_000, time.time() - 5
        for name, statement, args in (
            ("long ago", "event_since", (TENANT, ["key-7", "key-9"], lowest_at(long_ago), long_ago)),
            ("now", "event_since", (TENANT, [f"key-{n}" for n in range(50)], lowest_at(now), now)),
            ("by ids", "event_by_ids", (TENANT, ids)),
        ):
            text = await transaction.raw.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql(statement)}", *args)
            plans[name] = list(nodes(json.loads(text)[0]["Plan"]))
    for name, plan in plans.items():
        # A partition without rows is read from end to end for nothing.
        full = [one["Relation Name"] for one in plan if one["Node Type"] == "Seq Scan" and one["Plan Rows"] > 1]
        assert full == [], name
    dropped = sum(node.get("Rows Removed by Filter", 0) * node["Actual Loops"] for node in plans["long ago"])
    assert dropped < 100
