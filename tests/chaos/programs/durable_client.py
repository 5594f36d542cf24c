"""Durable runs until SIGTERM: ``durable_client.py ACKNOWLEDGED RESULTS LABEL WINDOW``.

Not more than WINDOW runs are open at a time. Each event that a run waits for is pushed once, until it is acknowledged:
those to be looked back for before the run is triggered or some time later, all others as soon as the wait for them is
in the database (``CHAOS_DSN``), so that a run that never hears of one has lost it.
ACKNOWLEDGED gets a line for each run that the engine has answered for, RESULTS one for each result.
The program ends with 0 only when every acknowledged run has given a result.
"""

import asyncio
import os
import random
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

import asyncpg
from client import ERRORS_IN_A_ROW, say
from durable import DURABLE, Order, hatchet
from durable_plan import FLOWS, Step, event, flat, plan

from hatchet_sdk import EngineError

LOOK_SECONDS = 0.1
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asking a database raises that is killed just then."""
LATEST_SECONDS = 1.5
"""How long after its run an event of the future comes at most."""
WAITS = """
SELECT DISTINCT found[1] AS key
FROM durable_entry, regexp_matches(subject, '"(chaos:once:' || $1 || ':[^"]+)"', 'g') AS found
WHERE kind = 'WAIT_FOR' AND created_at > clock_timestamp() - interval '60 s'
"""

T = TypeVar("T")


async def until_answered(call: Callable[[], Awaitable[T]]) -> T:
    """The engine's answer, asked for again as long as there is none."""
    for _ in range(ERRORS_IN_A_ROW):
        try:
            return await call()
        except EngineError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            await asyncio.sleep(0.1)
    raise SystemExit("the engine never answered")


class Runs:
    """What this program has under way."""

    def __init__(self, acknowledged: IO[str], results: IO[str], label: str, window: int) -> None:
        self.enough = asyncio.Event()
        self._acknowledged = acknowledged
        self._results = results
        self._label = label
        self._places = asyncio.Semaphore(window)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._waits(group))
            async with asyncio.TaskGroup() as runs:
                await self._trigger(runs)
            watching.cancel()

    async def _trigger(self, group: asyncio.TaskGroup) -> None:
        n = 0
        while True:
            await self._places.acquire()
            if self.enough.is_set():
                return
            group.create_task(self._one(n, group))
            n += 1

    async def _one(self, n: int, group: asyncio.TaskGroup) -> None:
        events = {kind: [step for step in flat(plan(n)) if step.kind == kind] for kind in ("past", "future")}
        for step in events["past"]:
            await self._push(event(step, self._label, n, ""))
        order = Order(n=n, label=self._label)
        flow = DURABLE[FLOWS[n % len(FLOWS)]]
        ref = await until_answered(lambda: flow.aio_run(order, wait_for_result=False))
        say(self._acknowledged, run=ref.workflow_run_id, n=n)
        for step in events["future"]:
            group.create_task(self._later(step, n))
        client = hatchet.client
        end = await until_answered(lambda: client.connection.call(client.runner.wait(ref.workflow_run_id)))
        [task] = end.tasks
        say(self._results, run=ref.workflow_run_id, error=task.error, output=task.output)
        self._places.release()

    async def _later(self, step: Step, n: int) -> None:
        await asyncio.sleep(random.uniform(0, LATEST_SECONDS))
        await self._push(event(step, self._label, n, ""))

    async def _push(self, key: str) -> None:
        await until_answered(lambda: hatchet.event.aio_push(key, {"of": key}, scope=self._label))

    async def _waits(self, group: asyncio.TaskGroup) -> None:
        """Pushes what is waited for, also while the database comes and goes."""
        pushed: set[str] = set()
        while True:
            with suppress(*AWAY):
                connection = await asyncpg.connect(os.environ["CHAOS_DSN"], timeout=5)
                try:
                    while True:
                        keys = {row["key"] for row in await connection.fetch(WAITS, re.escape(self._label), timeout=5)}
                        for key in keys - pushed:
                            group.create_task(self._push(key))
                        pushed |= keys
                        await asyncio.sleep(LOOK_SECONDS)
                finally:
                    connection.terminate()
            await asyncio.sleep(LOOK_SECONDS)


async def main(acknowledged: Path, results: Path, label: str, window: int) -> None:
    with acknowledged.open("w") as ids, results.open("w") as values:
        runs = Runs(ids, values, label, window)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, runs.enough.set)
        await runs.run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
