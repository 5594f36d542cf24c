"""Fires what is due of crons and scheduled runs (behaviour-core C-14).

Every instance does this. What is due is read and its runs are prepared; then one transaction locks the rows that still
are as they were read, writes the runs, and moves the rows on. So two instances never fire the same, and a crash neither
loses nor doubles anything. At rest there is one statement in ``POLL_SECONDS``, whatever the number of rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import orjson
import structlog

from hatchet.core.clock import Clock, Ids
from hatchet.core.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, Unavailable
from hatchet.core.messages import TriggerItem
from hatchet.core.schedules import instants, next_after
from hatchet.engine.bus import Bus
from hatchet.engine.component import Loop
from hatchet.engine.registration import Registration
from hatchet.engine.trigger import Prepared, Refusal, Trigger
from hatchet.store.evaluation_failures import EvaluationFailure, FailureSource, append_failures
from hatchet.store.pool import Connected, Database
from hatchet.store.schedules import (
    DueCron,
    DueRun,
    advance_crons,
    due_crons,
    due_runs,
    lock_crons,
    lock_runs,
    remove_crons,
    runs_started,
    upcoming,
)
from hatchet.store.triggers import Accepted

log = structlog.get_logger("hatchet.engine")

CHANGED = "schedules"
"""Kind of the message that says that something may be due earlier than others know."""

POLL_SECONDS = 2.0
BUSY_SECONDS = 0.25
"""How soon to look again at what another instance has locked, or what could not be fired."""
LATE_SECONDS = 8.0
"""A cron's instant that is older was missed (C-14.3); another instance takes over within 6.5 s."""
BATCH = 1000
ALREADY_TRIGGERED = "Scheduled run has already been triggered."
"""R-16.5"""
SLICE = 100
"""Expressions after which the others in this process get a turn: some 10 ms."""

_Due = TypeVar("_Due", DueCron, DueRun)


@dataclass(slots=True)
class _Plan:
    """What one row starts."""

    items: list[TriggerItem] = field(default_factory=list)
    next_at: float | None = None
    """Of a cron: its next instant."""
    is_broken: bool = False
    """Of a cron: its expression cannot be read any more."""
    prepared: list[Prepared] = field(default_factory=list)
    failures: list[EvaluationFailure] = field(default_factory=list)


