"""The wait for retry delays (behaviour-core C-6.23) against a dictionary."""

from __future__ import annotations

import math
import uuid

from hypothesis import given
from hypothesis import strategies as st

from hatchet.core.definitions import TaskDefinition, WorkflowDefinition, stored_version
from hatchet.core.ready_task import ReadyTask
from hatchet.engine.backoff import Backoff

DEFINITION = WorkflowDefinition(name="flow", tasks=(TaskDefinition(readable_id="flow", action="flow:run"),))
VERSION = stored_version(DEFINITION, {"flow": "step"}, version_id="v", tenant_id="t", workflow_id="w", order=1)


def task(number: int, ready_at: float) -> ReadyTask:
    return ReadyTask(str(uuid.UUID(int=number)), VERSION, 1, ready_at, attempt=1)


def test_c_6_23_delays_end_in_their_order() -> None:
    waits = Backoff()
    for number, at in enumerate((5.0, 1.0, 3.0)):
        waits.push(task(number, at))
    assert waits.next_at() == 1.0
    assert [found.ready_at for found in waits.due(3.0)] == [1.0, 3.0]
    assert (len(waits), waits.next_at()) == (1, 5.0)
    assert waits.due(4.9) == []


def test_d_17_14_an_evicted_attempt_waits_without_an_end() -> None:
    waits = Backoff()
    evicted = task(1, math.inf)
    waits.push(evicted)
    assert (waits.next_at(), waits.due(1e12)) == (None, [])
    waits.push(task(2, 5.0))
    assert waits.next_at() == 5.0
    assert [found.ready_at for found in waits.due(math.inf)] == [5.0]
    assert waits.discard(evicted.id) is evicted
    assert len(waits) == 0


def test_c_6_40_a_discarded_wait_never_ends() -> None:
    waits = Backoff()
    first, second = task(1, 1.0), task(2, 2.0)
    waits.push(first)
    waits.push(second)
    assert waits.discard(first.id) is first
    assert waits.discard(first.id) is None
    assert waits.next_at() == 2.0
    assert waits.due(9.0) == [second]
    assert waits.next_at() is None


@given(
    st.lists(st.tuples(st.sampled_from(["push", "discard", "due"]), st.integers(0, 5), st.integers(0, 20)), max_size=60)
)
def test_c_6_23_nothing_is_lost_and_nothing_ends_twice(steps: list[tuple[str, int, int]]) -> None:
    waits, model = Backoff(), dict[str, ReadyTask]()
    for step, number, at in steps:
        wait = task(number, float(at))
        if step == "push":
            waits.push(wait)
            model[wait.id] = wait
        elif step == "discard":
            assert waits.discard(wait.id) is model.pop(wait.id, None)
        else:
            ended = waits.due(float(at))
            assert [found.ready_at for found in ended] == sorted(found.ready_at for found in ended)
            assert {found.id for found in ended} == {key for key, held in model.items() if held.ready_at <= at}
            for found in ended:
                assert model.pop(found.id) is found
        assert len(waits) == len(model)
        assert set(waits) == set(model.values())
        assert waits.next_at() == min((held.ready_at for held in model.values()), default=None)
        assert all((key in waits) and waits.get(key) is held for key, held in model.items())
