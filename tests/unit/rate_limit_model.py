"""What rate limits must do, told naively, and machines that compare (behaviour-core C-10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from queue_model import START, a_task, a_version

from hatchet.core.deadlines import GONE, WAITING
from hatchet.core.limits import Limits, Units
from hatchet.core.parked import ParkedTasks
from hatchet.core.rate_limits import RateLimits
from hatchet.core.ready_task import ReadyTask
from hatchet.core.rules import Window

LENGTH = {Window.SECOND: 1, Window.MINUTE: 60, Window.HOUR: 3600, Window.DAY: 86_400, Window.WEEK: 7 * 86_400}
STEP = a_version()

keys = st.sampled_from(["a", "b", "c"])
windows = st.sampled_from([Window.SECOND, Window.MINUTE, Window.HOUR, Window.MONTH])
some_units = st.dictionaries(keys, st.integers(0, 4), min_size=1).map(
    lambda wanted: tuple(Units(key, wanted[key]) for key in sorted(wanted))
)
steps = st.sampled_from([0.0, 0.001, 0.3, 0.995, 1.0, 7.0, 60.0, 3600.0, 40 * 86_400.0, -0.01, -2.0, -90.0, -90_000.0])


def needs(task: ReadyTask, *units: Units) -> ReadyTask:
    """The task, with these units of rate limits."""
    task.limits = Limits(units=units)
    return task


def end_of(window: Window, begun: float) -> float:
    if window in LENGTH:
        return begun + LENGTH[window]
    at = datetime.fromtimestamp(begun, UTC)
    year, month = (at.year + 1, at.month) if window is Window.YEAR or at.month == 12 else (at.year, at.month + 1)
    month = 1 if window is Window.MONTH and at.month == 12 else month
    for day in (at.day, 30, 29, 28):
        try:
            return at.replace(year=year, month=month, day=day).timestamp()
        except ValueError:
            continue
    raise AssertionError


@dataclass
class Naive:
    """One key; ``used``: of the window that began at ``begun``."""

    limit: int
    window: Window
    paused_until: float = 0.0
    begun: float | None = None
    opened: float = 0.0
    """The same time, not moved when the clock goes back."""
    left: int = 0
    takes: list[tuple[float, int]] = field(default_factory=list)
    """When, and how many, since the units came back the last time."""

    def redefine(self, limit: int, window: Window) -> None:
        self.limit, self.window, self.left = limit, window, min(self.left, limit)

    def look(self, now: float) -> None:
        if self.begun is not None and now < self.begun:
            self.begun = now
        if self.begun is None or now >= end_of(self.window, self.begun) - 0.01:
            self.begun, self.opened, self.left, self.takes = now, now, self.limit, []

    def lacks(self, units: int, now: float, reserved: int = 0) -> bool:
        self.look(now)
        return units > 0 and (now < self.paused_until or units > max(self.left - reserved, 0))


class LimitMachine(RuleBasedStateMachine):
    """Units taken at once when they are there, among changes of definitions and of the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = RateLimits()
        self.naive: dict[str, Naive] = {}
        self.now = START

    @rule(step=steps)
    def time_passes(self, step: float) -> None:
        self.now += step

    @rule(key=keys, limit=st.integers(0, 5), window=windows, pause=st.sampled_from([0.0, 0.0, 5.0]))
    def put(self, key: str, limit: int, window: Window, pause: float) -> None:
        paused_until = self.now + pause if pause else None
        self.limits.load(key, limit, window, paused_until, None, None)
        if key in self.naive:
            self.naive[key].redefine(limit, window)
        else:
            self.naive[key] = Naive(limit, window)
        self.naive[key].paused_until = paused_until or 0.0

    @rule(key=keys, limit=st.integers(0, 5), window=windows)
    def task_defines(self, key: str, limit: int, window: Window) -> None:
        self.limits.define([Units(key, 1, limit, window)], self.now)
        known = self.naive.get(key)
        if known is None or (known.limit, known.window) != (limit, window):
            one = self.naive.setdefault(key, Naive(limit, window))
            one.redefine(limit, window)
            one.look(self.now)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.limits.forget(key)
        self.naive.pop(key, None)

    @rule(units=some_units, fails=st.booleans())
    def ask(self, units: tuple[Units, ...], fails: bool) -> None:
        expected = None
        for one in units:
            known = self.naive.get(one.key)
            if known is None or known.lacks(one.units, self.now):
                expected = expected or one.key
                if known is not None and one.units > known.limit:
                    # A window begins with the first look: nobody looks at the keys behind one that never suffices.
                    expected = one.key
                    break
        lack = self.limits.lack(units, self.now)
        assert (lack and lack.key) == expected
        if lack is not None:
            lacking = self.naive.get(lack.key)
            can_help = lacking is not None and lack.units <= lacking.limit
            assert (lack.wakes_at is not None) == can_help
            if lack.wakes_at is not None:
                assert self.now < lack.wakes_at
            return
        self.limits.take(units, self.now)
        if fails:
            self.limits.give_back(units, self.now)
        for want in units:
            if fails and self.now >= self.naive[want.key].opened:
                continue
            taken = self.naive[want.key]
            taken.left -= want.units
            taken.takes.append((self.now, want.units))

    @invariant()
    def what_is_left_is_known(self) -> None:
        for state in self.limits.changed():
            assert state.units_left >= 0
            one = self.naive[state.key]
            assert state.units_left <= one.limit
            assert sum(units for _, units in one.takes) <= 5

    @rule()
    def is_written(self) -> None:
        self.limits.written(self.limits.changed())
        assert self.limits.changed() == []


