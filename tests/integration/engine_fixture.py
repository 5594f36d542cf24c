"""Engines on a real database without a network: instances that can be stopped or killed, workers driven by the test.

The watch turns twenty times faster than in production, so that a test waits for what it does and not for its pause.
Nothing here sleeps to let things happen: :func:`until` waits for a condition.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg

from hatchet.core.definitions import StoredVersion, TaskDefinition, WorkflowDefinition
from hatchet.core.errors import HatchetError
from hatchet.core.history import TaskEvent
from hatchet.core.messages import (
    Action,
    ActionKind,
    ReportKind,
    RunDetails,
    RunFinished,
    TaskReport,
    TriggerItem,
    WorkerRegistration,
)
from hatchet.core.statuses import RunStatus
from hatchet.engine.clock import DatabaseClock, UuidIds
from hatchet.engine.publish import Subscription
from hatchet.engine.schedule import TenantScheduler
from hatchet.server import RELAXED_CONNECTIONS, Engine
from hatchet.settings import Settings
from hatchet.store.pool import Database

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
OTHER_TENANTS = [f"707d0855-80ab-4e1f-a156-f1c4546cbf6{number}" for number in range(5)]
OTHER_TENANT = OTHER_TENANTS[0]
DEADLINE = 30.0

T = TypeVar("T")


async def until(condition: Callable[[], T | Awaitable[T]], what: str, seconds: float = DEADLINE) -> T:
    """Wait until ``condition`` gives something true, and return that."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        found: Any = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found  # type: ignore[no-any-return]
        if loop.time() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what}")
        await asyncio.sleep(0.005)


class SkippingClock(DatabaseClock):
    """The production clock, which a test may move forward."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0.0

    def now(self) -> float:
        return super().now() + self._skipped

    def skip(self, seconds: float) -> None:
        self._skipped += seconds


class Worker:
    """A worker without a network: it notes what it is sent, and says what the test wants said."""

    def __init__(self, instance: Instance, worker_id: str) -> None:
        self.instance = instance
        self.id = worker_id
        self.actions: list[Action] = []
        self.send_error: Exception | None = None
        """Raised by the stream instead of taking the next action."""
        self.takes = asyncio.Event()
        """While cleared the stream takes nothing and does not fail."""
        self.takes.set()
        self._answer: Callable[[Action], Awaitable[None]] | None = None
        self._stream: asyncio.Task[None] | None = None
        self._beats: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()

    @property
    def starts(self) -> list[Action]:
        return [action for action in self.actions if action.kind is ActionKind.START]

    @property
    def cancels(self) -> list[Action]:
        return [action for action in self.actions if action.kind is ActionKind.CANCEL]

    async def open(self, instance: Instance | None = None) -> Worker:
        """Open a stream (to another instance, if one is given) and beat from then on."""
        self.instance = instance or self.instance
        workers = self.instance.engine.workers
        record = workers.get(self.id)
        before = record.sessions if record is not None else 0
        self._stream = asyncio.create_task(self.instance.engine.dispatch.listen(TENANT, self.id, self._take))

        def is_open() -> bool:
            assert self._stream is not None
            if self._stream.done():
                self._stream.result()
            known = workers.get(self.id)
            return known is not None and known.sessions > before and known.row.listener_instance is not None

        await until(is_open, "the stream opens")
        if self._beats is None:
            self._beats = asyncio.create_task(self._beat_for_ever())
        return self

    async def close_stream(self) -> None:
        """The connection breaks; the worker lives and beats."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()
            with contextlib.suppress(asyncio.CancelledError, HatchetError, ConnectionError):
                await stream

    async def stream_ended(self) -> None:
        """Wait until the server ended the stream."""
        assert self._stream is not None
        await asyncio.wait_for(asyncio.shield(self._stream), DEADLINE)

    async def fall_silent(self) -> None:
        """No more heartbeats."""
        beats, self._beats = self._beats, None
        if beats is not None:
            beats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beats

    async def die(self) -> None:
        """Stream and heartbeats are gone, as after kill -9."""
        await self.fall_silent()
        await self.close_stream()

    async def beat(self) -> None:
        await self.instance.engine.workers.heartbeat(TENANT, self.id)

    def answers(self, answer: Callable[[Action], Awaitable[None]]) -> None:
        """Do this with every START from now on."""
        self._answer = answer

    def completes(self) -> None:
        """Answer every START with an output."""
        self.answers(self.complete)

    async def started(self, task_id: str, attempt: int = 0) -> Action:
        """Wait for the START of an attempt."""

        def find() -> Action | None:
            for action in self.starts:
                if action.task_id == task_id and action.retry_count == attempt:
                    return action
            return None

        return await until(find, f"attempt {attempt} of {task_id} arrives")  # type: ignore[return-value]

    async def cancelled(self, task_id: str, attempt: int = 0) -> Action:
        """Wait for the CANCEL of an attempt."""

        def find() -> Action | None:
            for action in self.cancels:
                if action.task_id == task_id and action.retry_count == attempt:
                    return action
            return None

        return await until(find, f"the cancel of attempt {attempt} of {task_id} arrives")  # type: ignore[return-value]

    async def complete(self, action: Action, output: str = '{"ok":true}') -> None:
        await self.say(action, ReportKind.COMPLETED, output)

    async def fail(self, action: Action, error: str = "boom", **fields: Any) -> None:
        await self.say(action, ReportKind.FAILED, error, **fields)

    async def say(self, action: Action, kind: ReportKind, payload: str = "", **fields: Any) -> None:
        """Report something about an attempt."""
        fields = {"retry_count": action.retry_count, "at": self.instance.clock.now(), **fields}
        report = TaskReport(task_id=action.task_id, kind=kind, payload=payload, **fields)
        await self.instance.engine.reports.report(TENANT, report)

    async def _take(self, action: Action) -> None:
        if self.send_error is not None:
            raise self.send_error
        await self.takes.wait()
        self.actions.append(action)
        if self._answer is not None and action.kind is ActionKind.START:
            task = asyncio.ensure_future(self._answer(action))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _beat_for_ever(self) -> None:
        while True:
            with contextlib.suppress(HatchetError):
                await self.beat()
            await asyncio.sleep(0.5)


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
        return await self.engine.reading.history(TENANT, run_id)

    async def event_names(self, run_id: str) -> list[str]:
        return [event.type.value for event in await self.history(run_id)]

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
        tasks = [part._task for part in (engine.leases, engine.bus, engine.results, engine.workers, engine.sweep)]
        for owned in engine.ownership._owned.values():
            if owned.scheduler._timer is not None:
                owned.scheduler._timer.cancel()
            tasks += [owned.scheduler._task, owned.watch._task, owned.recovery]
        alive = [task for task in tasks if task is not None]
        for task in alive:
            task.cancel()
        await asyncio.gather(*alive, return_exceptions=True)

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
        hot = await Database.open(self.dsn, max_connections=4, hot=True)
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
