"""pgqueuer: ``install``, ``produce`` or ``work``. Run in .venv-bench, the DSN in ``BENCH_DSN``.

Its documented fast ways: batch enqueueing, a large batch size, asyncpg on uvloop. Durable tables, as it installs them
by default.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import asyncpg
import uvloop
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

from benchmarks.credit import produce_on_credit, say
from benchmarks.payload import task_input

BATCH = 100
REQUEST = 1000
PAYLOAD = json.dumps(task_input()).encode()


async def work(driver: AsyncpgPoolDriver) -> None:
    manager = QueueManager(Queries(driver))

    @manager.entrypoint("noop")
    async def noop(job: Job) -> None:
        """Does nothing but read its input, as the others do."""
        json.loads(job.payload or b"null")

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, manager.shutdown.set)
    say("ready")
    await manager.run(batch_size=BATCH)


async def main(mode: str) -> None:
    async with asyncpg.create_pool(os.environ["BENCH_DSN"], min_size=2, max_size=20) as pool:
        driver = AsyncpgPoolDriver(pool)
        queries = Queries(driver)

        async def produce(count: int) -> int:
            return len(await queries.enqueue(["noop"] * count, [PAYLOAD] * count, [0] * count))

        if mode == "install":
            await queries.install()
            say("installed")
        elif mode == "produce":
            await produce_on_credit(produce, size=REQUEST, in_flight=1)
        else:
            await work(driver)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
