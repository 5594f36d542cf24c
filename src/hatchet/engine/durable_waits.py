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

import structlog

from hatchet.core.clock import Clock
from hatchet.core.durable_children import child_result
from hatchet.core.durable_log import Entry, Key, Result
from hatchet.core.durable_waits import Match, next_due, open_events, outcome
from hatchet.core.event_match import Happened
from hatchet.core.messages import EventRecord, RunFinished
from hatchet.engine.batcher import Batcher
from hatchet.engine.durable_checks import DurableChecks
from hatchet.engine.durable_endings import DurableEndings
from hatchet.engine.durable_look_backs import DurableLookBacks, Found
from hatchet.engine.durable_waiting import (
    HEARD_SECONDS,
    SKEW_SECONDS,
    Ended,
    Surroundings,
    Waiting,
    counts,
    open_entries,
)
from hatchet.engine.durable_writes import DurableWrites
from hatchet.engine.publish import Results
from hatchet.store.durable import NewMatch, OfTask, read_open
from hatchet.store.events import CLOCK_SLACK_SECONDS, events_since
from hatchet.store.leases import HeldLease, heard_until, raise_heard
from hatchet.store.pool import Database

log = structlog.get_logger("hatchet.engine")

RETRY_SECONDS = 0.5
BATCH = 1000
SHORTEST_DELAY, LONGEST_DELAY = 0.0005, 60.0
HEARD_SLACK_SECONDS = 5.0
USED_EVENTS = 32


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
        self._clock = clock
        self._subscription = results.open(tenant_id, self._children_ended)
        self._by_task: dict[str, dict[Key, Waiting]] = {}
        self._by_event: dict[str, dict[Waiting, None]] = {}
        self._by_run: dict[str, Waiting] = {}
        self._due: list[tuple[float, int, Waiting]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self._endings = DurableEndings(tenant_id, writes, around, drop=self.drop)
        self._look_backs = DurableLookBacks(tenant_id, database, found=self._looked_back, is_gone=self._is_gone)
        self._checks = DurableChecks(
            tenant_id,
            database,
            clock,
            around,
            known=lambda task_id: self._by_task.get(task_id, {}).keys(),
            load=self.load,
            restore=self._endings.restore,
        )
        self._lately: deque[tuple[float, str, str]] = deque()
        """What was heard a moment ago: when, key and id of each event."""
        self._used: dict[str, deque[str]] = {}
        """By task the events that met its conditions last: each is used once (D-8.7)."""
        self._loads: Batcher[str, None] = Batcher("durable-waits", self._load, maximum=BATCH, high_water=5_000_000)
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
            heard = {event_id for _, key, event_id in self._lately if key in keys}
            waiting.before = frozenset(heard.union(self._used.get(task_id, ())))
        self._register(waiting)
        return waiting

    def committed(self, waiting: Waiting) -> None:
        """The entry is written: what it waits for counts now."""
        held, waiting.held = waiting.held or [], None
        if self._is_gone(waiting):
            return
        self._begin(waiting)
        self._pushed_to(held, [waiting])
        self._look_backs.look(waiting)

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
            self._look_backs.look(waiting)

    def forget(self, task_id: str) -> None:
        """The task has ended: nothing wakes it (D-8.9). A replay loads what is open again (D-8.10)."""
        self._used.pop(task_id, None)
        for waiting in list(self._by_task.pop(task_id, {}).values()):
            self.drop(waiting)

    def reload(self, task_id: str) -> None:
        """The task's log has another path now: what waits on the old one is over (D-22.8)."""
        self.forget(task_id)
        self.load([task_id])

    def evicted(self, task_id: str) -> None:
        """The task was evicted: make sure in a while that nothing was overlooked (D-29.6)."""
        self._checks.evicted(task_id)

    # What happens -----------------------------------------------------------------------------------------------------

    def pushed(self, records: Sequence[EventRecord]) -> None:
        """Events were committed; hearing of one twice is harmless."""
        now = self._clock.now()
        while self._lately and self._lately[0][0] < now - HEARD_SECONDS:
            self._lately.popleft()
        self._lately.extend((now, record.key, record.id) for record in records)
        if self._by_event:
            self._pushed_to(records)

    async def poll(self, since: float) -> None:
        """The poll behind the messages of other instances: events since then, for all keys that are waited for."""
        if self._by_event:
            self.pushed(await events_since(self._database, self._tenant_id, list(self._by_event), since))

    async def turn(self, now: float) -> None:
        """Look at the rows of tasks that were evicted a while ago."""
        await self._checks.turn(now)

    async def note_heard(self, now: float) -> None:
        """Remember in the lease until when all events are heard, so that the next owner need not read more."""
        if self._by_event and self._endings.is_idle and not self._unread:
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
        await self._look_backs.stop()
        await self._endings.stop()

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
        ended: list[Ended] = []
        while self._due and self._due[0][0] <= now:
            waiting = heapq.heappop(self._due)[2]
            if waiting.is_ending or self._is_gone(waiting):
                continue
            met = outcome(waiting.conditions, waiting.created_at, waiting.matches, now)
            if met is not None:
                ended.append((waiting, Result(max(met.at, waiting.created_at), met.payload)))
        self._endings.end(ended)
        self._arm()

    def _pushed_to(self, records: Sequence[EventRecord], only: Sequence[Waiting] | None = None) -> None:
        ended: list[Ended] = []
        matched: list[NewMatch] = []
        for record in records:
            happened = Happened(record)
            for waiting in list(self._by_event.get(record.key, ())) if only is None else only:
                if waiting.held is not None:
                    waiting.held.append(record)
                elif not waiting.is_ending and counts(record, waiting):
                    found = [
                        number
                        for number in open_events(
                            waiting.conditions, waiting.created_at, waiting.matches, record.inserted_at
                        )
                        if happened.meets(waiting.conditions[number])
                    ]
                    self._met(waiting, found, record, ended, matched)
        self._endings.end(ended)
        self._endings.match(matched)

    def _met(
        self,
        waiting: Waiting,
        numbers: Sequence[int],
        record: EventRecord,
        ended: list[Ended],
        matched: list[NewMatch],
    ) -> None:
        """An event met these conditions: the wait is over, or goes on with what it has."""
        if not numbers:
            return
        self._used.setdefault(waiting.task_id, deque(maxlen=USED_EVENTS)).append(record.id)
        for number in numbers:
            waiting.matches[number] = Match(number, record.inserted_at, record.payload or "{}")
        now = max(record.inserted_at, self._clock.now())
        met = outcome(waiting.conditions, waiting.created_at, waiting.matches, now)
        if met is not None:
            ended.append((waiting, Result(max(met.at, waiting.created_at), met.payload)))
            waiting.is_ending = True
            return
        of = OfTask(self._tenant_id, waiting.task_id)
        matched.extend(NewMatch(of, waiting.key, record.id, waiting.matches[number]) for number in numbers)
        self._schedule(waiting)

    def _looked_back(self, found: Sequence[Found]) -> None:
        """The newest stored events that waits look back for."""
        ended: list[Ended] = []
        matched: list[NewMatch] = []
        for waiting, number, record in found:
            if not waiting.is_ending:
                self._met(waiting, [number], record, ended, matched)
        self._endings.end(ended)
        self._endings.match(matched)

    async def _children_ended(self, finished: Sequence[RunFinished]) -> None:
        ended: list[Ended] = []
        for run in finished:
            waiting = self._by_run.get(run.run_id)
            if waiting is not None and not waiting.is_ending:
                ended.append((waiting, child_result(run, is_single=waiting.is_single)))
        self._endings.end(ended)

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
            for entry in open_entries(rows):
                if entry.key in known:
                    self._look_backs.look(known[entry.key])
                else:
                    waiting = Waiting(task_id, entry)
                    waiting.matches = rows.matches.get(entry.key, {})
                    waiting.before = frozenset(self._used.get(task_id, ()))
                    self._register(waiting)
                    fresh.append(waiting)
        await self._catch_up(fresh)
        now = self._clock.now()
        ended: list[Ended] = []
        for waiting in fresh:
            if waiting.is_ending or self._is_gone(waiting):
                continue
            met = outcome(waiting.conditions, waiting.created_at, waiting.matches, now)
            if met is not None:
                ended.append((waiting, Result(max(met.at, waiting.created_at), met.payload)))
            else:
                self._begin(waiting)
                self._look_backs.look(waiting)
        self._endings.end(ended)

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
