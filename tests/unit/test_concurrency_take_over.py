"""One concurrency rule decides as the contract tells it, and after a take-over as if there had been none (C-9)."""

from __future__ import annotations

import pytest
from concurrency_model import an_ask
from concurrency_steps import (
    BUT_NEWEST,
    BUT_OLDEST,
    IN_PROGRESS,
    NEWEST,
    NOTHING,
    RR,
    again,
    arrived,
)
from hypothesis import given
from hypothesis import strategies as st

from hatchet.core.concurrency import Concurrency, Verdict
from hatchet.core.limits import Ask
from hatchet.core.rules import Strategy


class Book:
    """One group, as the contract tells it."""

    def __init__(self, strategy: Strategy, limit: int) -> None:
        self.strategy = strategy
        self.limit = limit
        self.active: set[str] = set()
        self.away: set[str] = set()
        self.waiting: set[str] = set()
        self.orders: dict[str, tuple[float, str]] = {}
        self.queued: set[str] = set()
        """Those that wait and never ran."""

    @property
    def members(self) -> set[str]:
        """A cancelling rule keeps who is between two attempts."""
        return self.active if self.strategy.queues else self.active | self.away

    def arrive(self, who: str, order: tuple[float, str], *, is_first: bool) -> tuple[list[str], list[str]]:
        self.away.discard(who) if self.strategy.queues else None
        self.orders[who] = order
        if self.strategy is NEWEST and who not in self.away and len(self.members) >= self.limit:
            return [], [who]
        if not self.strategy.queues:
            self.away.discard(who)
            self.active.add(who)
            surplus = sorted(self.members)[: -self.limit] if self.strategy is IN_PROGRESS else []
            self.active.difference_update(surplus)
            self.away.difference_update(surplus)
            return [who] if who not in surplus else [], surplus
        self.waiting.add(who)
        if is_first:
            self.queued.add(who)
        admitted = self._serve()
        queued = sorted(self.queued)
        cancelled = {BUT_NEWEST: queued[:-1], BUT_OLDEST: queued[1:]}.get(self.strategy, [])
        self.waiting.difference_update(cancelled)
        self.queued.difference_update(cancelled)
        return admitted, cancelled

    def leave(self, who: str) -> tuple[list[str], list[str]]:
        self.active.discard(who)
        return self._serve(), []

    def step_back(self, who: str) -> tuple[list[str], list[str]]:
        self.active.discard(who)
        self.away.add(who)
        return self._serve(), []

    def _serve(self) -> list[str]:
        free = max(0, self.limit - len(self.active))
        admitted = sorted(self.waiting, key=self.orders.__getitem__)[:free]
        self.active.update(admitted)
        self.waiting.difference_update(admitted)
        self.queued.difference_update(admitted)
        return admitted

    def taken_over(self, ask: Ask) -> Concurrency:
        core = Concurrency()
        told = []
        for who in sorted(self.active | self.away):
            core.hold(who, (ask,), self.orders[who])
        told.extend(core.step_back(who) for who in sorted(self.away))
        for who in sorted(self.waiting):
            is_first = who in self.queued
            told.append(core.arrive(who, (ask,), self.orders[who], is_first=is_first, is_urgent=not is_first))
        told.append(core.settle())
        assert all(verdict == NOTHING for verdict in told)
        return core


@given(
    st.sampled_from(Strategy),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("aaaaerrl"), st.integers(0, 30)), max_size=60),
    st.integers(0, 60),
)
def test_c_9_7_to_10_one_rule_decides_like_the_book_and_so_does_a_take_over(
    strategy: Strategy, limit: int, steps: list[tuple[str, int]], crash: int
) -> None:
    ask = an_ask("r", strategy, limit=limit)
    core, book = Concurrency(), Book(strategy, limit)
    for at, (step, number) in enumerate(steps):
        if at == crash:
            core = book.taken_over(ask)
        who = f"{number:02d}"
        verdict, expected = NOTHING, ([], [])
        if step == "a" and who not in book.active | book.waiting | book.away:
            verdict, expected = arrived(core, who, ask), book.arrive(who, (-1.0, who), is_first=True)
        elif step == "e" and (active := sorted(book.active)):
            who = active[number % len(active)]
            verdict, expected = core.leave(who), book.leave(who)
        elif step == "r" and (active := sorted(book.active)):
            who = active[number % len(active)]
            verdict, expected = core.step_back(who), book.step_back(who)
        elif step == "l" and book.away:
            who = sorted(book.away)[number % len(book.away)]
            verdict, expected = again(core, who, ask), book.arrive(who, (-4.0, who), is_first=False)
        assert (verdict.admitted, verdict.cancelled) == expected
        assert all(core.has_place(who) for who in book.active)
        assert all(core.waits(who) for who in book.waiting)
        assert len(core) == len(book.active) + len(book.waiting) + len(book.away)


def test_c_9_5_the_newest_decides_about_limits_before_anybody_asks() -> None:
    old, new = an_ask("r", RR, limit=3), an_ask("r", RR, limit=1)
    core = Concurrency()
    core.expect("2", (old,), (0.0, "2"))
    core.expect("3", (new,), (0.0, "3"))
    core.hold("1", (old,), (0.0, "1"))
    assert not core.waits("2")
    assert arrived(core, "2", old) == arrived(core, "3", new) == core.settle() == NOTHING
    assert core.leave("1").admitted == ["2"]


@pytest.mark.parametrize("strategy", [NEWEST, IN_PROGRESS])
def test_c_9_14_who_is_between_two_attempts_keeps_its_place_over_a_take_over(strategy: Strategy) -> None:
    core = Concurrency()
    asks = (an_ask("cancel", strategy), an_ask("queue", RR))
    core.hold("2", asks, (0.0, "2"))
    assert core.step_back("2") == core.settle() == NOTHING
    assert arrived(core, "1", *asks) == Verdict(cancelled=["1"])
    assert arrived(core, "3", an_ask("queue", RR)).admitted == ["3"]
    assert again(core, "2", *asks) == NOTHING
    assert core.leave("3").admitted == ["2"]
