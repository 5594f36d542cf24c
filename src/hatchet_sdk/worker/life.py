"""One life of a worker, from the first call to the last: wires connection, attempts, reports and executor.

All coroutines run on the connection thread; the worker's main loop calls them through `connection_thread().call`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hatchet_contracts.dispatcher_pb2 import AssignedAction, WorkerRegisterRequest
from hatchet_contracts.v1.workflows_pb2 import CreateWorkflowVersionRequest
from hatchet_sdk.context.batch import BatchContext
from hatchet_sdk.context.context import Context
from hatchet_sdk.context.durable import DurableContext
from hatchet_sdk.context.worker_context import WorkerContext
from hatchet_sdk.declare.options import SlotType
from hatchet_sdk.wire.errors import EngineError
from hatchet_sdk.wire.loop_thread import connection_thread
from hatchet_sdk.worker import registration
from hatchet_sdk.worker.attempt import Attempt, Handler
from hatchet_sdk.worker.attempts import Attempts
from hatchet_sdk.worker.connection import WorkerConnection
from hatchet_sdk.worker.durable import Durables
from hatchet_sdk.worker.errors import WorkerRegistrationError
from hatchet_sdk.worker.executor import Ended, Executor
from hatchet_sdk.worker.log_capture import LogCapture
from hatchet_sdk.worker.log_queue import LogQueue
from hatchet_sdk.worker.mailbox import Mailbox
from hatchet_sdk.worker.outcome import Outcomes
from hatchet_sdk.worker.pause import pause_worker
from hatchet_sdk.worker.report_batches import takes_batches
from hatchet_sdk.worker.reports import Reports

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig

logger = logging.getLogger("hatchet.worker")

LOG_FLUSH_SECONDS = 5.0
"""How long the end of a worker waits for the log lines of its tasks."""


class Life:
    """What exists while a worker runs.

    Args:
        name: the worker's name, with the namespace.
        handlers: the functions by action id.
        main_loop: where async tasks run.
        on_health: told True when the connection works and False when it broke; on the connection thread.
    """

    def __init__(
        self,
        *,
        config: ClientConfig,
        name: str,
        handlers: Mapping[str, Handler],
        slot_config: Mapping[str, int],
        labels: Mapping[str, str | int],
        main_loop: asyncio.AbstractEventLoop,
        on_health: Callable[[bool], None],
    ) -> None:
        self._config = config
        self._name = name
        self._handlers = handlers
        self._slot_config = slot_config
        self._labels = labels
        self._on_health = on_health
        self._main_loop = main_loop
        self._outcomes = Outcomes(config.grpc_max_send_message_length)
        self._sticky_workflows: dict[str, bool] = {}
        self._by_type = True
        self._batches = False
        self._engine_version = ""
        self._lifespan_value: Any = None
        self._stop = asyncio.Event()
        self._connection: WorkerConnection | None = None
        self._executor: Executor | None = None
        self._attempts: Attempts
        self._reports: Reports
        self._durables: Durables
        self._log_queue: LogQueue
        self._log_capture: LogCapture | None = None
        self._worker_context: WorkerContext

    def request_stop(self) -> None:
        """From any thread, also in a signal handler. Not by way of the main loop, which a task may block."""
        connection_thread().loop.call_soon_threadsafe(self._stop.set)

    async def open(self, workflows: Sequence[CreateWorkflowVersionRequest]) -> bool:
        """Opens the channel and registers the workflows. False if the worker was told to stop meanwhile.

        Raises:
            WorkerRegistrationError: the engine refused a workflow, or cannot be reached.
        """
        self._sticky_workflows = {request.name: request.HasField("sticky") for request in workflows}
        self._connection = WorkerConnection(
            config=self._config,
            registration=self._register_request,
            on_action=lambda action: self._attempts.on_action(action),
            on_connected=self._connected,
            on_lost=lambda: self._on_health(False),
        )
        return await self._unless_stopped(self._put_workflows(self._connection, workflows))

    async def run(self, lifespan_value: Any, context: contextvars.Context) -> None:
        """Registers the worker, runs tasks until told to stop, and stops in good order.

        Args:
            context: tasks see copies of it.

        Raises:
            WorkerRegistrationError: the engine refused the worker.
        """
        assert self._connection is not None
        self._lifespan_value = lifespan_value
        self._wire(self._connection, context)
        if await self._unless_stopped(self._register(self._connection)):
            self._connection.listen()
            await self._stop.wait()
            await self._wind_down(self._connection)

    async def unwind(self, seconds: float) -> None:
        """On the main loop: cancels the async tasks, and waits for them that long at most."""
        if self._executor is not None:
            await self._executor.unwind(seconds)

    def threads_busy(self) -> bool:
        """Whether sync tasks still run."""
        return self._executor is not None and self._executor.threads_busy > 0

    async def close(self) -> None:
        """Releases everything. Never raises; after a failed `open` too."""
        if self._log_capture is not None:
            self._config.logger.removeHandler(self._log_capture)
        if self._executor is not None:
            self._executor.close()
            await self._durables.close()
            self._reports.close()
            self._log_queue.close()
        if self._connection is not None:
            await self._connection.close()

    def _wire(self, connection: WorkerConnection, context: contextvars.Context) -> None:
        loop = asyncio.get_running_loop()
        ended: Mailbox[Ended] = Mailbox(loop, lambda item: self._attempts.on_ended(item))
        self._worker_context = WorkerContext(self._labels, connection, self._sticky_workflows)
        self._log_queue = LogQueue(loop=loop, link=connection, capacity=self._config.log_queue_size)
        if not self._config.disable_log_capture:
            self._log_capture = LogCapture(self._log_queue)
            self._config.logger.addHandler(self._log_capture)
        self._reports = Reports(
            loop=loop, route=connection, outcomes=self._outcomes, settled=self._settled, batches=self._batches
        )
        self._durables = Durables(
            config=self._config,
            link=connection,
            slots=self._slot_config.get(SlotType.DURABLE.value, 0),
            engine_version=self._engine_version,
            main_loop=self._main_loop,
            has_stream=registration.has_durable_stream(self._engine_version),
            on_evicted=lambda key: self._attempts.evicted(key),
        )
        self._executor = Executor(
            loop=self._main_loop,
            ended=ended.put,
            threads=sum(self._slot_config.values()),
            context=context,
        )
        self._attempts = Attempts(
            loop=loop,
            handlers=self._handlers,
            new_context=self._new_context,
            executor=self._executor,
            reports=self._reports,
            outcomes=self._outcomes,
            begin_durable=self._durables.begin,
        )

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Runs `work`, and gives it up when the worker is told to stop."""
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return False
            working.result()
            return True
        finally:
            working.cancel()
            stopping.cancel()

    async def _put_workflows(
        self, connection: WorkerConnection, workflows: Sequence[CreateWorkflowVersionRequest]
    ) -> None:
        try:
            version = self._engine_version = await registration.engine_version(connection.calls)
            self._by_type, self._batches = registration.takes_slot_config(version), takes_batches(version)
        except EngineError as error:
            raise WorkerRegistrationError(f"worker {self._name!r} cannot start: {error}") from None
        await registration.put_workflows(connection.calls, workflows)

    async def _register(self, connection: WorkerConnection) -> None:
        try:
            await registration.patiently(connection.register)
        except EngineError as error:
            raise WorkerRegistrationError(f"worker {self._name!r} was not registered: {error}") from None

    async def _wind_down(self, connection: WorkerConnection) -> None:
        """No new work, running tasks end, their reports arrive, the worker says goodbye.

        An assignment that comes in spite of the pause is run: the engine counts on it.
        """
        logger.info("worker %s stops: no new tasks, waiting for %d running", self._name, len(self._attempts))
        self._reports.stopping()
        loop = asyncio.get_running_loop()
        is_paused = await loop.run_in_executor(None, pause_worker, self._config, connection.worker_id)
        # After the pause: what is evicted must not come back to this worker.
        self._durables.stopping()
        if is_paused:
            await self._drained()
        # Without the pause new tasks would keep coming, and a busy worker would never end.
        await connection.unsubscribe()
        await self._drained()
        await self._log_queue.flush(LOG_FLUSH_SECONDS)
        logger.info("worker %s has stopped", self._name)

    async def _drained(self) -> None:
        await self._attempts.empty()
        await self._reports.idle()

    def _settled(self, attempt: Attempt) -> None:
        self._attempts.reported(attempt)

    def _connected(self, first: bool) -> None:
        self._on_health(True)
        if first:
            worker_id, actions = self._worker_context.id(), len(self._handlers)
            logger.info("worker %s connected (id %s), listening for %d actions", self._name, worker_id, actions)
        else:
            self._attempts.restate()
            self._durables.reconnected()
            self._reports.kick()

    def _new_context(self, action: AssignedAction, handler: Handler) -> Context:
        kind = BatchContext if handler.is_batch else DurableContext if handler.task.is_durable else Context
        return kind(
            action,
            link=self._worker_context.link,
            worker=self._worker_context,
            workflow_name=handler.workflow_name,
            max_attempts=handler.max_attempts,
            lifespan=self._lifespan_value,
            log_sender=self._log_queue,
        )

    def _register_request(self) -> WorkerRegisterRequest:
        return registration.register_request(
            name=self._name,
            actions=list(self._handlers),
            slot_config=self._slot_config,
            # Labels that tasks changed since the start belong to the worker.
            labels=self._worker_context.labels(),
            by_type=self._by_type,
        )
