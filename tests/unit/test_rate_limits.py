"""Rate limits in memory and the tasks that wait for their units (behaviour-core C-10)."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_model import START, a_task, a_version
from rate_limit_model import LimitMachine, ParkedMachine, needs

from hatchet.core.deadlines import GONE
from hatchet.core.limits import Units
from hatchet.core.parked import LOOKS, ParkedTasks
from hatchet.core.rate_limits import Lack, RateLimits, lack_text, window_end
from hatchet.core.ready_task import ReadyTask
from hatchet.core.rules import Window

SECOND, MINUTE, HOUR = Window.SECOND, Window.MINUTE, Window.HOUR
STEP = a_version()

LimitMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
TestLimits = LimitMachine.TestCase
ParkedMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True)
TestParked = ParkedMachine.TestCase


def limits(**keys: tuple[int, Window]) -> RateLimits:
    made = RateLimits()
    for key, (limit, window) in keys.items():
        made.load(key, limit, window, None, None, None)
    return made


def one(key: str, units: int = 1, limit: int | None = None, window: Window | None = None) -> tuple[Units]:
    return (Units(key, units, limit, window),)


def taken(made: RateLimits, key: str, now: float, most: int = 1000) -> int:
    """How many times a single unit can be taken."""
    count = 0
    while count < most and made.lack(one(key), now) is None:
        made.take(one(key), now)
        count += 1
    return count


def task(number: int, *units: Units, priority: int = 1, ready_at: float = START) -> ReadyTask:
    return needs(a_task(number, STEP, priority, ready_at=ready_at), *units)


def parked(made: RateLimits, *tasks: ReadyTask, now: float = START) -> ParkedTasks:
    waiting = ParkedTasks(made)
    for each in tasks:
        lack = waiting.lack(each, now)
        assert lack is not None
        waiting.push(each, lack, now)
    return waiting


def instant(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_c_10_13_all_units_are_back_when_the_window_is_over() -> None:
    made = limits(a=(3, SECOND))
    assert taken(made, "a", START) == 3
    assert made.lack(one("a"), START + 0.5) == Lack("a", 0, 1, START + 1.0)
    assert taken(made, "a", START + 0.98) == 0
    # 10 ms of tolerance.
    assert taken(made, "a", START + 0.991) == 3
    # The window begins when it is looked at, not where the one before ended.
    assert taken(made, "a", START + 5.5) == 3
    assert taken(made, "a", START + 6.2) == 0


@pytest.mark.parametrize(
    ("window", "begun", "end"),
    [
        (Window.MINUTE, "2026-01-31T10:00:00", "2026-01-31T10:01:00"),
        (Window.HOUR, "2026-01-31T10:00:00", "2026-01-31T11:00:00"),
        (Window.DAY, "2026-01-31T10:00:00", "2026-02-01T10:00:00"),
        (Window.WEEK, "2026-01-31T10:00:00", "2026-02-07T10:00:00"),
        (Window.MONTH, "2026-01-31T10:00:00", "2026-02-28T10:00:00"),
        (Window.MONTH, "2028-01-31T10:00:00", "2028-02-29T10:00:00"),
        (Window.MONTH, "2026-12-15T10:00:00", "2027-01-15T10:00:00"),
        (Window.MONTH, "2026-11-30T23:59:59", "2026-12-30T23:59:59"),
        (Window.YEAR, "2026-11-25T10:00:00", "2027-11-25T10:00:00"),
        (Window.YEAR, "2028-02-29T10:00:00", "2029-02-28T10:00:00"),
    ],
)
def test_c_10_3_months_and_years_are_those_of_the_calendar(window: Window, begun: str, end: str) -> None:
    assert window_end(window, instant(begun)) == instant(end)


def test_c_10_2_a_lowered_limit_counts_at_once_a_raised_one_with_the_next_window() -> None:
    made = limits(a=(5, MINUTE))
    made.take(one("a", 1), START)
    made.load("a", 2, MINUTE, None, None, None)
    assert made.lack(one("a", 3), START) == Lack("a", 2, 3, None)
    made.load("a", 10, MINUTE, None, None, None)
    assert made.lack(one("a", 3), START) == Lack("a", 2, 3, START + 60)
    assert taken(made, "a", START + 60) == 10


def test_c_10_4_a_paused_key_yields_nothing_until_then() -> None:
    made = limits(a=(5, SECOND))
    made.load("a", 5, SECOND, START + 30, None, None)
    assert made.lack(one("a"), START) == Lack("a", 0, 1, START + 30)
    assert made.lack(one("a"), START + 29) == Lack("a", 0, 1, START + 30)
    assert taken(made, "a", START + 30) == 5


def test_c_10_4_a_pause_is_kept_for_a_key_that_does_not_exist_yet() -> None:
    made = RateLimits()
    made.load("u", None, None, START + 30, None, None)
    assert "u" not in made
    assert made.lack(one("u"), START) == Lack("u", 0, 1, None)
    made.define(one("u", 1, 5, SECOND), START)
    assert made.lack(one("u"), START) == Lack("u", 0, 1, START + 30)
    assert taken(made, "u", START + 31) == 5


def test_c_10_10_the_larger_window_and_the_lower_limit_win() -> None:
    made = RateLimits()
    made.define((*one("u", 1, 5, HOUR), *one("u", 1, 3, SECOND), *one("u", 1, 4, MINUTE)), START)
    [state] = made.changed()
    assert (state.limit, state.window, state.units_left, state.updated_at) == (3, HOUR, 3, START)


def test_c_10_12_all_entries_are_taken_together_or_none() -> None:
    made = limits(a=(5, MINUTE), b=(1, MINUTE))
    both = (*one("a", 2), *one("b", 1))
    assert made.lack(both, START) is None
    made.take(both, START)
    assert made.lack(both, START) == Lack("b", 0, 1, START + 60)
    assert {state.key: state.units_left for state in made.changed()} == {"a": 3, "b": 0}


def test_c_10_12_units_of_an_assignment_that_did_not_happen_come_back_into_their_own_window_only() -> None:
    made = limits(a=(3, SECOND))
    made.take(one("a", 3), START)
    made.give_back(one("a", 2), START)
    assert taken(made, "a", START + 0.1) == 2
    assert taken(made, "a", START + 2) == 3
    made.give_back(one("a", 3), START)
    assert taken(made, "a", START + 2.5) == 0


def test_c_10_14_more_units_than_the_limit_are_never_met() -> None:
    assert limits(a=(5, SECOND)).lack(one("a", 6), START) == Lack("a", 5, 6, None)


def test_c_10_15_a_key_that_does_not_exist_yields_nothing() -> None:
    assert RateLimits().lack(one("a"), START) == Lack("a", 0, 1, None)


def test_c_10_16_the_text_that_people_read() -> None:
    text = "Rate limit exceeded for key k, attempting to consume 3 units, but only had 2 remaining"
    assert lack_text(Lack("k", 2, 3, None)) == text


def test_r_17_3_a_deleted_dynamic_key_comes_again_with_the_next_task() -> None:
    made = RateLimits()
    made.define(one("u", 1, 2, MINUTE), START)
    made.written(made.changed())
    made.forget("u")
    assert made.lack(one("u"), START) == Lack("u", 0, 1, None)
    assert made.lack(one("u", 1, 2, MINUTE), START + 1) is None
    assert [(state.key, state.limit) for state in made.changed()] == [("u", 2)]


def test_the_largest_numbers_stay_exact() -> None:
    made = limits(a=(2**63 - 1, MINUTE))
    made.take(one("a", 2**63 - 2), START)
    assert made.lack(one("a", 2), START) == Lack("a", 1, 2, START + 60)
    made.take(one("a", 1), START)
    assert [state.units_left for state in made.changed()] == [0]


def test_a_clock_that_went_back_makes_nobody_wait_for_longer_than_a_window() -> None:
    made = limits(a=(3, MINUTE))
    assert taken(made, "a", START + 1_000_000) == 3
    assert made.lack(one("a"), START) == Lack("a", 0, 1, START + 60)
    assert taken(made, "a", START + 60) == 3
    # What was taken before the clock went back is not given back into a window that the clock calls older.
    made.give_back(one("a", 3), START + 1)
    assert taken(made, "a", START + 61) == 0


def test_what_was_taken_survives_a_change_of_owner() -> None:
    made = limits(a=(5, MINUTE))
    made.take(one("a", 4), START)
    [state] = made.changed()
    other = RateLimits()
    other.load("a", 5, MINUTE, None, state.units_left, state.refilled_at)
    assert taken(other, "a", START + 30) == 1
    assert taken(other, "a", START + 60) == 5


def test_what_was_taken_stays_when_the_row_is_read_again() -> None:
    made = limits(a=(5, MINUTE))
    made.take(one("a", 4), START)
    made.load("a", 5, MINUTE, None, 5, START)
    assert taken(made, "a", START) == 1


def test_changed_names_what_is_to_be_written_until_it_is() -> None:
    made = limits(a=(5, MINUTE))
    assert made.changed() == []
    made.take(one("a"), START)
    first = made.changed()
    assert [(state.key, state.limit, state.window, state.units_left) for state in first] == [("a", None, None, 4)]
    made.take(one("a"), START)
    made.written(first)
    [second] = made.changed()
    assert second.units_left == 3
    made.written([second])
    assert made.changed() == []


def test_an_older_row_does_not_undo_what_a_task_defined() -> None:
    made = RateLimits()
    made.define(one("u", 1, 5, MINUTE), START)
    made.load("u", 9, HOUR, START + 30, None, None, START - 1)
    assert made.limit_of("u") == 5
    assert made.lack(one("u"), START) == Lack("u", 0, 1, START + 30)
    made.load("u", 9, HOUR, None, None, None, START + 1)
    assert made.limit_of("u") == 9
    assert made.changed()[0].limit is None


def test_missing_rows_are_forgotten_but_not_those_that_were_never_written() -> None:
    made = limits(old=(1, MINUTE), kept=(1, MINUTE))
    before = made.stored()
    made.define(one("new", 1, 1, MINUTE), START)
    made.written([state for state in made.changed() if state.key == "new"])
    made.define(one("newer", 1, 1, MINUTE), START)
    made.forget_missing(before, ["kept"])
    assert [key in made for key in ("old", "kept", "new", "newer")] == [False, True, True, True]


def test_c_10_17_tasks_of_one_key_go_by_priority_then_first_in_first_out() -> None:
    made = limits(a=(0, MINUTE))
    tasks = [task(number, *one("a"), priority=priority) for number, priority in enumerate((1, 3, 2, 3, 1))]
    waiting = parked(made, *tasks[:-1])
    made.load("a", 3, MINUTE, None, None, None)
    waiting.push(tasks[-1], Lack("a", 0, 1, START), START)
    released = waiting.due(START) + waiting.due(START + 60)
    assert released == [tasks[1], tasks[3], tasks[2]]
    for each in released:
        made.take(each.limits.units, START + 60)
        each.place = GONE
        waiting.discard(each.id)
    assert waiting.due(START + 119) == []
    assert waiting.next_at() == START + 120
    assert waiting.due(START + 120) == [tasks[0], tasks[4]]
    assert waiting.next_at() is None
    assert len(waiting) == 0


def test_c_10_17_the_first_one_keeps_those_behind_it_waiting() -> None:
    made = limits(a=(3, MINUTE))
    made.take(one("a", 2), START)
    large, small = task(1, *one("a", 3)), task(2, *one("a", 1))
    waiting = parked(made, large, small)
    assert waiting.due(START + 1) == []
    assert waiting.due(START + 60) == [large]
    assert list(waiting) == [small]


def test_c_10_17_who_waits_for_one_key_does_not_block_another() -> None:
    made = limits(a=(5, MINUTE), b=(1, MINUTE))
    made.take(one("b"), START)
    blocked = task(1, *one("a"), *one("b"))
    waiting = parked(made, blocked)
    assert waiting.has("b")
    assert not waiting.has("a")
    assert waiting.lack(task(2, *one("a")), START) is None
    assert waiting.lack(task(3, *one("b")), START) is not None


def test_c_10_14_who_can_never_be_served_blocks_nobody_and_is_served_after_a_change() -> None:
    made = limits(a=(3, MINUTE))
    made.take(one("a", 3), START)
    never, small = task(1, *one("a", 4)), task(2, *one("a", 1))
    waiting = parked(made, never, small)
    assert waiting.due(START + 60) == [small]
    made.load("a", 4, MINUTE, None, None, None)
    assert waiting.due(START + 61) == []
    assert waiting.next_at() == START + 120
    small.place = GONE
    assert waiting.due(START + 120) == [never]


def test_c_10_15_tasks_of_an_unknown_key_start_once_it_is_put() -> None:
    made = RateLimits()
    first, second = task(1, *one("a")), task(2, *one("a"))
    waiting = parked(made, first, second)
    assert waiting.due(START + 1000) == []
    assert waiting.next_at() is None
    made.load("a", 1, MINUTE, None, None, None)
    assert waiting.next_at() is not None
    assert waiting.due(START + 1001) == [first]


def test_units_are_left_for_a_released_task_until_it_has_them_or_goes() -> None:
    made = limits(a=(2, MINUTE))
    made.take(one("a", 2), START)
    first, second, third = (task(number, *one("a")) for number in range(3))
    waiting = parked(made, first, second, third)
    assert waiting.due(START + 60) == [first, second]
    assert waiting.due(START + 61) == []
    # One of them was cancelled before it could start.
    assert waiting.discard(first.id) is None
    assert waiting.due(START + 62) == [third]
    assert waiting.discard(second.id) is None


def test_units_that_come_back_wake_those_who_wait() -> None:
    made = limits(a=(1, MINUTE))
    made.take(one("a"), START)
    first = task(1, *one("a"))
    waiting = parked(made, first)
    assert waiting.due(START + 1) == []
    made.give_back(one("a"), START)
    assert waiting.next_at() == START + 1
    assert waiting.due(START + 2) == [first]


def test_a_discarded_task_is_gone() -> None:
    made = limits(a=(0, MINUTE))
    first = task(1, *one("a"))
    waiting = parked(made, first)
    assert first.id in waiting
    assert waiting.get(first.id) is first
    assert waiting.discard(first.id) is first
    assert not waiting.has("a")
    assert waiting.discard(first.id) is None


@given(st.integers(-100_000, 100_000))
def test_no_jump_of_the_clock_keeps_a_task_for_longer_than_a_window(jump: int) -> None:
    made = limits(a=(1, MINUTE))
    made.take(one("a"), START)
    first = task(1, *one("a"))
    waiting = parked(made, first)
    now = START + jump
    released = waiting.due(now)
    if not released:
        wakes_at = waiting.next_at()
        assert wakes_at is not None
        assert now < wakes_at <= now + 60
        released = waiting.due(wakes_at)
    assert released == [first]


def test_a_refill_costs_what_came_back_however_many_wait() -> None:
    made = limits(a=(10, SECOND))
    made.take(one("a", 10), START)
    many = [task(number, *one("a"), ready_at=START + number / 1000) for number in range(100_000)]
    waiting = parked(made, *many)
    assert waiting.due(START) == []
    began = time.perf_counter()
    now, count = START, 0
    for _ in range(500):
        now += 1.0
        for each in waiting.due(now):
            made.take(each.limits.units, now)
            each.place = GONE
            waiting.discard(each.id)
            count += 1
        waiting.due(now)
    assert count == 5000
    # 100,000 looks a refill would take minutes; this takes about 0.1 s.
    assert time.perf_counter() - began < 5.0


def test_one_call_looks_at_a_bounded_number_and_the_next_ones_go_on() -> None:
    made = limits(a=(0, MINUTE))
    count = LOOKS + 10
    waiting = parked(made, *(task(number, *one("a")) for number in range(count)))
    made.load("a", count, MINUTE, None, None, None)
    now = START + 60
    released = [len(waiting.due(now))]
    while (at := waiting.next_at()) is not None and at <= now:
        released.append(len(waiting.due(now)))
    assert max(released) <= LOOKS
    assert sum(released) == count


def test_a_task_that_lost_its_promise_is_parked_again_in_its_old_place() -> None:
    made = limits(a=(1, MINUTE))
    made.take(one("a"), START)
    first, second = task(1, *one("a")), task(2, *one("a"))
    waiting = parked(made, first, second)
    assert waiting.due(START + 60) == [first]
    made.take(one("a"), START + 60)
    lack = made.lack(first.limits.units, START + 60)
    assert lack is not None
    waiting.push(first, lack, START + 60)
    assert waiting.due(START + 61) == []
    assert waiting.due(START + 120) == [first]
