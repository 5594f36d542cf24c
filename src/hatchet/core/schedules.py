"""Cron expressions: what they are, and at which instants they fire (behaviour-core C-3.15, C-14.1, C-14.2).

Five fields, six with leading seconds, or an alias; ``CRON_TZ=`` or ``TZ=`` and a time zone may stand before them. Where
clocks are put forward or back, a job of five fields with a fixed hour fires exactly once, as it does in Debian's cron.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from hatchet.core.errors import InvalidArgument

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@hourly": "0 * * * *",
}
DEFAULT_ZONE = "UTC"
LONGEST = 500
"""Characters of an expression; a list of all minutes has 169."""

_PREFIXES = ("CRON_TZ=", "TZ=")
_DAY_OF_MONTH, _DAY_OF_WEEK = -3, -1


def check_cron(text: str) -> str | None:
    """Why ``text`` is no cron expression, as a clause for an error text; None when it is one."""
    if len(text) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    try:
        zone, fields = split_zone(text)
        _parsed(fields, _tzinfo(zone), 0.0)
    except InvalidArgument as error:
        return error.message
    return None


def check_zone(name: str) -> None:
    """Raises :class:`InvalidArgument` when ``name`` is no time zone of the IANA data base."""
    _tzinfo(name)


def split_zone(text: str) -> tuple[str, str]:
    """The time zone of an expression, UTC when it names none, and its fields. Does not check them."""
    for prefix in _PREFIXES:
        if text.lstrip().startswith(prefix):
            zone, _, fields = text.lstrip().removeprefix(prefix).partition(" ")
            return zone, fields
    return DEFAULT_ZONE, text


def next_after(expression: str, zone: str, at: float) -> float | None:
    """The first instant after ``at`` (seconds since 1970); None when it never fires again.

    ``zone`` is that of the fields; a zone before them is left aside. Raises :class:`InvalidArgument` for anything that
    is not an expression or not a zone.
    """
    return next(_instants(expression, zone, at), None)


def instants(expression: str, zone: str, after: float, until: float, limit: int) -> list[float]:
    """The instants in (``after``, ``until``], oldest first, at most ``limit``. Raises like :func:`next_after`."""
    found: list[float] = []
    for instant in _instants(expression, zone, after):
        if instant > until or len(found) == limit:
            break
        found.append(instant)
    return found


def _instants(expression: str, zone: str, after: float) -> Iterator[float]:
    schedule = _parsed(split_zone(expression)[1], _tzinfo(zone), after)
    try:
        for moment in schedule:
            instant = moment.timestamp()
            # In the hour that comes twice the library looks at the wall clock, and may answer with its first pass.
            if instant > after:
                yield instant
                after = instant
    except (OverflowError, ValueError):
        # After the year 9999 there are no instants.
        return


def _parsed(fields: str, zone: tzinfo, at: float) -> CronSim:
    parts = _expanded(fields).split()
    if len(parts) not in (5, 6):
        raise InvalidArgument(f"it must have 5 or 6 fields or be one of {', '.join(ALIASES)}, but has {len(parts)}")
    for place in (_DAY_OF_MONTH, _DAY_OF_WEEK):
        if parts[place] == "?":
            parts[place] = "*"
    try:
        return CronSim(" ".join(parts), datetime.fromtimestamp(at, zone))
    except (CronSimError, AssertionError) as error:
        # The library asserts where a step follows a single weekday of the month.
        raise InvalidArgument(_reason(str(error))) from None


def _expanded(fields: str) -> str:
    fields = fields.strip()
    if not fields.startswith("@"):
        return fields
    expanded = ALIASES.get(fields.lower())
    if expanded is None:
        raise InvalidArgument(f"it is none of the aliases {', '.join(ALIASES)}")
    return expanded


def _reason(text: str) -> str:
    field = text.removeprefix("Bad ")
    return f"its field {field} is not valid" if field and field != text else "its day-of-week is not valid"


def _tzinfo(zone: str) -> tzinfo:
    if zone == DEFAULT_ZONE:
        return UTC
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        shown = zone if len(zone) <= 60 else zone[:60] + "…"
        raise InvalidArgument(f"'{shown}' is no time zone: use a name such as Europe/Berlin or UTC") from None
