"""Duration texts as workflows and requests carry them: ``90s``, ``1h30m``, ``1.5h`` (behaviour-core C-3.11)."""

from __future__ import annotations

import re

from hatchet.core.errors import InvalidArgument

MAX_SECONDS = 290 * 366 * 86_400.0
"""Longer durations are refused: a deadline must stay a valid timestamp."""

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_PART = re.compile(_NUMBER + "(ms|s|m|h)")
_PART_WITH_DAYS = re.compile(_NUMBER + "(ms|s|m|h|d)")
_QUOTED = 60


def parse_duration(text: str, *, days: bool = False) -> float:
    """Seconds of a duration text (behaviour-core C-3.11).

    One or more ``<number><unit>`` with the units ms, s, m and h; decimals are allowed, signs and spaces are not. With
    ``days`` the unit d is allowed, too (behaviour-rest R-13.7).
    Raises :class:`InvalidArgument` for every other text and for more than 290 years.
    """
    seconds = 0.0
    position = 0
    for part in (_PART_WITH_DAYS if days else _PART).finditer(text):
        if part.start() != position:
            break
        position = part.end()
        seconds += _part_seconds(part[1], part[2])
    if not text or position != len(text):
        units = "ms, s, m, h or d" if days else "ms, s, m or h"
        raise InvalidArgument(f"invalid duration {_quoted(text)}: write numbers with the units {units}, such as 90s")
    if seconds > MAX_SECONDS:
        raise InvalidArgument(f"invalid duration {_quoted(text)}: it is longer than 290 years")
    return seconds


def _part_seconds(number: str, unit: str) -> float:
    # Division keeps 100ms equal to 0.1, multiplication by 0.001 would not for every number.
    return float(number) / 1000.0 if unit == "ms" else float(number) * _SECONDS[unit]


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")
