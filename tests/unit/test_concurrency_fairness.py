"""No flow of applicants starves, and nothing grows for ever (behaviour-core C-9.7)."""

from __future__ import annotations

import pytest
from concurrency_model import an_ask, drained, ids
from concurrency_steps import BUT_OLDEST, IN_PROGRESS, NEWEST, NOTHING, RR, again, arrived, several

from hatchet.core.concurrency import PATIENCE, Concurrency
from hatchet.core.groups import SPARE, Flow, Group

# Fairness between flows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5])
def test_c_9_7_a_flow_between_two_busy_groups_is_served(count: int) -> None:
    core = Concurrency()
    a, b = an_ask("a", RR), an_ask("b", RR)
    several(core, [f"a{number:04d}" for number in range(900)], a)
    several(core, [f"b{number:04d}" for number in range(900)], b)
    between = [f"z{number}" for number in range(count)]
    for who in between:
        # A rule of its own makes each a flow of its own.
        arrived(core, who, a, b, an_ask("own", RR, who))
    running, served, ends = ["a0000", "b0000"], 0, 0
    while served < count:
        # The groups never get room in one moment.
        verdict = core.leave(running.pop(0))
        running += verdict.admitted
        served += sum(who in between for who in verdict.admitted)
        ends += 1
        assert ends <= count * (2 * PATIENCE + 4)


def test_places_are_not_kept_free_for_a_flow_that_cannot_be_served() -> None:
    core = Concurrency()
    a, b = an_ask("a", RR), an_ask("b", RR)
    several(core, [f"a{number:04d}" for number in range(90)], a)
    several(core, [f"b{number:04d}" for number in range(90)], b)
    arrived(core, "c", a, b)
    running = ["a0000", "b0000"]
    while core._favoured is None:
        running += core.leave(running.pop(0)).admitted
    # The limit of one of its groups becomes 0: everybody else goes on.
    arrived(core, "d", an_ask("b", RR, limit=0))
    assert core._favoured is None
    starts = 0
    while running:
        verdict = core.leave(running.pop(0))
        running += verdict.admitted
        starts += len(verdict.admitted)
    assert core.waits("c")
    assert all(not core.waits(f"a{number:04d}") for number in range(90))


def test_a_place_that_was_kept_free_is_given_away_when_nobody_wants_it_any_more() -> None:
    core = Concurrency()
    a, b = an_ask("a", RR), an_ask("b", RR)
    several(core, [f"a{number:04d}" for number in range(90)], a)
    several(core, [f"b{number:04d}" for number in range(90)], b)
    arrived(core, "c", a, b)
    running = ["a0000", "b0000"]
    while len(running) > 1:
        verdict = core.leave(running.pop(0))
        running += verdict.admitted
    # A place of one group is free, for the flow that waits for the other.
    assert core.waits("c")
    assert len(core.leave("c").admitted) == 1


# What stays small ---------------------------------------------------------------------------------------------------


def test_those_that_were_cancelled_behind_one_that_waits_leave_nothing_behind() -> None:
    core = Concurrency()
    several(core, ids(range(3000)), an_ask("r", BUT_OLDEST))
    (flow,) = core._groups._flows.values()
    assert len(flow.line) == 1
    assert len(flow.line._heap) <= 2 * 2 + SPARE


def test_a_flow_that_moves_for_ever_leaves_nothing_behind() -> None:
    core = Concurrency()
    a, b = an_ask("a", RR), an_ask("b", RR)
    several(core, "12", a)
    arrived(core, "3", b)
    for number in range(1000):
        who = f"{9999 - number:05d}"
        arrived(core, who, b, a)
        core.step_back("3")
        again(core, "3", b)
        if number % 2:
            core.leave(who)
    assert all(len(group.line._heap) <= 2 * (len(group.line) + 1) + SPARE for group in core._groups)


def test_everything_that_ended_is_forgotten() -> None:
    core = Concurrency()
    running: list[str] = []
    for number, who in enumerate(ids(range(500))):
        asks = (an_ask("a", RR, str(number % 7), 2), an_ask("b", BUT_OLDEST, str(number % 5)), an_ask("c", NEWEST))
        running += arrived(core, who, *asks[: 1 + number % 3]).admitted
    for who in running:
        running += core.leave(who).admitted
    assert drained(core)


# What it costs ------------------------------------------------------------------------------------------------------


class Counting(Concurrency):
    """Counts how often it looks at a group for a flow."""

    looks = 0

    def _is_full(self, group: Group, flow: Flow) -> bool:
        self.looks += 1
        return super()._is_full(group, flow)


@pytest.mark.parametrize("flows", [1, 2000])
def test_an_end_does_not_look_at_all_that_wait(flows: int) -> None:
    core = Counting()
    for number, who in enumerate(ids(range(2000))):
        arrived(core, who, an_ask("user", RR, str(number % flows)), an_ask("all", RR))
    core.looks = 0
    assert len(core.leave("0000").admitted) == 1
    assert core.looks < 20


def test_many_groups_that_are_freed_at_once_cost_as_much_as_one_after_another() -> None:
    core = Counting()
    names = ids(range(200))
    for who in names:
        arrived(core, who, an_ask("all", IN_PROGRESS, limit=200), an_ask("own", RR, who))
        arrived(core, f"w{who}", an_ask("own", RR, who))
    core.looks = 0
    verdict = arrived(core, "x", an_ask("all", IN_PROGRESS, limit=1))
    assert sorted(verdict.cancelled) == names
    assert len(verdict.admitted) == 201
    assert core.looks < 20 * 201


def test_flows_that_another_group_keeps_are_found_once() -> None:
    core = Counting()
    arrived(core, "0", an_ask("all", RR))
    names = ids(range(1, 200))
    for who in names:
        arrived(core, who, an_ask("all", RR), an_ask("own", RR, who))
        assert arrived(core, f"w{who}", an_ask("own", RR, who)).admitted
    assert core.leave("0") == NOTHING
    core.looks = 0
    assert arrived(core, "x", an_ask("all", RR)).admitted == ["x"]
    assert core.leave("x") == NOTHING
    assert core.leave("w0001").admitted == ["0001"]
    assert core.looks < 40
