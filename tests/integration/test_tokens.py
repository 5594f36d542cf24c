"""API tokens against the database: what is issued, what is refused, and what a verification costs (C-1.1 to C-1.12)."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from hatchet.core.clock import HeldClock
from hatchet.core.errors import InvalidArgument, NotFound, Unauthenticated, Unavailable
from hatchet.core.messages import Caller
from hatchet.engine.clock import UuidIds
from hatchet.engine.identity import AWAY_SECONDS, CACHE_SECONDS, Tokens
from hatchet.engine.keys import KeySet, generate
from hatchet.store import identity
from hatchet.store.pool import Database, Row

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
OTHER_TENANT = "0195f2a0-0000-7000-8000-000000000001"
URL = "http://localhost:8080"
GRPC = "127.0.0.1:7070"
DAY = 86400.0


class CountingDatabase(Database):
    """Counts statements, can hold them back, and can be "away"."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.asked = 0
        self.away = False
        self.gate: asyncio.Event | None = None
        self.waiting = asyncio.Event()

    async def fetch(self, name: str, *args: object) -> list[Row]:
        self.asked += 1
        if self.gate is not None:
            self.waiting.set()
            await self.gate.wait()
        if self.away:
            raise Unavailable("the database does not answer: gone")
        return await self._inner.fetch(name, *args)

    async def execute(self, name: str, *args: object) -> int:
        return await self._inner.execute(name, *args)


class World:
    """One instance's tokens, its clock, and a way to make another instance on the same database."""

    def __init__(self, database: Database) -> None:
        self.clock = HeldClock()
        self.database = CountingDatabase(database)
        self.keys = generate()
        self.tokens = self.instance()

    def instance(self, *, keys: KeySet | None = None, server_url: str = URL) -> Tokens:
        return Tokens(
            database=self.database,
            keys=keys or self.keys,
            server_url=server_url,
            grpc_broadcast_address=GRPC,
            clock=self.clock,
            ids=UuidIds(),
        )

    async def issue(self, lifetime: float = DAY) -> str:
        return await self.tokens.issue(TENANT, name="test", lifetime_seconds=lifetime)

    def signed(self, claims: dict[str, Any], *, keys: KeySet | None = None, kid: str | None = None) -> str:
        by = keys or self.keys
        return jwt.encode(claims, by.signing_key, algorithm="ES256", headers={"kid": kid or by.primary})


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.fixture
async def world(database: Database) -> World:
    for tenant_id, slug in ((TENANT, "default"), (OTHER_TENANT, "other")):
        await identity.insert_tenant(database, identity.Tenant(tenant_id, slug, slug, 0.0))
    return World(database)


async def test_c_1_1_to_c_1_5_an_issued_token_carries_what_clients_read(world: World) -> None:
    token = await world.issue(lifetime=3600)
    assert token.startswith("ey")
    assert len(token.split(".")) == 3
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["kid"]) == ("ES256", world.keys.primary)
    claims = claims_of(token)
    now = int(world.clock.now())
    assert claims.pop("token_id")
    assert claims == {
        "sub": TENANT,
        "aud": URL,
        "iss": URL,
        "iat": now,
        "exp": now + 3600,
        "server_url": URL,
        "grpc_broadcast_address": GRPC,
    }


async def test_c_1_5_default_life_is_ninety_days(world: World) -> None:
    claims = claims_of(await world.tokens.issue(TENANT, name="default"))
    assert claims["exp"] - claims["iat"] == 90 * 86400


async def test_c_1_7_a_good_token_names_its_caller(world: World) -> None:
    token = await world.issue()
    assert await world.tokens.verify(token) == Caller(TENANT, claims_of(token)["token_id"])
    assert await world.instance().verify(token) == Caller(TENANT, claims_of(token)["token_id"])


@pytest.mark.parametrize(
    ("tenant_id", "name", "lifetime"),
    [("x", "n", 60.0), (TENANT, "", 60.0), (TENANT, "n" * 256, 60.0), (TENANT, "n", 0.0), (TENANT, "n", 1e18)],
)
async def test_bad_wishes_are_user_errors(world: World, tenant_id: str, name: str, lifetime: float) -> None:
    with pytest.raises(InvalidArgument):
        await world.tokens.issue(tenant_id, name=name, lifetime_seconds=lifetime)


async def test_an_unknown_tenant_gets_no_token(world: World) -> None:
    with pytest.raises(NotFound):
        await world.tokens.issue("0195f2a0-0000-7000-8000-0000000000ff", name="n")


