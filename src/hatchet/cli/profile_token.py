"""The profile of a local server: a token of its default tenant, kept as long as the server accepts it (R-37.1)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hatchet.cli import profiles
from hatchet.cli.runtime import Runtime
from hatchet.core.errors import Unauthenticated

if TYPE_CHECKING:
    from hatchet.engine.identity import Tokens
    from hatchet.engine.keyfile import KeySource

TOKEN_NAME = "hatchet-cli"


def refresh(name: str, data_dir: Path, running: Runtime) -> bool:
    """Make the profile ``name`` one of the running server; whether it is the default profile.

    It becomes the default when there is none. Raises :class:`InvalidArgument` for a name that cannot be one.
    """
    with profiles.changing() as known:
        old = known.by_name.get(name)
        token = asyncio.run(_token(data_dir, running, old))
        if old is None or old.token != token:
            known.put(profiles.from_token(token, name=name, tls_strategy="none"))
        known.default = known.default or name
        return known.default == name


async def _token(data_dir: Path, running: Runtime, old: profiles.Profile | None) -> str:
    async with _tokens(data_dir, running) as tokens:
        if old is not None and old.grpc_address == running.grpc_address and old.api_url == running.server_url:
            try:
                await tokens.verify(old.token)
            except Unauthenticated:
                pass
            else:
                return old.token
        return await tokens.issue(running.tenant_id, name=TOKEN_NAME)


@asynccontextmanager
async def _tokens(data_dir: Path, running: Runtime) -> AsyncIterator[Tokens]:
    from hatchet.engine.clock import DatabaseClock, UuidIds
    from hatchet.engine.identity import Tokens
    from hatchet.engine.keyfile import load
    from hatchet.store.pool import Database

    database = await Database.open(running.dsn, max_connections=1)
    try:
        clock = DatabaseClock()
        await clock.measure(database)
        yield Tokens(
            database=database,
            keys=load(_key_source(data_dir)),
            server_url=running.server_url,
            grpc_broadcast_address=running.grpc_address,
            clock=clock,
            ids=UuidIds(),
        )
    finally:
        await database.close()


def _key_source(data_dir: Path) -> KeySource:
    from hatchet.engine.keyfile import KeySource
    from hatchet.settings import Settings

    settings = Settings.from_environment({**os.environ, "HATCHET_DATA_DIR": str(data_dir)})
    return KeySource(
        directory=settings.data_dir / "keys",
        private_text=settings.jwt_private_keyset,
        private_file=settings.jwt_private_keyset_file,
        public_text=settings.jwt_public_keyset,
        public_file=settings.jwt_public_keyset_file,
    )
