"""`Context`: what a task knows about its run and what it may ask of the engine.

One object per attempt. It is made on the connection thread for every assignment, so making it must stay cheap: what the
assignment says is read on demand (`assignment`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from hatchet_sdk.context.assignment import Assignment
from hatchet_sdk.context.link import WorkerLink
from hatchet_sdk.context.log_line import LogLevel, LogLine, LogSender, clean, text_of
from hatchet_sdk.context.worker_context import WorkerContext
from hatchet_sdk.declare.durations import timedelta_to_expr
from hatchet_sdk.wire.loop_thread import connection_thread

if TYPE_CHECKING:
    from hatchet_contracts.dispatcher_pb2 import AssignedAction
    from hatchet_contracts.events_pb2 import PutStreamEventRequest
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.context.durable_log import DurableLog
    from hatchet_sdk.wire.calls import Calls

task_logger = logging.getLogger("hatchet.task")


class Context(Assignment):
    """The context of one attempt of a task; the second argument of every task function."""

    def __init__(
        self,
        action: AssignedAction,
        *,
        link: WorkerLink,
        worker: WorkerContext,
        workflow_name: str,
        max_attempts: int,
        lifespan: Any = None,
        log_sender: LogSender | None = None,
    ) -> None:
        super().__init__(action)
        self._link = link
        self._worker = worker
        self._workflow_name = workflow_name
        self._max_attempts = max_attempts
        self._lifespan = lifespan
        self.log_sender = log_sender
        self._cancelled = False
        self._children = itertools.count()
        self._chunks = itertools.count()

    @property
    def _task_run_ids(self) -> list[str]:
        """The task runs that this context stands for: one, except in a batch."""
        return [self.task_run_id]

    # --- who runs it ---------------------------------------------------------------------------------------------

    @property
    def lifespan(self) -> Any:
        """What the worker's `lifespan` generator yielded; None without one."""
        return self._lifespan

    @property
    def workflow_name(self) -> str:
        return self._workflow_name

    @property
    def max_attempts(self) -> int:
        """The declared retries + 1. Attempts that a lost worker cost come on top (C-2.28)."""
        return self._max_attempts

    def next_child_index(self) -> int:
        """Takes the next index for a child run of this attempt, counting from 0 (C-4.15)."""
        return next(self._children)

    def children_log(self, config: ClientConfig) -> DurableLog | None:
        """The log that the child runs of this task go to; only a durable task has one."""
        return None

    # --- the worker ----------------------------------------------------------------------------------------------

    @property
    def worker(self) -> WorkerContext:
        return self._worker

    @property
    def worker_id(self) -> str:
        return self._link.worker_id

    @property
    def worker_labels(self) -> dict[str, str | int]:
        return self._worker.labels()

    def upsert_worker_labels(self, labels: dict[str, str | int]) -> None:
        """See `WorkerContext.upsert_labels`."""
        self._worker.upsert_labels(labels)

    async def aio_upsert_worker_labels(self, labels: dict[str, str | int]) -> None:
        """See `WorkerContext.upsert_labels`."""
        await self._worker.async_upsert_labels(labels)

    # --- cancellation --------------------------------------------------------------------------------------------

    @property
    def exit_flag(self) -> bool:
        """True once the task was cancelled. A sync task should look at it now and then and return (C-5.20)."""
        return self._cancelled

    @property
    def is_cancelled(self) -> bool:
        """The same as `exit_flag`."""
        return self._cancelled

    def done(self) -> bool:
        """The same as `exit_flag`."""
        return self._cancelled

    def mark_cancelled(self) -> None:
        """Raises the exit flag. For the worker; the engine is not told."""
        self._cancelled = True

    def cancel(self) -> None:
        """Cancels this task run: the engine ends it as CANCELLED, and the exit flag is raised."""
        connection_thread().run(self._cancel())

    async def aio_cancel(self) -> None:
        """Like `cancel`. The engine's answer cancels the coroutine at one of its next awaits."""
        await connection_thread().call(self._cancel())

    async def _cancel(self) -> None:
        await self._link.calls.cancel_tasks(self._task_run_ids)
        self._cancelled = True

    # --- slot, timeout, log --------------------------------------------------------------------------------------

    def release_slot(self) -> None:
        """Frees the slot of this task at once; the task runs on, no longer tied to this worker (C-11.34, C-11.35)."""
        connection_thread().run(self._release_slot())

    async def aio_release_slot(self) -> None:
        """Like `release_slot`, for async tasks."""
        await connection_thread().call(self._release_slot())

    async def _release_slot(self) -> None:
        for task_run in self._task_run_ids:
            await self._link.calls.release_slot(task_run)

    def refresh_timeout(self, increment_by: timedelta | str) -> None:
        """Moves the deadline of this attempt: new deadline = present deadline + increment (C-11.38).

        Args:
            increment_by: a timedelta, or a duration text such as `"10s"` or `"1m30s"`.
        """
        connection_thread().run(self._refresh_timeout(increment_by))

    async def aio_refresh_timeout(self, increment_by: timedelta | str) -> None:
        """Like `refresh_timeout`, for async tasks."""
        await connection_thread().call(self._refresh_timeout(increment_by))

    async def _refresh_timeout(self, increment_by: timedelta | str) -> None:
        for task_run in self._task_run_ids:
            await self._link.calls.refresh_timeout(task_run, timedelta_to_expr(increment_by))

    def pause_rate_limit(self, key: str, until: datetime) -> datetime:
        """Lets no task use the rate limit until then; a pause is never made shorter (C-10.4).

        Args:
            until: without a time zone it means local time.

        Returns:
            The time in effect, in UTC.
        """
        return connection_thread().run(self._pause_rate_limit(key, until))

    async def aio_pause_rate_limit(self, key: str, until: datetime) -> datetime:
        """Like `pause_rate_limit`, for async tasks."""
        return await connection_thread().call(self._pause_rate_limit(key, until))

    async def _pause_rate_limit(self, key: str, until: datetime) -> datetime:
        return datetime.fromtimestamp(await self._link.calls.pause_rate_limit(key, until.timestamp()), UTC)

    # --- stream --------------------------------------------------------------------------------------------------

    def put_stream(self, data: str | bytes) -> None:
        """Sends a chunk to whoever listens to the run with `hatchet.runs.subscribe_to_stream`.

        Returns when the engine has the chunk, so that chunks keep their order and none is lost when the task ends
        (C-7.42). Chunks are not stored.

        Raises:
            TypeError: neither text nor bytes.
            EngineError: the engine refused the chunk, or is away for more than some seconds.
        """
        connection_thread().run(self._put_chunks(self._chunk(data)))

    async def aio_put_stream(self, data: str | bytes) -> None:
        """Like `put_stream`, for async tasks."""
        await connection_thread().call(self._put_chunks(self._chunk(data)))

    def _chunk(self, data: str | bytes) -> list[PutStreamEventRequest]:
        from hatchet_contracts.events_pb2 import PutStreamEventRequest

        if isinstance(data, str):
            data = data.encode("utf-8", "replace")
        elif not isinstance(data, bytes):
            raise TypeError(f"a chunk of a stream must be str or bytes, got {type(data).__name__}")
        # The index is taken where the task calls, in the order of its calls.
        index = next(self._chunks)
        requests = [
            PutStreamEventRequest(task_run_external_id=task_run, message=data, event_index=index)
            for task_run in self._task_run_ids
        ]
        for request in requests:
            request.created_at.GetCurrentTime()
        return requests

    async def _put_chunks(self, requests: list[PutStreamEventRequest]) -> None:
        from hatchet_sdk.wire.resend import until_sent

        for request in requests:
            await until_sent(self._link, partial(_put_chunk, request))

    # --- log -----------------------------------------------------------------------------------------------------

    def log(self, line: str | Mapping[str, Any], raise_on_error: bool = False) -> None:
        """Writes a line to the log of this task run, and to the Python logger `hatchet.task` of this process.

        Returns at once: the line waits in a queue of the worker, and a failure is only warned of. Lines are cut at
        10,000 characters; the engine keeps 1000 lines of a task (C-13.3, C-13.5).

        Args:
            line: a text, or a mapping that is written as JSON.
            raise_on_error: wait until the engine has the line, and raise what went wrong. Also raises TypeError for a
                mapping that JSON cannot hold, of which else the `repr` is written.
        """
        sent = self._write(line, raise_on_error)
        if sent is not None:
            sent.result()

    async def aio_log(self, line: str | Mapping[str, Any], raise_on_error: bool = False) -> None:
        """Like `log`."""
        sent = self._write(line, raise_on_error)
        if sent is not None:
            await asyncio.wrap_future(sent)

    def _write(self, line: str | Mapping[str, Any], raise_on_error: bool) -> Future[None] | None:
        text = text_of(line, strict=raise_on_error)
        task_logger.info("%s", text, extra={"task_run_id": self.task_run_id, "retry_count": self.retry_count})
        sent: Future[None] | None = Future() if raise_on_error and self.log_sender is not None and text else None
        self.write_line(text, LogLevel.INFO, time.time(), sent)
        return sent

    def write_line(self, text: str, level: LogLevel, at: float, sent: Future[None] | None = None) -> None:
        """Puts a line into the log of this task run. For the worker, which captures Python's loggers.

        Args:
            at: when it was written, seconds since 1970.
            sent: set when the engine has the line, or will not get it.
        """
        # An empty line is nothing to the engine (C-13.3).
        if self.log_sender is None or not text:
            return
        *others, last = self._task_run_ids
        for task_run in others:
            self.log_sender.put(LogLine(task_run, self.retry_count, level, clean(text), at))
        self.log_sender.put(LogLine(last, self.retry_count, level, clean(text), at, sent))


async def _put_chunk(request: PutStreamEventRequest, calls: Calls) -> None:
    await calls.put_stream_event(request)