class Schedules(Loop):
    """Sleeps until something is due, and fires it."""

    def __init__(
        self, database: Database, registration: Registration, trigger: Trigger, bus: Bus, clock: Clock, ids: Ids
    ) -> None:
        super().__init__("schedules", POLL_SECONDS)
        self._database = database
        self._registration = registration
        self._trigger = trigger
        self._bus = bus
        self._clock = clock
        self._ids = ids
        bus.on(CHANGED, lambda _: self.nudge())
        bus.on_resync(self.nudge)

    def changed(self) -> None:
        """Something was made or changed: it may be due before what all instances wait for (C-14.8)."""
        self.nudge()
        self._bus.publish(CHANGED)

    async def turn(self) -> None:
        """Fire what is due, then sleep until the next."""
        self.pause = POLL_SECONDS
        now = self._clock.now()
        found = await upcoming(self._database)
        is_due = False
        if found.cron_at is not None and found.cron_at <= now:
            is_due = True
            await self._fire(now, due_crons, self._fire_crons)
        if found.scheduled_at is not None and found.scheduled_at <= now:
            is_due = True
            await self._fire(now, due_runs, self._start_runs)
        if is_due:
            found = await upcoming(self._database)
        if found.at is not None:
            # A millisecond more: a sleep that ends too early costs another look.
            left = found.at - self._clock.now() + 0.001
            self.pause = min(POLL_SECONDS, left if left > 0 or found.at > now else BUSY_SECONDS)
            self.pause = max(self.pause, 0.001)

    async def start_now(self, run: DueRun) -> str:
        """Start a scheduled run before its time (C-14.27); the id of its run.

        Raises FailedPrecondition when it was started meanwhile or another run holds its idempotency key, and what the
        trigger refuses.
        """
        now = self._clock.now()
        [made] = await self._trigger.prepare(run.tenant_id, [_item_of_run(run)], now)
        if isinstance(made, Refusal):
            raise made.error
        plan = _Plan(prepared=[made])
        async with self._writing() as lot:
            if not await lock_runs(lot.transaction, [run.id], float("inf")):
                raise FailedPrecondition(ALREADY_TRIGGERED)
            run_id = _run_of(plan, await lot.write([plan]))
            if run_id is None:
                raise FailedPrecondition("The run was not started: another run holds its idempotency key.")
            await runs_started(lot.transaction, {run.id: run_id}, now)
        return run_id

    async def _fire(
        self,
        now: float,
        read: Callable[[Database, float, int, Sequence[str]], Awaitable[list[_Due]]],
        fire: Callable[[Sequence[_Due]], Awaitable[int]],
    ) -> None:
        """Fire lots until nothing is left that this instance can fire; tenants that are too far behind wait."""
        overrun: set[str] = set()
        while True:
            due = await read(self._database, now, BATCH, sorted(overrun))
            behind = {tenant for tenant in {row.tenant_id for row in due} if self._is_behind(tenant)}
            overrun |= behind
            fired = await self._halving([row for row in due if row.tenant_id not in behind], fire)
            if len(due) < BATCH or (not fired and not behind):
                return

    async def _halving(self, due: Sequence[_Due], fire: Callable[[Sequence[_Due]], Awaitable[int]]) -> int:
        """Fire the lot; one that fails is halved until the culprit stands alone, and is put aside."""
        if not due:
            return 0
        try:
            return await fire(due)
        except Unavailable:
            raise
        except Exception as error:
            if len(due) == 1:
                return await self._put_aside(due[0], error)
            middle = len(due) // 2
            return await self._halving(due[:middle], fire) + await self._halving(due[middle:], fire)

    async def _put_aside(self, row: DueCron | DueRun, error: Exception) -> int:
        """Let the others go on without it; how many rows are not due any more."""
        kind = "cron" if isinstance(row, DueCron) else "scheduled run"
        if isinstance(error, ResourceExhausted):
            log.warning("a tenant is too far behind, its schedule waits", tenant=row.tenant_id, reason=error.message)
            return 0
        log.error(f"a {kind} could not start its run", id=row.id, workflow=row.workflow, exc_info=error)
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            if isinstance(row, DueRun):
                await runs_started(transaction, {row.id: None}, now)
            elif await lock_crons(transaction, [row]):
                await advance_crons(transaction, {row.id: next_after(row.expression, row.time_zone, now)})
        return 1

    def _is_behind(self, tenant_id: str) -> bool:
        try:
            self._trigger.refuse_overflow(tenant_id, 0)
        except ResourceExhausted:
            return True
        return False

    async def _fire_crons(self, crons: Sequence[DueCron]) -> int:
        now = self._clock.now()
        plans: list[_Plan] = []
        for number, cron in enumerate(crons, start=1):
            plans.append(_planned_cron(cron, now))
            if number % SLICE == 0:
                await asyncio.sleep(0)
        await self._prepare(crons, plans, now)
        async with self._writing() as lot:
            locked = await lock_crons(lot.transaction, crons)
            mine = [(cron, plan) for cron, plan in zip(crons, plans, strict=True) if cron.id in locked]
            await lot.write([plan for _, plan in mine])
            broken = [cron for cron, plan in mine if plan.is_broken]
            await advance_crons(lot.transaction, {cron.id: plan.next_at for cron, plan in mine})
            if broken:
                await remove_crons(lot.transaction, [cron.id for cron in broken])
        for cron in broken:
            log.error("a cron was deleted: its expression cannot be read", id=cron.id, expression=cron.expression)
        return len(mine)

    async def _start_runs(self, runs: Sequence[DueRun]) -> int:
        plans = [_Plan([] if run.is_dropped else [_item_of_run(run)]) for run in runs]
        now = self._clock.now()
        await self._prepare(runs, plans, now)
        async with self._writing() as lot:
            locked = await lock_runs(lot.transaction, [run.id for run in runs], now)
            mine = [(run, plan) for run, plan in zip(runs, plans, strict=True) if run.id in locked]
            accepted = await lot.write([plan for _, plan in mine])
            await runs_started(lot.transaction, {run.id: _run_of(plan, accepted) for run, plan in mine}, now)
        return len(mine)

    async def _prepare(self, due: Sequence[_Due], plans: Sequence[_Plan], now: float) -> None:
        """Check the items of all plans, a tenant at a time."""
        by_tenant: dict[str, list[tuple[_Due, _Plan, TriggerItem]]] = {}
        for row, plan in zip(due, plans, strict=True):
            for item in plan.items:
                by_tenant.setdefault(row.tenant_id, []).append((row, plan, item))
        for tenant_id, wanted in by_tenant.items():
            made = await self._trigger.prepare(tenant_id, [item for _, _, item in wanted], now)
            for (row, plan, _), one in zip(wanted, made, strict=True):
                if isinstance(one, Prepared):
                    plan.prepared.append(one)
                else:
                    plan.failures += await self._refused(row, one, now)

    async def _refused(self, row: DueCron | DueRun, refusal: Refusal, now: float) -> list[EvaluationFailure]:
        """Nothing starts; that the idempotency key has no value is noted (C-4.33)."""
        version = (await self._registration.latest(row.tenant_id, [row.workflow])).get(row.workflow)
        log.warning("a schedule started no run", id=row.id, workflow=row.workflow, reason=refusal.error.message)
        if version is None or version.idempotency is None:
            return []
        return [
            EvaluationFailure(
                tenant_id=row.tenant_id,
                id=self._ids.new(),
                source=FailureSource.IDEMPOTENCY_KEY,
                subject_id=row.workflow_id,
                expression=version.idempotency.expression,
                error=refusal.error.message,
                failed_at=now,
            )
        ]

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[_Lot]:
        """A transaction for runs; after its commit their owners hear of them."""
        lot = _Lot(self._trigger)
        try:
            async with self._database.transaction() as lot.transaction:
                yield lot
        except Unavailable:
            self._trigger.uncertain(lot.written)
            raise
        self._trigger.committed(lot.written, lot.accepted)


