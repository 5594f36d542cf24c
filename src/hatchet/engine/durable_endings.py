"""Writes what waits came to, and restores the evicted tasks that may go on (behaviour-durable D-8.2, D-18.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from hatchet.engine.component import Background
from hatchet.engine.durable_waiting import Ended, Satisfied, Surroundings, Waiting
from hatchet.engine.durable_writes import DurableWrites
from hatchet.store.durable import NewMatch, NewOutcome, OfTask

log = structlog.get_logger("hatchet.engine")

RETRY_SECONDS = 0.5
BATCH = 1000
HAPPENED = "What the task waited for has happened"


class DurableEndings:
    """The writes of one tenant's owner. What failed is written again: it must not get lost with one write."""

    def __init__(
        self, tenant_id: str, writes: DurableWrites, around: Surroundings, *, drop: Callable[[Waiting], None]
    ) -> None:
        """``drop`` is called with what waits no longer, once that is committed."""
        self._tenant_id = tenant_id
        self._writes = writes
        self._around = around
        self._drop = drop
        self._background = Background("durable-waits")
        self._unwritten = 0
        self._is_stopped = False

    @property
    def is_idle(self) -> bool:
        """Whether everything is written."""
        return not self._unwritten

    def restore(self, task_ids: list[str]) -> None:
        """These tasks are evicted, and something has come for them."""
        if task_ids:
            self._background.spawn(self._restore(task_ids))

    async def stop(self) -> None:
        """Write what is under way, and give up what fails."""
        self._is_stopped = True
        await self._background.settle()

    def end(self, ended: Sequence[Ended]) -> None:
        """These waits are over."""
        for waiting, _ in ended:
            waiting.is_ending = True
        for start in range(0, len(ended), BATCH):
            self._background.spawn(self._write(ended[start : start + BATCH]))

    async def _write(self, ended: Sequence[Ended]) -> None:
        rows = [NewOutcome(OfTask(self._tenant_id, waiting.task_id), waiting.key, result) for waiting, result in ended]
        self._unwritten += 1
        try:
            while True:
                try:
                    written = [await done for done in self._writes.outcomes(rows)]
                    break
                except Exception as error:
                    if self._is_stopped:
                        return
                    # What came of a wait must not get lost with one write; writing twice is harmless.
                    log.warning("results of waits were not written, trying again", error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._unwritten -= 1
        for waiting, _ in ended:
            self._drop(waiting)
        news = [
            Satisfied(waiting.task_id, waiting.key, result if is_first else None)
            for (waiting, result), is_first in zip(ended, written, strict=True)
        ]
        self._around.satisfied(news)
        evicted = [one.task_id for one in news if self._around.evicted_attempt(one.task_id) is not None]
        await self._restore(list(dict.fromkeys(evicted)))

    async def _restore(self, task_ids: list[str]) -> None:
        while task_ids and not self._is_stopped:
            try:
                await self._around.restore(task_ids, HAPPENED)
                return
            except Exception as error:
                log.warning("evicted tasks were not restored, trying again", tasks=len(task_ids), error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def match(self, matched: Sequence[NewMatch]) -> None:
        """Events met conditions of waits that go on."""
        if matched:
            self._background.spawn(self._write_matches(matched))

    async def _write_matches(self, matched: Sequence[NewMatch]) -> None:
        self._unwritten += 1
        try:
            while True:
                try:
                    await self._writes.matches(matched)
                    return
                except Exception as error:
                    if self._is_stopped:
                        return
                    log.warning("matches of events were not written, trying again", error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._unwritten -= 1
