"""What waits and what runs now, from the memory of a tenant's owner (behaviour-rest R-12.5, R-12.7 to R-12.9)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from hatchet.core.clock import Clock
from hatchet.core.queue_stats import Tally, TaskStats, from_data, to_data
from hatchet.engine.owner_questions import OwnerQuestions
from hatchet.engine.schedule import TenantScheduler

QUESTION = "queue-stats"
AT_ONCE = 5000
"""Attempts that are counted before other work gets its turn."""
FRESH_SECONDS = 1.0
"""How old an answer may be: autoscalers ask for every task by itself, and counting takes its time."""

T = TypeVar("T")


class QueueStats:
    """Counts for people and autoscalers."""

    def __init__(self, questions: OwnerQuestions, clock: Clock) -> None:
        self._questions = questions
        self._clock = clock
        self._counted: dict[str, tuple[float, TenantScheduler, dict[str, Any]]] = {}
        questions.answers(QUESTION, self._count)

    async def tasks(self, tenant_id: str) -> dict[str, TaskStats]:
        """Every task of which an attempt waits or runs, by its readable id; may be a second old.

        Raises Unavailable when the tenant's owner does not answer.
        """
        return from_data(await self._questions.ask(tenant_id, QUESTION))

    async def queues(self, tenant_id: str) -> dict[str, int]:
        """How many attempts wait in each queue that is not empty; otherwise as :meth:`tasks`."""
        found: dict[str, int] = {}
        for stats in (await self.tasks(tenant_id)).values():
            for queue, count in stats.queued.queues.items():
                found[queue] = found.get(queue, 0) + count
        return found

    async def _count(self, owner: TenantScheduler) -> dict[str, Any]:
        now = self._clock.now()
        known = self._counted.get(owner.tenant_id)
        if known is not None and known[1] is owner and now - known[0] < FRESH_SECONDS:
            return known[2]
        waiting, flying = owner.attempts()
        tally = Tally()
        for some in _pieces(waiting):
            tally.waits(some, now)
            await asyncio.sleep(0)
        for flights in _pieces(flying):
            tally.runs((flight.task, flight.started_at or flight.assigned_at) for flight in flights)
            await asyncio.sleep(0)
        data = to_data(tally.by_name)
        self._counted[owner.tenant_id] = (now, owner, data)
        return data


def _pieces(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), AT_ONCE):
        yield things[start : start + AT_ONCE]
