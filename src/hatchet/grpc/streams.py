"""Open streams: each runs as a task that the server can end before it stops (behaviour-core C-1.22)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from hatchet.core.errors import HatchetError, Unavailable

_log = structlog.get_logger(__name__)


class OpenStreams:
    """The handlers of the streams that are open on this instance."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, handler: Coroutine[Any, Any, None]) -> None:
        """Run a stream's handler to its end.

        Raises :class:`Unavailable` when the server closes first, so that the client reconnects. When the caller is
        cancelled because the client went away, the handler is cancelled and awaited.
        """
        if self._closed:
            handler.close()
            raise _closing()
        task = asyncio.create_task(handler)
        self._running.add(task)
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            await _ended(task)
            raise
        finally:
            self._running.discard(task)
        if task.cancelled():
            raise _closing()
        task.result()

    async def close(self, grace: float) -> None:
        """End every stream and accept no further one; waits at most ``grace`` seconds for the handlers."""
        self._closed = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running), timeout=grace)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))
    error = None if task.cancelled() else task.exception()
    # A handler may well notice the end by a failing send before it is cancelled.
    if error is not None and not isinstance(error, HatchetError):
        _log.warning("a stream's handler failed while it was ended", exc_info=error)


def _closing() -> Unavailable:
    return Unavailable("this server is stopping: connect again, another instance or the next start will answer")
