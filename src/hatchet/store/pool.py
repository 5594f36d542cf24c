"""Connections to PostgreSQL, and the errors of a database that is away.

Two kinds of connections, because PostgreSQL's own choice failed both ways (measured, see docs/architecture.md): reading
ones plan each statement anew; hot ones, for the writers that run all the time, keep one generic plan made of index
look-ups, which neither an empty table nor missing statistics can turn into a scan.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import asyncpg

from hatchet.core.errors import Unavailable
from hatchet.store.statements import sql

Row = asyncpg.Record

_FRESH_PLANS = {"plan_cache_mode": "force_custom_plan"}
_HOT_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

_AWAY: tuple[type[BaseException], ...] = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # "another operation is in progress": the server died in the middle of one, and the connection has not noticed yet.
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
)
_AWAY_AT_CONNECT: tuple[type[BaseException], ...] = (*_AWAY, asyncpg.PostgresError)


class Queries(Protocol):
    """What both the pool and one transaction offer; every statement is named, never inline."""

    async def fetch(self, name: str, *args: object) -> list[Row]:
        """All rows of the named statement."""
        ...

    async def execute(self, name: str, *args: object) -> int:
        """Run the named statement; the number of rows it touched."""
        ...


class _Connection(asyncpg.Connection):
    """A connection that goes back to its pool as it is: nothing here changes a session, and the reset would double
    the number of statements."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class Connected:
    """The named statements on one connection, inside one transaction."""

    def __init__(self, connection: asyncpg.Connection[Row]) -> None:
        self.raw = connection

    async def fetch(self, name: str, *args: object) -> list[Row]:
        return await self.raw.fetch(sql(name), *args)

    async def execute(self, name: str, *args: object) -> int:
        return _touched(await self.raw.execute(sql(name), *args))


class Database:
    """A pool of connections that speaks in named statements and raises :class:`Unavailable` when PostgreSQL is away."""

    def __init__(self, pool: asyncpg.Pool[Row], dsn: str) -> None:
        self._pool = pool
        self.dsn = dsn
        """Connection text for the few users that need a connection of their own (the bus)."""

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        min_connections: int = 1,
        max_connections: int = 10,
        hot: bool = False,
        relaxed: bool = False,
    ) -> Database:
        """Connect. Raises :class:`Unavailable` with a text that says what to do when nobody answers at ``dsn``.

        ``hot`` connections pin index plans; they must not run statements that join many rows. ``relaxed`` ones do not
        wait for the disk: only for writes whose loss at-least-once repeats.
        """
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=min_connections,
                max_size=max_connections,
                connection_class=_Connection,
                max_inactive_connection_lifetime=300,
                command_timeout=60,
                server_settings={
                    "application_name": "hatchet",
                    "jit": "off",
                    "synchronous_commit": "off" if relaxed else "on",
                    **(_HOT_PLANS if hot else _FRESH_PLANS),
                },
            )
        except _AWAY_AT_CONNECT as error:
            raise Unavailable(f"cannot reach the database: {_described(error)}") from error
        return cls(pool, dsn)

    async def close(self) -> None:
        """Close every connection, waiting for the statements that are running."""
        await self._pool.close()

    async def fetch(self, name: str, *args: object) -> list[Row]:
        """All rows of the named statement, in a transaction of its own."""
        try:
            return await self._pool.fetch(sql(name), *args)
        except _AWAY as error:
            raise Unavailable(f"the database does not answer: {_described(error)}") from error

    async def execute(self, name: str, *args: object) -> int:
        """Run the named statement in a transaction of its own; the number of rows it touched."""
        try:
            return _touched(await self._pool.execute(sql(name), *args))
        except _AWAY as error:
            raise Unavailable(f"the database does not answer: {_described(error)}") from error

    def pinned(self) -> Pinned:
        """The same statements on one connection that is kept: half the cost of a statement, one at a time."""
        return Pinned(self)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connected]:
        """Several statements that commit together."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                yield Connected(connection)  # type: ignore[arg-type]
        except _AWAY as error:
            raise Unavailable(f"the database does not answer: {_described(error)}") from error


class Pinned(Database):
    """A connection taken from a pool and kept, for a writer that runs one statement at a time.

    Taking a connection from the pool and giving it back costs more than sending a statement. A connection that broke is
    given back and replaced with the next statement; other users wait their turn.
    """

    def __init__(self, owner: Database) -> None:
        super().__init__(owner._pool, owner.dsn)
        self._connection: asyncpg.pool.PoolConnectionProxy[Row] | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Give the connection back; the pool stays open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)

    async def fetch(self, name: str, *args: object) -> list[Row]:
        async with self._turn:
            connection = await self._taken()
            try:
                return await connection.fetch(sql(name), *args)
            except _AWAY as error:
                await self._dropped()
                raise Unavailable(f"the database does not answer: {_described(error)}") from error

    async def execute(self, name: str, *args: object) -> int:
        async with self._turn:
            connection = await self._taken()
            try:
                return _touched(await connection.execute(sql(name), *args))
            except _AWAY as error:
                await self._dropped()
                raise Unavailable(f"the database does not answer: {_described(error)}") from error

    async def _taken(self) -> asyncpg.pool.PoolConnectionProxy[Row]:
        if self._connection is not None and not _is_broken(self._connection):
            return self._connection
        await self._dropped()
        try:
            self._connection = await self._pool.acquire()
        except _AWAY as error:
            raise Unavailable(f"the database does not answer: {_described(error)}") from error
        return self._connection

    async def _dropped(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)


def _is_broken(connection: asyncpg.pool.PoolConnectionProxy[Row]) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # It broke while nobody used it, and the pool took it back by itself.
        return True


def _touched(status: str) -> int:
    tail = status.rsplit(" ", 1)[-1]
    return int(tail) if tail.isdigit() else 0


def _described(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
