"""A worker with what the interop tests run: ``worker.py NAME SLOTS [long | in-order]``."""

import sys
from typing import Any

from batched import BATCHED
from flows import FLOWS, labelled
from limits import LIMITS, in_order
from placed import PLACED
from spawning import SPAWNING
from tasks import SERVED, hatchet, long
from triggered import TRIGGERED
from waits import WAITS

EVERYTHING: list[Any] = [*SERVED, *FLOWS, *WAITS, *SPAWNING, *LIMITS, *TRIGGERED, *BATCHED]


def served(which: list[str]) -> list[Any]:
    if which == ["in-order"]:
        return [in_order]
    return [*([long] if which == ["long"] else EVERYTHING), *PLACED, labelled]


if __name__ == "__main__":
    name, slots = sys.argv[1], int(sys.argv[2])
    labels: dict[str, str | int] = {"affinity": name, "capacity": slots}
    hatchet.worker(name, slots=slots, labels=labels, workflows=served(sys.argv[3:])).start()
