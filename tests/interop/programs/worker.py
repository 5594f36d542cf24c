"""A worker with what the interop tests run: ``worker.py NAME SLOTS [long]``."""

import sys

from flows import FLOWS, labelled
from spawning import SPAWNING
from tasks import SERVED, hatchet, long
from waits import WAITS

if __name__ == "__main__":
    name, slots = sys.argv[1], int(sys.argv[2])
    workflows = [long] if sys.argv[3:] == ["long"] else [*SERVED, *FLOWS, *WAITS, *SPAWNING]
    hatchet.worker(name, slots=slots, labels={"affinity": name}, workflows=[*workflows, labelled]).start()
