"""The profile that ``hatchet server start`` writes (behaviour-rest R-37.1)."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from hatchet.cli import profile_token, profiles
from hatchet.cli.runtime import Runtime
from hatchet.core.errors import InvalidArgument
from hatchet.engine.clock import DatabaseClock, UuidIds
from hatchet.engine.seed import DEFAULT_TENANT_ID, SeedValues, seed
from hatchet.store.pool import Database


@pytest.fixture
async def running(database: Database, dsn: str) -> Runtime:
    await seed(database, SeedValues(), clock=DatabaseClock(), ids=UuidIds())
    return Runtime(
        pid=1,
        dsn=dsn,
        grpc_address="localhost:7077",
        server_url="http://localhost:8888",
        health_port=None,
        tenant_id=DEFAULT_TENANT_ID,
    )


@pytest.fixture(autouse=True)
def hatchet_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HATCHET_HOME", str(tmp_path))


async def refresh(running: Runtime, tmp_path: Path, name: str = "local") -> bool:
    return await asyncio.to_thread(profile_token.refresh, name, tmp_path / "data", running)


async def test_r_37_1_first_start_writes_a_default_profile(running: Runtime, tmp_path: Path) -> None:
    assert await refresh(running, tmp_path)
    found = profiles.load().get("local")
    assert found.tenant_id == DEFAULT_TENANT_ID
    assert found.grpc_address == "localhost:7077"
    assert found.api_url == "http://localhost:8888"
    assert found.tls_strategy == "none"


async def test_r_37_1_a_token_that_is_good_is_kept(running: Runtime, tmp_path: Path) -> None:
    await refresh(running, tmp_path)
    before = profiles.load()
    await refresh(running, tmp_path)
    assert profiles.load() == before


async def test_another_address_needs_another_token(running: Runtime, tmp_path: Path) -> None:
    await refresh(running, tmp_path)
    old = profiles.load().get("local").token
    await refresh(dataclasses.replace(running, grpc_address="localhost:7078"), tmp_path)
    found = profiles.load().get("local")
    assert (found.token != old, found.grpc_address) == (True, "localhost:7078")


async def test_a_token_that_is_refused_is_replaced(running: Runtime, tmp_path: Path, database: Database) -> None:
    await refresh(running, tmp_path)
    old = profiles.load().get("local")
    async with database.transaction() as transaction:
        await transaction.raw.execute("delete from api_token")
    await refresh(running, tmp_path)
    assert profiles.load().get("local").token != old.token


async def test_the_default_profile_of_a_person_stays(running: Runtime, tmp_path: Path) -> None:
    await refresh(running, tmp_path, "mine")
    assert not await refresh(running, tmp_path, "local")
    assert profiles.load().default == "mine"


async def test_a_name_that_cannot_be_one_writes_nothing(running: Runtime, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        await refresh(running, tmp_path, "a b")
    assert profiles.load().by_name == {}
