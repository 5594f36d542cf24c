"""The form of cron expressions, checked before they are sent (behaviour-core C-3.15, C-14.7)."""

from __future__ import annotations

import re

ALIASES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly")
PART = re.compile(r"[0-9A-Za-z*/,?-]+")
TIME_ZONE = re.compile(r"^(?:CRON_TZ|TZ)=(\S+)\s+")


def check_cron(expression: str) -> str:
    """``expression`` as it is. Whether its numbers and names make sense is the engine's to say.

    Raises ``ValueError`` unless it has five parts, or six with seconds first, or is an alias such as ``@daily``; a time
    zone may come before (``CRON_TZ=Europe/Berlin``).
    """
    plain = TIME_ZONE.sub("", expression.strip(), count=1)
    parts = plain.split()
    if plain.lower() in ALIASES or (len(parts) in (5, 6) and all(PART.fullmatch(part) for part in parts)):
        return expression
    raise ValueError(
        f"{expression!r} is not a cron expression: give five parts (minute, hour, day of month, month, day of week), "
        f"six with seconds first, or one of {', '.join(ALIASES)}"
    )
