"""How often one address may call an operation that could be used for guessing or flooding (behaviour-rest R-4.1)."""

from __future__ import annotations

from collections import OrderedDict, deque

from hatchet.core.clock import Clock

MOST = 10
WINDOW_SECONDS = 300.0
MOST_REMEMBERED = 100_000
"""Addresses and operations; beyond, those that were quiet for longest are forgotten."""


class RequestLimits:
    """A sliding window for each address and operation, in the memory of this instance."""

    def __init__(self, clock: Clock, *, most: int = MOST, window_seconds: float = WINDOW_SECONDS) -> None:
        self._clock = clock
        self._most = most
        self._window = window_seconds
        self._taken: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def take(self, address: str, operation: str) -> float | None:
        """Count one request: None when it is within the limit, else the seconds until the next one will be.

        Refused requests do not count, so that a client that goes on asking gets through at some time.
        """
        now = self._clock.now()
        key = (address, operation)
        taken = self._taken.setdefault(key, deque())
        self._taken.move_to_end(key)
        while taken and taken[0] <= now - self._window:
            taken.popleft()
        if len(taken) >= self._most:
            return taken[0] + self._window - now
        taken.append(now)
        while len(self._taken) > MOST_REMEMBERED:
            self._taken.popitem(last=False)
        return None
