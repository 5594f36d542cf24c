"""What PostgreSQL says it did: statements, transactions and WAL of one database.

The reader connects to the maintenance database, so that its own statements are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import asyncpg

PRELOAD = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.max": "5000"}
"""Settings that the server needs for the count of statements."""

_STATEMENTS = """
SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = $1)
"""
_TRANSACTIONS = "SELECT xact_commit, xact_rollback FROM pg_stat_database WHERE datname = $1"
_WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
_COSTLY = """
SELECT calls, round(total_exec_time::numeric, 1) AS total_ms, rows,
       left(regexp_replace(query, '\\s+', ' ', 'g'), 90) AS query
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = $1)
ORDER BY total_exec_time DESC LIMIT $2
"""


@dataclass(slots=True, frozen=True)
class Counts:
    """Running totals at one moment."""

    statements: int
    commits: int
    rollbacks: int
    wal_bytes: int

    def since(self, earlier: Counts) -> Counts:
        """What was added after ``earlier``."""
        return Counts(
            self.statements - earlier.statements,
            self.commits - earlier.commits,
            self.rollbacks - earlier.rollbacks,
            self.wal_bytes - earlier.wal_bytes,
        )


class Counters:
    """Reads the totals of the database ``name``; an asynchronous context manager."""

    def __init__(self, maintenance_dsn: str, name: str) -> None:
        self._dsn = maintenance_dsn
        self._name = name
        self._connection: asyncpg.Connection[Any] | None = None

    async def __aenter__(self) -> Self:
        self._connection = await asyncpg.connect(self._dsn)
        await self._connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.close()

    async def read(self) -> Counts:
        """The totals now. Transactions of a connection that is busy come up to a second late."""
        transactions = await self._open.fetchrow(_TRANSACTIONS, self._name)
        assert transactions is not None, "the database exists"
        return Counts(
            statements=int(await self._open.fetchval(_STATEMENTS, self._name)),
            commits=int(transactions["xact_commit"]),
            rollbacks=int(transactions["xact_rollback"]),
            wal_bytes=int(await self._open.fetchval(_WAL)),
        )

    async def forget_statements(self) -> None:
        """Start the list of costly statements anew."""
        await self._open.execute("SELECT pg_stat_statements_reset()")

    async def costliest(self, how_many: int = 12) -> list[dict[str, Any]]:
        """The statements that took most time since the last reset."""
        return [dict(row) for row in await self._open.fetch(_COSTLY, self._name, how_many)]

    async def server_version(self) -> str:
        """Such as ``18.6``."""
        return str(await self._open.fetchval("SHOW server_version"))

    async def is_durable(self) -> bool:
        """Whether a commit waits for the disk: nothing measured without that counts."""
        rows = [await self._open.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")]
        return rows == ["on", "on"]

    @property
    def _open(self) -> asyncpg.Connection[Any]:
        assert self._connection is not None, "used as a context manager"
        return self._connection
