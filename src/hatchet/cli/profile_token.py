"""The profile of a local server: a token of its default tenant, kept as long as the server accepts it (R-37.1)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hatchet.cli import profiles
from hatchet.cli.admin_target import Target, target
from hatchet.core.errors import Unauthenticated
from hatchet.settings import Settings

TOKEN_NAME = "hatchet-cli"


def refresh(name: str, data_dir: Path) -> bool:
    """Make the profile ``name`` one of the server that runs on ``data_dir``; whether it is the default profile.

    It becomes the default when there is none. Raises :class:`InvalidArgument` for a name that cannot be one.
    """
    with profiles.changing() as known:
        old = known.by_name.get(name)
        token = asyncio.run(_token(data_dir, old))
        if old is None or old.token != token:
            known.put(profiles.from_token(token, name=name, tls_strategy="none"))
        known.default = known.default or name
        return known.default == name


async def _token(data_dir: Path, old: profiles.Profile | None) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("DATABASE_")}
    async with target(Settings.from_environment({**own, "HATCHET_DATA_DIR": str(data_dir)})) as server:
        if old is not None and await _is_good(old, server):
            return old.token
        return await server.tokens().issue(server.tenant_id, name=TOKEN_NAME)


async def _is_good(profile: profiles.Profile, server: Target) -> bool:
    """Whether the profile's token names the server's present addresses, and the server accepts it."""
    if (profile.grpc_address, profile.api_url) != (server.grpc_address, server.server_url):
        return False
    try:
        await server.tokens().verify(profile.token)
    except Unauthenticated:
        return False
    return True
