"""References to runs: the id, and the result when one wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from hatchet_sdk.declare.task import R, TWorkflowInput
from hatchet_sdk.run.call import Call

if TYPE_CHECKING:
    from hatchet_sdk.client import Client
    from hatchet_sdk.declare.standalone import Standalone
    from hatchet_sdk.run.durable_runner import DurableRunner
    from hatchet_sdk.run.outcome import RunOutcome


class WorkflowRunRef:
    """A run of a workflow."""

    def __init__(self, workflow_run_id: str, client: Client, children: DurableRunner | None = None) -> None:
        self.workflow_run_id = workflow_run_id
        self._client = client
        # Of a run that a durable task created: its end comes by way of the log, and the wait for it may be evicted.
        self._children = children

    def __repr__(self) -> str:
        return f"WorkflowRunRef({self.workflow_run_id!r})"

    def result(self, poll_interval: float | None = None) -> dict[str, Any]:
        """Block until the run ends; the outputs of all tasks by task name, None for a task that returned nothing.

        The result is pushed by the engine; ``poll_interval`` is accepted for compatibility and not needed.

        Raises ``FailedTaskRunExceptionGroup`` when a task failed, ``CancelledRunError`` (a ``ValueError``) when the run
        was cancelled.
        """
        return self._end().block().outputs()

    async def aio_result(self) -> dict[str, Any]:
        """Await the end of the run; the outputs of the tasks that have one, by task name.

        A run that was cancelled gives the outputs there are (C-7.21). Raises ``FailedTaskRunExceptionGroup`` when a
        task failed.
        """
        if self._by_log():
            return (await self._end().wait()).outputs()
        return (await self._end().wait()).awaited_outputs()

    def _by_log(self) -> bool:
        return self._children is not None and self._children.has(self.workflow_run_id)

    def _end(self) -> Call[RunOutcome, RunOutcome]:
        runner = self._children if self._children is not None and self._by_log() else self._client.runner
        return Call(self._client.connection, runner.wait(self.workflow_run_id), lambda outcome: outcome)


class TaskRunRef(Generic[TWorkflowInput, R]):
    """A run of a standalone task; knows the type of its result."""

    def __init__(self, standalone: Standalone[TWorkflowInput, R], workflow_run_ref: WorkflowRunRef) -> None:
        self._standalone = standalone
        self.workflow_run_id = workflow_run_ref.workflow_run_id

    def __repr__(self) -> str:
        return f"TaskRunRef({self._standalone.name!r}, {self.workflow_run_id!r})"

    def result(self, poll_interval: float | None = None) -> R:
        """Block until the run ends; what the task returned.

        ``poll_interval`` is accepted for compatibility and not needed. Raises ``FailedTaskRunExceptionGroup`` when the
        task failed, ``CancelledRunError`` (a ``ValueError``) when the run was cancelled.
        """
        return self._standalone.get_result(self.workflow_run_id)

    async def aio_result(self) -> R:
        """Await the end of the run; the same values and exceptions as ``result``, also for a cancelled run."""
        return await self._standalone.aio_get_result(self.workflow_run_id)
