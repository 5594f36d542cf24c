"""What the durable tasks of one tenant wait for: times, events, child runs (behaviour-durable D-8 to D-10, D-13).

Belongs to the tenant's owner and is rebuilt from rows. A wait is registered before its entry is committed, so that an
event in between is not missed (D-10.7); what an owner may have missed is looked for among the stored events.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from hatchet.core.clock import Clock
from hatchet.core.durable_children import child_result
from hatchet.core.durable_log import DurableLog, Entry, EntryKind, Key, Result
from hatchet.core.durable_waits import (
    Match,
    WaitCondition,
    from_text,
    next_due,
    open_events,
    outcome,
)
from hatchet.core.event_match import Happened
from hatchet.core.ids import highest, lowest_at
from hatchet.core.messages import EventRecord, RunFinished
from hatchet.engine.batcher import Batcher
from hatchet.engine.component import Background
from hatchet.engine.durable_writes import DurableWrites
from hatchet.engine.publish import Results
from hatchet.store.durable import NewMatch, NewOutcome, OfTask, OpenRows, read_logs, read_open
from hatchet.store.events import CLOCK_SLACK_SECONDS, LookBack, events_since, look_back
from hatchet.store.leases import HeldLease, heard_until, raise_heard
from hatchet.store.pool import Database
from hatchet.store.tasks import task_states

log = structlog.get_logger("hatchet.engine")

RETRY_SECONDS = 0.5
CHECK_SECONDS = 5.0
"""How long after its eviction a task's rows are looked at: whoever evicted it may have died before restoring it."""
BATCH = 1000
LOOK_BACK_PAGE = 200
SHORTEST_DELAY, LONGEST_DELAY = 0.0005, 60.0
HEARD_SLACK_SECONDS = 5.0
SKEW_SECONDS = 0.15
"""How far the clocks of two instances may lie apart: an event that came after a wait may carry an earlier time."""


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
        """Ids of events that were heard just before the wait: they do not count, whatever the clocks say (D-10.6)."""
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


