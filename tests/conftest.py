"""A PostgreSQL server for the session, and a fresh, migrated database for each test that asks for one.

The server is our own embedded one with durability off. Databases are cloned from a template that is migrated once, with
partitions for yesterday, today and tomorrow; a test that holds its clock elsewhere calls ``ensure_partitions`` itself.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from hatchet.postgres import EmbeddedPostgres
from hatchet.store.migrations import migrate
from hatchet.store.partitions import ensure_partitions
from hatchet.store.pool import Database

TEMPLATE = "hatchet_template"

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


class PostgresServer:
    """The running server, and databases in it."""

    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self._embedded = embedded
        self._numbers = itertools.count(1)
        self.dsn = embedded.dsn("postgres")
        """The maintenance database: connect here to make and drop others."""

    def dsn_of(self, name: str) -> str:
        """Connection text of the named database."""
        return self._embedded.dsn(name)

    async def create_database(self, template: str = TEMPLATE) -> str:
        """The name of a new database: migrated and with partitions, or empty with ``template0``."""
        name = f"test_{next(self._numbers)}"
        await self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def drop_database(self, name: str) -> None:
        """Drop it, with whoever is still connected."""
        await self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


async def _start(directory: Path) -> PostgresServer:
    embedded = EmbeddedPostgres(directory, settings=_FAST)
    await embedded.start()
    server = PostgresServer(embedded)
    await server._run(f"CREATE DATABASE {TEMPLATE}")
    await migrate(server.dsn_of(TEMPLATE))
    database = await Database.open(server.dsn_of(TEMPLATE), max_connections=1)
    await ensure_partitions(database, time.time(), days_ahead=1)
    await database.close()
    return server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL server; it belongs to no event loop."""
    directory = Path(tempfile.mkdtemp(prefix="hatchet-test-"))
    directory.chmod(0o755)
    server = asyncio.run(_start(directory))
    yield server
    asyncio.run(server._embedded.stop())
    shutil.rmtree(directory, ignore_errors=True)


@pytest_asyncio.fixture
async def dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """Connection text of a fresh, migrated database."""
    name = await postgres.create_database()
    yield postgres.dsn_of(name)
    await postgres.drop_database(name)


@pytest_asyncio.fixture
async def empty_dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """Connection text of a fresh database without a table."""
    name = await postgres.create_database("template0")
    yield postgres.dsn_of(name)
    await postgres.drop_database(name)


@pytest_asyncio.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """A pool on a fresh, migrated database."""
    opened = await Database.open(dsn, max_connections=10)
    yield opened
    await opened.close()
