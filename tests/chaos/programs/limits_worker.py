"""Our SDK's worker with the workflows under limits: ``limits_worker.py NAME SLOTS``."""

import sys

from limited import LIMITED, hatchet

if __name__ == "__main__":
    hatchet.worker(sys.argv[1], slots=int(sys.argv[2]), workflows=list(LIMITED.values())).start()