Change = Callable[[World, dict[str, Any]], dict[str, Any]]
CHANGES: dict[str, Change] = {
    "other audience": lambda _, claims: claims | {"aud": "http://elsewhere"},
    "other issuer": lambda _, claims: claims | {"iss": "http://elsewhere"},
    "issued in the future": lambda w, claims: claims | {"iat": int(w.clock.now()) + 60},
    "expired": lambda w, claims: claims | {"exp": int(w.clock.now()) - 1},
    "expires now": lambda w, claims: claims | {"exp": int(w.clock.now())},
    "times are texts": lambda w, claims: claims | {"exp": "tomorrow"},
    "no token id": lambda _, claims: {k: v for k, v in claims.items() if k != "token_id"},
    "token id is no uuid": lambda _, claims: claims | {"token_id": "x"},
    "unknown token id": lambda _, claims: claims | {"token_id": "0195f2a0-0000-7000-8000-0000000000ff"},
    "other server url": lambda _, claims: claims | {"server_url": "http://elsewhere"},
    "tenant is no uuid": lambda _, claims: claims | {"sub": "default"},
    "unknown tenant": lambda _, claims: claims | {"sub": "0195f2a0-0000-7000-8000-0000000000ff"},
    "other tenant": lambda _, claims: claims | {"sub": OTHER_TENANT},
    "no subject": lambda _, claims: {k: v for k, v in claims.items() if k != "sub"},
    "no expiry": lambda _, claims: {k: v for k, v in claims.items() if k != "exp"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_c_1_7_one_wrong_claim_is_enough(world: World, change: Change) -> None:
    claims = claims_of(await world.issue())
    await world.tokens.verify(world.signed(claims))
    with pytest.raises(Unauthenticated, match="invalid auth token"):
        await world.tokens.verify(world.signed(change(world, claims)))


async def test_a_token_without_server_url_is_good(world: World) -> None:
    claims = claims_of(await world.issue())
    del claims["server_url"]
    assert (await world.tokens.verify(world.signed(claims))).tenant_id == TENANT


async def test_c_1_6_tampered_claims_and_signatures_are_refused(world: World) -> None:
    token = await world.issue()
    header, _, signature = token.split(".")
    richer = part(claims_of(token) | {"sub": OTHER_TENANT})
    flipped = signature[:-6] + ("AAAAAA" if signature[-6:] != "AAAAAA" else "BBBBBB")
    for forged in (f"{header}.{richer}.{signature}", token[: -len(signature)] + flipped, f"{token}x", f"{token}."):
        with pytest.raises(Unauthenticated):
            await world.tokens.verify(forged)


async def test_c_1_6_alg_none_and_other_algorithms_are_refused(world: World) -> None:
    claims = claims_of(await world.issue())
    kid = world.keys.primary
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": kid})
    public = world.keys.keys[kid].public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    by_public_key = jwt.encode(claims, base64.b64encode(public), algorithm="HS256", headers={"kid": kid})
    for forged in (unsigned, by_public_key):
        with pytest.raises(Unauthenticated):
            await world.tokens.verify(forged)


async def test_c_1_6_foreign_keys_and_unknown_kids_are_refused(world: World) -> None:
    claims = claims_of(await world.issue())
    foreign = generate()
    forged = [
        world.signed(claims, keys=foreign),
        world.signed(claims, keys=foreign, kid=world.keys.primary),
        world.signed(claims, kid="unknown"),
        jwt.encode(claims, world.keys.signing_key, algorithm="ES256"),
    ]
    for token in forged:
        with pytest.raises(Unauthenticated):
            await world.tokens.verify(token)


@pytest.mark.parametrize("text", ["", "x", "ey.ey", "ey.ey.ey", "..", "ey" * 9000, "é.é.é", "\x00.\x00.\x00"])
async def test_c_1_10_what_is_no_token_is_refused(world: World, text: str) -> None:
    with pytest.raises(Unauthenticated):
        await world.tokens.verify(text)
    assert world.database.asked == 0


async def test_c_1_6_after_a_rotation_old_tokens_stay_good(world: World) -> None:
    old = await world.issue()
    newer = generate()
    rotated = world.instance(keys=newer.with_keys(world.keys.keys.values()))
    assert (await rotated.verify(old)).tenant_id == TENANT
    new = await rotated.issue(TENANT, name="new")
    assert jwt.get_unverified_header(new)["kid"] == newer.primary
    with pytest.raises(Unauthenticated):
        await world.tokens.verify(new)


async def test_a_token_of_another_server_url_is_refused(world: World) -> None:
    token = await world.issue()
    with pytest.raises(Unauthenticated):
        await world.instance(server_url="http://moved:8080").verify(token)


async def test_a_token_expires_while_it_is_cached(world: World) -> None:
    token = await world.issue(lifetime=3)
    await world.tokens.verify(token)
    world.clock.advance(2.9)
    assert world.tokens.cached(token) is not None
    world.clock.advance(0.1)
    assert world.tokens.cached(token) is None
    with pytest.raises(Unauthenticated):
        await world.tokens.verify(token)


async def test_c_1_8_a_revocation_works_at_once_here_and_soon_elsewhere(world: World) -> None:
    token = await world.issue()
    elsewhere = world.instance()
    caller = await world.tokens.verify(token)
    await elsewhere.verify(token)
    await world.tokens.revoke(TENANT, caller.token_id)
    assert world.tokens.cached(token) is None
    with pytest.raises(Unauthenticated):
        await world.tokens.verify(token)
    assert await elsewhere.verify(token) == caller
    world.clock.advance(CACHE_SECONDS)
    with pytest.raises(Unauthenticated):
        await elsewhere.verify(token)


async def test_c_1_12_another_tenants_token_cannot_be_revoked(world: World) -> None:
    token = await world.issue()
    token_id = claims_of(token)["token_id"]
    for wanted in (token_id, "0195f2a0-0000-7000-8000-0000000000ff", "x"):
        with pytest.raises(NotFound):
            await world.tokens.revoke(OTHER_TENANT, wanted)
    assert (await world.tokens.verify(token)).tenant_id == TENANT


async def test_a_used_token_costs_one_statement_in_five_seconds(world: World) -> None:
    token = await world.issue()
    for _ in range(100):
        await world.tokens.verify(token)
        assert world.tokens.cached(token) is not None
    assert world.database.asked == 1
    world.clock.advance(CACHE_SECONDS)
    assert world.tokens.cached(token) is None
    await world.tokens.verify(token)
    assert world.database.asked == 2


async def test_a_revoked_token_costs_one_statement_in_five_seconds(world: World) -> None:
    token = await world.issue()
    await world.tokens.revoke(TENANT, claims_of(token)["token_id"])
    for _ in range(100):
        with pytest.raises(Unauthenticated):
            await world.tokens.verify(token)
    assert world.database.asked == 1


async def test_calls_at_the_same_moment_share_one_statement(world: World) -> None:
    token = await world.issue()
    world.database.gate = asyncio.Event()
    calls = [asyncio.create_task(world.tokens.verify(token)) for _ in range(50)]
    await world.database.waiting.wait()
    calls[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
    world.database.gate.set()
    callers = await asyncio.gather(*calls[1:])
    assert {caller.tenant_id for caller in callers} == {TENANT}
    assert world.database.asked == 1


async def test_a_slow_answer_of_the_database_still_counts(world: World) -> None:
    token = await world.issue()
    world.database.gate = asyncio.Event()
    call = asyncio.create_task(world.tokens.verify(token))
    await world.database.waiting.wait()
    world.clock.advance(CACHE_SECONDS * 2)
    world.database.gate.set()
    assert (await call).tenant_id == TENANT


async def test_a_known_token_outlives_a_restart_of_the_database(world: World) -> None:
    known, unknown = await world.issue(), await world.issue()
    await world.tokens.verify(known)
    world.database.away = True
    world.clock.advance(AWAY_SECONDS - 1)
    assert (await world.tokens.verify(known)).tenant_id == TENANT
    with pytest.raises(Unavailable):
        await world.tokens.verify(unknown)
    world.clock.advance(1)
    with pytest.raises(Unavailable):
        await world.tokens.verify(known)
    world.database.away = False
    assert (await world.tokens.verify(known)).tenant_id == TENANT


async def test_the_cache_stays_bounded(world: World) -> None:
    tokens = Tokens(
        database=world.database,
        keys=world.keys,
        server_url=URL,
        grpc_broadcast_address=GRPC,
        clock=world.clock,
        ids=UuidIds(),
        cache_size=2,
    )
    issued = [await world.issue() for _ in range(4)]
    for token in issued:
        await tokens.verify(token)
    assert [tokens.cached(token) is not None for token in issued] == [False, False, True, True]
    assert (await tokens.verify(issued[0])).tenant_id == TENANT


async def test_instances_with_keys_of_their_own_tell_the_operator_once(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = world.instance(keys=generate())
    token = await elsewhere.issue(TENANT, name="elsewhere")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                await world.tokens.verify(token)
    said = capsys.readouterr().out + caplog.text
    assert said.count("SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET") == 1
    assert token not in said
