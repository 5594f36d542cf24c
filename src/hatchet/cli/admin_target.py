"""Which server ``hatchet-admin`` works on: an external database, a local server that runs, or one at rest."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hatchet.cli import runtime
from hatchet.cli.home import home, private_directory
from hatchet.core.errors import FailedPrecondition
from hatchet.engine.clock import DatabaseClock, UuidIds
from hatchet.engine.identity import Tokens
from hatchet.engine.keyfile import FILE_NAME, PRIVATE_VARIABLE, load
from hatchet.engine.seed import seed
from hatchet.postgres import EmbeddedPostgres
from hatchet.settings import Settings
from hatchet.store.migrations import applied, migrate
from hatchet.store.pool import Database
from hatchet.wiring import key_source, seed_values


@dataclass(slots=True, frozen=True, kw_only=True)
class Target:
    """A database that is open, and what tokens for its server have to say."""

    settings: Settings
    database: Database
    clock: DatabaseClock
    data_dir: Path
    server_url: str
    grpc_address: str
    tenant_id: str
    """The default tenant."""

    def tokens(self) -> Tokens:
        """The issuer of this server's tokens."""
        return Tokens(
            database=self.database,
            keys=load(key_source(self.settings, self.data_dir)),
            server_url=self.server_url,
            grpc_broadcast_address=self.grpc_address,
            clock=self.clock,
            ids=UuidIds(),
        )

    async def seed(self) -> None:
        """Create what is missing of the default tenant and the first user."""
        await seed(self.database, seed_values(self.settings), clock=self.clock, ids=UuidIds())


@asynccontextmanager
async def target(settings: Settings, *, prepare: bool = False) -> AsyncIterator[Target]:
    """Open the server's database; ``prepare`` brings an external one to the schema of this version first.

    Raises FailedPrecondition when it is not clear which local server is meant, or when the database has no tables yet.
    """
    external = settings.database_dsn()
    if external is not None:
        _warn_of_own_keys(settings)
        await _have_schema(external, prepare)
        async with _opened(settings, external, settings.data_dir) as found:
            yield found
        return
    data_dir, running = _local_server(settings)
    if running is not None:
        async with _opened(settings, running.dsn, data_dir, running) as found:
            yield found
        return
    private_directory(data_dir)
    async with EmbeddedPostgres(data_dir / "postgres", programs=settings.postgres_programs) as embedded:
        await migrate(embedded.dsn())
        async with _opened(settings, embedded.dsn(), data_dir) as found:
            await found.seed()
            yield found


@asynccontextmanager
async def _opened(
    settings: Settings, dsn: str, data_dir: Path, running: runtime.Runtime | None = None
) -> AsyncIterator[Target]:
    database = await Database.open(dsn, max_connections=1)
    try:
        clock = DatabaseClock()
        await clock.measure(database)
        yield Target(
            settings=settings,
            database=database,
            clock=clock,
            data_dir=data_dir,
            server_url=running.server_url if running else settings.server_url(),
            grpc_address=running.grpc_address if running else settings.broadcast_address(),
            tenant_id=running.tenant_id if running else settings.default_tenant_id,
        )
    finally:
        await database.close()


async def _have_schema(dsn: str, prepare: bool) -> None:
    if prepare:
        await migrate(dsn)
    elif not await applied(dsn):
        raise FailedPrecondition(
            "the database has no tables yet. Start a server on it, or run `hatchet-admin seed`, and try again."
        )


def _local_server(settings: Settings) -> tuple[Path, runtime.Runtime | None]:
    """The data directory that is meant, and what its server announced if it runs.

    HATCHET_DATA_DIR decides. Without it the one local server that runs is meant, whatever its project.
    """
    own = settings.data_dir
    announced = runtime.read(own)
    if announced is not None or os.environ.get("HATCHET_DATA_DIR"):
        return own, announced
    others = [path for path in sorted((home() / "server").glob("*")) if path.is_dir() and path != own]
    running = [(path, found) for path in others if (found := runtime.read(path)) is not None]
    if len(running) == 1:
        return running[0]
    if running:
        raise FailedPrecondition(_choose([path for path, _ in running], "several local servers are running"))
    if others and not own.exists():
        raise FailedPrecondition(
            _choose(others, "no local server is running; start it with `hatchet server start`, or work on one at rest")
        )
    return own, None


def _choose(directories: list[Path], what: str) -> str:
    names = ", ".join(str(path) for path in directories)
    return f"{what}. Say which one with HATCHET_DATA_DIR: {names}."


def _warn_of_own_keys(settings: Settings) -> None:
    source = key_source(settings, settings.data_dir)
    if not source.is_configured and not (source.directory / FILE_NAME).exists():
        print(
            f"Warning: no key set is configured and there is none in {source.directory}, so a new one signs. Only "
            "servers with this HATCHET_DATA_DIR will accept its tokens; to share one, set "
            f"{PRIVATE_VARIABLE}_FILE everywhere.",
            file=sys.stderr,
        )
