"""Durations as the wire has them: one or more ``<number><unit>`` with ms, s, m, h (behaviour-core C-3.11)."""

from __future__ import annotations

import re
from datetime import timedelta

Duration = timedelta | str

MILLISECONDS = (("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
SIZES = {**dict(MILLISECONDS), "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwy])")


def timedelta_to_expr(td: Duration) -> str:
    """``td`` in its largest whole unit, down to milliseconds; a text is passed on as it is (the engine checks it).

    Raises ``ValueError`` for a negative duration.
    """
    if isinstance(td, str):
        return td
    total = round(td.total_seconds() * 1000)
    if total < 0:
        raise ValueError(f"a duration cannot be negative: {td}")
    if total == 0:
        return "0s"
    unit, size = next((unit, size) for unit, size in MILLISECONDS if total % size == 0)
    return f"{total // size}{unit}"


def expr_to_timedelta(text: str) -> timedelta:
    """A duration text (``90s``, ``1h30m``, ``2d``) as a ``timedelta``. Raises ``ValueError`` for another text."""
    parts = PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(
            f"'{text}' is no duration: write numbers with ms, s, m, h, d, w or y, such as '90s' or '1h30m'"
        )
    return timedelta(milliseconds=sum(float(number) * SIZES[unit] for number, unit in parts))