class ParkedMachine(RuleBasedStateMachine):
    """Tasks that are parked and released; released ones start at once, later, or never.

    What there is of each key is asked of the limits, which the other machine compares with the naive ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.limits = RateLimits()
        self.parked = ParkedTasks(self.limits)
        self.released: dict[str, ReadyTask] = {}
        self.now = START
        self.count = 0

    @rule(units=some_units, priority=st.integers(1, 3))
    def arrive(self, units: tuple[Units, ...], priority: int) -> None:
        self.count += 1
        task = needs(a_task(self.count, STEP, priority, ready_at=START + self.count / 1000), *units)
        lack = self.parked.lack(task, self.now)
        if lack is None:
            self.start(task)
        else:
            self.parked.push(task, lack, self.now)

    @rule(key=keys, limit=st.integers(0, 4), window=windows, pause=st.sampled_from([0.0, 0.0, 5.0]))
    def put(self, key: str, limit: int, window: Window, pause: float) -> None:
        paused_until = self.now + pause if pause else None
        self.limits.load(key, limit, window, paused_until, None, None)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.limits.forget(key)

    @rule(step=steps)
    def time_passes(self, step: float) -> None:
        # As a scheduler does: it sleeps until the time that it was told, and looks when its clock went back.
        target = self.now + step
        while (at := self.parked.next_at()) is not None and at < target and at > self.now:
            self.now = at
            self.due()
        self.now = target
        if step < 0:
            self.due()

    @precondition(lambda self: bool(self.released))
    @rule(data=st.data(), cancelled=st.booleans())
    def goes_on(self, data: st.DataObject, cancelled: bool) -> None:
        task = self.released.pop(data.draw(st.sampled_from(sorted(self.released))))
        self.parked.discard(task.id)
        lack = None if cancelled else self.limits.lack(task.limits.units, self.now)
        if lack is not None:
            self.parked.push(task, lack, self.now)
        elif cancelled:
            task.place = GONE
        else:
            self.start(task)

    @precondition(lambda self: len(self.parked) > 0)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from(sorted(task.id for task in self.parked)))
        assert self.parked.discard(task_id) is not None
        assert task_id not in self.parked

    @rule()
    def due(self) -> None:
        before = {task.id: task for task in self.parked}
        released = self.parked.due(self.now)
        for task in released:
            assert before.pop(task.id) is task
            assert task.place == WAITING
            self.released[task.id] = task
        assert {task.id for task in self.parked} == before.keys()
        following = self.parked.next_at()
        assert following is None or following > self.now
        # Within the tolerance a window counts as over already, and the look that was promised is about to come.
        if following is None or following > self.now + 0.02:
            self.nobody_who_could_run_is_left()

    def start(self, task: ReadyTask) -> None:
        """Nobody starts without units."""
        assert self.limits.lack(task.limits.units, self.now) is None
        self.limits.take(task.limits.units, self.now)
        task.place = GONE

    def nobody_who_could_run_is_left(self) -> None:
        reserved: dict[str, int] = {}
        for task in self.released.values():
            for want in task.limits.units:
                reserved[want.key] = reserved.get(want.key, 0) + want.units
        ordered = sorted(self.parked, key=lambda task: (-task.level, task.ready_at))
        claimed: set[str] = set()
        """Keys that somebody who came before waits for."""
        for task in ordered:
            needed = [want.key for want in task.limits.units]
            lacks = [self.limits.lack((want,), self.now, reserved) for want in task.limits.units]
            lacking = [lack for lack in lacks if lack is not None]
            assert lacking or claimed.intersection(needed), f"{task.limits.units} could run"
            is_hopeless = bool(lacking) and all(lack.wakes_at is None and lack.key in self.limits for lack in lacking)
            if not is_hopeless:
                claimed.update(needed)
