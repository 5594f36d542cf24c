"""Groups that take turns (behaviour-core C-9.7): a long backlog of one delays no other."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_model import START, a_version, number_of

from hatchet.core.deadlines import GONE
from hatchet.core.limits import Ask, Limits
from hatchet.core.ready_task import ReadyTask
from hatchet.core.rules import Strategy
from hatchet.core.turns import Turns

FLOW = a_version()


def member(number: int, *keys: str) -> ReadyTask:
    """A waiting task whose rules render these keys."""
    asks = tuple(Ask(f"rule {place}", Strategy.GROUP_ROUND_ROBIN, key, 1) for place, key in enumerate(keys))
    return ReadyTask(f"00000000-0000-0000-0000-{number:012x}", FLOW, 1, START, limits=Limits(asks))


def popped(turns: Turns) -> list[int]:
    return [number_of(turns.popleft()) for _ in range(len(turns))]


def test_c_9_7_a_long_backlog_of_one_group_does_not_delay_another() -> None:
    turns = Turns(member(number, "a") for number in range(1000))
    turns.append(member(1000, "b"))
    turns.append(member(1001, "b"))
    assert popped(turns)[:5] == [0, 1000, 1, 1001, 2]


def test_c_9_19_within_a_group_the_first_comes_first() -> None:
    turns = Turns(member(number, "a") for number in range(5))
    assert popped(turns) == [0, 1, 2, 3, 4]


def test_c_9_7_a_group_that_comes_back_waits_for_its_turn_behind_the_others() -> None:
    turns = Turns([member(0, "a"), member(1, "b"), member(2, "c")])
    assert number_of(turns.popleft()) == 0
    turns.append(member(3, "a"))
    assert popped(turns) == [1, 2, 3]


def test_c_9_16_the_keys_of_all_rules_together_are_the_group() -> None:
    turns = Turns([member(0, "a", "x"), member(1, "a", "x"), member(2, "a", "y"), member(3, "b", "x")])
    assert popped(turns) == [0, 2, 3, 1]


def test_what_is_put_back_is_the_next_again_with_its_group() -> None:
    turns = Turns([member(0, "a"), member(1, "a"), member(2, "b")])
    first = turns.popleft()
    turns.appendleft(first)
    assert turns[0] is first
    assert popped(turns) == [0, 2, 1]


def test_a_task_that_is_gone_does_not_use_up_the_turn_of_its_group() -> None:
    gone = member(0, "a")
    turns = Turns([gone, member(1, "a"), member(2, "b")])
    gone.place = GONE
    assert popped(turns) == [0, 1, 2]


def test_a_group_without_tasks_leaves_nothing_behind() -> None:
    turns = Turns(member(number, str(number)) for number in range(100))
    popped(turns)
    assert (len(turns), list(turns), turns._groups) == (0, [], {})


def test_only_the_first_can_be_asked_for() -> None:
    turns = Turns([member(0, "a"), member(1, "a")])
    with pytest.raises(AssertionError):
        turns[1]


@given(st.lists(st.tuples(st.sampled_from(["append", "left", "pop"]), st.sampled_from("abc")), max_size=60))
def test_c_9_7_everybody_is_served_once_in_the_order_of_its_group(moves: list[tuple[str, str]]) -> None:
    turns, model = Turns(), {key: deque[int]() for key in "abc"}
    for number, (move, key) in enumerate(moves):
        if move == "append":
            turns.append(member(number, key))
            model[key].append(number)
        elif move == "left":
            turns.appendleft(member(number, key))
            model[key].appendleft(number)
        elif len(turns):
            first = turns[0]
            assert turns.popleft() is first
            assert model[first.limits.asks[0].key].popleft() == number_of(first)
        assert len(turns) == sum(map(len, model.values()))
        assert sorted(map(number_of, turns)) == sorted(number for group in model.values() for number in group)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=80))
def test_c_9_7_between_two_turns_of_a_group_every_other_that_waits_has_one(keys: list[str]) -> None:
    turns = Turns(member(number, key) for number, key in enumerate(keys))
    since: dict[str, int] = {}
    while len(turns):
        waiting = {task.limits.asks[0].key for task in turns}
        served = turns.popleft().limits.asks[0].key
        since = {key: since.get(key, 0) + 1 for key in waiting if key != served}
        assert all(count < len(set(keys)) for count in since.values())
