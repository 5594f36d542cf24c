"""Hands completions over, and answers what workers say they wait for (behaviour-durable D-15)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from hatchet.core.clock import Clock
from hatchet.core.durable_log import Key, Result
from hatchet.core.durable_messages import ServerEvict
from hatchet.core.errors import NotFound
from hatchet.core.ids import parse_uuid
from hatchet.engine.batcher import Batcher
from hatchet.engine.bus import Bus
from hatchet.engine.durable_evictions import DurableEvictions
from hatchet.engine.durable_session import DurableSession
from hatchet.engine.durable_waiting import Satisfied
from hatchet.engine.durable_walk import Overtaken, Walk, Walking
from hatchet.engine.durable_walks import DurableWalks, Elsewhere
from hatchet.engine.memory import Flights, Owners
from hatchet.store.durable import OfTask, Place, read_results
from hatchet.store.pool import Database

LOOK_SECONDS = 4.0
"""A worker that lists an entry for longer may wait for a completion that this instance did not hear of."""
QUIET_LOOK_SECONDS = 30.0
"""The same where no other instance can have written it."""
FORGET_SECONDS = 600.0
MOST_REPLAY_TURNS = 100
"""More than fit into the time for which completions take turns: a clock that stands still holds no request back."""


class DurableCompletions:
    """The completions of one instance's walks. Its methods run in the order of their task's other work."""

    def __init__(
        self,
        *,
        database: Database,
        walks: DurableWalks,
        walking: Walking,
        evictions: DurableEvictions,
        flights: Flights,
        owners: Owners,
        bus: Bus,
        clock: Clock,
        queue: Callable[[str, Callable[[], Awaitable[None]]], None],
        entries_added: Callable[[OfTask], None],
    ) -> None:
        """``queue`` puts work behind the other work of a task.

        ``entries_added`` reminds the owner, when it is another instance, of what a task waits for.
        """
        self._database = database
        self._walks = walks
        self._walking = walking
        self._evictions = evictions
        self._flights = flights
        self._owners = owners
        self._bus = bus
        self._clock = clock
        self._queue = queue
        self._entries_added = entries_added
        self._looked_at: dict[Place, float] = {}
        self._looks: Batcher[tuple[OfTask, Key], Result | None] = Batcher("durable-results-of", self._look)

    def sweep(self, now: float) -> None:
        """Forget what was listed long ago."""
        for place in [place for place, at in self._looked_at.items() if at < now - FORGET_SECONDS]:
            del self._looked_at[place]

    async def drain(self) -> None:
        """Wait for the readings that are under way."""
        await self._looks.drain()

    async def listed(
        self, session: DurableSession, task_id: str, invocation: int, keys: list[Key], order: int | None
    ) -> None:
        """D-15.8: what is listed and over is sent; one notice for a task whose invocation is over (D-16.5)."""
        normal = parse_uuid(task_id)
        if normal is None:
            return
        try:
            walk = await self._walks.current(session, normal, invocation)
        except Elsewhere as elsewhere:
            session.push(ServerEvict(task_id, invocation, elsewhere.reason))
            return
        except NotFound:
            return
        now = self._clock.now()
        walk.log.hands_over_in_order = session.in_order
        if order is not None:
            walk.log.received(order)
        again = walk.log.listed(keys, now)
        self._walking.send_again(walk, again)
        self._walking.tell_memos(walk, keys)
        await self.release(walk)
        await self._repair(walk, keys, now)
        if walk.log.stalled(now) is None:
            return
        if await self._evictions.unstall(walk, self._flights.get(normal)):
            self._walks.forget(normal)
        else:
            await self.release(walk)

    async def came(self, task_id: str, news: Sequence[Satisfied]) -> None:
        """The owner, in this instance, has committed results of the task's entries."""
        walk = self._walks.get(task_id)
        if walk is None:
            return
        if any(one.result is None for one in news):
            await self.read_results(walk)
        for one in news:
            if one.result is not None:
                walk.log.satisfied(*one.key, one.result)
        await self.release(walk)

    async def came_elsewhere(self, task_id: str) -> None:
        """Another instance has."""
        walk = self._walks.get(task_id)
        if walk is not None:
            await self.read_results(walk)
            await self.release(walk)

    async def release(self, walk: Walk) -> None:
        """Hand over what may be handed over now, and look again when others have their turn."""
        try:
            await self._walking.release(walk)
        except Overtaken:
            self._walks.forget(walk.of.task_id)
            anew = await self._release_anew(walk)
            if anew is None:
                return
            walk = anew
        if walk.next_turn is not None:
            walk.next_turn.cancel()
            walk.next_turn = None
        turn_at = walk.log.next_turn()
        if turn_at is not None and not walk.session.is_closed:
            pause = max(turn_at - self._clock.now(), 0.0)
            walk.next_turn = asyncio.get_running_loop().call_later(pause, self._take_turn, walk)

    async def catch_up(self, walk: Walk) -> None:
        """Hand over what came before the next request in earlier invocations, so that its answer comes afterwards.

        Raises Overtaken.
        """
        for _ in range(MOST_REPLAY_TURNS):
            turn_at = walk.log.next_replay()
            if turn_at is None or walk.session.is_closed:
                return
            await asyncio.sleep(max(turn_at - self._clock.now(), 0.0))
            await self._walking.release(walk)

    def _take_turn(self, walk: Walk) -> None:
        walk.next_turn = None
        if self._walks.get(walk.of.task_id) is walk:
            self._queue(walk.of.task_id, partial(self.release, walk))

    async def read_results(self, walk: Walk) -> None:
        """Know the results of what is open, as the rows have them."""
        wanted = [(walk.of, entry.key) for entry in walk.log.waiting()]
        for place, result in (await read_results(self._database, wanted)).items():
            walk.log.satisfied(place[1], place[2], result)

    async def _release_anew(self, old: Walk) -> Walk | None:
        """Another instance has handed over meanwhile: what is left is decided by the rows."""
        with contextlib.suppress(Elsewhere, NotFound, Overtaken):
            walk = await self._walks.current(old.session, old.of.task_id, old.invocation)
            await self._walking.release(walk)
            return walk
        return None

    async def _repair(self, walk: Walk, keys: Sequence[Key], now: float) -> None:
        """The poll behind the news of results (D-15.9)."""
        pause = LOOK_SECONDS if self._bus.has_peers else QUIET_LOOK_SECONDS
        asked: list[Key] = []
        for key in keys:
            entry = walk.log.get(*key)
            if entry is None or entry.result is not None:
                continue
            place = (walk.of.task_id, *key)
            if now - self._looked_at.setdefault(place, now) >= pause:
                self._looked_at[place] = now
                asked.append(key)
        if not asked:
            return
        if self._owners.get(walk.of.tenant_id) is None:
            self._entries_added(walk.of)
        results = [await done for done in self._looks.submit_all([(walk.of, key) for key in asked])]
        for key, result in zip(asked, results, strict=True):
            if result is not None:
                walk.log.satisfied(*key, result)
        await self.release(walk)

    async def _look(self, wanted: Sequence[tuple[OfTask, Key]]) -> list[Result | None]:
        found = await read_results(self._database, wanted)
        return [found.get((of.task_id, *key)) for of, key in wanted]
