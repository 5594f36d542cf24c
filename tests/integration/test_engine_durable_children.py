"""Children of durable tasks through the engine (behaviour-durable D-13, D-6.3, D-6.4, D-14.4, D-29.4)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from durable_worker import DurableWorker, retried, serving, sleeps, started
from engine_fixture import Instance
from engine_worker import TENANT, Worker, until

from hatchet.core.definitions import Idempotency, TaskDefinition, WorkflowDefinition
from hatchet.core.durable_messages import EntryCompleted, EntryRef, Refused, SpawnAck, SpawnedRun, SpawnRequest
from hatchet.core.labels import Comparator, DesiredLabel
from hatchet.core.messages import Action, TriggerItem, WorkerRegistration
from hatchet.core.rules import Sticky
from hatchet.core.statuses import RunStatus


def child(action: Action, name: str = "child", **fields: Any) -> TriggerItem:
    """What a client asks for from inside a durable task."""
    return TriggerItem(**{"workflow_name": name, "parent_task_id": action.task_id, **fields})


def numbered(action: Action, count: int, name: str = "child", first: int = 0) -> tuple[TriggerItem, ...]:
    """Children by index, each with its index as input."""
    return tuple(
        child(action, name, child_index=index, input=f'{{"n":{index}}}') for index in range(first, first + count)
    )


def request(action: Action, *items: TriggerItem) -> SpawnRequest:
    assert action.invocation is not None
    return SpawnRequest(action.task_id, action.invocation, items)


async def spawn(worker: DurableWorker, action: Action, *items: TriggerItem) -> tuple[SpawnedRun, ...]:
    """Spawn these; their entries."""
    return (await worker.ask(request(action, *items), SpawnAck)).runs


async def refused(worker: DurableWorker, action: Action, *items: TriggerItem) -> Refused:
    return await worker.refused(request(action, *items))


def ref(action: Action, run: SpawnedRun) -> EntryRef:
    assert action.invocation is not None
    return EntryRef(action.task_id, action.invocation, run.branch, run.node)


async def awaited(worker: DurableWorker, action: Action, run: SpawnedRun) -> EntryCompleted:
    """Wait for a child as the Python client does: it says so."""
    worker.status(ref(action, run))
    return await worker.completed(ref(action, run))


async def parent(one: Instance, **options: Any) -> tuple[DurableWorker, Action]:
    """A running durable task, and its worker; the workflow ``child`` is there and has no worker."""
    await one.define("child")
    worker = await serving(one, **options)
    return worker, await started(worker)


async def runs_of(one: Instance, action: Action) -> int:
    """How many child runs the task has."""
    [row] = await one.rows("SELECT count(*) AS n FROM task WHERE parent_task_id = $1::text::uuid", action.task_id)
    return int(row["n"])


async def entries_of(one: Instance, action: Action) -> int:
    """How many entries the task's log has."""
    return len(await one.engine.durable.entries(TENANT, action.task_id, 0, 1000))


async def test_d_13_2_a_child_knows_its_parent(one: Instance) -> None:
    worker, action = await parent(one)
    helper = await one.worker("child")
    [run] = await spawn(worker, action, child(action, child_index=3, child_key="k"))
    seen = await helper.started(run.run_id)
    assert (seen.parent_run_id, seen.parent_task_id) == (action.task_id, action.task_id)
    assert (seen.child_index, seen.child_key) == (3, "k")
    [line] = await one.engine.durable.entries(TENANT, action.task_id, 0, 10)
    assert (line.run_id, line.task_id, line.wait_data) == (
        run.run_id,
        action.task_id,
        [{"kind": "CHILD_WORKFLOW", "workflowName": "child"}],
    )


async def test_d_6_3_children_get_nodes_in_the_order_of_the_request(one: Instance) -> None:
    """D-4.7, D-27.5: so do their ids and results."""
    worker, action = await parent(one)
    helper = await one.worker("child")

    async def echo(start: Action) -> None:
        await helper.complete(start, orjson.dumps({"echo": orjson.loads(start.payload)["input"]}).decode())

    helper.answers(echo)
    await worker.memoized(action, "first", 1)
    runs = await spawn(worker, action, *numbered(action, 10))
    assert [run.node for run in runs] == list(range(2, 12))
    worker.status(*(ref(action, run) for run in runs))
    for index, run in enumerate(runs):
        assert await worker.result(ref(action, run)) == {"echo": {"n": index}}
    assert [one.order for one in worker.completions if one.order is not None] == list(range(1, 11))


