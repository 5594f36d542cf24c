"""The default tenant and the first user (R-8.8)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from hatchet.core.clock import HeldClock
from hatchet.core.errors import FailedPrecondition, InvalidArgument
from hatchet.engine.clock import UuidIds
from hatchet.engine.seed import DEFAULT_TENANT_ID, SeedValues, seed
from hatchet.engine.tenants import CACHE_SECONDS, Tenants
from hatchet.store import identity
from hatchet.store.pool import Database


async def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def run(database: Database, values: SeedValues | None = None) -> None:
    await seed(database, values or SeedValues(), clock=HeldClock(), ids=UuidIds())


async def test_r_8_8_tenant_user_and_owner(database: Database, dsn: str) -> None:
    await run(database)
    tenant = await identity.tenant(database, "707d0855-80ab-4e1f-a156-f1c4546cbf52")
    assert tenant is not None
    assert (tenant.name, tenant.slug) == ("Default", "default")
    [(email, name, verified, hashed)] = await rows(
        dsn, "SELECT email, name, email_verified, password_hash FROM app_user"
    )
    assert (email, name, verified) == ("admin@example.com", "Admin", True)
    assert str(hashed).startswith("$argon2id$")
    assert PasswordHasher().verify(str(hashed), "Admin123!!")
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(str(hashed), "admin123!!")
    assert await rows(dsn, "SELECT tenant_id::text, role FROM tenant_member") == [(DEFAULT_TENANT_ID, "OWNER")]


async def test_r_8_8_running_twice_changes_nothing(database: Database, dsn: str) -> None:
    await run(database)
    before = await rows(dsn, "SELECT t::text FROM tenant t UNION ALL SELECT u::text FROM app_user u")
    await run(database, SeedValues(admin_password="another", tenant_name="Another", admin_name="Another"))
    assert await rows(dsn, "SELECT t::text FROM tenant t UNION ALL SELECT u::text FROM app_user u") == before


async def test_a_second_run_hashes_no_password(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await run(database)

    def fail(*_: object) -> str:
        raise AssertionError("hashed a password again")

    monkeypatch.setattr(PasswordHasher, "hash", fail)
    await run(database)


async def test_r_8_8_two_instances_at_once_are_fine(database: Database, dsn: str) -> None:
    await asyncio.gather(*(run(database) for _ in range(8)))
    assert await rows(dsn, "SELECT (SELECT count(*) FROM tenant), (SELECT count(*) FROM app_user)") == [(1, 1)]
    assert await rows(dsn, "SELECT role FROM tenant_member") == [("OWNER",)]


async def test_r_8_8_everything_can_be_chosen(database: Database, dsn: str) -> None:
    values = SeedValues(
        tenant_id="0195F2A0-0000-7000-8000-000000000001",
        tenant_name="Mine",
        tenant_slug="mine",
        admin_email=" Boss@Example.com ",
        admin_name="Boss",
        admin_password="correct horse",
    )
    await run(database, values)
    assert await rows(dsn, "SELECT id::text, name, slug FROM tenant") == [(values.tenant_id.lower(), "Mine", "mine")]
    assert await rows(dsn, "SELECT email, name FROM app_user") == [("boss@example.com", "Boss")]


async def test_a_new_admin_becomes_owner_and_a_removed_one_stays_removed(database: Database, dsn: str) -> None:
    await run(database)
    await rows(dsn, "DELETE FROM tenant_member")
    await run(database)
    assert await rows(dsn, "SELECT role FROM tenant_member") == []
    await run(database, SeedValues(admin_email="new@example.com"))
    query = "SELECT email, role FROM tenant_member JOIN app_user ON app_user.id = user_id"
    assert await rows(dsn, query) == [("new@example.com", "OWNER")]


async def test_a_slug_that_is_taken_says_what_to_set(database: Database) -> None:
    await run(database)
    other = replace(SeedValues(), tenant_id="0195f2a0-0000-7000-8000-000000000001")
    with pytest.raises(FailedPrecondition, match="DEFAULT_TENANT_SLUG"):
        await run(database, other)


async def test_a_slug_that_is_taken_at_the_same_moment_is_the_same_error(database: Database, dsn: str) -> None:
    other = replace(SeedValues(), tenant_id="0195f2a0-0000-7000-8000-000000000001", admin_email="other@example.com")
    results = await asyncio.gather(run(database), run(database, other), return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [FailedPrecondition]
    assert await rows(dsn, "SELECT count(*) FROM app_user") == [(1,)]


async def test_a_tenant_id_that_is_no_uuid_names_the_variable(database: Database) -> None:
    with pytest.raises(InvalidArgument, match="DEFAULT_TENANT_ID"):
        await run(database, SeedValues(tenant_id="default"))


def test_the_password_is_not_in_the_repr() -> None:
    assert "Admin123" not in repr(SeedValues())


async def test_a_tenant_is_found_as_soon_as_it_exists_and_forgotten_soon(database: Database, dsn: str) -> None:
    clock = HeldClock()
    tenants = Tenants(database=database, clock=clock, cache_size=1)
    assert await tenants.get(DEFAULT_TENANT_ID) is None
    await run(database)
    found = await tenants.get(DEFAULT_TENANT_ID)
    assert found is not None
    await rows(dsn, "DELETE FROM tenant")
    assert await tenants.get(DEFAULT_TENANT_ID) == found
    clock.advance(CACHE_SECONDS)
    assert await tenants.get(DEFAULT_TENANT_ID) is None
