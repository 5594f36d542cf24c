"""Rebuilds a tenant's scheduler from rows at take-over: what runs, what waits for a delay, what waits for a worker.

The lease was taken before anything is read here, so the previous owner's writes are either visible or fenced off.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import structlog

from hatchet.core.ids import lowest_at
from hatchet.core.ready_task import ReadyTask
from hatchet.engine.adoption import adopt
from hatchet.engine.memory import Flight
from hatchet.engine.pausing import Pausing
from hatchet.engine.rebuild import Rebuild, batch_of, flight_of, ready_task
from hatchet.engine.registration import Registration
from hatchet.engine.run_facts import RunFacts
from hatchet.engine.schedule import TenantScheduler
from hatchet.engine.workers import Workers
from hatchet.store.pool import Database, Row
from hatchet.store.runs import open_runs, reopened, resolve_ids

log = structlog.get_logger("hatchet.engine")

PAGE = 20_000
RUN_PAGE = 500
NAMES_PAGE, STATES_PAGE = 10_000, 1000
NOTHING = lowest_at(0)


async def recover(
    scheduler: TenantScheduler,
    database: Database,
    registration: Registration,
    workers: Workers,
    rebuild: Rebuild,
    run_facts: RunFacts,
    pausing: Pausing,
) -> None:
    """Fill an empty scheduler from the rows and let it begin."""
    tenant_id = scheduler.tenant_id
    since = scheduler.lease.low_watermark or NOTHING
    await pausing.refresh(tenant_id)
    await scheduler.limit_rows.read_all()
    open_rows = await _known(registration, await database.fetch("task_open_assignments", tenant_id, since))
    await workers.refresh(tenant_id, list({str(row["worker_id"]) for row in open_rows}))
    running = await _tasks(registration, open_rows, "assigned_at")
    for row, task in zip(open_rows, running, strict=True):
        scheduler.fly(_flight(tenant_id, row, task))
    retry_rows = await _known(registration, await database.fetch("task_open_retries", tenant_id, since))
    retries = await _tasks(registration, retry_rows, "ready_at")
    for row, task in zip(retry_rows, retries, strict=True):
        if row["is_evicted"]:
            # It never left its groups (D-19.6), and whoever owned it may have died before restoring it (D-29.6).
            scheduler.gates.holds(task)
            scheduler.durable.evicted(task.id)
    waiting = await _load_waiting(scheduler, database, registration, since, retries)
    scheduler.loaded()
    runs = await _load_runs(scheduler, database, run_facts, since)
    named = await _load_reopened(scheduler, database, registration, rebuild, run_facts)
    scheduler.filled()
    log.info(
        "scheduling for a tenant",
        tenant=tenant_id,
        epoch=scheduler.lease.epoch,
        running=len(open_rows),
        retrying=len(retry_rows),
        waiting=waiting,
        runs=runs,
        named=named,
    )


async def _load_runs(scheduler: TenantScheduler, database: Database, run_facts: RunFacts, since: str) -> int:
    """Runs of several tasks; what is ready in them goes into the queues."""
    cursor, count = since, 0
    while True:
        run_ids = await open_runs(database, scheduler.tenant_id, cursor, RUN_PAGE)
        adopt(scheduler, await run_facts.load(scheduler.tenant_id, run_ids))
        count += len(run_ids)
        if len(run_ids) < RUN_PAGE:
            return count
        cursor = run_ids[-1]


async def _load_reopened(
    scheduler: TenantScheduler,
    database: Database,
    registration: Registration,
    rebuild: Rebuild,
    run_facts: RunFacts,
) -> int:
    """What was replayed or evicted may be older than everything else; how many names there are."""
    cursor, count = NOTHING, 0
    while True:
        names = await reopened(database, scheduler.tenant_id, cursor, NAMES_PAGE)
        for name, at in names.items():
            scheduler.runs.reopened(name, at)
        await _load_evicted(scheduler, database, registration, [name for name in names if not scheduler.knows(name)])
        others = [name for name in names if not scheduler.knows(name)]
        for start in range(0, len(others), STATES_PAGE):
            await _load_named(scheduler, database, rebuild, run_facts, others[start : start + STATES_PAGE])
        count += len(names)
        if len(names) < NAMES_PAGE:
            return count
        cursor = list(names)[-1]


async def _load_evicted(
    scheduler: TenantScheduler, database: Database, registration: Registration, ids: Sequence[str]
) -> None:
    """Those of the named tasks that are evicted, which may be very many: one statement, and nothing else of them."""
    with scheduler.meanwhile.reading() as ended:
        rows = await database.fetch("task_evicted", scheduler.tenant_id, ids) if ids else []
        tasks = await _tasks(registration, rows, "ready_at")
    fresh = [task for task in tasks if task.id not in ended and not scheduler.knows(task.id)]
    scheduler.durable.load([task.id for task in fresh])
    for task in fresh:
        scheduler.enqueue(task, was_evicted=True)


async def _load_named(
    scheduler: TenantScheduler, database: Database, rebuild: Rebuild, run_facts: RunFacts, ids: Sequence[str]
) -> None:
    tenant_id = scheduler.tenant_id
    resolved = await resolve_ids(database, tenant_id, ids)
    with scheduler.meanwhile.reading() as ended:
        loaded = await run_facts.load(tenant_id, [one.id for one in resolved if one.is_run])
        states = await rebuild.states(tenant_id, [one.id for one in resolved if one.run_id is None])
    adopt(scheduler, [run for run in loaded if run.row.id not in ended])
    for state, task in states:
        if state.ended is not None:
            scheduler.runs.closed(task.id)
        elif state.id in ended:
            # Something was heard of it while its rows were read: they are read again.
            scheduler.touched([state.id])
        elif not scheduler.knows(task.id):
            flight = flight_of(tenant_id, state, task)
            if flight is not None:
                scheduler.fly(flight)
            else:
                scheduler.enqueue(task, was_evicted=state.is_evicted)


async def _load_waiting(
    scheduler: TenantScheduler, database: Database, registration: Registration, since: str, retries: list[ReadyTask]
) -> int:
    """First attempts, and between them the retries that were ready before: schedule timeouts pass in that order.

    A first attempt that waited for the end of a pause has its place in that order, too.
    """
    later = [(scheduler.held.ready_at(task), task.id, task) for task in retries]
    heapify(later)
    cursor, count = since, 0
    while True:
        rows = await database.fetch("task_never_assigned", scheduler.tenant_id, cursor, PAGE)
        for task in await _tasks(registration, rows, "ready_at"):
            ready_at = scheduler.held.ready_at(task)
            heappush(later, (ready_at, task.id, task))
            while later and later[0][0] <= task.ready_at:
                scheduler.enqueue(heappop(later)[2])
        count += len(rows)
        if len(rows) < PAGE:
            break
        cursor = str(rows[-1]["id"])
    while later:
        scheduler.enqueue(heappop(later)[2])
    return count


async def ready_tasks(registration: Registration, rows: Sequence[Row]) -> list[ReadyTask]:
    """First attempts from rows with id, version_id, priority and ready_at."""
    return await _tasks(registration, rows, "ready_at")


async def _tasks(registration: Registration, rows: Sequence[Row], ready_column: str) -> list[ReadyTask]:
    versions = await registration.versions({str(row["version_id"]) for row in rows})
    has_attempts = bool(rows) and "attempt" in rows[0]
    return [
        ready_task(
            versions[str(row["version_id"])],
            str(row["step_id"]),
            row["labels"],
            id=str(row["id"]),
            limits=row["limits"],
            desired_worker=str(row["desired_worker_id"]) if row["desired_worker_id"] is not None else None,
            run_id=str(row["run_id"]) if row["run_id"] is not None else None,
            priority=row["priority"],
            ready_at=row[ready_column],
            attempt=row["attempt"] if has_attempts else 0,
            app_retries=row["app_retries"] if has_attempts else 0,
            internal_retries=row["internal_retries"] if has_attempts else 0,
            evictions=row["evictions"] if has_attempts else 0,
        )
        for row in await _known(registration, rows)
    ]


async def _known(registration: Registration, rows: Sequence[Row]) -> list[Row]:
    """The rows whose version exists: one damaged row must not keep the others from going on (design invariant 7)."""
    versions = await registration.versions({str(row["version_id"]) for row in rows})
    known = [row for row in rows if str(row["version_id"]) in versions]
    if len(known) < len(rows):
        log.error("tasks without a version of their workflow are left alone", tasks=len(rows) - len(known))
    return known


def _flight(tenant_id: str, row: Row, task: ReadyTask) -> Flight:
    flight = Flight(tenant_id, task, str(row["worker_id"]), row["assigned_at"], row["timeout_at"])
    flight.started_at = row["started_at"]
    flight.is_confirmed = row["started_at"] is not None
    flight.is_released = row["is_released"]
    flight.batch = batch_of(task, str(row["batch_id"]) if row["batch_id"] is not None else None, row["assigned_at"])
    return flight
