"""A task that is a workflow of its own: what ``@hatchet.task`` makes of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from pydantic import TypeAdapter, ValidationError

from hatchet_sdk.declare.runnable import Runnable
from hatchet_sdk.declare.task import R, Task, TWorkflowInput
from hatchet_sdk.run.call import Call
from hatchet_sdk.run.refs import TaskRunRef, WorkflowRunRef

if TYPE_CHECKING:
    from hatchet_sdk.declare.workflow import Workflow
    from hatchet_sdk.run.outcome import RunOutcome


class Standalone(Runnable[TWorkflowInput, R, TaskRunRef[TWorkflowInput, R]], Generic[TWorkflowInput, R]):
    """Runs a task by itself. Every method has an ``aio_`` twin with the same arguments and exceptions."""

    def __init__(self, workflow: Workflow[TWorkflowInput], task: Task[TWorkflowInput, R]) -> None:
        super().__init__(workflow.config, workflow.client)
        self._task = task
        # Readable by hand and by tools that follow decorators to the function.
        self.__wrapped__ = task.fn
        self.__doc__ = task.fn.__doc__ or type(self).__doc__

    @property
    def tasks(self) -> list[Task[TWorkflowInput, Any]]:
        return [self._task]

    @property
    def is_async_function(self) -> bool:
        """Whether the function was declared with ``async def``."""
        return self._task.is_async_function

    @property
    def output_validator(self) -> TypeAdapter[R]:
        return self._task.output_validator

    @property
    def output_validator_type(self) -> type[R]:
        return self._task.output_validator_type

    def get_run_ref(self, run_id: str) -> TaskRunRef[TWorkflowInput, R]:
        """A reference to a run of this task by its id; nothing is asked of the engine."""
        return TaskRunRef(self, WorkflowRunRef(run_id, self._client))

    def get_result(self, run_id: str) -> R:
        """Block until the run ends; what the task returned. Raises like :meth:`run`."""
        return self._end_of(run_id, awaited=False).block()

    async def aio_get_result(self, run_id: str) -> R:
        """Await the end of the run; what the task returned. Raises like :meth:`run`."""
        return await self._end_of(run_id, awaited=True).wait()

    def _end_of(self, run_id: str, *, awaited: bool) -> Call[RunOutcome, R]:
        children = self._children()
        runner = children if children is not None and children.has(run_id) else self._client.runner
        awaited = self._is_lenient(runner, awaited)
        return Call(self._client.connection, runner.wait(run_id), lambda outcome: self._value(outcome, awaited))

    def _ref(self, run_id: str) -> TaskRunRef[TWorkflowInput, R]:
        return self.get_run_ref(run_id)

    def _value(self, outcome: RunOutcome, awaited: bool) -> R:
        if self._gives_nothing(outcome, awaited):
            return self._nothing()
        return self._task.parse_output(outcome.output_of(self._task.readable_id))

    def _raises(self, outcome: RunOutcome, awaited: bool) -> bool:
        # A cancelled task has nothing to return, so both twins say why.
        return outcome.failed or (outcome.cancelled and not self._gives_nothing(outcome, awaited))

    def _nothing(self) -> R:
        """The empty value of the declared type, or what a task gives that returned nothing."""
        try:
            return self._task.parse_output("{}")
        except ValidationError:
            return self._task.parse_output(None)

    def _gives_nothing(self, outcome: RunOutcome, awaited: bool) -> bool:
        """A batch task that cancels itself refuses work; who awaits a run of it gets nothing instead of an exception
        (C-16.29)."""
        return awaited and outcome.cancelled and self._task.batch is not None
