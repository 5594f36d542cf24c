"""kill -9 of PostgreSQL while tasks and workflows run: the engine survives it and goes on (design section 10)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from checker import check
from dag_checker import check_dags
from harness import Chaos, Load

from hatchet.postgres import EmbeddedPostgres
from support.engine_process import EngineProcess

pytestmark = pytest.mark.slow

TASKS = 200
"""Before the crash, and after it."""
RUNS = 10


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


def load(chaos: Chaos, engine: EngineProcess) -> tuple[Load, Load]:
    """A worker, tasks, workflows and events; returns when work is under way."""
    environment = chaos.environment(engine)
    chaos.worker("worker", environment)
    loads = chaos.client("tasks", environment, milliseconds=10), chaos.dag_client("dags", environment)
    chaos.pusher("pusher", environment)
    chaos.await_more(tasks=TASKS, dags=RUNS)
    return loads


def goes_on(chaos: Chaos, engine: EngineProcess, loads: tuple[Load, Load], dsn: str) -> None:
    """The same process goes on, and everything ends well."""
    pid = engine.pid
    chaos.await_more(tasks=TASKS, dags=RUNS)
    chaos.finish(*loads)
    check(chaos, dsn, database_died=True)
    check_dags(chaos, dsn, database_died=True)
    assert engine.is_running
    assert engine.pid == pid


def test_the_engine_survives_a_crash_of_an_external_server(chaos: Chaos, server: EmbeddedPostgres) -> None:
    engine = chaos.engine(DATABASE_URL=server.dsn())
    loads = load(chaos, engine)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    chaos.wait(lambda: server.pid is None, "the server is dead")
    assert asyncio.run(server.ensure_running())
    goes_on(chaos, engine, loads, server.dsn())


def test_the_engine_restarts_its_embedded_server(chaos: Chaos) -> None:
    engine = chaos.engine()
    loads = load(chaos, engine)
    os.kill(postmaster(engine.data_dir), signal.SIGKILL)
    goes_on(chaos, engine, loads, engine.runtime.dsn)
