"""Ends what a tenant's gates have decided against: cancelled by a concurrency rule, or without computable limits.

The gates decide in memory; here the ends are written, again and again until they are in the rows. A crash before that
loses nothing: the next owner decides the same from the same rows.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from hatchet.core.clock import Clock
from hatchet.core.errors import Unavailable
from hatchet.core.ready_task import ReadyTask
from hatchet.core.transitions import Event, EventKind, State, decide
from hatchet.engine.control import Control
from hatchet.engine.endings import Ending, Endings
from hatchet.engine.memory import policy_of

log = structlog.get_logger("hatchet.engine")

RETRY_SECONDS = 0.2
BATCH = 1000


class Verdicts:
    """The ends of one tenant that are to be written."""

    def __init__(
        self, tenant_id: str, control: Control, endings: Endings, clock: Clock, *, max_internal_retries: int
    ) -> None:
        self._tenant_id = tenant_id
        self._control = control
        self._endings = endings
        self._clock = clock
        self._max_internal_retries = max_internal_retries
        self._outrun: dict[str, None] = {}
        self._refused: dict[str, tuple[ReadyTask, str]] = {}
        self._task: asyncio.Task[None] | None = None

    def outrun(self, ids: list[str]) -> None:
        """Cancel these runs and tasks in favour of others (C-9.11)."""
        self._outrun.update(dict.fromkeys(ids))
        self._begin()

    def refuse(self, task: ReadyTask, error: str) -> None:
        """Fail a task whose limits could not be computed (C-8.35)."""
        self._refused[task.id] = (task, error)
        self._begin()

    async def stop(self) -> None:
        """Leave the rest to the next owner."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"verdicts:{self._tenant_id}")

    async def _run(self) -> None:
        try:
            while self._outrun or self._refused:
                try:
                    await self._write()
                except Exception as error:
                    if not isinstance(error, Unavailable):
                        log.error("could not end what a rule decided against", tenant=self._tenant_id, exc_info=error)
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._task = None

    async def _write(self) -> None:
        ids = list(self._outrun)[:BATCH]
        if ids:
            await self._control.cancel(self._tenant_id, ids, EventKind.OUTRUN)
            for id in ids:  # noqa: A001
                self._outrun.pop(id, None)
        refused = list(self._refused.values())[:BATCH]
        if refused:
            await self._endings.end_all([self._refusal(task, error) for task, error in refused])
            for task, _ in refused:
                self._refused.pop(task.id, None)

    def _refusal(self, task: ReadyTask, error: str) -> Ending:
        event = Event(EventKind.REFUSED, self._clock.now(), error)
        decision = decide(State.QUEUED, event, policy_of(task, self._max_internal_retries), task.counters)
        assert decision is not None
        return Ending(self._tenant_id, task, decision, event.at)
