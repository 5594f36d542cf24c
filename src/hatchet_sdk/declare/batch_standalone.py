"""`hatchet.batch_task`: a batch task that is a workflow of its own (behaviour-core C-16)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast, overload

from pydantic import TypeAdapter

from hatchet_sdk.declare.base import WorkflowConfig
from hatchet_sdk.declare.batches import BatchMemberId
from hatchet_sdk.declare.durations import Duration
from hatchet_sdk.declare.labels import DesiredWorkerLabel
from hatchet_sdk.declare.limits import DefaultFilter, RateLimit
from hatchet_sdk.declare.options import EmptyModel, StickyStrategy
from hatchet_sdk.declare.standalone import Standalone
from hatchet_sdk.declare.task import R, Task, TWorkflowInput
from hatchet_sdk.declare.values import normalize_validator
from hatchet_sdk.declare.workflow import Workflow

if TYPE_CHECKING:
    from hatchet_sdk.context.context import Context
    from hatchet_sdk.hatchet import Hatchet

P = ParamSpec("P")
T = TypeVar("T")

CoroutineLike = Coroutine[Any, Any, T]


class StandaloneBatchTasks:
    """The part of the client that declares batch tasks."""

    @overload
    def batch_task(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        input_validator: None = None,
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int = 1,
        schedule_timeout: Duration = timedelta(minutes=5),
        execution_timeout: Duration = timedelta(seconds=60),
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        default_filters: list[DefaultFilter] | None = None,
        batch_max_size: int = ...,
        batch_max_interval: timedelta | None = None,
        batch_group_key: str | None = None,
        batch_group_max_runs: int | None = None,
        broadcast_output: Literal[True],
        retries: int = 0,
    ) -> Callable[
        [Callable[Concatenate[dict[BatchMemberId, EmptyModel], Context, P], R | CoroutineLike[R]]],
        Standalone[EmptyModel, R],
    ]: ...

    @overload
    def batch_task(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        input_validator: None = None,
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int = 1,
        schedule_timeout: Duration = timedelta(minutes=5),
        execution_timeout: Duration = timedelta(seconds=60),
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        default_filters: list[DefaultFilter] | None = None,
        batch_max_size: int = ...,
        batch_max_interval: timedelta | None = None,
        batch_group_key: str | None = None,
        batch_group_max_runs: int | None = None,
        broadcast_output: Literal[False] = False,
        retries: int = 0,
    ) -> Callable[
        [
            Callable[
                Concatenate[dict[BatchMemberId, EmptyModel], Context, P],
                dict[BatchMemberId, R] | CoroutineLike[dict[BatchMemberId, R]],
            ]
        ],
        Standalone[EmptyModel, R],
    ]: ...

    @overload
    def batch_task(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        input_validator: type[TWorkflowInput],
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int = 1,
        schedule_timeout: Duration = timedelta(minutes=5),
        execution_timeout: Duration = timedelta(seconds=60),
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        default_filters: list[DefaultFilter] | None = None,
        batch_max_size: int = ...,
        batch_max_interval: timedelta | None = None,
        batch_group_key: str | None = None,
        batch_group_max_runs: int | None = None,
        broadcast_output: Literal[True],
        retries: int = 0,
    ) -> Callable[
        [Callable[Concatenate[dict[BatchMemberId, TWorkflowInput], Context, P], R | CoroutineLike[R]]],
        Standalone[TWorkflowInput, R],
    ]: ...

    @overload
    def batch_task(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        input_validator: type[TWorkflowInput],
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int = 1,
        schedule_timeout: Duration = timedelta(minutes=5),
        execution_timeout: Duration = timedelta(seconds=60),
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        default_filters: list[DefaultFilter] | None = None,
        batch_max_size: int = ...,
        batch_max_interval: timedelta | None = None,
        batch_group_key: str | None = None,
        batch_group_max_runs: int | None = None,
        broadcast_output: Literal[False] = False,
        retries: int = 0,
    ) -> Callable[
        [
            Callable[
                Concatenate[dict[BatchMemberId, TWorkflowInput], Context, P],
                dict[BatchMemberId, R] | CoroutineLike[dict[BatchMemberId, R]],
            ]
        ],
        Standalone[TWorkflowInput, R],
    ]: ...

    def batch_task(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        input_validator: type[TWorkflowInput] | None = None,
        version: str | None = None,
        sticky: StickyStrategy | None = None,
        default_priority: int = 1,
        schedule_timeout: Duration = timedelta(minutes=5),
        execution_timeout: Duration = timedelta(seconds=60),
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        default_filters: list[DefaultFilter] | None = None,
        batch_max_size: int = 1,
        batch_max_interval: timedelta | None = None,
        batch_group_key: str | None = None,
        batch_group_max_runs: int | None = None,
        broadcast_output: bool = False,
        retries: int = 0,
    ) -> Callable[[Callable[..., Any]], Standalone[Any, Any]]:
        """Make a standalone task of a function ``(inputs, ctx)`` that handles many runs in one call.

        ``inputs`` holds the input of each run by the id of its task run; the function returns an output for every id,
        or with ``broadcast_output=True`` one value for all. See ``Workflow.batch_task`` for what a batch is, and
        ``hatchet.task`` for the other options.

        Raises ``ValueError`` for sizes out of range and whatever ``hatchet.task`` raises.
        """

        def declare(fn: Callable[..., Any]) -> Standalone[Any, Any]:
            config = WorkflowConfig(
                name=name or getattr(fn, "__name__", ""),
                description=description,
                version=version,
                sticky=sticky,
                input_validator=TypeAdapter(normalize_validator(input_validator)),
                default_priority=default_priority,
                default_filters=default_filters or [],
            )
            workflow = Workflow[Any](config, cast("Hatchet", self))
            # Whether the output is broadcast is known only when it runs; the overloads above tell the type checker.
            decorate: Callable[..., Callable[[Callable[..., Any]], Task[Any, Any]]] = workflow.batch_task
            task = decorate(
                config.name,
                batch_max_size=batch_max_size,
                batch_max_interval=batch_max_interval,
                batch_group_key=batch_group_key,
                batch_group_max_runs=batch_group_max_runs,
                broadcast_output=broadcast_output,
                schedule_timeout=schedule_timeout,
                execution_timeout=execution_timeout,
                rate_limits=rate_limits,
                desired_worker_labels=desired_worker_labels,
                backoff_factor=backoff_factor,
                backoff_max_seconds=backoff_max_seconds,
                retries=retries,
            )(fn)
            return Standalone(workflow, task)

        return declare
