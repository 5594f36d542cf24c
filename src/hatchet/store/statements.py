"""SQL lives in ``statements/*.sql``, one statement a file, named by what it does; loaded once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def sql(name: str) -> str:
    """The text of ``statements/<name>.sql``. Raises FileNotFoundError for an unknown name."""
    return (files("hatchet.store") / "statements" / f"{name}.sql").read_text(encoding="utf-8")
