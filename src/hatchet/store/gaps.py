"""Times in which tasks of an action waited and no worker served it (behaviour-core C-11.6)."""

from __future__ import annotations

from collections.abc import Collection

from hatchet.core.history import Gap
from hatchet.store.pool import Database


async def open_gaps(database: Database, tenant_id: str, actions: Collection[str], at: float) -> None:
    """No worker serves these actions from now on, and tasks wait for one."""
    await database.execute("gap_open", tenant_id, list(actions), at)


async def close_gaps(database: Database, tenant_id: str, actions: Collection[str] | None, at: float) -> None:
    """The actions are served again; ``None`` closes every open gap of the tenant."""
    await database.execute("gap_close", tenant_id, None if actions is None else list(actions), at)


async def read_gaps(database: Database, tenant_id: str, actions: Collection[str], since: float) -> dict[str, list[Gap]]:
    """The gaps of each of the actions that reach past ``since``, oldest first; actions without any are absent."""
    found: dict[str, list[Gap]] = {}
    for row in await database.fetch("gap_read", tenant_id, list(actions), since):
        found.setdefault(row["action"], []).append(Gap(row["since"], row["until"]))
    return found


async def forget_gaps(database: Database, before: float) -> None:
    """Drop gaps that ended before a time: no task of that age is kept either."""
    await database.execute("gap_forget", before)
