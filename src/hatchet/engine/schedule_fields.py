"""Checks of what a caller wants to be run later: wrong input must be refused now, nobody is there when it starts."""

from __future__ import annotations

from hatchet.core.errors import Code, HatchetError, InvalidArgument
from hatchet.core.json_texts import EMPTY_OBJECT, check_json, json_value, normal_metadata

LAST_INSTANT = 253_402_300_799.0
"""End of the year 9999; the last time that can be told."""


class DeclaredInCode(HatchetError):
    """A caller cannot change it: the next registration would make it again (C-14.26, behaviour-rest R-15.6)."""

    code = Code.PERMISSION_DENIED


def checked_object(text: str, field: str) -> str:
    """The input: ``{}`` for an empty text. Raises InvalidArgument when it is no JSON object."""
    if not text:
        return EMPTY_OBJECT
    check_json(text, field)
    if not isinstance(json_value(text), dict):
        raise InvalidArgument(f"invalid json in field {field}: it must be a JSON object, such as {{}}")
    return text


def checked_metadata(text: str, field: str) -> str:
    """The metadata: ``{}`` for an empty text. Raises InvalidArgument when it is no JSON object that can be stored."""
    return normal_metadata(text, field)


def checked_priority(priority: int) -> int:
    """Raises InvalidArgument outside 1 to 3 (C-4.29)."""
    if not 1 <= priority <= 3:
        raise InvalidArgument(f"priority must be between 1 and 3, got {priority}")
    return priority


def checked_time(seconds: float | None, field: str) -> float:
    """Raises InvalidArgument for times before 1970 or after 9999, or that are none."""
    if seconds is None or not 0 <= seconds <= LAST_INSTANT:
        raise InvalidArgument(f"{field}: it must be a time from 1970 to 9999")
    return seconds
