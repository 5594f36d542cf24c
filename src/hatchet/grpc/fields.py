"""Checks and conversions of single request fields."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from hatchet.core.errors import InvalidArgument
from hatchet.core.ids import parse_uuid
from hatchet.core.validation_texts import MAX_INT32

_QUOTED = 60
_LAST_INSTANT = 253_402_300_799
"""End of the year 9999: later instants are no timestamps of PostgreSQL's text form."""


def required_uuid(text: str, field: str) -> str:
    """The normal form of a UUID. Raises :class:`InvalidArgument` that names ``field``."""
    found = parse_uuid(text)
    if found is None:
        raise InvalidArgument(f"invalid {field} {quoted(text)}: it must be a UUID")
    return found


def clean_text(text: str, field: str) -> str:
    """``text`` itself. Raises :class:`InvalidArgument` if it has the null character, which PostgreSQL cannot store."""
    if "\x00" in text:
        raise InvalidArgument(f"invalid {field} {quoted(text)}: it contains the null character, remove it")
    return text


def log_number(number: int, field: str) -> int:
    """The number of a node or branch (behaviour-durable D-6). Raises :class:`InvalidArgument` that names ``field``."""
    if not 1 <= number <= MAX_INT32:
        raise InvalidArgument(f"{field} must be between 1 and {MAX_INT32}, not {number}")
    return number


def decoded(data: bytes, field: str) -> str:
    """UTF-8 bytes as text. Raises :class:`InvalidArgument` for other bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"invalid json in field {field}: it must be UTF-8 text") from None


def quoted(text: str) -> str:
    """``text`` in quotes for an error text, shortened."""
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")


def to_timestamp(seconds: float) -> Timestamp:
    """A protobuf timestamp, exact to the microsecond like the database."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return Timestamp(seconds=whole, nanos=micros * 1000)


def to_seconds(timestamp: Timestamp) -> float | None:
    """Seconds since 1970, or ``None`` for an instant outside 1970 to 9999, which no honest clock shows."""
    seconds = timestamp.seconds
    if not 0 < seconds <= _LAST_INSTANT:
        return None
    return seconds + timestamp.nanos / 1e9
