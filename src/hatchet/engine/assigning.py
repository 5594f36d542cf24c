"""From the queue to a worker: placement, the assignment's row, the hand-over (stations 3 and 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from hatchet.core.clock import Clock, Ids
from hatchet.core.deadlines import GONE
from hatchet.core.errors import Unavailable
from hatchet.core.placement import WorkerSlots, place
from hatchet.core.ready_task import ReadyTask
from hatchet.core.rules import Sticky
from hatchet.engine.memory import Batch, Flight
from hatchet.store.leases import still_held
from hatchet.store.pool import Database
from hatchet.store.rate_limits import assign_limited
from hatchet.store.tasks import NewAssignment, assign

if TYPE_CHECKING:
    from hatchet.engine.schedule import TenantScheduler

log = structlog.get_logger("hatchet.engine")

RETRY_SECONDS = 0.2


class Deliverer(Protocol):
    """What is needed of :class:`hatchet.engine.dispatch.Dispatch`."""

    async def deliver(self, flights: Sequence[Flight]) -> None: ...


@dataclass(slots=True, frozen=True)
class Placed:
    """An attempt and the worker whose units it has; those of a batch have them together."""

    task: ReadyTask
    worker: WorkerSlots
    batch: Batch | None = None
    taken_at: float = 0.0
    """When units of rate limits were taken for it, or just before."""
    is_first: bool = True
    """Whether the units were taken for this attempt, not for another of its batch."""


class Assigning:
    """The attempts of one tenant that are out of the queue and not with a worker yet."""

    def __init__(
        self,
        scheduler: TenantScheduler,
        *,
        database: Database,
        writer: Database,
        dispatch: Deliverer,
        clock: Clock,
        ids: Ids,
        maximum: int,
        lost: Callable[[str], Awaitable[None]],
    ) -> None:
        self._scheduler = scheduler
        self._database = database
        self._writer = writer
        self._dispatch = dispatch
        self._clock = clock
        self._ids = ids
        self._maximum = maximum
        self._lost = lost
        self._placing: dict[str, ReadyTask] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._placing

    def get(self, task_id: str) -> ReadyTask | None:
        return self._placing.get(task_id)

    def __iter__(self) -> Iterator[ReadyTask]:
        return iter(self._placing.values())

    def discard(self, task_id: str) -> None:
        """The assignment under way finds it gone and gives the units back."""
        task = self._placing.pop(task_id, None)
        if task is not None:
            task.place = GONE

    def place(self) -> list[Placed]:
        """Take out what may go now, each with a worker's units."""
        scheduler, now = self._scheduler, self._clock.now()
        pairs = place(scheduler.queues, scheduler.pool, self._maximum, scheduler.gates.admit)
        scheduler.gates.park_lacking()
        placed = [Placed(task, worker, taken_at=now) for task, worker in pairs]
        if len(scheduler.gates.batches):
            self._place_batches(placed)
        for one in placed:
            self._placing[one.task.id] = one.task
        return placed

    def _place_batches(self, placed: list[Placed]) -> None:
        gates, now = self._scheduler.gates, self._clock.now()
        while len(placed) < self._maximum and (found := gates.batches.due(now)):
            for due in found:
                step, first = due.tasks[0].step, due.tasks[0]
                worker = self._scheduler.pool.take(
                    step.definition.action,
                    step.slots,
                    first.labels,
                    first.desired_worker,
                    hard=first.version.sticky is Sticky.HARD,
                )
                if worker is None:
                    gates.batches.refused(due, now)
                    self._scheduler.waits_for_batch(due.tasks)
                    continue
                tasks = gates.flush(due)
                batch = Batch(self._ids.new(), due.group[1], due.reason, len(tasks), now)
                placed.extend(Placed(task, worker, batch, is_first=not index) for index, task in enumerate(tasks))
                if len(placed) >= self._maximum:
                    return

    async def assign(self, placed: list[Placed]) -> None:
        """Write the assignments and send what was written."""
        scheduler = self._scheduler
        now = self._clock.now()
        rows = [_row(one, now) for one in placed]
        try:
            assigned = await self._write(placed, rows, now)
        except Exception as error:
            self._return(placed)
            if not isinstance(error, Unavailable):
                log.error(
                    "an assignment failed, trying again", tenant=scheduler.tenant_id, error=str(error), exc_info=error
                )
            await asyncio.sleep(RETRY_SECONDS)
            return
        await self._send(placed, rows, assigned, now)

    async def _write(self, placed: list[Placed], rows: list[NewAssignment], now: float) -> set[str]:
        """The ids of the tasks that were assigned; units that were taken are written with the assignments."""
        scheduler = self._scheduler
        if not any(one.batch is not None or one.task.limits.units for one in placed):
            return await assign(self._writer, scheduler.lease, scheduler.tenant_id, now, rows)
        limits = scheduler.gates.limits
        async with scheduler.limit_rows.writing:
            states = limits.changed()
            assigned = await assign_limited(self._writer, scheduler.lease, scheduler.tenant_id, now, rows, states)
            limits.written(states)
        return assigned

    async def _send(self, placed: list[Placed], rows: list[NewAssignment], assigned: set[str], now: float) -> None:
        scheduler = self._scheduler
        flights: list[Flight] = []
        refused: list[str] = []
        for one, row in zip(placed, rows, strict=True):
            task = one.task
            self._give_back(one)
            task.place = GONE
            if self._placing.pop(task.id, None) is None:
                continue
            if task.id not in assigned:
                refused.append(task.id)
                self._give_units_back(one)
                continue
            flight = Flight(scheduler.tenant_id, task, one.worker.id, now, row.timeout_at)
            flight.batch = one.batch
            scheduler.fly(flight)
            flights.append(flight)
        # What was refused is nowhere in memory now: the rows tell what became of it, whatever happens below.
        scheduler.touched_ids.update(refused)
        try:
            await self._dispatch.deliver(flights)
        except Unavailable as error:
            # Attempts that were not sent are found by the watch, which gives them back.
            log.warning("could not read the inputs of assigned tasks", tenant=scheduler.tenant_id, error=str(error))
        if refused and not await still_held(self._database, scheduler.lease.name, scheduler.lease.epoch):
            await self._lost(scheduler.lease.name)

    def _give_back(self, one: Placed) -> None:
        if one.is_first:
            one.worker.give_back(one.task.step.slots)
            if one.batch is not None:
                self._scheduler.gates.batches.ended(one.task.step.id, one.batch.key)

    def _give_units_back(self, one: Placed) -> None:
        """C-10.12; the items of a batch took theirs before, and keep them."""
        if one.batch is None and one.task.limits.units:
            self._scheduler.gates.limits.give_back(one.task.limits.units, one.taken_at)

    def _return(self, placed: list[Placed]) -> None:
        """The assignment did not happen: everything goes back to where it was."""
        gates, held = self._scheduler.gates, self._scheduler.held
        unflushed: list[ReadyTask] = []
        for one in reversed(placed):
            task = one.task
            self._give_back(one)
            self._give_units_back(one)
            if self._placing.pop(task.id, None) is None:
                task.place = GONE
            elif held.is_paused(task):
                task.place = GONE
                gates.held(task)
            elif one.batch is not None:
                unflushed.append(task)
            else:
                self._scheduler.queues.put_back(task, was_away=True)
        gates.unflush(unflushed)


def _row(one: Placed, now: float) -> NewAssignment:
    task, batch = one.task, one.batch
    return NewAssignment(
        task.id,
        task.attempt,
        one.worker.id,
        task.app_retries,
        task.internal_retries,
        now + task.step.execution_timeout_seconds,
        batch.id if batch is not None else None,
        batch.reason if batch is not None else None,
        task.evictions,
    )
