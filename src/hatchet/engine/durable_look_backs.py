"""Searches stored events for waits that look back (behaviour-durable D-10.9 to D-10.12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from hatchet.core.durable_waits import open_events
from hatchet.core.event_match import Happened
from hatchet.core.ids import highest, lowest_at
from hatchet.core.messages import EventRecord
from hatchet.engine.batcher import Batcher
from hatchet.engine.durable_waiting import Waiting
from hatchet.store.events import CLOCK_SLACK_SECONDS, LookBack, look_back
from hatchet.store.pool import Database

log = structlog.get_logger("hatchet.engine")

RETRY_SECONDS = 0.5
BATCH = 1000
PAGE = 200

Found = tuple[Waiting, int, EventRecord]
"""A wait, the number of its condition, and the newest event that meets it."""


class DurableLookBacks:
    """The searches of one tenant's owner, many waits in one statement."""

    def __init__(
        self,
        tenant_id: str,
        database: Database,
        *,
        found: Callable[[Sequence[Found]], None],
        is_gone: Callable[[Waiting], bool],
    ) -> None:
        self._tenant_id = tenant_id
        self._database = database
        self._found = found
        self._is_gone = is_gone
        self._searches: Batcher[Waiting, None] = Batcher(
            "durable-look-backs", self._search, maximum=BATCH, high_water=1_000_000
        )
        self._is_stopped = False

    def look(self, waiting: Waiting) -> None:
        """Search, where the wait asks for it; an error is tried again."""
        if self._is_stopped or waiting.is_ending or not any(one.looks_back for one in waiting.conditions):
            return
        [looked] = self._searches.submit_all((waiting,))
        looked.add_done_callback(lambda done: self._looked(waiting, done))

    async def stop(self) -> None:
        """Wait for the search that is under way."""
        self._is_stopped = True
        await self._searches.drain()

    def _looked(self, waiting: Waiting, done: asyncio.Future[None]) -> None:
        if done.cancelled() or self._is_stopped or done.exception() is None:
            return
        log.warning("could not look for earlier events, trying again", error=str(done.exception()))
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self.look, waiting)

    async def _search(self, waits: Sequence[Waiting]) -> list[None]:
        """The newest stored event that meets a condition; it meets only this one (D-10.10)."""
        asked = [question for waiting in dict.fromkeys(waits) for question in self._questions(waiting)]
        while asked:
            answers = await look_back(self._database, self._tenant_id, [one for _, _, one in asked], PAGE)
            found: list[Found] = []
            again: list[tuple[Waiting, int, LookBack]] = []
            for (waiting, number, question), records in zip(asked, answers, strict=True):
                met = next((one for one in records if Happened(one).meets(waiting.conditions[number])), None)
                if met is not None:
                    found.append((waiting, number, met))
                elif len(records) == PAGE:
                    again.append((waiting, number, question.below(records[-1].id)))
            self._found([one for one in found if self._is_open(*one)])
            asked = again
        return [None] * len(waits)

    def _questions(self, waiting: Waiting) -> list[tuple[Waiting, int, LookBack]]:
        if waiting.is_ending or self._is_gone(waiting):
            return []
        found: list[tuple[Waiting, int, LookBack]] = []
        for number, condition in enumerate(waiting.conditions):
            if condition.looks_back and number not in waiting.matches:
                since = condition.since or 0.0
                lowest = lowest_at(since - CLOCK_SLACK_SECONDS)
                question = LookBack(condition.event_key or "", condition.event_scope or "", lowest, since, highest())
                found.append((waiting, number, question))
        return found

    def _is_open(self, waiting: Waiting, number: int, record: EventRecord) -> bool:
        if waiting.is_ending or self._is_gone(waiting):
            return False
        return number in open_events(waiting.conditions, waiting.created_at, waiting.matches, record.inserted_at)
