"""What passes with time in a tenant: timeouts, lost workers, hand-overs that never arrived, news that got lost.

Every decision here is an owner's and written under its fence. The picture in memory is compared with the rows where
another instance may have changed them (design sections 4.3 and 4.6).
"""

from __future__ import annotations

from collections.abc import Sequence

from hatchet.core.clock import Clock
from hatchet.core.ids import lowest_at, time_of
from hatchet.core.ready_task import ReadyTask
from hatchet.core.statuses import Outcome
from hatchet.core.transitions import Event, EventKind, State, decide
from hatchet.engine.adoption import adopt
from hatchet.engine.bus import Bus
from hatchet.engine.component import Loop
from hatchet.engine.dispatch import Dispatch
from hatchet.engine.endings import Ending, Endings
from hatchet.engine.gaps import Gaps
from hatchet.engine.memory import Flight, policy_of
from hatchet.engine.pausing import Pausing
from hatchet.engine.rebuild import Rebuild, flight_of
from hatchet.engine.recovery import ready_tasks
from hatchet.engine.registration import Registration
from hatchet.engine.run_facts import RunFacts
from hatchet.engine.schedule import TenantScheduler
from hatchet.engine.workers import Workers
from hatchet.store.leases import raise_watermark
from hatchet.store.pool import Database
from hatchet.store.runs import open_runs_of_others, runs_between
from hatchet.store.tasks import TaskState, restored_since

TURN_SECONDS = 0.5
LOST_SECONDS = 30.0
"""Heartbeat age after which a worker's tasks go to others (behaviour-core C-2.25)."""
CONFIRM_SECONDS = 5.0
"""How long an attempt may be with a connected worker without any sign that it arrived."""
PEER_POLL_TURNS = 4
LOCAL_CHECK_TURNS = 5 * PEER_POLL_TURNS
PEER_WINDOW_SECONDS = 20.0
OLD_SECONDS = 60.0
"""Attempts that have been with a worker for longer are compared with the rows now and then."""
WATERMARK_TURNS = 20
WATERMARK_SAFETY_SECONDS = 60.0
BATCH = 1000


