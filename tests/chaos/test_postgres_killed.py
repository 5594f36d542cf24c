"""kill -9 of PostgreSQL while the engine works: the engine survives it and goes on (design section 10)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from checker import check
from harness import Chaos

from hatchet.postgres import EmbeddedPostgres

pytestmark = pytest.mark.slow

TASKS = 1500


@pytest.fixture
def server(chaos: Chaos) -> Iterator[EmbeddedPostgres]:
    """A server that is no engine's child."""
    postgres = EmbeddedPostgres(chaos.directory / "external")
    asyncio.run(postgres.start())
    yield postgres
    chaos.close()
    asyncio.run(postgres.stop())


def postmaster(engine_data: Path) -> int:
    """The process id of an engine's own server."""
    return int((engine_data / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def test_the_engine_survives_a_crash_of_an_external_server(chaos: Chaos, server: EmbeddedPostgres) -> None:
    engine = chaos.engine(DATABASE_URL=server.dsn())
    pid = engine.pid
    chaos.worker("worker", chaos.environment(engine))
    client = chaos.client("client", chaos.environment(engine), count=TASKS, milliseconds=10)
    chaos.await_results(client, TASKS // 4)
    assert client.is_running
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    chaos.wait(lambda: server.pid is None, "the server is dead")
    assert asyncio.run(server.ensure_running())
    chaos.await_end(client)
    check(chaos, server.dsn(), database_died=True)
    assert engine.is_running
    assert engine.pid == pid


def test_the_engine_restarts_its_embedded_server(chaos: Chaos) -> None:
    engine = chaos.engine()
    pid = engine.pid
    chaos.worker("worker", chaos.environment(engine))
    client = chaos.client("client", chaos.environment(engine), count=TASKS, milliseconds=10)
    chaos.await_results(client, TASKS // 4)
    assert client.is_running
    os.kill(postmaster(engine.data_dir), signal.SIGKILL)
    chaos.await_end(client)
    check(chaos, engine.runtime.dsn, database_died=True)
    assert engine.is_running
    assert engine.pid == pid
