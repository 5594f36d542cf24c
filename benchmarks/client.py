"""The client: ``python -m benchmarks.client MODE ...``. Its result is one line of JSON.

``produce TASK``          bulk triggers on credit, see :mod:`benchmarks.credit`
``paced RATE SECONDS``    single runs at a fixed pace; times from trigger to start and to result
``wait LANES SECONDS``    that many callers, each of which waits for its result before the next call
``fan CHILDREN TIMES``      one task after the other that spawns so many children and collects their results
``fill TASK COUNT``       bulk triggers as fast as they are taken
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks import tasks
from benchmarks.credit import produce_on_credit, say
from benchmarks.figures import spread_ms
from benchmarks.payload import task_input

BULK = 1000
BULKS_IN_FLIGHT = 2
WARM_UP_RUNS = 50
RESULT_SECONDS = 60.0


@dataclass(slots=True)
class Times:
    """Seconds from the call of ``aio_run`` to the first line of the task, and to the result in the caller's hands."""

    to_start: list[float] = field(default_factory=list)
    to_result: list[float] = field(default_factory=list)

    async def one_run(self) -> None:
        """Run once and note both."""
        called = time.time()
        result = await tasks.noop.aio_run(task_input())
        ended = time.time()
        self.to_start.append(result["started"] - called)
        self.to_result.append(ended - called)

    def summary(self) -> dict[str, Any]:
        return {"start_ms": spread_ms(self.to_start), "result_ms": spread_ms(self.to_result)}


async def warm_up() -> None:
    """Connections open, the first statements are planned, code paths are warm."""
    times = Times()
    for _ in range(WARM_UP_RUNS):
        await times.one_run()


async def bulk(task: str, count: int) -> int:
    runnable = getattr(tasks, task)
    items = [runnable.create_bulk_run_item(input=task_input()) for _ in range(count)]
    return len(await runnable.aio_run_many(items, wait_for_result=False))


async def produce(task: str) -> None:
    await produce_on_credit(lambda count: bulk(task, count), size=BULK, in_flight=BULKS_IN_FLIGHT)


async def paced(rate: float, seconds: float) -> None:
    """Every call begins at its own time, whether or not the ones before have ended: a slow engine is not spared."""
    await warm_up()
    times, running = Times(), set[asyncio.Task[None]]()
    say("begin")
    begin = time.monotonic()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(begin + number / rate - time.monotonic())
        run = asyncio.create_task(times.one_run())
        running.add(run)
        run.add_done_callback(running.discard)
    triggering = time.monotonic() - begin
    async with asyncio.timeout(RESULT_SECONDS):
        await asyncio.gather(*running)
    say("done", **times.summary(), rate=rate * seconds / max(triggering, 1e-9))


async def wait(lanes: int, seconds: float) -> None:
    await warm_up()
    times = Times()
    say("begin")
    begin = time.monotonic()

    async def lane() -> None:
        while time.monotonic() - begin < seconds:
            await times.one_run()

    await asyncio.gather(*(lane() for _ in range(lanes)))
    elapsed = time.monotonic() - begin
    runs = len(times.to_result)
    say("done", **times.summary(), tasks=runs, seconds=elapsed, tasks_per_second=runs / elapsed)


async def fan(children: int, times: int) -> None:
    """The first one warms up and does not count."""
    seconds: list[float] = []
    for _ in range(times + 1):
        called = time.monotonic()
        result = await tasks.fan_out.aio_run({"children": children})
        seconds.append(time.monotonic() - called)
        if result["collected"] != children:
            sys.exit(f"{children} children were spawned and {result['collected']} results collected")
    say("done", seconds=sorted(seconds[1:]))


async def fill(task: str, count: int) -> None:
    begin = time.monotonic()
    left = list(range(BULK, count + 1, BULK))

    async def lane() -> None:
        while left:
            left.pop()
            await bulk(task, BULK)

    await asyncio.gather(*(lane() for _ in range(BULKS_IN_FLIGHT)))
    say("done", tasks=count // BULK * BULK, seconds=time.monotonic() - begin)


async def main(mode: str, *arguments: str) -> None:
    if mode == "produce":
        await produce(arguments[0])
    elif mode == "paced":
        await paced(float(arguments[0]), float(arguments[1]))
    elif mode == "wait":
        await wait(int(arguments[0]), float(arguments[1]))
    elif mode == "fan":
        await fan(int(arguments[0]), int(arguments[1]))
    elif mode == "fill":
        await fill(arguments[0], int(arguments[1]))
    else:
        sys.exit(f"unknown mode {mode!r}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main(*sys.argv[1:]))
