"""`workflow.durable_task`: a task that survives whatever happens to the worker that runs it (behaviour-durable)."""

# the default policy is frozen, and the documented signature

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from hatchet_sdk.declare.conditions import Condition, OrGroup
from hatchet_sdk.declare.durations import Duration
from hatchet_sdk.declare.eviction import DEFAULT_EVICTION_POLICY, EvictionPolicy
from hatchet_sdk.declare.fallbacks import EXECUTION_TIMEOUT, SCHEDULE_TIMEOUT, fall_back_to_default
from hatchet_sdk.declare.labels import DesiredWorkerLabel
from hatchet_sdk.declare.limits import ConcurrencyExpression, RateLimit
from hatchet_sdk.declare.signature import names_where_declared
from hatchet_sdk.declare.task import R, Task, TWorkflowInput

if TYPE_CHECKING:
    from hatchet_sdk.context.durable import DurableContext
    from hatchet_sdk.declare.base import WorkflowConfig
    from hatchet_sdk.declare.workflow import Workflow

P = ParamSpec("P")
T = TypeVar("T")

CoroutineLike = Coroutine[Any, Any, T]


class DurableTasks(Generic[TWorkflowInput]):
    """The part of a workflow that declares durable tasks."""

    if TYPE_CHECKING:
        config: WorkflowConfig

    @abstractmethod
    def _add(self, task: Task[TWorkflowInput, Any]) -> None:
        """Take a task into the workflow."""

    def durable_task(
        self,
        name: str | None = None,
        schedule_timeout: Duration = SCHEDULE_TIMEOUT,
        execution_timeout: Duration = EXECUTION_TIMEOUT,
        parents: list[Task[TWorkflowInput, Any]] | None = None,
        retries: int = 0,
        rate_limits: list[RateLimit] | None = None,
        desired_worker_labels: dict[str, DesiredWorkerLabel] | list[DesiredWorkerLabel] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        concurrency: int | Sequence[ConcurrencyExpression] | None = None,
        wait_for: list[Condition | OrGroup] | None = None,
        skip_if: list[Condition | OrGroup] | None = None,
        cancel_if: list[Condition | OrGroup] | None = None,
        eviction_policy: EvictionPolicy | None = DEFAULT_EVICTION_POLICY,
    ) -> Callable[
        [Callable[Concatenate[TWorkflowInput, DurableContext, P], R | CoroutineLike[R]]], Task[TWorkflowInput, R]
    ]:
        """Make a durable task of this workflow of a function ``(input, ctx)``; ``ctx`` is a ``DurableContext``.

        Its sleeps, waits, memos and child runs are kept in a log, from which it goes on where it was, on any worker,
        after a crash and after a long wait. Between them it must do the same every time. While it waits it holds a
        durable slot of its worker until ``eviction_policy`` takes it off (default: after 15 minutes, and earlier when
        the slots are used up; None: never). The ``execution_timeout`` runs while it is on a worker, waiting or not.
        The other options, and what it raises, are those of ``task``.
        """
        defaults = self.config.task_defaults

        def declare(
            fn: Callable[Concatenate[TWorkflowInput, DurableContext, P], R | CoroutineLike[R]],
        ) -> Task[TWorkflowInput, R]:
            task = Task[TWorkflowInput, R](
                fn,
                is_durable=True,
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
                concurrency=concurrency,
                wait_for=wait_for,
                skip_if=skip_if,
                cancel_if=cancel_if,
                eviction_policy=eviction_policy,
                local_names=names_where_declared(),
            )
            self._add(task)
            return task

        return declare
