"""How the fields of a run filter are read, the same at every front door (behaviour-core C-15.2 to C-15.4)."""

from __future__ import annotations

from collections.abc import Iterable

from hatchet.core.errors import InvalidArgument
from hatchet.core.statuses import RunStatus

BOTH_GIVEN = "cannot provide both external ids and filter"
"""C-15.2; clients may look for this text."""

LISTED = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.COMPLETED, RunStatus.CANCELLED, RunStatus.FAILED)
"""What lists and filters know; an evicted run counts as RUNNING (behaviour-rest R-10.5)."""

_NAMES = {status.value: status for status in LISTED}


def listed_statuses(names: Iterable[str], field: str) -> frozenset[RunStatus]:
    """The statuses by their names. Raises :class:`InvalidArgument` that names ``field``."""
    found = set()
    for name in names:
        if name not in _NAMES:
            raise InvalidArgument(f"{field}: {name[:60]!r} is no status: send some of {', '.join(_NAMES)}, or nothing")
        found.add(_NAMES[name])
    return frozenset(found)


def metadata_pairs(items: Iterable[str], field: str) -> tuple[tuple[str, str], ...]:
    """Pairs out of texts ``key:value``, split at the first colon; of one key the last pair counts (R-9.7).

    Raises :class:`InvalidArgument` that names ``field`` for a text without a colon, and for characters that no stored
    metadata has: the null character, and halves of a surrogate pair.
    """
    pairs: dict[str, str] = {}
    for item in items:
        key, colon, value = item.partition(":")
        if not colon:
            raise InvalidArgument(f"{field}: {item[:60]!r} has no colon: send key:value")
        if any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in item):
            raise InvalidArgument(f"{field}: {key[:60]!r} has a character that no text can hold, remove it")
        pairs[key] = value
    return tuple(pairs.items())
