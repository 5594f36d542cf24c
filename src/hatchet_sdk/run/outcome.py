"""What became of a run, and how that turns into values or exceptions (behaviour-core C-7.9, C-7.15, C-7.19, C-7.21)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hatchet_sdk.declare.values import parse_json
from hatchet_sdk.exceptions import CancelledRunError, FailedTaskRunExceptionGroup, TaskRunError

if TYPE_CHECKING:
    from hatchet_contracts.dispatcher_pb2 import WorkflowRunEvent
    from hatchet_contracts.v1.workflows_pb2 import GetRunDetailsResponse


@dataclass(slots=True, frozen=True)
class TaskOutcome:
    """The end of one task. ``error`` is None on success, empty when cancelled; ``output`` is JSON text."""

    name: str
    task_run_id: str
    error: str | None
    output: str | None


@dataclass(slots=True, frozen=True)
class RunOutcome:
    """The end of a run."""

    run_id: str
    tasks: tuple[TaskOutcome, ...]

    @property
    def failed(self) -> bool:
        """Whether a task failed."""
        return any(task.error for task in self.tasks)

    @property
    def cancelled(self) -> bool:
        """Whether a task was cancelled and none failed (C-6.7)."""
        return not self.failed and any(task.error is not None for task in self.tasks)

    def raise_if_failed(self) -> None:
        """Raise ``FailedTaskRunExceptionGroup`` if a task failed."""
        errors = [_task_error(task) for task in self.tasks if task.error]
        if errors:
            raise FailedTaskRunExceptionGroup(f"Workflow run {self.run_id} failed.", errors)

    def raise_for_status(self) -> None:
        """Raise ``FailedTaskRunExceptionGroup`` if a task failed, else ``CancelledRunError`` if one was cancelled."""
        self.raise_if_failed()
        if self.cancelled:
            raise CancelledRunError(self.run_id)

    def outputs(self) -> dict[str, Any]:
        """What a blocking caller gets: the parsed outputs of all tasks by name, None where there is none (C-7.15).

        Raises like ``raise_for_status``.
        """
        self.raise_for_status()
        return {task.name: parse_json(task.output) if task.output else None for task in self.tasks}

    def awaited_outputs(self) -> dict[str, Any]:
        """What an awaiting caller gets: the outputs that there are, also those of a cancelled run (C-7.15, C-7.21).

        Raises ``FailedTaskRunExceptionGroup`` if a task failed.
        """
        self.raise_if_failed()
        return {task.name: parse_json(task.output) for task in self.tasks if task.output}

    def output_of(self, name: str) -> str | None:
        """The JSON text that the task ``name`` returned; None when it returned nothing."""
        self.raise_for_status()
        for task in self.tasks:
            if task.name == name:
                return task.output
        # A standalone run has one task; an engine that names it otherwise still means it.
        return self.tasks[0].output if len(self.tasks) == 1 else None


def _task_error(task: TaskOutcome) -> TaskRunError:
    error = TaskRunError.deserialize(task.error or "")
    if error.task_run_external_id is None:
        error.task_run_external_id = task.task_run_id
    return error


def from_event(event: WorkflowRunEvent) -> RunOutcome:
    """The outcome that a FINISHED event carries."""
    return RunOutcome(
        event.workflow_run_id,
        tuple(
            TaskOutcome(
                result.task_name,
                result.task_run_external_id,
                result.error if result.HasField("error") else None,
                result.output or None,
            )
            for result in event.results
        ),
    )


def from_details(run_id: str, details: GetRunDetailsResponse) -> RunOutcome | None:
    """The outcome that GetRunDetails shows; None while the run is not final (C-7.27)."""
    from hatchet_contracts.v1.workflows_pb2 import RunStatus

    if not details.done or details.status not in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED):
        return None
    tasks = []
    for name, task in details.task_runs.items():
        # An empty error means none here; the status tells a cancelled task from a completed one (C-7.24).
        error = task.error or ("" if task.status == RunStatus.CANCELLED else None)
        if error is None and task.status == RunStatus.FAILED:
            error = "the task failed without an error text"
        tasks.append(TaskOutcome(task.readable_id or name, task.external_id, error, task.output.decode() or None))
    return RunOutcome(run_id, tuple(tasks))
