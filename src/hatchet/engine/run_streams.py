"""The streams of an instance's runs: which exist, when something in them is due, how much they keep.

A run that nobody follows has only notes in the journal; it gets a stream when somebody comes or a task of it streams.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TypeVar

from hatchet.core.run_events import RunEvent, RunEventKind
from hatchet.engine.run_journal import Key, Note, RunJournal
from hatchet.engine.run_stream import Budget, Item, RunStream, Windows

TICK_SECONDS = 0.02
"""What is due within this time is done together."""
MOST_KEPT_CHARACTERS = 48_000_000
MOST_CLOSED = 10_000
MOST_POSITIONS = 10_000

Value = TypeVar("Value")


class RunStreams:
    """Streams by tenant and run."""

    def __init__(self, windows: Windows, *, opened: Callable[[RunStream], None]) -> None:
        """``opened`` is called with each new stream."""
        self._windows = windows
        self._opened = opened
        self._budget = Budget()
        self._streams: OrderedDict[Key, RunStream] = OrderedDict()
        """In the order of their last event."""
        self._closed: OrderedDict[Key, None] = OrderedDict()
        """Runs whose end was told lately: chunks that come even later are dropped (behaviour-core C-13.12)."""
        self._positions: OrderedDict[Key, tuple[int, int]] = OrderedDict()
        """Places in the chunks of tasks, by tenant and task, whose streams were dropped in a pause."""
        self._journal = RunJournal(kept=windows.kept, kept_after_end=windows.hold_back)
        self._numbers = itertools.count(1)
        self._held: list[tuple[float, int, RunStream, Item]] = []
        """A heap: what comes from the journal is due earlier than what was held before."""
        self._gaps: deque[tuple[float, RunStream, str]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._streams) + len(self._journal)

    @property
    def kept(self) -> int:
        """Characters held."""
        return self._budget.used + self._journal.size

    def get(self, key: Key) -> RunStream | None:
        return self._streams.get(key)

    def of_tenant(self, tenant_id: str) -> list[RunStream]:
        """The tenant's streams."""
        return [stream for stream in self._streams.values() if stream.tenant_id == tenant_id]

    def note(self, key: Key, note: Note) -> None:
        """Something happened to a run without a stream that nobody follows."""
        if note[2] is RunEventKind.STARTED:
            # A run that is over and starts again was replayed.
            self._closed.pop(key, None)
        self._journal.note(key, note)
        if self._journal.has_over(note[0]):
            self._expire_journal(note[0])

    def has_notes(self, key: Key) -> bool:
        """Whether something happened to the run lately while nobody followed it."""
        return key in self._journal

    def open(self, key: Key) -> RunStream:
        """The stream of a run; a new one begins with what happened lately."""
        stream = self._streams.get(key)
        if stream is None:
            at = now()
            self._expire_journal(at)
            stream = self._streams[key] = RunStream(*key, self._budget, self._windows)
            stream.touched = at
            for noted_at, event in self._journal.take(key, at):
                item = self.new_item(event)
                stream.take(item, noted_at)
                self._hold(stream, item, noted_at)
            self._opened(stream)
        return stream

    def open_noted(self, tenant_id: str) -> None:
        """Give all runs of the tenant streams that only have notes."""
        for key in self._journal.keys_of(tenant_id):
            self.open(key)

    def new_item(self, event: RunEvent) -> Item:
        """An event of this instance, with its number."""
        return Item(event, next(self._numbers))

    def for_event(self, tenant_id: str, event: RunEvent) -> RunStream | None:
        """The stream that takes the event; None for what comes after the run's end (C-13.12)."""
        key = (tenant_id, event.run_id)
        stream = self._streams.get(key)
        if stream is None:
            if key in self._closed:
                if event.kind is not RunEventKind.STARTED:
                    return None
                # The run was replayed.
                del self._closed[key]
            stream = self.open(key)
        else:
            self._streams.move_to_end(key)
        task_id = event.task_id
        if event.kind is RunEventKind.STREAM and task_id is not None and not stream.has_order(task_id):
            position = self._positions.pop((tenant_id, task_id), None)
            if position is not None:
                stream.know(task_id, position)
        return stream

    def take(self, stream: RunStream, item: Item) -> bool:
        """Put an event into a stream and note when something about it is due; False when it changes nothing."""
        at = stream.touched = now()
        event = item.event
        if not stream.take(item, at):
            return False
        self._hold(stream, item, at)
        if event.index is not None and event.task_id is not None and stream.is_waiting(item):
            self._gaps.append((at + self._windows.gap, stream, event.task_id))
            if len(self._gaps) == 1:
                self._arm()
        if self._budget.used > MOST_KEPT_CHARACTERS:
            self._make_room()
        return True

    def drop(self, stream: RunStream) -> None:
        """Forget a stream; its subscribers hear nothing more of the run."""
        key = (stream.tenant_id, stream.run_id)
        if self._streams.get(key) is not stream:
            return
        del self._streams[key]
        if stream.end is not None:
            _remember(self._closed, key, None, MOST_CLOSED)
        else:
            for task_id, position in stream.positions().items():
                _remember(self._positions, (stream.tenant_id, task_id), position, MOST_POSITIONS)
        stream.close()

    def sweep(self) -> None:
        """Forget old events, and the streams in which nothing is left."""
        at = now()
        self._expire_journal(at)
        before = at - self._windows.kept
        for stream in list(itertools.takewhile(lambda stream: stream.touched <= before, self._streams.values())):
            stream.expire(at)
            if stream.is_idle:
                self.drop(stream)
            else:
                stream.touched = at
                self._streams.move_to_end((stream.tenant_id, stream.run_id))

    def stop(self) -> None:
        """Nothing is due any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._held.clear()
        self._gaps.clear()

    def _hold(self, stream: RunStream, item: Item, at: float) -> None:
        """The ends of attempts and runs wait from ``at`` on (C-7.45)."""
        if item.is_held or item is stream.end:
            due = at + self._windows.hold_back
            heapq.heappush(self._held, (due, next(self._numbers), stream, item))
            if self._held[0][3] is item:
                self._arm()

    def _expire_journal(self, at: float) -> None:
        for key in self._journal.expire(at):
            _remember(self._closed, key, None, MOST_CLOSED)

    def _arm(self) -> None:
        """Be woken for what is due first."""
        dues = [self._held[0][0]] if self._held else []
        if self._gaps:
            dues.append(self._gaps[0][0])
        if not dues:
            return
        at = max(min(dues), now() + TICK_SECONDS)
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._fire)

    def _fire(self) -> None:
        """Do what is due."""
        self._timer = None
        at = now()
        while self._gaps and self._gaps[0][0] <= at:
            _, stream, task_id = self._gaps.popleft()
            stream.expire_gap(task_id, at)
        while self._held and self._held[0][0] <= at:
            _, _, stream, item = heapq.heappop(self._held)
            if item is stream.end:
                stream.finish(at)
                self.drop(stream)
            else:
                stream.release(item, at)
        self._arm()

    def _make_room(self) -> None:
        """Too much is kept: first goes what was touched longest ago; followed streams lose only what was heard."""
        for stream in list(self._streams.values()):
            if self._budget.used <= MOST_KEPT_CHARACTERS // 2:
                break
            if stream.subscribers:
                stream.forget()
            else:
                self.drop(stream)


def now() -> float:
    """The event loop's clock, which all waiting here goes by."""
    return asyncio.get_running_loop().time()


def _remember(known: OrderedDict[Key, Value], key: Key, value: Value, most: int) -> None:
    known[key] = value
    if len(known) > most:
        known.popitem(last=False)
