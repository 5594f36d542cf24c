"""The worker of a load test, a process of its own: the producer's work must not delay the tasks.

``python -m hatchet.cli.loadtest.worker PLAN``, the plan as JSON. Prints ``ready`` when the server has taken it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time

from hatchet.cli.loadtest.logs import show_logs
from hatchet.cli.loadtest.plan import Plan
from hatchet.cli.loadtest.tasks import NAME, declare
from hatchet_sdk import Hatchet, Worker
from hatchet_sdk.worker.worker import WorkerStatus

_POLL_SECONDS = 0.02


def main(plan: Plan) -> None:
    """Serve until SIGTERM."""
    show_logs(plan.level)
    # The failures that were asked for are not worth a line each.
    logging.getLogger("hatchet.worker").setLevel(max(logging.WARNING, logging.getLogger().level))
    hatchet = Hatchet()
    worker = hatchet.worker(f"{NAME}-{os.getpid()}", slots=plan.slots, workflows=list(declare(hatchet, plan)))
    threading.Thread(target=_announce, args=(worker,), daemon=True).start()
    worker.start()


def _announce(worker: Worker) -> None:
    while worker.status is not WorkerStatus.HEALTHY:
        time.sleep(_POLL_SECONDS)
    print("ready", flush=True)


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
