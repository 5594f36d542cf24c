"""Rate limits over HTTP: list and delete, on the real service and a real database (behaviour-rest R-17)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from contract.rest_contract import answer_schema, complaints
from hatchet.core.clock import HeldClock
from hatchet.core.limits import short_key
from hatchet.core.messages import Caller
from hatchet.core.rate_limits import KeyState
from hatchet.core.rules import Window
from hatchet.engine.bus import Bus
from hatchet.engine.memory import Owners
from hatchet.engine.rate_limits import RateLimiting
from hatchet.engine.tenants import Tenants
from hatchet.rest.app import build_app
from hatchet.rest.ports import About, Services
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database
from hatchet.store.rate_limits import write_states

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
OTHER = "707d0855-80ab-4e1f-a156-f1c4546cbf53"
PATH = "/api/v1/tenants/{tenant}/rate-limits"
LEASE = HeldLease(f"scheduler:{TENANT}", 1, None)
NOW = 1_750_000_000.0


class FakeTokens:
    """Every token is one of TENANT."""

    def cached(self, token: str) -> Caller | None:
        return Caller(TENANT, "token")

    async def verify(self, token: str) -> Caller:
        return Caller(TENANT, "token")


class Door:
    """The HTTP application in front of the service."""

    def __init__(self, database: Database) -> None:
        self.clock = HeldClock(NOW)
        self.database = database
        self.limits = RateLimiting(database, Owners(), Bus(database, str(uuid.uuid4())), self.clock)
        parts: dict[str, Any] = {field.name: None for field in fields(Services)}
        parts.update(tokens=FakeTokens(), tenants=Tenants(database=database, clock=self.clock), rate_limits=self.limits)
        about = About(version="9.8.7", grpc_address="127.0.0.1:7070", server_url="http://localhost:8080")
        transport = httpx2.ASGITransport(app=build_app(Services(**parts), about), raise_app_exceptions=False)
        self.client = httpx2.AsyncClient(
            transport=transport, base_url="http://localhost:8080", headers={"Authorization": "Bearer good"}
        )

    async def get(self, tenant: str = TENANT, **params: Any) -> httpx2.Response:
        answer = await self.client.get(PATH.format(tenant=tenant), params=params)
        assert complaints(answer.json(), answer_schema("GET", PATH, answer.status_code)) == []
        return answer

    async def list(self, **params: Any) -> dict[str, Any]:
        answer = await self.get(**params)
        assert answer.status_code == 200
        body: dict[str, Any] = answer.json()
        return body

    async def keys(self, **params: Any) -> list[str]:
        return [row["key"] for row in (await self.list(**params))["rows"]]

    async def delete(self, **params: Any) -> httpx2.Response:
        return await self.client.delete(PATH.format(tenant=TENANT), params=params)

    async def taken(self, key: str, left: int) -> None:
        assert await write_states(self.database, LEASE, TENANT, [KeyState(key, None, None, left, NOW, NOW)])


@pytest_asyncio.fixture
async def door(database: Database) -> AsyncIterator[Door]:
    async with database.transaction() as transaction:
        await transaction.raw.execute(
            "INSERT INTO tenant (id, name, slug, created_at) SELECT id, slug, slug, now() "
            "FROM unnest($1::uuid[], $2::text[]) AS t (id, slug)",
            [TENANT, OTHER],
            ["one", "other"],
        )
        await transaction.raw.execute(
            "INSERT INTO lease (name, epoch, expires_at) VALUES ($1, 1, now() + interval '1 hour')", LEASE.name
        )
    made = Door(database)
    yield made
    await made.client.aclose()


async def test_r_17_1_a_row_tells_limit_and_units_left(door: Door) -> None:
    await door.limits.put(TENANT, "api", 10, Window.MINUTE)
    row = {
        "key": "api",
        "tenantId": TENANT,
        "limitValue": 10,
        "value": 10,
        "window": "MINUTE",
        "lastRefill": "2025-06-15T15:06:40Z",
    }
    assert (await door.list())["rows"] == [row]
    await door.taken("api", 4)
    assert (await door.list())["rows"] == [{**row, "value": 4}]
    door.clock.advance(60)
    assert (await door.list())["rows"] == [row]


async def test_r_17_4_a_pause_is_shown(door: Door) -> None:
    await door.limits.put(TENANT, "api", 10, Window.MINUTE)
    await door.limits.pause(TENANT, "api", NOW + 60)
    await door.limits.pause(TENANT, "not yet there", NOW + 60)
    [row] = (await door.list())["rows"]
    assert row["pausedUntil"] == "2025-06-15T15:07:40Z"


async def test_r_17_1_the_list_has_pages_search_and_order(door: Door) -> None:
    for number in range(5):
        await door.limits.put(TENANT, f"k{number}", 10 - number, Window.HOUR)
    await door.limits.put(OTHER, "k9", 1, Window.HOUR)
    await door.taken("k3", 0)
    assert await door.keys() == ["k0", "k1", "k2", "k3", "k4"]
    assert await door.keys(orderByField="key", orderByDirection="desc") == ["k4", "k3", "k2", "k1", "k0"]
    assert await door.keys(orderByField="limitValue") == ["k4", "k3", "k2", "k1", "k0"]
    assert await door.keys(orderByField="value", orderByDirection="asc") == ["k3", "k4", "k2", "k1", "k0"]
    assert await door.keys(search="K3") == ["k3"]
    assert await door.keys(search="\0") == []
    body = await door.list(offset=2, limit=2)
    assert [row["key"] for row in body["rows"]] == ["k2", "k3"]
    assert body["pagination"] == {"current_page": 2, "next_page": 3, "num_pages": 3}


async def test_r_17_1_fifty_are_listed_unless_more_are_asked_for(door: Door) -> None:
    for number in range(51):
        await door.limits.put(TENANT, f"k{number}", 1, Window.HOUR)
    assert len(await door.keys()) == 50
    assert len(await door.keys(limit=10_000)) == 51


@pytest.mark.parametrize(
    "params",
    [
        {"orderByField": "window"},
        {"orderByDirection": "up"},
        {"offset": -1},
        {"offset": 2**63},
        {"limit": 0},
        {"limit": "many"},
    ],
)
async def test_r_17_1_wrong_parameters_are_named(door: Door, params: dict[str, Any]) -> None:
    answer = await door.get(**params)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == next(iter(params))


async def test_r_17_2_delete_answers_204_also_for_an_unknown_key(door: Door) -> None:
    long = "k" * 1000
    for key in ("api", "a/b?c=d&e", long):
        await door.limits.put(TENANT, key, 10, Window.MINUTE)
    await door.limits.put(OTHER, "api", 10, Window.MINUTE)
    for key in ("api", "api", "a/b?c=d&e", short_key(long), "unknown", "", "\0"):
        answer = await door.delete(key=key)
        assert (answer.status_code, answer.content) == (204, b"")
    assert await door.keys() == []
    async with door.database.transaction() as transaction:
        assert await transaction.raw.fetchval("SELECT count(*) FROM rate_limit") == 1


async def test_r_17_2_the_key_is_required(door: Door) -> None:
    answer = await door.delete()
    assert answer.status_code == 400
    assert complaints(answer.json(), answer_schema("DELETE", PATH, 400)) == []
    assert answer.json()["errors"][0]["field"] == "key"


async def test_r_17_others_limits_are_out_of_reach(door: Door) -> None:
    await door.limits.put(OTHER, "api", 10, Window.MINUTE)
    assert (await door.client.get(PATH.format(tenant=OTHER))).status_code == 403
    assert (await door.client.delete(PATH.format(tenant=OTHER), params={"key": "api"})).status_code == 403
