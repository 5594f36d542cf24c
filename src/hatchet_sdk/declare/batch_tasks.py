"""`workflow.batch_task`: a task whose function gets the inputs of many runs at once (behaviour-core C-16)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, cast, overload

from hatchet_sdk.declare.batches import BatchMemberId, BatchTaskConfig
from hatchet_sdk.declare.durations import Duration
from hatchet_sdk.declare.fallbacks import EXECUTION_TIMEOUT, SCHEDULE_TIMEOUT, fall_back_to_default
from hatchet_sdk.declare.labels import DesiredWorkerLabel
from hatchet_sdk.declare.limits import RateLimit
from hatchet_sdk.declare.signature import names_where_declared
from hatchet_sdk.declare.task import R, Task, TWorkflowInput

if TYPE_CHECKING:
    from hatchet_sdk.context.context import Context
    from hatchet_sdk.declare.base import WorkflowConfig
    from hatchet_sdk.declare.workflow import Workflow

P = ParamSpec("P")
T = TypeVar("T")

CoroutineLike = Coroutine[Any, Any, T]


class BatchTasks(Generic[TWorkflowInput]):
    """The part of a workflow that declares batch tasks."""

    if TYPE_CHECKING:
        config: WorkflowConfig

    @abstractmethod
    def _add(self, task: Task[TWorkflowInput, Any]) -> None:
        """Take a task into the workflow."""

    @overload
    def batch_task(
        self,
        name: str | None = None,
        *,
        batch_max_size: int,
        batch_max_interval: timedelta | None = None,
        batch_group_key: str | None = None,
        batch_group_max_runs: int | None = None,
        broadcast_output: Literal[True],
        schedule_timeout: Duration = SCHEDULE_TIMEOUT,
        execution_timeout: Duration = EXECUTION_TIMEOUT,
        parents: list[Task[TWorkflowInput, Any]] | None = None,
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | list[DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        retries: int = 0,
    ) -> Callable[
        [Callable[Concatenate[dict[BatchMemberId, TWorkflowInput], Context, P], R | CoroutineLike[R]]],
        Task[TWorkflowInput, R],
    ]: ...

    @overload
    def batch_task(
        self,
        name: str | None = None,
        *,
        batch_max_size: int,
        batch_max_interval: timedelta | None = None,
        batch_group_key: str | None = None,
        batch_group_max_runs: int | None = None,
        broadcast_output: Literal[False] = False,
        schedule_timeout: Duration = SCHEDULE_TIMEOUT,
        execution_timeout: Duration = EXECUTION_TIMEOUT,
        parents: list[Task[TWorkflowInput, Any]] | None = None,
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | list[DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        retries: int = 0,
    ) -> Callable[
        [
            Callable[
                Concatenate[dict[BatchMemberId, TWorkflowInput], Context, P],
                dict[BatchMemberId, R] | CoroutineLike[dict[BatchMemberId, R]],
            ]
        ],
        Task[TWorkflowInput, R],
    ]: ...

    def batch_task(
        self,
        name: str | None = None,
        *,
        batch_max_size: int,
        batch_max_interval: timedelta | None = None,
        batch_group_key: str | None = None,
        batch_group_max_runs: int | None = None,
        broadcast_output: bool = False,
        schedule_timeout: Duration = SCHEDULE_TIMEOUT,
        execution_timeout: Duration = EXECUTION_TIMEOUT,
        parents: list[Task[TWorkflowInput, Any]] | None = None,
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | list[DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        retries: int = 0,
    ) -> Callable[[Callable[..., Any]], Task[TWorkflowInput, Any]]:
        """Make a task of a function ``(inputs, ctx)`` that handles many runs in one call, synchronous or ``async``.

        ``inputs`` holds the input of each run by the id of its task run, in the order in which they came. The function
        returns an output for every one of these ids, or with ``broadcast_output=True`` one value that is the output of
        all. Callers do not notice: each triggers a run of its own and gets its own result. When the function raises, or
        leaves an id out, all runs of the batch fail; each is tried again by itself while it has ``retries`` left. A run
        whose input does not fit its type fails alone, and the function does not see it.

        See :class:`~hatchet_sdk.declare.batches.BatchTaskConfig` for when a batch starts. A batch takes one slot. The
        other options are those of ``task``; timeouts, retries and back-off fall back to the workflow's
        ``task_defaults``, and ``execution_timeout`` is for the batch as a whole.

        Raises ``ValueError`` for sizes out of range and whatever ``task`` raises.
        """
        batch = BatchTaskConfig(
            batch_max_size=batch_max_size,
            batch_max_interval=batch_max_interval,
            batch_group_key=batch_group_key,
            batch_group_max_runs=batch_group_max_runs,
            broadcast_output=broadcast_output,
        )
        defaults = self.config.task_defaults

        def declare(fn: Callable[..., Any]) -> Task[TWorkflowInput, Any]:
            task = Task[TWorkflowInput, Any](
                fn,
                workflow=cast("Workflow[TWorkflowInput]", self),
                name=name or str(getattr(fn, "__name__", "")),
                execution_timeout=fall_back_to_default(
                    execution_timeout, EXECUTION_TIMEOUT, defaults.execution_timeout
                ),
                schedule_timeout=fall_back_to_default(schedule_timeout, SCHEDULE_TIMEOUT, defaults.schedule_timeout),
                parents=parents,
                retries=fall_back_to_default(retries, 0, defaults.retries),
                rate_limits=rate_limits,
                desired_worker_labels=desired_worker_labels,
                backoff_factor=fall_back_to_default(backoff_factor, None, defaults.backoff_factor),
                backoff_max_seconds=fall_back_to_default(backoff_max_seconds, None, defaults.backoff_max_seconds),
                concurrency=None,
                batch=batch,
                local_names=names_where_declared(),
            )
            self._add(task)
            return task

        return declare
