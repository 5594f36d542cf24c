"""PutRateLimit and PauseRateLimit over a real channel, on the real service and a real database (C-10.1 to C-10.4)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_world import TENANT, World, a_world

from hatchet.core.limits import short_key
from hatchet.core.rules import Window
from hatchet.engine.bus import Bus
from hatchet.engine.clock import DatabaseClock
from hatchet.engine.memory import Owners
from hatchet.engine.rate_limits import RateLimiting
from hatchet.grpc.workflows import WorkflowService
from hatchet.store.pool import Database
from hatchet.store.rate_limits import StoredLimit, all_limits
from hatchet_contracts import workflows_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PUT = "/WorkflowService/PutRateLimit"
PAUSE = "/WorkflowService/PauseRateLimit"
NOON = 1_900_000_000


class Client:
    """A client of the workflow service, and the rows behind it."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.database = database

    async def put(self, **fields: Any) -> None:
        answer = await self.world.call(PUT, pb.PutRateLimitRequest(**fields), pb.PutRateLimitResponse)
        assert answer == pb.PutRateLimitResponse()

    async def pause(self, key: str, until: int) -> int:
        request = pb.PauseRateLimitRequest(key=key, paused_until=Timestamp(seconds=until))
        answer = await self.world.call(PAUSE, request, pb.PauseRateLimitResponse)
        return int(answer.paused_until.seconds)

    async def rows(self) -> dict[str, StoredLimit]:
        return {row.key: row async for page in all_limits(self.database, TENANT) for row in page}


@pytest_asyncio.fixture
async def client(database: Database) -> AsyncIterator[Client]:
    async with database.transaction() as transaction:
        await transaction.raw.execute(
            "INSERT INTO tenant (id, name, slug, created_at) VALUES ($1, 'one', 'one', now())", TENANT
        )
    nobody: Any = None
    limiting = RateLimiting(database, Owners(), Bus(database, str(uuid.uuid4())), DatabaseClock())
    service = WorkflowService(registration=nobody, trigger=nobody, scheduled=nobody, rate_limits=limiting)
    async with a_world({"WorkflowService": service}) as world:
        yield Client(world, database)


@pytest.mark.parametrize("window", list(Window))
async def test_c_10_1_a_limit_is_put_for_the_tenant(client: Client, window: Window) -> None:
    await client.put(key="api", limit=10, duration=pb.RateLimitDuration.Value(window.value))
    row = (await client.rows())["api"]
    assert (row.limit, row.window, row.paused_until) == (10, window, None)


async def test_c_10_2_it_is_replaced_by_another(client: Client) -> None:
    await client.put(key="api", limit=10)
    await client.put(key="api", limit=0, duration=pb.DAY)
    row = (await client.rows())["api"]
    assert (row.limit, row.window) == (0, Window.DAY)


async def test_c_10_4_the_effective_time_of_a_pause_is_returned(client: Client) -> None:
    assert await client.pause("user:1", NOON) == NOON
    assert await client.pause("user:1", NOON - 60) == NOON
    assert await client.pause("user:1", NOON + 60) == NOON + 60
    row = (await client.rows())["user:1"]
    assert (row.limit, row.paused_until) == (None, NOON + 60)


async def test_long_keys_are_kept_short(client: Client) -> None:
    long = "k" * 10_000
    await client.put(key=long, limit=10)
    assert await client.pause(long, NOON) == NOON
    row = (await client.rows())[short_key(long)]
    assert (row.limit, row.paused_until) == (10, NOON)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"limit": 1}, "key is required"),
        ({"key": "a\0b", "limit": 1}, "null character"),
        ({"key": "a", "limit": -1}, "limit must be from 0"),
        ({"key": "a", "limit": 1, "duration": 7}, "duration 7 is unknown: use one of 0 (SECOND)"),
    ],
)
async def test_c_10_1_a_limit_that_makes_no_sense_is_refused(client: Client, fields: dict[str, Any], text: str) -> None:
    status, details = await client.world.refused(PUT, pb.PutRateLimitRequest(**fields))
    assert status is INVALID
    assert text in details
    assert await client.rows() == {}


async def test_c_10_1_the_text_for_an_empty_key(client: Client) -> None:
    assert await client.world.refused(PUT, pb.PutRateLimitRequest(limit=1)) == (INVALID, "key is required")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"paused_until": Timestamp(seconds=NOON)}, "key is required"),
        ({"key": "a\0b", "paused_until": Timestamp(seconds=NOON)}, "null character"),
        ({"key": "a"}, "paused_until is required"),
        ({"key": "a", "paused_until": Timestamp(seconds=-5)}, "paused_until must be a time"),
        ({"key": "a", "paused_until": Timestamp(seconds=2**40)}, "paused_until must be a time"),
    ],
)
async def test_c_10_4_a_pause_that_makes_no_sense_is_refused(client: Client, fields: dict[str, Any], text: str) -> None:
    status, details = await client.world.refused(PAUSE, pb.PauseRateLimitRequest(**fields))
    assert status is INVALID
    assert text in details
    assert await client.rows() == {}
