"""Which ready task goes where (behaviour-core C-2.24, C-11.5 to C-11.28), and a state machine against a model."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from queue_model import (
    LABELS,
    START,
    WISHES,
    Points,
    a_pool,
    a_task,
    a_version,
    a_wish,
    a_worker,
    number_of,
    taken,
)

from hatchet.core.deadlines import GONE
from hatchet.core.definitions import StoredVersion
from hatchet.core.labels import DesiredLabels
from hatchet.core.placement import CHUNK, WorkerPool, WorkerSlots, place
from hatchet.core.ready_queue import ReadyQueues
from hatchet.core.ready_task import ReadyTask

A = a_version("a:run")
B = a_version("b:run")


def a_queue(*tasks: ReadyTask) -> ReadyQueues:
    queues = ReadyQueues()
    for task in tasks:
        queues.push(task)
    return queues


def placed(queues: ReadyQueues, pool: WorkerPool, limit: int = 1000) -> list[tuple[int, str]]:
    return [(number_of(task), worker.id) for task, worker in place(queues, pool, limit)]


def test_c_2_24_only_an_assignable_worker_that_registered_the_action_gets_the_task() -> None:
    pool = a_pool(a_worker("away", assignable=False), a_worker("other", "b:run"), a_worker("right"))
    assert placed(a_queue(a_task(1, A)), pool) == [(1, "right")]


def test_c_11_6_without_a_worker_for_the_action_the_task_stays() -> None:
    queues = a_queue(a_task(1, A))
    assert placed(queues, a_pool(a_worker("other", "b:run"))) == []
    assert len(queues) == 1


def test_c_11_8_equal_workers_take_turns_across_calls() -> None:
    pool = a_pool(*(a_worker(name) for name in "xyz"))
    queues = a_queue(*(a_task(number, A) for number in range(7)))
    turns = [placed(queues, pool, limit=1)[0][1] for _ in range(7)]
    assert turns == ["x", "y", "z", "x", "y", "z", "x"]


def test_c_11_8_a_full_worker_loses_its_turn_to_the_next() -> None:
    pool = a_pool(a_worker("x", slots={"default": 1}), a_worker("y", slots={"default": 3}))
    queues = a_queue(*(a_task(number, A) for number in range(6)))
    assert Counter(worker for _, worker in placed(queues, pool)) == {"x": 1, "y": 3}
    assert len(queues) == 2


def test_c_11_26_all_units_are_taken_together_or_none() -> None:
    both = a_version("a:run", slots={"default": 2, "gpu": 1})
    worker = a_worker("x", slots={"default": 4, "gpu": 0})
    queues = a_queue(a_task(1, both))
    assert placed(queues, a_pool(worker)) == []
    assert worker.free == {"default": 4, "gpu": 0}
    rich = a_worker("y", slots={"default": 2, "gpu": 1})
    assert placed(queues, a_pool(worker, rich)) == [(1, "y")]
    assert rich.free == {"default": 0, "gpu": 0}


def test_c_11_27_a_slot_type_that_the_worker_does_not_have_does_not_fit() -> None:
    durable = a_version("a:run", slots={"durable": 1})
    assert placed(a_queue(a_task(1, durable)), a_pool(a_worker("x"))) == []


def test_c_11_28_the_second_of_two_large_tasks_waits_for_the_first() -> None:
    large = a_version("a:run", slots={"default": 3})
    worker = a_worker("x", slots={"default": 5})
    queues, pool = a_queue(a_task(1, large), a_task(2, large)), a_pool(worker)
    assert placed(queues, pool) == [(1, "x")]
    assert placed(queues, pool) == []
    worker.give_back({"default": 3})
    assert placed(queues, pool) == [(2, "x")]


def test_c_11_5_a_task_that_fits_nowhere_does_not_block_those_behind_it() -> None:
    large = a_version("a:run", slots={"default": 50}, name="large")
    tasks = [a_task(number, large, priority=3) for number in range(3)] + [a_task(number, A) for number in range(3, 6)]
    queues = a_queue(*tasks)
    assert [number for number, _ in placed(queues, a_pool(a_worker("x")))] == [3, 4, 5]
    assert [number_of(task) for task in iter(lambda: taken(queues), None)] == [0, 1, 2]


def test_c_11_5_a_misfit_keeps_its_place_and_goes_first_when_it_fits() -> None:
    large = a_version("a:run", slots={"default": 2}, name="large")
    worker = a_worker("x", slots={"default": 1})
    queues, pool = a_queue(a_task(0, large), a_task(1, A), a_task(2, A)), a_pool(worker)
    assert [number for number, _ in placed(queues, pool)] == [1]
    worker.give_back({"default": 2})
    assert [number for number, _ in placed(queues, pool)] == [0]


def test_c_11_5_many_misfits_of_one_kind_do_not_block_those_behind_them() -> None:
    large = a_version("a:run", slots={"default": 50}, name="large")
    count = 3 * CHUNK
    queues = a_queue(*(a_task(number, large) for number in range(count)), a_task(count, A))
    assert [number for number, _ in placed(queues, a_pool(a_worker("x")))] == [count]
    assert len(queues) == count


def test_c_11_2_actions_take_turns_when_there_is_more_work_than_room() -> None:
    queues = a_queue(*(a_task(number, A) for number in range(500)), *(a_task(number, B) for number in range(500, 1000)))
    pool = a_pool(a_worker("x", "a:run", "b:run", slots={"default": 2000}))
    numbers = [number for number, _ in placed(queues, pool, limit=256)]
    assert len(numbers) == 256
    assert sum(number < 500 for number in numbers) == 128


def test_c_11_2_actions_share_a_worker_that_frees_one_slot_at_a_time() -> None:
    queues = a_queue(*(a_task(number, A) for number in range(50)), *(a_task(number, B) for number in range(50, 100)))
    worker = a_worker("x", "a:run", "b:run", slots={"default": 1})
    pool = a_pool(worker)
    served = Counter[str]()
    for _ in range(40):
        [(number, _)] = placed(queues, pool)
        served["a" if number < 50 else "b"] += 1
        worker.give_back({"default": 1})
    assert min(served["a"], served["b"]) >= 10


def test_an_action_whose_tasks_are_placed_leaves_nothing_behind() -> None:
    queues = a_queue(a_task(1, A), a_task(2, B))
    placed(queues, a_pool(a_worker("x", "a:run", "b:run")))
    assert queues._queues == {}


def test_the_limit_is_kept() -> None:
    queues = a_queue(*(a_task(number, A) for number in range(10)))
    assert len(placed(queues, a_pool(a_worker("x")), limit=4)) == 4
    assert len(queues) == 6


def test_a_removed_worker_gets_nothing_and_the_others_go_on() -> None:
    pool = a_pool(*(a_worker(name) for name in "xyz"))
    queues = a_queue(*(a_task(number, A) for number in range(6)))
    placed(queues, pool, limit=2)
    pool.remove("z")
    pool.remove("unknown")
    assert {worker for _, worker in placed(queues, pool)} == {"x", "y"}
    assert sorted(pool.ids()) == ["x", "y"]
    pool.remove("x")
    pool.remove("y")
    assert not pool.serves("a:run")


def in_zone(zone: str, *, required: bool = True) -> DesiredLabels:
    return (a_wish("zone", zone, required=required),)


def test_c_11_18_the_worker_with_the_highest_score_gets_the_task() -> None:
    wanted = (a_wish("gpu", 1, weight=30), a_wish("zone", "a", weight=20), a_wish("zone2", "b", weight=15))
    pool = a_pool(
        a_worker("gpu", labels={"gpu": 1}),
        a_worker("zones", labels={"zone": "a", "zone2": "b"}),
        a_worker("zone", labels={"zone": "a"}),
    )
    queues = a_queue(*(a_task(number, A, labels=wanted) for number in range(3)))
    assert placed(queues, pool) == [(0, "zones"), (1, "zones"), (2, "zones")]


def test_c_11_18_a_worker_that_misses_a_required_label_gets_nothing() -> None:
    pool = a_pool(a_worker("none"), a_worker("b", labels={"zone": "b"}))
    queues = a_queue(a_task(1, A, labels=in_zone("a")))
    assert placed(queues, pool) == []
    assert len(queues) == 1
    pool.add(a_worker("a", labels={"zone": "a"}))
    assert placed(queues, pool) == [(1, "a")]


def test_c_11_19_a_wish_that_nobody_meets_keeps_nobody_away() -> None:
    pool = a_pool(a_worker("none"), a_worker("b", labels={"zone": "b"}))
    queues = a_queue(*(a_task(number, A, labels=in_zone("a", required=False)) for number in range(2)))
    assert placed(queues, pool) == [(0, "none"), (1, "b")]


def test_c_11_19_when_the_best_worker_is_full_or_away_the_next_best_gets_the_task() -> None:
    best = a_worker("best", slots={"default": 1}, labels={"zone": "a"})
    pool = a_pool(a_worker("other"), best)
    queues = a_queue(*(a_task(number, A, labels=in_zone("a", required=False)) for number in range(3)))
    assert placed(queues, pool, limit=2) == [(0, "best"), (1, "other")]
    best.give_back({"default": 1})
    best.assignable = False
    assert placed(queues, pool) == [(2, "other")]


def test_c_11_18_a_negative_score_excludes_nobody_and_loses_against_none() -> None:
    shunned = (a_wish("spot", 1, weight=-10),)
    spot = a_worker("spot", labels={"spot": 1})
    queues = a_queue(*(a_task(number, A, labels=shunned) for number in range(2)))
    assert placed(queues, a_pool(spot)) == [(0, "spot"), (1, "spot")]
    queues.push(a_task(2, A, labels=shunned))
    assert placed(queues, a_pool(spot, a_worker("other"))) == [(2, "other")]


def test_c_11_8_workers_with_the_same_score_take_turns() -> None:
    pool = a_pool(a_worker("x", labels={"zone": "a"}), a_worker("y"), a_worker("z", labels={"zone": "a"}))
    queues = a_queue(*(a_task(number, A, labels=in_zone("a")) for number in range(4)))
    turns = [placed(queues, pool, limit=1)[0][1] for _ in range(4)]
    assert turns == ["x", "z", "x", "z"]


def test_c_11_8_turns_are_kept_while_tasks_with_other_wishes_and_with_none_come_between() -> None:
    workers = [a_worker(f"{zone}{number}", labels={"zone": zone}) for zone in "ab" for number in range(2)]
    kinds = (in_zone("a"), in_zone("b"), ())
    queues = a_queue(*(a_task(number, A, labels=kinds[number % 3]) for number in range(24)))
    spread = Counter((number % 3, worker) for number, worker in placed(queues, a_pool(*workers)))
    assert spread == {
        **{(0, f"a{number}"): 4 for number in range(2)},
        **{(1, f"b{number}"): 4 for number in range(2)},
        **{(2, worker.id): 2 for worker in workers},
    }


def test_c_11_5_wishes_that_no_worker_meets_do_not_block_other_tasks_of_the_step() -> None:
    count = 3 * CHUNK
    nowhere = [a_task(number, A, priority=3, labels=in_zone("nowhere")) for number in range(count)]
    others = [a_task(count, A, labels=in_zone("a")), a_task(count + 1, A)]
    queues = a_queue(*nowhere, *others)
    pool = a_pool(a_worker("a", labels={"zone": "a"}))
    assert placed(queues, pool) == [(count, "a"), (count + 1, "a")]
    assert len(queues) == count


def test_c_11_5_a_full_worker_does_not_block_tasks_for_other_workers() -> None:
    pool = a_pool(*(a_worker(zone, slots={"default": 1}, labels={"zone": zone}) for zone in "ab"))
    queues = a_queue(*(a_task(number, A, labels=in_zone("a")) for number in range(3)))
    assert placed(queues, pool) == [(0, "a")]
    queues.push(a_task(3, A, labels=in_zone("b")))
    assert placed(queues, pool) == [(3, "b")]
    assert [number_of(task) for task in iter(lambda: taken(queues), None)] == [1, 2]


class CountingSlots(WorkerSlots):
    """A worker that counts how often it is asked for room."""

    asked = 0

    def fits(self, units: dict[str, int]) -> bool:
        self.asked += 1
        return super().fits(units)


def test_c_11_5_when_the_last_unit_is_taken_the_other_wishes_of_the_step_are_not_tried() -> None:
    worker = CountingSlots("x", frozenset(["a:run"]), {"default": 2})
    worker.assignable = True
    queues = a_queue(*(a_task(number, A, labels=in_zone(f"zone {number}", required=False)) for number in range(100)))
    assert placed(queues, a_pool(worker)) == [(0, "x"), (1, "x")]
    assert worker.asked < 10


def test_c_11_1_priority_and_age_decide_between_tasks_with_different_wishes() -> None:
    worker = a_worker("a", slots={"default": 1}, labels={"zone": "a"})
    pool = a_pool(worker)
    soft, hard = in_zone("a", required=False), in_zone("a")
    kinds = [(hard, 1), ((), 2), (soft, 3), (hard, 2), ((), 1), (soft, 1)]
    queues = a_queue(*(a_task(number, A, priority, labels=labels) for number, (labels, priority) in enumerate(kinds)))
    order = []
    for _ in kinds:
        order += [number for number, _ in placed(queues, pool)]
        worker.give_back({"default": 1})
    assert order == [2, 1, 3, 0, 4, 5]


def test_c_11_22_new_labels_of_a_worker_count_from_the_next_pass_on() -> None:
    worker = a_worker("x", labels={"zone": "b"})
    pool, queues = a_pool(worker), a_queue(a_task(1, A, labels=in_zone("a")))
    assert placed(queues, pool) == []
    worker.labels = {"zone": "a"}
    assert placed(queues, pool) == [(1, "x")]


def test_c_11_23_tasks_that_require_a_label_all_run_on_the_worker_that_has_it() -> None:
    names = ("foo", "bar", "baz", "qux")
    pool = a_pool(*(a_worker(name, slots={"default": 100}, labels={"affinity": name}) for name in names))
    wanted = [(a_wish("affinity", name, required=True),) for name in names]
    queues = a_queue(*(a_task(number, A, labels=wanted[number % 4]) for number in range(50)))
    where = placed(queues, pool)
    assert len(where) == 50
    assert all(worker == names[number % 4] for number, worker in where)


ACTIONS = ("a:run", "b:run")
SIZES = (1, 2, 4)
VERSIONS = [
    a_version(action, slots={"default": size}, schedule_timeout=timeout)
    for action, size, timeout in itertools.product(ACTIONS, SIZES, ("10s", "60s"))
]


class QueueMachine(RuleBasedStateMachine):
    """Tasks come, are placed, finish, are discarded or put back; workers come, go and pause.

    The model: a list of waiting tasks in their order, and what runs on each worker.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queues = ReadyQueues()
        self.pool = WorkerPool()
        self.now = START
        self.numbers = itertools.count(1)
        self.waiting: list[ReadyTask] = []
        self.workers: dict[str, WorkerSlots] = {}
        self.running: list[tuple[ReadyTask, WorkerSlots]] = []
        self.places = Counter[str]()
        self.points: dict[str, Points] = {}
        """What a worker's labels score for a task, by its id."""

    def order(self, action: str) -> list[ReadyTask]:
        mine = [task for task in self.waiting if task.step.definition.action == action]
        return sorted(mine, key=lambda task: (-task.level, task.ready_at, task.id))

    def free(self, worker: WorkerSlots) -> int:
        used = sum(task.step.slots["default"] for task, where in self.running if where is worker)
        return worker.capacity["default"] - used

    def candidates(self, task: ReadyTask) -> dict[str, int]:
        """The workers that may get the task now, with their scores."""
        found = {}
        for worker in self.workers.values():
            points = self.points[task.id](worker.labels)
            able = worker.assignable and task.step.definition.action in worker.actions
            if able and self.free(worker) >= task.step.slots["default"] and points is not None:
                found[worker.id] = points
        return found

    @rule(
        version=st.sampled_from(VERSIONS),
        priority=st.integers(1, 3),
        attempt=st.integers(0, 1),
        count=st.integers(1, 5),
        wishes=st.sampled_from(WISHES),
    )
    def push(
        self,
        version: StoredVersion,
        priority: int,
        attempt: int,
        count: int,
        wishes: tuple[DesiredLabels, Points],
    ) -> None:
        labels, points = wishes
        for _ in range(count):
            number = next(self.numbers)
            task = a_task(number, version, priority, ready_at=self.now, attempt=attempt, labels=labels)
            self.points[task.id] = points
            self.queues.push(task)
            self.waiting.append(task)

    @rule(
        actions=st.sets(st.sampled_from(ACTIONS), min_size=1), units=st.integers(0, 5), labels=st.sampled_from(LABELS)
    )
    def add_worker(self, actions: set[str], units: int, labels: dict[str, str | int]) -> None:
        worker = a_worker(f"w{len(self.workers)}", *actions, slots={"default": units}, labels=labels)
        self.workers[worker.id] = worker
        self.pool.add(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), assignable=st.booleans())
    def pause_or_resume(self, data: st.DataObject, assignable: bool) -> None:
        self.workers[data.draw(st.sampled_from(sorted(self.workers)))].assignable = assignable

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), labels=st.sampled_from(LABELS))
    def relabel(self, data: st.DataObject, labels: dict[str, str | int]) -> None:
        self.workers[data.draw(st.sampled_from(sorted(self.workers)))].labels = labels

    @rule(limit=st.integers(0, 12))
    def place(self, limit: int) -> None:
        pairs = place(self.queues, self.pool, limit)
        assert len(pairs) <= limit
        for task, worker in pairs:
            self._is_next(task)
            scores = self.candidates(task)
            assert scores.get(worker.id) == max(scores.values())
            self.waiting = [waiting for waiting in self.waiting if waiting is not task]
            self.running.append((task, worker))
            self.places[task.id] += 1
        if len(pairs) < limit:
            assert not any(self.candidates(task) for task in self.waiting)

    def _is_next(self, task: ReadyTask) -> None:
        """Of the tasks of its action that fit somewhere it is the first."""
        first = next(other for other in self.order(task.step.definition.action) if self.candidates(other))
        assert task is first

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        task, worker = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        task.place = GONE
        worker.give_back(task.step.slots)

    @rule(limit=st.integers(1, 12), seconds=st.sampled_from([0.0, 20.0]))
    def the_assignment_fails(self, limit: int, seconds: float) -> None:
        pairs = place(self.queues, self.pool, limit)
        # The watch looks while the tasks are out of their queues.
        self.now += seconds
        out = {task.id for task, _ in pairs}
        assert not any(task.id in out for task in self.queues.deadlines.expired(self.now))
        for task, worker in reversed(pairs):
            worker.give_back(task.step.slots)
            self.queues.put_back(task)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        task = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        assert self.queues.discard(task.id) is task

    @rule(seconds=st.sampled_from([1.0, 5.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        due = {task.id for task in self.waiting if task.ready_at + task.step.schedule_timeout_seconds <= self.now}
        expired = [task.id for task in self.queues.deadlines.expired(self.now)]
        assert len(expired) == len(set(expired))
        assert set(expired) == due
        for task_id in expired:
            self.queues.discard(task_id)
        self.waiting = [task for task in self.waiting if task.id not in due]

    @rule(action=st.sampled_from(ACTIONS))
    def drain_one(self, action: str) -> None:
        task, expected = taken(self.queues, action), self.order(action)
        assert task is (expected[0] if expected else None)
        if task is not None:
            self.queues.put_back(task)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert len(self.queues) == len(self.waiting)
        assert all(self.queues.get(task.id) is task for task in self.waiting)
        assert all(count <= 1 for count in self.places.values())
        sizes = Counter(task.step.definition.action for task in self.waiting)
        assert sorted(self.queues.actions()) == sorted(sizes)

    @invariant()
    def capacity_is_what_is_free_and_what_runs(self) -> None:
        for worker in self.workers.values():
            assert worker.free["default"] == self.free(worker)
            assert worker.free["default"] >= 0


TestQueues = QueueMachine.TestCase
TestQueues.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
