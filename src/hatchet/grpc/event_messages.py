"""Log lines, stream chunks and events of runs between wire and engine (behaviour-core C-7.32 to C-7.40, C-13)."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from hatchet.core.clock import Clock
from hatchet.core.errors import InvalidArgument
from hatchet.core.json_texts import normal_metadata
from hatchet.core.run_events import RunEvent, RunEventKind
from hatchet.core.task_logs import DEFAULT_LEVEL, LEVELS, MOST_CHARACTERS, TaskLogLine
from hatchet.grpc.fields import quoted, required_uuid, to_seconds, to_timestamp
from hatchet.grpc.result_messages import ERROR_TOO_LARGE, NO_ERROR_TEXT
from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_contracts.events_pb2 import PutLogRequest, PutStreamEventRequest

CLOCK_TOLERANCE_SECONDS = 5.0

_log = structlog.get_logger(__name__)

_KINDS: dict[RunEventKind, pb.ResourceEventType] = {
    RunEventKind.STARTED: pb.RESOURCE_EVENT_TYPE_STARTED,
    RunEventKind.COMPLETED: pb.RESOURCE_EVENT_TYPE_COMPLETED,
    RunEventKind.FAILED: pb.RESOURCE_EVENT_TYPE_FAILED,
    RunEventKind.CANCELLED: pb.RESOURCE_EVENT_TYPE_CANCELLED,
    RunEventKind.STREAM: pb.RESOURCE_EVENT_TYPE_STREAM,
}


@dataclass(slots=True, frozen=True)
class Followed:
    """What a subscriber wants: one run, or every run with a pair of metadata (C-7.32)."""

    run_id: str | None
    key: str
    value: str


@dataclass(slots=True, frozen=True)
class Chunk:
    """A piece of text that a task streams."""

    task_id: str
    index: int | None
    text: str
    at: float


def task_log_line(request: PutLogRequest) -> TaskLogLine:
    """What a task logs (C-13.1 to C-13.4). Raises :class:`InvalidArgument`.

    The null character, which PostgreSQL cannot store, becomes the replacement character (C-13.8).
    """
    level = request.level or DEFAULT_LEVEL
    if level not in LEVELS:
        raise InvalidArgument(f"invalid level {quoted(level)}: send one of {', '.join(LEVELS)}, or nothing")
    if not 1 <= len(request.message) <= MOST_CHARACTERS:
        raise InvalidArgument(
            f"message must have 1 to {MOST_CHARACTERS} characters, not {len(request.message)}: cut or split it"
        )
    retry_count = request.task_retry_count if request.HasField("task_retry_count") else None
    if retry_count is not None and retry_count < 0:
        raise InvalidArgument(f"task_retry_count must be 0 or more, not {retry_count}")
    return TaskLogLine(
        task_id=required_uuid(request.task_run_external_id, "task_run_external_id"),
        message=request.message.replace("\x00", "\ufffd"),
        level=level,
        metadata=normal_metadata(request.metadata, "metadata") if request.metadata else "",
        retry_count=retry_count,
        created_at=_seconds(request.created_at if request.HasField("created_at") else None),
    )


def stream_chunk(request: PutStreamEventRequest, clock: Clock) -> Chunk:
    """A chunk with the client's time, unless its clock is off (C-13.9, C-17.53). Raises :class:`InvalidArgument`.

    Bytes that are no UTF-8 become replacement characters: subscribers get text (C-7.40).
    """
    index = request.event_index if request.HasField("event_index") else None
    if index is not None and index < 0:
        raise InvalidArgument(f"event_index must be 0 or more, not {index}: chunks are numbered from 0 in each attempt")
    now = clock.now()
    at = _seconds(request.created_at if request.HasField("created_at") else None)
    return Chunk(
        task_id=required_uuid(request.task_run_external_id, "task_run_external_id"),
        index=index,
        text=request.message.decode("utf-8", "replace"),
        at=at if at is not None and abs(at - now) <= CLOCK_TOLERANCE_SECONDS else now,
    )


def followed(request: pb.SubscribeToWorkflowEventsRequest) -> Followed:
    """What the subscriber wants. Raises :class:`InvalidArgument` when it names neither (C-7.32)."""
    if request.workflow_run_id:
        return Followed(required_uuid(request.workflow_run_id, "workflow_run_id"), "", "")
    if not request.additional_meta_key or not request.HasField("additional_meta_value"):
        raise InvalidArgument("send workflow_run_id, or additional_meta_key with additional_meta_value")
    return Followed(None, request.additional_meta_key, request.additional_meta_value)


def workflow_event(event: RunEvent, max_message_bytes: int) -> pb.WorkflowEvent:
    """An event as clients read it (C-7.33). A payload that is too large to be sent is left out."""
    is_run = event.task_id is None
    payload = event.payload
    if event.kind is RunEventKind.FAILED and not is_run:
        payload = payload or NO_ERROR_TEXT
    message = pb.WorkflowEvent(
        workflow_run_id=event.run_id,
        resource_type=pb.RESOURCE_TYPE_WORKFLOW_RUN if is_run else pb.RESOURCE_TYPE_STEP_RUN,
        event_type=_KINDS[event.kind],
        resource_id=event.run_id if event.task_id is None else event.task_id,
        event_timestamp=to_timestamp(event.at),
        event_payload=payload,
        hangup=event.is_last,
        task_retries=event.task_retries,
        retry_count=event.retry_count,
        event_index=event.index,
    )
    if message.ByteSize() > max_message_bytes:
        _log.warning("an event is too large to send and goes without its payload", task_id=event.task_id)
        message.event_payload = ERROR_TOO_LARGE if event.kind is RunEventKind.FAILED else ""
    return message


def _seconds(timestamp: Timestamp | None) -> float | None:
    return None if timestamp is None else to_seconds(timestamp)
