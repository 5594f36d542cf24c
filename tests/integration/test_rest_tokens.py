"""API tokens over HTTP, on a real database: list, create, revoke (behaviour-rest R-7)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import jwt
import pytest
import pytest_asyncio
from people_world import NOW, OTHER, TENANT, UNKNOWN, URL, PeopleWorld, Process, people_world

from contract.rest_contract import answer_schema, complaints
from hatchet.core.roles import Role
from hatchet.engine.identity import CACHE_SECONDS
from hatchet.store.pool import Database

PATH = "/api/v1/tenants/{tenant}/api-tokens"
TOKENS = f"/api/v1/tenants/{TENANT}/api-tokens"
DAY = 86400


@pytest_asyncio.fixture
async def world(database: Database) -> AsyncIterator[PeopleWorld]:
    async with people_world(database) as made:
        yield made


@pytest.fixture
def process(world: PeopleWorld) -> Process:
    return world.process()


@pytest_asyncio.fixture
async def admin(process: Process) -> Any:
    return await process.signed_in("admin@example.com", Role.ADMIN)


async def create(admin: httpx2.AsyncClient, name: str = "mine", **more: Any) -> str:
    answer = await admin.post(TOKENS, json={"name": name, **more})
    assert answer.status_code == 200, answer.text
    assert complaints(answer.json(), answer_schema("POST", PATH, 200)) == []
    token: str = answer.json()["token"]
    return token


async def rows(admin: httpx2.AsyncClient, tenant: str = TENANT) -> list[dict[str, Any]]:
    answer = await admin.get(PATH.format(tenant=tenant))
    assert answer.status_code == 200
    assert complaints(answer.json(), answer_schema("GET", PATH, 200)) == []
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def revoking(token: str) -> str:
    return f"/api/v1/api-tokens/{claims(token)['token_id']}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def works(process: Process, token: str) -> bool:
    answer = await process.browser().get(f"/api/v1/tenants/{TENANT}", headers=bearer(token))
    assert answer.status_code in (200, 403)
    return answer.status_code == 200


async def test_r_7_1_a_created_token_works_and_is_told_once(process: Process, admin: httpx2.AsyncClient) -> None:
    token = await create(admin)
    assert claims(token)["sub"] == TENANT
    assert claims(token)["server_url"] == URL
    assert claims(token)["exp"] - claims(token)["iat"] == 90 * DAY
    assert await works(process, token)
    assert token not in (await admin.get(TOKENS)).text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7776000s", 90 * DAY), ("31536000s", 365 * DAY), ("3153600000s", 36500 * DAY), ("1h30m", 5400), ("1s", 1)],
)
async def test_r_7_1_expires_in(admin: httpx2.AsyncClient, text: str, seconds: int) -> None:
    token = await create(admin, expiresIn=text)
    assert claims(token)["exp"] - claims(token)["iat"] == seconds


async def test_r_7_2_the_list_has_the_tenants_tokens_newest_first(process: Process, admin: httpx2.AsyncClient) -> None:
    assert await rows(admin) == []
    first = await create(admin, "first", expiresIn="60s")
    process.clock.advance(30)
    second = await create(admin, "second")
    await process.tokens.issue(OTHER, name="others")
    process.clock.advance(60)
    found = await rows(admin)
    # Those that are over stay listed.
    assert [(row["name"], row["metadata"]["id"]) for row in found] == [
        ("second", claims(second)["token_id"]),
        ("first", claims(first)["token_id"]),
    ]
    assert found[1]["metadata"]["createdAt"] == "2025-06-15T15:06:40Z"
    assert found[1]["expiresAt"] == "2025-06-15T15:07:40Z"
    assert process.clock.now() == NOW + 90


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "a" * 256}, "name"),
        ({}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x", "expiresIn": "90 days"}, "expiresIn"),
        ({"name": "x", "expiresIn": ""}, "expiresIn"),
        ({"name": "x", "expiresIn": "-5s"}, "expiresIn"),
        ({"name": "x", "expiresIn": "0s"}, "expiresIn"),
        ({"name": "x", "expiresIn": "1ms"}, "expiresIn"),
        ({"name": "x", "expiresIn": "999999999999h"}, "expiresIn"),
        ({"name": "x", "expiresIn": 5}, "expiresIn"),
    ],
)
async def test_r_7_4_what_is_wrong_is_named(admin: httpx2.AsyncClient, body: dict[str, Any], field: str) -> None:
    answer = await admin.post(TOKENS, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert complaints(answer.json(), answer_schema("POST", PATH, 400)) == []
    [error] = answer.json()["errors"]
    assert error["field"] == field
    if body.get("expiresIn") == "90 days":
        assert "write numbers with the units ms, s, m or h, such as 90s" in error["description"]
    assert await rows(admin) == []


async def test_r_7_1_a_name_of_255_characters(admin: httpx2.AsyncClient) -> None:
    await create(admin, "ä" * 255)
    assert (await rows(admin))[0]["name"] == "ä" * 255


async def test_r_7_3_and_r_2_13_a_revoked_token_is_refused_everywhere_within_seconds(
    world: PeopleWorld, process: Process, admin: httpx2.AsyncClient
) -> None:
    other = world.process()
    token, kept = await create(admin), await create(admin, "kept")
    assert await works(process, token)
    assert await works(other, token)
    answer = await admin.post(revoking(token))
    assert (answer.status_code, answer.content) == (204, b"")
    assert not await works(process, token)
    world.clock.advance(CACHE_SECONDS)
    assert not await works(other, token)
    assert await works(other, kept)
    assert [row["name"] for row in await rows(admin)] == ["kept"]
    # Again changes nothing.
    assert (await admin.post(revoking(token))).status_code == 204


async def test_r_7_3_unknown_and_malformed_ids(process: Process, admin: httpx2.AsyncClient) -> None:
    # also without credentials.
    for browser in (admin, process.browser()):
        answer = await browser.post(f"/api/v1/api-tokens/{UNKNOWN}")
        assert (answer.status_code, answer.json()) == (404, {"message": "not found"})
        answer = await browser.post("/api/v1/api-tokens/x")
        assert (answer.status_code, answer.json()) == (400, {"message": "invalid api-token id"})


async def test_r_7_3_others_tokens_cannot_be_revoked(process: Process, admin: httpx2.AsyncClient) -> None:
    token = await process.tokens.issue(OTHER, name="others")
    answer = await admin.post(revoking(token))
    assert (answer.status_code, answer.json()) == (401, {"message": "Not authorized to view this resource"})
    assert await process.tokens.verify(token)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER])
async def test_r_7_5_below_admin_nobody_has_to_do_with_tokens(process: Process, role: Role) -> None:
    token = await process.tokens.issue(TENANT, name="test")
    browser = await process.signed_in("bob@example.com", role)
    for method, path in (
        ("GET", TOKENS),
        ("POST", TOKENS),
        ("POST", revoking(token)),
    ):
        answer = await browser.request(method, path, json={"name": "mine"})
        assert (answer.status_code, answer.json()) == (401, {"message": "Not authorized to view this resource"})
    assert await works(process, token)


async def test_r_2_4_a_token_has_nothing_to_do_with_tokens(process: Process, admin: httpx2.AsyncClient) -> None:
    token = await create(admin)
    refused = {"message": "Not authorized to perform this operation"}
    for method, path in (
        ("GET", TOKENS),
        ("POST", TOKENS),
        ("POST", revoking(token)),
    ):
        answer = await process.browser().request(method, path, json={"name": "mine"}, headers=bearer(token))
        assert (answer.status_code, answer.json()) == (401, refused)
    assert await works(process, token)
    # In another tenant it is no credential at all.
    answer = await process.browser().get(PATH.format(tenant=OTHER), headers=bearer(token))
    assert answer.status_code == 403
