"""Our SDK's worker with the tasks and workflows of the chaos tests: ``worker.py NAME SLOTS``."""

import sys

from flows import EVERYTHING
from task import hatchet, work

if __name__ == "__main__":
    hatchet.worker(sys.argv[1], slots=int(sys.argv[2]), workflows=[work, *EVERYTHING]).start()
