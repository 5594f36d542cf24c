"""Finished runs and details of runs as clients read them (behaviour-core C-7)."""

from __future__ import annotations

import structlog

from hatchet.core.messages import RunDetails, RunFinished, TaskDetail, TaskResult
from hatchet.core.statuses import RunStatus
from hatchet.grpc.fields import to_timestamp
from hatchet_contracts.dispatcher_pb2 import WORKFLOW_RUN_EVENT_TYPE_FINISHED, StepRunResult, WorkflowRunEvent
from hatchet_contracts.v1 import workflows_pb2 as v1

SOFT_LIMIT_BYTES = 3_000_000
ERROR_TOO_LARGE = "Error is too large to send over the Hatchet stream."
NO_ERROR_TEXT = "The task failed without an error text."

_log = structlog.get_logger(__name__)

# Over gRPC an evicted task runs (C-6.2).
_STATUS: dict[RunStatus, v1.RunStatus] = {
    RunStatus.QUEUED: v1.QUEUED,
    RunStatus.RUNNING: v1.RUNNING,
    RunStatus.EVICTED: v1.RUNNING,
    RunStatus.COMPLETED: v1.COMPLETED,
    RunStatus.FAILED: v1.FAILED,
    RunStatus.CANCELLED: v1.CANCELLED,
}


def run_event(finished: RunFinished, max_message_bytes: int) -> WorkflowRunEvent:
    """The FINISHED event of a run, small enough to be sent (C-7.1, C-7.12)."""
    event = WorkflowRunEvent(
        workflow_run_id=finished.run_id,
        event_type=WORKFLOW_RUN_EVENT_TYPE_FINISHED,
        event_timestamp=to_timestamp(finished.at),
        results=map(_result, finished.results),
    )
    if event.ByteSize() > SOFT_LIMIT_BYTES:
        _shrink(event, max_message_bytes)
    return event


def _result(task: TaskResult) -> StepRunResult:
    """Presence carries meaning (C-7.9, C-7.10): no error on success, a present empty one on cancel."""
    error: str | None = None
    output: str | None = None
    if task.status is RunStatus.COMPLETED:
        output = task.output
    elif task.status is RunStatus.CANCELLED:
        error = ""
    elif task.status is RunStatus.FAILED:
        # Clients take an empty error for success.
        error = task.error or NO_ERROR_TEXT
    return StepRunResult(
        task_run_external_id=task.task_id,
        task_name=task.readable_id,
        job_run_id=task.task_id,
        error=error,
        output=output,
    )


def _shrink(event: WorkflowRunEvent, max_message_bytes: int) -> None:
    """Replace the largest errors until the event is small; when it still cannot be sent at all, drop the results."""
    for result in sorted(event.results, key=lambda result: len(result.error), reverse=True):
        if event.ByteSize() <= SOFT_LIMIT_BYTES or len(result.error) <= len(ERROR_TOO_LARGE):
            break
        result.error = ERROR_TOO_LARGE
    if event.ByteSize() > max_message_bytes:
        _log.warning("results are too large to send and were left out", run_id=event.workflow_run_id)
        del event.results[:]


def details_response(details: RunDetails) -> v1.GetRunDetailsResponse:
    """The answer of GetRunDetails (C-7.23, C-7.24, C-7.31)."""
    return v1.GetRunDetailsResponse(
        input=details.input.encode(),
        additional_metadata=details.additional_metadata.encode(),
        status=_STATUS[details.status],
        done=details.done,
        is_evicted=details.is_evicted,
        task_runs={task.readable_id: _detail(task) for task in details.tasks},
    )


def _detail(task: TaskDetail) -> v1.TaskRunDetail:
    error = output = None
    if task.status is RunStatus.FAILED:
        error = task.error or NO_ERROR_TEXT
    elif task.status is RunStatus.COMPLETED and task.output:
        output = task.output.encode()
    return v1.TaskRunDetail(
        external_id=task.task_id,
        readable_id=task.readable_id,
        status=_STATUS[task.status],
        is_evicted=task.is_evicted,
        error=error,
        output=output,
    )
