"""What workers have free, and what was evicted from them (behaviour-rest R-14.2, R-14.5, behaviour-durable D-24.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hatchet.core.errors import Unavailable
from hatchet.engine.owner_questions import OwnerQuestions
from hatchet.engine.schedule import TenantScheduler
from hatchet.store.pool import Database

QUESTION = "worker-use"
MOST_EVICTED = 10_000
"""Evicted tasks that are looked up for one answer; of more the count is too low."""


@dataclass(slots=True, frozen=True)
class Use:
    """One worker."""

    free: dict[str, int]
    """Units by slot type."""
    evicted: int
    """Durable tasks that it had last, and that wait without a worker now."""


class WorkerUses:
    """Asks the tenant's owner."""

    def __init__(self, questions: OwnerQuestions, database: Database) -> None:
        self._questions = questions
        self._database = database
        questions.answers(QUESTION, self._answer)

    async def of(self, tenant_id: str) -> dict[str, Use]:
        """By worker id; workers that the owner does not know are absent, all of them while it does not answer."""
        try:
            data = await self._questions.ask(tenant_id, QUESTION)
        except Unavailable:
            return {}
        return {worker_id: Use(free, evicted) for worker_id, (free, evicted) in data.items()}

    async def _answer(self, owner: TenantScheduler) -> dict[str, Any]:
        evicted = [task.id for task in owner.backoff if task.is_evicted][:MOST_EVICTED]
        counts: dict[str, int] = {}
        if evicted:
            rows = await self._database.fetch("task_evicted_workers", owner.tenant_id, evicted)
            counts = {str(row["worker_id"]): row["tasks"] for row in rows}
        free = {worker.id: worker.free for worker in owner.pool.workers()}
        return {
            worker_id: (free.get(worker_id, {}), counts.get(worker_id, 0)) for worker_id in free.keys() | counts.keys()
        }
