"""What happens to waiting attempts, for people: written behind, once for each attempt (behaviour-core C-5.47).

Losing a note loses nothing but the note.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from hatchet.core.clock import Clock
from hatchet.core.rate_limits import Lack, lack_text
from hatchet.core.ready_task import ReadyTask
from hatchet.core.statuses import TaskEventType
from hatchet.engine.batcher import Pace
from hatchet.store.pool import Database
from hatchet.store.tasks import NewNote, append_notes

log = structlog.get_logger("hatchet.engine")

GAP_SECONDS = 0.05
BATCH = 1000
MOST_WAITING = 100_000
"""Notes that wait to be written; more are left out."""


class TaskNotes:
    """The notes of one tenant's waiting attempts."""

    def __init__(self, tenant_id: str, database: Database, clock: Clock) -> None:
        self._tenant_id = tenant_id
        self._database = database
        self._clock = clock
        self._notes: list[NewNote] = []
        self._pace = Pace(GAP_SECONDS)
        self._task: asyncio.Task[None] | None = None

    def parked(self, task: ReadyTask, lack: Lack) -> None:
        """The attempt waits for units of a rate limit (C-10.16)."""
        self._note(task, TaskEventType.REQUEUED_RATE_LIMIT, lack_text(lack))

    def waits_for_batch(self, tasks: Sequence[ReadyTask]) -> None:
        """No worker had room for the batch (C-16.13)."""
        for task in tasks:
            self._note(task, TaskEventType.WAITING_FOR_BATCH, "No worker has room for the batch")

    async def stop(self) -> None:
        """Write what there is."""
        task = self._task
        if task is not None:
            with contextlib.suppress(Exception):
                await asyncio.shield(task)

    def _note(self, task: ReadyTask, kind: TaskEventType, message: str) -> None:
        if kind.value in task.noted or len(self._notes) >= MOST_WAITING:
            return
        task.noted = (*task.noted, kind.value)
        self._notes.append(
            NewNote(self._tenant_id, task.id, task.attempt, self._clock.now(), kind.value, message=message)
        )
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"task-notes:{self._tenant_id}")

    async def _run(self) -> None:
        try:
            while self._notes:
                await self._pace.wait()
                batch = self._notes[:BATCH]
                del self._notes[:BATCH]
                try:
                    await append_notes(self._database, batch)
                except Exception as error:
                    log.warning("notes about waiting tasks were not written", tenant=self._tenant_id, error=str(error))
                self._pace.done()
        finally:
            self._task = None
