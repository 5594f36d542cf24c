"""Between the worker protocol's messages and the engine's data: assignments out, reports and registrations in."""

from __future__ import annotations

from collections.abc import Mapping

from hatchet.core.clock import Clock
from hatchet.core.errors import InvalidArgument
from hatchet.core.event_triggers import triggering_event
from hatchet.core.ids import parse_uuid
from hatchet.core.messages import Action, ActionKind, BatchStart, ReportKind, TaskReport, WorkerRegistration
from hatchet.core.validation import normal_action
from hatchet.grpc.fields import clean_text, required_uuid, to_seconds, to_timestamp
from hatchet_contracts.dispatcher_pb2 import (
    CANCEL_STEP_RUN,
    SDKS,
    START_BATCH,
    START_STEP_RUN,
    STEP_EVENT_TYPE_ACKNOWLEDGED,
    STEP_EVENT_TYPE_CANCELLED,
    STEP_EVENT_TYPE_COMPLETED,
    STEP_EVENT_TYPE_FAILED,
    STEP_EVENT_TYPE_STARTED,
    AssignedAction,
    BatchActionEvent,
    BatchActionEventItem,
    RuntimeInfo,
    StepActionEvent,
    WorkerLabels,
    WorkerRegisterRequest,
)

DEFAULT_SLOTS = 100
MAX_RETRY_AFTER_MS = 365 * 86_400_000

_REPORT_KINDS: dict[int, ReportKind] = {
    STEP_EVENT_TYPE_STARTED: ReportKind.STARTED,
    STEP_EVENT_TYPE_ACKNOWLEDGED: ReportKind.ACKNOWLEDGED,
    STEP_EVENT_TYPE_COMPLETED: ReportKind.COMPLETED,
    STEP_EVENT_TYPE_FAILED: ReportKind.FAILED,
    STEP_EVENT_TYPE_CANCELLED: ReportKind.CANCELLED,
}

# REST shows these names (C-2.9).
_LANGUAGES: dict[int, str] = {
    SDKS.GO: "GOLANG",
    SDKS.PYTHON: "PYTHON",
    SDKS.TYPESCRIPT: "TYPESCRIPT",
    SDKS.RUBY: "RUBY",
}


def assigned_action(action: Action) -> AssignedAction:
    """The message on a worker's stream (C-5.1, C-5.18). A field given as None stays unset."""
    if action.batch is not None:
        return _batch_action(action, action.batch)
    task_id = action.task_id
    event_id, event_key = triggering_event(action.additional_metadata)
    return AssignedAction(
        tenant_id=action.tenant_id,
        workflow_run_id=action.run_id,
        job_id=action.step_id,
        job_name=action.readable_id,
        job_run_id=task_id,
        task_id=action.step_id,
        task_run_external_id=task_id,
        action_id=action.action,
        action_type=START_STEP_RUN if action.kind is ActionKind.START else CANCEL_STEP_RUN,
        action_payload=action.payload,
        task_name=action.readable_id,
        retry_count=action.retry_count,
        additional_metadata=action.additional_metadata or None,
        child_workflow_index=action.child_index,
        child_workflow_key=action.child_key,
        # What the reference sends here is the parent task's id (C-5.1).
        parent_workflow_run_id=action.parent_task_id or action.parent_run_id,
        priority=action.priority,
        workflow_id=action.workflow_id,
        workflow_version_id=action.version_id,
        triggering_event_external_id=event_id,
        triggering_event_key=event_key,
        task_inserted_at=to_timestamp(action.inserted_at),
        durable_task_invocation_count=action.invocation,
    )


def _batch_action(action: Action, batch: BatchStart) -> AssignedAction:
    """A message about a batch: no task is named in it (C-16.19).

    A worker keys an attempt by task id and retry count (C-5.2) and a batch by its id (C-16.22), so the batch's id
    stands for the task's in the message that stops it.
    """
    message = AssignedAction(
        tenant_id=action.tenant_id, action_id=action.action, batchId=batch.id, batchKey=batch.key or None
    )
    if action.kind is ActionKind.CANCEL_BATCH:
        message.action_type = CANCEL_STEP_RUN
        message.task_run_external_id = batch.id
    else:
        message.action_type = START_BATCH
        message.action_payload = action.payload
        message.batchStartPayload.triggerReason = batch.reason
        message.batchStartPayload.triggerTime.CopyFrom(to_timestamp(batch.flushed_at))
        message.batchStartPayload.expectedSize = batch.size
    return message


