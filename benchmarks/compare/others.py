"""procrastinate and pgqueuer under the same load on the same PostgreSQL server."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, replace
from typing import Any

import asyncpg

from benchmarks.compare import environment
from benchmarks.counters import Counters
from benchmarks.peer import Peer
from benchmarks.saturation import Plan, saturate
from benchmarks.usage import Parties

INSTALL_SECONDS = 60.0


@dataclass(slots=True, frozen=True)
class Other:
    """One queue: the module that runs it, and how its database tells what is done.

    ``backlog``: procrastinate looks through waiting jobs for each fetch, so it gets a small one: its best case.
    """

    name: str
    module: str
    about: str
    exactly: str
    backlog: int


OTHERS = (
    Other(
        name="procrastinate",
        module="benchmarks.compare.procrastinate_peer",
        about="""SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM procrastinate_jobs_id_seq)
            - (SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))""",
        exactly="SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
        backlog=2000,
    ),
    Other(
        name="pgqueuer",
        module="benchmarks.compare.pgqueuer_peer",
        about="""SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM pgqueuer_id_seq)
            - (SELECT count(*) FROM pgqueuer)""",
        exactly="SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'",
        backlog=6000,
    ),
)


class CountedBySql:
    """Counts with two statements on a connection of its own."""

    def __init__(self, connection: asyncpg.Connection[Any], about: str, exactly: str) -> None:
        self._connection = connection
        self._about = about
        self._exactly = exactly
        self._one_at_a_time = asyncio.Lock()

    async def about(self) -> int:
        return await self._count(self._about)

    async def exactly(self) -> int:
        return await self._count(self._exactly)

    async def _count(self, statement: str) -> int:
        async with self._one_at_a_time:
            return int(await self._connection.fetchval(statement))


async def measure(
    other: Other, *, dsn: str, name: str, counters: Counters, postgres_pid: int, plan: Plan
) -> dict[str, Any]:
    """Saturate the queue in the empty database ``dsn``."""
    python = environment.python()
    env = {"BENCH_DSN": dsn}

    def peer(mode: str) -> Peer:
        return Peer(f"{name} {mode}", [python, "-m", other.module, mode], env)

    async with peer("install") as install:
        await install.expect("installed", INSTALL_SECONDS)
    connection = await asyncpg.connect(dsn, server_settings={"jit": "off"})
    try:
        async with peer("work") as worker, peer("produce") as producer:
            await worker.expect("ready", INSTALL_SECONDS)
            parties = Parties({"postgres": postgres_pid, "worker": worker.pid, "client": producer.pid})
            finished = CountedBySql(connection, other.about, other.exactly)
            analysed = asyncio.create_task(_analyse(dsn, plan.warm_up_seconds))
            result = await saturate(
                producer=producer,
                finished=finished,
                parties=parties,
                counters=counters,
                plan=replace(plan, backlog=other.backlog),
            )
            await analysed
            if worker.errors:
                print(f"{other.name}'s worker said:\n{worker.errors}", file=sys.stderr)
            return result
    finally:
        await connection.close()


async def _analyse(dsn: str, after_seconds: float) -> None:
    """Give the planner statistics as soon as there are rows, as a database that has run for a while has them."""
    await asyncio.sleep(after_seconds / 2)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
