"""`Hatchet`: the client that an application makes once, and declares its tasks and workers with."""

# ruff: noqa: B008  # the default TaskDefaults() is never changed, and the documented signature

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from pydantic import TypeAdapter

from hatchet_sdk.client import Client
from hatchet_sdk.context.current import current_context
from hatchet_sdk.declare.base import BaseWorkflow, WorkflowConfig
from hatchet_sdk.declare.batch_standalone import StandaloneBatchTasks
from hatchet_sdk.declare.durable_standalone import StandaloneDurableTasks
from hatchet_sdk.declare.durations import Duration
from hatchet_sdk.declare.fallbacks import fall_back_to_default
from hatchet_sdk.declare.labels import DesiredWorkerLabel
from hatchet_sdk.declare.limits import (
    ConcurrencyExpression,
    DefaultFilter,
    RateLimit,
    StatusBasedIdempotencyConfig,
    TTLBasedIdempotencyConfig,
)
from hatchet_sdk.declare.options import EmptyModel, Priority, StickyStrategy, TaskDefaults
from hatchet_sdk.declare.slots import slot_config
from hatchet_sdk.declare.standalone import Standalone
from hatchet_sdk.declare.task import R, TWorkflowInput
from hatchet_sdk.declare.values import normalize_validator
from hatchet_sdk.declare.workflow import Workflow
from hatchet_sdk.features.clients import FeatureClients
from hatchet_sdk.wire.loop_thread import connection_thread

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.context.context import Context
    from hatchet_sdk.worker.worker import Worker

P = ParamSpec("P")
T = TypeVar("T")

CoroutineLike = Coroutine[Any, Any, T]

logger = logging.getLogger("hatchet_sdk")


