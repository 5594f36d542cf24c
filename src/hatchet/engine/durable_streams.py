"""Durable execution in one instance: the streams of workers, and the logs of the tasks that run on them.

Requests of one task are handled one after the other, those of different tasks beside each other (behaviour-durable
D-2.6). What an entry waits for is the tenant's owner's to know (:mod:`hatchet.engine.durable_waits`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from hatchet.core.clock import Clock
from hatchet.core.durable_log import DurableLog, Key, Restore, Result, resume_point
from hatchet.core.durable_messages import (
    EntryRef,
    EvictionAck,
    EvictRequest,
    MemoRequest,
    MemoValue,
    ReceivedOrder,
    Refused,
    Request,
    SendResponse,
    ServerEvict,
    SpawnRequest,
    StatusRequest,
    UnreadableRequest,
    WaitRequest,
)
from hatchet.core.errors import FailedPrecondition, HatchetError, NotFound, Unavailable
from hatchet.core.ids import parse_uuid
from hatchet.core.ready_task import ReadyTask
from hatchet.engine.batcher import Batcher
from hatchet.engine.bus import Bus
from hatchet.engine.component import Background, Loop
from hatchet.engine.durable_session import DurableSession
from hatchet.engine.durable_waits import Satisfied
from hatchet.engine.durable_walk import Overtaken, Walk, Walking
from hatchet.engine.durable_writes import DurableWrites
from hatchet.engine.evicting import Evicting
from hatchet.engine.memory import Flight, Flights, Owners
from hatchet.engine.rebuild import Rebuild, flight_of
from hatchet.engine.trigger import Trigger
from hatchet.engine.workers import Workers
from hatchet.store.durable import (
    OfTask,
    Place,
    read_logs,
    read_results,
    read_walk,
)
from hatchet.store.pool import Database
from hatchet.store.tasks import TaskState

log = structlog.get_logger("hatchet.engine")

SWEEP_SECONDS = 5.0
IDLE_SECONDS = 600.0
"""How long the log of a task is kept that this instance knows nothing else of."""
SOON_SECONDS = 3.0
"""When an evicted task goes on whose worker may not have used its last completion (D-17.15)."""
LOOK_SECONDS = 4.0
"""A worker that lists an entry for longer may wait for a completion that this instance did not hear of."""
QUIET_LOOK_SECONDS = 30.0
ATTEMPTS = 3
SIGNAL = "signal:"
LEGACY_BRANCH = 0

Step = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Chain:
    """What is to be done for one task, one thing after the other."""

    steps: deque[Step] = field(default_factory=deque)
    is_running: bool = False


class _Elsewhere(Exception):
    """The request is not the current invocation's: what to answer."""

    def __init__(self, reason: str, *, is_finished: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_finished = is_finished


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
        self._database = database
        self._writes = writes
        self._workers = workers
        self._flights = flights
        self._owners = owners
        self._rebuild = rebuild
        self._evicting = evicting
        self._bus = bus
        self._clock = clock
        self._walking = Walking(
            hot=hot,
            writes=writes,
            trigger=trigger,
            owners=owners,
            clock=clock,
            entries_added=self.entries_added,
        )
        self._chains: dict[str, _Chain] = {}
        self._walks: dict[str, Walk] = {}
        self._soon: dict[str, tuple[asyncio.TimerHandle, OfTask, str]] = {}
        """Evicted tasks that are to be restored in a moment (D-17.15)."""
        self._looked_at: dict[Place, float] = {}
        self._stalled: dict[str, tuple[int, float]] = {}
        """By task id the invocation that was ended because a completion was held back for ever, and when."""
        self._looks: Batcher[tuple[OfTask, Key], Result | None] = Batcher("durable-results-of", self._look)
        self._background = Background("durable")
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

    def left(self, session: DurableSession) -> None:
        """A stream ended; the logs stay, the worker comes back (D-2.7)."""

    def take(self, session: DurableSession, request: Request) -> None:
        """Handle a request after those of the same task that came before."""
        if isinstance(request, StatusRequest):
            self._status(session, request)
            return
        task_id = request.ref.task_id if isinstance(request, MemoValue) else request.task_id
        self._queue(task_id, partial(self._answer, session, task_id, request))

    async def drain(self) -> None:
        """Wait for what is under way; what was to be restored soon is restored now."""
        await self._background.settle()
        for _, of, cause in list(self._soon.values()):
            self._restore_now(of, cause)
        await self._background.settle()
        await self._looks.drain()

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
                self._queue(task_id, partial(self._came, task_id, of_task))
            if self._bus.has_peers and (walk is None or walk.session.is_closed):
                # The worker may have come back at another instance.
                elsewhere.append(task_id)
        if elsewhere:
            self._bus.publish_ids("durable_results", elsewhere, tenant=tenant_id)

    async def turn(self) -> None:
        """Forget logs of invocations that are over."""
        now = self._clock.now()
        for task_id, walk in list(self._walks.items()):
            flight = self._flights.get(task_id)
            is_current = flight is not None and flight.task.invocation == walk.invocation
            if not is_current and (flight is not None or self._is_owned(walk) or now - walk.seen_at > IDLE_SECONDS):
                self._walks.pop(task_id, None)
        horizon = now - IDLE_SECONDS
        for place in [place for place, at in self._looked_at.items() if at < horizon]:
            del self._looked_at[place]
        for task_id in [task_id for task_id, (_, at) in self._stalled.items() if at < horizon]:
            del self._stalled[task_id]

    # Requests ---------------------------------------------------------------------------------------------------------

    def _queue(self, task_id: str, step: Step) -> None:
        chain = self._chains.setdefault(task_id, _Chain())
        chain.steps.append(step)
        if not chain.is_running:
            chain.is_running = True
            self._background.spawn(self._work_off(task_id, chain))

    async def _work_off(self, task_id: str, chain: _Chain) -> None:
        try:
            while chain.steps:
                try:
                    await chain.steps.popleft()()
                except Exception as error:
                    log.error("durable work failed", task=task_id, error=str(error), exc_info=error)
        finally:
            self._chains.pop(task_id, None)

    async def _answer(self, session: DurableSession, task_id: str, request: Request) -> None:
        """Every request gets an answer, so that nobody waits for one in vain (D-4.8)."""
        invocation = request.ref.invocation if isinstance(request, MemoValue) else _invocation(request)
        try:
            await self._handle(session, task_id, invocation, request)
        except _Elsewhere as elsewhere:
            self._not_current(session, task_id, invocation, request, elsewhere)
        except HatchetError as error:
            if isinstance(error, Unavailable):
                # What was written is not known: the log is read again.
                self._walks.pop(task_id, None)
            self._refuse(session, task_id, invocation, request, error.message)
        except Exception as error:
            log.error("a durable request failed", task=task_id, error=str(error), exc_info=error)
            self._walks.pop(task_id, None)
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
        for _ in range(ATTEMPTS):
            walk = await self._walk(session, normal, invocation)
            try:
                await self._dispatch(walk, request)
            except Overtaken:
                self._walks.pop(normal, None)
                await self._check_current(session, normal, invocation)
                continue
            await self._release(walk)
            return
        raise FailedPrecondition("another invocation writes to the log of the task at the same time")

    async def _check_current(self, session: DurableSession, task_id: str, invocation: int) -> None:
        """The same as :meth:`_walk` asks, of the rows: another instance may have ended the invocation."""
        [(state, task)] = await self._states(session.tenant_id, task_id)
        if state.ended is not None:
            raise _Elsewhere(f"the task has finished: it is {state.ended.status.value}", is_finished=True)
        if flight_of(session.tenant_id, state, task) is None or task.invocation != invocation:
            raise _Elsewhere(f"invocation {invocation} of the task is over")

    async def _dispatch(self, walk: Walk, request: Request) -> None:
        if isinstance(request, MemoRequest):
            await self._walking.memo(walk, request)
        elif isinstance(request, WaitRequest):
            await self._walking.wait(walk, request)
        elif isinstance(request, SpawnRequest):
            await self._walking.spawn(walk, request)
        elif isinstance(request, MemoValue):
            await self._walking.memo_value(walk, request)

    async def _walk(self, session: DurableSession, task_id: str, invocation: int) -> Walk:
        """The walk of the current invocation; raises :class:`_Elsewhere` when the request is not from it."""
        flight = await self._flight(session.tenant_id, task_id)
        current = flight.task.invocation
        if current != invocation:
            raise _Elsewhere(f"invocation {invocation} of the task is over, {current} is the current one")
        if flight.worker_id != session.worker_id:
            raise _Elsewhere(f"invocation {invocation} of the task runs on another worker")
        walk = self._walks.get(task_id)
        if walk is not None and walk.session is not session and self._may_be_old(walk):
            walk = None
        if walk is None or walk.invocation != invocation or walk.of.tenant_id != session.tenant_id:
            walk = await self._load(session, flight)
            self._walks[task_id] = walk
        elif walk.session is not session:
            walk.log.reconnected()
        walk.session = session
        walk.seen_at = self._clock.now()
        return walk

    def _may_be_old(self, walk: Walk) -> bool:
        """Whether the worker, back on a new stream, may have walked on at another instance meanwhile.

        Not in the middle of a replay that the rows know of: nobody else can have gone on with that.
        """
        return self._bus.has_peers and not (walk.has_begun and walk.log.is_replaying)

    async def _flight(self, tenant_id: str, task_id: str) -> Flight:
        known = self._flights.get(task_id)
        if known is not None and known.tenant_id == tenant_id:
            return known
        [(state, task)] = await self._states(tenant_id, task_id)
        if state.ended is not None:
            raise _Elsewhere(f"the task has finished: it is {state.ended.status.value}", is_finished=True)
        flight = flight_of(tenant_id, state, task)
        if flight is None:
            raise _Elsewhere("the task was taken off its worker and waits for another one")
        return flight

    async def _load(self, session: DurableSession, flight: Flight) -> Walk:
        of = OfTask(flight.tenant_id, flight.task.id)
        invocation = flight.task.invocation
        self._goes_on(of.task_id)
        is_first, flight.is_walking = not flight.is_walking, True
        if invocation == 1 and is_first and flight.sent_on is not None and not self._bus.has_peers:
            # Nobody else can have served it: its log is empty.
            return Walk(of, flight.task, flight.worker_id, self._log(session, invocation), session)
        rows = (await read_logs(self._database, of.tenant_id, [of.task_id]))[of.task_id]
        walked = resume_point(invocation, rows.entries, await read_walk(self._database, of, invocation))
        if walked is None:
            await self._begin_anew(session, flight)
        found = DurableLog(
            invocation, rows.entries, rows.branches, walked=walked or 0, hands_over_in_order=session.in_order
        )
        return Walk(of, flight.task, flight.worker_id, found, session)

    def _log(self, session: DurableSession, invocation: int) -> DurableLog:
        return DurableLog(invocation, hands_over_in_order=session.in_order)

    async def _begin_anew(self, session: DurableSession, flight: Flight) -> None:
        """How far the invocation had come is lost with an instance: another one walks the log from its beginning."""
        task = flight.task
        reason = "the engine was restarted while the task replayed its log"
        if await self._evicting.evict(flight.tenant_id, flight, reason):
            await self._evicting.restore(flight.tenant_id, [task.id], reason)
        raise _Elsewhere(f"invocation {task.invocation} is over: {reason}")

    async def _evict(self, session: DurableSession, task_id: str, request: EvictRequest) -> None:
        """D-17: an eviction that changes nothing is acknowledged, too (D-5.6, D-17.10)."""
        ack = EvictionAck(request.task_id, request.invocation)
        try:
            walk = await self._walk(session, task_id, request.invocation)
            flight = await self._flight(session.tenant_id, task_id)
        except _Elsewhere:
            session.push(ack)
            return
        is_evicted = await self._evicting.evict(session.tenant_id, flight, request.reason)
        session.push(ack)
        self._walks.pop(task_id, None)
        if is_evicted:
            try:
                await self._look_after_eviction(walk)
            except HatchetError as error:
                # The request is answered; the owner looks at the rows in a while.
                log.warning("could not look at an evicted task", task=task_id, error=error.message)

    async def _look_after_eviction(self, walk: Walk) -> None:
        """A result that came together with the eviction was not used by the worker (D-17.15)."""
        await self._read_results(walk)
        restore = walk.log.after_eviction(self._clock.now())
        if restore is Restore.NO:
            return
        cause = "What the task waited for happened while it was evicted"
        if restore is Restore.NOW:
            await self._evicting.restore(walk.of.tenant_id, [walk.of.task_id], cause)
        else:
            self._goes_on(walk.of.task_id)
            timer = asyncio.get_running_loop().call_later(SOON_SECONDS, self._restore_now, walk.of, cause)
            self._soon[walk.of.task_id] = timer, walk.of, cause

    def _restore_now(self, of: OfTask, cause: str) -> None:
        self._goes_on(of.task_id)
        self._background.spawn(self._evicting.restore(of.tenant_id, [of.task_id], cause))

    def _goes_on(self, task_id: str) -> None:
        """The eviction after which the task was to be restored soon is over."""
        waiting = self._soon.pop(task_id, None)
        if waiting is not None:
            waiting[0].cancel()

    def _not_current(
        self, session: DurableSession, task_id: str, invocation: int, request: Request, elsewhere: _Elsewhere
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

    # Completions ------------------------------------------------------------------------------------------------------

    def _status(self, session: DurableSession, request: StatusRequest) -> None:
        if request.received is not None:
            session.in_order = True
        waiting: dict[tuple[str, int], list[Key]] = {}
        for ref in request.waiting:
            waiting.setdefault((ref.task_id, ref.invocation), []).append((ref.branch, ref.node))
        received: dict[tuple[str, int], ReceivedOrder] = {
            (one.task_id, one.invocation): one for one in request.received or ()
        }
        for (task_id, invocation), keys in waiting.items():
            order = received.get((task_id, invocation))
            newest = order.order if order is not None else None
            self._queue(task_id, partial(self._listed, session, task_id, invocation, keys, newest))

    async def _listed(
        self, session: DurableSession, task_id: str, invocation: int, keys: list[Key], order: int | None
    ) -> None:
        """D-15.8: what is listed and over is sent; one notice for a task whose invocation is over (D-16.5)."""
        normal = parse_uuid(task_id)
        if normal is None:
            return
        try:
            walk = await self._walk(session, normal, invocation)
        except _Elsewhere as elsewhere:
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
        await self._release(walk)
        await self._repair(walk, keys, now)
        if walk.log.stalled(now) is not None:
            await self._unstall(walk)

    async def _came(self, task_id: str, news: Sequence[Satisfied]) -> None:
        walk = self._walks.get(task_id)
        if walk is None:
            return
        if any(one.result is None for one in news):
            await self._read_results(walk)
        for one in news:
            if one.result is not None:
                walk.log.satisfied(*one.key, one.result)
        await self._release(walk)

    async def _release(self, walk: Walk) -> None:
        try:
            await self._walking.release(walk)
        except Overtaken:
            self._walks.pop(walk.of.task_id, None)
            await self._release_anew(walk)

    async def _release_anew(self, old: Walk) -> None:
        """Another instance has handed over meanwhile: what is left is decided by the rows."""
        with contextlib.suppress(_Elsewhere, NotFound, Overtaken):
            walk = await self._walk(old.session, old.of.task_id, old.invocation)
            await self._walking.release(walk)

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
            self.entries_added(walk.of)
        results = [await done for done in self._looks.submit_all([(walk.of, key) for key in asked])]
        for key, result in zip(asked, results, strict=True):
            if result is not None:
                walk.log.satisfied(*key, result)
        await self._release(walk)

    async def _read_results(self, walk: Walk) -> None:
        wanted = [(walk.of, entry.key) for entry in walk.log.waiting()]
        for place, result in (await read_results(self._database, wanted)).items():
            walk.log.satisfied(place[1], place[2], result)

    async def _look(self, wanted: Sequence[tuple[OfTask, Key]]) -> list[Result | None]:
        found = await read_results(self._database, wanted)
        return [found.get((of.task_id, *key)) for of, key in wanted]

    async def _unstall(self, walk: Walk) -> None:
        """D-15.10; what the invocation after that does not ask for either is not waited for again (D-14.11)."""
        task_id = walk.of.task_id
        before, _ = self._stalled.get(task_id, (-1, 0.0))
        if before == walk.invocation - 1:
            walk.log.skip_unasked()
            await self._release(walk)
            return
        self._stalled[task_id] = walk.invocation, self._clock.now()
        flight = self._flights.get(task_id)
        reason = "ordered completion release stalled: an operation of an earlier invocation was not asked for again"
        if flight is None or flight.task.invocation != walk.invocation:
            return
        self._walks.pop(walk.of.task_id, None)
        if await self._evicting.evict(walk.of.tenant_id, flight, reason):
            walk.session.push(ServerEvict(walk.of.task_id, walk.invocation, reason))
            await self._evicting.restore(walk.of.tenant_id, [walk.of.task_id], reason)

    # Several instances ------------------------------------------------------------------------------------------------

    def forget(self, task_id: str) -> None:
        """The task's log has changed otherwise than by its worker: it is read again."""
        self._walks.pop(task_id, None)

    def branched(self, of: OfTask) -> None:
        """The task's log has a new path, and only what waits on that one may restore the task (D-22.8)."""
        self._read_anew(of.tenant_id, [of.task_id])
        if self._bus.has_peers:
            self._bus.publish_ids("durable_branches", [of.task_id], tenant=of.tenant_id)

    def _read_anew(self, tenant_id: str, task_ids: Sequence[str]) -> None:
        owner = self._owners.get(tenant_id)
        for task_id in task_ids:
            self.forget(task_id)
            if owner is not None:
                owner.durable.reload(task_id)

    def entries_added(self, of: OfTask) -> None:
        """A task waits for something new; its owner may be another instance."""
        owner = self._owners.get(of.tenant_id)
        if owner is not None:
            owner.durable.load([of.task_id])
        else:
            self._bus.publish_ids("durable_waits", [of.task_id], tenant=of.tenant_id)

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
                self._queue(task_id, partial(self._came_elsewhere, task_id))

    async def _came_elsewhere(self, task_id: str) -> None:
        walk = self._walks.get(task_id)
        if walk is not None:
            await self._read_results(walk)
            await self._release(walk)

    # ------------------------------------------------------------------------------------------------------------------

    async def _states(self, tenant_id: str, task_id: str) -> list[tuple[TaskState, ReadyTask]]:
        """Where the task stands. Raises NotFound when the tenant has no such task run."""
        normal = parse_uuid(task_id)
        states = await self._rebuild.states(tenant_id, [normal]) if normal is not None else []
        if not states:
            raise NotFound(f"unknown task run: {task_id}")
        return states

    def _is_owned(self, walk: Walk) -> bool:
        return self._owners.get(walk.of.tenant_id) is not None


def _invocation(request: Request) -> int:
    return 0 if isinstance(request, (StatusRequest, MemoValue)) else request.invocation
