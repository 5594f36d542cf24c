"""Random applicants under random concurrency rules; :mod:`concurrency_model` checks every step (behaviour-core C-9)."""

from __future__ import annotations

import os
import random

import pytest
from concurrency_model import ADMITTED, AWAY, WAITING, World
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from hatchet.core.limits import Ask
from hatchet.core.rules import Strategy

KEYS = ("x", "y")
RULES = ("a", "b", "c")
STRATEGIES = (*[Strategy.GROUP_ROUND_ROBIN] * 4, *Strategy)
LONG = int(os.environ.get("HATCHET_TEST_RANDOM_RUNS", "24"))
"""How many long random walks, and a quarter of the short ones; more by hand."""


class Rules:
    """What the workflows declare now."""

    def __init__(self, strategies: list[Strategy], limits: list[int]) -> None:
        self.strategies = dict(zip(RULES, strategies, strict=True))
        self.limits = dict(zip(RULES, limits, strict=True))
        self.are_steady = True
        """Whether none has changed."""

    def asks(self, names: list[str], keys: list[str]) -> tuple[Ask, ...]:
        return tuple(
            Ask(name, self.strategies[name], key, self.limits[name]) for name, key in zip(names, keys, strict=True)
        )

    def asks_twice(self, world: World) -> bool:
        """Whether a cancelling rule stands between two that make others wait: when it is asked depends on the past."""
        for one in world.ones.values():
            chain = [ask.strategy.queues for ask in one.asks]
            if any(not queues and any(chain[:at]) and any(chain[at:]) for at, queues in enumerate(chain)):
                return True
        return False


def take_over(world: World, rules: Rules) -> None:
    """Everybody is known again; nothing new follows unless the past knew what rows do not tell."""
    was = {one.id: one.where for one in world.ones.values()}
    is_told_by_rows = rules.are_steady and not rules.asks_twice(world) and world.core._favoured is None
    decided = world.crash()
    if is_told_by_rows:
        assert decided == ([], [])
        assert was == {one.id: one.where for one in world.ones.values()}


class ConcurrencyMachine(RuleBasedStateMachine):
    """The rules are what workers, people and crashes do."""

    world: World
    rules: Rules

    @initialize(
        strategies=st.lists(st.sampled_from(STRATEGIES), min_size=3, max_size=3),
        limits=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    )
    def begin(self, strategies: list[Strategy], limits: list[int]) -> None:
        self.world = World()
        self.rules = Rules(strategies, limits)

    @rule(data=st.data(), number=st.integers(0, 999), priority=st.integers(1, 3))
    def one_arrives(self, data: st.DataObject, number: int, priority: int) -> None:
        who = f"{number:04d}"
        if who in self.world.ones:
            return
        names = data.draw(st.lists(st.sampled_from(RULES), min_size=1, max_size=3, unique=True))
        keys = [data.draw(st.sampled_from(KEYS)) for _ in names]
        self.world.arrive(who, self.rules.asks(names, keys), priority)

    @precondition(lambda self: self._those(ADMITTED))
    @rule(data=st.data())
    def one_ends(self, data: st.DataObject) -> None:
        self.world.leave(data.draw(st.sampled_from(self._those(ADMITTED))))

    @precondition(lambda self: self.world.ones)
    @rule(data=st.data())
    def one_is_cancelled(self, data: st.DataObject) -> None:
        self.world.leave(data.draw(st.sampled_from(sorted(self.world.ones))))

    @precondition(lambda self: self._those(ADMITTED, WAITING))
    @rule(data=st.data())
    def one_fails_and_waits_for_its_retry(self, data: st.DataObject) -> None:
        self.world.step_back(data.draw(st.sampled_from(self._those(ADMITTED, WAITING))))

    @precondition(lambda self: self._those(AWAY))
    @rule(data=st.data())
    def one_comes_back(self, data: st.DataObject) -> None:
        one = self.world.ones[data.draw(st.sampled_from(self._those(AWAY)))]
        self.world.arrive(one.id, one.asks, is_first=False, is_urgent=True)

    @precondition(lambda self: self.world.ones)
    @rule(data=st.data(), priority=st.integers(1, 3))
    def one_asks_again(self, data: st.DataObject, priority: int) -> None:
        one = self.world.ones[data.draw(st.sampled_from(sorted(self.world.ones)))]
        self.world.arrive(one.id, one.asks, priority, is_first=one.is_first, is_urgent=one.is_urgent)

    @rule(name=st.sampled_from(RULES), limit=st.integers(0, 3))
    def a_limit_changes(self, name: str, limit: int) -> None:
        self.rules.are_steady = False
        self.rules.limits[name] = limit

    @rule(name=st.sampled_from(RULES), strategy=st.sampled_from(Strategy))
    def a_strategy_changes(self, name: str, strategy: Strategy) -> None:
        self.rules.are_steady = False
        self.rules.strategies[name] = strategy

    @rule()
    def the_engine_crashes(self) -> None:
        take_over(self.world, self.rules)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.drain()

    def _those(self, *places: str) -> list[str]:
        return sorted(one.id for one in self.world.ones.values() if one.where in places)


ConcurrencyMachine.TestCase.settings = settings(max_examples=4 * LONG, stateful_step_count=50, deadline=None)
TestConcurrency = ConcurrencyMachine.TestCase


@pytest.mark.parametrize("seed", range(LONG))
def test_c_9_16_long_random_walks(seed: int) -> None:
    chance = random.Random(seed)
    is_changing = seed % 2 == 1
    only = [Strategy.GROUP_ROUND_ROBIN] * 3 if seed % 4 == 0 else [chance.choice(STRATEGIES) for _ in RULES]
    rules = Rules(only, [chance.randint(1, 3) for _ in RULES])
    world = World()
    keys = "wxyz"[: chance.randint(1, 4)]
    unused = [f"{number:04d}" for number in range(600)]
    if is_changing:
        chance.shuffle(unused)
    while unused:
        those = {where: [one.id for one in world.ones.values() if one.where == where] for where in (ADMITTED, AWAY)}
        draw = chance.random()
        if draw < 0.45 and len(world.ones) < 30:
            names = chance.sample(RULES, chance.randint(1, 3))
            asks = rules.asks(names, [chance.choice(keys) for _ in names])
            world.arrive(unused.pop(0), asks, chance.randint(1, 3))
        elif draw < 0.85 and those[ADMITTED]:
            world.leave(chance.choice(those[ADMITTED]))
        elif draw < 0.88 and world.ones:
            world.leave(chance.choice(sorted(world.ones)))
        elif draw < 0.93 and those[ADMITTED]:
            world.step_back(chance.choice(those[ADMITTED]))
        elif draw < 0.97 and those[AWAY]:
            who = chance.choice(those[AWAY])
            world.arrive(who, world.ones[who].asks, is_first=False, is_urgent=True)
        elif draw < 0.98 and is_changing:
            rules.are_steady = False
            rules.limits[chance.choice(RULES)] = chance.randint(0, 3)
            rules.strategies[chance.choice(RULES)] = chance.choice(STRATEGIES)
        elif draw > 0.99:
            take_over(world, rules)
    world.drain()
    assert world.admissions > 50
