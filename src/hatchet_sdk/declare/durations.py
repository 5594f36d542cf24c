"""Durations as the wire has them: one or more ``<number><unit>`` with ms, s, m, h (behaviour-core C-3.11)."""

from __future__ import annotations

from datetime import timedelta

Duration = timedelta | str

MILLISECONDS = (("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


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
