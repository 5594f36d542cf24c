"""Reading for the doctor: one snapshot a look, read only, with a time limit on each statement."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg

from hatchet.core.ids import lowest_at
from hatchet.store.pool import Connected, Database, Row


class LookFailed(Exception):
    """A look at the rows took longer than it may, or the rows could not be read."""


class Reading(Database):
    """The named statements in one snapshot, for code that reads through a :class:`Database`."""

    def __init__(self, owner: Database, connected: Connected) -> None:
        super().__init__(owner._pool, owner.dsn)
        self._connected = connected

    async def fetch(self, name: str, *args: object) -> list[Row]:
        try:
            return await self._connected.fetch(name, *args)
        except asyncpg.QueryCanceledError:
            raise LookFailed(f"the statement {name} took too long") from None

    async def execute(self, name: str, *args: object) -> int:
        """Fails: the transaction is read only."""
        return await self._connected.execute(name, *args)


@asynccontextmanager
async def reading(database: Database, patience_seconds: float) -> AsyncIterator[Reading]:
    """A snapshot of the database. Statements that take longer than ``patience_seconds`` raise :class:`LookFailed`.

    Raises Unavailable when the database is away.
    """
    async with database.transaction() as connected:
        await connected.execute("doctor_snapshot")
        await connected.fetch("doctor_patience", f"{int(patience_seconds * 1000)}ms")
        yield Reading(database, connected)


async def oldest_kept(rows: Reading) -> str | None:
    """The lowest id of a task whose day is kept; None when there is no day at all."""
    names = [row["name"] for row in await rows.fetch("partitions_list", ["task"])]
    days = [name.removeprefix("task_") for name in names]
    known = [datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) for day in days if day.isdigit() and len(day) == 8]
    return lowest_at(min(known).timestamp()) if known else None
