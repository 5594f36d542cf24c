"""The profile that ``hatchet server start`` writes (behaviour-rest R-37.1)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hatchet.cli import profile_token, profiles
from hatchet.cli.home import private_directory
from hatchet.cli.runtime import Presence, Runtime
from hatchet.core.errors import InvalidArgument
from hatchet.engine.clock import DatabaseClock, UuidIds
from hatchet.engine.seed import DEFAULT_TENANT_ID, SeedValues, seed
from hatchet.store.pool import Database


@pytest.fixture(autouse=True)
def hatchet_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HATCHET_HOME", str(tmp_path))


@pytest.fixture
async def server(database: Database, dsn: str, tmp_path: Path) -> AsyncIterator[Callable[..., None]]:
    """Announces a server that runs on this database, by this process."""
    await seed(database, SeedValues(), clock=DatabaseClock(), ids=UuidIds())
    data_dir = private_directory(tmp_path / "data")
    presence = Presence(data_dir)
    presence.claim()

    def announce(grpc_address: str = "localhost:7077") -> None:
        url = "http://localhost:8888"
        presence.announce(
            Runtime(
                pid=os.getpid(),
                dsn=dsn,
                grpc_address=grpc_address,
                server_url=url,
                health_port=None,
                tenant_id=DEFAULT_TENANT_ID,
            )
        )

    announce()
    yield announce
    presence.leave()


async def refresh(tmp_path: Path, name: str = "local") -> bool:
    return await asyncio.to_thread(profile_token.refresh, name, tmp_path / "data")


@pytest.mark.usefixtures("server")
async def test_r_37_1_first_start_writes_a_default_profile(tmp_path: Path) -> None:
    assert await refresh(tmp_path)
    found = profiles.load().get("local")
    assert found.tenant_id == DEFAULT_TENANT_ID
    assert found.grpc_address == "localhost:7077"
    assert found.api_url == "http://localhost:8888"
    assert found.tls_strategy == "none"


@pytest.mark.usefixtures("server")
async def test_r_37_1_a_token_that_is_good_is_kept(tmp_path: Path) -> None:
    await refresh(tmp_path)
    before = profiles.load()
    await refresh(tmp_path)
    assert profiles.load() == before


async def test_another_address_needs_another_token(server: Callable[..., None], tmp_path: Path) -> None:
    await refresh(tmp_path)
    old = profiles.load().get("local").token
    server("localhost:7078")
    await refresh(tmp_path)
    found = profiles.load().get("local")
    assert (found.token != old, found.grpc_address) == (True, "localhost:7078")


@pytest.mark.usefixtures("server")
async def test_a_token_that_is_refused_is_replaced(tmp_path: Path, database: Database) -> None:
    await refresh(tmp_path)
    old = profiles.load().get("local")
    async with database.transaction() as transaction:
        await transaction.raw.execute("delete from api_token")
    await refresh(tmp_path)
    assert profiles.load().get("local").token != old.token


@pytest.mark.usefixtures("server")
async def test_the_default_profile_of_a_person_stays(tmp_path: Path) -> None:
    await refresh(tmp_path, "mine")
    assert not await refresh(tmp_path, "local")
    assert profiles.load().default == "mine"


@pytest.mark.usefixtures("server")
async def test_a_name_that_cannot_be_one_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        await refresh(tmp_path, "a b")
    assert profiles.load().by_name == {}
