"""Engines on a real database without a network: instances that can be stopped or killed, workers driven by the test.

The watch turns twenty times faster than in production, so that a test waits for what it does and not for its pause.
Nothing here sleeps to let things happen: :func:`until` waits for a condition.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
from engine_worker import DEADLINE, TENANT, Worker, until

from hatchet.core.conditions import Action as Does
from hatchet.core.conditions import Condition, Kind
from hatchet.core.definitions import StoredVersion, TaskDefinition, WorkflowDefinition
from hatchet.core.errors import HatchetError
from hatchet.core.event_push import NewEvent
from hatchet.core.history import TaskEvent
from hatchet.core.messages import (
    RunDetails,
    RunFinished,
    TriggerItem,
    WorkerRegistration,
)
from hatchet.core.statuses import RunStatus, TaskEventType
from hatchet.engine.clock import DatabaseClock, UuidIds
from hatchet.engine.publish import Subscription
from hatchet.engine.schedule import TenantScheduler
from hatchet.server import HOT_CONNECTIONS, RELAXED_CONNECTIONS, Engine
from hatchet.settings import Settings
from hatchet.store.pool import Database

OTHER_TENANTS = [f"707d0855-80ab-4e1f-a156-f1c4546cbf6{number}" for number in range(5)]
OTHER_TENANT = OTHER_TENANTS[0]

_GAPS = (TaskEventType.REQUEUED_NO_WORKER,)


def sleep(text: str, does: Does = Does.QUEUE, group: int = 0) -> Condition:
    """A sleep of a task, as a registered duration text; conditions of one group are alternatives."""
    return Condition(kind=Kind.SLEEP, action=does, or_group=group, data_key=f"sleep:{text}", sleep_for=text)


def on_event(
    key: str, does: Does = Does.QUEUE, group: int = 0, *, when: str = "", scope: str | None = None, name: str = ""
) -> Condition:
    """An event that a task waits for; ``when``: an expression over it, ``name``: where the task finds its payload."""
    return Condition(
        kind=Kind.EVENT,
        action=does,
        or_group=group,
        data_key=name or key,
        event_key=key,
        event_scope=scope,
        expression=when,
    )


def on_parent(parent: str, when: str, does: Does = Does.QUEUE, group: int = 0) -> Condition:
    """An expression over the output of a parent."""
    return Condition(kind=Kind.PARENT, action=does, or_group=group, data_key=parent, parent=parent, expression=when)


def waits(*conditions: Condition, parents: Sequence[str] = (), **options: Any) -> dict[str, Any]:
    """The options of a task with parents and conditions, for :meth:`Instance.define_dag`."""
    return {"parents": tuple(parents), "conditions": conditions, **options}


class SkippingClock(DatabaseClock):
    """The production clock, which a test may move forward."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0.0

    def now(self) -> float:
        return super().now() + self._skipped

    def skip(self, seconds: float) -> None:
        self._skipped += seconds


class Ends:
    """What one subscription was told."""

    def __init__(self, instance: Instance) -> None:
        self.told: list[RunFinished] = []
        self.subscription: Subscription = instance.engine.results.open(TENANT, self._deliver)

    def ask(self, *run_ids: str) -> Ends:
        self.subscription.add(run_ids)
        return self

    async def of(self, run_id: str, times: int = 1) -> RunFinished:
        """Wait until the end of the run was told so many times; the last of them."""

        def find() -> RunFinished | None:
            found = [end for end in self.told if end.run_id == run_id]
            return found[times - 1] if len(found) >= times else None

        return await until(find, f"the end of {run_id} is told")  # type: ignore[return-value]

    async def _deliver(self, ends: list[RunFinished]) -> None:
        self.told.extend(ends)


