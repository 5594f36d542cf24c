"""A PostgreSQL server for the session, and a fresh, migrated database for each test that asks for one.

The server is our own embedded one with durability off. Databases are cloned from a template that is migrated once, with
partitions for yesterday, today and tomorrow; a test that holds its clock elsewhere calls ``ensure_partitions`` itself.

Several processes may share the tests (``-n 3``). Each has a server of its own, and gets whole files at a time, so that
what a module or a session shares is made once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psutil
import pytest
import pytest_asyncio
from xdist.scheduler import LoadScopeScheduling

from hatchet.postgres import EmbeddedPostgres
from hatchet.store.migrations import migrate
from hatchet.store.partitions import ensure_partitions
from hatchet.store.pool import Database

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

TEMPLATE = "hatchet_template"

MEMORY = "/dev/shm"
ROOM_BYTES = 4 * 2**30


def _use_memory() -> None:
    """Let all temporary files be made in memory where there is room: a test that only makes its database is ten times
    as fast there as on a disk that others use too. Whoever sets TMPDIR decides."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK | os.X_OK):
        return
    found = os.statvfs(MEMORY)
    room = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    # The programs of PostgreSQL may be copied beside the data, and run there.
    if room >= ROOM_BYTES and not found.f_flag & os.ST_NOEXEC:
        tempfile.tempdir = os.environ["TMPDIR"] = MEMORY


_use_memory()

FIRST = ("chaos", "interop with the official client", "interop with ours")
"""The longest parts, which would be waited for at the end."""
CHOOSES_PORTS = ("test_cli_", "test_loadtest_run", "_quickstart")
"""In names of files whose servers look for free ports themselves: two that look at once may find the same one."""


class Scheduler(LoadScopeScheduling):
    """Gives out files, but the tests that load the machine, those that share a session and those that
    could take each other's ports as one part each."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if any(name in file for name in CHOOSES_PORTS):
            return "servers that choose their ports"
        if "/chaos/" in file:
            return "chaos"
        if "/interop/" in file:
            return "interop with ours" if "[ours" in nodeid else "interop with the official client"
        return file

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = next((scope for scope in FIRST if scope in self.workqueue), None)
        if first is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduler:
    config.option.loadscopereorder = False
    return Scheduler(config, log)


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
