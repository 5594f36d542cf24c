"""The rate limits of one tenant, in the memory of its owner (behaviour-core C-10).

Units come in fixed windows: a window begins with the first look at the limit after the one before is over, and then
all units are back. Nothing here reads a clock; times are seconds since 1970. A clock that went back never makes anybody
wait for longer than one window, and never brings units back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hatchet.core.limits import Units
from hatchet.core.rules import Window

TOLERANCE_SECONDS = 0.010
"""How much before its end a window counts as over (C-10.13)."""

_SECONDS = {
    Window.SECOND: 1.0,
    Window.MINUTE: 60.0,
    Window.HOUR: 3600.0,
    Window.DAY: 86_400.0,
    Window.WEEK: 604_800.0,
}
_MONTHS = {Window.MONTH: 1, Window.YEAR: 12}
_SIZES = {window: size for size, window in enumerate(Window)}
_NOBODY: Mapping[str, int] = {}


@dataclass(slots=True, frozen=True)
class Lack:
    """What keeps a task from taking its units: a key that has too few."""

    key: str
    left: int
    units: int
    """How many it wants."""
    wakes_at: float | None
    """When looking again is worth while; None: only another definition of the key can help."""


@dataclass(slots=True, frozen=True)
class KeyState:
    """One key as its row must become."""

    key: str
    limit: int | None
    """What a task defined; None leaves limit and window of the row as they are."""
    window: Window | None
    units_left: int
    refilled_at: float
    updated_at: float
    """When it was defined."""


def lack_text(lack: Lack) -> str:
    """What people read about a task that waits for units (C-10.16)."""
    return (
        f"Rate limit exceeded for key {lack.key}, attempting to consume {lack.units} units, "
        f"but only had {lack.left} remaining"
    )


def window_end(window: Window, begun_at: float) -> float:
    """The end of a window that began then. Months and years are those of the calendar in UTC (C-10.3)."""
    seconds = _SECONDS.get(window)
    if seconds is not None:
        return begun_at + seconds
    begun = datetime.fromtimestamp(begun_at, UTC)
    month = begun.month - 1 + _MONTHS[window]
    first = begun.replace(year=begun.year + month // 12, month=month % 12 + 1, day=1)
    last_day = ((first + timedelta(days=31)).replace(day=1) - timedelta(days=1)).day
    return first.replace(day=min(begun.day, last_day)).timestamp()


class _Limit:
    """One key. Without limit and window it is only paused, and does not exist for tasks."""

    __slots__ = ("defined_at", "is_defined_here", "left", "limit", "opened_at", "paused_until", "refilled_at", "window")

    def __init__(self, defined_at: float) -> None:
        self.limit: int | None = None
        self.window: Window | None = None
        self.paused_until: float | None = None
        self.left: int | None = None
        """Units left of the window that began at ``refilled_at``; None before the first look."""
        self.refilled_at = 0.0
        self.opened_at = 0.0
        """The same time, but not moved when the clock goes back."""
        self.defined_at = defined_at
        self.is_defined_here = False
        """Whether a task defined it and that is not written yet."""

    def redefine(self, limit: int | None, window: Window | None) -> None:
        """C-10.2: what is left never exceeds the limit; a raised limit counts from the next window on."""
        self.limit, self.window = limit, window
        if limit is None:
            self.left = None
        elif self.left is not None:
            self.left = min(self.left, limit)

    def look(self, now: float) -> None:
        """Begin a new window when the present one is over (C-10.13)."""
        assert self.limit is not None
        assert self.window is not None
        if self.left is None:
            self._refill(now)
        elif now < self.refilled_at:
            # The clock went back: the window may begin anew, its units do not.
            self.refilled_at = now
        elif now >= window_end(self.window, self.refilled_at) - TOLERANCE_SECONDS:
            self._refill(now)

    def _refill(self, now: float) -> None:
        self.left = self.limit
        self.refilled_at = self.opened_at = now


class RateLimits:
    """All rate limits of one tenant."""

    def __init__(self) -> None:
        self._limits: dict[str, _Limit] = {}
        self._changed: set[str] = set()
        self._listeners: list[Callable[[str, bool], None]] = []

    def __contains__(self, key: str) -> bool:
        """Whether the key has a limit."""
        return self.limit_of(key) is not None

    def limit_of(self, key: str) -> int | None:
        """The limit of the key; None when it has none."""
        one = self._limits.get(key)
        return None if one is None else one.limit

    def listen(self, listener: Callable[[str, bool], None]) -> None:
        """Call ``listener`` with each key that may have more units without a refill, and whether it was redefined."""
        self._listeners.append(listener)

    def load(
        self,
        key: str,
        limit: int | None,
        window: Window | None,
        paused_until: float | None,
        units_left: int | None,
        refilled_at: float | None,
        updated_at: float | None = None,
    ) -> None:
        """Take a row over. Of a key that is known here, what was taken stays: nobody but its owner writes that.

        ``updated_at``: when the row was defined; an older definition than the one here is not taken over.
        """
        one = self._limits.get(key)
        if one is None:
            one = self._limits[key] = _Limit(updated_at or 0.0)
        before = (one.limit, one.window, one.paused_until)
        one.paused_until = paused_until
        is_older = updated_at is not None and updated_at < one.defined_at
        if not is_older and not (limit is None and one.is_defined_here):
            if one.left is None and units_left is not None and refilled_at is not None:
                one.left, one.refilled_at, one.opened_at = max(units_left, 0), refilled_at, refilled_at
            one.redefine(limit, window)
            one.defined_at = updated_at if updated_at is not None else one.defined_at
            one.is_defined_here = False
        if before != (one.limit, one.window, one.paused_until):
            self._tell(key, True)

    def define(self, units: Iterable[Units], now: float) -> None:
        """Set the limits that dynamic rules of tasks define which come together (C-10.9, C-10.10).

        Only for tasks that are new: those found again after a take-over would undo what was defined after them.
        """
        wanted: dict[str, tuple[int, Window]] = {}
        for one in units:
            if one.limit is None or one.window is None:
                continue
            limit, window = wanted.get(one.key, (one.limit, one.window))
            wanted[one.key] = min(limit, one.limit), max(window, one.window, key=_SIZES.__getitem__)
        for key, (limit, window) in wanted.items():
            self._define(key, limit, window, now)

    def forget(self, key: str) -> None:
        """The key was deleted; the next task that defines it makes it anew (R-17.3)."""
        self._changed.discard(key)
        if self._limits.pop(key, None) is not None:
            self._tell(key, True)

    def stored(self) -> set[str]:
        """The keys that have a row as far as is known here: ask before reading the rows, for :meth:`forget_missing`."""
        return {key for key, one in self._limits.items() if not one.is_defined_here}

    def forget_missing(self, stored: set[str], found: Iterable[str]) -> None:
        """Forget the keys that :meth:`stored` named and that are not among the rows which were read after that."""
        for key in stored.difference(found):
            one = self._limits.get(key)
            if one is not None and not one.is_defined_here:
                self.forget(key)

    def lack(self, units: Sequence[Units], now: float, reserved: Mapping[str, int] = _NOBODY) -> Lack | None:
        """What is missing of ``units``, which are sorted by key; None when all are there.

        A key whose limit is too small comes first: nobody has to wait behind who waits for that.

        ``reserved``: units by key that are left for others. A dynamic key that was deleted is defined again (R-17.3).
        """
        first: Lack | None = None
        for want in units:
            one = self._limits.get(want.key)
            if (one is None or one.limit is None) and want.limit is not None and want.window is not None:
                self._define(want.key, want.limit, want.window, now)
                one = self._limits[want.key]
            if one is None or one.limit is None:
                first = first or Lack(want.key, 0, want.units, None)
                continue
            found = self._missing(one, want, now, reserved.get(want.key, 0))
            if found is not None and found.wakes_at is None:
                return found
            first = first or found
        return first

    def take(self, units: Iterable[Units], now: float) -> None:
        """Take all of ``units``; call it only when :meth:`lack` has just said that nothing is missing (C-10.12)."""
        for want in units:
            one = self._limits[want.key]
            one.look(now)
            if want.units:
                assert one.left is not None
                one.left -= want.units
            self._changed.add(want.key)

    def give_back(self, units: Iterable[Units], taken_at: float) -> None:
        """Return the units of an assignment that did not happen, as far as their window still lasts."""
        for want in units:
            one = self._limits.get(want.key)
            if one is None or one.limit is None or one.left is None or taken_at < one.opened_at:
                continue
            one.left = min(one.left + want.units, one.limit)
            self._changed.add(want.key)
            self._tell(want.key, False)

    def changed(self) -> list[KeyState]:
        """What must be written; it stays so until :meth:`written`."""
        return [state for key in self._changed if (state := self._state(key)) is not None]

    def written(self, states: Iterable[KeyState]) -> None:
        """These are in the rows now. What changed meanwhile is still to be written."""
        for state in states:
            if self._state(state.key) == state:
                self._limits[state.key].is_defined_here = False
                self._changed.discard(state.key)

    def _state(self, key: str) -> KeyState | None:
        one = self._limits.get(key)
        if one is None or one.left is None:
            return None
        limit, window = (one.limit, one.window) if one.is_defined_here else (None, None)
        return KeyState(key, limit, window, one.left, one.refilled_at, one.defined_at)

    def _define(self, key: str, limit: int, window: Window, now: float) -> None:
        one = self._limits.get(key)
        if one is not None and (one.limit, one.window) == (limit, window):
            return
        if one is None:
            one = self._limits[key] = _Limit(now)
        one.redefine(limit, window)
        # As exact as the rows, so that it can be compared with theirs.
        one.defined_at = round(now, 6)
        one.is_defined_here = True
        one.look(now)
        self._changed.add(key)
        self._tell(key, True)

    def _missing(self, one: _Limit, want: Units, now: float, reserved: int) -> Lack | None:
        assert one.limit is not None
        assert one.window is not None
        one.look(now)
        assert one.left is not None
        is_paused = one.paused_until is not None and now < one.paused_until
        left = 0 if is_paused else max(one.left - reserved, 0)
        if want.units <= left or not want.units:
            return None
        if want.units > one.limit:
            return Lack(want.key, left, want.units, None)
        wakes_at = now
        if want.units > one.left - reserved:
            wakes_at = window_end(one.window, one.refilled_at)
        if is_paused and one.paused_until is not None:
            wakes_at = max(wakes_at, one.paused_until)
        return Lack(want.key, left, want.units, wakes_at)

    def _tell(self, key: str, is_redefined: bool) -> None:
        for listener in self._listeners:
            listener(key, is_redefined)
