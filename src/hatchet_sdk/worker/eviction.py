"""Which waiting durable tasks a worker gives up, and when (behaviour-durable D-17.2 to D-17.7). Connection thread only.

Evictions are asked for side by side: one that is not answered holds up no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hatchet_sdk.declare.eviction import EvictionPolicy
from hatchet_sdk.exceptions import DurableOperationError

logger = logging.getLogger("hatchet.worker")

TICK_SECONDS = 1.0
STOPPING_TICK_SECONDS = 0.05
CAPACITY_WAIT_SECONDS = 10.0
"""A task that waits for less is not evicted for want of slots (D-17.5)."""
GIVE_UP_SECONDS = 30.0
"""How long a worker that stops asks an engine that does not answer; then it leaves, and the engine will notice."""


class Evictable(Protocol):
    """An invocation."""

    @property
    def policy(self) -> EvictionPolicy | None: ...

    @property
    def waiting_since(self) -> float | None: ...

    @property
    def waits_for(self) -> str: ...

    async def evict(self, reason: str) -> bool: ...

    def evicted(self) -> None: ...


E = TypeVar("E", bound=Evictable)


@dataclass(slots=True, frozen=True)
class Eviction(Generic[E]):
    """A decision. ``reason`` is shown with the run."""

    invocation: E
    reason: str


def due(invocations: Iterable[E], now: float, slots: int) -> list[Eviction[E]]:
    """What is to be evicted at this moment.

    First those whose wait took longer than their policy allows; then, while the tasks that wait fill the slots, those
    that may be evicted for that and have waited for some time. Lower priorities first, then who waits longest.

    Args:
        now: seconds of the clock that `waiting_since` counts by.
        slots: the worker's durable slots.
    """
    waiting = sorted(_waiting(invocations), key=lambda one: (one.priority, one.since))
    over = [one for one in waiting if one.ttl_is_over(now)]
    decided = [Eviction(one.invocation, f"wait TTL exceeded: {one.invocation.waits_for}") for one in over]
    left = len(waiting) - len(over)
    for one in waiting:
        if left < slots:
            break
        if one not in over and one.yields_its_slot(now):
            decided.append(Eviction(one.invocation, f"worker at capacity: {one.invocation.waits_for}"))
            left -= 1
    return decided


@dataclass(slots=True, eq=False)
class _Waiting(Generic[E]):
    invocation: E
    since: float

    @property
    def priority(self) -> int:
        policy = self.invocation.policy
        return 0 if policy is None else policy.priority

    def ttl_is_over(self, now: float) -> bool:
        policy = self.invocation.policy
        return policy is not None and policy.ttl is not None and now - self.since >= policy.ttl.total_seconds()

    def yields_its_slot(self, now: float) -> bool:
        policy = self.invocation.policy
        may = policy is not None and policy.allow_capacity_eviction
        return may and now - self.since >= CAPACITY_WAIT_SECONDS


def _waiting(invocations: Iterable[E]) -> Iterator[_Waiting[E]]:
    for one in invocations:
        since = one.waiting_since
        if since is not None:
            yield _Waiting(one, since)


class EvictionManager(Generic[E]):
    """Looks once a second, for as long as there are durable tasks.

    Args:
        invocations: what runs on the worker now.
        slots: the worker's durable slots.
    """

    def __init__(self, invocations: Callable[[], Iterable[E]], slots: int) -> None:
        self._invocations = invocations
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._asked: dict[E, asyncio.Task[None]] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._stopping_since: float | None = None

    def start(self) -> None:
        """Begins to look; again does nothing."""
        if self._ticking is None:
            self._ticking = self._loop.create_task(self._tick_on(), name="hatchet-evictions")

    def stopping(self) -> None:
        """The worker stops: from now on whatever waits is evicted, whatever its policy (D-17.6)."""
        self._stopping_since = self._loop.time()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = self._loop.create_task(self._tick_on(), name="hatchet-evictions")

    async def close(self) -> None:
        """Ends it."""
        tasks = [*self._asked.values(), *([self._ticking] if self._ticking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tick_on(self) -> None:
        while True:
            try:
                self._tick()
            except Exception:
                logger.exception("evictions could not be decided")
            await asyncio.sleep(TICK_SECONDS if self._stopping_since is None else STOPPING_TICK_SECONDS)

    def _tick(self) -> None:
        now = self._loop.time()
        if self._stopping_since is None:
            for eviction in due(self._unasked(), now, self._slots):
                self._ask(eviction)
            return
        for one in self._unasked():
            if one.waiting_since is not None:
                self._ask(Eviction(one, f"worker shutdown: {one.waits_for}"))
        if now - self._stopping_since > GIVE_UP_SECONDS:
            for one in list(self._asked):
                logger.warning(
                    "a durable task that waits for %s is left to the engine, which does not answer", one.waits_for
                )
                one.evicted()

    def _unasked(self) -> list[E]:
        return [one for one in self._invocations() if one not in self._asked]

    def _ask(self, eviction: Eviction[E]) -> None:
        one = eviction.invocation
        task = self._asked[one] = self._loop.create_task(self._evict(eviction))
        task.add_done_callback(lambda _: self._asked.pop(one, None))

    async def _evict(self, eviction: Eviction[E]) -> None:
        try:
            if await eviction.invocation.evict(eviction.reason):
                logger.debug("evicted a durable task (%s)", eviction.reason)
        except DurableOperationError as error:
            # It waits on, and is tried again with the next tick.
            logger.warning("a durable task could not be evicted (%s): %s", eviction.reason, error)
        except Exception:
            logger.exception("a durable task could not be evicted (%s)", eviction.reason)
