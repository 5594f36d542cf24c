"""Pushed events between the wire and the engine (behaviour-core C-12.1 to C-12.3)."""

from __future__ import annotations

from collections.abc import Sequence

from hatchet.core.errors import InvalidArgument
from hatchet.core.event_push import NewEvent
from hatchet.core.json_texts import EMPTY_OBJECT
from hatchet.core.messages import EventRecord
from hatchet.grpc.fields import to_seconds, to_timestamp
from hatchet_contracts import events_pb2 as pb

MAX_BULK_EVENTS = 1000
"""C-17.9."""

_ADDED_BYTES = 160
"""At most what an answer holds of an event besides what the request had: two ids, a time, lengths."""


def new_event(request: pb.PushEventRequest) -> NewEvent:
    """One event to push. A time that no honest clock shows is the same as none: it is informational (C-12.7)."""
    return NewEvent(
        key=request.key,
        payload=request.payload,
        additional_metadata=request.additional_metadata,
        scope=request.scope,
        priority=request.priority if request.HasField("priority") else None,
        happened_at=to_seconds(request.event_timestamp),
    )


def new_events(requests: Sequence[pb.PushEventRequest]) -> list[NewEvent]:
    """The events of a bulk (C-12.3). Raises :class:`InvalidArgument` for none and for more than 1000."""
    if not requests:
        raise InvalidArgument("No events to ingest")
    if len(requests) > MAX_BULK_EVENTS:
        raise InvalidArgument(f"events: at most {MAX_BULK_EVENTS} items a call, not {len(requests)}")
    return [new_event(request) for request in requests]


def refuse_unanswerable(request_bytes: int, events: int, max_message_bytes: int) -> None:
    """Refuse a push whose answer would be too large to be sent: the caller would take it for lost and push again."""
    if request_bytes + events * _ADDED_BYTES > max_message_bytes:
        raise InvalidArgument(
            f"events: {request_bytes} bytes are too many for one call, because the answer repeats them and must stay "
            f"below {max_message_bytes} bytes: push fewer or smaller events a call"
        )


def event_message(record: EventRecord) -> pb.Event:
    """The answer for one event (C-12.2). Its time is the server's: clients show it as the time of being seen."""
    return pb.Event(
        tenant_id=record.tenant_id,
        event_id=record.id,
        key=record.key,
        payload=record.payload,
        event_timestamp=to_timestamp(record.inserted_at),
        additional_metadata=record.additional_metadata or EMPTY_OBJECT,
        scope=record.scope,
    )
