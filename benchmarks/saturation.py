"""As fast as possible: a producer that keeps a bounded backlog, a worker, and the database's word for what is done."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.counters import Counters
from benchmarks.peer import Peer, PeerEnded
from benchmarks.usage import Parties, per_task_us

POLL_SECONDS = 0.2
DRAIN_POLL_SECONDS = 1.0
READY_SECONDS = 60.0
DRAIN_SECONDS = 60.0
STALL_SECONDS = 30.0


class Finished(Protocol):
    """Counts committed results of one queue."""

    async def about(self) -> int:
        """Cheap, asked several times a second to steer the producer."""
        ...

    async def exactly(self) -> int:
        """Exact, asked at both ends of the measured time."""
        ...


@dataclass(slots=True, frozen=True)
class Plan:
    """How long and how much; ``backlog`` is the most that may be accepted and not finished."""

    seconds: float = 60.0
    warm_up_seconds: float = 5.0
    backlog: int = 6000


@dataclass(slots=True, frozen=True)
class Moment:
    """Everything that is compared between the two ends."""

    at: float
    finished: int
    cpu: dict[str, float]
    counts: Any


async def saturate(
    *, producer: Peer, finished: Finished, parties: Parties, counters: Counters, plan: Plan
) -> dict[str, Any]:
    """Run for the plan's time and report rates and costs per task.

    Afterwards the producer is stopped and the rest is waited for: ``lost`` says how many accepted tasks did not finish.
    Raises :class:`PeerEnded` when the producer ends or nothing finishes for half a minute.
    """
    await producer.expect("ready", READY_SECONDS)
    start = await finished.exactly()
    steering = asyncio.create_task(_steer(producer, finished, start, plan.backlog), name="steering")
    try:
        await _unless_broken(steering, plan.warm_up_seconds)
        async with parties.watched():
            begin = await _moment(finished, parties, counters)
            await _unless_broken(steering, plan.seconds)
            end = await _moment(finished, parties, counters)
    finally:
        steering.cancel()
    await producer.tell("stop")
    accepted = (await producer.expect("done", DRAIN_SECONDS))["total"]
    lost = await _drained(finished, start + accepted)
    return {**_result(begin, end, parties), "accepted": accepted, "lost": lost}


async def _steer(producer: Peer, finished: Finished, start: int, backlog: int) -> None:
    last, progress_at = -1, time.monotonic()
    while True:
        done = await finished.about() - start
        if done != last:
            last, progress_at = done, time.monotonic()
        elif time.monotonic() - progress_at > STALL_SECONDS:
            raise PeerEnded(f"nothing finished for {STALL_SECONDS:.0f} s ({done} before). {producer.errors}")
        await producer.tell(f"allow {done + backlog}")
        await asyncio.sleep(POLL_SECONDS)


async def _unless_broken(steering: asyncio.Task[None], seconds: float) -> None:
    done, _ = await asyncio.wait({steering}, timeout=seconds)
    for task in done:
        task.result()


async def _moment(finished: Finished, parties: Parties, counters: Counters) -> Moment:
    count = await finished.exactly()
    return Moment(time.monotonic(), count, parties.cpu(), await counters.read())


async def _drained(finished: Finished, target: int) -> int:
    """Wait until ``target`` tasks have finished or nothing moves any more; how many are missing."""
    missing, moved_at = target - await finished.exactly(), time.monotonic()
    while missing > 0 and time.monotonic() - moved_at < STALL_SECONDS:
        await asyncio.sleep(DRAIN_POLL_SECONDS)
        now = target - await finished.exactly()
        if now != missing:
            missing, moved_at = now, time.monotonic()
    return missing


def _result(begin: Moment, end: Moment, parties: Parties) -> dict[str, Any]:
    tasks, seconds = end.finished - begin.finished, end.at - begin.at
    counts = end.counts.since(begin.counts)
    each = max(tasks, 1)
    cpu = per_task_us(begin.cpu, end.cpu, tasks)
    return {
        "tasks": tasks,
        "seconds": seconds,
        "tasks_per_second": tasks / seconds,
        "cpu_us_per_task": {**cpu, "all": sum(cpu.values())},
        "cpu_cores_used": sum(end.cpu.values()) / seconds - sum(begin.cpu.values()) / seconds,
        "statements_per_task": counts.statements / each,
        "commits_per_task": counts.commits / each,
        "wal_bytes_per_task": counts.wal_bytes / each,
        "peak_mb": dict(parties.peak_mb),
    }
