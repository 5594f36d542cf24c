"""procrastinate: ``install``, ``produce`` or ``work``. Run in .venv-bench, the DSN in ``BENCH_DSN``.

Its documented fast ways: batch deferring, an asynchronous worker with concurrency, a pool of connections.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import uvloop

from benchmarks.compare.procrastinate_app import app, noop
from benchmarks.credit import produce_on_credit, say
from benchmarks.payload import task_input

CONCURRENCY = 100
REQUEST = 1000


async def produce(count: int) -> int:
    return len(await noop.batch_defer_async(*(task_input() for _ in range(count))))


async def main(mode: str) -> None:
    async with app.open_async():
        if mode == "install":
            await app.schema_manager.apply_schema_async()
            say("installed")
        elif mode == "produce":
            await produce_on_credit(produce, size=REQUEST, in_flight=1)
        else:
            say("ready")
            await app.run_worker_async(queues=["bench"], concurrency=CONCURRENCY)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