async def test_d_13_1_what_is_refused_leaves_neither_entry_nor_run(one: Instance) -> None:
    """D-13.17: an unknown workflow among the children of one request."""
    worker, action = await parent(one)
    refusal = await refused(worker, action, child(action, child_index=0), child(action, "nowhere", child_index=1))
    assert not refusal.is_non_determinism
    assert "nowhere" in refusal.message
    assert (refusal.ref.branch, refusal.ref.node) == (0, 0)
    assert (await runs_of(one, action), await entries_of(one, action)) == (0, 0)
    [run] = await spawn(worker, action, child(action, child_index=0))
    assert run.node == 1
    assert await runs_of(one, action) == 1


async def test_d_13_17_an_idempotency_collision_is_refused(one: Instance) -> None:
    task = TaskDefinition(readable_id="once", action="once:run")
    definition = WorkflowDefinition(
        name="once", tasks=(task,), idempotency=Idempotency(expression="input.id", ttl_ms=3_600_000)
    )
    await one.engine.registration.put(TENANT, definition)
    worker, action = await parent(one)
    holder = await one.run("once", input='{"id":"a"}')
    refusal = await refused(
        worker, action, child(action, child_index=0), child(action, "once", child_index=1, input='{"id":"a"}')
    )
    assert not refusal.is_non_determinism
    assert "idempotency" in refusal.message
    assert holder in refusal.message
    assert (await runs_of(one, action), await entries_of(one, action)) == (0, 0)
    # Another key is another child, at the same node.
    [run] = await spawn(worker, action, child(action, "once", child_index=1, input='{"id":"b"}'))
    assert run.node == 1
    # The child is its own key's holder: the next invocation finds it in the log.
    await worker.evict(action)
    await one.engine.evicting.restore(TENANT, [action.task_id], "a test")
    again = await worker.invocation(action.task_id, 2)
    assert await spawn(worker, again, child(again, "once", child_index=1, input='{"id":"b"}')) == (run,)


async def test_d_4_9_a_priority_that_does_not_exist_is_refused(one: Instance) -> None:
    worker, action = await parent(one)
    assert "priority" in (await refused(worker, action, child(action, child_index=0, priority=4))).message
    assert "priority" in (await refused(worker, action, child(action, child_index=0, priority=0))).message
    assert (await runs_of(one, action), await entries_of(one, action)) == (0, 0)


async def test_d_13_22_priority_is_honoured(one: Instance) -> None:
    worker, action = await parent(one)
    low, high = await spawn(
        worker, action, child(action, child_index=0, priority=1), child(action, child_index=1, priority=3)
    )
    helper = await one.worker("child", slots=1)
    await until(lambda: helper.starts, "a child starts")
    assert helper.starts[0].task_id == high.run_id
    await helper.complete(helper.starts[0])
    await helper.complete(await helper.started(low.run_id))


async def test_d_13_22_the_desired_worker_of_a_sticky_child_is_honoured(one: Instance) -> None:
    task = TaskDefinition(readable_id="loyal", action="loyal:run")
    await one.engine.registration.put(TENANT, WorkflowDefinition(name="loyal", tasks=(task,), sticky=Sticky.HARD))
    worker, action = await parent(one)
    helper, other = await one.worker("loyal"), await one.worker("loyal", is_open=False)
    [run] = await spawn(worker, action, child(action, "loyal", child_index=2, desired_worker=other.id))
    await one.watched()
    assert helper.starts == []
    await other.open()
    await other.started(run.run_id)


async def test_d_13_22_desired_labels_are_honoured(one: Instance) -> None:
    worker, action = await parent(one)
    plain = await one.worker("child")
    wish = DesiredLabel(key="gpu", value="yes", comparator=Comparator.EQUAL, required=True)
    [run] = await spawn(worker, action, child(action, child_index=0, desired_labels=(wish,)))
    registration = WorkerRegistration(
        name="with a gpu", actions=("child:run",), slots={"default": 1}, labels={"gpu": "yes"}
    )
    helper = Worker(one, await one.engine.workers.register(TENANT, registration))
    await helper.open()
    await helper.started(run.run_id)
    assert plain.starts == []


