"""Workflows: tasks that depend on each other, run in the order of a directed acyclic graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from hatchet_sdk.declare.base import WorkflowConfig
from hatchet_sdk.declare.batch_tasks import BatchTasks
from hatchet_sdk.declare.conditions import Condition, OrGroup, ParentCondition
from hatchet_sdk.declare.durable_tasks import DurableTasks
from hatchet_sdk.declare.durations import Duration
from hatchet_sdk.declare.fallbacks import EXECUTION_TIMEOUT, SCHEDULE_TIMEOUT, fall_back_to_default
from hatchet_sdk.declare.labels import DesiredWorkerLabel
from hatchet_sdk.declare.limits import ConcurrencyExpression, RateLimit
from hatchet_sdk.declare.options import SlotType, StepType
from hatchet_sdk.declare.runnable import Runnable
from hatchet_sdk.declare.signature import names_where_declared
from hatchet_sdk.declare.standalone import Standalone
from hatchet_sdk.declare.task import R, Task, TWorkflowInput
from hatchet_sdk.run.refs import WorkflowRunRef

if TYPE_CHECKING:
    from hatchet_contracts.v1 import workflows_pb2
    from hatchet_sdk.context.context import Context
    from hatchet_sdk.hatchet import Hatchet
    from hatchet_sdk.run.outcome import RunOutcome

P = ParamSpec("P")
T = TypeVar("T")

CoroutineLike = Coroutine[Any, Any, T]

SPECIAL = {StepType.ON_FAILURE: "on-failure", StepType.ON_SUCCESS: "on-success"}


class Workflow(
    Runnable[TWorkflowInput, dict[str, Any], WorkflowRunRef], BatchTasks[TWorkflowInput], DurableTasks[TWorkflowInput]
):
    """A workflow. ``task`` and its siblings declare its tasks; a run gives their outputs by task name.

    Made by ``hatchet.workflow(…)``.
    """

    def __init__(self, config: WorkflowConfig, client: Hatchet) -> None:
        super().__init__(config, client)
        self._tasks: list[Task[TWorkflowInput, Any]] = []
        self._special: dict[StepType, Task[TWorkflowInput, Any]] = {}

    @property
    def tasks(self) -> list[Task[TWorkflowInput, Any]]:
        """All tasks in the order of their declaration, the on-failure and on-success tasks at the end."""
        return [*self._tasks, *(self._special[kind] for kind in SPECIAL if kind in self._special)]

    # --- declaring -----------------------------------------------------------------------------------------------

    def task(
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
        slot_cost: int | None = None,
    ) -> Callable[[Callable[Concatenate[TWorkflowInput, Context, P], R | CoroutineLike[R]]], Task[TWorkflowInput, R]]:
        """Make a task of this workflow of a function ``(input, ctx)``, synchronous or ``async``.

        It starts when all ``parents`` (tasks of this workflow, declared before it) completed and the conditions of
        ``wait_for`` hold. When those of ``skip_if`` hold it counts as completed without running, when those of
        ``cancel_if`` hold it is cancelled, and so are the tasks below it. The other options are those of
        ``hatchet.task``; timeouts, retries and back-off fall back to the workflow's ``task_defaults``.

        Raises ``ValueError`` for a name that is taken, for a parent of another workflow, and for limits out of range;
        ``TypeError`` for a function that does not take two arguments and for wrong kinds of parents or conditions.
        """
        defaults = self.config.task_defaults

        def declare(
            fn: Callable[Concatenate[TWorkflowInput, Context, P], R | CoroutineLike[R]],
        ) -> Task[TWorkflowInput, R]:
            task = Task[TWorkflowInput, R](
                fn,
                workflow=self,
                name=name or _name_of(fn),
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
                slot_requests={SlotType.DEFAULT.value: slot_cost} if slot_cost is not None else None,
                local_names=names_where_declared(),
            )
            self._add(task)
            return task

        return declare

    def on_failure_task(
        self,
        name: str | None = None,
        schedule_timeout: Duration = SCHEDULE_TIMEOUT,
        execution_timeout: Duration = EXECUTION_TIMEOUT,
        retries: int = 0,
        rate_limits: list[RateLimit] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        concurrency: int | Sequence[ConcurrencyExpression] | None = None,
    ) -> Callable[[Callable[Concatenate[TWorkflowInput, Context, P], R | CoroutineLike[R]]], Task[TWorkflowInput, R]]:
        """Make the task that runs as soon as another task of the run has failed for good (C-6.45).

        Its name is ``<name>-on-failure``. A workflow has one at most: ``ValueError`` for a second. The options are
        those of :meth:`task`; ``task_defaults`` do not apply.
        """
        return self._special_task(
            StepType.ON_FAILURE,
            name,
            schedule_timeout=schedule_timeout,
            execution_timeout=execution_timeout,
            retries=retries,
            rate_limits=rate_limits,
            backoff_factor=backoff_factor,
            backoff_max_seconds=backoff_max_seconds,
            concurrency=concurrency,
        )

    def on_success_task(
        self,
        name: str | None = None,
        schedule_timeout: Duration = SCHEDULE_TIMEOUT,
        execution_timeout: Duration = EXECUTION_TIMEOUT,
        retries: int = 0,
        rate_limits: list[RateLimit] | None = None,
        backoff_factor: float | None = None,
        backoff_max_seconds: int | None = None,
        concurrency: int | Sequence[ConcurrencyExpression] | None = None,
    ) -> Callable[[Callable[Concatenate[TWorkflowInput, Context, P], R | CoroutineLike[R]]], Task[TWorkflowInput, R]]:
        """Make the task that runs when all other tasks of the run completed: it comes below all leaves (C-6.48).

        Its name is ``<name>-on-success``. A workflow has one at most: ``ValueError`` for a second. The options are
        those of :meth:`task`; ``task_defaults`` do not apply.
        """
        return self._special_task(
            StepType.ON_SUCCESS,
            name,
            schedule_timeout=schedule_timeout,
            execution_timeout=execution_timeout,
            retries=retries,
            rate_limits=rate_limits,
            backoff_factor=backoff_factor,
            backoff_max_seconds=backoff_max_seconds,
            concurrency=concurrency,
        )

    def _special_task(
        self, kind: StepType, name: str | None, **limits: Any
    ) -> Callable[[Callable[Concatenate[TWorkflowInput, Context, P], R | CoroutineLike[R]]], Task[TWorkflowInput, R]]:
        def declare(
            fn: Callable[Concatenate[TWorkflowInput, Context, P], R | CoroutineLike[R]],
        ) -> Task[TWorkflowInput, R]:
            stem = name or _name_of(fn)
            full = f"{stem}-{SPECIAL[kind]}" if stem else ""
            task = Task[TWorkflowInput, R](
                fn, type=kind, workflow=self, name=full, local_names=names_where_declared(), **limits
            )
            self._add(task)
            return task

        return declare

    def add_task(self, task: Standalone[TWorkflowInput, Any]) -> None:
        """Take the function and the limits of a standalone task as a task of this workflow, without parents.

        The standalone task stays what it is. Its events, crons, default priority and idempotency belong to its own runs
        and do not come along. Raises ``ValueError`` for a name that is taken.
        """
        (own,) = task.tasks
        added = copy.copy(own)
        added.workflow, added.parents = self, []
        if task.config.concurrency is not None:
            # A standalone task declares its concurrency for its workflow; here it is one task among others (C-3.39).
            limits = task.config.concurrency
            added.concurrency = [limits] if isinstance(limits, ConcurrencyExpression) else limits
        self._add(added)

    def _add(self, task: Task[TWorkflowInput, Any]) -> None:
        where = f"workflow '{self.name}'"
        if any(other.readable_id == task.readable_id for other in self.tasks):
            raise ValueError(f"{where} has a task '{task.name}' already (case does not count); give one another name")
        if task.type in self._special:
            raise ValueError(f"{where} has an {SPECIAL[task.type]} task already: '{self._special[task.type].name}'")
        for parent in task.parents:
            self._check_parent(task, parent)
        for condition in (*task.wait_for, *task.skip_if, *task.cancel_if):
            if isinstance(condition, ParentCondition) and condition.parent not in task.parents:
                raise ValueError(
                    f"task '{task.name}' has a condition on '{condition.parent.name}', "
                    "which is not one of its parents; add it to parents=[…]"
                )
        if task.type is StepType.DEFAULT:
            self._tasks.append(task)
        else:
            self._special[task.type] = task

    def _check_parent(self, task: Task[TWorkflowInput, Any], parent: object) -> None:
        if not isinstance(parent, Task):
            raise TypeError(
                f"the parents of task '{task.name}' must be tasks, as @workflow.task() returns them, "
                f"got {type(parent).__name__}"
            )
        if parent.type is not StepType.DEFAULT:
            raise ValueError(
                f"'{parent.name}' cannot be a parent of task '{task.name}': it is the {SPECIAL[parent.type]} task"
            )
        if parent not in self._tasks:
            raise ValueError(
                f"parent '{parent.name}' of task '{task.name}' belongs to workflow '{parent.workflow.name}', "
                f"not to '{self.name}'; parents are tasks of the same workflow"
            )

    # --- registering ---------------------------------------------------------------------------------------------

    def to_proto(self) -> workflows_pb2.CreateWorkflowVersionRequest:
        """The registration of this workflow (C-3.1).

        Raises ``ValueError`` for a workflow without tasks, and for tasks whose ``parents`` were changed into a cycle.
        """
        self._check_graph()
        message = super().to_proto()
        on_failure = self._special.get(StepType.ON_FAILURE)
        if on_failure is not None:
            message.on_failure_task.CopyFrom(on_failure.to_proto(self.service_name))
        return message

    def _task_messages(self) -> list[workflows_pb2.CreateTaskOpts]:
        messages = [task.to_proto(self.service_name) for task in self._tasks]
        on_success = self._special.get(StepType.ON_SUCCESS)
        if on_success is not None:
            message = on_success.to_proto(self.service_name)
            message.parents.extend(leaf.readable_id for leaf in self._leaves())
            messages.append(message)
        return messages

    def _leaves(self) -> list[Task[TWorkflowInput, Any]]:
        above = {parent.readable_id for task in self._tasks for parent in task.parents}
        return [task for task in self._tasks if task.readable_id not in above]

    def _check_graph(self) -> None:
        if not self._tasks:
            raise ValueError(f"workflow '{self.name}' has no tasks: declare at least one with @workflow.task()")
        try:
            TopologicalSorter(
                {task.readable_id: [parent.readable_id for parent in task.parents] for task in self._tasks}
            ).prepare()
        except CycleError as error:
            raise ValueError(f"workflow '{self.name}' has a cycle: {' -> '.join(error.args[1])}") from None

    # --- results -------------------------------------------------------------------------------------------------

    def _ref(self, run_id: str) -> WorkflowRunRef:
        return WorkflowRunRef(run_id, self._client, self._children())

    def _value(self, outcome: RunOutcome, awaited: bool) -> dict[str, Any]:
        return outcome.awaited_outputs() if awaited else outcome.outputs()

    def _raises(self, outcome: RunOutcome, awaited: bool) -> bool:
        return outcome.failed or (outcome.cancelled and not awaited)


def _name_of(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", "")
