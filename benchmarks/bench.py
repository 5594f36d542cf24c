"""What all scenarios share: the server, the engine, the counters, and the processes that they start."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.counters import Counters
from benchmarks.peer import Peer
from benchmarks.server import Engine, Postgres, running_engine, running_postgres
from benchmarks.usage import Parties

WORKER_READY_SECONDS = 60.0


@dataclass(slots=True, frozen=True)
class Options:
    """What the command line chose. Times in seconds."""

    seconds: float = 60.0
    short_seconds: float = 30.0
    """Of the scenarios that are not the sustained one."""
    waiting: int = 500_000
    limited: int = 100_000
    """Tasks that wait without a worker, once without and twice with concurrency rules."""
    sleepers: int = 100_000
    """Durable tasks that sleep at once."""
    slots: int = 500
    """Of the one worker."""


@dataclass(slots=True, frozen=True)
class Bench:
    """A running engine on a running server."""

    options: Options
    scratch: Path
    postgres: Postgres
    engine: Engine
    counters: Counters

    @asynccontextmanager
    async def worker(self, task: str = "noop", *, slots: int = 0) -> AsyncIterator[Peer]:
        """One worker process, connected."""
        arguments = (task, str(slots or self.options.slots))
        async with Peer.module("worker", "benchmarks.worker", *arguments, env=self.engine.env) as peer:
            await peer.expect("ready", WORKER_READY_SECONDS)
            yield peer
        if peer.errors:
            print(f"the worker said:\n{peer.errors}", file=sys.stderr)

    @asynccontextmanager
    async def workers(self, count: int) -> AsyncIterator[list[Peer]]:
        """Several of them."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.worker()) for _ in range(count)]

    @asynccontextmanager
    async def client(self, *arguments: str) -> AsyncIterator[Peer]:
        """A client process in one of the modes of :mod:`benchmarks.client`."""
        async with Peer.module("client", "benchmarks.client", *arguments, env=self.engine.env) as peer:
            yield peer
        if peer.errors:
            print(f"the client said:\n{peer.errors}", file=sys.stderr)

    def parties(self, worker: Peer, client: Peer) -> Parties:
        return Parties(
            {"engine": self.engine.pid, "postgres": self.postgres.pid, "worker": worker.pid, "client": client.pid}
        )


@asynccontextmanager
async def running(options: Options, scratch: Path) -> AsyncIterator[Bench]:
    """A fresh database and an engine on it. Raises RuntimeError when a commit would not wait for the disk."""
    async with (
        running_postgres(scratch / "postgres") as postgres,
        running_engine(postgres.dsn(), scratch / "engine") as engine,
        Counters(postgres.dsn("postgres"), "hatchet") as counters,
    ):
        if not await counters.is_durable():
            raise RuntimeError("fsync or synchronous_commit is off: what would be measured is not a durable engine")
        yield Bench(options, scratch, postgres, engine, counters)
