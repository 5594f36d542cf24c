"""Runs and tasks in the shapes of the contract (behaviour-rest R-10, R-11)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from hatchet.core.history import TaskEvent
from hatchet.core.messages import Caller
from hatchet.core.run_views import RunView, TaskView
from hatchet.core.statuses import RunStatus, TaskEventType
from hatchet.engine.run_views import Timing
from hatchet.rest.json_bodies import object_of
from hatchet.rest.schemas import V1TaskEvent
from hatchet.rest.schemas_runs import (
    TaskStatus,
    V1TaskSummary,
    V1TaskTiming,
    V1WorkflowRun,
    V1WorkflowRunDetails,
    WorkflowRunShapeItemForWorkflowRunDetails,
)
from hatchet.rest.times import instant, maybe_instant, resource_meta

EVENTS_A_TASK = 1_000_000
"""Events are numbered inside their task; this keeps the numbers of a run's tasks apart."""
_NUMBER_BITS = (1 << 53) - 1

_STATUSES: dict[RunStatus, TaskStatus] = {
    RunStatus.QUEUED: "QUEUED",
    RunStatus.RUNNING: "RUNNING",
    RunStatus.EVICTED: "RUNNING",
    RunStatus.COMPLETED: "COMPLETED",
    RunStatus.FAILED: "FAILED",
    RunStatus.CANCELLED: "CANCELLED",
}
_ERRORS = {
    TaskEventType.FAILED,
    TaskEventType.TIMED_OUT,
    TaskEventType.SCHEDULING_TIMED_OUT,
    TaskEventType.COULD_NOT_SEND_TO_WORKER,
}
_SHOWN_AS = {TaskEventType.BATCH_BUFFERED: TaskEventType.WAITING_FOR_BATCH}
"""Clients know no other names than those of R-11.4 (R-1.7)."""


def status_name(status: RunStatus) -> TaskStatus:
    """One of the five statuses that clients know (R-10.5)."""
    return _STATUSES[status]


def number_of(task_id: str) -> int:
    """The integer by which a task is known besides its id: the id's last 53 bits."""
    return UUID(task_id).int & _NUMBER_BITS


def run_details_body(view: RunView, config: dict[str, Any] | None, caller: Caller) -> V1WorkflowRunDetails:
    """A run with everything below it (R-10.22); ``config``: the registered definition."""
    return V1WorkflowRunDetails(
        run=_run_body(view, caller),
        shape=_shape(view),
        task_events=run_event_bodies(view, caller),
        tasks=[task_body(task, None, caller) for task in view.tasks],
        workflow_config=config,
    )


def task_body(task: TaskView, config: dict[str, Any] | None, caller: Caller) -> V1TaskSummary:
    """A task (R-10.1, R-10.2)."""
    version = task.version
    return V1TaskSummary(
        metadata=resource_meta(task.id, task.created_at),
        task_external_id=UUID(task.id),
        task_id=number_of(task.id),
        task_inserted_at=instant(task.created_at),
        created_at=instant(task.created_at),
        display_name=task.name,
        status=status_name(task.status),
        type="TASK",
        tenant_id=UUID(version.tenant_id),
        workflow_id=UUID(version.workflow_id),
        workflow_run_external_id=UUID(task.run_id),
        input=_payload(task.input, caller),
        output=_payload(task.output, caller),
        num_spawned_children=task.children,
        action_id=task.step.definition.action,
        step_id=UUID(task.step.id),
        workflow_name=version.name,
        workflow_version_id=UUID(version.id),
        retry_count=task.retry_count,
        attempt=task.retry_count + 1,
        additional_metadata=object_of(task.additional_metadata),
        started_at=maybe_instant(task.started_at),
        finished_at=maybe_instant(task.finished_at),
        duration=_duration(task.started_at, task.finished_at),
        error_message=task.error,
        is_durable=task.step.definition.is_durable,
        is_evicted=task.is_evicted,
        workflow_config=config,
        parent_task_external_id=_uuid(task.parent_task_id),
        payloads_restricted=None if caller.sees_payloads else True,
    )


def run_event_bodies(view: RunView, caller: Caller) -> list[V1TaskEvent]:
    """The events of all tasks of a run, newest first (R-10.29)."""
    bodies = [body for task in view.tasks for body in task_event_bodies(task, caller)]
    bodies.sort(key=lambda body: (body.timestamp, body.id), reverse=True)
    return bodies


