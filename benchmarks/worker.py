"""One worker: ``python -m benchmarks.worker TASK[,TASK] SLOTS``. Says ``ready`` when the engine has taken it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

from benchmarks import tasks
from benchmarks.credit import say
from hatchet_sdk import Worker
from hatchet_sdk.worker.worker import WorkerStatus

POLL_SECONDS = 0.02


def announce(worker: Worker) -> None:
    """Say it as soon as the worker is connected; tasks can be triggered from then on."""
    while worker.status is not WorkerStatus.HEALTHY:
        time.sleep(POLL_SECONDS)
    say("ready")


def main(task: str, slots: int) -> None:
    workflows = [getattr(tasks, name) for name in task.split(",")]
    worker = tasks.hatchet.worker(f"bench-{task}-{os.getpid()}", slots=slots, workflows=workflows)
    threading.Thread(target=announce, args=(worker,), daemon=True).start()
    worker.start()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(sys.argv[1], int(sys.argv[2]))
