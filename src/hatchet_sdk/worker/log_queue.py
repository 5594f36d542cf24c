"""The log lines of all tasks of a worker on their way to the engine: one queue, in the order of writing (C-13.6).

Writing a line never waits for the engine and never fails a task. What cannot be sent, or has no room, is lost with a
warning; one warning until something arrives again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from hatchet_contracts.events_pb2 import PutLogRequest
from hatchet_sdk.context.log_line import LogLine
from hatchet_sdk.wire.calls import Calls
from hatchet_sdk.wire.resend import Link, until_sent
from hatchet_sdk.worker.mailbox import Mailbox

logger = logging.getLogger("hatchet.worker")

POLL_SECONDS = 0.005


class LogQueue:
    """Takes lines from any thread; everything else happens on the connection thread.

    Args:
        link: the worker's connection.
        capacity: how many lines may wait; a line more is dropped (`log_queue_size` of the configuration).
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop, link: Link, capacity: int) -> None:
        self._loop = loop
        self._link = link
        self._capacity = capacity
        self._arriving: Mailbox[LogLine] = Mailbox(loop, self._arrived)
        # The line that is under way stays at the head until it has arrived.
        self._queue: deque[LogLine] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._last_at = 0
        self._dropped = 0
        self._warned = False
        self._closed = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many lines the engine does not have yet."""
        return len(self._arriving) + len(self._queue)

    def put(self, line: LogLine) -> None:
        """From any thread. A line that somebody waits for finds room in any case: the waiting is the limit."""
        if self._closed:
            _fail(line, RuntimeError("the worker has stopped; the log line was not sent"))
        elif line.sent is None and len(self) >= self._capacity:
            self._drop()
        else:
            self._arriving.put(line)

    async def flush(self, seconds: float) -> None:
        """Returns when the engine has all lines, or after that long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self):
                    if self._sending is None:
                        await asyncio.sleep(POLL_SECONDS)
                    else:
                        await asyncio.wait({self._sending})

    def close(self) -> None:
        """Gives up what was not sent."""
        self._closed = True
        if self._sending is not None:
            self._sending.cancel()
        if self._queue:
            logger.warning("%d log lines of tasks were not sent", len(self._queue))
        for line in self._queue:
            _fail(line, RuntimeError("the worker has stopped; the log line was not sent"))
        self._queue.clear()

    def _arrived(self, line: LogLine) -> None:
        if self._closed:
            _fail(line, RuntimeError("the worker has stopped; the log line was not sent"))
            return
        self._queue.append(line)
        if self._sending is None:
            self._sending = self._loop.create_task(self._send_all(), name="hatchet-log-lines")

    async def _send_all(self) -> None:
        while self._queue:
            line = self._queue[0]
            try:
                await until_sent(self._link, self._call(line))
            except Exception as error:
                self._failed(line, error)
            else:
                self._warned = False
                _succeed(line)
            self._queue.popleft()
        self._sending = None
        self._tell_dropped()

    def _call(self, line: LogLine) -> Callable[[Calls], Awaitable[None]]:
        request = PutLogRequest(
            task_run_external_id=line.task_run_id,
            message=line.text,
            level=line.level.value,
            task_retry_count=line.retry_count,
        )
        # Lists are sorted by this time (C-13.7), so two lines never share one. The engine keeps microseconds.
        self._last_at = max(int(line.at * 1_000_000), self._last_at + 1)
        request.created_at.FromMicroseconds(self._last_at)
        return lambda calls: calls.put_log(request)

    def _failed(self, line: LogLine, error: Exception) -> None:
        _fail(line, error)
        if not self._warned:
            self._warned = True
            logger.warning("a log line of task %s is lost, and maybe more: %s", line.task_run_id, error)

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1
            first = self._dropped == 1
        if first:
            logger.warning(
                "tasks write log lines faster than the engine takes them: %d wait, more are dropped (log_queue_size)",
                self._capacity,
            )

    def _tell_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped > 1:
            logger.warning("%d log lines of tasks were dropped", dropped)


def _succeed(line: LogLine) -> None:
    if line.sent is not None and not line.sent.done():
        line.sent.set_result(None)


def _fail(line: LogLine, error: Exception) -> None:
    if line.sent is not None and not line.sent.done():
        line.sent.set_exception(error)