class Watch(Loop):
    """The clockwork of one tenant's scheduler."""

    def __init__(
        self,
        scheduler: TenantScheduler,
        *,
        database: Database,
        registration: Registration,
        workers: Workers,
        endings: Endings,
        dispatch: Dispatch,
        rebuild: Rebuild,
        run_facts: RunFacts,
        pausing: Pausing,
        bus: Bus,
        clock: Clock,
        instance_id: str,
        max_internal_retries: int,
    ) -> None:
        super().__init__(f"watch:{scheduler.tenant_id}", TURN_SECONDS)
        self._scheduler = scheduler
        self._database = database
        self._registration = registration
        self._workers = workers
        self._endings = endings
        self._dispatch = dispatch
        self._rebuild = rebuild
        self._run_facts = run_facts
        self._pausing = pausing
        self._bus = bus
        self._clock = clock
        self._instance_id = instance_id
        self._max_internal_retries = max_internal_retries
        self._gaps = Gaps(scheduler, database, clock)
        self._turns = 0
        self._checked = 0
        self._watermark = scheduler.lease.low_watermark or ""

    async def turn(self) -> None:
        self._turns += 1
        now = self._clock.now()
        await self._expire_waiting(now)
        await self._pausing.expire(self._scheduler)
        await self._expire_running(now)
        await self._look_at_workers(now)
        await self._repair_hand_overs(now)
        await self._gaps.look()
        await self._scheduler.look_at_limits()
        if self._turns % (PEER_POLL_TURNS if self._bus.has_peers else LOCAL_CHECK_TURNS) == 0:
            await self._pausing.refresh(self._scheduler.tenant_id)
        if self._bus.has_peers and self._turns % PEER_POLL_TURNS == 0:
            await self._poll_peers(now)
        if not self._bus.has_peers and self._turns % LOCAL_CHECK_TURNS == 0:
            self._check_some(now)
        await self._reconcile()
        self._scheduler.runs.tick()
        await self._scheduler.durable.turn(now)
        if self._turns % WATERMARK_TURNS == 0:
            await self._scheduler.durable.note_heard(now)
            await self._raise_watermark(now)

    async def created_elsewhere(self, first: str, last: str, creator: str) -> None:
        """Another instance announced tasks that it created."""
        await self._accept("task_created_between", first, last, creator)
        run_ids = await runs_between(self._database, self._scheduler.tenant_id, first, last, creator)
        await self._adopt(run_ids)

    async def _adopt(self, run_ids: Sequence[str]) -> None:
        unknown = [run_id for run_id in run_ids if run_id not in self._scheduler.runs]
        if unknown and not self._scheduler.is_loading:
            with self._scheduler.meanwhile.reading() as ended:
                loaded = await self._run_facts.load(self._scheduler.tenant_id, unknown)
            adopt(self._scheduler, [run for run in loaded if run.row.id not in ended])

    async def _accept(self, statement: str, *args: object) -> None:
        """Take in first attempts that another instance accepted."""
        with self._scheduler.meanwhile.reading() as ended:
            rows = await self._database.fetch(statement, self._scheduler.tenant_id, *args)
            tasks = await ready_tasks(self._registration, rows)
        self._scheduler.accepted([task for task in tasks if task.id not in ended])

    async def _expire_waiting(self, now: float) -> None:
        """C-6.33: a task that nobody took in time is cancelled; no worker hears of it and nothing is retried."""
        while expired := self._scheduler.expired(now, BATCH):
            attempts = [(task, None) for task in expired]
            written = await self._end(State.QUEUED, EventKind.SCHEDULE_TIMED_OUT, attempts, now)
            if written < len(expired) or len(expired) < BATCH:
                return

    async def _expire_running(self, now: float) -> None:
        """C-6.30: the attempt fails, its worker is told to stop, retry rules apply."""
        expired = [flight for flight in self._scheduler.flying.values() if flight.timeout_at <= now]
        await self._end_flights(EventKind.EXECUTION_TIMED_OUT, expired, now)
        for flight in expired:
            # An owner whose fence failed, or who came too late, has nothing to tell.
            if self._scheduler.flying.get(flight.task.id) is not flight:
                self._dispatch.cancel(self._scheduler.tenant_id, flight)

    async def _look_at_workers(self, now: float) -> None:
        lost: list[Flight] = []
        by_worker: dict[str, list[Flight]] = {}
        for flight in self._scheduler.flying.values():
            by_worker.setdefault(flight.worker_id, []).append(flight)
        for worker_id in {*self._scheduler.pool.ids(), *by_worker}:
            self._scheduler.worker_changed(worker_id)
            if self._is_lost(worker_id, now):
                self._scheduler.drop_worker(worker_id)
                # C-2.30: whoever gave its slot back is not tied to the worker any more.
                lost.extend(flight for flight in by_worker.get(worker_id, ()) if not flight.is_released)
        await self._end_flights(EventKind.WORKER_LOST, lost, now)

    def _is_lost(self, worker_id: str, now: float) -> bool:
        record = self._workers.get(worker_id)
        # After a take-over workers get the whole time anew: they may be reconnecting just now.
        last_seen = max(record.last_seen if record is not None else 0.0, self._scheduler.took_at)
        return now - last_seen > LOST_SECONDS

    async def _repair_hand_overs(self, now: float) -> None:
        """Attempts that their connected worker never confirmed although the stream they were sent on is gone."""
        suspects = [
            flight
            for flight in self._scheduler.flying.values()
            if not flight.is_confirmed and self._is_suspect(flight, now)
        ]
        for start in range(0, len(suspects), BATCH):
            await self._check_suspects(suspects[start : start + BATCH], now)

    def _is_suspect(self, flight: Flight, now: float) -> bool:
        if flight.sent_on is not None and not flight.sent_on.is_closed:
            flight.doubted_at = None
            return False
        if flight.doubted_at is None:
            since = self._connected_since(flight.worker_id)
            if since is None:
                return False
            # From the first return of the worker on: a line that breaks again and again must not put it off for ever.
            flight.doubted_at = max(since, flight.assigned_at)
        return now - flight.doubted_at > CONFIRM_SECONDS

    def _connected_since(self, worker_id: str) -> float | None:
        """When the worker's newest stream opened, here or elsewhere; None when it has none."""
        since = self._dispatch.session_since(worker_id)
        if since is not None:
            return since
        record = self._workers.get(worker_id)
        if record is None or record.row.listener_instance not in self._workers.peers:
            return None
        return record.row.session_started_at or 0.0

    async def _check_suspects(self, suspects: Sequence[Flight], now: float) -> None:
        states = await self._rebuild.states(self._scheduler.tenant_id, [flight.task.id for flight in suspects])
        by_id = {state.id: state for state, _ in states}
        failed: list[Flight] = []
        for flight in suspects:
            state = by_id.get(flight.task.id)
            if state is None or state.ended is not None or state.attempt != flight.task.attempt:
                self._scheduler.touched([flight.task.id])
            elif state.started_at is not None:
                flight.is_confirmed = True
                flight.started_at = state.started_at
            else:
                failed.append(flight)
        await self._end_flights(
            EventKind.HAND_OVER_FAILED, failed, now, "its worker never confirmed it after the connection broke"
        )

    async def _poll_peers(self, now: float) -> None:
        """The poll behind the bus: tasks that others accepted, ends that others took, workers that others hold."""
        scheduler = self._scheduler
        await self._workers.refresh(scheduler.tenant_id)
        for record in self._workers.of(scheduler.tenant_id):
            scheduler.worker_changed(record.id)
        window = lowest_at(now - PEER_WINDOW_SECONDS)
        await self._accept("task_never_assigned_by_others", window, self._instance_id)
        await self._adopt(await open_runs_of_others(self._database, scheduler.tenant_id, window, self._instance_id))
        await scheduler.runs.waits.poll(now - PEER_WINDOW_SECONDS)
        await scheduler.durable.poll(now - PEER_WINDOW_SECONDS)
        restored = await restored_since(self._database, scheduler.tenant_id, now - PEER_WINDOW_SECONDS)
        scheduler.touched([task_id for task_id in restored if scheduler.is_evicted(task_id)])
        old = [flight for flight in scheduler.flying.values() if now - flight.assigned_at > 1.0]
        self._dispatch.remind([flight for flight in old if flight.sent_on is None and not flight.is_confirmed])
        # Another instance may have cancelled or released a task whose worker is here, too; that is rare.
        everybody = self._turns % LOCAL_CHECK_TURNS == 0
        scheduler.touched(
            [flight.task.id for flight in old if everybody or self._dispatch.session_since(flight.worker_id) is None]
        )

    def _check_some(self, now: float) -> None:
        """Compare some of what occupies slots and places with the rows, others the next time (design invariant 3)."""
        old = [task_id for task_id, flight in self._scheduler.flying.items() if now - flight.assigned_at > OLD_SECONDS]
        self._checked = self._checked % max(len(old), 1)
        self._scheduler.touched(old[self._checked : self._checked + BATCH])
        self._checked += BATCH

    async def _reconcile(self) -> None:
        """Make memory agree with the rows for the tasks that something was heard of."""
        scheduler = self._scheduler
        while scheduler.touched_ids:
            ids = [scheduler.touched_ids.pop() for _ in range(min(BATCH, len(scheduler.touched_ids)))]
            try:
                with scheduler.meanwhile.reading() as ended:
                    states = await self._rebuild.states(scheduler.tenant_id, ids)
                    await self._adopt(list({task.run_id for _, task in states if task.run_id is not None}))
            except BaseException:
                scheduler.touched(ids)
                raise
            for state, task in states:
                if state.ended is None and state.id in ended:
                    # Something was heard of it while its rows were read: they are read again.
                    scheduler.touched([state.id])
                    continue
                if state.opened_at > state.inserted_at and task.run_id is None:
                    scheduler.runs.reopened(task.id, state.opened_at)
                if state.evicted_at is not None:
                    scheduler.runs.evicted(task, state.evicted_at)
                self._agree(state, task)
            scheduler.settle()

    def _agree(self, state: TaskState, task: ReadyTask) -> None:
        scheduler = self._scheduler
        if state.ended is not None:
            self._ended_unheard(state, task)
            return
        # Also when nothing of the current attempt is to be done here: an attempt that a replay followed is over.
        scheduler.forget(state.id, state.attempt - 1)
        if task.run_id is not None and self._is_for_run(state, task):
            return
        known = scheduler.attempt_of(state.id)
        flight = flight_of(scheduler.tenant_id, state, task)
        if known is not None and known >= state.attempt:
            mine = scheduler.flying.get(state.id)
            if flight is not None and mine is not None and mine.task.attempt == state.attempt:
                self._take_over_notes(mine, flight)
            elif state.restored_at is not None and scheduler.is_evicted(state.id):
                scheduler.restored({state.id: state.attempt}, state.restored_at)
            return
        if flight is not None:
            scheduler.fly(flight)
        else:
            if not state.is_evicted:
                scheduler.gates.gave_up(state.id)
            scheduler.enqueue(task, was_evicted=state.is_evicted)

    def _is_for_run(self, state: TaskState, task: ReadyTask) -> bool:
        """Whether the attempt is not to be placed here: its run decides, or is read anew because it was replayed."""
        run = self._scheduler.runs.get(task.run_id or "")
        if run is None:
            return True
        facts = run.state.tasks[task.step.index]
        if state.opened_attempt > facts.attempt:
            self._scheduler.runs.drop(run.id)
            self._scheduler.touched([state.id])
            return True
        if state.attempt == 0 or state.waits_anew:
            return state.worker_id is None
        run.state.retried(task.step.index, state.attempt, state.evictions)
        return False

    def _ended_unheard(self, state: TaskState, task: ReadyTask) -> None:
        scheduler = self._scheduler
        assert state.ended is not None
        if task.evictions:
            scheduler.runs.evicted(task, state.finished_at or 0.0)
        scheduler.runs.closed(state.id)
        scheduler.durable.forget(state.id)
        flight = scheduler.flying.get(state.id)
        if task.run_id is not None:
            at = state.finished_at or 0.0
            scheduler.runs.ended(task, state.ended, at, state.output, state.error)
        elif not scheduler.knows(state.id):
            # An attempt whose assignment was refused is nowhere else, and has its places.
            scheduler.gates.left(state.id)
            return
        scheduler.forget(state.id, state.attempt)
        scheduler.gates.left(state.id)
        if flight is not None and state.ended in (Outcome.CANCELLED, Outcome.OUTRUN, Outcome.TIMED_OUT):
            # Whoever ended it may not have known its worker (C-5.19); telling it twice is harmless (C-5.22).
            self._dispatch.cancel(scheduler.tenant_id, flight)
        self._endings.ended_before(scheduler.tenant_id, state.id)

    def _take_over_notes(self, mine: Flight, read: Flight) -> None:
        mine.timeout_at = max(mine.timeout_at, read.timeout_at)
        mine.started_at = mine.started_at or read.started_at
        mine.is_confirmed = mine.is_confirmed or read.is_confirmed
        if read.is_released:
            self._scheduler.slot_released(mine)

    async def _raise_watermark(self, now: float) -> None:
        scheduler = self._scheduler
        candidates = [
            lowest_at(now),
            *scheduler.queues.deadlines.oldest_ids(),
            *(task_id for task_id, flight in scheduler.flying.items() if not scheduler.runs.is_named(flight.task)),
            *(task.id for task in scheduler.backoff if not scheduler.runs.is_named(task)),
            *(oldest for oldest in scheduler.oldest_ids() if oldest is not None),
        ]
        watermark = lowest_at(time_of(min(candidates)) - WATERMARK_SAFETY_SECONDS)
        # A step of a minute is enough to keep recovery short, and an idle engine writes nothing for it.
        if self._watermark and time_of(watermark) - time_of(self._watermark) < WATERMARK_SAFETY_SECONDS:
            return
        await raise_watermark(self._database, scheduler.lease.name, scheduler.lease.epoch, watermark)
        self._watermark = watermark

    async def _end_flights(self, kind: EventKind, flights: Sequence[Flight], now: float, cause: str = "") -> None:
        await self._end(State.RUNNING, kind, [(flight.task, flight) for flight in flights], now, cause)

    async def _end(
        self,
        state: State,
        kind: EventKind,
        attempts: Sequence[tuple[ReadyTask, Flight | None]],
        now: float,
        cause: str = "",
    ) -> int:
        """Write the decisions under the fence; how many were the first for their attempt."""
        event = Event(kind, now, cause)
        endings: list[Ending] = []
        for task, flight in attempts:
            policy = policy_of(task, self._max_internal_retries)
            decision = decide(state, event, policy, task.counters)
            if decision is not None:
                started_at = flight.started_at if flight is not None else None
                endings.append(Ending(self._scheduler.tenant_id, task, decision, now, started_at))
        written = await self._endings.end_all_fenced(endings, self._scheduler.lease)
        if written < len(endings):
            self._scheduler.touched([ending.task.id for ending in endings])
        return written
