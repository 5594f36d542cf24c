"""Two engines on one database, and what the database says of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from harness import Chaos

from support.engine_process import EngineProcess
from support.program import clean_environment

if TYPE_CHECKING:
    from conftest import PostgresServer


def shared_keys(directory: Path) -> dict[str, str]:
    """A key set for several engines, made the way the documentation says."""
    program = (sys.executable, "-P", "-m", "hatchet.cli.admin")
    command = [*program, "keyset", "create-local-keys", "--key-dir", str(directory)]
    ran = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return {"SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET_FILE": str(directory / "private_ec256.key")}


def column(dsn: str, query: str) -> list[Any]:
    """The first column of the rows."""

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            return [row[0] for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(ask())


def two_engines(
    chaos: Chaos, postgres: PostgresServer, *, lost_seconds: float | None = None
) -> tuple[str, dict[str, EngineProcess]]:
    """The database of two engines, and the engines by their instance's id."""
    dsn = postgres.dsn_of(asyncio.run(postgres.create_database("template0")))
    shared = {"DATABASE_URL": dsn, "SERVER_URL": "http://localhost:8080", **shared_keys(chaos.directory / "keys")}
    left = chaos.engine("left", lost_seconds=lost_seconds, **shared)
    [left_id] = column(dsn, "SELECT id::text FROM instance")
    right = chaos.engine("right", lost_seconds=lost_seconds, **shared)
    [right_id] = set(column(dsn, "SELECT id::text FROM instance")) - {left_id}
    return dsn, {left_id: left, right_id: right}


def owner(dsn: str) -> str:
    """The instance that schedules."""
    [holder] = column(dsn, "SELECT holder::text FROM lease WHERE name LIKE 'scheduler:%'")
    return str(holder)
