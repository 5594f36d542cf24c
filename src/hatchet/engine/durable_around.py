"""What the waits of a tenant's durable tasks need of the rest of the instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hatchet.engine.durable_waiting import Satisfied
from hatchet.engine.evicting import Evicting

if TYPE_CHECKING:
    from hatchet.engine.durable_streams import DurableStreams
    from hatchet.engine.schedule import TenantScheduler


class DurableAround:
    """The surroundings of one tenant's waits: its scheduler, and who serves its tasks."""

    def __init__(self, scheduler: TenantScheduler, durable: DurableStreams, evicting: Evicting) -> None:
        self._scheduler = scheduler
        self._durable = durable
        self._evicting = evicting

    def evicted_attempt(self, task_id: str) -> int | None:
        """The attempt that an evicted task will have; None when it is not evicted."""
        task = self._scheduler.backoff.get(task_id)
        return task.attempt if task is not None and task.is_evicted else None

    def satisfied(self, news: Sequence[Satisfied]) -> None:
        """Entries have results: whoever serves their tasks hands them over."""
        self._durable.satisfied(self._scheduler.tenant_id, news)

    async def restore(self, task_ids: Sequence[str], cause: str) -> None:
        """Put evicted tasks into their queue."""
        await self._evicting.restore(self._scheduler.tenant_id, task_ids, cause)
