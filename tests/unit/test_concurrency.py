"""Who is active under one concurrency rule (behaviour-core C-9.1 to C-9.10); one that changes in place (C-3.38)."""

from __future__ import annotations

import pytest
from concurrency_model import an_ask, drained, ids
from concurrency_steps import (
    BUT_NEWEST,
    BUT_OLDEST,
    IN_PROGRESS,
    NEWEST,
    NOTHING,
    QUEUEING,
    RR,
    again,
    arrived,
    order_of_starts,
    several,
)

from hatchet.core.concurrency import Concurrency, Held, Verdict
from hatchet.core.rules import Strategy

# Groups and limits --------------------------------------------------------------------------------------------------


def test_c_9_1_at_most_max_runs_of_a_key_are_active() -> None:
    core = Concurrency()
    assert several(core, "1234", an_ask("r", RR, "a", 2)) == Verdict(["1", "2"])
    assert several(core, "56", an_ask("r", RR, "b", 2)) == Verdict(["5", "6"])
    assert [core.has_place(who) for who in "123456"] == [True, True, False, False, True, True]
    assert [core.waits(who) for who in "123456"] == [False, False, True, True, False, False]
    assert len(core) == 6
    assert "6" in core
    assert "7" not in core
    assert not core.has_place("7")
    assert not core.waits("7")


def test_c_9_2_active_until_the_end_and_who_waits_can_say_for_whom() -> None:
    core = Concurrency()
    several(core, "123", an_ask("r", RR, "a", 2))
    assert core.full("3") == [Held("r", "a", 2, ("1", "2"))]
    assert core.full("1") == []
    assert core.full("unknown") == []


def test_c_9_4_equal_keys_of_two_rules_do_not_interfere_and_a_shared_rule_does() -> None:
    core = Concurrency()
    assert arrived(core, "1", an_ask("workflow-1", RR)).admitted == ["1"]
    assert arrived(core, "2", an_ask("workflow-2", RR)).admitted == ["2"]
    assert arrived(core, "3", an_ask("shared", RR), an_ask("workflow-3", RR)).admitted == ["3"]
    assert arrived(core, "4", an_ask("shared", RR), an_ask("workflow-4", RR)) == NOTHING
    assert [held.rule for held in core.full("4")] == ["shared"]


def test_c_9_5_the_limit_is_that_of_the_newest_member() -> None:
    core = Concurrency()
    several(core, "245", an_ask("r", RR, limit=1))
    # An older one that comes late decides nothing.
    assert arrived(core, "3", an_ask("r", RR, limit=9)) == NOTHING
    assert arrived(core, "6", an_ask("r", RR, limit=3)).admitted == ["3", "4"]
    assert arrived(core, "7", an_ask("r", RR, limit=1)) == NOTHING
    # Those who have places keep them.
    assert core.leave("2") == core.leave("3") == NOTHING
    assert core.leave("4").admitted == ["5"]


def test_c_9_5_a_group_that_nobody_asks_forgets_its_limit() -> None:
    core = Concurrency()
    arrived(core, "9", an_ask("r", RR, limit=1))
    core.leave("9")
    assert drained(core)
    assert several(core, "12", an_ask("r", RR, limit=2)).admitted == ["1", "2"]


@pytest.mark.parametrize("limit", [0, -1])
def test_c_9_6_no_limit_above_zero_admits_nothing(limit: int) -> None:
    for strategy in QUEUEING:
        core = Concurrency()
        assert arrived(core, "1", an_ask("r", strategy, limit=limit)) == NOTHING
        assert core.waits("1")
        assert core.leave("1") == NOTHING
        assert drained(core)
    for strategy in (IN_PROGRESS, NEWEST):
        core = Concurrency()
        assert several(core, "12", an_ask("r", strategy, limit=limit)) == Verdict(cancelled=["1", "2"])
        assert drained(core)


def test_without_rules_everybody_is_admitted_at_once() -> None:
    core = Concurrency()
    assert arrived(core, "1") == Verdict(["1"])
    assert core.step_back("1") == NOTHING
    assert again(core, "1") == Verdict(["1"])
    assert core.leave("1") == NOTHING
    assert drained(core)


def test_a_rule_that_is_asked_twice_with_one_key_takes_one_place() -> None:
    core = Concurrency()
    assert arrived(core, "1", an_ask("r", RR), an_ask("r", RR)).admitted == ["1"]
    assert arrived(core, "2", an_ask("r", RR)) == NOTHING
    assert core.leave("1").admitted == ["2"]


# Strategies ---------------------------------------------------------------------------------------------------------


def test_c_9_7_in_a_group_higher_priority_first_then_the_oldest() -> None:
    core = Concurrency()
    for who, priority in (("1", 1), ("5", 1), ("4", 2), ("3", 1), ("6", 3), ("2", 2)):
        arrived(core, who, an_ask("r", RR), priority=priority)
    assert order_of_starts(core, ["1"]) == list("162435")