async def test_d_13_4_a_child_by_index_is_found_by_every_invocation(one: Instance) -> None:
    """D-13.3, D-20.8: after a failure, a restore and a replay."""
    worker, action = await parent(one, retries=1)
    runs = await spawn(worker, action, *numbered(action, 3))
    second = await retried(worker, action)
    assert await spawn(worker, second, *numbered(second, 3)) == runs
    await worker.evict(second)
    await one.engine.evicting.restore(TENANT, [action.task_id], "a test")
    third = await worker.invocation(action.task_id, 3)
    assert await spawn(worker, third, *numbered(third, 3)) == runs
    await worker.worker.complete(third)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    assert await one.replay(action.task_id)
    fourth = await worker.invocation(action.task_id, 4)
    # One after the other as well as in one request.
    for number, run in enumerate(runs):
        assert await spawn(worker, fourth, *numbered(fourth, 1, first=number)) == (run,)
    # D-6.4: the walk has come past them.
    assert (await worker.wait(fourth, sleeps("1h"))).node == 4
    assert await runs_of(one, action) == 3


async def test_d_14_4_the_same_index_with_another_input_is_non_determinism(one: Instance) -> None:
    """D-27.15: exactly two child runs."""
    worker, action = await parent(one, retries=1)
    await spawn(worker, action, *numbered(action, 1))
    await spawn(worker, action, *numbered(action, 1, first=1))
    again = await retried(worker, action)
    await spawn(worker, again, *numbered(again, 1))
    refusal = await refused(worker, again, child(again, child_index=1, input='{"n":7}'))
    assert refusal.is_non_determinism
    assert (refusal.ref.branch, refusal.ref.node, refusal.ref.invocation) == (1, 2, 2)
    assert refusal.message.startswith("non-determinism")
    # D-14.4: the entry that the index names, even when it is not the next one.
    refusal = await refused(worker, again, child(again, child_index=0, input='{"n":7}'))
    assert (refusal.is_non_determinism, refusal.ref.node) == (True, 1)
    assert await runs_of(one, action) == 2


async def test_d_14_4_one_bad_child_refuses_the_request(one: Instance) -> None:
    worker, action = await parent(one, retries=1)
    await spawn(worker, action, *numbered(action, 1))
    again = await retried(worker, action)
    fresh = numbered(again, 1, first=1)
    assert (await refused(worker, again, *fresh, child(again, child_index=0, input='{"n":7}'))).is_non_determinism
    assert (await runs_of(one, action), await entries_of(one, action)) == (1, 1)


async def test_d_13_6_a_key_stands_for_its_first_child_whatever_the_input(one: Instance) -> None:
    """D-27.16: and in whatever invocation."""
    worker, action = await parent(one, retries=1)
    [first] = await spawn(worker, action, child(action, child_key="k", child_index=0, input='{"n":1}'))
    assert await spawn(worker, action, child(action, child_key="k", child_index=1, input='{"n":2}')) == (first,)
    again = await retried(worker, action)
    assert await spawn(worker, again, child(again, child_key="k", child_index=0, input='{"n":3}')) == (first,)
    assert (await worker.wait(again, sleeps("1h"))).node == 2
    assert await runs_of(one, action) == 1


async def test_d_13_7_the_same_key_twice_in_one_request_is_one_run(one: Instance) -> None:
    worker, action = await parent(one, retries=1)
    keys = ("a", "b", "a")
    items = [child(action, child_key=key, child_index=index) for index, key in enumerate(keys)]
    runs = await spawn(worker, action, *items)
    assert [run.node for run in runs] == [1, 2, 1]
    assert runs[0] == runs[2]
    assert await runs_of(one, action) == 2
    helper = await one.worker("child", completes=True)
    worker.status(*(ref(action, run) for run in runs))
    for run in runs:
        assert await worker.result(ref(action, run)) == {"ok": True}
    # D-15.5: asked for again, it is sent again.
    await spawn(worker, action, child(action, child_key="a", child_index=3))
    worker.status(ref(action, runs[0]))
    await worker.completed(ref(action, runs[0]), times=2)
    assert len(helper.starts) == 2
    again = await retried(worker, action)
    items = [child(again, child_key=key, child_index=index) for index, key in enumerate(keys)]
    assert await spawn(worker, again, *items) == runs
    assert (await worker.wait(again, sleeps("1h"))).node == 3


