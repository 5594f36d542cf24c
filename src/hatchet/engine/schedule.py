"""Stations 2 and 3: one tenant's ready tasks, its workers' free slots, and the loop that joins them.

The scheduler of a tenant runs in the instance that holds the tenant's lease. Everything in it is rebuilt from rows at
take-over (:mod:`hatchet.engine.recovery`); timeouts and lost workers are watched by :mod:`hatchet.engine.watch`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog

from hatchet.core.clock import Clock
from hatchet.core.errors import Unavailable
from hatchet.core.held import HeldTasks, Pause
from hatchet.core.messages import EventRecord
from hatchet.core.placement import WorkerPool, WorkerSlots, place
from hatchet.core.ready_queue import GONE, ReadyQueues, ReadyTask
from hatchet.core.transitions import Decision
from hatchet.engine.backoff import Backoff
from hatchet.engine.batcher import Pace
from hatchet.engine.memory import Flight, Flights
from hatchet.engine.open_runs import OpenRun
from hatchet.engine.run_book import RunBook
from hatchet.engine.workers import WorkerRecord, Workers
from hatchet.store.leases import HeldLease, still_held
from hatchet.store.pool import Database
from hatchet.store.tasks import NewAssignment, assign

log = structlog.get_logger("hatchet.engine")

RETRY_SECONDS = 0.2


class Deliverer(Protocol):
    """What the scheduler needs of :class:`hatchet.engine.dispatch.Dispatch`."""

    async def deliver(self, flights: Sequence[Flight]) -> None: ...


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
        self.touched_ids: set[str] = set()
        self.is_loading = True
        self._placing: dict[str, ReadyTask] = {}
        self._early: list[ReadyTask] = []
        self._early_runs: list[OpenRun] = []
        self._early_events: list[EventRecord] = []
        self._database = database
        self._writer = writer
        self._workers = workers
        self._flights = flights
        self._dispatch = dispatch
        self._clock = clock
        self._pace = Pace(flush_gap)
        self._flush_maximum = flush_maximum
        self._lost = lost
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False
        self.runs = make_runs(self)
        """The open runs of several tasks."""

    # What the rest of the instance tells (hatchet.engine.memory.Owner) ---------------------------------------------

    def accepted(self, tasks: list[ReadyTask]) -> None:
        if self.is_loading:
            self._early.extend(tasks)
            return
        for task in tasks:
            if not self.knows(task.id):
                self._line_up(task)
        self._wake.set()

    def opened(self, runs: list[OpenRun]) -> None:
        if self.is_loading:
            self._early_runs.extend(runs)
            return
        for run in runs:
            self.runs.opened(run)

    def ended(self, task: ReadyTask, decision: Decision, at: float, following: ReadyTask | None) -> None:
        if self.is_loading:
            self.touched_ids.add(task.id)
            return
        self.forget(task.id, task.attempt)
        if following is not None:
            self.runs.retried(following)
            self.enqueue(following)
        elif task.run_id is not None:
            if task.run_id in self.runs:
                self.runs.ended(task, decision.outcome, at, decision.output, decision.error)
            else:
                self.touched_ids.add(task.id)
        else:
            self.runs.closed(task.id)
        self._wake.set()

    def settle(self) -> None:
        self.runs.settle()

    def pushed(self, records: list[EventRecord]) -> None:
        if self.is_loading:
            self._early_events.extend(records)
        else:
            self.runs.waits.pushed(records)

    def touched(self, task_ids: list[str]) -> None:
        self.touched_ids.update(task_ids)

    def paused(self, pauses: Mapping[str, Pause]) -> None:
        before = self.held.paused()
        released = self.held.change(pauses)
        if self.held.paused() - before:
            for task in [task for task in self.queues if self.held.is_paused(task)]:
                self.queues.discard(task.id)
                self.held.push(task)
        for task in released:
            self.queues.push(task)
            self._wake.set()

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
            self._wake.set()

    def slot_released(self, flight: Flight) -> None:
        if not flight.is_released and self.flying.get(flight.task.id) is flight:
            self._free(flight)
            flight.is_released = True
            self._wake.set()

    def knows(self, task_id: str) -> bool:
        return (
            task_id in self.flying
            or task_id in self.queues
            or task_id in self._placing
            or task_id in self.backoff
            or task_id in self.held
            or task_id in self.runs
        )

    def places(self, task_id: str) -> bool:
        """Whether an attempt of the task waits or runs here."""
        return self.attempt_of(task_id) is not None

    def backlog(self) -> int:
        return len(self.queues) + len(self.held) + len(self._early)

    def waiting(self, task_id: str) -> ReadyTask | None:
        return (
            self.queues.get(task_id)
            or self._placing.get(task_id)
            or self.backoff.get(task_id)
            or self.held.get(task_id)
        )

    # What recovery and the watch do ---------------------------------------------------------------------------------

    def enqueue(self, task: ReadyTask) -> None:
        """Put an attempt where it belongs: the queue, the wait for its delay, or the wait for the end of a pause."""
        if task.ready_at <= self._clock.now():
            self._line_up(task)
        else:
            self.backoff.push(task)
            self._arm()

    def fly(self, flight: Flight) -> None:
        """An attempt is with a worker: it occupies that worker's units unless its slot was released."""
        self.flying[flight.task.id] = flight
        self._flights.put(flight)
        slots = self.pool.get(flight.worker_id)
        if slots is not None and not flight.is_released:
            slots.take(flight.task.step.slots)

    def forget(self, task_id: str, attempt: int) -> None:
        """The attempt is over: out of the queues, its units free."""
        flight = self.flying.get(task_id)
        if flight is not None and flight.task.attempt <= attempt:
            del self.flying[task_id]
            self._flights.end(task_id, flight.task.attempt)
            if not flight.is_released:
                self._free(flight)
        for waits in (self.queues, self.backoff, self.held):
            task = waits.get(task_id)
            if task is not None and task.attempt <= attempt:
                waits.discard(task_id)
        placing = self._placing.get(task_id)
        if placing is not None and placing.attempt <= attempt:
            # The assignment under way finds it gone and gives the units back.
            placing.place = GONE
            del self._placing[task_id]

    def attempt_of(self, task_id: str) -> int | None:
        """The attempt of a task that is known here."""
        flight = self.flying.get(task_id)
        task = flight.task if flight is not None else self.waiting(task_id)
        return None if task is None else task.attempt

    def drop_worker(self, worker_id: str) -> None:
        """A lost worker takes no part in placement until it comes back."""
        self.pool.remove(worker_id)

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
        await self.runs.stop()

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
        placed = place(self.queues, self.pool, self._flush_maximum)
        if placed:
            await self._assign(placed)
            self._pace.done()
            # The limit may have cut this pass short.
            self._wake.set()

    async def _assign(self, placed: list[tuple[ReadyTask, WorkerSlots]]) -> None:
        for task, _ in placed:
            self._placing[task.id] = task
        now = self._clock.now()
        rows = [
            NewAssignment(
                task.id,
                task.attempt,
                worker.id,
                task.app_retries,
                task.internal_retries,
                now + task.step.execution_timeout_seconds,
            )
            for task, worker in placed
        ]
        try:
            assigned = await assign(self._writer, self.lease, self.tenant_id, now, rows)
        except Exception as error:
            self._return(placed)
            if not isinstance(error, Unavailable):
                log.error("an assignment failed, trying again", tenant=self.tenant_id, error=str(error), exc_info=error)
            await asyncio.sleep(RETRY_SECONDS)
            self._wake.set()
            return
        await self._send(placed, rows, assigned, now)

    async def _send(
        self,
        placed: list[tuple[ReadyTask, WorkerSlots]],
        rows: list[NewAssignment],
        assigned: set[str],
        now: float,
    ) -> None:
        flights: list[Flight] = []
        refused: list[str] = []
        for (task, worker), row in zip(placed, rows, strict=True):
            worker.give_back(task.step.slots)
            task.place = GONE
            if self._placing.pop(task.id, None) is None:
                continue
            if task.id not in assigned:
                refused.append(task.id)
                continue
            flight = Flight(self.tenant_id, task, worker.id, now, row.timeout_at)
            self.fly(flight)
            flights.append(flight)
        # What was refused is nowhere in memory now: the rows tell what became of it, whatever happens below.
        self.touched_ids.update(refused)
        try:
            await self._dispatch.deliver(flights)
        except Unavailable as error:
            # Attempts that were not sent are found by the watch, which gives them back.
            log.warning("could not read the inputs of assigned tasks", tenant=self.tenant_id, error=str(error))
        if refused and not await still_held(self._database, self.lease.name, self.lease.epoch):
            await self._lost(self.lease.name)

    def _return(self, placed: list[tuple[ReadyTask, WorkerSlots]]) -> None:
        for task, worker in reversed(placed):
            worker.give_back(task.step.slots)
            if self._placing.pop(task.id, None) is None:
                task.place = GONE
            elif self.held.is_paused(task):
                task.place = GONE
                self.held.push(task)
            else:
                self.queues.put_back(task, was_away=True)

    def _admit(self, record: WorkerRecord) -> WorkerSlots:
        slots = WorkerSlots(record.id, record.row.actions, record.row.slots, record.row.labels)
        self.pool.add(slots)
        for flight in self.flying.values():
            if flight.worker_id == record.id and not flight.is_released:
                slots.take(flight.task.step.slots)
        return slots

    def _free(self, flight: Flight) -> None:
        slots = self.pool.get(flight.worker_id)
        if slots is not None:
            slots.give_back(flight.task.step.slots)

    def _arm(self) -> None:
        """Wake when the next retry delay ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self.backoff.next_at()
        if at is not None:
            delay = max(0.0, at - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(min(delay, 60.0), self._delays_ended)

    def _delays_ended(self) -> None:
        for task in self.backoff.due(self._clock.now()):
            self._line_up(task)
        self._arm()

    def _line_up(self, task: ReadyTask) -> None:
        """Into the queue; while its workflow is paused, aside."""
        if self.held.is_paused(task):
            self.held.push(task)
            return
        task.ready_at = self.held.ready_at(task)
        self.queues.push(task)
        self._wake.set()
