"""How many of the engine's tasks or runs have a committed end, by its own tables."""

from __future__ import annotations

import asyncio
import time
import uuid
from types import TracebackType
from typing import Any, Self

import asyncpg

SETTLED_SECONDS = 10.0
"""Rows whose id is older than this are taken to be committed, if as many results as tasks are there."""

TASKS = ("task", "task_result", "task_id", "retry_at IS NULL")
RUNS = ("run", "run_result", "run_id", "true")
"""What is counted, where its ends are, by which id, and which of those rows count."""


class CommittedResults:
    """Counts ends. An asynchronous context manager with a connection of its own.

    The cheap count looks only at ids from a mark on, which moves forward over windows in which every task has its
    result: a count of the whole table several times a second would show in the figures.
    """

    def __init__(self, dsn: str, counted: tuple[str, str, str, str] = TASKS) -> None:
        self._dsn = dsn
        things, ends, id_, final = counted
        self._results = f"SELECT count(*) FROM {ends} WHERE {final}"
        self._since = f"SELECT count(*) FROM {ends} WHERE {id_} >= $1 AND {final}"
        self._until = f"SELECT count(*) FROM {ends} WHERE {id_} < $1 AND {final}"
        self._window = f"""
            SELECT (SELECT count(*) FROM {things} WHERE id >= $1 AND id < $2),
                   (SELECT count(*) FROM {ends} WHERE {id_} >= $1 AND {id_} < $2 AND {final})
        """
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
            return int(await self._open.fetchval(self._results))

    async def about(self) -> int:
        async with self._one_at_a_time:
            if self._mark.int == 0:
                await self._set_first_mark()
            await self._move_mark()
            return self._before_mark + int(await self._open.fetchval(self._since, self._mark))

    async def _set_first_mark(self) -> None:
        """Behind everything that exists: unfinished tasks of other queues would hold the mark for ever."""
        mark = _first_id_at(time.time())
        self._before_mark = int(await self._open.fetchval(self._until, mark))
        self._mark = mark

    async def _move_mark(self) -> None:
        until = _first_id_at(time.time() - SETTLED_SECONDS)
        if until <= self._mark:
            return
        row = await self._open.fetchrow(self._window, self._mark, until)
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