async def test_d_13_4_children_without_a_name_are_found_by_their_place(one: Instance) -> None:
    worker, action = await parent(one, retries=1)
    runs = await spawn(worker, action, child(action), child(action))
    assert len({run.run_id for run in runs}) == 2
    again = await retried(worker, action)
    assert await spawn(worker, again, child(again), child(again)) == runs
    assert await runs_of(one, action) == 2


async def test_d_13_12_a_dag_child_gives_an_object_of_outputs(one: Instance) -> None:
    """D-13.10, D-27.8."""
    worker, action = await parent(one)
    helper = await one.dag_worker(await one.define_dag("family", a=(), b=("a",)))
    [run] = await spawn(worker, action, child(action, "family", child_index=0))
    worker.status(ref(action, run))
    await helper.complete(await helper.task("a"), '{"n":1}')
    assert worker.completions == []
    await helper.complete(await helper.task("b"), '{"n":2}')
    assert await worker.result(ref(action, run)) == {"a": {"n": 1}, "b": {"n": 2}}


async def test_d_13_16_a_dag_child_fails_with_the_text_of_a_failed_task(one: Instance) -> None:
    worker, action = await parent(one)
    helper = await one.dag_worker(await one.define_dag("family", a=(), b=("a",), c=()))
    [run] = await spawn(worker, action, child(action, "family", child_index=0))
    worker.status(ref(action, run))
    await helper.fail(await helper.task("a"), "a is broken")
    c = await helper.task("c")
    assert worker.completions == []
    await helper.complete(c)
    completed = await worker.completed(ref(action, run))
    assert (completed.is_failure, completed.error, completed.payload) == (True, "a is broken", "")


async def test_d_13_14_an_error_text_arrives_as_the_childs_worker_reported_it(one: Instance) -> None:
    """D-13.18: the parent may go on and complete."""
    worker, action = await parent(one)
    helper = await one.worker("child")
    [run] = await spawn(worker, action, *numbered(action, 1))
    text = 'ValueError: no\n  File "x.py", line 1\n\n{"exc": "ValueError", "trace": "  \u00e9"}\n '
    await helper.fail(await helper.started(run.run_id), text)
    completed = await awaited(worker, action, run)
    assert (completed.is_failure, completed.error, completed.payload, completed.order) == (True, text, "", 1)
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    await one.ended(run.run_id, RunStatus.FAILED)


async def test_d_13_11_a_child_with_retries_left_has_not_ended(one: Instance) -> None:
    await one.define("stubborn", retries=1)
    worker, action = await parent(one)
    helper = await one.worker("stubborn")
    [run] = await spawn(worker, action, child(action, "stubborn", child_index=0))
    worker.status(ref(action, run))
    await helper.fail(await helper.started(run.run_id))
    last = await helper.started(run.run_id, 1)
    assert worker.completions == []
    await helper.complete(last, '{"n":2}')
    assert await worker.result(ref(action, run)) == {"n": 2}


async def test_d_13_15_a_cancelled_child_is_a_failure_with_that_text(one: Instance) -> None:
    worker, action = await parent(one)
    [run] = await spawn(worker, action, *numbered(action, 1))
    await one.cancel(run.run_id)
    completed = await awaited(worker, action, run)
    assert (completed.is_failure, completed.error) == (True, "task was cancelled")


@pytest.mark.parametrize("output", ['"text"', "7", "[1]", "null", "true"])
async def test_d_15_15_an_output_that_is_no_object_is_a_failure_that_says_so(one: Instance, output: str) -> None:
    worker, action = await parent(one)
    helper = await one.worker("child")
    [run] = await spawn(worker, action, *numbered(action, 1))
    await helper.complete(await helper.started(run.run_id), output)
    completed = await awaited(worker, action, run)
    assert completed.is_failure
    assert "object" in (completed.error or "")
    assert completed.payload == ""


async def test_d_7_4_a_child_without_output_completes(one: Instance) -> None:
    worker, action = await parent(one)
    helper = await one.worker("child")
    [run] = await spawn(worker, action, *numbered(action, 1))
    await helper.complete(await helper.started(run.run_id), "")
    assert await awaited(worker, action, run) == EntryCompleted(ref(action, run), "", order=1)


async def test_d_13_10_a_durable_child_may_be_evicted_meanwhile(one: Instance) -> None:
    worker = await serving(one, "flow", "inner")
    action = await started(worker)
    [run] = await spawn(worker, action, child(action, "inner", child_index=0))
    worker.status(ref(action, run))
    inner = await worker.invocation(run.run_id, 1)
    await worker.wait(inner, sleeps("20ms"))
    await worker.evict(inner)
    await worker.worker.complete(await worker.invocation(run.run_id, 2), '{"n":1}')
    assert await worker.result(ref(action, run)) == {"n": 1}


