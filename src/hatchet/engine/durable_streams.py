"""The durable streams of one instance: requests of workers, and news for them.

Requests of one task are handled one after the other, those of different tasks beside each other (behaviour-durable
D-2.6). What an entry waits for is the tenant's owner's to know (:mod:`hatchet.engine.durable_waits`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from hatchet.core.clock import Clock
from hatchet.core.durable_log import Key
from hatchet.core.durable_messages import (
    EntryRef,
    EvictionAck,
    EvictRequest,
    MemoRequest,
    MemoValue,
    Refused,
    Request,
    SendResponse,
    ServerEvict,
    SpawnRequest,
    StatusRequest,
    UnreadableRequest,
    WaitRequest,
)
from hatchet.core.errors import FailedPrecondition, HatchetError, Unavailable
from hatchet.core.ids import parse_uuid
from hatchet.engine.bus import Bus
from hatchet.engine.component import Loop
from hatchet.engine.durable_chains import Chains
from hatchet.engine.durable_completions import DurableCompletions
from hatchet.engine.durable_evictions import DurableEvictions
from hatchet.engine.durable_session import DurableSession
from hatchet.engine.durable_waiting import Satisfied
from hatchet.engine.durable_walk import Overtaken, Walk, Walking
from hatchet.engine.durable_walks import DurableWalks, Elsewhere
from hatchet.engine.durable_writes import DurableWrites
from hatchet.engine.evicting import Evicting
from hatchet.engine.memory import Flights, Owners
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.trigger import Trigger
from hatchet.engine.workers import Workers
from hatchet.store.durable import OfTask
from hatchet.store.pool import Database

log = structlog.get_logger("hatchet.engine")

SWEEP_SECONDS = 5.0
ATTEMPTS = 3
AWAY_SECONDS = 20.0
"""How long a request waits for a database that is away; workers wait for a minute."""
AWAY_PAUSE_SECONDS = 0.3


class DurableStreams(Loop):
    """The durable streams of one instance."""

    def __init__(
        self,
        *,
        database: Database,
        hot: Database,
        writes: DurableWrites,
        workers: Workers,
        flights: Flights,
        owners: Owners,
        rebuild: Rebuild,
        trigger: Trigger,
        evicting: Evicting,
        bus: Bus,
        clock: Clock,
    ) -> None:
        super().__init__("durable", SWEEP_SECONDS)
        self._workers = workers
        self._owners = owners
        self._bus = bus
        self._clock = clock
        self._chains = Chains("durable")
        self._evictions = DurableEvictions(evicting, clock)
        self._walks = DurableWalks(
            database=database,
            flights=flights,
            owners=owners,
            rebuild=rebuild,
            evictions=self._evictions,
            bus=bus,
            clock=clock,
        )
        self._walking = Walking(
            hot=hot,
            writes=writes,
            trigger=trigger,
            owners=owners,
            clock=clock,
            entries_added=self.entries_added,
        )
        self._completions = DurableCompletions(
            database=database,
            walks=self._walks,
            walking=self._walking,
            evictions=self._evictions,
            flights=flights,
            owners=owners,
            bus=bus,
            clock=clock,
            queue=self._chains.queue,
            entries_added=self.entries_added,
        )
        bus.on("durable_waits", self._heard_waits)
        bus.on("durable_branches", self._heard_branches)
        bus.on("durable_results", self._heard_results)

    def __len__(self) -> int:
        """How many tasks' logs are in memory."""
        return len(self._walks)

    # Streams ----------------------------------------------------------------------------------------------------------

    async def open(self, tenant_id: str, worker_id: str, send: SendResponse) -> DurableSession:
        """A stream of this worker begins (D-2.2). Raises NotFound for a worker that the tenant does not have."""
        record = await self._workers.require(tenant_id, worker_id)
        in_order = record.row.language in (None, "PYTHON")
        return DurableSession(self, tenant_id, worker_id, send, in_order=in_order)

    def take(self, session: DurableSession, request: Request) -> None:
        """Handle a request after those of the same task that came before."""
        if isinstance(request, StatusRequest):
            self._status(session, request)
            return
        task_id = request.ref.task_id if isinstance(request, MemoValue) else request.task_id
        self._chains.queue(task_id, partial(self._answer, session, task_id, request))

    async def drain(self) -> None:
        """Wait for what is under way."""
        await self._chains.settle()
        await self._evictions.drain()
        await self._completions.drain()

    def satisfied(self, tenant_id: str, news: Sequence[Satisfied]) -> None:
        """The owner, in this instance, has committed results."""
        elsewhere: list[str] = []
        by_task: dict[str, list[Satisfied]] = {}
        for one in news:
            by_task.setdefault(one.task_id, []).append(one)
        for task_id, of_task in by_task.items():
            walk = self._walks.get(task_id)
            # A log that is being read may have been read before the result was written.
            if walk is not None or task_id in self._chains:
                self._chains.queue(task_id, partial(self._completions.came, task_id, of_task))
            if self._bus.has_peers and (walk is None or walk.session.is_closed):
                # The worker may have come back at another instance.
                elsewhere.append(task_id)
        if elsewhere:
            self._bus.publish_ids("durable_results", elsewhere, tenant=tenant_id)

    async def turn(self) -> None:
        """Forget what is over."""
        now = self._clock.now()
        self._walks.sweep(now)
        self._completions.sweep(now)
        self._evictions.sweep(now)

    # Requests ---------------------------------------------------------------------------------------------------------

    async def _answer(self, session: DurableSession, task_id: str, request: Request) -> None:
        """Every request gets an answer, so that nobody waits for one in vain (D-4.8)."""
        invocation = request.ref.invocation if isinstance(request, MemoValue) else _invocation(request)
        try:
            await self._handle(session, task_id, invocation, request)
        except Elsewhere as elsewhere:
            self._not_current(session, task_id, invocation, request, elsewhere)
        except HatchetError as error:
            if isinstance(error, Unavailable):
                # What was written is not known: the log is read again.
                self._walks.forget(task_id)
            self._refuse(session, task_id, invocation, request, error.message)
        except Exception as error:
            log.error("a durable request failed", task=task_id, error=str(error), exc_info=error)
            self._walks.forget(task_id)
            self._refuse(session, task_id, invocation, request, "the engine could not handle the request; see its log")

    async def _handle(self, session: DurableSession, task_id: str, invocation: int, request: Request) -> None:
        if isinstance(request, UnreadableRequest):
            self._refuse(session, task_id, invocation, request, request.message)
            return
        normal = parse_uuid(task_id)
        if normal is None:
            raise FailedPrecondition(f"durable_task_external_id is not a UUID: '{task_id[:80]}'")
        if isinstance(request, EvictRequest):
            await self._evict(session, normal, request)
            return
        walk = await self._answered(session, normal, invocation, request)
        try:
            await self._completions.release(walk)
        except Unavailable as error:
            # The request has its answer, and a second one would be taken for that of the next request (D-4.1). What the
            # worker lists with its next status is handed over then (D-15.9).
            log.warning("completions were not handed over yet", task=normal, error=error.message)

    async def _answered(self, session: DurableSession, task_id: str, invocation: int, request: Request) -> Walk:
        """Answer the request, once the database is there: a worker waits for longer than a restart takes (D-4.4)."""
        give_up_at = self._clock.now() + AWAY_SECONDS
        tries, before = 0, None
        while True:
            walk = before
            try:
                if before is None:
                    walk = await self._walks.current(session, task_id, invocation)
                else:
                    await self._walks.check_rows(session, task_id, invocation)
                    walk = await self._walks.read_again(before)
                    before = None
                await self._dispatch(walk, request)
                return walk
            except Overtaken:
                tries += 1
                if tries == ATTEMPTS:
                    text = "another invocation writes to the log of the task at the same time"
                    raise FailedPrecondition(text) from None
                self._walks.forget(task_id)
                await self._walks.check_rows(session, task_id, invocation)
            except Unavailable:
                if session.is_closed or self._clock.now() > give_up_at:
                    raise
                # What was written may be committed: the rows tell, and nothing of it is acknowledged.
                before = walk
                await asyncio.sleep(AWAY_PAUSE_SECONDS)

    async def _dispatch(self, walk: Walk, request: Request) -> None:
        if not isinstance(request, MemoValue):
            await self._completions.catch_up(walk)
        if isinstance(request, MemoRequest):
            await self._walking.memo(walk, request)
        elif isinstance(request, WaitRequest):
            await self._walking.wait(walk, request)
        elif isinstance(request, SpawnRequest):
            await self._walking.spawn(walk, request)
        elif isinstance(request, MemoValue):
            await self._walking.memo_value(walk, request)

    async def _evict(self, session: DurableSession, task_id: str, request: EvictRequest) -> None:
        """D-17: an eviction that changes nothing is acknowledged, too (D-5.6, D-17.10)."""
        ack = EvictionAck(request.task_id, request.invocation)
        try:
            walk = await self._walks.current(session, task_id, request.invocation)
            flight = await self._walks.flight(session.tenant_id, task_id)
        except Elsewhere:
            session.push(ack)
            return
        is_evicted = await self._evictions.evict(flight, request.reason)
        session.push(ack)
        self._walks.forget(task_id)
        if is_evicted:
            await self._evictions.look_after(walk, self._completions.read_results)

    def _not_current(
        self, session: DurableSession, task_id: str, invocation: int, request: Request, elsewhere: Elsewhere
    ) -> None:
        if isinstance(request, MemoValue):
            return
        if elsewhere.is_finished:
            self._refuse(session, task_id, invocation, request, elsewhere.reason)
        else:
            session.push(ServerEvict(task_id, invocation, elsewhere.reason))

    def _refuse(self, session: DurableSession, task_id: str, invocation: int, request: Request, text: str) -> None:
        if isinstance(request, MemoValue):
            log.warning("a memo was not kept", task=task_id, error=text)
            return
        session.push(Refused(EntryRef(task_id, invocation, 0, 0), text))

    def _status(self, session: DurableSession, request: StatusRequest) -> None:
        if request.received is not None:
            session.in_order = True
        waiting: dict[tuple[str, int], list[Key]] = {}
        for ref in request.waiting:
            waiting.setdefault((ref.task_id, ref.invocation), []).append((ref.branch, ref.node))
        received = {(one.task_id, one.invocation): one.order for one in request.received or ()}
        for (task_id, invocation), keys in waiting.items():
            order = received.get((task_id, invocation))
            listed = partial(self._completions.listed, session, task_id, invocation, keys, order)
            self._chains.queue(task_id, listed)

    # Several instances ------------------------------------------------------------------------------------------------

    def forget(self, task_id: str) -> None:
        """The task's log has changed otherwise than by its worker: it is read again."""
        self._walks.forget(task_id)

    def branched(self, of: OfTask) -> None:
        """The task's log has a new path, and only what waits on that one may restore the task (D-22.8)."""
        self._read_anew(of.tenant_id, [of.task_id])
        if self._bus.has_peers:
            self._bus.publish_ids("durable_branches", [of.task_id], tenant=of.tenant_id)

    def entries_added(self, of: OfTask) -> None:
        """A task waits for something new; its owner may be another instance."""
        owner = self._owners.get(of.tenant_id)
        if owner is not None:
            owner.durable.load([of.task_id])
        else:
            self._bus.publish_ids("durable_waits", [of.task_id], tenant=of.tenant_id)

    def _read_anew(self, tenant_id: str, task_ids: Sequence[str]) -> None:
        owner = self._owners.get(tenant_id)
        for task_id in task_ids:
            self.forget(task_id)
            if owner is not None:
                owner.durable.reload(task_id)

    def _heard_waits(self, message: dict[str, object]) -> None:
        owner, ids = self._owners.get(str(message["tenant"])), message.get("ids")
        if owner is not None and isinstance(ids, list):
            owner.durable.load(map(str, ids))

    def _heard_branches(self, message: dict[str, object]) -> None:
        ids = message.get("ids")
        if isinstance(ids, list):
            self._read_anew(str(message["tenant"]), list(map(str, ids)))

    def _heard_results(self, message: dict[str, object]) -> None:
        ids = message.get("ids")
        for task_id in ids if isinstance(ids, list) else ():
            if task_id in self._walks or task_id in self._chains:
                self._chains.queue(task_id, partial(self._completions.came_elsewhere, task_id))


def _invocation(request: Request) -> int:
    return 0 if isinstance(request, (StatusRequest, MemoValue)) else request.invocation
