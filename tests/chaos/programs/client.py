"""Triggers COUNT runs in bulks and waits for all results: ``client.py ACKNOWLEDGED RESULTS COUNT BULK MS WINDOW``.

The ids of a bulk go to the file ACKNOWLEDGED when the engine has answered; a bulk that got an error is triggered again.
Not more than WINDOW runs are open at a time, so that triggers go on as long as the test does. What each run returned
goes to the file RESULTS: a line of JSON with run, n, execution, and when it was triggered and heard of.
After COUNT runs, or on SIGTERM, nothing new is triggered.
Whatever the engine does, the program ends with 0 only when every acknowledged run has given a result.
"""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import IO, Any

from task import Job, work

ERRORS_IN_A_ROW = 200


def say(file: IO[str], **fields: Any) -> None:
    file.write(json.dumps(fields) + "\n")
    file.flush()


async def triggered(numbers: range, milliseconds: int) -> list[Any]:
    """The references of one bulk; tried again until it is acknowledged."""
    items = [work.create_bulk_run_item(input=Job(n=n, milliseconds=milliseconds)) for n in numbers]
    for _ in range(ERRORS_IN_A_ROW):
        try:
            return await work.aio_run_many(items, wait_for_result=False)
        except Exception as error:
            print(f"trigger: {type(error).__name__}: {error}", flush=True)
            await asyncio.sleep(0.1)
    raise SystemExit("the engine never acknowledged a bulk")


async def result(ref: Any, results: IO[str], began: float, window: asyncio.Semaphore) -> None:
    for _ in range(ERRORS_IN_A_ROW):
        try:
            value = await ref.aio_result()
        except ConnectionError as error:
            print(f"result: {type(error).__name__}: {error}", flush=True)
            await asyncio.sleep(0.1)
        else:
            say(results, run=ref.workflow_run_id, triggered=began, heard=time.time(), **value)
            window.release()
            return
    raise SystemExit("the engine never gave a result")


async def main(acknowledged: Path, results: Path, count: int, bulk: int, milliseconds: int, window: int) -> None:
    enough = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, enough.set)
    places = asyncio.Semaphore(window)
    with acknowledged.open("w") as ids, results.open("w") as values:
        async with asyncio.TaskGroup() as waiting:
            for first in range(0, count, bulk):
                numbers = range(first, min(first + bulk, count))
                for _ in numbers:
                    await places.acquire()
                if enough.is_set():
                    break
                began = time.time()
                for ref in await triggered(numbers, milliseconds):
                    say(ids, run=ref.workflow_run_id)
                    waiting.create_task(result(ref, values, began, places))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), *(int(text) for text in sys.argv[3:])))
