"""The logs that invocations walk in this instance, and whether an invocation is the current one (behaviour-durable D-5,
D-16).
"""

from __future__ import annotations

from hatchet.core.clock import Clock
from hatchet.core.durable_log import DurableLog, resume_point
from hatchet.engine.bus import Bus
from hatchet.engine.durable_evictions import DurableEvictions
from hatchet.engine.durable_session import DurableSession
from hatchet.engine.durable_walk import Walk
from hatchet.engine.memory import Flight, Flights, Owners
from hatchet.engine.rebuild import Rebuild, flight_of
from hatchet.store.durable import OfTask, read_logs, read_walk
from hatchet.store.pool import Database

IDLE_SECONDS = 600.0
"""How long the log of a task is kept that this instance knows nothing else of."""


class Elsewhere(Exception):
    """The request is not the current invocation's: what to answer."""

    def __init__(self, reason: str, *, is_finished: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_finished = is_finished


class DurableWalks:
    """The walks of one instance, one a task."""

    def __init__(
        self,
        *,
        database: Database,
        flights: Flights,
        owners: Owners,
        rebuild: Rebuild,
        evictions: DurableEvictions,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._database = database
        self._flights = flights
        self._owners = owners
        self._rebuild = rebuild
        self._evictions = evictions
        self._bus = bus
        self._clock = clock
        self._by_task: dict[str, Walk] = {}

    def __len__(self) -> int:
        return len(self._by_task)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_task

    def get(self, task_id: str) -> Walk | None:
        """The walk of a task, as far as it is in memory."""
        return self._by_task.get(task_id)

    def forget(self, task_id: str) -> None:
        """What is in memory may be wrong: the rows are read again."""
        self._by_task.pop(task_id, None)

    def sweep(self, now: float) -> None:
        """Forget the logs of invocations that are over."""
        for task_id, walk in list(self._by_task.items()):
            flight = self._flights.get(task_id)
            is_current = flight is not None and flight.task.invocation == walk.invocation
            is_owned = self._owners.get(walk.of.tenant_id) is not None
            if not is_current and (flight is not None or is_owned or now - walk.seen_at > IDLE_SECONDS):
                self.forget(task_id)

    async def current(self, session: DurableSession, task_id: str, invocation: int) -> Walk:
        """The walk of the current invocation.

        Raises Elsewhere when the request is not from it, NotFound for an unknown task.
        """
        flight = await self.flight(session.tenant_id, task_id)
        current = flight.task.invocation
        if current != invocation:
            raise Elsewhere(f"invocation {invocation} of the task is over, {current} is the current one")
        if flight.worker_id != session.worker_id:
            raise Elsewhere(f"invocation {invocation} of the task runs on another worker")
        walk = self._by_task.get(task_id)
        if walk is not None and walk.session is not session and self._may_be_old(walk):
            walk = None
        if walk is None or walk.invocation != invocation or walk.of.tenant_id != session.tenant_id:
            walk = await self._load(session, flight)
            self._by_task[task_id] = walk
        elif walk.session is not session:
            walk.log.reconnected()
        walk.session = session
        walk.seen_at = self._clock.now()
        return walk

    async def read_again(self, walk: Walk) -> Walk:
        """The same walk, as far as its requests were acknowledged, over the log as the rows have it."""
        rows = (await read_logs(self._database, walk.of.tenant_id, [walk.of.task_id]))[walk.of.task_id]
        log = DurableLog(
            walk.invocation,
            rows.entries,
            rows.branches,
            walked=walk.log.walked,
            hands_over_in_order=walk.session.in_order,
        )
        again = Walk(walk.of, walk.task, walk.worker_id, log, walk.session)
        again.has_begun, again.seen_at = walk.has_begun, self._clock.now()
        self._by_task[walk.of.task_id] = again
        return again

    async def check_rows(self, session: DurableSession, task_id: str, invocation: int) -> None:
        """The same as :meth:`current` asks, of the rows: another instance may have ended the invocation."""
        state, task = await self._rebuild.require(session.tenant_id, task_id)
        if state.ended is not None:
            raise Elsewhere(f"the task has finished: it is {state.ended.status.value}", is_finished=True)
        if flight_of(session.tenant_id, state, task) is None or task.invocation != invocation:
            raise Elsewhere(f"invocation {invocation} of the task is over")

    async def flight(self, tenant_id: str, task_id: str) -> Flight:
        """The attempt that is with a worker. Raises Elsewhere when there is none, NotFound for an unknown task."""
        known = self._flights.get(task_id)
        if known is not None and known.tenant_id == tenant_id:
            return known
        state, task = await self._rebuild.require(tenant_id, task_id)
        if state.ended is not None:
            raise Elsewhere(f"the task has finished: it is {state.ended.status.value}", is_finished=True)
        flight = flight_of(tenant_id, state, task)
        if flight is None:
            raise Elsewhere("the task was taken off its worker and waits for another one")
        return flight

    def _may_be_old(self, walk: Walk) -> bool:
        """Whether the worker, back on a new stream, may have walked on at another instance meanwhile.

        Not in the middle of a replay that the rows know of: nobody else can have gone on with that.
        """
        return self._bus.has_peers and not (walk.has_begun and walk.log.is_replaying)

    async def _load(self, session: DurableSession, flight: Flight) -> Walk:
        of = OfTask(flight.tenant_id, flight.task.id)
        invocation = flight.task.invocation
        self._evictions.goes_on(of.task_id)
        is_first, flight.is_walking = not flight.is_walking, True
        if invocation == 1 and is_first and flight.sent_on is not None and not self._bus.has_peers:
            # Nobody else can have served it: its log is empty.
            return Walk(of, flight.task, flight.worker_id, self._log(session, invocation), session)
        rows = (await read_logs(self._database, of.tenant_id, [of.task_id]))[of.task_id]
        walked = resume_point(invocation, rows.entries, await read_walk(self._database, of, invocation))
        if walked is None:
            raise Elsewhere(await self._evictions.begin_anew(flight))
        found = DurableLog(invocation, rows.entries, rows.branches, walked=walked, hands_over_in_order=session.in_order)
        return Walk(of, flight.task, flight.worker_id, found, session)

    def _log(self, session: DurableSession, invocation: int) -> DurableLog:
        return DurableLog(invocation, hands_over_in_order=session.in_order)
