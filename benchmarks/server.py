"""The PostgreSQL server and the engine that are measured, both of the benchmark's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import asyncpg

from benchmarks.counters import PRELOAD
from benchmarks.peer import Peer, PeerEnded
from hatchet.postgres import EmbeddedPostgres

READY_SECONDS = 60.0
POLL_SECONDS = 0.02


@dataclass(slots=True, frozen=True)
class Postgres:
    """A running server."""

    embedded: EmbeddedPostgres

    @property
    def pid(self) -> int:
        assert self.embedded.pid is not None, "runs as long as the benchmark"
        return self.embedded.pid

    def dsn(self, database: str = "hatchet") -> str:
        return self.embedded.dsn(database)

    async def create_database(self, name: str) -> str:
        """Make an empty database, without the count of statements, and return its DSN."""
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self.dsn(name)


@asynccontextmanager
async def running_postgres(directory: Path, extra: Mapping[str, str] | None = None) -> AsyncIterator[Postgres]:
    """The embedded server with the engine's own settings, fsync on, and the count of statements loaded.

    ``extra`` are further settings of PostgreSQL, for trying one.
    """
    async with EmbeddedPostgres(directory, settings={**PRELOAD, **(extra or {})}) as embedded:
        yield Postgres(embedded)


@dataclass(slots=True, frozen=True)
class Engine:
    """A running engine and what clients of it need."""

    peer: Peer
    env: Mapping[str, str]
    """The environment of workers and clients: token and address."""

    @property
    def pid(self) -> int:
        return self.peer.pid


@asynccontextmanager
async def running_engine(dsn: str, directory: Path, extra: Mapping[str, str] | None = None) -> AsyncIterator[Engine]:
    """``hatchet-engine`` on the database ``dsn``, ready, with a token for the default tenant.

    ``extra`` are further variables of its environment, for trying one.

    Raises :class:`PeerEnded` with its last words when it does not become ready.
    """
    ports = free_ports(3)
    env = {
        **clean_environment(),
        "HATCHET_DATA_DIR": str(directory),
        "DATABASE_URL": dsn,
        "SERVER_GRPC_PORT": str(ports[0]),
        "SERVER_PORT": str(ports[1]),
        "SERVER_HEALTHCHECK_PORT": str(ports[2]),
        "SERVER_GRPC_INSECURE": "t",
        "SERVER_LOGGER_LEVEL": "warn",
        "SERVER_LOGGER_FORMAT": "console",
        **(extra or {}),
    }
    async with Peer("engine", [sys.executable, "-m", "hatchet.cli.engine"], env) as peer:
        await _ready(peer, ports[2])
        token = await _token(env)
        yield Engine(
            peer,
            {
                "HATCHET_CLIENT_TOKEN": token,
                "HATCHET_CLIENT_HOST_PORT": f"127.0.0.1:{ports[0]}",
                "HATCHET_CLIENT_SERVER_URL": f"http://127.0.0.1:{ports[1]}",
                "HATCHET_CLIENT_TLS_STRATEGY": "none",
                "HATCHET_CLIENT_NAMESPACE": "",
            },
        )
        if peer.errors:
            print(f"the engine said:\n{peer.errors}", file=sys.stderr)


def free_ports(count: int) -> list[int]:
    """Ports of the loop-back address that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@asynccontextmanager
async def scratch_directory() -> AsyncIterator[Path]:
    """A directory that goes away; other users may enter it, because as root the server runs under another one."""
    directory = _open_directory()
    try:
        yield directory
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


def _open_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="hatchet-bench-"))
    directory.chmod(0o755)
    return directory


async def _ready(peer: Peer, health_port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not await asyncio.to_thread(_answers, f"http://127.0.0.1:{health_port}/ready"):
        if peer.has_ended or time.monotonic() > deadline:
            raise PeerEnded(f"the engine is not ready:\n{peer.errors}")
        await asyncio.sleep(POLL_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def _token(env: Mapping[str, str]) -> str:
    command = (sys.executable, "-m", "hatchet.cli.admin", "token", "create", "--name", "bench")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=dict(env), stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise PeerEnded(f"no token could be made:\n{errors.decode()}")
    return output.decode().strip()


def clean_environment() -> dict[str, str]:
    """This environment without what configures a Hatchet server or client of the user's."""
    prefixes = ("HATCHET_", "SERVER_", "DATABASE_", "ADMIN_", "DEFAULT_TENANT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
