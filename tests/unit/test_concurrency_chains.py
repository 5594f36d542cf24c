"""Attempts under concurrency rules, and several rules at once (behaviour-core C-9.14 to C-9.27)."""

from __future__ import annotations

import random

import pytest
from concurrency_model import an_ask, drained, ids
from concurrency_steps import (
    BUT_OLDEST,
    IN_PROGRESS,
    NEWEST,
    NOTHING,
    RR,
    again,
    arrived,
    order_of_starts,
    several,
)

from hatchet.core.concurrency import Concurrency, Verdict
from hatchet.core.rules import Strategy

# Attempts -----------------------------------------------------------------------------------------------------------


def test_c_9_14_a_retry_gives_its_place_up_and_comes_back_in_front() -> None:
    core = Concurrency()
    ask = an_ask("r", RR)
    several(core, "1234", ask)
    assert core.step_back("1").admitted == ["2"]
    assert not core.has_place("1")
    assert not core.waits("1")
    assert again(core, "1", ask) == NOTHING
    assert order_of_starts(core, ["2"]) == list("2134")


def test_c_9_14_a_retry_goes_before_the_turns_of_other_flows() -> None:
    core = Concurrency()
    shared = an_ask("all", RR)
    mine = (an_ask("user", RR, "me"), shared)
    arrived(core, "1", *mine)
    for who in "234":
        arrived(core, who, an_ask("user", RR, who), shared)
    assert core.step_back("1").admitted == ["2"]
    again(core, "1", *mine)
    assert order_of_starts(core, ["2"]) == list("2134")


def test_c_9_14_an_urgent_one_that_is_cancelled_takes_its_hurry_with_it() -> None:
    core = Concurrency()
    shared = an_ask("all", RR)
    mine = (an_ask("user", RR, "me"), shared)
    arrived(core, "1", *mine)
    for who in "235":
        arrived(core, who, an_ask("user", RR, who), shared)
    assert core.step_back("1").admitted == ["2"]
    again(core, "1", *mine)
    assert core.leave("2").admitted == ["1"]
    assert core.step_back("1").admitted == ["3"]
    again(core, "1", *mine)
    arrived(core, "4", *mine)
    core.leave("1")
    assert order_of_starts(core, ["3"]) == list("354")


@pytest.mark.parametrize("strategy", [NEWEST, IN_PROGRESS])
def test_c_9_14_cancelling_rules_keep_a_retry(strategy: Strategy) -> None:
    core = Concurrency()
    ask = an_ask("r", strategy)
    arrived(core, "2", ask)
    assert core.step_back("2") == NOTHING
    assert arrived(core, "1", ask) == Verdict(cancelled=["1"])
    assert again(core, "2", ask).admitted == ["2"]
    if strategy is IN_PROGRESS:
        core.step_back("2")
        assert arrived(core, "3", ask) == Verdict(["3"], ["2"])


def test_c_9_26_a_reassigned_one_keeps_its_place_unless_a_rule_cancels_it() -> None:
    core = Concurrency()
    ask = an_ask("r", RR)
    several(core, "12", ask)
    assert again(core, "1", ask).admitted == ["1"]
    assert core.waits("2")
    other = an_ask("other", IN_PROGRESS)
    several(core, "56", other)
    assert "5" not in core


def test_c_9_3_a_replay_with_other_keys_asks_other_groups() -> None:
    core = Concurrency()
    arrived(core, "1", an_ask("r", RR, "old"))
    arrived(core, "2", an_ask("r", RR, "old"))
    assert arrived(core, "1", an_ask("r", RR, "new")).admitted == ["2", "1"]


def test_who_left_may_come_back_while_others_wait() -> None:
    core = Concurrency()
    ask = an_ask("r", RR)
    several(core, "12345", ask)
    for _ in range(3):
        core.leave("3")
        arrived(core, "3", ask)
    assert order_of_starts(core, ["1"]) == list("12345")


def test_who_waits_may_ask_again_with_another_priority() -> None:
    core = Concurrency()
    ask = an_ask("r", RR)
    several(core, "123", ask)
    arrived(core, "3", ask, priority=3)
    assert order_of_starts(core, ["1"]) == list("132")


def test_unknown_ones_change_nothing() -> None:
    core = Concurrency()
    assert core.leave("1") == core.step_back("1") == core.settle() == NOTHING
    assert drained(core)


# Several rules ------------------------------------------------------------------------------------------------------


def test_c_9_15_a_cancelling_rule_is_asked_once_those_before_it_have_room() -> None:
    core = Concurrency()
    several(core, "01", an_ask("cancel", NEWEST, limit=2))
    arrived(core, "2", an_ask("queue", RR))
    # First in the chain: at once. Behind a full one: when its turn has come.
    assert arrived(core, "3", an_ask("cancel", NEWEST, limit=2), an_ask("queue", RR)) == Verdict(cancelled=["3"])
    assert arrived(core, "4", an_ask("queue", RR), an_ask("cancel", NEWEST, limit=2)) == NOTHING
    assert core.leave("2") == Verdict(cancelled=["4"])


