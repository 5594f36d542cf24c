"""Stations 2 and 3 for one tenant: what waits for a worker, who may take it, which attempt goes where.

Owned by the instance that holds the tenant's lease. Everything here is rebuilt from rows at take-over
(:mod:`hatchet.engine.recovery`); every assignment is written under the lease's epoch before a worker hears of it.
What an attempt passes before the queue is in :mod:`hatchet.engine.gates`, the way to a worker in
:mod:`hatchet.engine.assigning`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import structlog

from hatchet.core.clock import Clock, Ids
from hatchet.core.held import HeldTasks, Pause
from hatchet.core.messages import EventRecord
from hatchet.core.placement import WorkerPool, WorkerSlots
from hatchet.core.ready_queue import ReadyQueues
from hatchet.core.ready_task import ReadyTask
from hatchet.core.reasons import Waiting
from hatchet.core.statuses import Outcome
from hatchet.core.transitions import Decision
from hatchet.engine.assigning import Assigning, Deliverer
from hatchet.engine.backoff import Backoff
from hatchet.engine.batcher import Pace
from hatchet.engine.durable_waits import DurableWaits
from hatchet.engine.gates import Gates
from hatchet.engine.limit_rows import LimitRows
from hatchet.engine.meanwhile import Meanwhile
from hatchet.engine.memory import Batch, Flight, Flights
from hatchet.engine.open_runs import OpenRun
from hatchet.engine.run_book import RunBook
from hatchet.engine.task_notes import TaskNotes
from hatchet.engine.verdicts import Verdicts
from hatchet.engine.workers import WorkerRecord, Workers
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database

log = structlog.get_logger("hatchet.engine")

RETRY_SECONDS = 0.2
SHORTEST_DELAY, LONGEST_DELAY = 0.001, 60.0
KEEPS_PLACES = (Outcome.REASSIGNED, Outcome.COULD_NOT_SEND, Outcome.EVICTED)
"""What went back by the engine's own doing never left its groups (C-9.26), nor does what is evicted (D-19.6)."""


