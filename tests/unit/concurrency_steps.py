"""Steps of tests of concurrency rules, in few words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from concurrency_model import drained

from hatchet.core.concurrency import Concurrency, Verdict
from hatchet.core.limits import Ask
from hatchet.core.rules import Strategy

RR = Strategy.GROUP_ROUND_ROBIN
IN_PROGRESS = Strategy.CANCEL_IN_PROGRESS
NEWEST = Strategy.CANCEL_NEWEST
BUT_NEWEST = Strategy.CANCEL_QUEUED_EXCEPT_NEWEST
BUT_OLDEST = Strategy.CANCEL_QUEUED_EXCEPT_OLDEST
QUEUEING = (RR, BUT_NEWEST, BUT_OLDEST)

NOTHING = Verdict()


def arrived(core: Concurrency, who: str, *asks: Ask, priority: int = 1) -> Verdict:
    return core.arrive(who, asks, (-float(priority), who))


def again(core: Concurrency, who: str, *asks: Ask) -> Verdict:
    """It comes back for its next attempt."""
    return core.arrive(who, asks, (-4.0, who), is_first=False, is_urgent=True)


def several(core: Concurrency, names: Iterable[str], *asks: Ask) -> Verdict:
    """What becomes of these, one after another."""
    told = Verdict()
    for who in names:
        verdict = arrived(core, who, *asks)
        told.admitted += verdict.admitted
        told.cancelled += verdict.cancelled
    return told


def order_of_starts(core: Concurrency, running: Sequence[str]) -> list[str]:
    """Who follows when always the one that has run longest ends."""
    starts = list(running)
    for who in starts:
        starts.extend(core.leave(who).admitted)
    assert drained(core)
    return starts