class _Lot:
    """What one transaction writes."""

    def __init__(self, trigger: Trigger) -> None:
        self._trigger = trigger
        self.transaction: Connected
        self.written: list[Prepared] = []
        self.accepted = Accepted({}, {})

    async def write(self, plans: Sequence[_Plan]) -> Accepted:
        """Write the runs and the failures of plans whose rows are locked."""
        self.written = [one for plan in plans for one in plan.prepared]
        if self.written:
            self.accepted = await self._trigger.write(self.transaction, self.written)
        failures = [failure for plan in plans for failure in plan.failures]
        if failures:
            await append_failures(self.transaction, failures)
        return self.accepted


def _planned_cron(cron: DueCron, now: float) -> _Plan:
    """One run for each instant that came and was not missed."""
    since = max(cron.next_at - 0.5, now - LATE_SECONDS)
    try:
        fired = instants(cron.expression, cron.time_zone, since, now, int(LATE_SECONDS) + 1)
        next_at = next_after(cron.expression, cron.time_zone, now)
    except InvalidArgument:
        return _Plan(is_broken=True)
    if cron.is_dropped:
        return _Plan(next_at=next_at)
    return _Plan([item_of_cron(cron, at) for at in fired], next_at)


def item_of_cron(cron: DueCron, at: float) -> TriggerItem:
    """The run of a cron for the instant ``at`` (C-4.25)."""
    planned = datetime.fromtimestamp(int(at), UTC).isoformat().replace("+00:00", "Z")
    metadata = {
        **orjson.loads(cron.additional_metadata),
        "hatchet__cron_expression": cron.expression,
        "hatchet__cron_name": cron.name,
        "hatchet__cron_scheduled_at": planned,
    }
    return TriggerItem(
        workflow_name=cron.workflow,
        input=cron.input,
        additional_metadata=orjson.dumps(metadata).decode(),
        priority=cron.priority,
    )


def _item_of_run(run: DueRun) -> TriggerItem:
    return TriggerItem(
        workflow_name=run.workflow,
        input=run.input,
        additional_metadata=run.additional_metadata,
        priority=run.priority,
        parent_run_id=run.parent_run_id,
        parent_task_id=run.parent_task_id,
        child_index=run.child_index,
        child_key=run.child_key,
    )


def _run_of(plan: _Plan, accepted: Accepted) -> str | None:
    """The run that stands for a scheduled run; None when it came to nothing."""
    for one in plan.prepared:
        if one.work.id not in accepted.collisions:
            return accepted.children.get(one.work.id, one.work.id)
    return None
