"""What tasks write to their log (behaviour-core C-13.1 to C-13.8): queued, answered, then written in batches.

Clients do not wait for their lines and must not be slowed down, so a line is answered before it is committed: the lines
of the last moment before a crash are lost. A finished task may still log (C-13.13).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import structlog

from hatchet.core.clock import Clock, Ids
from hatchet.core.errors import NotFound, ResourceExhausted
from hatchet.core.ids import time_of
from hatchet.core.task_logs import TaskLogLine
from hatchet.engine.batcher import Batcher
from hatchet.store.pool import Database
from hatchet.store.task_logs import NewLogLine, append_log_lines, log_line_counts

log = structlog.get_logger("hatchet.engine")

MOST_LINES = 1000
MOST_TASKS = 20_000
MOST_WAITING_CHARACTERS = 32_000_000
BATCH_LINES = 500
LINE_CHARACTERS = 300
"""What a line takes besides its texts, roughly."""
CLOCK_TOLERANCE_SECONDS = 5.0

Key = tuple[str, str]


class AttemptLookup(Protocol):
    """Knows which attempt of a task is current."""

    async def attempt_of(self, tenant_id: str, task_id: str) -> int | None:
        """The current attempt, or the last one of a task that has ended; None when the tenant has no such task."""
        ...


class TaskLogs:
    """Takes log lines. ``relaxed``: connections that need not wait for the disk."""

    def __init__(self, relaxed: Database, lookup: AttemptLookup, clock: Clock, ids: Ids) -> None:
        self._database = relaxed
        self._lookup = lookup
        self._clock = clock
        self._ids = ids
        self._lines: OrderedDict[Key, int | None] = OrderedDict()
        """Tasks that exist, with their lines; None until they were counted."""
        self._waiting_characters = 0
        self._writes: Batcher[NewLogLine, None] = Batcher("task-logs", self._write, maximum=BATCH_LINES)
        self._has_warned = False

    async def put(self, tenant_id: str, line: TaskLogLine) -> None:
        """Queue one line. Lines above 1000 a task are dropped silently (C-13.5).

        Raises :class:`NotFound` for a task that the tenant does not have, :class:`ResourceExhausted` while lines come
        faster than they can be written.
        """
        key = (tenant_id, line.task_id)
        attempt = line.retry_count
        if attempt is None or key not in self._lines:
            current = await self._lookup.attempt_of(tenant_id, line.task_id)
            if current is None:
                raise NotFound(f"task not found: {line.task_id}")
            attempt = current if attempt is None else attempt
        written = self._lines.get(key)
        self._note(key, written)
        if written is None or written < MOST_LINES:
            self._queue(tenant_id, line, attempt)

    async def drain(self) -> None:
        """Wait until everything that was queued has been written."""
        await self._writes.drain()

    def _queue(self, tenant_id: str, line: TaskLogLine, attempt: int) -> None:
        new = NewLogLine(
            tenant_id,
            line.task_id,
            self._ids.new(),
            attempt,
            line.level,
            line.message,
            line.metadata,
            self._sane(line.created_at, line.task_id),
        )
        size = len(new.message) + len(new.metadata) + LINE_CHARACTERS
        if self._waiting_characters + size > MOST_WAITING_CHARACTERS:
            raise ResourceExhausted("the server is behind with writing log lines; this one was dropped")
        self._writes.submit(new).add_done_callback(lambda done: self._written(done, size))
        self._waiting_characters += size

    def _sane(self, at: float | None, task_id: str) -> float:
        """The client's time, unless it cannot be: before the task was made, or still to come (C-17.53)."""
        now = self._clock.now()
        return at if at is not None and time_of(task_id) - CLOCK_TOLERANCE_SECONDS <= at <= now else now

    async def _write(self, lines: Sequence[NewLogLine]) -> list[None]:
        try:
            await self._count(lines)
            allowed = [line for line in lines if self._is_allowed(line)]
            if allowed:
                await append_log_lines(self._database, allowed)
        except Exception:
            # How many were written is not known: count again.
            for line in lines:
                self._note((line.tenant_id, line.task_id), None)
            raise
        return [None] * len(lines)

    async def _count(self, lines: Sequence[NewLogLine]) -> None:
        keys = {(line.tenant_id, line.task_id) for line in lines}
        unknown = [key for key in keys if self._lines.get(key) is None]
        if unknown:
            for key, count in (await log_line_counts(self._database, unknown)).items():
                self._note(key, count)

    def _is_allowed(self, line: NewLogLine) -> bool:
        key = (line.tenant_id, line.task_id)
        count = self._lines.get(key) or 0
        if count >= MOST_LINES:
            return False
        self._note(key, count + 1)
        return True

    def _note(self, key: Key, count: int | None) -> None:
        self._lines[key] = count
        self._lines.move_to_end(key)
        if len(self._lines) > MOST_TASKS:
            self._lines.popitem(last=False)

    def _written(self, done: asyncio.Future[None], size: int) -> None:
        self._waiting_characters -= size
        error = None if done.cancelled() else done.exception()
        if error is not None and not self._has_warned:
            # One word for all lines until a line is written again.
            log.warning("log lines of tasks were lost", error=f"{type(error).__name__}: {error}")
        self._has_warned = error is not None
