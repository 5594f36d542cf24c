"""Takes invocations off their workers, and lets tasks go on whose worker cannot have used what came (behaviour-durable
D-17.15, D-15.10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from hatchet.core.clock import Clock
from hatchet.core.durable_log import Restore
from hatchet.core.durable_messages import ServerEvict
from hatchet.core.errors import HatchetError
from hatchet.engine.component import Background
from hatchet.engine.durable_walk import Walk
from hatchet.engine.evicting import Evicting
from hatchet.engine.memory import Flight
from hatchet.store.durable import OfTask

log = structlog.get_logger("hatchet.engine")

SOON_SECONDS = 3.0
"""When an evicted task goes on whose worker may not have used its last completion (D-17.15)."""
STALL_SECONDS = 600.0
"""How long it is remembered that an invocation stalled."""
STALLED = "ordered completion release stalled: an operation of an earlier invocation was not asked for again"
RESTARTED = "the engine was restarted while the task replayed its log"
HAPPENED = "What the task waited for happened while it was evicted"


class DurableEvictions:
    """The evictions that this instance decides or carries out."""

    def __init__(self, evicting: Evicting, clock: Clock) -> None:
        self._evicting = evicting
        self._clock = clock
        self._soon: dict[str, tuple[asyncio.TimerHandle, OfTask]] = {}
        """Evicted tasks that are to be restored in a moment."""
        self._stalled: dict[str, tuple[int, float]] = {}
        """By task id the invocation that was ended because a completion was held back for ever, and when."""
        self._background = Background("durable-evictions")

    async def evict(self, flight: Flight, reason: str | None) -> bool:
        """Evict at the worker's wish (D-17.8); False when there was nothing to evict."""
        return await self._evicting.evict(flight.tenant_id, flight, reason)

    async def look_after(self, walk: Walk, read_results: Callable[[Walk], Awaitable[None]]) -> None:
        """A result that came together with the eviction was not used by the worker: the task goes on (D-17.15)."""
        try:
            await read_results(walk)
            restore = walk.log.after_eviction(self._clock.now())
            if restore is Restore.NOW:
                await self._evicting.restore(walk.of.tenant_id, [walk.of.task_id], HAPPENED)
        except HatchetError as error:
            # The worker has its answer; the owner looks at the rows in a while.
            log.warning("could not look at an evicted task", task=walk.of.task_id, error=error.message)
            return
        if restore is Restore.SOON:
            self.goes_on(walk.of.task_id)
            timer = asyncio.get_running_loop().call_later(SOON_SECONDS, self._restore_now, walk.of)
            self._soon[walk.of.task_id] = timer, walk.of

    def goes_on(self, task_id: str) -> None:
        """The eviction after which the task was to be restored soon is over."""
        waiting = self._soon.pop(task_id, None)
        if waiting is not None:
            waiting[0].cancel()

    async def begin_anew(self, flight: Flight) -> str:
        """How far an invocation had come is lost with an instance: another one walks the log from its beginning.

        Returns what to tell the worker.
        """
        await self._evicting.evict(flight.tenant_id, flight, RESTARTED, restored_for=RESTARTED)
        return f"invocation {flight.task.invocation} is over: {RESTARTED}"

    async def unstall(self, walk: Walk, flight: Flight | None) -> bool:
        """A completion is held back because another one was never asked for: a new invocation may ask (D-15.10).

        False when the invocation goes on: what the one after a stall does not ask for either is not waited for
        (D-14.11).
        """
        task_id = walk.of.task_id
        before, _ = self._stalled.get(task_id, (-1, 0.0))
        if before == walk.invocation - 1:
            walk.log.skip_unasked()
            return False
        self._stalled[task_id] = walk.invocation, self._clock.now()
        if flight is None or flight.task.invocation != walk.invocation:
            return False
        if await self._evicting.evict(flight.tenant_id, flight, STALLED, restored_for=STALLED):
            walk.session.push(ServerEvict(task_id, walk.invocation, STALLED))
        return True

    def sweep(self, now: float) -> None:
        """Forget old stalls."""
        for task_id in [task_id for task_id, (_, at) in self._stalled.items() if at < now - STALL_SECONDS]:
            del self._stalled[task_id]

    async def drain(self) -> None:
        """What was to be restored soon is restored now."""
        for _, of in list(self._soon.values()):
            self._restore_now(of)
        await self._background.settle()

    def _restore_now(self, of: OfTask) -> None:
        self.goes_on(of.task_id)
        self._background.spawn(self._evicting.restore(of.tenant_id, [of.task_id], HAPPENED))
