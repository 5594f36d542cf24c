"""Triggers runs of workflows and waits for all results: ``dag_client.py ACKNOWLEDGED RESULTS COUNT WINDOW``.

Run number n is of workflow n modulo their number. The ids go to the file ACKNOWLEDGED when the engine has answered; a
trigger that got an error is repeated. Not more than WINDOW runs are open at a time. What the engine told of the tasks
of a run goes to the file RESULTS. After COUNT runs, or on SIGTERM, nothing new is triggered.
Whatever the engine does, the program ends with 0 only when every acknowledged run has given a result.
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import IO, Any

from client import ERRORS_IN_A_ROW, say
from flows import FLOWS, spawning
from steps import Job
from task import hatchet

from hatchet_sdk import EngineError

SPAWNING = 6
"""Their tasks hold a slot while they wait for children that need slots too: all slots full of them would be the end."""


async def triggered(n: int) -> str:
    """The id of one run; tried again until it is acknowledged."""
    flow = FLOWS[n % len(FLOWS)]
    for _ in range(ERRORS_IN_A_ROW):
        try:
            return (await flow.aio_run(Job(n=n), wait_for_result=False)).workflow_run_id
        except EngineError as error:
            print(f"trigger: {error}", flush=True)
            await asyncio.sleep(0.1)
    raise SystemExit("the engine never acknowledged a run")


async def outcome(run_id: str) -> Any:
    """The ends of all tasks of a run, as the engine tells them."""
    client = hatchet.client
    for _ in range(ERRORS_IN_A_ROW):
        try:
            return await client.connection.call(client.runner.wait(run_id))
        except EngineError as error:
            print(f"result: {error}", flush=True)
            await asyncio.sleep(0.1)
    raise SystemExit("the engine never gave a result")


async def one(n: int, ids: IO[str], results: IO[str], places: asyncio.Semaphore, parents: asyncio.Semaphore) -> None:
    async with parents if FLOWS[n % len(FLOWS)] is spawning else contextlib.nullcontext():
        await followed(n, ids, results)
    places.release()


async def followed(n: int, ids: IO[str], results: IO[str]) -> None:
    run_id = await triggered(n)
    say(ids, run=run_id, n=n, flow=FLOWS[n % len(FLOWS)].name)
    end = await outcome(run_id)
    tasks = {task.name: {"task": task.task_run_id, "error": task.error, "output": task.output} for task in end.tasks}
    say(results, run=run_id, tasks=tasks)


async def main(acknowledged: Path, results: Path, count: int, window: int) -> None:
    enough = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, enough.set)
    places, parents = asyncio.Semaphore(window), asyncio.Semaphore(SPAWNING)
    with acknowledged.open("w") as ids, results.open("w") as values:
        async with asyncio.TaskGroup() as running:
            for n in range(count):
                await places.acquire()
                if enough.is_set():
                    break
                running.create_task(one(n, ids, values, places, parents))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), *(int(text) for text in sys.argv[3:])))
