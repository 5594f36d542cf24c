"""How many of the engine's tasks have a committed final result, by its own tables."""

from __future__ import annotations

import asyncio
import time
import uuid
from types import TracebackType
from typing import Any, Self

import asyncpg

SETTLED_SECONDS = 10.0
"""Rows whose id is older than this are taken to be committed, if as many results as tasks are there."""

_RESULTS = "SELECT count(*) FROM task_result WHERE retry_at IS NULL"
_WINDOW = """
SELECT (SELECT count(*) FROM task WHERE id >= $1 AND id < $2),
       (SELECT count(*) FROM task_result WHERE task_id >= $1 AND task_id < $2 AND retry_at IS NULL)
"""
_SINCE = "SELECT count(*) FROM task_result WHERE task_id >= $1 AND retry_at IS NULL"


class CommittedResults:
    """Counts final results. An asynchronous context manager with a connection of its own.

    The cheap count looks only at ids from a mark on, which moves forward over windows in which every task has its
    result: a count of the whole table several times a second would show in the figures.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection[Any] | None = None
        self._mark = uuid.UUID(int=0)
        self._before_mark = 0
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._connection = await asyncpg.connect(
            self._dsn, server_settings={"jit": "off", "max_parallel_workers_per_gather": "0"}
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.close()

    async def exactly(self) -> int:
        """All of them; the cheap count starts from here."""
        async with self._one_at_a_time:
            return int(await self._open.fetchval(_RESULTS))

    async def about(self) -> int:
        async with self._one_at_a_time:
            if self._mark.int == 0:
                await self._set_first_mark()
            await self._move_mark()
            return self._before_mark + int(await self._open.fetchval(_SINCE, self._mark))

    async def _set_first_mark(self) -> None:
        """Behind everything that exists: unfinished tasks of other queues would hold the mark for ever."""
        mark = _first_id_at(time.time())
        self._before_mark = int(
            await self._open.fetchval("SELECT count(*) FROM task_result WHERE task_id < $1 AND retry_at IS NULL", mark)
        )
        self._mark = mark

    async def _move_mark(self) -> None:
        until = _first_id_at(time.time() - SETTLED_SECONDS)
        if until <= self._mark:
            return
        row = await self._open.fetchrow(_WINDOW, self._mark, until)
        assert row is not None, "counts always give a row"
        tasks, results = row
        if tasks == results:
            self._mark, self._before_mark = until, self._before_mark + int(results)

    @property
    def _open(self) -> asyncpg.Connection[Any]:
        assert self._connection is not None, "used as a context manager"
        return self._connection


def _first_id_at(seconds: float) -> uuid.UUID:
    """The smallest UUIDv7 of that millisecond."""
    return uuid.UUID(int=int(seconds * 1000) << 80 | 0x7 << 76 | 0x2 << 62)
