"""Concurrency rules as a person would check them: who has a place, who waits, counted anew after every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hatchet.core.concurrency import Concurrency, Verdict
from hatchet.core.groups import SPARE, Line, Where
from hatchet.core.limits import Ask
from hatchet.core.rules import Strategy

Name = tuple[str, str]
FlowKey = tuple[Name, ...]

WAITING, ADMITTED, AWAY = "waiting", "admitted", "away"


def an_ask(rule: str, strategy: Strategy, key: str = "k", limit: int = 1) -> Ask:
    return Ask(rule, strategy, key, limit)


def drained(concurrency: Concurrency) -> bool:
    """Whether nothing is left of those that left."""
    return not (
        len(concurrency)
        or len(concurrency._groups)
        or concurrency._groups._flows
        or concurrency._freed
        or concurrency._impatient
        or concurrency._favoured
        or concurrency._admitted
        or concurrency._cancelled
    )


@dataclass
class One:
    """What the outside knows of an applicant."""

    id: str
    asks: tuple[Ask, ...]
    order: tuple[float, str] = (0.0, "")
    is_first: bool = True
    is_urgent: bool = False
    where: str = AWAY
    has_run: bool = False

    @property
    def flow(self) -> FlowKey:
        return tuple(dict.fromkeys((ask.rule, ask.key) for ask in self.asks))


class World:
    """A :class:`Concurrency` with a book beside it; every step checks what must hold."""

    def __init__(self) -> None:
        self.core = Concurrency()
        self.ones: dict[str, One] = {}
        self.rules: dict[Name, Ask] = {}
        """The ask of the newest member that a group has had since it last was empty."""
        self.newest: dict[Name, str] = {}
        self.turns: dict[FlowKey, int] = {}
        self.turn = 0
        self.admissions = 0

    # Steps ----------------------------------------------------------------------------------------------------------

    def arrive(
        self,
        who: str,
        asks: Sequence[Ask],
        priority: int = 1,
        *,
        is_first: bool = True,
        is_urgent: bool = False,
    ) -> Verdict:
        one = self._known(who, asks)
        before = self._memberships()
        favoured = self.core._favoured
        had_place = one.where == ADMITTED
        one.order, one.is_first, one.is_urgent = (-4.0 if is_urgent else -float(priority), who), is_first, is_urgent
        verdict = self.core.arrive(who, asks, one.order, is_first=is_first, is_urgent=is_urgent)
        if had_place:
            assert who in verdict.admitted
            verdict.admitted.remove(who)
        else:
            one.where = WAITING
        self._follow(verdict, before, is_plain=favoured is None and self.core._favoured is None)
        return verdict

    def leave(self, who: str) -> Verdict:
        before = self._memberships()
        favoured = self.core._favoured
        self._drop(who)
        verdict = self.core.leave(who)
        self._follow(verdict, before, is_plain=favoured is None and self.core._favoured is None)
        return verdict

    def step_back(self, who: str) -> Verdict:
        before = self._memberships()
        favoured = self.core._favoured
        if who in self.ones:
            self.ones[who].where = AWAY
        verdict = self.core.step_back(who)
        self._follow(verdict, before, is_plain=favoured is None and self.core._favoured is None)
        return verdict

    def crash(self) -> tuple[list[str], list[str]]:
        """Take over from the rows: what was decided then."""
        ones = sorted(self.ones.values(), key=lambda one: one.id)
        before = self._memberships()
        self.core, self.ones, self.rules, self.newest, self.turns = Concurrency(), {}, {}, {}, {}
        admitted: list[str] = []
        cancelled: list[str] = []
        verdicts: list[Verdict] = []
        for one in ones:
            if one.where == WAITING or not one.has_run:
                self._known(one.id, one.asks)
                self.core.expect(one.id, one.asks, one.order)
        for one in ones:
            if one.where != WAITING and one.has_run:
                known = self._known(one.id, one.asks)
                known.where, known.has_run = one.where, True
                self.core.hold(one.id, one.asks, one.order)
        verdicts.extend(self.core.step_back(one.id) for one in ones if one.where == AWAY)
        for one in ones:
            if one.where == WAITING:
                known = self._known(one.id, one.asks)
                known.where, known.order = WAITING, one.order
                known.is_first, known.is_urgent, known.has_run = one.is_first, one.is_urgent, one.has_run
                verdicts.append(
                    self.core.arrive(one.id, one.asks, one.order, is_first=one.is_first, is_urgent=one.is_urgent)
                )
        verdicts.append(self.core.settle())
        for verdict in verdicts:
            admitted += verdict.admitted
            cancelled += verdict.cancelled
        gone = set(cancelled)
        self._follow(Verdict([who for who in admitted if who not in gone], cancelled), before, is_plain=False)
        # Whose turn it was is nobody's memory: take it as it is now.
        self.turns = {one.flow: self._turn_of(one) for one in self.ones.values()}
        self.turn = self.core._groups._turn
        return admitted, cancelled

    def drain(self) -> None:
        """Everything that is admitted ends, everything that is away comes back: nothing is left."""
        while self.ones:
            for one in [one for one in self.ones.values() if one.where == AWAY]:
                if one.id in self.ones:
                    self.arrive(one.id, one.asks, is_first=False, is_urgent=True)
            done = [one.id for one in self.ones.values() if one.where == ADMITTED]
            if not done:
                # What is left waits for groups that take nobody (C-9.6).
                done = [one.id for one in self.ones.values()]
                for who in done:
                    assert any(self._ask(name).max_runs <= 0 for name in self.ones[who].flow), self.ones[who]
            for who in done:
                self.leave(who)
        assert drained(self.core)

    # What must hold -------------------------------------------------------------------------------------------------

    def _follow(self, verdict: Verdict, before: dict[Name, int], *, is_plain: bool) -> None:
        named = [*verdict.admitted, *verdict.cancelled]
        assert len(named) == len(set(named)), verdict
        for who in verdict.admitted:
            assert self.ones[who].where == WAITING
            if is_plain and not verdict.cancelled:
                self._check_turn(who)
            self.ones[who].where, self.ones[who].has_run = ADMITTED, True
            self.turn += 1
            self.turns[self.ones[who].flow] = self.turn
            self.admissions += 1
        for who in verdict.cancelled:
            assert any(self._ask(name).strategy is not Strategy.GROUP_ROUND_ROBIN for name in self.ones[who].flow)
            self._drop(who)
        if verdict.cancelled:
            # Who was admitted before whom among them is not told.
            self.turns = {one.flow: self._turn_of(one) for one in self.ones.values()}
        self.turn = self.core._groups._turn
        self._check_limits(before)
        self._check_nobody_waits_in_vain()
        self._check_insides()

    def _check_turn(self, who: str) -> None:
        """The next is the first of the flow that was served longest ago, of those that have room (C-9.7, C-9.19)."""
        counts = self._counts()
        firsts: dict[FlowKey, One] = {}
        for one in sorted(self.ones.values(), key=lambda one: one.order):
            if one.where == WAITING and not self._full_groups(one, counts):
                firsts.setdefault(one.flow, one)
        expected = min(firsts.values(), key=lambda one: (not one.is_urgent, self.turns[one.flow]))
        assert who == expected.id, (who, expected)

    def _check_limits(self, before: dict[Name, int]) -> None:
        for name, count in self._counts().items():
            if count > self._ask(name).max_runs:
                assert count <= before.get(name, 0), (name, count, self._ask(name))

    def _check_nobody_waits_in_vain(self) -> None:
        counts = self._counts()
        favoured = self.core._favoured
        kept = {(group.rule, group.key) for group in favoured.groups} if favoured is not None else set()
        for one in self.ones.values():
            if one.where != WAITING:
                assert not self.core.waits(one.id)
                continue
            assert self.core.waits(one.id)
            full = self._full_groups(one, counts)
            shown = {(held.rule, held.key) for held in self.core.full(one.id)}
            assert shown, one
            assert full <= shown <= full | kept, (one, full, shown)

    def _check_insides(self) -> None:
        core = self.core
        assert set(core._applicants) == set(self.ones)
        assert not core._freed
        for who, applicant in core._applicants.items():
            assert applicant.where.value.lower() == self.ones[who].where
            assert (applicant.entry is not None) == (applicant.where is Where.WAITING)
        for flow in core._groups._flows.values():
            assert flow.size == sum(applicant.flow is flow for applicant in core._applicants.values()) > 0
            assert (flow.at is not None) == (len(flow.line) > 0)
            assert flow.at is None or (flow in flow.at.line and flow.at.queues)
            self._check_line(flow.line)
        for group in core._groups:
            assert group.flows
            assert all(core._applicants[who] is one for who, one in (*group.members.items(), *group.queued.items()))
            assert all(one.where is Where.WAITING for one in group.queued.values())
            assert group.cancels_queued or not group.queued
            assert len(group.queued) <= 1
            if group.queues:
                assert all(one.where is Where.ADMITTED for one in group.members.values())
            assert (group.limit, group.strategy) == (
                self._ask((group.rule, group.key)).max_runs,
                self._ask((group.rule, group.key)).strategy,
            )
            self._check_line(group.line)
        assert all(len(flow.line) for flow in core._impatient)
        assert core._favoured is next(iter(core._impatient), None)

    def _check_line(self, line: Line[Any]) -> None:
        assert len(list(line)) == len(line)
        assert len(line._heap) <= 2 * (len(line) + 1) + SPARE

    # Bookkeeping ----------------------------------------------------------------------------------------------------

    def _known(self, who: str, asks: Sequence[Ask]) -> One:
        one = self.ones.get(who)
        if one is None:
            one = self.ones[who] = One(who, tuple(asks))
            if one.flow not in self.turns:
                self.turn += 1
                self.turns[one.flow] = self.turn
        for ask in asks:
            name = (ask.rule, ask.key)
            if who >= self.newest.get(name, ""):
                self.newest[name], self.rules[name] = who, ask
        return one

    def _drop(self, who: str) -> None:
        one = self.ones.pop(who, None)
        if one is None:
            return
        if all(other.flow != one.flow for other in self.ones.values()):
            del self.turns[one.flow]
        for name in one.flow:
            if all(name not in other.flow for other in self.ones.values()):
                del self.newest[name]

    def _ask(self, name: Name) -> Ask:
        return self.rules[name]

    def _turn_of(self, one: One) -> int:
        return self.core._applicants[one.id].flow.turn

    def _counts(self) -> dict[Name, int]:
        counts: dict[Name, int] = {}
        for one in self.ones.values():
            if one.where == ADMITTED:
                for name in one.flow:
                    counts[name] = counts.get(name, 0) + 1
        return counts

    def _memberships(self) -> dict[Name, int]:
        """With those that cancelling rules took and that wait for others: limits that are lowered spare them."""
        return {(group.rule, group.key): len(group.members) for group in self.core._groups}

    def _full_groups(self, one: One, counts: dict[Name, int]) -> set[Name]:
        return {
            name
            for name in one.flow
            if self._ask(name).strategy.queues and counts.get(name, 0) >= self._ask(name).max_runs
        }


def ids(numbers: Iterable[int]) -> list[str]:
    return [f"{number:04d}" for number in numbers]
