"""What run events must know about tasks and runs, asked seldom although chunks come fast."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from hatchet.core.statuses import RunStatus

MOST_KNOWN = 20_000


class RunLookup(Protocol):
    """Answers from the rows. Each method may raise Unavailable."""

    async def run_of(self, tenant_id: str, task_id: str) -> str | None:
        """The run that the task belongs to, its own id for a standalone task; None when the tenant has no such task."""
        ...

    async def state_of(self, tenant_id: str, run_id: str) -> RunStatus | None:
        """The run's status; None when the tenant has no such run."""
        ...

    async def metadata_of(self, tenant_id: str, run_ids: Sequence[str]) -> dict[str, str]:
        """Additional metadata by run id, as JSON texts; runs without any may be absent."""
        ...


class TaskRuns:
    """The runs of tasks, remembered. A task never changes its run, so only unknown tasks are asked for again."""

    def __init__(self, lookup: RunLookup) -> None:
        self._lookup = lookup
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._asked: dict[tuple[str, str], asyncio.Task[str | None]] = {}

    async def run_of(self, tenant_id: str, task_id: str) -> str | None:
        """Like :meth:`RunLookup.run_of`. Callers that come while the rows are read share the answer, in their order."""
        key = (tenant_id, task_id)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        asked = self._asked.get(key)
        if asked is None:
            # A task of its own: the caller that came first may be cancelled while the others wait.
            self._asked[key] = asked = asyncio.create_task(self._ask(key), name="run of a task")
        return await asyncio.shield(asked)

    async def _ask(self, key: tuple[str, str]) -> str | None:
        try:
            run_id = await self._lookup.run_of(*key)
            if run_id is not None:
                self._known[key] = run_id
                if len(self._known) > MOST_KNOWN:
                    self._known.popitem(last=False)
            return run_id
        finally:
            del self._asked[key]
