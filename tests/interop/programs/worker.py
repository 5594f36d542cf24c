"""A worker with what the interop tests run: ``worker.py NAME SLOTS [long | in-order | moves | makes-room]``."""

import sys
from typing import Any

from batched import BATCHED
from durable_again import DURABLE_AGAIN
from durable_children import DURABLE_CHILDREN
from durable_evicted import DURABLE_EVICTED, makes_room, moves
from durable_waits import DURABLE_WAITS
from flows import FLOWS, labelled
from limits import LIMITS, in_order
from placed import PLACED
from spawning import SPAWNING
from tasks import SERVED, hatchet, long
from triggered import TRIGGERED
from waits import WAITS

DURABLE: list[Any] = [*DURABLE_WAITS, *DURABLE_CHILDREN, *DURABLE_EVICTED, *DURABLE_AGAIN]
EVERYTHING: list[Any] = [*SERVED, *FLOWS, *WAITS, *SPAWNING, *LIMITS, *TRIGGERED, *BATCHED, *DURABLE]
ALONE: dict[str, list[Any]] = {"in-order": [in_order], "moves": [moves], "makes-room": [makes_room]}


def served(which: list[str]) -> list[Any]:
    if which and which[0] in ALONE:
        return ALONE[which[0]]
    return [*([long] if which == ["long"] else EVERYTHING), *PLACED, labelled]


if __name__ == "__main__":
    name, slots = sys.argv[1], int(sys.argv[2])
    labels: dict[str, str | int] = {"affinity": name, "capacity": slots}
    which = sys.argv[3:]
    # Few enough that somebody has to make room.
    durable_slots = slots if which == ["makes-room"] else None
    hatchet.worker(name, slots=slots, durable_slots=durable_slots, labels=labels, workflows=served(which)).start()
