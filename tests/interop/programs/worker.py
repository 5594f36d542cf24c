"""The official client's worker with the tasks of the interop tests: ``worker.py NAME SLOTS [long]``."""

import sys

from tasks import SERVED, hatchet, long

if __name__ == "__main__":
    name, slots = sys.argv[1], int(sys.argv[2])
    hatchet.worker(name, slots=slots, workflows=[long] if sys.argv[3:] == ["long"] else SERVED).start()
