"""Numbered SQL that brings a database to the schema of this code, and back.

A migration is ``migrations/NNNN_<pre|post>_<name>.up.sql`` with a ``.down.sql`` beside it. Each runs in a transaction
of its own together with its line in ``schema_migration``; the whole run holds an advisory lock, so that processes which
start at the same moment take turns and the later ones find nothing left to do.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeAlias

import asyncpg

from hatchet.core.errors import FailedPrecondition, InvalidArgument, Unavailable
from hatchet.store.statements import sql

LOCK_KEY = 0x6861_7463_6865_7401
"""The advisory lock of a migration run ("hatchet", 1)."""

LOCK_TIMEOUT = 60.0
"""Seconds to wait for another process that migrates."""

STATEMENT_LOCK_TIMEOUT = 30.0
"""Seconds that one schema change waits for a table; waiting longer would queue every other query behind it."""

_NAME = re.compile(r"\d{4}_(pre|post)_[a-z0-9_]+")

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(slots=True, frozen=True)
class Migration:
    """One step between two schemas."""

    name: str
    up: str
    down: str


def read_migrations(folder: Traversable) -> tuple[Migration, ...]:
    """The migrations of a folder in order. Raises ValueError for a file out of pattern or without its other half."""
    texts = {entry.name: entry for entry in folder.iterdir() if entry.name.endswith(".sql")}
    names = sorted({name.rsplit(".", 2)[0] for name in texts})
    numbers = [name[:4] for name in names]
    for name in names:
        halves = {f"{name}.up.sql", f"{name}.down.sql"}
        if not _NAME.fullmatch(name) or not halves <= texts.keys() or numbers.count(name[:4]) != 1:
            raise ValueError(
                f"migration {name}: wants NNNN_<pre|post>_<name>.up.sql and .down.sql with a number of its own"
            )
    return tuple(
        Migration(name, texts[f"{name}.up.sql"].read_text("utf-8"), texts[f"{name}.down.sql"].read_text("utf-8"))
        for name in names
    )


@cache
def known_migrations() -> tuple[Migration, ...]:
    """The migrations that this code ships, in order."""
    return read_migrations(files("hatchet.store") / "migrations")


async def applied(dsn: str) -> list[str]:
    """Names of the migrations that the database has, in order; empty for a new database.

    Raises :class:`Unavailable` when the database cannot be reached.
    """
    async with _connected(dsn) as connection:
        return await _applied(connection)


async def migrate(
    dsn: str,
    *,
    up_to: str | None = None,
    migrations: Sequence[Migration] | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
) -> list[str]:
    """Apply what is missing, up to and including ``up_to`` (a name, its number, or ``0``); the names applied.

    Raises :class:`InvalidArgument` for an unknown ``up_to``, :class:`FailedPrecondition` for a database of a newer
    server, for one that somebody else keeps migrating longer than ``lock_timeout`` seconds and for a step that fails
    (which then leaves no trace), :class:`Unavailable` when the database cannot be reached.
    """
    steps = known_migrations() if migrations is None else migrations
    last = len(steps) if up_to is None else _count_to(steps, up_to)
    async with _connected(dsn) as connection, _exclusive(connection, lock_timeout):
        await connection.execute(sql("migrations_create_table"))
        done = await _applied(connection)
        _refuse_newer(steps, done)
        missing = [step for step in steps[:last] if step.name not in done]
        for step in missing:
            await _run(connection, step.name, step.up, "migration_record", step.name, time.time())
    return [step.name for step in missing]


async def migrate_down(
    dsn: str,
    to: str,
    *,
    migrations: Sequence[Migration] | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
) -> list[str]:
    """Undo every migration after ``to`` (a name or its number, or ``0`` for all); the names undone, newest first.

    Raises as :func:`migrate` does.
    """
    steps = known_migrations() if migrations is None else migrations
    keep = _count_to(steps, to)
    async with _connected(dsn) as connection, _exclusive(connection, lock_timeout):
        done = await _applied(connection)
        _refuse_newer(steps, done)
        surplus = [step for step in reversed(steps[keep:]) if step.name in done]
        for step in surplus:
            await _run(connection, step.name, step.down, "migration_forget", step.name)
    return [step.name for step in surplus]


def _count_to(steps: Sequence[Migration], wanted: str) -> int:
    """How many of the first steps there are up to and including ``wanted``."""
    number = int(wanted) if wanted.isascii() and wanted.isdigit() else None
    if number == 0:
        return 0
    for count, step in enumerate(steps, 1):
        if wanted == step.name or number == int(step.name[:4]):
            return count
    raise InvalidArgument(
        f"there is no migration {wanted!r}; this version knows {_listed(step.name for step in steps)}"
    )


def _refuse_newer(steps: Sequence[Migration], done: Iterable[str]) -> None:
    unknown = sorted(set(done) - {step.name for step in steps})
    if unknown:
        raise FailedPrecondition(
            f"the database was migrated by a newer version of this server: it has {_listed(unknown)}, which this "
            "version does not know. Start the newer version, or let it undo them with `hatchet-migrate --down`."
        )


async def _run(connection: _Connection, name: str, script: str, bookkeeping: str, *args: object) -> None:
    try:
        async with connection.transaction():
            await connection.execute(script)
            await connection.execute(sql(bookkeeping), *args)
    except asyncpg.LockNotAvailableError as error:
        raise FailedPrecondition(
            f"migration {name} could not lock a table within {STATEMENT_LOCK_TIMEOUT:g} s because another transaction "
            "holds it; nothing was changed. End the long transaction (see pg_stat_activity) and start again."
        ) from error
    except asyncpg.PostgresError as error:
        raise FailedPrecondition(f"migration {name} failed and was rolled back: {error}") from error


async def _applied(connection: _Connection) -> list[str]:
    try:
        return [row["name"] for row in await connection.fetch(sql("migrations_applied"))]
    except asyncpg.UndefinedTableError:
        return []


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[_Connection]:
    try:
        connection = await asyncpg.connect(dsn, timeout=15, server_settings={"application_name": "hatchet-migrate"})
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unavailable(
            f"cannot reach the database: {str(error).strip() or type(error).__name__}. "
            "Check that it runs, and DATABASE_URL or DATABASE_POSTGRES_*."
        ) from error
    try:
        yield connection
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
        raise Unavailable(f"the database went away during the migration: {error}") from error
    finally:
        await connection.close()


@asynccontextmanager
async def _exclusive(connection: _Connection, timeout: float) -> AsyncIterator[None]:
    """Hold the advisory lock; it ends with the connection, so that a killed process leaves none behind."""
    await connection.execute(sql("migration_lock_timeout"), _milliseconds(timeout))
    try:
        await connection.execute(sql("migration_lock"), LOCK_KEY)
    except asyncpg.LockNotAvailableError as error:
        rows = await connection.fetch(sql("migration_lock_holder"), LOCK_KEY)
        holder = f"process {rows[0]['pid']} ({rows[0]['client']})" if rows else "another process"
        raise FailedPrecondition(
            f"{holder} has been migrating this database for more than {timeout:g} s. Wait for it to end, "
            "or end it if it hangs, and start again."
        ) from error
    await connection.execute(sql("migration_lock_timeout"), _milliseconds(STATEMENT_LOCK_TIMEOUT))
    yield


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