class Instance:
    """One engine with its own connections."""

    def __init__(self, engine: Engine, database: Database, pools: Sequence[Database], clock: SkippingClock) -> None:
        self.engine = engine
        self.database = database
        self._pools = pools
        self.clock = clock
        self.is_over = False

    @property
    def scheduler(self) -> TenantScheduler:
        """The tenant's scheduler, which must run here."""
        found = self.engine.owners.get(TENANT)
        assert isinstance(found, TenantScheduler)
        return found

    @property
    def owns(self) -> bool:
        """Whether the tenant's scheduler runs here and has rebuilt its picture."""
        found = self.engine.owners.get(TENANT)
        return isinstance(found, TenantScheduler) and not found.is_loading

    async def define(self, name: str = "flow", *, default_priority: int | None = None, **options: Any) -> StoredVersion:
        """Register a standalone workflow; ``options`` are those of its task."""
        task = TaskDefinition(**{"readable_id": name, "action": f"{name}:run", **options})
        definition = WorkflowDefinition(name=name, tasks=(task,), default_priority=default_priority)
        return await self.engine.registration.put(TENANT, definition)

    async def define_dag(
        self,
        name: str = "dag",
        /,
        *,
        on_failure: bool | dict[str, Any] = False,
        workflow: dict[str, Any] | None = None,
        **tasks: Sequence[str] | dict[str, Any],
    ) -> StoredVersion:
        """Register a workflow: for each task its parents, or the options of its definition.

        ``on_failure`` adds a task ``on-failure``, with options when they are given.
        """
        made = []
        for readable_id, given in tasks.items():
            options = given if isinstance(given, dict) else {"parents": tuple(given)}
            made.append(TaskDefinition(**{"readable_id": readable_id, "action": f"{name}:{readable_id}", **options}))
        last = None
        if on_failure:
            options = on_failure if isinstance(on_failure, dict) else {}
            last = TaskDefinition(**{"readable_id": "on-failure", "action": f"{name}:on-failure", **options})
        definition = WorkflowDefinition(name=name, tasks=tuple(made), on_failure=last, **(workflow or {}))
        return await self.engine.registration.put(TENANT, definition)

    async def dag_worker(
        self, version: StoredVersion, *, slots: int = 100, is_open: bool = True, completes: bool = False
    ) -> Worker:
        """Register a worker for all tasks of a version; with ``completes`` it does every task it gets."""
        actions = tuple(task.definition.action for task in version.tasks)
        registration = WorkerRegistration(name="a worker", actions=actions, slots={"default": slots})
        worker = Worker(self, await self.engine.workers.register(TENANT, registration))
        if completes:
            worker.completes()
        return await worker.open() if is_open else worker

    async def run(self, name: str = "flow", **fields: Any) -> str:
        [run_id] = await self.engine.trigger.trigger(TENANT, [TriggerItem(workflow_name=name, **fields)])
        return run_id

    async def run_many(self, count: int, name: str = "flow", **fields: Any) -> list[str]:
        return await self.engine.trigger.trigger(TENANT, [TriggerItem(workflow_name=name, **fields)] * count)

    async def worker(
        self, *names: str, slots: int | dict[str, int] = 10, is_open: bool = True, completes: bool = False
    ) -> Worker:
        """Register a worker for the workflows of these names; with ``completes`` it does every task it gets."""
        capacity = slots if isinstance(slots, dict) else {"default": slots}
        actions = tuple(f"{name}:run" for name in names or ("flow",))
        registration = WorkerRegistration(name="a worker", actions=actions, slots=capacity)
        worker = Worker(self, await self.engine.workers.register(TENANT, registration))
        if completes:
            worker.completes()
        return await worker.open() if is_open else worker

    async def push(self, key: str, payload: str = "{}", *, scope: str | None = None) -> str:
        """Push an event; its id."""
        [record] = await self.engine.events.push(TENANT, [NewEvent(key=key, payload=payload, scope=scope)])
        return record.id

    async def cancel(self, *ids: str) -> list[str]:
        return await self.engine.control.cancel(TENANT, ids)

    async def replay(self, *ids: str) -> list[str]:
        return await self.engine.replay.replay(TENANT, ids)

    async def details(self, run_id: str) -> RunDetails:
        return await self.engine.reading.run_details(TENANT, run_id)

    async def status(self, run_id: str) -> RunStatus:
        return (await self.details(run_id)).status

    async def ended(self, run_id: str, status: RunStatus) -> RunDetails:
        """Wait for the run's end and check how it ended."""

        async def find() -> RunDetails | None:
            found = await self.details(run_id)
            return found if found.done else None

        details: RunDetails = await until(find, f"{run_id} ends")  # type: ignore[assignment]
        assert details.status is status
        return details

    async def history(self, run_id: str) -> list[TaskEvent]:
        return list((await self.engine.views.task(TENANT, run_id)).events)

    async def event_names(self, run_id: str) -> list[str]:
        """The history, without how long nobody served the action: that depends on when a worker came."""
        return [event.type.value for event in await self.history(run_id) if event.type not in _GAPS]

    def ends(self, *run_ids: str) -> Ends:
        """A new subscription that asks for these runs."""
        return Ends(self).ask(*run_ids)

    def free(self, worker: Worker, kind: str = "default") -> int:
        """The free units of a worker in the scheduler's picture."""
        slots = self.scheduler.pool.get(worker.id)
        assert slots is not None
        return slots.free[kind]

    async def lose(self, worker: Worker, *alive: Worker) -> None:
        """The worker dies and 31 s pass, in which the others beat."""
        await worker.die()
        self.clock.skip(31)
        for other in alive:
            await other.beat()

    async def pass_time(self, seconds: float, *alive: Worker) -> None:
        """That many seconds pass, in which these workers beat: sleeps and retry delays end, the watch looks."""
        left = seconds
        while left > 0:
            step = min(left, 10.0)
            left -= step
            self.clock.skip(step)
            for worker in alive:
                await worker.beat()
        self.scheduler.runs._sleeps.ring()
        self.scheduler.durable._time_passed()
        self.scheduler._time_passed()
        await self.watched()

    async def outcomes(self, run_id: str) -> dict[str, str]:
        """What became of each task of a run: its output, or its status and error."""
        details = await self.details(run_id)
        return {task.readable_id: task.output or f"{task.status.value}:{task.error or ''}" for task in details.tasks}

    async def task_ids(self, run_id: str) -> dict[str, str]:
        """Readable id to task id, of the tasks that exist."""
        return {task.readable_id: task.task_id for task in (await self.details(run_id)).tasks}

    async def empty(self) -> None:
        """Wait until nothing of what has ended is held in memory any more."""
        await until(lambda: not self.held(), "memory is empty")

    def held(self) -> dict[str, int]:
        """How many entries each part of the owner's memory holds, of those that hold any."""
        scheduler, engine = self.scheduler, self.engine
        runs = scheduler.runs
        waits = runs.waits
        sizes = {
            "runs": len(runs),
            "open runs": len(engine.runs) + engine.runs._size,
            "waits": len(waits) + len(waits._by_key) + len(waits._by_run),
            "sleeps": len(runs._sleeps) + len(runs._sleeps._by_run),
            "unsettled": len(runs._unsettled),
            "unwritten": len(runs._writes),
            "reopened": len(runs._reopened),
            "flights": len(engine.flights) + len(scheduler.flying),
            "ready": len(scheduler.queues) + len(scheduler.backoff) + len(scheduler._assigning._placing),
            "at the gates": len(scheduler.gates) + len(scheduler.gates._runs) + len(scheduler.gates._outrun_ids),
            "places": len(scheduler.gates.concurrency) + len(scheduler.gates.concurrency._groups),
            "units": len(scheduler.gates.parked) + len(scheduler.gates._promised),
            "batches": len(scheduler.gates.batches) + len(scheduler._batches),
            "touched": len(scheduler.touched_ids),
            "payloads": len(engine.payloads._by_task) + engine.payloads._size,
            "watchers": len(engine.results._watchers),
            "durable waits": len(scheduler.durable._by_task) + len(scheduler.durable._by_event),
            "durable children": len(scheduler.durable._by_run),
            "durable requests": len(engine.durable_streams._chains),
        }
        return {name: size for name, size in sizes.items() if size}

    async def watched(self, turns: int = 2) -> None:
        """Wait until the tenant's watch has looked at everything from now on."""
        looking = self.engine.ownership._owned[TENANT].watch
        enough = looking._turns + turns
        await until(lambda: looking._turns >= enough, "the watch looks")

    async def rows(self, query: str, *args: object) -> list[asyncpg.Record]:
        """What the tables say."""
        async with self.database.transaction() as transaction:
            return await transaction.raw.fetch(query, *args)

    async def stop(self) -> None:
        """An orderly end: leases are given back."""
        if not self.is_over:
            self.is_over = True
            self.engine.dispatch.close_all()
            try:
                await asyncio.wait_for(self.engine.stop(), DEADLINE)
                for pool in self._pools:
                    await asyncio.wait_for(pool.close(), DEADLINE)
            finally:
                self._terminate()

    async def kill(self) -> None:
        """As much of kill -9 as one process allows: everything stops where it is and nothing more is written."""
        self.is_over = True
        self._terminate()
        engine = self.engine
        tasks = [
            part._task
            for part in (
                engine.leases,
                engine.bus,
                engine.results,
                engine.workers,
                engine.sweep,
                engine.schedules,
                engine.durable_streams,
            )
        ]
        for owned in engine.ownership._owned.values():
            if owned.scheduler._timer is not None:
                owned.scheduler._timer.cancel()
            owned.scheduler.runs._sleeps.stop()
            owned.scheduler.runs.waits._is_stopped = True
            durable = owned.scheduler.durable
            durable._is_stopped = True
            if durable._timer is not None:
                durable._timer.cancel()
            tasks += [owned.scheduler._task, owned.watch._task, owned.recovery]
        alive = {task for task in tasks if task is not None}
        # Again and again: who is in the middle of a statement may hear of a broken connection and not of its end.
        while alive := {task for task in alive if not task.done()}:
            for task in alive:
                task.cancel()
            await asyncio.wait(alive, timeout=0.2)

    def _terminate(self) -> None:
        for pool in self._pools:
            pool._pool.terminate()


