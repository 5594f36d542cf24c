"""Our SDK's worker with the durable tasks: ``durable_worker.py NAME SLOTS``."""

import sys

from durable import EVERYTHING, hatchet

if __name__ == "__main__":
    hatchet.worker(sys.argv[1], slots=int(sys.argv[2]), workflows=list(EVERYTHING)).start()
