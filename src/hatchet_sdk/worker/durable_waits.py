"""What one invocation of a durable task waits for: entries of its log, and since when. Connection thread only."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hatchet_sdk.context.durable_log import Completion
from hatchet_sdk.worker.durable_requests import Entry, EntryKey

if TYPE_CHECKING:
    from hatchet_contracts.v1.shared.condition_pb2 import DurableEventListenerConditions


class Waits:
    """Several branches of a function may wait at once, also for one entry: children with one key are one run."""

    def __init__(self) -> None:
        self.awaited: dict[EntryKey, Entry] = {}
        """The entries that somebody waits for now."""
        self._waiters: Counter[EntryKey] = Counter()
        self._loop = asyncio.get_running_loop()
        # What is waited for, by wait, in the order of their beginnings.
        self._reasons: dict[object, str] = {}
        self._since = 0.0

    @property
    def since(self) -> float | None:
        """When the first of the present, overlapping waits began; None without any (D-17.3)."""
        return self._since if self._reasons else None

    @property
    def reasons(self) -> str:
        """What is waited for, in words."""
        return ", ".join(dict.fromkeys(self._reasons.values()))

    @contextmanager
    def awaiting(self, entries: Sequence[Entry]) -> Iterator[None]:
        """Inside of it these entries are among the awaited."""
        for entry in entries:
            self.awaited[entry.key] = entry
            self._waiters[entry.key] += 1
        try:
            yield
        finally:
            for entry in entries:
                self._waiters[entry.key] -= 1
                if not self._waiters[entry.key]:
                    del self._waiters[entry.key], self.awaited[entry.key]

    async def end_of(
        self, entries: Sequence[Entry], what: str, *, stop_at_failure: bool, begun: Callable[[list[Entry]], None]
    ) -> None:
        """Returns when all entries have ended, or one was cancelled, or with `stop_at_failure` one has failed.

        Args:
            what: the reason, in words.
            begun: told of the entries that are awaited from now on.
        """
        left = list(dict.fromkeys(entry for entry in entries if not entry.done.done()))
        if not left or (stop_at_failure and any(_failed(entry.done) for entry in entries)):
            return
        over: asyncio.Future[None] = self._loop.create_future()
        count = len(left)

        def ended(done: asyncio.Future[Completion]) -> None:
            nonlocal count
            count -= 1
            if not over.done() and (count == 0 or done.cancelled() or (stop_at_failure and _failed(done))):
                over.set_result(None)

        for entry in left:
            entry.done.add_done_callback(ended)
        if not self._reasons:
            self._since = self._loop.time()
        place = object()
        self._reasons[place] = what
        try:
            with self.awaiting(left):
                begun(left)
                await over
        finally:
            del self._reasons[place]
            for entry in left:
                entry.done.remove_done_callback(ended)


def _failed(done: asyncio.Future[Completion]) -> bool:
    return done.done() and not done.cancelled() and done.result().error is not None


def described(conditions: DurableEventListenerConditions) -> str:
    """What is waited for, in words."""
    parts = [f"sleep {condition.sleep_for}" for condition in conditions.sleep_conditions]
    parts += [f"event {condition.user_event_key}" for condition in conditions.user_event_conditions]
    return " and ".join(parts) or "nothing"