async def test_d_13_20_nothing_comes_of_a_child_that_nobody_awaits(one: Instance) -> None:
    """D-15.16: to a worker that hands over in order, until the child is awaited."""
    worker, action = await parent(one, language="PYTHON")
    helper = await one.worker("child")
    [run] = await spawn(worker, action, *numbered(action, 1))
    await helper.complete(await helper.started(run.run_id))
    await one.ended(run.run_id, RunStatus.COMPLETED)
    asleep = await worker.wait(action, sleeps("1ms"))
    assert (await worker.completed(asleep)).order == 1
    assert [completion.ref for completion in worker.completions] == [asleep]
    assert (await awaited(worker, action, run)).order == 2


async def test_d_15_16_other_workers_hear_of_a_child_at_once(one: Instance) -> None:
    worker, action = await parent(one, language="GO")
    helper = await one.worker("child")
    [run] = await spawn(worker, action, *numbered(action, 1))
    await helper.complete(await helper.started(run.run_id))
    assert (await worker.completed(ref(action, run))).order == 1


async def test_d_13_9_and_d_13_21_children_outlive_their_parents_invocation(one: Instance) -> None:
    """The parent is evicted, cancelled; its children run on, and a replay finds them."""
    worker, action = await parent(one)
    helper = await one.worker("child")
    first, second = await spawn(worker, action, *numbered(action, 2))
    await worker.evict(action)
    await one.cancel(action.task_id)
    await one.ended(action.task_id, RunStatus.CANCELLED)
    await helper.complete(await helper.started(first.run_id), '{"n":1}')
    await one.ended(first.run_id, RunStatus.COMPLETED)
    assert helper.cancels == []
    assert await one.replay(action.task_id)
    # The attempt that waited for its restore was cancelled, and counts.
    again = await worker.invocation(action.task_id, 3)
    assert await spawn(worker, again, *numbered(again, 2)) == (first, second)
    worker.status(ref(again, first), ref(again, second))
    assert await worker.result(ref(again, first)) == {"n": 1}
    await helper.complete(await helper.started(second.run_id), '{"n":2}')
    assert await worker.result(ref(again, second)) == {"n": 2}
    await worker.worker.complete(again)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    await one.empty()


async def test_d_29_4_as_many_runs_as_entries_over_all_branches(one: Instance) -> None:
    """D-13.5, D-13.8: children from the branch point on are new runs, those below it the old ones."""
    worker, action = await parent(one)
    await one.worker("child", completes=True)
    runs = await spawn(worker, action, *numbered(action, 3))
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    assert await one.engine.durable.branch(TENANT, action.task_id, 2, 1) == 2
    again = await worker.invocation(action.task_id, 2)
    found = await spawn(worker, again, *numbered(again, 3))
    assert found[0] == runs[0]
    assert [(run.branch, run.node) for run in found[1:]] == [(2, 2), (2, 3)]
    assert not {run.run_id for run in runs} & {run.run_id for run in found[1:]}
    assert (await runs_of(one, action), await entries_of(one, action)) == (5, 5)
    # D-13.5: a later branch from the older one finds that one's children.
    await worker.worker.complete(again)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    assert await one.engine.durable.branch(TENANT, action.task_id, 3, 1) == 3
    third = await worker.invocation(action.task_id, 3)
    last = await spawn(worker, third, *numbered(third, 3))
    assert last[:2] == runs[:2]
    assert (last[2].branch, last[2].node) == (3, 3)
    assert (await runs_of(one, action), await entries_of(one, action)) == (6, 6)


async def test_d_13_8_a_keyed_child_at_the_branch_point_is_spawned_again(one: Instance) -> None:
    worker, action = await parent(one)
    [run] = await spawn(worker, action, child(action, child_key="k", input='{"n":1}'))
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    await one.engine.durable.branch(TENANT, action.task_id, 1, 1)
    again = await worker.invocation(action.task_id, 2)
    [fresh] = await spawn(worker, again, child(again, child_key="k", input='{"n":2}'))
    assert (fresh.branch, fresh.node) == (2, 1)
    assert fresh.run_id != run.run_id
    assert await spawn(worker, again, child(again, child_key="k")) == (fresh,)
