"""Time and ids are handed in, so that a test can hold and skip them.

Times are seconds since 1970 in UTC as ``float`` everywhere inside; SQL converts with ``to_timestamp``.
"""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The wall clock of the platform; in production it follows the database's clock."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        ...


class Ids(Protocol):
    """A source of UUIDv7 texts, increasing within one process."""

    def new(self) -> str:
        """A lower-case hyphenated UUIDv7."""
        ...


class HeldClock:
    """A clock for tests that moves only when told to."""

    def __init__(self, start: float = 1_750_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds``."""
        self._now += seconds