def task_event_bodies(task: TaskView, caller: Caller) -> list[V1TaskEvent]:
    """The events of a task, newest first (R-11.3)."""
    first = task.step.index * EVENTS_A_TASK
    numbered = enumerate(_shown(task.events), start=first + 1)
    bodies = [_event_body(task, number, event, caller) for number, event in numbered]
    bodies.reverse()
    return bodies


def timing_body(timing: Timing) -> V1TaskTiming:
    """One bar of the waterfall (R-10.30)."""
    task = timing.task
    return V1TaskTiming(
        metadata=resource_meta(task.id, task.created_at),
        depth=timing.depth,
        status=status_name(task.status),
        is_evicted=task.is_evicted,
        task_display_name=task.name,
        task_external_id=UUID(task.id),
        task_id=number_of(task.id),
        task_inserted_at=instant(task.created_at),
        tenant_id=UUID(task.version.tenant_id),
        parent_task_external_id=_uuid(timing.parent_task_id),
        queued_at=maybe_instant(task.queued_at),
        started_at=maybe_instant(task.started_at),
        finished_at=maybe_instant(task.finished_at),
        workflow_run_id=UUID(task.run_id),
        retry_count=task.retry_count,
        attempt=task.retry_count + 1,
    )


def _run_body(view: RunView, caller: Caller) -> V1WorkflowRun:
    return V1WorkflowRun(
        metadata=resource_meta(view.id, view.created_at),
        status=status_name(view.status),
        display_name=view.name,
        tenant_id=UUID(view.version.tenant_id),
        workflow_id=UUID(view.version.workflow_id),
        workflow_version_id=UUID(view.version.id),
        input=_payload(view.input, caller),
        output=_payload(view.output, caller),
        additional_metadata=object_of(view.additional_metadata),
        error_message=view.error,
        started_at=maybe_instant(view.started_at),
        finished_at=maybe_instant(view.finished_at),
        duration=_duration(view.started_at, view.finished_at),
        created_at=instant(view.created_at),
        parent_task_external_id=_uuid(view.parent_task_id),
        payloads_restricted=None if caller.sees_payloads else True,
    )


def _shape(view: RunView) -> list[WorkflowRunShapeItemForWorkflowRunDetails]:
    steps = view.version.tasks
    children: dict[str, list[UUID]] = {}
    for step in steps:
        for parent in step.definition.parents:
            children.setdefault(parent, []).append(UUID(step.id))
    return [
        WorkflowRunShapeItemForWorkflowRunDetails(
            task_external_id=UUID(task_id),
            step_id=UUID(step.id),
            children_step_ids=children.get(step.definition.readable_id, []),
            task_name=step.definition.readable_id,
        )
        for task_id, step in zip(view.task_ids, steps, strict=True)
    ]


def _shown(events: Iterable[TaskEvent]) -> Sequence[TaskEvent]:
    """What clients know; of a task that waits for its batch the two events are shown as one."""
    found: list[TaskEvent] = []
    for event in events:
        before = found[-1] if found else None
        is_again = before is not None and before.type is TaskEventType.BATCH_BUFFERED
        if not (is_again and event.type is TaskEventType.WAITING_FOR_BATCH):
            found.append(event)
    return found


def _event_body(task: TaskView, number: int, event: TaskEvent, caller: Caller) -> V1TaskEvent:
    return V1TaskEvent(
        id=number,
        task_id=UUID(task.id),
        timestamp=instant(event.at),
        event_type=_SHOWN_AS.get(event.type, event.type).value,
        message=event.message,
        error_message=event.message if event.type in _ERRORS else None,
        output=event.output if caller.sees_payloads else None,
        worker_id=_uuid(event.worker_id),
        task_display_name=task.name,
        retry_count=event.retry_count,
        attempt=event.retry_count + 1,
    )


def _payload(text: str | None, caller: Caller) -> dict[str, Any]:
    return object_of(text) if caller.sees_payloads else {}


def _duration(started_at: float | None, finished_at: float | None) -> int | None:
    if started_at is None or finished_at is None:
        return None
    return max(0, int((finished_at - started_at) * 1000))


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