def test_c_9_7_no_backlog_of_one_key_delays_another() -> None:
    core = Concurrency()
    shared = an_ask("all", RR, limit=2)
    several(core, ids(range(1000)), an_ask("user", RR, "busy", 2), shared)
    assert arrived(core, "2000", an_ask("user", RR, "quiet", 2), shared) == NOTHING
    # Who waited before has its turn, once.
    assert core.leave("0000").admitted == ["0002"]
    assert core.leave("0001").admitted == ["2000"]


def test_c_9_7_keys_take_turns() -> None:
    core = Concurrency()
    shared = an_ask("all", RR)
    for number, key in enumerate("aaaaabbbc"):
        arrived(core, f"{key}{number}", an_ask("user", RR, key), shared)
    assert "".join(who[0] for who in order_of_starts(core, ["a0"])) == "aabcababa"


def test_c_9_8_the_newest_stay() -> None:
    core = Concurrency()
    ask = an_ask("r", IN_PROGRESS, limit=2)
    assert several(core, "12345", ask) == Verdict(list("12345"), list("123"))
    assert [core.has_place(who) for who in "12345"] == [False, False, False, True, True]
    # Creation decides, not arrival.
    assert arrived(core, "0", ask) == Verdict(cancelled=["0"])


def test_c_9_8_older_ones_that_wait_give_way_too() -> None:
    core = Concurrency()
    arrived(core, "0", an_ask("queue", RR))
    asks = (an_ask("r", IN_PROGRESS), an_ask("queue", RR))
    assert several(core, "12", *asks) == Verdict(cancelled=["1"])
    assert core.leave("0").admitted == ["2"]


def test_c_9_8_what_runs_at_a_take_over_is_cut_to_the_limit() -> None:
    core = Concurrency()
    for who in "123":
        core.hold(who, (an_ask("r", IN_PROGRESS, limit=2),), (0.0, who))
    assert core.settle() == Verdict(cancelled=["1"])


def test_c_9_9_those_that_are_active_stay_and_the_surplus_never_runs() -> None:
    core = Concurrency()
    ask = an_ask("r", NEWEST, limit=2)
    assert several(core, "1234", ask) == Verdict(["1", "2"], ["3", "4"])
    assert core.leave("1") == NOTHING
    assert arrived(core, "5", ask).admitted == ["5"]


@pytest.mark.parametrize(("strategy", "cancelled", "next"), [(BUT_NEWEST, "234", "5"), (BUT_OLDEST, "345", "2")])
def test_c_9_10_of_those_that_wait_one_stays(strategy: Strategy, cancelled: str, next: str) -> None:
    core = Concurrency()
    assert several(core, "12345", an_ask("r", strategy)) == Verdict(["1"], list(cancelled))
    assert core.leave("1").admitted == [next]
    assert core.leave(next) == NOTHING
    assert drained(core)


@pytest.mark.parametrize("strategy", [BUT_NEWEST, BUT_OLDEST])
def test_c_9_10_a_retry_that_waits_is_not_among_them(strategy: Strategy) -> None:
    core = Concurrency()
    ask = an_ask("r", strategy)
    several(core, "12", ask)
    assert core.step_back("1").admitted == ["2"]
    assert arrived(core, "3", ask) == NOTHING
    assert again(core, "1", ask) == NOTHING
    assert core.leave("2").admitted == ["1"]
    assert core.waits("3")


# A rule that changes in place ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "verdict"),
    [
        (NEWEST, Verdict(cancelled=list("234"))),
        (IN_PROGRESS, Verdict(["4"], list("123"))),
        (BUT_NEWEST, Verdict(cancelled=list("23"))),
        (BUT_OLDEST, Verdict(cancelled=list("34"))),
    ],
)
def test_c_3_38_a_new_strategy_is_that_of_those_that_wait(strategy: Strategy, verdict: Verdict) -> None:
    core = Concurrency()
    several(core, "123", an_ask("shared", RR))
    told = arrived(core, "4", an_ask("shared", strategy))
    assert told.admitted == verdict.admitted
    assert sorted(told.cancelled) == verdict.cancelled


def test_c_3_38_who_waits_elsewhere_does_not_wait_for_itself() -> None:
    core = Concurrency()
    arrived(core, "0", an_ask("queue", RR))
    arrived(core, "1", an_ask("shared", NEWEST), an_ask("queue", RR))
    assert arrived(core, "2", an_ask("shared", RR)).admitted == ["2"]
    core.leave("2")
    assert core.leave("0").admitted == ["1"]


def test_c_3_38_who_was_queued_and_ran_since_is_not_cancelled_as_queued() -> None:
    core = Concurrency()
    several(core, "12", an_ask("shared", BUT_NEWEST))
    arrived(core, "3", an_ask("shared", RR, limit=3))
    assert core.has_place("2")
    assert several(core, "45", an_ask("shared", BUT_NEWEST)) == Verdict(cancelled=["4"])
    assert core.has_place("2")
