"""Station 7 for those who follow a run while it goes on: SubscribeToWorkflowEvents (behaviour-core C-7.32 to C-7.48).

Nothing is stored. Whoever moves a task along calls :meth:`RunEvents.started`, :meth:`~RunEvents.attempt_ended` and
:meth:`~RunEvents.run_ended`; workers send chunks. Events of the last seconds are kept for subscribers that come just
after the trigger. A subscriber is registered first and the rows are looked at afterwards, so an end between the two is
seen; and they are looked at again every moment, so that a lost word never leaves a subscriber waiting for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from hatchet.core.clock import Clock
from hatchet.core.errors import NotFound, Unavailable
from hatchet.core.run_events import RunEvent, RunEventKind, run_event_kind
from hatchet.core.statuses import RunStatus
from hatchet.engine.batcher import Batcher
from hatchet.engine.bus import Bus
from hatchet.engine.component import Loop
from hatchet.engine.event_queue import EventQueue
from hatchet.engine.run_events_relay import RunEventsRelay, metadata_pairs, pair_digest
from hatchet.engine.run_journal import Note
from hatchet.engine.run_lookup import RunLookup, TaskRuns
from hatchet.engine.run_stream import Item, RunStream, Windows
from hatchet.engine.run_streams import RunStreams, now

RECHECK_SECONDS = 1.5
QUIET_RECHECKS = 4
"""While no other instance is alive a word is lost only with a database that is away: the rows are asked less often."""
UNKNOWN_POLL_SECONDS = 0.25


class RunEvents(Loop):
    """This instance's part in the events of runs. Ids are UUID texts, times seconds since 1970."""

    def __init__(self, lookup: RunLookup, bus: Bus, clock: Clock, *, windows: Windows | None = None) -> None:
        super().__init__("run-events", RECHECK_SECONDS)
        self._lookup = lookup
        self._task_runs = TaskRuns(lookup)
        self._bus = bus
        self._clock = clock
        self._windows = windows or Windows()
        self._queues: dict[EventQueue, set[RunStream]] = {}
        self._followed: dict[RunStream, None] = {}
        """Streams of subscribers whose runs had not ended when they came."""
        self._by_pair: dict[str, dict[str, set[EventQueue]]] = {}
        """Subscribers by tenant and by digest of the pair of metadata that they asked for."""
        self._turns = 0
        self._metadata: Batcher[RunStream, None] = Batcher("run-metadata", self._read_metadata)
        self._relay = RunEventsRelay(bus, now=now, wanted=self._wanted_elsewhere, received=self._received)
        self.streams = RunStreams(self._windows, opened=self._opened)

    def started(self, tenant_id: str, run_id: str, task_id: str, attempt: int, retries: int, at: float) -> None:
        """A worker says that an attempt runs. ``retries``: how many the task's definition allows."""
        self._noted((tenant_id, run_id), (now(), task_id, RunEventKind.STARTED, at, "", attempt, retries))

    def attempt_ended(
        self,
        tenant_id: str,
        run_id: str,
        task_id: str,
        attempt: int,
        retries: int,
        kind: RunEventKind,
        payload: str,
        at: float,
    ) -> None:
        """An attempt ended with output or error text ``payload``, whether or not a retry follows (C-7.38)."""
        self._noted((tenant_id, run_id), (now(), task_id, kind, at, payload, attempt, retries))

    def run_ended(self, tenant_id: str, run_id: str, status: RunStatus, at: float) -> None:
        """A run has ended: to be called after the commit, and after the word of its last attempt."""
        self._noted((tenant_id, run_id), (now(), None, run_event_kind(status), at, "", None, None))

    async def chunk(
        self, tenant_id: str, task_id: str, attempt: int | None, index: int | None, payload: str, at: float
    ) -> None:
        """A task streams a piece of text (C-13.9 to C-13.12). Without ``attempt`` it is of the one that runs.

        Raises :class:`NotFound` for a task that the tenant does not have. Chunks of a run that is over are dropped.
        """
        run_id = await self._task_runs.run_of(tenant_id, task_id)
        if run_id is None:
            raise NotFound(f"task not found: {task_id}")
        event = RunEvent(run_id, task_id, RunEventKind.STREAM, at, payload, attempt, index=index)
        self._happened(tenant_id, event)

    @contextlib.asynccontextmanager
    async def subscribe_run(self, tenant_id: str, run_id: str) -> AsyncIterator[EventQueue]:
        """The events of one run until its end; the id of one task of a larger run gives that task's events (C-0.7).

        A run that is over gives none, except for a moment after its end (C-7.36, C-7.45). Raises :class:`NotFound`
        for a run that has not appeared after 10 s. Iterating may raise ResourceExhausted, see :class:`EventQueue`.
        """
        queue = EventQueue()
        self._queues[queue] = set()
        try:
            stream = self._follow(queue, tenant_id, run_id)
            owner = await self._task_runs.run_of(tenant_id, run_id)
            if owner is not None and owner != run_id:
                queue.only(run_id)
                stream = self._follow(queue, tenant_id, owner)
            status = await self._status(stream)
            if not status.is_terminal:
                self._followed[stream] = None
            elif not queue.is_over and not await self._is_ending(stream):
                queue.end()
            yield queue
        finally:
            self._leave(queue)

    @contextlib.asynccontextmanager
    async def subscribe_metadata(self, tenant_id: str, key: str, value: str) -> AsyncIterator[EventQueue]:
        """The events of every run whose metadata has ``value`` under ``key``, until all runs seen ended (C-7.39)."""
        queue = EventQueue(many_runs=True)
        pair = pair_digest(key, value)
        self._queues[queue] = set()
        self._by_pair.setdefault(tenant_id, {}).setdefault(pair, set()).add(queue)
        try:
            self._relay.ask(tenant_id, (), (pair,))
            self._match_all(tenant_id)
            yield queue
        finally:
            self._forget_pair(tenant_id, pair, queue)
            self._leave(queue)

    async def stop(self) -> None:
        """End every subscription with UNAVAILABLE, so that clients subscribe elsewhere."""
        await super().stop()
        self.streams.stop()
        for queue in list(self._queues):
            queue.fail(Unavailable("this server is stopping: subscribe again, another instance will answer"))
        await self._metadata.drain()

    async def turn(self) -> None:
        self._turns += 1
        self._relay.expire()
        self.streams.sweep()
        for streams in self._queues.values():
            streams.difference_update([stream for stream in streams if stream.is_closed])
        self._repeat_wishes()
        for tenant_id in {*self._by_pair, *self._relay.tenants}:
            self._match_all(tenant_id)
        if self._bus.has_peers or self._turns % QUIET_RECHECKS == 0:
            await self._repair()

    async def _repair(self) -> None:
        """Tell the ends of which no word has come."""
        for stream in list(self._followed):
            if stream.is_closed or not stream.subscribers:
                self._followed.pop(stream, None)
                continue
            status = await self._lookup.state_of(stream.tenant_id, stream.run_id)
            if status is not None and status.is_terminal:
                event = RunEvent(stream.run_id, None, run_event_kind(status), self._clock.now())
                self.streams.take(stream, Item(event, None))

    def _noted(self, key: tuple[str, str], note: Note) -> None:
        """Something happened at this instance: a note is enough unless somebody follows the run."""
        if (
            self.streams.get(key) is None
            and key[0] not in self._by_pair
            and not (self._bus.has_peers and self._relay.may_want(*key))
        ):
            self.streams.note(key, note)
        else:
            self._happened(key[0], RunEvent(key[1], *note[1:]))

    def _happened(self, tenant_id: str, event: RunEvent) -> None:
        """Something happened at this instance to a run that has a stream, or gets one now."""
        stream = self.streams.for_event(tenant_id, event)
        if stream is not None:
            item = self.streams.new_item(event)
            if self.streams.take(stream, item) and self._bus.has_peers:
                self._relay.forward(stream, item)

    def _received(self, tenant_id: str, event: RunEvent, sender: str, number: int, base: int) -> None:
        """Something happened at another instance, which repeats itself when somebody new asks."""
        stream = self.streams.for_event(tenant_id, event)
        if stream is not None and stream.numbers.get(sender, 0) < number:
            stream.numbers[sender] = number
            self.streams.take(stream, Item(event, None, base))

    def _opened(self, stream: RunStream) -> None:
        if self._needs_metadata(stream.tenant_id):
            self._ask_metadata([stream])

    def _follow(self, queue: EventQueue, tenant_id: str, run_id: str) -> RunStream:
        stream = self.streams.open((tenant_id, run_id))
        self._attach(queue, stream)
        self._relay.ask(tenant_id, (run_id,), ())
        return stream

    def _attach(self, queue: EventQueue, stream: RunStream) -> None:
        self._queues[queue].add(stream)
        stream.attach(queue)

    def _leave(self, queue: EventQueue) -> None:
        for stream in self._queues.pop(queue):
            stream.subscribers.pop(queue, None)
            if not stream.subscribers:
                self._followed.pop(stream, None)
                if stream.is_idle:
                    self.streams.drop(stream)

    async def _status(self, stream: RunStream) -> RunStatus:
        """The run's status, once the run is there (C-7.36)."""
        until = now() + self._windows.unknown
        while (status := await self._lookup.state_of(stream.tenant_id, stream.run_id)) is None:
            if now() >= until:
                raise NotFound(f"run not found: {stream.run_id}")
            await asyncio.sleep(min(UNKNOWN_POLL_SECONDS, self._windows.unknown / 4))
        return status

    async def _is_ending(self, stream: RunStream) -> bool:
        """Whether a run that is over according to the rows ended just now, so that its stream goes on for a moment."""
        if stream.end is None:
            stream.end_seen = stream.end_seen or asyncio.Event()
            # The word of it follows the commit, from another instance with what is kept there.
            patience = self._windows.settle + (self._windows.hold_back if self._bus.has_peers else 0.0)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stream.end_seen.wait(), patience)
        return stream.end is not None

    def _needs_metadata(self, tenant_id: str) -> bool:
        return tenant_id in self._by_pair or self._relay.wants_pairs(tenant_id)

    def _wanted_elsewhere(self, tenant_id: str, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            key = (tenant_id, run_id)
            if self.streams.get(key) is not None or self.streams.has_notes(key):
                self._relay.catch_up(self.streams.open(key))
        if not run_ids:
            self._match_all(tenant_id)

    def _match_all(self, tenant_id: str) -> None:
        """Bring the tenant's streams and those who ask by metadata together."""
        self.streams.open_noted(tenant_id)
        streams = self.streams.of_tenant(tenant_id)
        for stream in streams:
            self._match(stream)
        self._ask_metadata([stream for stream in streams if stream.pairs is None])

    def _match(self, stream: RunStream) -> None:
        by_pair = self._by_pair.get(stream.tenant_id, {})
        for pair in stream.pairs or ():
            for queue in by_pair.get(pair, ()):
                self._attach(queue, stream)
                self._followed[stream] = None
        self._relay.catch_up(stream)

    def _ask_metadata(self, streams: Sequence[RunStream]) -> None:
        # What fails is asked for again by the next turn.
        with contextlib.suppress(Exception):
            self._metadata.submit_all(streams)

    async def _read_metadata(self, streams: Sequence[RunStream]) -> list[None]:
        by_tenant: dict[str, dict[str, RunStream]] = {}
        for stream in streams:
            by_tenant.setdefault(stream.tenant_id, {})[stream.run_id] = stream
        for tenant_id, by_run in by_tenant.items():
            metadata = await self._lookup.metadata_of(tenant_id, list(by_run))
            for run_id, stream in by_run.items():
                stream.pairs = metadata_pairs(metadata.get(run_id, ""))
                self._match(stream)
        return [None] * len(streams)

    def _repeat_wishes(self) -> None:
        if not self._bus.has_peers:
            return
        runs: dict[str, set[str]] = {}
        for streams in self._queues.values():
            for stream in streams:
                runs.setdefault(stream.tenant_id, set()).add(stream.run_id)
        for tenant_id in {*runs, *self._by_pair}:
            self._relay.ask(tenant_id, runs.get(tenant_id, ()), self._by_pair.get(tenant_id, ()))

    def _forget_pair(self, tenant_id: str, pair: str, queue: EventQueue) -> None:
        by_pair = self._by_pair[tenant_id]
        by_pair[pair].discard(queue)
        if not by_pair[pair]:
            del by_pair[pair]
        if not by_pair:
            del self._by_pair[tenant_id]
