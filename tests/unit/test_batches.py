"""When batches of ready attempts may go, and what is in them (behaviour-core C-16.5 to C-16.16)."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hatchet.core.batches import INTERVAL_ELAPSED, MEMORY_REACHED, SIZE_REACHED, Batches, Due
from hatchet.core.deadlines import GONE, TAKEN, WAITING
from hatchet.core.definitions import StoredVersion, TaskDefinition, WorkflowDefinition, stored_version
from hatchet.core.limits import Limits
from hatchet.core.payloads import action_payload, batch_payload
from hatchet.core.ready_task import ReadyTask
from hatchet.core.rules import BatchRule

START = 1_750_000_000.0
MAX_BYTES = 4_000_000


def a_version(name: str = "step", max_size: int = 3, interval_ms: int = 1000, max_runs: int = 100) -> StoredVersion:
    batch = BatchRule(max_size=max_size, interval_ms=interval_ms, max_runs=max_runs)
    task = TaskDefinition(readable_id="task", action="a:run", batch=batch)
    definition = WorkflowDefinition(name="flow", tasks=(task,))
    return stored_version(definition, {"task": name}, version_id=name, tenant_id="t", workflow_id="w", order=1)


def a_task(
    number: int, version: StoredVersion, key: str = "default", priority: int = 1, *, size: int = 10, attempt: int = 0
) -> ReadyTask:
    limits = Limits(batch_key=key, size=size)
    return ReadyTask(str(uuid.UUID(int=number)), version, priority, START + number, attempt, limits=limits)


def numbers(tasks: list[ReadyTask]) -> list[int]:
    return [uuid.UUID(task.id).int for task in tasks]


def flushed(batches: Batches, now: float = START) -> list[tuple[str, list[int]]]:
    """Everything that may go at ``now``, with the reasons; batches end at once."""
    found = []
    while dues := batches.due(now):
        found.extend((due.reason, numbers(batches.take(due))) for due in dues)
    return found


def filled(version: StoredVersion, *sizes: int) -> Batches:
    batches = Batches()
    for number, size in enumerate(sizes):
        batches.push(a_task(number, version, size=size), START)
    return batches


def test_c_16_7_a_full_batch_goes_at_once_and_the_rest_waits() -> None:
    batches = filled(a_version(max_size=3), *[10] * 8)
    assert flushed(batches) == [(SIZE_REACHED, [0, 1, 2]), (SIZE_REACHED, [3, 4, 5])]
    assert len(batches) == 2
    assert batches.next_at() == START + 1


def test_c_16_7_highest_level_first_then_oldest() -> None:
    version = a_version(max_size=3)
    batches = Batches()
    for number, priority in enumerate((1, 3, 2, 3)):
        batches.push(a_task(number, version, priority=priority), START)
    batches.push(a_task(9, version, attempt=1), START)
    [due] = batches.due(START)
    assert numbers(list(due.tasks)) == [9, 1, 3]


def test_c_16_8_the_interval_runs_from_the_first_of_an_empty_group() -> None:
    version = a_version(interval_ms=500)
    batches = Batches()
    batches.push(a_task(1, version), START)
    batches.push(a_task(2, version), START + 0.4)
    assert batches.next_at() == START + 0.5
    assert batches.due(START + 0.49) == []
    assert flushed(batches, START + 0.5) == [(INTERVAL_ELAPSED, [1, 2])]
    batches.push(a_task(3, version), START + 2)
    assert batches.next_at() == START + 2.5


def test_c_16_8_a_flush_that_leaves_items_renews_the_interval() -> None:
    batches = filled(a_version(max_size=2), 1, 1, 1)
    [due] = batches.due(START + 0.9)
    batches.take(due)
    assert batches.due(START + 1.8) == []
    assert flushed(batches, START + 1.9) == [(INTERVAL_ELAPSED, [2])]


def test_c_16_9_a_hundred_items_of_100_kb_make_three_batches() -> None:
    batches = filled(a_version(max_size=1000), *[100_000] * 100)
    assert flushed(batches) == [(MEMORY_REACHED, list(range(40))), (MEMORY_REACHED, list(range(40, 80)))]
    assert flushed(batches, START + 1) == [(INTERVAL_ELAPSED, list(range(80, 100)))]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((10, MAX_BYTES + 1, 10), [(MEMORY_REACHED, [0]), (MEMORY_REACHED, [1])]),
        ((MAX_BYTES + 1,), [(MEMORY_REACHED, [0])]),
        ((MAX_BYTES - 1, 1), []),
        ((MAX_BYTES, 1), [(MEMORY_REACHED, [0])]),
    ],
)
def test_c_16_9_what_comes_before_the_overflowing_item_goes(
    sizes: tuple[int, ...], expected: list[tuple[str, list[int]]]
) -> None:
    assert flushed(filled(a_version(max_size=100), *sizes)) == expected


@pytest.mark.parametrize("size", [2, 300, 3000])
def test_c_16_9_many_small_items_fit_into_a_message(size: int) -> None:
    text = json.dumps("x" * (size - 2))
    batches = filled(a_version(max_size=100_000), *[size] * 20_000)
    [due] = batches.due(START)
    assert due.reason == MEMORY_REACHED
    payload = batch_payload((task.id, task.id, action_payload(text)) for task in due.tasks)
    assert 3_800_000 < len(payload) < 4_194_304 - 1000


def test_c_16_11_groups_are_independent() -> None:
    version = a_version(max_size=2)
    batches = Batches()
    for number, key in enumerate(("t1", "t1", "t2", "t2")):
        batches.push(a_task(number, version, key), START)
    assert flushed(batches) == [(SIZE_REACHED, [0, 1]), (SIZE_REACHED, [2, 3])]


def test_groups_take_turns() -> None:
    version = a_version(max_size=1)
    batches = Batches()
    for number in range(6):
        batches.push(a_task(number, version, "big" if number < 4 else "small"), START)
    served = []
    while dues := batches.due(START, 1):
        served.append(dues[0].group[1])
        batches.take(dues[0])
    assert served == ["big", "small", "big", "small", "big", "big"]


def test_c_16_13_refused_groups_rest_until_there_may_be_room() -> None:
    batches = filled(a_version(max_size=2), 1, 1, 1)
    [due] = batches.due(START + 0.25)
    batches.refused(due, START + 0.25)
    assert batches.due(START + 0.5) == []
    assert batches.next_at() == START + 1.25
    batches.push(a_task(9, a_version(max_size=2)), START + 0.5)
    assert batches.due(START + 0.5) == [], "one more behind the others changes nothing"
    batches.roomier()
    [due] = batches.due(START + 0.5)
    assert (due.reason, numbers(list(due.tasks))) == (SIZE_REACHED, [0, 1])
    batches.refused(due, START + 0.5)
    [due] = batches.due(START + 1.5)
    assert due.reason == SIZE_REACHED


def test_c_16_13_another_first_item_may_fit_where_the_first_did_not() -> None:
    version = a_version(max_size=2)
    batches = filled(version, 1, 1, 1)
    batches.refused(batches.due(START)[0], START)
    batches.discard(str(uuid.UUID(int=1)))
    assert batches.due(START) == []
    batches.push(a_task(9, version, priority=3), START)
    assert numbers(list(batches.due(START)[0].tasks)) == [9, 0]
    batches.refused(batches.due(START)[0], START)
    batches.discard(str(uuid.UUID(int=9)))
    assert numbers(list(batches.due(START)[0].tasks)) == [0, 2]


def test_a_refused_group_keeps_its_turn() -> None:
    version = a_version(max_size=1)
    batches = Batches()
    for number, key in enumerate(("first", "second")):
        batches.push(a_task(number, version, key), START)
    first, second = batches.due(START)
    batches.refused(first, START)
    assert [due.group for due in batches.due(START)] == [second.group]
    batches.roomier()
    assert [due.group for due in batches.due(START)] == [first.group, second.group]


def test_a_look_that_is_out_of_date_takes_what_is_still_here_once() -> None:
    version = a_version(max_size=3)
    batches = filled(version, 1, 1)
    [old] = batches.due(START + 1)
    batches.discard(str(uuid.UUID(int=1)))
    # It was ready before the others, so it stands before what the look found.
    early = a_task(7, version)
    early.ready_at = START - 1
    batches.push(early, START + 1)
    taken = batches.take(old)
    assert numbers(taken) == [0]
    batches.put_back(taken, START + 1)
    assert len(batches) == 2
    assert flushed(batches, START + 9) == [(INTERVAL_ELAPSED, [7, 0])]
    assert len(batches) == 0


def test_c_16_14_no_more_batches_of_a_key_than_may_run() -> None:
    batches = filled(a_version(max_size=1, max_runs=2), *[1] * 4)
    served = 0
    while dues := batches.due(START):
        batches.take(dues[0])
        batches.started(*dues[0].group)
        served += 1
    assert served == 2
    assert batches.due(START + 100) == []
    assert batches.next_at() is None
    batches.ended("step", "default")
    assert len(batches.due(START + 100)) == 1


def test_put_back_attempts_keep_their_places_and_a_dropped_one_stays_away() -> None:
    batches = filled(a_version(max_size=2), *[1] * 5)
    first, second = (batches.take(batches.due(START)[0]) for _ in range(2))
    first[1].place = GONE
    batches.put_back(first, START)
    batches.put_back(second, START)
    assert len(batches) == 4
    assert flushed(batches, START + 9) == [(SIZE_REACHED, [0, 2]), (SIZE_REACHED, [3, 4])]


def test_a_hundred_thousand_items_are_cheap() -> None:
    version = a_version(max_size=10)
    tasks = [a_task(number, version) for number in range(100_000)]
    batches = Batches()
    began = time.process_time()
    for task in tasks:
        batches.push(task, START)
    batches.refused(batches.due(START)[0], START)
    for task in tasks[:50_000]:
        batches.discard(task.id)
        batches.roomier()
        batches.refused(batches.due(START)[0], START)
    batches.roomier()
    assert sum(len(batch) for _, batch in flushed(batches)) == 50_000
    # It takes a few seconds; anything that grows with the square of the number would take minutes.
    assert time.process_time() - began < 20


@dataclass
class ModelGroup:
    """What the rules say about one group, in the plainest way."""

    rule: BatchRule
    deadline: float
    tasks: list[ReadyTask] = field(default_factory=list)
    has_waited: bool = False
    refused: ReadyTask | None = None

    def ordered(self) -> list[ReadyTask]:
        return sorted(self.tasks, key=lambda task: (-task.level, task.ready_at, task.id))

    def next(self) -> tuple[str, list[ReadyTask]]:
        ordered = self.ordered()
        batch = ordered[:1]
        while len(batch) < min(len(ordered), self.rule.max_size):
            if sum(task.limits.size for task in batch) + ordered[len(batch)].limits.size > MAX_BYTES:
                return MEMORY_REACHED, batch
            batch.append(ordered[len(batch)])
        if sum(task.limits.size for task in batch) > MAX_BYTES:
            return MEMORY_REACHED, batch
        return (SIZE_REACHED if len(batch) == self.rule.max_size else INTERVAL_ELAPSED), batch

    def renew(self, now: float) -> None:
        self.deadline = now + self.rule.interval_ms / 1000

    def next_interval(self, now: float) -> None:
        self.renew(now)
        self.has_waited = False
        self.refused = None


class BatchMachine(RuleBasedStateMachine):
    """Buffers driven at random, as a scheduler would, and compared with lists."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = Batches()
        self.versions = (a_version("one", 3, 1000, 2), a_version("two", 4, 2000, 1))
        self.groups: dict[tuple[str, str], ModelGroup] = {}
        self.running: dict[tuple[str, str], int] = {}
        self.away: list[list[ReadyTask]] = []
        self.now = START
        self.number = 0

    def group(self, task: ReadyTask) -> ModelGroup:
        group_id = (task.step.id, task.limits.batch_key or "")
        if group_id not in self.groups:
            batch = task.step.definition.batch
            assert batch is not None
            self.groups[group_id] = ModelGroup(batch, self.now + batch.interval_ms / 1000)
        return self.groups[group_id]

    def forget_empty(self) -> None:
        self.groups = {group_id: group for group_id, group in self.groups.items() if group.tasks}

    @rule(
        which=st.integers(0, 1),
        key=st.sampled_from(("", "x")),
        priority=st.integers(1, 3),
        attempt=st.sampled_from((0, 0, 1)),
        size=st.sampled_from((10, 1_500_000, MAX_BYTES, MAX_BYTES + 1)),
    )
    def push(self, which: int, key: str, priority: int, attempt: int, size: int) -> None:
        self.number += 1
        task = a_task(self.number, self.versions[which], key, priority, size=size, attempt=attempt)
        # Not always in the order in which they were ready: after a take-over, or after a wait for something else.
        task.ready_at = START + self.number * 7 % 10
        group = self.group(task)
        group.tasks.append(task)
        if group.refused is not None and group.ordered().index(task) < group.ordered().index(group.refused):
            group.refused = None
        self.batches.push(task, self.now)
        self.batches.push(task, self.now)

    @rule(seconds=st.sampled_from((0.1, 0.7, 1.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.groups)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from([task for group in self.groups.values() for task in group.tasks]))
        group = self.group(task)
        if group.refused is task:
            group.refused = None
        group.tasks.remove(task)
        self.forget_empty()
        assert self.batches.discard(task.id) is task
        assert self.batches.discard(task.id) is None
        assert task.place == GONE

    def looked_at(self) -> list[Due]:
        """What is due, once it is found to be what the rules say."""
        expected = {}
        for group_id, group in self.groups.items():
            if group.deadline <= self.now and not group.has_waited:
                group.has_waited = True
                group.refused = None
            elif group.deadline <= self.now:
                group.refused = None
            full = len(group.tasks) >= group.rule.max_size or sum(t.limits.size for t in group.tasks) > MAX_BYTES
            may_run = self.running.get(group_id, 0) < group.rule.max_runs
            if not may_run:
                group.refused = None
            if (full or group.has_waited) and may_run and group.refused is None:
                expected[group_id] = group.next()
        found = self.batches.due(self.now)
        assert {due.group: (due.reason, list(due.tasks)) for due in found} == expected
        assert len({due.group for due in found}) == len(found)
        return found

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        for due in self.looked_at():
            if not data.draw(st.booleans()):
                continue
            tasks = self.batches.take(due)
            assert tasks == list(due.tasks)
            assert all(task.place == TAKEN for task in tasks)
            self.batches.started(*due.group)
            self.running[due.group] = self.running.get(due.group, 0) + 1
            group = self.groups[due.group]
            for task in tasks:
                group.tasks.remove(task)
            group.next_interval(self.now)
            self.away.append(tasks)
            self.forget_empty()

    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        for due in self.looked_at():
            if data.draw(st.booleans()):
                self.batches.refused(due, self.now)
                self.groups[due.group].refused = due.tasks[0]
                self.groups[due.group].renew(self.now)

    @rule()
    def roomier(self) -> None:
        for group in self.groups.values():
            group.refused = None
        self.batches.roomier()

    @precondition(lambda self: self.away)
    @rule(data=st.data(), fails=st.booleans())
    def batch_ends(self, data: st.DataObject, fails: bool) -> None:
        tasks = self.away.pop(data.draw(st.integers(0, len(self.away) - 1)))
        group_id = (tasks[0].step.id, tasks[0].limits.batch_key or "")
        self.running[group_id] -= 1
        self.batches.ended(*group_id)
        if fails:
            group = self.group(tasks[0])
            group.tasks.extend(tasks)
            group.next_interval(self.now)
            self.batches.put_back(tasks, self.now)

    @invariant()
    def nothing_is_lost_or_twice(self) -> None:
        waiting = {task.id: task for group in self.groups.values() for task in group.tasks}
        assert len(self.batches) == len(waiting)
        assert {task.id: task for task in self.batches} == waiting
        assert all(self.batches.get(task_id) is task for task_id, task in waiting.items())
        assert all(task.place == WAITING for task in waiting.values())
        assert not any(task.id in self.batches for tasks in self.away for task in tasks)

    @invariant()
    def nobody_sleeps_past_a_deadline(self) -> None:
        open_deadlines = [
            group.deadline
            for group_id, group in self.groups.items()
            if self.running.get(group_id, 0) < group.rule.max_runs and (group.refused or not group.has_waited)
        ]
        if open_deadlines:
            at = self.batches.next_at()
            assert at is not None
            assert at <= min(open_deadlines)


TestBatchMachine = BatchMachine.TestCase
TestBatchMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
