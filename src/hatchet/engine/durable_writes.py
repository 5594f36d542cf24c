"""Writes what happens to durable logs, in batches; nothing is told before it is committed (behaviour-durable D-4.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hatchet.core.durable_log import Entry
from hatchet.engine.batcher import Batcher
from hatchet.store.durable import (
    NewEntry,
    NewMatch,
    NewOutcome,
    NewRelease,
    OfTask,
    append_entries,
    append_matches,
    append_outcomes,
    append_releases,
    append_walks,
)
from hatchet.store.pool import Database

Walked = tuple[OfTask, int, int]
"""(whose log, invocation, node)"""


class DurableWrites:
    """The writers of one instance: one connection for what workers wait for, one for what comes of it."""

    def __init__(self, hot: Database, *, flush_gap: float, flush_maximum: int) -> None:
        self._asked = hot.pinned()
        self._came = hot.pinned()
        self._entries: Batcher[NewEntry, bool] = Batcher(
            "durable-entries", self._write_entries, gap=flush_gap, maximum=flush_maximum
        )
        self._walks: Batcher[Walked, None] = Batcher(
            "durable-walks", self._write_walks, gap=flush_gap, maximum=flush_maximum
        )
        self._outcomes: Batcher[NewOutcome, bool] = Batcher(
            "durable-results", self._write_outcomes, gap=flush_gap, maximum=flush_maximum, high_water=1_000_000
        )
        self._releases: Batcher[NewRelease, bool] = Batcher(
            "durable-releases", self._write_releases, gap=flush_gap, maximum=flush_maximum
        )
        self._matches: Batcher[NewMatch, None] = Batcher(
            "durable-matches", self._write_matches, gap=flush_gap, maximum=flush_maximum, high_water=1_000_000
        )

    async def entry(self, of: OfTask, entry: Entry) -> bool:
        """Write an entry; False when its node is taken or its invocation is over."""
        return await self._entries.submit(NewEntry(of, entry))

    async def walked(self, of: OfTask, invocation: int, node: int) -> None:
        """Note how far an invocation has walked."""
        await self._walks.submit((of, invocation, node))

    async def outcome(self, row: NewOutcome) -> bool:
        """Write what an entry came to; False when that was known."""
        return await self._outcomes.submit(row)

    def outcomes(self, rows: Sequence[NewOutcome]) -> list[asyncio.Future[bool]]:
        """The same for several entries."""
        return self._outcomes.submit_all(rows)

    async def releases(self, rows: Sequence[NewRelease]) -> list[bool]:
        """Write first hand-overs; False for one whose entry or order was given away before."""
        return [await written for written in self._releases.submit_all(rows)]

    async def matches(self, rows: Sequence[NewMatch]) -> None:
        """Write that events met conditions."""
        for written in self._matches.submit_all(rows):
            await written

    async def drain(self) -> None:
        """Wait for the writes that are under way, and give the connections back."""
        await self._entries.drain()
        await self._walks.drain()
        await self._outcomes.drain()
        await self._releases.drain()
        await self._matches.drain()
        await self._asked.close()
        await self._came.close()

    async def _write_entries(self, batch: Sequence[NewEntry]) -> list[bool]:
        written = await append_entries(self._asked, batch)
        return [_first((row.of.task_id, *row.entry.key), written) for row in batch]

    async def _write_walks(self, batch: Sequence[Walked]) -> list[None]:
        await append_walks(self._asked, batch)
        return [None] * len(batch)

    async def _write_outcomes(self, batch: Sequence[NewOutcome]) -> list[bool]:
        written = await append_outcomes(self._came, batch)
        return [_first(row.place, written) for row in batch]

    async def _write_releases(self, batch: Sequence[NewRelease]) -> list[bool]:
        written = await append_releases(self._came, batch)
        return [_first((row.of.task_id, *row.key), written) for row in batch]

    async def _write_matches(self, batch: Sequence[NewMatch]) -> list[None]:
        await append_matches(self._came, batch)
        return [None] * len(batch)


def _first(place: tuple[str, int, int], written: set[tuple[str, int, int]]) -> bool:
    """Whether the row of that place was written, for the first of a batch that asks."""
    if place in written:
        written.discard(place)
        return True
    return False