def task_report(event: StepActionEvent, clock: Clock) -> TaskReport:
    """What a worker says about an attempt (C-5.23 to C-5.28); its id counts for durable tasks only (C-5.24, D-16.7).

    Raises :class:`InvalidArgument` for a task id that is no UUID and for an unknown event type.
    """
    kind = _report_kind(event.event_type)
    at = to_seconds(event.event_timestamp) if event.HasField("event_timestamp") else None
    return TaskReport(
        task_id=required_uuid(event.task_run_external_id, "task_run_external_id"),
        kind=kind,
        payload=event.event_payload,
        retry_count=event.retry_count if event.HasField("retry_count") else None,
        at=clock.now() if at is None else at,
        should_not_retry=event.should_not_retry,
        retry_after_ms=_retry_after(event) if event.HasField("retry_after_ms") else None,
        worker_id=parse_uuid(event.worker_id) or event.worker_id or None,
    )


def task_reports(event: BatchActionEvent, clock: Clock) -> list[TaskReport]:
    """The reports in one message, which share their kind, time and batch (C-16.24 to C-16.27).

    Raises :class:`InvalidArgument` for an id that is no UUID and for an event type that a batch does not have.
    """
    kind = _report_kind(event.event_type)
    batch_id = required_uuid(event.batch_id, "batch_id") if event.batch_id else None
    if batch_id is not None and kind is ReportKind.ACKNOWLEDGED:
        raise InvalidArgument(
            "event_type ACKNOWLEDGED is unknown for a batch: send started, completed, failed or cancelled"
        )
    at = to_seconds(event.event_timestamp) if event.HasField("event_timestamp") else None
    at = clock.now() if at is None else at
    return [
        TaskReport(
            task_id=required_uuid(item.task_run_external_id, "task_run_external_id"),
            kind=kind,
            payload=item.event_payload,
            retry_count=item.retry_count if item.HasField("retry_count") else None,
            at=at,
            should_not_retry=item.should_not_retry,
            retry_after_ms=_retry_after(item) if item.HasField("retry_after_ms") else None,
            batch_id=batch_id,
        )
        for item in event.items
    ]


def _report_kind(event_type: int) -> ReportKind:
    kind = _REPORT_KINDS.get(event_type)
    if kind is None:
        raise InvalidArgument(f"event_type {event_type} is unknown: send started, completed, failed or cancelled")
    return kind


def _retry_after(event: StepActionEvent | BatchActionEventItem) -> int:
    # Refusing a strange delay would lose the report of the failure, so it is brought into range.
    return min(max(event.retry_after_ms, 0), MAX_RETRY_AFTER_MS)


def worker_registration(request: WorkerRegisterRequest) -> WorkerRegistration:
    """What a worker tells about itself (C-2.4 to C-2.10). Raises :class:`InvalidArgument`."""
    info = request.runtime_info
    return WorkerRegistration(
        name=clean_text(request.worker_name, "worker_name"),
        actions=tuple(dict.fromkeys(normal_action(action) for action in request.actions)),
        slots=_slots(request),
        labels=worker_labels(request.labels),
        sdk_version=_info_text(info, "sdk_version"),
        language=_LANGUAGES.get(info.language) if info.HasField("language") else None,
        language_version=_info_text(info, "language_version"),
        os=_info_text(info, "os"),
        runtime_extra=_info_text(info, "extra"),
    )


def _info_text(info: RuntimeInfo, field: str) -> str | None:
    text: str = getattr(info, field)
    return clean_text(text, f"runtime_info.{field}") or None


def _slots(request: WorkerRegisterRequest) -> dict[str, int]:
    """Slot type to units by C-2.6."""
    if not request.slot_config:
        units = request.slots if request.HasField("slots") else DEFAULT_SLOTS
        if units < 0:
            raise InvalidArgument(f"slots must be 0 or more, not {units}")
        return {"default": units}
    if request.HasField("slots"):
        raise InvalidArgument("slots and slot_config are both given: send slot_config only")
    for slot_type, units in request.slot_config.items():
        if not slot_type:
            raise InvalidArgument("slot_config: a slot type must not be empty")
        if units < 0:
            raise InvalidArgument(f"slot_config: {slot_type} must have 0 units or more, not {units}")
        clean_text(slot_type, "slot_config")
    return dict(request.slot_config)


def worker_labels(labels: Mapping[str, WorkerLabels]) -> dict[str, str | int]:
    """Label values by key; a label without a value is ignored (C-2.10). Raises :class:`InvalidArgument`."""
    found: dict[str, str | int] = {}
    for key, label in labels.items():
        clean_text(key, "labels")
        if label.HasField("str_value"):
            found[key] = clean_text(label.str_value, f"labels.{key}")
        elif label.HasField("int_value"):
            found[key] = label.int_value
    return found
