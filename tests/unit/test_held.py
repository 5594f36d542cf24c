"""The held tasks of paused workflows (behaviour-core C-4.53 to C-4.55, C-6.34)."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_model import START, a_task, a_version, taken

from hatchet.core.durations import parse_duration
from hatchet.core.errors import InvalidArgument
from hatchet.core.held import DuringPause, HeldTasks, Pause, PauseSettings
from hatchet.core.oldest import Oldest
from hatchet.core.ready_queue import ReadyQueues
from hatchet.core.ready_task import ReadyTask

FLOW = dataclasses.replace(a_version(), workflow_id="flow")
OTHER = dataclasses.replace(a_version("b:run"), workflow_id="other")


def paused(at: float = START, ttl: float = 60.0, resumed_at: float | None = None) -> Pause:
    return Pause(at, ttl, resumed_at)


def over(at: float) -> Pause:
    return Pause(None, 0.0, at)


def holding(*tasks: ReadyTask, pause: Pause | None = None) -> HeldTasks:
    held = HeldTasks()
    held.change({"flow": pause or paused(), "other": pause or paused()})
    for task in tasks:
        held.push(task)
    return held


def ids(tasks: list[ReadyTask]) -> list[str]:
    return [task.id for task in tasks]


def test_only_tasks_of_paused_workflows_are_held() -> None:
    held = HeldTasks()
    held.change({"flow": paused(), "other": over(START)})
    assert held.is_paused(a_task(0, FLOW))
    assert not held.is_paused(a_task(1, OTHER))
    assert not held.is_paused(a_task(2, a_version()))
    assert held.paused() == {"flow"}


def test_a_held_task_is_known_by_its_id_until_it_is_discarded() -> None:
    task = a_task(0, FLOW)
    held = holding(task, a_task(1, FLOW))
    assert task.id in held
    assert held.get(task.id) is task
    assert len(held) == len(list(held)) == 2
    assert held.discard(task.id) is task
    assert held.discard(task.id) is None
    assert task.id not in held
    assert ids(held.change({})) == ids([a_task(1, FLOW)])


def test_a_task_is_held_once() -> None:
    task, twin = a_task(0, FLOW), a_task(0, FLOW)
    held = holding(task, twin)
    assert held.get(task.id) is task
    assert ids(held.change({})) == [task.id]


def test_c_4_55_tasks_are_released_in_the_order_in_which_they_were_ready() -> None:
    late, early, first = (a_task(1, FLOW, ready_at=START + 2), a_task(2, FLOW, ready_at=START + 1), a_task(0, FLOW))
    held = holding(late, early, first)
    assert ids(held.change({"flow": over(START + 10)})) == ids([first, early, late])
    assert len(held) == 0
    assert held.change({}) == []


def test_c_4_55_the_end_of_one_pause_releases_nothing_of_another() -> None:
    mine, others = a_task(0, FLOW), a_task(1, OTHER)
    held = holding(mine, others)
    assert ids(held.change({"flow": over(START + 1), "other": paused()})) == [mine.id]
    assert list(held) == [others]


def test_a_workflow_that_is_gone_holds_nothing() -> None:
    held = holding(a_task(0, FLOW))
    assert len(held.change({})) == 1


def test_c_6_34_a_released_task_waits_for_a_worker_from_then_on() -> None:
    before = a_task(0, FLOW, ready_at=START)
    after = a_task(1, FLOW, ready_at=START + 20)
    held = holding(before, after)
    released = held.change({"flow": over(START + 10)})
    assert [task.ready_at for task in released] == [START + 10, START + 20]
    assert released[0] is not before


def test_c_6_34_what_is_read_again_later_still_has_its_time_from_the_end_of_the_pause() -> None:
    held = HeldTasks()
    held.change({"flow": over(START + 10)})
    assert held.ready_at(a_task(0, FLOW, ready_at=START)) == START + 10
    assert held.ready_at(a_task(0, FLOW, ready_at=START + 11)) == START + 11
    assert held.ready_at(a_task(0, OTHER, ready_at=START)) == START


def test_a_released_task_is_what_it_was() -> None:
    task = ReadyTask("id", FLOW, 3, START, 2, 1, 1, step=FLOW.tasks[0], run_id="run", labels=())
    [released] = holding(task).change({"flow": over(START + 1)})
    names = [name for name in ReadyTask.__slots__ if name not in ("ready_at", "place")]
    assert [getattr(released, name) for name in names] == [getattr(task, name) for name in names]


def test_a_task_that_was_taken_out_of_a_queue_can_come_back_to_it() -> None:
    queues, first, second = ReadyQueues(), a_task(0, FLOW), a_task(1, FLOW)
    for task in (first, second):
        queues.push(task)
    queues.discard(first.id)
    held = holding(first)
    for task in held.change({"flow": over(START)}):
        queues.push(task)
    order = [taken(queues) for _ in range(3)]
    assert [task and task.id for task in order] == [second.id, first.id, None]


def test_c_4_54_a_task_expires_when_it_was_held_for_longer_than_the_ttl() -> None:
    task = a_task(0, FLOW, ready_at=START + 5)
    held = holding(task, pause=paused(START, 60))
    assert held.expired(START + 65, 10) == []
    assert held.expired(START + 65.001, 10) == [task]
    # It stays until its end is written.
    assert held.expired(START + 66, 10) == [task]
    held.discard(task.id)
    assert held.expired(START + 66, 10) == []


def test_c_4_54_time_before_the_pause_does_not_count() -> None:
    task = a_task(0, FLOW, ready_at=START - 1000)
    held = holding(task, pause=paused(START, 60))
    assert held.expired(START + 60, 10) == []
    assert held.expired(START + 61, 10) == [task]


def test_c_4_54_a_new_ttl_counts_for_those_that_wait_already() -> None:
    task = a_task(0, FLOW)
    held = holding(task, pause=paused(START, 60))
    assert held.change({"flow": paused(START, 600)}) == []
    assert held.expired(START + 61, 10) == []
    assert held.expired(START + 601, 10) == [task]


def test_c_4_54_a_pause_that_began_anew_lets_them_wait_anew() -> None:
    task = a_task(0, FLOW)
    held = holding(task, pause=paused(START, 60))
    held.change({"flow": paused(START + 50, 60, resumed_at=START + 49)})
    assert held.expired(START + 61, 10) == []
    assert held.expired(START + 111, 10) == [task]


def test_expired_tasks_come_in_portions() -> None:
    tasks = [a_task(number, FLOW, ready_at=START + number) for number in range(5)]
    held = holding(*reversed(tasks), a_task(9, OTHER))
    found = held.expired(START + 1000, 3)
    assert ids(found) == ids(tasks[:3])
    for task in found:
        held.discard(task.id)
    assert len(held.expired(START + 1000, 3)) == 3


@pytest.mark.parametrize("text", ["", "soon", "10", "-1s", "1w"])
def test_r_13_7_a_ttl_that_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"pausedWorkflowQueueTTL: .*ms, s, m, h or d"):
        PauseSettings(queue_ttl=text)


def test_r_13_7_a_ttl_may_have_days() -> None:
    assert PauseSettings(queue_ttl="1d").crons is DuringPause.QUEUE
    assert parse_duration("1d12h30m5s10ms", days=True) == 131_405.01
    assert parse_duration("1.5d", days=True) == 129_600.0


def test_the_low_watermark_counts_what_is_held() -> None:
    tasks = [a_task(number, FLOW, ready_at=START - number) for number in (3, 1, 2)]
    held = holding(*tasks)
    assert held.oldest_id() == tasks[1].id
    held.discard(tasks[1].id)
    assert held.oldest_id() == tasks[2].id
    held.change({})
    assert held.oldest_id() is None


def test_what_is_gone_takes_no_room_among_the_oldest() -> None:
    alive = set(range(100))
    oldest: Oldest[int] = Oldest(alive.__contains__)
    for number in range(100):
        oldest.add(f"{number:06}", number)
    for number in range(100, 50_000):
        alive.add(number)
        oldest.add(f"{number:06}", number)
        alive.discard(number)
        assert len(oldest) <= 2 * 100 + 1000
    assert oldest.lowest() == "000000"


WORKFLOWS = {"flow": FLOW, "other": OTHER}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from(["flow", "other"]), st.integers(0, 20), st.integers(0, 50)),
        st.tuples(st.just("discard"), st.integers(0, 20)),
        st.tuples(st.just("pause"), st.sampled_from(["flow", "other"]), st.integers(0, 50), st.integers(0, 30)),
        st.tuples(st.just("end"), st.sampled_from(["flow", "other"]), st.integers(0, 50)),
        st.tuples(st.just("look"), st.integers(0, 100)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_it_agrees_with_a_plain_list(steps: list[tuple[object, ...]]) -> None:
    held, pauses = HeldTasks(), dict[str, Pause]()
    model: dict[str, ReadyTask] = {}
    for kind, *rest in steps:
        if kind == "push":
            name, number, ready = rest
            task = a_task(number, WORKFLOWS[name], ready_at=START + ready)  # type: ignore[index, operator, arg-type]
            if held.is_paused(task):
                held.push(task)
                model.setdefault(task.id, task)
        elif kind == "discard":
            task_id = a_task(rest[0], FLOW).id  # type: ignore[arg-type]
            assert held.discard(task_id) is model.pop(task_id, None)
        elif kind == "look":
            now = START + rest[0]  # type: ignore[operator]
            wanted = {
                task.id
                for task in model.values()
                if (pause := pauses[task.version.workflow_id]).paused_at is not None
                and now - max(task.ready_at, pause.paused_at) > pause.queue_ttl_seconds
            }
            assert {task.id for task in held.expired(now, 100)} == wanted
        else:
            name = str(rest[0])
            at = START + rest[1]  # type: ignore[operator]
            pauses[name] = paused(at, rest[2]) if kind == "pause" else over(at)  # type: ignore[arg-type]
            released = held.change(pauses)
            gone = [task for task in model.values() if pauses[task.version.workflow_id].paused_at is None]
            gone.sort(key=lambda task: (held.ready_at(task), task.ready_at, task.id))
            assert [(task.id, task.ready_at) for task in released] == [(t.id, held.ready_at(t)) for t in gone]
            for task in gone:
                del model[task.id]
        assert {task.id for task in held} == model.keys()
        assert len(held) == len(model)
        assert held.oldest_id() == min(model, default=None)
