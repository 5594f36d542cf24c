"""`hatchet.durable_task`: a durable task that is a workflow of its own (behaviour-durable)."""

# the default policy is frozen, and the documented signature

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast, overload

from pydantic import TypeAdapter

from hatchet_sdk.declare.base import WorkflowConfig
from hatchet_sdk.declare.durations import Duration
from hatchet_sdk.declare.eviction import DEFAULT_EVICTION_POLICY, EvictionPolicy
from hatchet_sdk.declare.labels import DesiredWorkerLabel
from hatchet_sdk.declare.limits import (
    ConcurrencyExpression,
    DefaultFilter,
    RateLimit,
    StatusBasedIdempotencyConfig,
    TTLBasedIdempotencyConfig,
)
from hatchet_sdk.declare.options import EmptyModel, Priority, StickyStrategy
from hatchet_sdk.declare.standalone import Standalone
from hatchet_sdk.declare.task import R, TWorkflowInput
from hatchet_sdk.declare.values import normalize_validator
from hatchet_sdk.declare.workflow import Workflow

if TYPE_CHECKING:
    from hatchet_sdk.context.durable import DurableContext
    from hatchet_sdk.hatchet import Hatchet

P = ParamSpec("P")
T = TypeVar("T")

CoroutineLike = Coroutine[Any, Any, T]


class StandaloneDurableTasks:
    """The part of the client that declares durable tasks."""

    @overload
    def durable_task(
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
        eviction_policy: EvictionPolicy | None = DEFAULT_EVICTION_POLICY,
        idempotency: TTLBasedIdempotencyConfig | StatusBasedIdempotencyConfig | None = None,
    ) -> Callable[
        [Callable[Concatenate[EmptyModel, DurableContext, P], R | CoroutineLike[R]]], Standalone[EmptyModel, R]
    ]: ...

    @overload
    def durable_task(
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
        eviction_policy: EvictionPolicy | None = DEFAULT_EVICTION_POLICY,
        idempotency: TTLBasedIdempotencyConfig | StatusBasedIdempotencyConfig | None = None,
    ) -> Callable[
        [Callable[Concatenate[TWorkflowInput, DurableContext, P], R | CoroutineLike[R]]], Standalone[TWorkflowInput, R]
    ]: ...

    def durable_task(
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
        eviction_policy: EvictionPolicy | None = DEFAULT_EVICTION_POLICY,
        idempotency: TTLBasedIdempotencyConfig | StatusBasedIdempotencyConfig | None = None,
    ) -> (
        Callable[
            [Callable[Concatenate[EmptyModel, DurableContext, P], R | CoroutineLike[R]]], Standalone[EmptyModel, R]
        ]
        | Callable[
            [Callable[Concatenate[TWorkflowInput, DurableContext, P], R | CoroutineLike[R]]],
            Standalone[TWorkflowInput, R],
        ]
    ):
        """Make a standalone durable task of a function ``(input, ctx)``; ``ctx`` is a ``DurableContext``.

        See ``Workflow.durable_task`` for what makes it durable and for ``eviction_policy``, and ``hatchet.task`` for
        the other options and what it raises.
        """

        def declare(
            fn: Callable[Concatenate[TWorkflowInput, DurableContext, P], R | CoroutineLike[R]],
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
            workflow = Workflow[TWorkflowInput](config, cast("Hatchet", self))
            task = workflow.durable_task(
                name=config.name,
                schedule_timeout=schedule_timeout,
                execution_timeout=execution_timeout,
                retries=retries,
                rate_limits=rate_limits,
                desired_worker_labels=desired_worker_labels,
                backoff_factor=backoff_factor,
                backoff_max_seconds=backoff_max_seconds,
                eviction_policy=eviction_policy,
            )(fn)
            return Standalone(workflow, task)

        return declare
