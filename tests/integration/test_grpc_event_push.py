"""Push, BulkPush and ReplaySingleEvent over a real channel, on the engine's events and a real database (C-12)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_world import LIMIT, TENANT, World, a_world

from hatchet.core.clock import HeldClock
from hatchet.core.messages import EventRecord
from hatchet.engine.bus import Bus
from hatchet.engine.clock import DatabaseClock, UuidIds
from hatchet.engine.event_triggers import EventTriggers
from hatchet.engine.events import Events
from hatchet.engine.memory import Owner, Owners
from hatchet.engine.registration import Registration
from hatchet.grpc.events import EventsService
from hatchet.store.events import events_by_ids
from hatchet.store.pool import Database
from hatchet_contracts import events_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PUSH = "/EventsService/Push"
BULK = "/EventsService/BulkPush"
REPLAY = "/EventsService/ReplaySingleEvent"


class Listener:
    """The tenant's owner, as far as events concern it."""

    def __init__(self) -> None:
        self.told: list[EventRecord] = []

    def pushed(self, records: list[EventRecord]) -> None:
        self.told.extend(records)


class Pushing:
    """A client of the events service, and what the engine did."""

    def __init__(self, world: World, database: Database, listener: Listener, clock: DatabaseClock) -> None:
        self.world = world
        self.database = database
        self.listener = listener
        self.clock = clock

    async def push(self, **fields: Any) -> pb.Event:
        request = pb.PushEventRequest(**{"key": "user:created", "payload": "{}", **fields})
        return cast("pb.Event", await self.world.call(PUSH, request, pb.Event))

    async def stored(self, *answers: pb.Event) -> list[EventRecord]:
        return await events_by_ids(self.database, TENANT, [answer.event_id for answer in answers])

    async def count(self) -> int:
        async with self.database.transaction() as transaction:
            return cast("int", await transaction.raw.fetchval("SELECT count(*) FROM event"))


@pytest_asyncio.fixture
async def pushing(database: Database) -> AsyncIterator[Pushing]:
    owners, listener, clock = Owners(), Listener(), DatabaseClock()
    owners.put(TENANT, cast("Owner", listener))
    # Neither logs nor streams are asked for here, and nothing is triggered.
    nobody, ids = cast("Any", None), UuidIds()
    triggers = EventTriggers(database, Registration(database=database, clock=clock, ids=ids), nobody, clock, ids)
    events = Events(
        database, database, owners, triggers, Bus(database, "one"), clock, ids, flush_gap=0.0, flush_maximum=1000
    )
    service = EventsService(events=events, logs=nobody, run_events=nobody, clock=HeldClock(), max_message_bytes=LIMIT)
    async with a_world({"EventsService": service}) as world:
        yield Pushing(world, database, listener, clock)
    await events.drain()


async def test_c_12_2_the_answer_repeats_what_was_pushed(pushing: Pushing) -> None:
    before = pushing.clock.now()
    answer = await pushing.push(
        payload='{"a": 1.0}',
        event_timestamp=Timestamp(seconds=1_600_000_000),
        additional_metadata='{"b": [2]}',
        priority=3,
        scope="s",
    )
    assert (answer.tenant_id, answer.key, answer.scope) == (TENANT, "user:created", "s")
    assert (json.loads(answer.payload), json.loads(answer.additional_metadata)) == ({"a": 1.0}, {"b": [2]})
    assert before - 1e-3 <= answer.event_timestamp.ToNanoseconds() / 1e9 <= pushing.clock.now() + 1e-3
    [stored] = await pushing.stored(answer)
    assert (stored.priority, stored.happened_at) == (3, 1_600_000_000.0)
    assert [record.id for record in pushing.listener.told] == [answer.event_id]


async def test_a_push_without_anything_optional(pushing: Pushing) -> None:
    answer = await pushing.push()
    assert (answer.payload, answer.additional_metadata, answer.HasField("scope")) == ("{}", "{}", False)
    [stored] = await pushing.stored(answer)
    assert (stored.priority, stored.scope, stored.additional_metadata) == (None, None, "")