class Hatchet(FeatureClients, StandaloneBatchTasks, StandaloneDurableTasks):
    """The entry point of the SDK.

    Without arguments everything comes from the environment, .env files, or the profile that `hatchet server start`
    wrote; see :class:`~hatchet_sdk.config.ClientConfig`. Nothing is sent until something is run.

    Raises ``ConfigurationError`` when there is no token or it is malformed.
    """

    def __init__(
        self, debug: bool | None = None, client: Client | None = None, config: ClientConfig | None = None
    ) -> None:
        if client is None:
            from hatchet_sdk.config import ClientConfig

            settings = config if config is not None else ClientConfig()
            client = Client(settings, settings.debug if debug is None else debug)
        self.client = client
        if client.debug:
            logger.setLevel(logging.DEBUG)

    @property
    def config(self) -> ClientConfig:
        """The configuration in effect."""
        return self.client.config

    @property
    def namespace(self) -> str:
        """The prefix of this client's names; empty, or lower case with a trailing underscore (C-1.24)."""
        return self.config.namespace

    @property
    def tenant_id(self) -> str:
        """The tenant that the token belongs to."""
        return self.config.tenant_id

    @property
    def current_context(self) -> Context | None:
        """The context of the task that this code runs in; None outside a task."""
        return current_context.get()

    def get_current_context(self) -> Context | None:
        """The same as ``current_context``."""
        return current_context.get()

    async def aio_get_engine_version(self) -> str | None:
        """The version text that the engine reports; None from an engine that does not know the question."""
        from hatchet_sdk.wire.errors import EngineError

        try:
            return await connection_thread().call(self.client.engine_version())
        except EngineError as error:
            if error.code().name == "UNIMPLEMENTED":
                return None
            raise

    def worker(
        self,
        name: str,
        slots: int | None = None,
        durable_slots: int | None = None,
        labels: dict[str, str | int] | None = None,
        workflows: list[BaseWorkflow[Any]] | None = None,
        lifespan: Callable[[], AsyncGenerator[Any, Any]] | None = None,
    ) -> Worker:
        """A worker that runs the given tasks; ``worker.start()`` starts it.

        ``slots`` is how many tasks run at a time (default 100), ``durable_slots`` the same for durable tasks (default
        1000, only offered when there are any). ``lifespan`` is set up before the first task and torn down at the end.
        """
        from hatchet_sdk.worker.worker import Worker

        return Worker(
            name=name,
            config=self.config,
            slot_config=slot_config(slots, durable_slots, workflows or []),
            labels=labels,
            debug=self.client.debug,
            workflows=workflows,
            lifespan=lifespan,
        )

    @overload
    def workflow(
        self,
        *,
        name: str,
        description: str | None = None,
        input_validator: None = None,
        on_events: list[str] | None = None,
        on_crons: list[str] | None = None,
        cron_input: None = None,
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int | Priority = Priority.LOW,
        concurrency: int | ConcurrencyExpression | Sequence[ConcurrencyExpression] | None = None,
        task_defaults: TaskDefaults = ...,
        default_filters: list[DefaultFilter] | None = None,
        default_additional_metadata: dict[str, Any] | None = None,
        idempotency: TTLBasedIdempotencyConfig | StatusBasedIdempotencyConfig | None = None,
    ) -> Workflow[EmptyModel]: ...

    @overload
    def workflow(
        self,
        *,
        name: str,
        description: str | None = None,
        input_validator: type[TWorkflowInput],
        on_events: list[str] | None = None,
        on_crons: list[str] | None = None,
        cron_input: TWorkflowInput | None = None,
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int | Priority = Priority.LOW,
        concurrency: int | ConcurrencyExpression | Sequence[ConcurrencyExpression] | None = None,
        task_defaults: TaskDefaults = ...,
        default_filters: list[DefaultFilter] | None = None,
        default_additional_metadata: dict[str, Any] | None = None,
        idempotency: TTLBasedIdempotencyConfig | StatusBasedIdempotencyConfig | None = None,
    ) -> Workflow[TWorkflowInput]: ...

    def workflow(
        self,
        *,
        name: str,
        description: str | None = None,
        input_validator: type[TWorkflowInput] | None = None,
        on_events: list[str] | None = None,
        on_crons: list[str] | None = None,
        cron_input: TWorkflowInput | None = None,
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int | Priority = Priority.LOW,
        concurrency: int | ConcurrencyExpression | Sequence[ConcurrencyExpression] | None = None,
        task_defaults: TaskDefaults = TaskDefaults(),
        default_filters: list[DefaultFilter] | None = None,
        default_additional_metadata: dict[str, Any] | None = None,
        idempotency: TTLBasedIdempotencyConfig | StatusBasedIdempotencyConfig | None = None,
    ) -> Workflow[EmptyModel] | Workflow[TWorkflowInput]:
        """A workflow to declare tasks in: ``@workflow.task(parents=[…])``.

        ``name`` identifies it for callers. ``input_validator`` is the type of the input, which all its tasks share: a
        pydantic model, a dataclass, ``dict`` or nothing. ``task_defaults`` are for tasks that do not set something
        themselves. ``concurrency`` limits whole runs. What an option needs of the engine is checked when a worker
        registers the workflow.
        """
        config = WorkflowConfig(
            name=name,
            description=description,
            version=version,
            on_events=on_events or [],
            on_crons=on_crons or [],
            cron_input=cron_input,
            sticky=sticky,
            concurrency=concurrency,
            input_validator=TypeAdapter(normalize_validator(input_validator)),
            default_priority=fall_back_to_default(default_priority, Priority.LOW, task_defaults.priority),
            idempotency=idempotency,
            task_defaults=task_defaults,
            default_filters=default_filters or [],
            default_additional_metadata=default_additional_metadata or {},
        )
        return Workflow[TWorkflowInput](config, self)

    @overload
    def task(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        input_validator: None = None,
        on_events: list[str] | None = None,
        on_crons: list[str] | None = None,
        cron_input: None = None,
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int | Priority = Priority.LOW,
        concurrency: int | ConcurrencyExpression | Sequence[ConcurrencyExpression] | None = None,
        schedule_timeout: Duration = timedelta(minutes=5),
        execution_timeout: Duration = timedelta(seconds=60),
        retries: int = 0,
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | list[DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        default_filters: list[DefaultFilter] | None = None,
        default_additional_metadata: dict[str, Any] | None = None,
        slot_cost: int | None = None,
        idempotency: TTLBasedIdempotencyConfig | StatusBasedIdempotencyConfig | None = None,
    ) -> Callable[[Callable[Concatenate[EmptyModel, Context, P], R | CoroutineLike[R]]], Standalone[EmptyModel, R]]: ...

    @overload
    def task(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        input_validator: type[TWorkflowInput],
        on_events: list[str] | None = None,
        on_crons: list[str] | None = None,
        cron_input: TWorkflowInput | None = None,
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int | Priority = Priority.LOW,
        concurrency: int | ConcurrencyExpression | Sequence[ConcurrencyExpression] | None = None,
        schedule_timeout: Duration = timedelta(minutes=5),
        execution_timeout: Duration = timedelta(seconds=60),
        retries: int = 0,
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | list[DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        default_filters: list[DefaultFilter] | None = None,
        default_additional_metadata: dict[str, Any] | None = None,
        slot_cost: int | None = None,
        idempotency: TTLBasedIdempotencyConfig | StatusBasedIdempotencyConfig | None = None,
    ) -> Callable[
        [Callable[Concatenate[TWorkflowInput, Context, P], R | CoroutineLike[R]]], Standalone[TWorkflowInput, R]
    ]: ...

    def task(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        input_validator: type[TWorkflowInput] | None = None,
        on_events: list[str] | None = None,
        on_crons: list[str] | None = None,
        cron_input: TWorkflowInput | None = None,
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int | Priority = Priority.LOW,
        concurrency: int | ConcurrencyExpression | Sequence[ConcurrencyExpression] | None = None,
        schedule_timeout: Duration = timedelta(minutes=5),
        execution_timeout: Duration = timedelta(seconds=60),
        retries: int = 0,
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | list[DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        default_filters: list[DefaultFilter] | None = None,
        default_additional_metadata: dict[str, Any] | None = None,
        slot_cost: int | None = None,
        idempotency: TTLBasedIdempotencyConfig | StatusBasedIdempotencyConfig | None = None,
    ) -> (
        Callable[[Callable[Concatenate[EmptyModel, Context, P], R | CoroutineLike[R]]], Standalone[EmptyModel, R]]
        | Callable[
            [Callable[Concatenate[TWorkflowInput, Context, P], R | CoroutineLike[R]]], Standalone[TWorkflowInput, R]
        ]
    ):
        """Make a standalone task of a function ``(input, ctx)``, synchronous or ``async``.

        ``input_validator`` is the type of the input: a pydantic model, a dataclass, ``dict`` or nothing. The function
        returns a pydantic model, a dataclass, a mapping or None. ``name`` defaults to the function's name. Timeouts are
        ``timedelta`` or texts such as ``"90s"``. ``retries`` are attempts after the first, ``backoff_factor`` and
        ``backoff_max_seconds`` space them out. ``slot_cost`` is how many of the worker's slots one run takes
        (default 1). What an option needs of the engine is checked when a worker registers the task.

        Raises ``TypeError`` for a function that does not take two arguments, ``ValueError`` for limits out of range.
        """

        def declare(
            fn: Callable[Concatenate[TWorkflowInput, Context, P], R | CoroutineLike[R]],
        ) -> Standalone[TWorkflowInput, R]:
            config = WorkflowConfig(
                name=name or getattr(fn, "__name__", ""),
                description=description,
                version=version,
                on_events=on_events or [],
                on_crons=on_crons or [],
                cron_input=cron_input,
                sticky=sticky,
                concurrency=concurrency,
                input_validator=TypeAdapter(normalize_validator(input_validator)),
                default_priority=default_priority,
                idempotency=idempotency,
                default_filters=default_filters or [],
                default_additional_metadata=default_additional_metadata or {},
            )
            workflow = Workflow[TWorkflowInput](config, self)
            task = workflow.task(
                name=config.name,
                schedule_timeout=schedule_timeout,
                execution_timeout=execution_timeout,
                retries=retries,
                rate_limits=rate_limits,
                desired_worker_labels=desired_worker_labels,
                backoff_factor=backoff_factor,
                backoff_max_seconds=backoff_max_seconds,
                slot_cost=slot_cost,
            )(fn)
            return Standalone(workflow, task)

        return declare
