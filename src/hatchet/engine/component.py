"""What a background component is: started once, stopped once, one named asyncio task that survives its own errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Protocol

import structlog

log = structlog.get_logger("hatchet.engine")


class Component(Protocol):
    """Something with a life: the server starts components in order and stops them in reverse."""

    async def start(self) -> None:
        """Begin; returns when the component is ready to be used."""
        ...

    async def stop(self) -> None:
        """End; returns when nothing of it runs any more."""
        ...


class Loop:
    """A component whose work is one coroutine, ``turn``, run again and again ``pause`` seconds apart.

    An error of one turn is logged once per kind until a turn succeeds, and the next turn is tried after the pause:
    a database that is away must neither end a loop nor flood the log.
    """

    def __init__(self, name: str, pause: float) -> None:
        self.name = name
        self.pause = pause
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._last_error: str | None = None

    async def turn(self) -> None:
        """One round of work."""
        raise AssertionError(f"{self.name} does not define its turn")

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def nudge(self) -> None:
        """Run the next turn now instead of after the pause."""
        self._nudge.set()

    async def _run(self) -> None:
        while True:
            self._nudge.clear()
            try:
                await self.turn()
                self._last_error = None
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if self._task is None:
                    # The stop came in the middle of a statement, and the driver told of a broken connection instead.
                    return
                self._report(error)
            # Not wait_for: it swallows a stop that comes together with a nudge, and the loop would never end.
            with contextlib.suppress(asyncio.TimeoutError):
                async with asyncio.timeout(self.pause):
                    await self._nudge.wait()

    def _report(self, error: Exception) -> None:
        kind = f"{type(error).__name__}: {error}"
        if kind != self._last_error:
            self._last_error = kind
            log.error("background work failed, trying again", loop=self.name, error=kind, exc_info=error)


class Background:
    """Short pieces of work that nobody waits for. An error is logged: a poll somewhere repeats what was not done."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run ``work`` now."""
        task = asyncio.create_task(work, name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def settle(self) -> None:
        """Wait until all of it is done."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("background work failed", what=self._name, error=f"{type(error).__name__}: {error}")
