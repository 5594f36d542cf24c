"""The order in which ready tasks start (behaviour-core C-11.1 to C-11.3) and their schedule timeouts (C-6.33)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_model import START, WISHES, a_task, a_version, a_wish, number_of, taken

from hatchet.core.deadlines import GONE
from hatchet.core.labels import DesiredLabels
from hatchet.core.ready_queue import ReadyQueues
from hatchet.core.ready_task import LEVEL_SECONDS, ReadyTask

A = a_version("a:run")
B = a_version("b:run")
NEAR, FAR = a_wish("near", "x", required=True), a_wish("far", 2)


def popped(queues: ReadyQueues, action: str = "a:run") -> list[int]:
    numbers = []
    while (task := taken(queues, action)) is not None:
        numbers.append(number_of(task))
    return numbers


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=50))
def test_c_11_1_higher_priority_first_then_first_in_first_out(pushed: list[tuple[int, bool]]) -> None:
    queues = ReadyQueues()
    for number, (priority, is_retry) in enumerate(pushed):
        queues.push(a_task(number, A, priority, attempt=int(is_retry)))
    # C-11.3: retries before every user priority.
    levels = [4 if is_retry else priority for priority, is_retry in pushed]
    assert popped(queues) == sorted(range(len(pushed)), key=lambda number: (-levels[number], number))
    assert len(queues) == 0


@pytest.mark.parametrize(("waited", "order"), [(119.0, [1, 0]), (121.0, [0, 1])])
def test_c_11_1_nobody_starves_two_minutes_of_waiting_are_worth_two_levels(waited: float, order: list[int]) -> None:
    queues = ReadyQueues()
    queues.push(a_task(0, A, 1))
    queues.push(a_task(1, A, 3, ready_at=START + waited))
    assert popped(queues) == order


def test_c_11_1_an_endless_stream_of_level_3_does_not_keep_level_1_waiting_for_ever() -> None:
    queues = ReadyQueues()
    queues.push(a_task(0, A, 1))
    served = []
    for second in range(1, 300):
        queues.push(a_task(second, A, 3, ready_at=START + second))
        task = taken(queues)
        assert task is not None
        served.append(number_of(task))
    assert served.index(0) == pytest.approx(2 * LEVEL_SECONDS, abs=2)


def test_c_11_1_one_level_is_worth_a_minute_between_lanes_too() -> None:
    queues = ReadyQueues()
    queues.push(a_task(0, A, 2, labels=(NEAR,)))
    queues.push(a_task(1, A, 3, ready_at=START + 59, labels=(FAR,)))
    queues.push(a_task(2, A, 3, ready_at=START + 61))
    assert popped(queues) == [1, 0, 2]


def test_c_6_25_a_retry_comes_before_a_task_that_has_waited_for_an_hour() -> None:
    queues = ReadyQueues()
    queues.push(a_task(0, A, 3))
    queues.push(a_task(1, A, 1, ready_at=START + 3600, attempt=1))
    assert popped(queues) == [1, 0]


def test_c_11_1_actions_are_queues_of_their_own() -> None:
    queues = ReadyQueues()
    for number, version in enumerate((A, B, A)):
        queues.push(a_task(number, version))
    assert sorted(queues.actions()) == ["a:run", "b:run"]
    assert popped(queues, "b:run") == [1]
    assert queues.actions() == ["a:run"]
    assert popped(queues) == [0, 2]
    assert queues.actions() == []
    assert taken(queues, "unknown:run") is None


def test_a_task_that_is_already_waiting_is_taken_once() -> None:
    queues = ReadyQueues()
    first = a_task(1, A)
    queues.push(first)
    queues.push(a_task(1, A, priority=3))
    assert len(queues) == 1
    assert queues.get(first.id) is first
    assert popped(queues) == [1]


def test_a_task_that_was_put_back_is_the_next_again() -> None:
    queues = ReadyQueues()
    for number in range(3):
        queues.push(a_task(number, A))
    first, second = taken(queues), taken(queues)
    assert first is not None
    assert second is not None
    queues.put_back(second)
    queues.put_back(first)
    assert first.id in queues
    assert popped(queues) == [0, 1, 2]


def test_c_6_40_a_discarded_task_is_gone() -> None:
    queues = ReadyQueues()
    tasks = [a_task(number, A) for number in range(3)]
    for task in tasks:
        queues.push(task)
    assert queues.discard(tasks[1].id) is tasks[1]
    assert queues.discard(tasks[1].id) is None
    assert tasks[1].id not in queues
    assert popped(queues) == [0, 2]


def test_an_action_whose_tasks_are_discarded_leaves_nothing_behind() -> None:
    queues = ReadyQueues()
    for number, version in enumerate((A, B)):
        queues.push(a_task(number, version))
        queues.discard(a_task(number, version).id)
    assert queues._queues == {}


def test_a_retry_of_a_discarded_attempt_waits_on_its_own() -> None:
    queues = ReadyQueues()
    old, new = a_task(1, A), a_task(1, A, attempt=1)
    queues.push(old)
    queues.discard(old.id)
    queues.push(new)
    assert taken(queues) is new
    assert taken(queues) is None


def test_c_11_5_a_step_that_does_not_fit_is_left_out() -> None:
    queues = ReadyQueues()
    small, large = a_version("a:run", name="small"), a_version("a:run", slots={"default": 5}, name="large")
    for number, version in enumerate((large, small, large, small)):
        queues.push(a_task(number, version))
    lineup = queues.lineup("a:run", lambda _: True)
    lineup.skip_step()
    assert number_of(queues.take(lineup)) == 1
    lineup.skip_step()
    assert lineup.first() is None
    assert popped(queues) == [0, 2, 3]


def test_c_11_5_wishes_that_no_worker_meets_are_left_out_and_others_of_the_step_are_not() -> None:
    queues = ReadyQueues()
    for number, labels in enumerate(((NEAR,), (FAR,), (), (NEAR,), (FAR, NEAR), ())):
        queues.push(a_task(number, A, labels=labels))
    lineup = queues.lineup("a:run", lambda _: True)
    lineup.skip_lane()
    assert [number_of(queues.take(lineup)) for _ in range(2)] == [1, 2]
    lineup.skip_lane()
    assert number_of(queues.take(lineup)) == 5
    assert lineup.first() is None
    assert popped(queues) == [0, 3, 4]


def test_c_11_5_a_step_is_left_out_with_all_wishes_of_its_tasks() -> None:
    queues = ReadyQueues()
    other = a_version("a:run", name="other")
    for number, (version, labels) in enumerate([(A, (NEAR,)), (A, ()), (other, (NEAR,)), (A, (FAR,)), (other, ())]):
        queues.push(a_task(number, version, labels=labels))
    lineup = queues.lineup("a:run", lambda _: True)
    lineup.skip_step()
    assert [number_of(queues.take(lineup)) for _ in range(2)] == [2, 4]
    assert lineup.first() is None


def test_c_11_5_a_step_with_many_wishes_is_not_even_looked_at_when_there_is_no_room_for_it() -> None:
    queues = ReadyQueues()
    large = a_version("a:run", slots={"default": 5}, name="large")
    for number in range(20):
        queues.push(a_task(number, large, labels=(a_wish("shard", number),)))
    queues.push(a_task(20, A))
    asked: list[int] = []

    def has_room(units: dict[str, int]) -> bool:
        asked.append(units["default"])
        return units["default"] < 5

    lineup = queues.lineup("a:run", has_room)
    assert asked == [5]
    assert number_of(queues.take(lineup)) == 20
    assert lineup.first() is None


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(WISHES)), max_size=40))
def test_c_11_1_wishes_do_not_change_the_order(pushed: list[tuple[int, tuple[DesiredLabels, object]]]) -> None:
    queues = ReadyQueues()
    for number, (priority, (labels, _)) in enumerate(pushed):
        queues.push(a_task(number, A, priority, labels=labels))
    assert popped(queues) == sorted(range(len(pushed)), key=lambda number: (-pushed[number][0], number))
    assert queues.actions() == []


def test_equal_wishes_of_waiting_tasks_are_kept_once() -> None:
    queues = ReadyQueues()
    tasks = [a_task(number, A, labels=(NEAR, FAR)) for number in range(3)]
    assert tasks[0].labels is not tasks[1].labels
    for task in tasks:
        queues.push(task)
    assert tasks[0].labels is tasks[1].labels is tasks[2].labels


def test_a_task_without_wishes_shares_one_empty_tuple() -> None:
    assert ReadyTask("id", A, 1, START).labels is ReadyTask("other", B, 1, START).labels
    assert ReadyTask("id", A, 1, START).labels == ()


def test_wishes_of_tasks_that_are_gone_leave_nothing_behind() -> None:
    queues = ReadyQueues()
    queues.push(a_task(0, A))
    for number in range(1, 500):
        queues.push(a_task(number, A, labels=(a_wish("shard", number),)))
    [queue] = queues._queues.values()
    for number in range(2, 500, 2):
        queues.discard(a_task(number, A).id)
    assert len(queue._lanes[A.tasks[0].id]) == len(queues) == 251
    assert popped(queues) == [0, *range(1, 500, 2)]
    assert queue._lanes == {}


def test_c_11_1_two_versions_of_an_action_keep_one_order() -> None:
    queues = ReadyQueues()
    old, new = a_version("a:run", name="old"), a_version("a:run", name="new")
    for number, (version, priority) in enumerate([(old, 1), (new, 3), (new, 1), (old, 3), (old, 1)]):
        queues.push(a_task(number, version, priority, ready_at=START + number))
    assert popped(queues) == [1, 3, 0, 2, 4]


def test_memory_of_the_queue_stays_bounded_behind_a_task_that_waits() -> None:
    queues = ReadyQueues()
    queues.push(a_task(0, A))
    for number in range(1, 20_000):
        task = a_task(number, A)
        queues.push(task)
        queues.discard(task.id)
    [queue] = queues._queues.values()
    [lane] = queue._lanes[A.tasks[0].id].values()
    assert len(lane.level(1)) < 4000


def test_c_6_33_a_task_expires_when_its_own_timeout_has_passed_since_it_was_queued() -> None:
    queues = ReadyQueues()
    short, long = a_version("a:run", schedule_timeout="1s"), a_version("a:run", schedule_timeout="10s")
    queues.push(a_task(0, long))
    queues.push(a_task(1, short))
    queues.push(a_task(2, short, ready_at=START + 5))
    assert queues.deadlines.expired(START + 0.9) == []
    assert [number_of(task) for task in queues.deadlines.expired(START + 1.0)] == [1]
    assert sorted(number_of(task) for task in queues.deadlines.expired(START + 6.0)) == [1, 2]
    assert sorted(number_of(task) for task in queues.deadlines.expired(START + 10.0)) == [0, 1, 2]


def test_c_6_33_expired_tasks_come_in_bites_and_stay_until_discarded() -> None:
    queues = ReadyQueues()
    for number in range(10):
        queues.push(a_task(number, A))
    late = START + 301
    assert len(queues.deadlines.expired(late, limit=4)) == 4
    seen = []
    while bite := queues.deadlines.expired(late, limit=4):
        seen += [number_of(task) for task in bite]
        for task in bite:
            queues.discard(task.id)
    assert seen == list(range(10))


def test_c_6_33_a_task_that_is_being_assigned_does_not_expire() -> None:
    queues = ReadyQueues()
    queues.push(a_task(0, A))
    taken(queues)
    assert queues.deadlines.expired(START + 301) == []


def test_c_6_33_a_task_whose_assignment_failed_still_expires() -> None:
    queues = ReadyQueues()
    queues.push(a_task(0, A))
    task = taken(queues)
    assert task is not None
    # The watch looks while the assignment is under way, and the assignment then fails.
    queues.deadlines.expired(START + 1)
    queues.put_back(task)
    assert queues.deadlines.expired(START + 301) == [task]


def test_the_low_watermark_counts_a_task_that_is_being_assigned() -> None:
    queues = ReadyQueues()
    for number in range(2):
        queues.push(a_task(number, A))
    task = taken(queues)
    assert task is not None
    assert list(queues.deadlines.oldest_ids()) == [task.id]


def test_the_low_watermark_counts_a_task_that_was_made_long_before_it_was_ready() -> None:
    queues = ReadyQueues()
    old, new = a_task(0, A, ready_at=START + 2, attempt=1), a_task(1, A, ready_at=START + 1)
    queues.push(new)
    queues.push(old)
    assert min(queues.deadlines.oldest_ids()) == old.id
    # It counts while it is being assigned, until it is gone.
    assert taken(queues) is old
    assert min(queues.deadlines.oldest_ids()) == old.id
    old.place = GONE
    assert min(queues.deadlines.oldest_ids()) == new.id


def test_the_low_watermark_rises_when_the_oldest_task_is_gone() -> None:
    queues = ReadyQueues()
    tasks = [a_task(number, A) for number in range(3)]
    for task in tasks:
        queues.push(task)
    queues.discard(tasks[0].id)
    assert list(queues.deadlines.oldest_ids()) == [tasks[1].id]


def test_memory_of_expiry_stays_bounded_while_the_oldest_task_waits() -> None:
    queues = ReadyQueues()
    queues.push(a_task(0, A))
    for number in range(1, 20_000):
        task = a_task(number, A)
        queues.push(task)
        queues.discard(task.id)
        if number % 1000 == 0:
            queues.deadlines.expired(START)
    assert len(queues.deadlines) < 4000


@pytest.mark.parametrize(("attempt", "level"), [(0, 2), (1, 4)])
def test_c_11_3_the_level_of_an_attempt(attempt: int, level: int) -> None:
    assert ReadyTask("id", A, 2, START, attempt).level == level


def test_an_attempts_creation_time_is_its_ids_and_not_its_own() -> None:
    task = ReadyTask("01977a3d-ae00-7000-8000-000000000000", A, 2, START, 3)
    assert task.created_at == int("01977a3dae00", 16) / 1000
