"""Which waiting tasks an event is for (behaviour-core C-8.7 to C-8.9, C-8.23 to C-8.27).

A wait is registered in memory first and then looked for in the events that were pushed since its parents ended, so an
event that arrives meanwhile is found one way or the other; it counts after those that were there before. What met a
condition is committed before it counts.

A sleep that ends beside such a wait decides only when the events before its end are known: the engine may have been
away when they came, or when their match was to be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import structlog

from hatchet.core.clock import Clock
from hatchet.core.conditions import Condition, Kind
from hatchet.core.event_match import Happened
from hatchet.core.messages import EventRecord
from hatchet.engine.batcher import Batcher
from hatchet.engine.open_runs import OpenRun
from hatchet.store.events import events_since
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database
from hatchet.store.runs import NewMatch, append_matches, task_matches

log = structlog.get_logger("hatchet.engine")

Found = tuple[OpenRun, int, NewMatch]
Matched = Callable[[Sequence[Found]], None]
Answered = Callable[[Sequence[tuple[OpenRun, int]]], None]
RETRY_SECONDS = 0.5
FOLLOWED_SECONDS = 60.0
"""Events that are older have reached a wait that is followed, by messages or by the polls behind them."""


class Wait:
    """One task that listens: its event conditions that nothing has met yet."""

    __slots__ = (
        "attempt",
        "conditions",
        "found",
        "heard_until",
        "index",
        "is_asked",
        "is_looked",
        "looks",
        "newer",
        "run",
        "since",
    )

    def __init__(self, run: OpenRun, index: int, since: float) -> None:
        self.run = run
        self.index = index
        self.since = since
        facts = run.state.tasks[index]
        self.attempt = facts.attempt
        self.is_asked = False
        """Whether a sleep has ended and waits for what the events say."""
        self.looks = 0
        """How many readings of events are under way."""
        self.is_looked = False
        """Whether none is, and the last one succeeded."""
        self.heard_until = 0.0
        """Until when all events are known."""
        self.newer: list[EventRecord] = []
        """What was pushed during a reading."""
        self.found: set[int] = set()
        """The conditions that an event met, where that is on its way to the rows."""
        self.conditions: list[tuple[int, Condition]] = [
            (number, condition)
            for number, condition in enumerate(run.version.tasks[index].definition.conditions)
            if condition.kind is Kind.EVENT and number not in facts.matches
        ]

    @property
    def keys(self) -> set[str]:
        return {condition.event_key or "" for _, condition in self.conditions}

    @property
    def is_current(self) -> bool:
        """Whether the task still waits."""
        facts = self.run.state.tasks[self.index]
        return not facts.is_decided and facts.outcome is None and facts.attempt == self.attempt


class EventWaits:
    """The waits of one tenant.

    ``matched`` hears of committed matches, ``answered`` of tasks for which :meth:`ask` was called, when it is sure that
    no other event came before.
    """

    def __init__(
        self,
        tenant_id: str,
        lease: HeldLease,
        database: Database,
        clock: Clock,
        matched: Matched,
        answered: Answered,
    ) -> None:
        self._tenant_id = tenant_id
        self._lease = lease
        self._database = database
        self._clock = clock
        self._matched = matched
        self._answered = answered
        self._by_task: dict[tuple[str, int], Wait] = {}
        self._by_key: dict[str, set[tuple[str, int]]] = {}
        self._by_run: dict[str, set[int]] = {}
        self._looks: Batcher[Wait, None] = Batcher("event-waits", self._look_back)
        self._writes: Batcher[Found, bool] = Batcher("event-matches", self._write)
        self._is_stopped = False

    def __len__(self) -> int:
        return len(self._by_task)

    def keys(self) -> list[str]:
        """The event keys that somebody waits for."""
        return list(self._by_key)

    def add(self, run: OpenRun, index: int, since: float) -> None:
        """A task listens from ``since`` on; one that is known is left as it is."""
        name = (run.id, index)
        known = self._by_task.get(name)
        if known is not None and known.run is run and known.is_current:
            return
        wait = Wait(run, index, since)
        if not wait.conditions:
            return
        self.forget(run.id, index)
        self._by_task[name] = wait
        self._by_run.setdefault(run.id, set()).add(index)
        for key in wait.keys:
            self._by_key.setdefault(key, set()).add(name)
        self._look(wait)

    def forget(self, run_id: str, index: int | None = None) -> None:
        """Nobody there listens any more."""
        indexes = self._by_run.get(run_id, set())
        for number in list(indexes) if index is None else [index]:
            wait = self._by_task.pop((run_id, number), None)
            if wait is None:
                continue
            indexes.discard(number)
            for key in wait.keys:
                names = self._by_key.get(key, set())
                names.discard((run_id, number))
                if not names:
                    self._by_key.pop(key, None)
        if not indexes:
            self._by_run.pop(run_id, None)

    def pushed(self, records: Iterable[EventRecord]) -> None:
        """Events were committed; hearing of one twice is harmless."""
        for record in records:
            names = self._by_key.get(record.key)
            if names:
                waits = [self._by_task[name] for name in list(names)]
                waits = [wait for wait in waits if record.inserted_at >= wait.since]
                for wait in waits:
                    if not wait.is_looked:
                        wait.newer.append(record)
                self._meet(record, [wait for wait in waits if wait.is_looked])

    def heard_until(self, run_id: str, index: int) -> float:
        """Until when all events are known that the task could hear of; 0 for one that is not registered."""
        wait = self._by_task.get((run_id, index))
        return 0.0 if wait is None else wait.heard_until

    def heard(self, run_id: str, index: int, at: float) -> None:
        """An event came at that time, and no sleep of the task had ended by then: nothing can have been missed."""
        wait = self._by_task.get((run_id, index))
        if wait is not None and wait.is_looked and not wait.is_asked:
            wait.heard_until = max(wait.heard_until, at)

    def is_asked(self, run_id: str, index: int) -> bool:
        """Whether events are read because a sleep of the task has ended."""
        wait = self._by_task.get((run_id, index))
        return wait is not None and wait.is_asked

    def ask(self, run_id: str, index: int) -> bool:
        """A sleep of the task has ended: read the events once more. False when the task does not listen."""
        wait = self._by_task.get((run_id, index))
        if wait is None or not wait.is_current:
            return False
        if not wait.is_asked:
            wait.is_asked = True
            self._look(wait)
        return True

    async def poll(self, since: float) -> None:
        """The poll behind the messages of other instances: events since then, for all keys that are waited for."""
        if self._by_key:
            self.pushed(await events_since(self._database, self._tenant_id, self.keys(), since))

    async def stop(self) -> None:
        """Listen no more; what is under way is written."""
        self._is_stopped = True
        self._by_key.clear()
        await self._looks.drain()
        await self._writes.drain()

    def _look(self, wait: Wait) -> None:
        wait.is_looked = False
        try:
            [looked] = self._looks.submit_all((wait,))
        except Exception as error:
            self._again(wait, error)
            return
        wait.looks += 1
        looked.add_done_callback(lambda done: self._looked(wait, done))

    def _looked(self, wait: Wait, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            wait.looks -= 1
            self._again(wait, error)

    def _again(self, wait: Wait, error: BaseException) -> None:
        if not self._is_stopped and wait.is_current:
            log.warning("could not look for earlier events, trying again", tenant=self._tenant_id, error=str(error))
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._look, wait)

    async def _look_back(self, waits: Sequence[Wait]) -> list[None]:
        """Events that were pushed between the end of the parents and the registration, or lately."""
        now = self._clock.now()
        current = [wait for wait in waits if wait.is_current]
        if current:
            keys = sorted({key for wait in current for key in wait.keys})
            since = min(_read_since(wait, now) for wait in current)
            for record in await events_since(self._database, self._tenant_id, keys, since):
                self._meet(
                    record,
                    [wait for wait in current if record.key in wait.keys and record.inserted_at >= wait.since],
                )
        for wait in waits:
            wait.looks -= 1
            if wait.looks == 0:
                wait.is_looked = True
                wait.heard_until = max(wait.heard_until, now)
                newer, wait.newer = wait.newer, []
                for record in newer:
                    self._meet(record, [wait])
        self._answer(waits)
        return [None] * len(waits)

    def _answer(self, waits: Sequence[Wait]) -> None:
        """Tell of tasks whose events are known, with all matches written."""
        sure: list[tuple[OpenRun, int]] = []
        for wait in waits:
            if wait.is_asked and wait.is_looked and not wait.found and wait.is_current and not self._is_stopped:
                wait.is_asked = False
                sure.append((wait.run, wait.index))
        if sure:
            self._answered(sure)

    def _meet(self, record: EventRecord, waits: Sequence[Wait]) -> None:
        """Test the conditions of these waits, and write those that are met."""
        event = Happened(record)
        for wait in waits:
            for number, condition in wait.conditions:
                is_met = number in wait.found or number in wait.run.state.tasks[wait.index].matches
                if not is_met and wait.is_current and event.meets(condition):
                    self._found(wait, number, record)

    def _found(self, wait: Wait, number: int, record: EventRecord) -> None:
        task_id = wait.run.task_ids[wait.index]
        match = NewMatch(task_id, wait.attempt, number, record.id, record.inserted_at, record.payload or "{}")
        try:
            written = self._writes.submit((wait.run, wait.index, match))
        except Exception as error:
            self._again(wait, error)
            return
        wait.found.add(number)
        written.add_done_callback(lambda done: self._written(wait, number, done))

    def _written(self, wait: Wait, number: int, done: asyncio.Future[bool]) -> None:
        wait.found.discard(number)
        # An event that could not be remembered is found again in its rows.
        if not done.cancelled() and (error := done.exception()) is not None:
            self._again(wait, error)
        else:
            self._answer((wait,))

    async def _write(self, batch: Sequence[Found]) -> list[bool]:
        written = await append_matches(self._database, self._lease, self._tenant_id, [match for _, _, match in batch])
        met: list[Found] = []
        unsure: list[Found] = []
        for run, index, match in batch:
            is_first = (match.task_id, match.attempt, match.condition) in written
            (met if is_first else unsure).append((run, index, match))
        if unsure:
            met.extend(await self._written_before(unsure))
        self._matched(met)
        return [True] * len(batch)

    async def _written_before(self, found: Sequence[Found]) -> list[Found]:
        """Those whose row is there from an earlier try; the others were refused by the fence."""
        rows = await task_matches(self._database, self._tenant_id, [match.task_id for _, _, match in found])
        return [
            (run, index, replace(match, matched_at=row.matched_at, data=row.data))
            for run, index, match in found
            for row in rows.get(match.task_id, ())
            if (row.attempt, row.condition) == (match.attempt, match.condition)
        ]


def _read_since(wait: Wait, now: float) -> float:
    """From when on a wait has to be compared with the stored events."""
    return max(wait.since, now - FOLLOWED_SECONDS) if wait.heard_until else wait.since