class DurableWaits:
    """The waits of one tenant."""

    def __init__(
        self,
        tenant_id: str,
        lease: HeldLease,
        *,
        database: Database,
        writes: DurableWrites,
        results: Results,
        clock: Clock,
        around: Surroundings,
    ) -> None:
        self._tenant_id = tenant_id
        self._lease = lease
        self._database = database
        self._writes = writes
        self._clock = clock
        self._around = around
        self._subscription = results.open(tenant_id, self._children_ended)
        self._by_task: dict[str, dict[Key, Waiting]] = {}
        self._by_event: dict[str, dict[Waiting, None]] = {}
        self._by_run: dict[str, Waiting] = {}
        self._due: list[tuple[float, int, Waiting]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self._checks: deque[tuple[float, str]] = deque()
        self._lately: deque[tuple[float, str, str]] = deque()
        """What was heard a moment ago: when, key and id of each event."""
        self._loads: Batcher[str, None] = Batcher("durable-waits", self._load, maximum=BATCH, high_water=5_000_000)
        self._look_backs: Batcher[Waiting, None] = Batcher(
            "durable-look-backs", self._look_back, maximum=BATCH, high_water=1_000_000
        )
        self._background = Background("durable-waits")
        self._unwritten = 0
        self._unread = 0
        """How many tasks' waits are still to be read: events for them are not heard yet."""
        self._heard: float | None = None
        self._is_heard_read = False
        self._is_stopped = False

    def __len__(self) -> int:
        return sum(map(len, self._by_task.values()))

    def __iter__(self) -> Iterator[Waiting]:
        return (waiting for of_task in self._by_task.values() for waiting in of_task.values())

    def knows(self, task_id: str) -> bool:
        """Whether what the task waits for is known here, be it nothing."""
        return task_id in self._by_task

    # What begins to wait ----------------------------------------------------------------------------------------------

    def hold(self, task_id: str, entry: Entry) -> Waiting:
        """An entry is about to be written: remember what happens meanwhile, until :meth:`committed` or :meth:`drop`."""
        waiting = Waiting(task_id, entry)
        waiting.held = []
        if keys := waiting.event_keys:
            since = waiting.created_at - 2 * SKEW_SECONDS
            waiting.before = frozenset(event_id for at, key, event_id in self._lately if at >= since and key in keys)
        self._register(waiting)
        return waiting

    def committed(self, waiting: Waiting) -> None:
        """The entry is written: what it waits for counts now."""
        held, waiting.held = waiting.held or [], None
        if self._is_gone(waiting):
            return
        self._begin(waiting)
        self._pushed_to(held, [waiting])
        self.look_again(waiting)

    def drop(self, waiting: Waiting) -> None:
        """The entry was not written, or nobody needs its result."""
        of_task = self._by_task.get(waiting.task_id, {})
        if of_task.get(waiting.key) is waiting:
            del of_task[waiting.key]
        for key in waiting.event_keys:
            waits = self._by_event.get(key)
            if waits is not None:
                waits.pop(waiting, None)
                if not waits:
                    del self._by_event[key]
        if waiting.run_id is not None and self._by_run.get(waiting.run_id) is waiting:
            del self._by_run[waiting.run_id]
            self._subscription.drop([waiting.run_id])

    def load(self, task_ids: Iterable[str]) -> None:
        """What these tasks wait for may be in the rows only."""
        wanted = list(task_ids)
        for task_id in wanted:
            self._by_task.setdefault(task_id, {})
        if wanted and not self._is_stopped:
            self._unread += len(wanted)
            for loaded in self._loads.submit_all(wanted):
                loaded.add_done_callback(self._is_read)

    def asked_again(self, task_id: str, key: Key) -> None:
        """An invocation asks for a wait that is recorded and not over: events before it are searched again (D-8.3)."""
        waiting = self._by_task.get(task_id, {}).get(key)
        if waiting is None:
            self.load([task_id])
        else:
            self.look_again(waiting)

    def forget(self, task_id: str) -> None:
        """The task has ended: nothing wakes it (D-8.9). A replay loads what is open again (D-8.10)."""
        for waiting in list(self._by_task.pop(task_id, {}).values()):
            self.drop(waiting)

    def reload(self, task_id: str) -> None:
        """The task's log has another path now: what waits on the old one is over (D-22.8)."""
        self.forget(task_id)
        self.load([task_id])

    def evicted(self, task_id: str) -> None:
        """The task was evicted: make sure in a while that nothing was overlooked (D-29.6)."""
        self._checks.append((self._clock.now() + CHECK_SECONDS, task_id))

    # What happens -----------------------------------------------------------------------------------------------------

    def pushed(self, records: Sequence[EventRecord]) -> None:
        """Events were committed; hearing of one twice is harmless."""
        now = self._clock.now()
        while self._lately and self._lately[0][0] < now - 2 * SKEW_SECONDS:
            self._lately.popleft()
        self._lately.extend((now, record.key, record.id) for record in records)
        if self._by_event:
            self._pushed_to(records)

    async def poll(self, since: float) -> None:
        """The poll behind the messages of other instances: events since then, for all keys that are waited for."""
        if self._by_event:
            self.pushed(await events_since(self._database, self._tenant_id, list(self._by_event), since))

    async def turn(self, now: float) -> None:
        """Look at the rows of tasks that were evicted a while ago, and note until when all events are heard."""
        due: list[str] = []
        while self._checks and self._checks[0][0] <= now and len(due) < BATCH:
            due.append(self._checks.popleft()[1])
        if due:
            await self._check(due)

    async def note_heard(self, now: float) -> None:
        """Remember in the lease until when all events are heard, so that the next owner need not read more."""
        if self._by_event and not self._unwritten and not self._unread:
            await raise_heard(self._database, self._lease, now - HEARD_SLACK_SECONDS)

    async def stop(self) -> None:
        """Wait for nothing more; what is under way is written."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._by_task.clear()
        self._by_event.clear()
        self._by_run.clear()
        self._due.clear()
        await self._subscription.close()
        await self._loads.drain()
        await self._look_backs.drain()
        await self._background.settle()

    # ------------------------------------------------------------------------------------------------------------------

    def _is_read(self, done: asyncio.Future[None]) -> None:
        self._unread -= 1
        if not done.cancelled():
            done.exception()

    def _is_gone(self, waiting: Waiting) -> bool:
        return self._by_task.get(waiting.task_id, {}).get(waiting.key) is not waiting

    def _register(self, waiting: Waiting) -> None:
        self._by_task.setdefault(waiting.task_id, {})[waiting.key] = waiting
        for key in waiting.event_keys:
            self._by_event.setdefault(key, {})[waiting] = None

    def _begin(self, waiting: Waiting) -> None:
        """Follow what the entry waits for besides events."""
        if waiting.run_id is not None:
            self._by_run[waiting.run_id] = waiting
            self._subscription.add([waiting.run_id])
        else:
            self._schedule(waiting)

    def _schedule(self, waiting: Waiting) -> None:
        at = next_due(waiting.conditions, waiting.created_at, waiting.matches)
        if at is not None:
            heapq.heappush(self._due, (at, next(self._numbers), waiting))
            self._arm()

    def _arm(self) -> None:
        while self._due and (self._due[0][2].is_ending or self._is_gone(self._due[0][2])):
            heapq.heappop(self._due)
        if not self._due or self._is_stopped:
            return
        at = self._due[0][0]
        if self._timer is not None:
            if at >= self._armed_for:
                return
            self._timer.cancel()
        self._armed_for = at
        delay = min(max(at - self._clock.now(), SHORTEST_DELAY), LONGEST_DELAY)
        self._timer = asyncio.get_running_loop().call_later(delay, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        now = self._clock.now()
        ended: list[tuple[Waiting, Result]] = []
        while self._due and self._due[0][0] <= now:
            waiting = heapq.heappop(self._due)[2]
            if waiting.is_ending or self._is_gone(waiting):
                continue
            met = outcome(waiting.conditions, waiting.created_at, waiting.matches, now)
            if met is not None:
                ended.append((waiting, Result(max(met.at, waiting.created_at), met.payload)))
        self._end(ended)
        self._arm()

    def _pushed_to(self, records: Sequence[EventRecord], only: Sequence[Waiting] | None = None) -> None:
        ended: list[tuple[Waiting, Result]] = []
        matched: list[NewMatch] = []
        for record in records:
            happened = Happened(record)
            for waiting in list(self._by_event.get(record.key, ())) if only is None else only:
                if waiting.held is not None:
                    waiting.held.append(record)
                elif not waiting.is_ending and _counts(record, waiting):
                    found = [
                        number
                        for number in open_events(
                            waiting.conditions, waiting.created_at, waiting.matches, record.inserted_at
                        )
                        if happened.meets(waiting.conditions[number])
                    ]
                    self._met(waiting, found, record.id, record.inserted_at, record.payload, ended, matched)
        self._end(ended)
        self._match(matched)

    def _met(
        self,
        waiting: Waiting,
        numbers: Sequence[int],
        event_id: str,
        at: float,
        payload: str,
        ended: list[tuple[Waiting, Result]],
        matched: list[NewMatch],
    ) -> None:
        """An event met these conditions: the wait is over, or goes on with what it has."""
        if not numbers:
            return
        for number in numbers:
            waiting.matches[number] = Match(number, at, payload or "{}")
        met = outcome(waiting.conditions, waiting.created_at, waiting.matches, max(at, self._clock.now()))
        if met is not None:
            ended.append((waiting, Result(max(met.at, waiting.created_at), met.payload)))
            waiting.is_ending = True
            return
        of = OfTask(self._tenant_id, waiting.task_id)
        matched.extend(NewMatch(of, waiting.key, event_id, waiting.matches[number]) for number in numbers)
        self._schedule(waiting)

    async def _children_ended(self, finished: Sequence[RunFinished]) -> None:
        ended: list[tuple[Waiting, Result]] = []
        for run in finished:
            waiting = self._by_run.get(run.run_id)
            if waiting is not None and not waiting.is_ending:
                ended.append((waiting, child_result(run, is_single=waiting.is_single)))
        self._end(ended)

    # Writing ----------------------------------------------------------------------------------------------------------

    def _end(self, ended: Sequence[tuple[Waiting, Result]]) -> None:
        for waiting, _ in ended:
            waiting.is_ending = True
        for start in range(0, len(ended), BATCH):
            self._background.spawn(self._write(ended[start : start + BATCH]))

    async def _write(self, ended: Sequence[tuple[Waiting, Result]]) -> None:
        rows = [NewOutcome(OfTask(self._tenant_id, waiting.task_id), waiting.key, result) for waiting, result in ended]
        self._unwritten += 1
        try:
            while True:
                try:
                    written = [await done for done in self._writes.outcomes(rows)]
                    break
                except Exception as error:
                    if self._is_stopped:
                        return
                    # What came of a wait must not get lost with one write; writing twice is harmless.
                    log.warning("results of waits were not written, trying again", error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._unwritten -= 1
        for waiting, _ in ended:
            self.drop(waiting)
        news = [
            Satisfied(waiting.task_id, waiting.key, result if is_first else None)
            for (waiting, result), is_first in zip(ended, written, strict=True)
        ]
        self._around.satisfied(news)
        evicted = [one.task_id for one in news if self._around.evicted_attempt(one.task_id) is not None]
        await self._restore(list(dict.fromkeys(evicted)), "What the task waited for has happened")

    async def _restore(self, task_ids: list[str], cause: str) -> None:
        while task_ids and not self._is_stopped:
            try:
                await self._around.restore(task_ids, cause)
                return
            except Exception as error:
                log.warning("evicted tasks were not restored, trying again", tasks=len(task_ids), error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def _match(self, matched: Sequence[NewMatch]) -> None:
        if matched:
            self._background.spawn(self._write_matches(matched))

    async def _write_matches(self, matched: Sequence[NewMatch]) -> None:
        self._unwritten += 1
        try:
            while True:
                try:
                    await self._writes.matches(matched)
                    return
                except Exception as error:
                    if self._is_stopped:
                        return
                    log.warning("matches of events were not written, trying again", error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._unwritten -= 1

    # Reading ----------------------------------------------------------------------------------------------------------

    async def _load(self, task_ids: Sequence[str]) -> list[None]:
        while not self._is_stopped:
            try:
                await self._load_once(list(dict.fromkeys(task_ids)))
                break
            except Exception as error:
                log.warning("waits of durable tasks were not read, trying again", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
        return [None] * len(task_ids)

    async def _load_once(self, task_ids: Sequence[str]) -> None:
        if not self._is_heard_read:
            self._heard = await heard_until(self._database, self._lease.name)
            self._is_heard_read = True
        loaded = await read_open(self._database, self._tenant_id, task_ids)
        fresh: list[Waiting] = []
        for task_id, rows in loaded.items():
            known = self._by_task.get(task_id)
            if known is None:
                continue
            for entry in _open_entries(rows):
                if entry.key in known:
                    self.look_again(known[entry.key])
                else:
                    waiting = Waiting(task_id, entry)
                    waiting.matches = rows.matches.get(entry.key, {})
                    self._register(waiting)
                    fresh.append(waiting)
        await self._catch_up(fresh)
        now = self._clock.now()
        ended: list[tuple[Waiting, Result]] = []
        for waiting in fresh:
            if waiting.is_ending or self._is_gone(waiting):
                continue
            met = outcome(waiting.conditions, waiting.created_at, waiting.matches, now)
            if met is not None:
                ended.append((waiting, Result(max(met.at, waiting.created_at), met.payload)))
            else:
                self._begin(waiting)
                self.look_again(waiting)
        self._end(ended)

    async def _catch_up(self, fresh: Sequence[Waiting]) -> None:
        """Events that were pushed before these waits were known here."""
        listening = [waiting for waiting in fresh if waiting.event_keys]
        if not listening:
            return
        since = min(waiting.created_at for waiting in listening) - SKEW_SECONDS
        if self._heard is not None:
            since = max(since, self._heard - CLOCK_SLACK_SECONDS)
        keys = sorted({key for waiting in listening for key in waiting.event_keys})
        by_key: dict[str, list[Waiting]] = {}
        for waiting in listening:
            for key in waiting.event_keys:
                by_key.setdefault(key, []).append(waiting)
        for record in await events_since(self._database, self._tenant_id, keys, since):
            self._pushed_to([record], [one for one in by_key[record.key] if not self._is_gone(one)])

    def look_again(self, waiting: Waiting) -> None:
        """Search stored events, where the wait asks for it (D-10.9)."""
        if any(condition.looks_back for condition in waiting.conditions) and not waiting.is_ending:
            [looked] = self._look_backs.submit_all((waiting,))
            looked.add_done_callback(lambda done: self._looked(waiting, done))

    def _looked(self, waiting: Waiting, done: asyncio.Future[None]) -> None:
        if done.cancelled() or self._is_stopped or done.exception() is None:
            return
        log.warning("could not look for earlier events, trying again", error=str(done.exception()))
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self.look_again, waiting)

    async def _look_back(self, waits: Sequence[Waiting]) -> list[None]:
        """The newest stored event that meets a condition; it meets only this one (D-10.10)."""
        questions: dict[int, tuple[Waiting, int, LookBack]] = {}
        for waiting in waits:
            if waiting.is_ending or self._is_gone(waiting):
                continue
            for number, condition in enumerate(waiting.conditions):
                if condition.looks_back and number not in waiting.matches:
                    question = LookBack(
                        condition.event_key or "",
                        condition.event_scope or "",
                        lowest_at((condition.since or 0.0) - CLOCK_SLACK_SECONDS),
                        condition.since or 0.0,
                        highest(),
                    )
                    questions[len(questions)] = (waiting, number, question)
        ended: list[tuple[Waiting, Result]] = []
        matched: list[NewMatch] = []
        while questions:
            numbers = list(questions)
            answers = await look_back(
                self._database, self._tenant_id, [questions[one][2] for one in numbers], LOOK_BACK_PAGE
            )
            again: dict[int, tuple[Waiting, int, LookBack]] = {}
            for one, records in zip(numbers, answers, strict=True):
                waiting, number, question = questions[one]
                found = next((r for r in records if Happened(r).meets(waiting.conditions[number])), None)
                if found is not None and not waiting.is_ending and not self._is_gone(waiting):
                    at = found.inserted_at
                    if number in open_events(waiting.conditions, waiting.created_at, waiting.matches, at):
                        self._met(waiting, [number], found.id, at, found.payload, ended, matched)
                elif found is None and len(records) == LOOK_BACK_PAGE:
                    again[one] = (waiting, number, question.below(records[-1].id))
            questions = again
        self._end(ended)
        self._match(matched)
        return [None] * len(waits)

    async def _check(self, task_ids: Sequence[str]) -> None:
        evicted = {
            task_id: attempt for task_id in task_ids if (attempt := self._around.evicted_attempt(task_id)) is not None
        }
        if not evicted:
            return
        try:
            logs = await read_logs(self._database, self._tenant_id, list(evicted), payloads=False)
        except Exception:
            self._checks.extend((self._clock.now() + CHECK_SECONDS, task_id) for task_id in evicted)
            raise
        overdue: list[str] = []
        unknown: list[str] = []
        ended: dict[str, float] = {}
        for task_id, rows in logs.items():
            # The attempt that follows the eviction is one more than the one that was evicted.
            path = DurableLog(evicted[task_id], rows.entries, rows.branches)
            known = self._by_task.get(task_id, {})
            if path.overdue():
                overdue.append(task_id)
            elif any(entry.key not in known for entry in path.waiting()):
                # Another instance wrote it, and its message got lost.
                unknown.append(task_id)
            children = [one for one in path.on_path() if one.kind is EntryKind.RUN and one.release is None]
            if latest := [child.result.at for child in children if child.result is not None]:
                ended[task_id] = max(latest)
        self.load(unknown)
        overdue.extend(await self._unheard({one: at for one, at in ended.items() if one not in overdue}))
        self._background.spawn(self._restore(overdue, "What the task waited for has happened"))

    async def _unheard(self, ended: dict[str, float]) -> list[str]:
        """Those of the evicted tasks to which something has come since: nobody heard of the eviction before it came."""
        if not ended:
            return []
        states = await task_states(self._database, self._tenant_id, list(ended))
        return [
            task_id
            for task_id, state in states.items()
            if state.is_evicted and ended[task_id] > (state.evicted_at or 0.0) - CHECK_SECONDS
        ]


def _counts(record: EventRecord, waiting: Waiting) -> bool:
    """Whether the event came after the wait was registered (D-10.6, D-10.7)."""
    return record.inserted_at >= waiting.created_at - SKEW_SECONDS and record.id not in waiting.before


def _open_entries(rows: OpenRows) -> list[Entry]:
    """Those that something may still satisfy: on the active path, or of a client that knows no log."""
    walkable = [entry for entry in rows.entries if entry.branch > 0]
    others = [entry for entry in rows.entries if entry.branch <= 0]
    return [*DurableLog(0, walkable, rows.branches).waiting(), *others]