def test_c_9_15_a_cancelling_rule_between_two_that_make_wait() -> None:
    core = Concurrency()
    first, middle, last = an_ask("first", RR), an_ask("middle", IN_PROGRESS), an_ask("last", RR)
    several(core, "0", first)
    several(core, "1", middle)
    several(core, "2", last)
    assert arrived(core, "3", first, middle, last) == NOTHING
    assert core.has_place("1")
    # The first rule has room: the middle one is asked, although the last one is full.
    assert core.leave("0") == Verdict(cancelled=["1"])
    assert core.leave("2").admitted == ["3"]
    assert core.leave("3") == NOTHING
    assert drained(core)


def test_c_9_15_what_a_cancelled_one_frees_is_there_for_who_outran_it() -> None:
    core = Concurrency()
    asks = (an_ask("cancel", IN_PROGRESS), an_ask("queue", RR))
    assert several(core, "123", *asks) == Verdict(list("123"), list("12"))


def test_c_9_10_who_gets_a_place_at_once_counts_no_longer_as_waiting() -> None:
    core = Concurrency()
    asks = (an_ask("cancel", IN_PROGRESS), an_ask("queue", BUT_OLDEST))
    arrived(core, "1", *asks)
    arrived(core, "2", an_ask("queue", BUT_OLDEST))
    # It outruns the first, whose place it gets: it is not one of two that are queued.
    assert arrived(core, "3", *asks) == Verdict(["3"], ["1"])
    assert core.waits("2")


def test_design_invariant_4_all_places_together_or_none() -> None:
    core = Concurrency()
    a, b = an_ask("a", RR), an_ask("b", RR)
    arrived(core, "1", a)
    arrived(core, "2", a, b)
    # The other rule's place is not held by the one that waits.
    assert arrived(core, "3", b).admitted == ["3"]
    assert core.leave("1") == NOTHING
    assert {held.rule for held in core.full("2")} == {"b"}
    assert core.leave("3").admitted == ["2"]
    assert core.leave("2") == NOTHING
    assert drained(core)


def test_two_that_ask_in_opposite_order_do_not_block_each_other() -> None:
    core = Concurrency()
    a, b = an_ask("a", RR), an_ask("b", RR)
    for number in range(50):
        arrived(core, f"{number:02d}", *((a, b) if number % 2 else (b, a)))
    assert len(order_of_starts(core, ["00"])) == 50


def test_c_9_16_all_limits_hold_at_every_instant_and_all_complete() -> None:
    chance = random.Random(1)
    core = Concurrency()
    running: dict[str, tuple[str, str]] = {}
    keys = {who: (chance.choice("0123456789"), chance.choice(["ann", "bob", "cy"])) for who in ids(range(100))}
    starts: list[str] = []

    def follow(verdict: Verdict) -> None:
        assert verdict.cancelled == []
        running.update((who, keys[who]) for who in verdict.admitted)
        starts.extend(verdict.admitted)
        for digit, name in running.values():
            assert sum(one[0] == digit for one in running.values()) <= 8
            assert sum(one[1] == name for one in running.values()) <= 3

    for who, (digit, name) in keys.items():
        follow(arrived(core, who, an_ask("digit", RR, digit, 8), an_ask("name", RR, name, 3)))
    while running:
        who = chance.choice(list(running))
        del running[who]
        follow(core.leave(who))
    assert sorted(starts) == sorted(keys)
    assert drained(core)


def test_c_9_17_a_cancelled_one_frees_all_its_places() -> None:
    core = Concurrency()
    queue, cancel = an_ask("queue", RR), an_ask("cancel", IN_PROGRESS)
    arrived(core, "1", queue, cancel)
    arrived(core, "2", queue)
    assert arrived(core, "3", cancel) == Verdict(["3", "2"], ["1"])


def test_c_9_18_the_next_one_is_admitted_by_the_end_of_another() -> None:
    core = Concurrency()
    several(core, "123", an_ask("r", RR))
    assert core.leave("1").admitted == ["2"]
    assert core.leave("2").admitted == ["3"]
    assert core.leave("3") == NOTHING
    assert drained(core)


def test_c_9_19_equal_priority_starts_in_the_order_of_creation() -> None:
    core = Concurrency()
    created = ids(range(50))
    late = created[1:]
    random.Random(2).shuffle(late)
    several(core, [created[0], *late], an_ask("r", RR))
    assert order_of_starts(core, [created[0]]) == created


def test_c_9_20_who_times_out_while_waiting_is_gone() -> None:
    core = Concurrency()
    several(core, "123", an_ask("r", RR))
    assert core.leave("2") == NOTHING
    assert core.leave("1").admitted == ["3"]


def test_c_9_22_ten_runs_of_two_tasks_and_only_the_last_survives() -> None:
    core = Concurrency()
    assert several(core, "0123456789", an_ask("run", IN_PROGRESS)).cancelled == list("012345678")
    assert core.has_place("9")


def test_c_9_23_one_run_and_ten_more() -> None:
    core = Concurrency()
    names = ids(range(11))
    assert several(core, names, an_ask("run", NEWEST)) == Verdict(names[:1], names[1:])


def test_c_9_24_two_groups_of_two_run_beside_each_other() -> None:
    core = Concurrency()
    assert several(core, "12", an_ask("r", RR, "a")).admitted == ["1"]
    assert several(core, "34", an_ask("r", RR, "b")).admitted == ["3"]
    assert core.leave("1").admitted == ["2"]
    assert core.leave("3").admitted == ["4"]
