"""What waits in a durable log, and what it needs of its surroundings (behaviour-durable D-8, D-10.6, D-13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hatchet.core.durable_log import DurableLog, Entry, EntryKind, Key, Result
from hatchet.core.durable_waits import Match, WaitCondition, from_text
from hatchet.core.messages import EventRecord
from hatchet.store.durable import OpenRows

SKEW_SECONDS = 0.06
"""How far the clocks of two instances lie apart at most: an event that came after a wait may carry an earlier time."""
HEARD_SECONDS = 0.3
"""How long an event may be on its way to the owner, for telling those before a wait from those after it."""


class Waiting:
    """One entry that waits: for conditions, or for the end of a child run."""

    __slots__ = (
        "before",
        "conditions",
        "created_at",
        "held",
        "is_ending",
        "is_single",
        "key",
        "matches",
        "run_id",
        "task_id",
    )

    def __init__(self, task_id: str, entry: Entry) -> None:
        self.task_id = task_id
        self.key: Key = entry.key
        self.created_at = entry.created_at
        self.run_id = entry.run_id
        self.is_single = entry.is_single
        self.conditions: tuple[WaitCondition, ...] = (
            from_text(entry.subject) if entry.kind is EntryKind.WAIT_FOR else ()
        )
        self.matches: dict[int, Match] = {}
        self.before: frozenset[str] = frozenset()
        """Ids of events that were heard or used just before the wait: whatever the clocks say, they do not count
        (D-8.7, D-10.6)."""
        self.held: list[EventRecord] | None = None
        """What was pushed while the entry was on its way to the rows."""
        self.is_ending = False
        """Whether its result is on its way to the rows."""

    @property
    def event_keys(self) -> set[str]:
        return {condition.event_key for condition in self.conditions if condition.event_key}


@dataclass(slots=True, frozen=True)
class Satisfied:
    """An entry has a result, committed; ``result`` None: the rows tell which."""

    task_id: str
    key: Key
    result: Result | None


class Surroundings(Protocol):
    """What the waits need of their surroundings."""

    def evicted_attempt(self, task_id: str) -> int | None:
        """The attempt that an evicted task will have; None when it is not evicted."""
        ...

    def satisfied(self, news: Sequence[Satisfied]) -> None:
        """Entries have results: whoever serves their tasks hands them over."""
        ...

    async def restore(self, task_ids: Sequence[str], cause: str) -> None:
        """Put evicted tasks into their queue (D-18.1)."""
        ...


Ended = tuple[Waiting, Result]


def counts(record: EventRecord, waiting: Waiting) -> bool:
    """Whether the event came after the wait was registered (D-10.6, D-10.7)."""
    return record.id not in waiting.before and record.inserted_at >= waiting.created_at - SKEW_SECONDS


def open_entries(rows: OpenRows) -> list[Entry]:
    """Those that something may still satisfy: on the active path, or of a client that knows no log."""
    walkable = [entry for entry in rows.entries if entry.branch > 0]
    others = [entry for entry in rows.entries if entry.branch <= 0]
    return [*DurableLog(0, walkable, rows.branches).waiting(), *others]