class World:
    """The instances and workers of one test."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.instances: list[Instance] = []
        self.settings = Settings.from_environment({})

    async def engine(
        self, *, owns: bool = True, settings: dict[str, str] | None = None, skipped: float = 0.0
    ) -> Instance:
        """Start an instance; with ``owns``, wait until it schedules for the tenant."""
        database = await Database.open(self.dsn, max_connections=6)
        hot = await Database.open(self.dsn, max_connections=HOT_CONNECTIONS, hot=True)
        relaxed = await Database.open(self.dsn, max_connections=RELAXED_CONNECTIONS, hot=True, relaxed=True)
        clock = SkippingClock()
        clock.skip(skipped)
        chosen = Settings.from_environment(settings) if settings else self.settings
        engine = Engine(chosen, database, hot, relaxed, clock, UuidIds())
        instance = Instance(engine, database, [database, hot, relaxed], clock)
        self.instances.append(instance)
        if len(self.instances) == 1:
            await self._add_tenants(database)
        await clock.measure(database)
        await instance.engine.start()
        if owns:
            await until(lambda: instance.owns, "the instance owns the tenant")
        return instance

    async def close(self) -> None:
        for instance in self.instances:
            if not instance.is_over:
                with contextlib.suppress(HatchetError):
                    await instance.stop()

    async def _add_tenants(self, database: Database) -> None:
        async with database.transaction() as transaction:
            await transaction.raw.execute(
                "INSERT INTO tenant (id, name, slug, created_at) "
                "SELECT name::uuid, name, name, to_timestamp(0) FROM unnest($1::text[]) AS name",
                [TENANT, *OTHER_TENANTS],
            )


@contextlib.asynccontextmanager
async def a_world(dsn: str) -> AsyncIterator[World]:
    """Engines on that database; at the end of the block all of them, their workers and subscriptions are gone."""
    made = World(dsn)
    try:
        yield made
    finally:
        await made.close()
        mine = {"Worker._beat_for_ever", "Dispatch.listen", "Subscription._pump"}
        left = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") in mine]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
