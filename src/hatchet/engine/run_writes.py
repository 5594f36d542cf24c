"""What a run book writes behind its decisions: queued, written together, tried again until it is written.

Losing it would lose nothing, because it follows from what is committed already. So nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from hatchet.core.errors import Unavailable
from hatchet.engine.batcher import Pace
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database
from hatchet.store.runs import RunEnding, close_reopened, put_run_results
from hatchet.store.tasks import NewResult, append_results

log = structlog.get_logger("hatchet.engine")

GAP_SECONDS = 0.002
MAXIMUM = 1000
REMEMBERED = 4096
"""How many rows are known by name after they were written: a run may have been read just before."""


@dataclass(slots=True, frozen=True)
class Closed:
    """What was replayed has ended again; ``replayed_at``: the newest replay that this is known of."""

    id: str
    replayed_at: float


Write = NewResult | RunEnding | Closed
Name = tuple[str, str, float]
"""What tells rows apart: kind, id, and which of those with that id."""
Written = Callable[[list[str], list[str]], None]
"""Called with the ids of tasks and of runs whose ends are in the rows now."""


class RunWrites:
    """The rows of one tenant that follow from its runs, under its owner's fence."""

    def __init__(self, tenant_id: str, lease: HeldLease, database: Database, written: Written) -> None:
        self._tenant_id = tenant_id
        self._lease = lease
        self._database = database
        self._written = written
        self._queue: list[Write] = []
        self._queued: set[Name] = set()
        self._done: dict[Name, None] = {}
        self._pace = Pace(GAP_SECONDS)
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, write: Write) -> bool:
        """Queue a row; False when it is on its way already, or was written a moment ago.

        A run that is read back while its end is on its way to the rows is decided once more: that is no news.
        """
        name = _name(write)
        if name in self._queued or name in self._done:
            return False
        self._queued.add(name)
        self._queue.append(write)
        self.nudge()
        return True

    def nudge(self) -> None:
        """Write what is queued, if nobody does."""
        if self._queue and self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"run-writes:{self._tenant_id}")

    async def drain(self) -> None:
        """Wait until everything is written, or could not be."""
        while self._task is not None:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._pace.wait()
                batch = self._queue[:MAXIMUM]
                try:
                    await self._write(batch)
                except Unavailable as error:
                    log.warning("ends of runs are not written yet", tenant=self._tenant_id, error=error.message)
                    return
                del self._queue[: len(batch)]
                self._queued.difference_update(map(_name, batch))
                self._done.update(dict.fromkeys(map(_name, batch)))
                while len(self._done) > REMEMBERED:
                    del self._done[next(iter(self._done))]
                self._pace.done()
        finally:
            self._task = None

    async def _write(self, batch: Sequence[Write]) -> None:
        """A row that cannot be written stands alone in the end and is given up; who reads the run decides it anew."""
        try:
            await self._write_rows(batch)
        except Unavailable:
            raise
        except Exception as error:
            if len(batch) == 1:
                log.error(
                    "an end of a run cannot be written", tenant=self._tenant_id, row=repr(batch[0]), exc_info=error
                )
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])

    async def _write_rows(self, batch: Sequence[Write]) -> None:
        rows = [one for one in batch if isinstance(one, NewResult)]
        # Of a run that ended twice in one batch the last end counts.
        ends = list({one.run_id: one for one in batch if isinstance(one, RunEnding)}.values())
        closed = [one for one in batch if isinstance(one, Closed)]
        if rows:
            await append_results(self._database, rows, self._lease)
        if ends:
            await put_run_results(self._database, self._lease, self._tenant_id, ends)
        if closed:
            names = [(one.id, one.replayed_at) for one in closed]
            await close_reopened(self._database, self._tenant_id, names)
        self._written([row.task_id for row in rows], [end.run_id for end in ends])


def _name(write: Write) -> Name:
    if isinstance(write, RunEnding):
        return ("end", write.run_id, write.attempts)
    if isinstance(write, NewResult):
        return ("result", write.task_id, write.attempt)
    return ("closed", write.id, write.replayed_at)
