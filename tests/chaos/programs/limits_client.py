"""A load under limits until SIGTERM: ``limits_client.py ACKNOWLEDGED RESULTS LABEL WINDOW``.

Each workflow has a lane of its own: one trigger after the other, the next when the one before was acknowledged, not
more than WINDOW runs open. Keys carry LABEL, so that all runs of a key come from this program, in the order of ``n``.
Beside them it pushes events and schedules runs. ACKNOWLEDGED gets a line for each run, event and scheduled run that the
engine has answered for, RESULTS one for each end that the engine told.
The program ends with 0 only when every acknowledged run has given a result.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TypeVar

from client import ERRORS_IN_A_ROW, say
from limited import EVENT, LIMITED, STATIC_KEY, STATIC_LIMIT, Job, hatchet, planned

from hatchet_sdk import EngineError, RateLimitDuration

BULK = 4
EVENT_SECONDS, PLAN_SECONDS = 0.05, 0.1
LANES = {
    "single": 6,
    "three": 3,
    "both": 4,
    "outrun": 3,
    "refused": 3,
    "static": 1,
    "dynamic": 4,
    "line": 4,
    "gathered": 3,
    "scarce": 2,
}
"""Workflow to how many keys its runs have."""
PAUSES = {"outrun": 0.15, "refused": 0.15, "scarce": 1.0}
"""Nothing ever fills the windows of these: what is too much is cancelled. Seconds between their triggers."""

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


class Lanes:
    """What this program has under way."""

    def __init__(self, acknowledged: IO[str], results: IO[str], label: str, window: int) -> None:
        self.enough = asyncio.Event()
        self._acknowledged = acknowledged
        self._results = results
        self._label = label
        self._window = window

    async def run(self) -> None:
        await until_answered(lambda: hatchet.rate_limits.aio_put(STATIC_KEY, STATIC_LIMIT, RateLimitDuration.SECOND))
        async with asyncio.TaskGroup() as group:
            for flow, keys in LANES.items():
                group.create_task(self._lane(flow, keys, group))
            group.create_task(self._events())
            group.create_task(self._plans())

    async def _lane(self, flow: str, keys: int, group: asyncio.TaskGroup) -> None:
        places = asyncio.Semaphore(self._window)
        n = 0
        while not self.enough.is_set():
            jobs = [self._job(number, keys) for number in range(n, n + BULK)]
            n += BULK
            for _ in jobs:
                await places.acquire()
            if self.enough.is_set():
                return
            items = [LIMITED[flow].create_bulk_run_item(input=job) for job in jobs]
            refs = await until_answered(lambda items=items: LIMITED[flow].aio_run_many(items, wait_for_result=False))
            for job, ref in zip(jobs, refs, strict=True):
                say(self._acknowledged, kind="run", flow=flow, run=ref.workflow_run_id, n=job.n)
                group.create_task(self._ended(flow, ref.workflow_run_id, places))
            if flow in PAUSES:
                await asyncio.sleep(PAUSES[flow])

    def _job(self, n: int, keys: int) -> Job:
        return Job(n=n, k=f"{self._label}-{n % keys}", b=f"{self._label}-{n % 3}")

    async def _ended(self, flow: str, run_id: str, places: asyncio.Semaphore) -> None:
        client = hatchet.client
        end = await until_answered(lambda: client.connection.call(client.runner.wait(run_id)))
        tasks = [{"error": task.error, "output": task.output} for task in end.tasks]
        say(self._results, flow=flow, run=run_id, tasks=tasks, heard=time.time())
        places.release()

    async def _events(self) -> None:
        n = 0
        while not self.enough.is_set():
            n += 1
            scope = "left" if n % 3 else "right"
            payload = {"n": n, "k": self._label}
            event = await until_answered(
                lambda payload=payload, scope=scope: hatchet.event.aio_push(EVENT, payload, scope=scope)
            )
            say(self._acknowledged, kind="event", event=event.event_id, n=n, scope=scope)
            await asyncio.sleep(EVENT_SECONDS)

    async def _plans(self) -> None:
        n = 0
        while not self.enough.is_set():
            n += 1
            at = datetime.now(UTC) + timedelta(seconds=0.2 + n * 7 % 30 / 10)
            made = await until_answered(lambda at=at, n=n: planned.aio_schedule(at, Job(n=n, k=self._label)))
            say(self._acknowledged, kind="plan", plan=made.scheduled_workflows[0].id, n=n, at=at.timestamp())
            await asyncio.sleep(PLAN_SECONDS)


async def main(acknowledged: Path, results: Path, label: str, window: int) -> None:
    with acknowledged.open("w") as ids, results.open("w") as values:
        lanes = Lanes(ids, values, label, window)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lanes.enough.set)
        await lanes.run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