async def test_c_12_3_a_bulk_of_1000_answers_in_order(pushing: Pushing) -> None:
    events = [pb.PushEventRequest(key=f"k{n}", payload=f'{{"n":{n}}}', scope="ab"[n % 2]) for n in range(1000)]
    answer = await pushing.world.call(BULK, pb.BulkPushEventRequest(events=events), pb.Events)
    assert [(event.key, event.payload, event.scope) for event in answer.events] == [
        (event.key, event.payload, event.scope) for event in events
    ]
    assert len({event.event_id for event in answer.events}) == 1000
    assert len(await pushing.stored(*answer.events)) == 1000


async def test_c_12_3_an_empty_and_a_too_large_bulk_are_refused(pushing: Pushing) -> None:
    empty = await pushing.world.refused(BULK, pb.BulkPushEventRequest())
    assert empty == (INVALID, "No events to ingest")
    request = pb.BulkPushEventRequest(events=[pb.PushEventRequest(key="k", payload="{}")] * 1001)
    code, details = await pushing.world.refused(BULK, request)
    assert code is INVALID
    assert "1000" in details
    assert await pushing.count() == 0


async def test_c_12_4_one_bad_item_fails_the_bulk(pushing: Pushing) -> None:
    good, bad = pb.PushEventRequest(key="k", payload="{}"), pb.PushEventRequest(key="k", payload="{")
    code, details = await pushing.world.refused(BULK, pb.BulkPushEventRequest(events=[good, good, bad]))
    assert code is INVALID
    assert details.startswith("invalid json in field events[2].payload")
    assert await pushing.count() == 0
    assert pushing.listener.told == []


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"key": ""}, "key"),
        ({"payload": ""}, "payload"),
        ({"payload": '"\\u0000"'}, "payload"),
        ({"additional_metadata": "1"}, "additional_metadata"),
        ({"priority": 0}, "priority"),
        ({"priority": 4}, "priority"),
        ({"key": "a\x00"}, "key"),
        ({"scope": "a\x00"}, "scope"),
    ],
)
async def test_c_12_5_mistakes_are_refused_with_the_field(pushing: Pushing, fields: dict[str, Any], word: str) -> None:
    request = pb.PushEventRequest(**{"key": "k", "payload": "{}", **fields})
    code, details = await pushing.world.refused(PUSH, request)
    assert code is INVALID
    assert word in details
    assert await pushing.count() == 0


async def test_a_bulk_whose_answer_would_not_fit_is_refused_before_anything_is_stored(pushing: Pushing) -> None:
    payload = json.dumps("x" * 4100)
    request = pb.BulkPushEventRequest(events=[pb.PushEventRequest(key="k", payload=payload)] * 1000)
    assert request.ByteSize() < LIMIT
    code, details = await pushing.world.refused(BULK, request)
    assert code is INVALID
    assert "push fewer or smaller events" in details
    assert await pushing.count() == 0


async def test_a_single_event_near_the_limit_is_answered(pushing: Pushing) -> None:
    answer = await pushing.push(payload=json.dumps("x" * (LIMIT - 300)))
    assert len(answer.payload) == LIMIT - 298
    code, _ = await pushing.world.refused(
        PUSH, pb.PushEventRequest(key="user:created", payload=json.dumps("x" * (LIMIT - 60)))
    )
    assert code is INVALID
    assert await pushing.count() == 1
    again = await pushing.world.call(REPLAY, pb.ReplayEventRequest(event_id=answer.event_id), pb.Event)
    assert again.payload == answer.payload


async def test_c_12_9_a_replay_answers_with_the_new_event(pushing: Pushing) -> None:
    old = await pushing.push(payload="[1]", additional_metadata='{"m":1}', scope="s", priority=2)
    new = await pushing.world.call(REPLAY, pb.ReplayEventRequest(event_id=old.event_id.upper()), pb.Event)
    assert new.event_id != old.event_id
    assert (new.tenant_id, new.key, new.payload, new.scope) == (TENANT, "user:created", "[1]", "s")
    assert json.loads(new.additional_metadata) == {"m": 1}
    assert [record.id for record in pushing.listener.told] == [old.event_id, new.event_id]


async def test_c_12_9_only_an_event_of_the_tenant_is_replayed(pushing: Pushing) -> None:
    code, details = await pushing.world.refused(REPLAY, pb.ReplayEventRequest(event_id="seven"))
    assert code is INVALID
    assert "event_id" in details
    code, details = await pushing.world.refused(REPLAY, pb.ReplayEventRequest(event_id=UuidIds().new()))
    assert code is grpc.StatusCode.NOT_FOUND
    assert await pushing.count() == 0
