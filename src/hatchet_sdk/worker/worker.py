"""`Worker`: what an application starts to have its tasks run.

Light to import: everything that needs grpc is imported by `start`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from hatchet_sdk.exceptions import LifespanSetupError, LoopAlreadyRunningError
from hatchet_sdk.wire.loop_thread import connection_thread
from hatchet_sdk.worker.errors import WorkerRegistrationError
from hatchet_sdk.worker.logs import show_unless_configured
from hatchet_sdk.worker.signals import StopSignals

if TYPE_CHECKING:
    from hatchet_contracts.v1.workflows_pb2 import CreateWorkflowVersionRequest
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.declare.base import BaseWorkflow
    from hatchet_sdk.declare.task import Task
    from hatchet_sdk.worker.attempt import Handler
    from hatchet_sdk.worker.life import Life

logger = logging.getLogger("hatchet.worker")

LifespanFn = Callable[[], AsyncGenerator[Any, Any]]

# C-2.7
DEFAULT_SLOTS = {"default": 100, "durable": 1000}
CANCELLED_TASKS_SECONDS = 1.0


class WorkerStatus(Enum):
    """How the worker is: HEALTHY while its connection works, UNHEALTHY while it is broken."""

    INITIALIZED = 1
    STARTING = 2
    HEALTHY = 3
    UNHEALTHY = 4


@dataclass
class WorkerStartOptions:
    """Options of `Worker.start`.

    Attributes:
        loop: an event loop that does not run, to run async tasks on; without it the worker makes one.
    """

    loop: asyncio.AbstractEventLoop | None = None


class Worker:
    """Runs the tasks of the workflows that are registered on it. Made by `Hatchet.worker`.

    Args:
        name: shown in the dashboard; the namespace is put before it.
        config: where the engine is.
        slot_config: slots by type: how many tasks run at once, `default` ones and `durable` ones.
        labels: labels for affinity; `worker_preset_labels` of the configuration come below them.
        debug: whether the log shows every detail.
        handle_kill: whether SIGINT and SIGTERM stop the worker in good order while `start` runs.
        workflows: registered like by `register_workflows`.
        lifespan: an async generator that yields once; the value is `ctx.lifespan`.
    """

    def __init__(
        self,
        name: str,
        config: ClientConfig,
        slot_config: dict[str, int],
        labels: dict[str, str | int] | None = None,
        debug: bool = False,
        handle_kill: bool = True,
        workflows: list[BaseWorkflow[Any]] | None = None,
        lifespan: LifespanFn | None = None,
    ) -> None:
        self.config = config
        self.name = config.apply_namespace(name)
        self.slot_config = dict(slot_config)
        self.labels: dict[str, str | int] = {**config.worker_preset_labels, **(labels or {})}
        self.debug = debug
        self.handle_kill = handle_kill
        self.lifespan = lifespan
        self.lifespan_stack: AsyncExitStack | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.owned_loop = False
        self.killing = False
        self.action_registry: dict[str, Task[Any, Any]] = {}
        self._requests: dict[str, CreateWorkflowVersionRequest] = {}
        self._status = WorkerStatus.INITIALIZED
        self._life: Life | None = None
        self._serving: asyncio.Task[None]
        self._ended = threading.Event()
        self._signal: int | None = None
        self._threads_left = False
        if workflows:
            self.register_workflows(workflows)

    @property
    def status(self) -> WorkerStatus:
        return self._status

    @property
    def slots(self) -> int:
        """How many non-durable tasks run at once."""
        return self.slot_config.get("default", DEFAULT_SLOTS["default"])

    @property
    def durable_slots(self) -> int:
        """How many durable tasks run at once."""
        return self.slot_config.get("durable", DEFAULT_SLOTS["durable"])

    # --- what it runs --------------------------------------------------------------------------------------------

    def register_workflow(self, workflow: BaseWorkflow[Any]) -> None:
        """Adds a workflow or a standalone task. The engine hears of it when the worker starts.

        Raises:
            ValueError: the workflow has no task.
        """
        tasks = list(workflow.tasks)
        if not tasks:
            raise ValueError(f"workflow {workflow.name!r} has no tasks: declare one before it is registered")
        self._requests[workflow.name] = workflow.to_proto()
        for task in tasks:
            self.action_registry[task.action_name(workflow.service_name)] = task

    def register_workflows(self, workflows: list[BaseWorkflow[Any]]) -> None:
        """Adds several workflows or standalone tasks."""
        for workflow in workflows:
            self.register_workflow(workflow)

    async def aio_register_workflow(self, workflow: BaseWorkflow[Any]) -> None:
        """Like `register_workflow`."""
        self.register_workflow(workflow)

    def register_workflow_from_opts(self, opts: CreateWorkflowVersionRequest) -> None:
        """Adds a definition in the form of the wire; its functions are registered by other means, or elsewhere."""
        self._requests[opts.name] = opts

    # --- start and stop ------------------------------------------------------------------------------------------

    def start(self, options: WorkerStartOptions | None = None) -> None:
        """Registers everything and runs tasks until the worker is told to stop; then returns.

        The first SIGINT or SIGTERM stops it in good order: no new tasks, the running ones end. The second cancels what
        runs and ends the process with the status 128 + number of the signal. (Only if called on the main thread.)

        Raises:
            WorkerRegistrationError: nothing is registered, or the engine refused something.
            LifespanSetupError: the lifespan failed before the first task.
            LoopAlreadyRunningError: called from a coroutine: it would block that loop.
            RuntimeError: this worker runs already.
        """
        self._check_startable()
        self.loop = loop = self._choose_loop(options)
        show_unless_configured(debug=self.debug)
        self._status = WorkerStatus.STARTING
        self._ended.clear()
        self._signal, self.killing = None, False
        signals = StopSignals(first=self._stop_soon, second=self._stop_now)
        try:
            with signals if self.handle_kill else contextlib.nullcontext():
                self._run(loop)
        finally:
            self._life, self._status = None, WorkerStatus.INITIALIZED
            if self.owned_loop:
                _close(loop)
            if not self._threads_left:
                signals.disarm()
            self._ended.set()
        if self._signal is not None:
            raise SystemExit(128 + self._signal)

    async def exit_gracefully(self) -> None:
        """Stops the worker like the first signal does.

        Returns when it has stopped; on the worker's own loop, for instance in a task, at once: that loop ends with it.
        """
        if self._life is None:
            return
        own_loop = asyncio.get_running_loop() is self.loop
        self._stop_soon()
        if not own_loop:
            await asyncio.to_thread(self._ended.wait)

    def _check_startable(self) -> None:
        if not self.action_registry:
            raise WorkerRegistrationError(
                f"worker {self.name!r} has nothing to run: pass workflows=[…] to hatchet.worker() or call"
                " register_workflow() before start()"
            )
        if self._status is not WorkerStatus.INITIALIZED:
            raise RuntimeError(f"worker {self.name!r} runs already")

    def _choose_loop(self, options: WorkerStartOptions | None) -> asyncio.AbstractEventLoop:
        if asyncio._get_running_loop() is not None:
            raise LoopAlreadyRunningError(
                "Worker.start() blocks and cannot be called from a coroutine; call it without a running event loop, or"
                " in a thread of its own"
            )
        given = options.loop if options is not None else None
        if given is not None and given.is_running():
            raise LoopAlreadyRunningError("the event loop given to Worker.start() runs already; give one that does not")
        self.owned_loop = given is None
        return asyncio.new_event_loop() if given is None else given

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.owned_loop:
            asyncio.set_event_loop(loop)
        self._serving = serving = loop.create_task(self._serve(), name=f"hatchet worker {self.name}")
        try:
            loop.run_until_complete(serving)
        finally:
            # Ctrl-C without our handlers, or a SystemExit in a coroutine that a task left behind.
            if not serving.done():
                serving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(serving)

    async def _serve(self) -> None:
        from hatchet_sdk.worker.life import Life

        thread = connection_thread()
        life = Life(
            config=self.config,
            name=self.name,
            handlers=self._handlers(),
            slot_config=self._slots_in_use(),
            labels=self.labels,
            main_loop=asyncio.get_running_loop(),
            on_health=self._on_health,
        )
        self._life = life
        try:
            if not await thread.call(life.open(list(self._requests.values()))):
                return
            async with AsyncExitStack() as self.lifespan_stack:
                value = await self._enter_lifespan(self.lifespan_stack)
                try:
                    await thread.call(life.run(value, contextvars.copy_context()))
                except asyncio.CancelledError:
                    # The second signal. The tasks end before the lifespan that they use.
                    logger.warning("worker %s stops at once; what still runs is given up", self.name)
                    await life.unwind(CANCELLED_TASKS_SECONDS)
                    if self._signal is None:
                        raise
        finally:
            self._threads_left = life.threads_busy()
            await thread.call(life.close())

    def _stop_soon(self) -> None:
        """Thread-safe, and safe in a signal handler."""
        self.killing = True
        if self._life is not None:
            self._life.request_stop()

    def _stop_now(self, number: int) -> None:
        """In a signal handler."""
        self._signal = number
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self._serving.cancel)

    def _on_health(self, healthy: bool) -> None:
        self._status = WorkerStatus.HEALTHY if healthy else WorkerStatus.UNHEALTHY

    def _handlers(self) -> dict[str, Handler]:
        from hatchet_sdk.worker.attempt import Handler

        return {
            action_id: Handler(
                task=task,
                is_async=task.is_async_function,
                workflow_name=task.workflow.name,
                max_attempts=task.retries + 1,
            )
            for action_id, task in self.action_registry.items()
        }

    def _slots_in_use(self) -> dict[str, int]:
        """The types that the registered tasks need, and custom ones (C-2.7)."""
        kinds = {"durable" if task.is_durable else "default" for task in self.action_registry.values()}
        own = {kind: units for kind, units in self.slot_config.items() if kind not in DEFAULT_SLOTS}
        return {kind: self.slot_config.get(kind, DEFAULT_SLOTS[kind]) for kind in sorted(kinds)} | own

    async def _enter_lifespan(self, stack: AsyncExitStack) -> Any:
        if self.lifespan is None:
            return None
        generator = self.lifespan()
        try:
            value = await anext(generator)
        except StopAsyncIteration:
            raise LifespanSetupError("the lifespan of the worker ended without a yield") from None
        except Exception as error:
            raise LifespanSetupError(f"the lifespan of the worker failed: {type(error).__name__}: {error}") from error
        stack.push_async_callback(_leave_lifespan, generator)
        return value


async def _leave_lifespan(generator: AsyncGenerator[Any, Any]) -> None:
    with contextlib.suppress(StopAsyncIteration):
        await anext(generator)
        raise RuntimeError("the lifespan of the worker yielded more than once")


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Ends what tasks left behind on a loop of ours."""
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