class TenantScheduler:
    """The owner of one tenant's queue."""

    def __init__(
        self,
        tenant_id: str,
        lease: HeldLease,
        *,
        database: Database,
        writer: Database,
        workers: Workers,
        flights: Flights,
        dispatch: Deliverer,
        clock: Clock,
        make_runs: Callable[[TenantScheduler], RunBook],
        make_durable: Callable[[TenantScheduler], DurableWaits],
        verdicts: Verdicts,
        notes: TaskNotes,
        ids: Ids,
        flush_gap: float,
        flush_maximum: int,
        lost: Callable[[str], Awaitable[None]],
    ) -> None:
        self.tenant_id = tenant_id
        self.lease = lease
        self.took_at = clock.now()
        self.queues = ReadyQueues()
        self.backoff = Backoff()
        self.held = HeldTasks()
        self.pool = WorkerPool()
        self.flying: dict[str, Flight] = {}
        self._batches: dict[str, Batch] = {}
        self.touched_ids: set[str] = set()
        self.meanwhile = Meanwhile()
        self.is_loading = True
        self.gates = Gates(
            self.queues,
            self.held,
            clock,
            outrun=verdicts.outrun,
            refuse=verdicts.refuse,
            parked=notes.parked,
            wake=self.look,
        )
        self.limit_rows = LimitRows(tenant_id, lease, self.gates.limits, database)
        self.waits_for_batch = notes.waits_for_batch
        self._early: list[ReadyTask] = []
        self._early_runs: list[OpenRun] = []
        self._early_events: list[EventRecord] = []
        self._workers = workers
        self._flights = flights
        self._clock = clock
        self._verdicts = verdicts
        self._pace = Pace(flush_gap)
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._assigning = Assigning(
            self,
            database=database,
            writer=writer,
            dispatch=dispatch,
            clock=clock,
            ids=ids,
            maximum=flush_maximum,
            lost=lost,
        )
        self.runs = make_runs(self)
        """The open runs of several tasks."""
        self.durable = make_durable(self)
        """What durable tasks wait for."""

    # What the rest of the instance tells (hatchet.engine.memory.Owner) ---------------------------------------------

    def accepted(self, tasks: list[ReadyTask]) -> None:
        if self.is_loading:
            self._early.extend(tasks)
            return
        fresh = [task for task in tasks if not self.knows(task.id)]
        self.gates.expect(fresh)
        for task in fresh:
            self.gates.enter(task)
        self._arm()

    def opened(self, runs: list[OpenRun]) -> None:
        if self.is_loading:
            self._early_runs.extend(runs)
            return
        for run in runs:
            self.gates.run_opened(run)
            self.runs.opened(run)
        self._arm()

    def ended(self, task: ReadyTask, decision: Decision, at: float, following: ReadyTask | None) -> None:
        if self.is_loading:
            self.touched_ids.add(task.id)
            return
        self.forget(task.id, task.attempt)
        if following is not None:
            if decision.outcome not in KEEPS_PLACES:
                self.gates.gave_up(task.id)
            self.runs.retried(following)
            if decision.outcome is Outcome.EVICTED:
                self.runs.evicted(following, at)
                self.durable.evicted(following.id)
            self.enqueue(following)
        else:
            self.gates.left(task.id)
            self._ended_for_good(task, decision, at)
        self.look()

    def _ended_for_good(self, task: ReadyTask, decision: Decision, at: float) -> None:
        self.durable.forget(task.id)
        if task.evictions:
            # Whoever evicted it may have been another instance, of which nothing was heard yet.
            self.runs.evicted(task, at)
        if task.run_id is None:
            self.runs.closed(task.id)
        elif task.run_id in self.runs:
            self.runs.ended(task, decision.outcome, at, decision.output, decision.error)
        else:
            self.touched_ids.add(task.id)

    def run_closed(self, run_id: str) -> None:
        """All tasks of a run have ended."""
        self.meanwhile.ended(run_id)
        self.gates.run_closed(run_id)

    def settle(self) -> None:
        self.runs.settle()

    def pushed(self, records: list[EventRecord]) -> None:
        if self.is_loading:
            self._early_events.extend(records)
        else:
            self.runs.waits.pushed(records)
            self.durable.pushed(records)

    def restored(self, attempts: Mapping[str, int], at: float) -> None:
        for task_id, attempt in attempts.items():
            task = self.backoff.get(task_id)
            if task is not None and task.is_evicted and task.attempt == attempt:
                self.backoff.discard(task_id)
                self.enqueue(task.again(at, attempt, task.app_retries, task.internal_retries, task.evictions))
            else:
                # It was evicted a moment ago elsewhere, or is being read: the rows tell.
                self.touched_ids.add(task_id)
        self.look()

    def touched(self, task_ids: list[str]) -> None:
        self.touched_ids.update(task_ids)

    def paused(self, pauses: Mapping[str, Pause]) -> None:
        before = self.held.paused()
        released = self.held.change(pauses)
        if self.held.paused() - before:
            for task in [task for task in self.queues if self.held.is_paused(task)]:
                self.queues.discard(task.id)
                self.gates.held(task)
            self.gates.pause()
        for task in released:
            self.gates.enter(task)
        self.look()

    async def limits_changed(self, keys: list[str]) -> None:
        await self.limit_rows.read(keys)
        self.look()

    async def look_at_limits(self) -> None:
        """Keep rate limits and their rows together; the watch calls this in each turn."""
        await self.limit_rows.turn(is_waited_for=bool(len(self.gates.parked)))
        self._arm()

    def worker_changed(self, worker_id: str) -> None:
        record = self._workers.get(worker_id)
        if record is None or self.is_loading:
            return
        slots = self.pool.get(worker_id)
        if slots is None:
            slots = self._admit(record)
        is_relabelled = slots.labels != record.row.labels
        slots.labels = record.row.labels
        was_assignable, slots.assignable = slots.assignable, self._workers.is_assignable(record)
        if slots.assignable and (is_relabelled or not was_assignable):
            self._roomier()

    def slot_released(self, flight: Flight) -> None:
        if not flight.is_released and self.flying.get(flight.task.id) is flight:
            self._free(flight)
            flight.is_released = True
            self.look()

    def knows(self, task_id: str) -> bool:
        return (
            task_id in self.flying
            or task_id in self.queues
            or task_id in self.gates
            or task_id in self._assigning
            or task_id in self.backoff
            or task_id in self.held
            or task_id in self.runs
        )

    def places(self, task_id: str) -> bool:
        """Whether an attempt of the task waits or runs here."""
        return self.attempt_of(task_id) is not None

    def backlog(self) -> int:
        return len(self.queues) + len(self.gates) + len(self.held) + len(self._early)

    def waiting(self, task_id: str) -> ReadyTask | None:
        return (
            self.queues.get(task_id)
            or self.gates.get(task_id)
            or self._assigning.get(task_id)
            or self.backoff.get(task_id)
            or self.held.get(task_id)
        )

    def attempts(self) -> tuple[list[ReadyTask], list[Flight]]:
        """Those that wait here, for whatever, and those that are with a worker."""
        waits = (self.queues, self.gates, self._assigning, self.backoff, self.held)
        return [task for tasks in waits for task in tasks], list(self.flying.values())

    def explain(self, task: ReadyTask, now: float) -> Waiting:
        """What an attempt that waits here waits for."""
        return Waiting(
            now=now,
            task=task,
            is_paused=task.id in self.held,
            is_assigning=task.id in self._assigning,
            workers=self.pool.workers(),
            **self.gates.explain(task, now),
        )

    # What recovery and the watch do ---------------------------------------------------------------------------------

    def enqueue(self, task: ReadyTask, *, was_evicted: bool = False) -> None:
        """Put an attempt where it belongs: the queue, the wait for its delay, or the wait for the end of a pause.

        ``was_evicted``: it was read back, and follows an eviction: it never left its groups (D-19.6).
        """
        if was_evicted:
            self.gates.holds(task)
            self.durable.evicted(task.id)
        if task.attempt:
            self._follow_log(task)
        if task.ready_at <= self._clock.now():
            self.gates.enter(task)
        else:
            self.backoff.push(task)
            self._arm()

    def fly(self, flight: Flight) -> None:
        """An attempt is with a worker: it occupies that worker's units unless its slot was released."""
        self.flying[flight.task.id] = flight
        self._flights.put(flight)
        if flight.task.attempt or self.is_loading:
            self._follow_log(flight.task)
        self.gates.holds(flight.task)
        self.runs.given(flight.task, flight.worker_id)
        if not flight.is_released:
            self._occupy(flight, self.pool.get(flight.worker_id))

    def _follow_log(self, task: ReadyTask) -> None:
        """A durable task is open: what it waits for is in the rows, unless it is known here."""
        if task.step.definition.is_durable and not self.durable.knows(task.id):
            self.durable.load([task.id])

    def forget(self, task_id: str, attempt: int) -> None:
        """The attempt is over: out of the queues, its units free."""
        self.meanwhile.ended(task_id)
        flight = self.flying.get(task_id)
        if flight is not None and flight.task.attempt <= attempt:
            del self.flying[task_id]
            self._flights.end(task_id, flight.task.attempt)
            if not flight.is_released:
                self._free(flight)
        for waits in (self.queues, self.gates, self.backoff, self.held, self._assigning):
            task = waits.get(task_id)
            if task is not None and task.attempt <= attempt:
                waits.discard(task_id)

    def is_evicted(self, task_id: str) -> bool:
        """Whether the task waits here for its restore."""
        task = self.backoff.get(task_id)
        return task is not None and task.is_evicted

    def attempt_of(self, task_id: str) -> int | None:
        """The attempt of a task that is known here."""
        flight = self.flying.get(task_id)
        task = flight.task if flight is not None else self.waiting(task_id)
        return None if task is None else task.attempt

    def expired(self, now: float, limit: int) -> list[ReadyTask]:
        """Waiting tasks whose schedule timeout has passed (C-6.33), wherever they wait; oldest first."""
        return self.queues.deadlines.expired(now, limit)

    def oldest_ids(self) -> tuple[str | None, ...]:
        """Candidates for the low-watermark besides the queues' own."""
        return self.held.oldest_id(), self.runs.oldest()

    def look(self) -> None:
        """Something changed: look soon whether anything can be placed."""
        self._wake.set()

    def drop_worker(self, worker_id: str) -> None:
        """A lost worker takes no part in placement until it comes back."""
        self.pool.remove(worker_id)

    def filled(self) -> None:
        """All rows are read: who waits for places may have them now."""
        for task in self.backoff:
            if not task.is_evicted:
                self.gates.delayed(task)
        self.gates.filled()

    def loaded(self) -> None:
        """Everything is rebuilt: take in what arrived meanwhile and begin."""
        self.is_loading = False
        early, self._early = self._early, []
        early_runs, self._early_runs = self._early_runs, []
        early_events, self._early_events = self._early_events, []
        for record in self._workers.of(self.tenant_id):
            self.worker_changed(record.id)
        self.accepted(early)
        self.opened(early_runs)
        self.pushed(early_events)
        self._arm()

    # Life -------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to place tasks; call after :meth:`loaded`."""
        self._task = asyncio.create_task(self._run(), name=f"scheduler:{self.tenant_id}")

    async def stop(self) -> None:
        """End without waiting for tasks: another owner goes on from the rows."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._verdicts.stop()
        await self.runs.stop()
        await self.durable.stop()

    async def _run(self) -> None:
        # A pass that finds the lease lost stops its own scheduler.
        while not self._is_stopped:
            await self._wake.wait()
            await self._pace.wait()
            self._wake.clear()
            try:
                await self._pass()
            except Exception as error:
                # One bad row must not end the scheduler; attempts that were not sent are found by the watch.
                log.error("a scheduling pass failed", tenant=self.tenant_id, error=str(error), exc_info=error)
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()

    async def _pass(self) -> None:
        self.gates.turn()
        placed = self._assigning.place()
        self._arm()
        if placed:
            await self._assigning.assign(placed)
            self._pace.done()
            # The limit may have cut this pass short.
            self._wake.set()

    def _admit(self, record: WorkerRecord) -> WorkerSlots:
        slots = WorkerSlots(record.id, record.row.actions, record.row.slots, record.row.labels)
        self.pool.add(slots)
        batches: set[str] = set()
        for flight in self.flying.values():
            if flight.worker_id != record.id or flight.is_released:
                continue
            if flight.batch is None:
                slots.take(flight.task.step.slots)
            elif flight.batch.id not in batches:
                batches.add(flight.batch.id)
                slots.take(flight.task.step.slots)
        return slots

    def _occupy(self, flight: Flight, slots: WorkerSlots | None) -> None:
        """The units of an attempt are taken; a batch takes them once (C-16.12)."""
        batch, step = flight.batch, flight.task.step
        if batch is not None:
            # One object a batch, also when its attempts were read back one by one.
            batch = flight.batch = self._batches.setdefault(batch.id, batch)
            batch.open += 1
            if batch.open > 1:
                return
            self.gates.batches.started(step.id, batch.key)
        if slots is not None:
            slots.take(step.slots)

    def _free(self, flight: Flight) -> None:
        batch, step = flight.batch, flight.task.step
        if batch is not None:
            batch.open -= 1
            if batch.open:
                return
            self._batches.pop(batch.id, None)
            self.gates.batches.ended(step.id, batch.key)
        slots = self.pool.get(flight.worker_id)
        if slots is not None:
            slots.give_back(step.slots)
        self._roomier()

    def _roomier(self) -> None:
        """There may be room for what found none."""
        self.gates.batches.roomier()
        self._wake.set()

    def _arm(self) -> None:
        """Wake when the next retry delay ends, units are back, or a batch is due."""
        at = min((at for at in (self.backoff.next_at(), self.gates.next_at()) if at is not None), default=None)
        if at == self._armed_for:
            return
        self._armed_for = at
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            delay = max(SHORTEST_DELAY, at - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(min(delay, LONGEST_DELAY), self._time_passed)

    def _time_passed(self) -> None:
        self._armed_for = None
        for task in self.backoff.due(self._clock.now()):
            self.gates.enter(task)
        self._wake.set()
        self._arm()
