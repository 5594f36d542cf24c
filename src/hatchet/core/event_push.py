"""What may be pushed as an event, and what is kept of it (behaviour-core C-12.1, C-12.5)."""

from __future__ import annotations

from dataclasses import dataclass

from hatchet.core.definitions import DEFAULT_PRIORITY, MAX_PRIORITY
from hatchet.core.errors import InvalidArgument
from hatchet.core.json_texts import EMPTY_OBJECT, check_json, normal_metadata
from hatchet.core.messages import EventRecord

MAX_KEY_BYTES = 2000
"""Events are found by their key, and an entry of a PostgreSQL index holds about 2,700 bytes."""


@dataclass(slots=True, frozen=True, kw_only=True)
class NewEvent:
    """One event to push (C-12.1); ``payload`` and ``additional_metadata`` are JSON texts."""

    key: str
    payload: str
    additional_metadata: str = ""
    """A JSON object; empty for none."""
    scope: str | None = None
    priority: int | None = None
    """Of the runs that the event starts, 1 to 3; None leaves it to their workflows (C-12.29)."""
    happened_at: float | None = None
    """The caller's time; None when it gave none that can be kept."""


def accepted(event: NewEvent, *, tenant_id: str, event_id: str, now: float, where: str = "") -> EventRecord:
    """The event as it is kept, under ``event_id`` and seen at ``now`` (C-12.7).

    Texts stay as they were given: a payload that is no object is taken (C-12.34), and a ``*`` in a key is a plain
    character (C-12.6). Raises :class:`InvalidArgument` that names the field, with ``where`` before its name.
    """
    _check_key(event.key, f"{where}key")
    check_json(event.payload, f"{where}payload")
    metadata = normal_metadata(event.additional_metadata, f"{where}additional_metadata")
    _refuse_null(event.scope or "", f"{where}scope")
    priority = event.priority
    if priority is not None and not DEFAULT_PRIORITY <= priority <= MAX_PRIORITY:
        raise InvalidArgument(
            f"{where}priority must be between {DEFAULT_PRIORITY} and {MAX_PRIORITY}, got {priority}: "
            "leave it out to use the workflow's"
        )
    return EventRecord(
        tenant_id=tenant_id,
        id=event_id,
        key=event.key,
        payload=event.payload,
        additional_metadata="" if metadata == EMPTY_OBJECT else metadata,
        scope=event.scope or None,
        priority=priority,
        happened_at=_stored_time(now if event.happened_at is None else event.happened_at),
        inserted_at=_stored_time(now),
    )


def _stored_time(seconds: float) -> float:
    """To the microsecond, as the row keeps it: what waits compare must not depend on where the event came from."""
    return round(seconds, 6)


def _check_key(key: str, field: str) -> None:
    if not key:
        raise InvalidArgument(f"{field} must not be empty: give the event a key, such as user:created")
    _refuse_null(key, field)
    size = len(key.encode())
    if size > MAX_KEY_BYTES:
        raise InvalidArgument(f"{field} must be at most {MAX_KEY_BYTES} bytes long, not {size}: shorten it")


def _refuse_null(text: str, field: str) -> None:
    if "\x00" in text:
        raise InvalidArgument(f"{field} contains the null character, remove it")
