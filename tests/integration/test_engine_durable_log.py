"""The log of a durable task over its invocations and branches (behaviour-durable D-5 to D-7)."""

from __future__ import annotations

import orjson
from durable_worker import DurableWorker, hears, retried, serving, sleeps, started
from engine_fixture import Instance
from engine_worker import TENANT, until

from hatchet.core.durable_log import EntryKind, Result
from hatchet.core.durable_messages import EntryRef, MemoValue, SpawnAck, SpawnRequest
from hatchet.core.messages import Action, TriggerItem
from hatchet.core.statuses import RunStatus
from hatchet.store.durable import NewOutcome, OfTask


async def places(one: Instance, task_id: str) -> list[tuple[int, int, int]]:
    """(branch, node, invocation) of the entries of a task, from the rows."""
    rows = await one.rows(
        "SELECT branch, node, invocation FROM durable_entry WHERE task_id = $1::uuid ORDER BY branch, node", task_id
    )
    return [(row["branch"], row["node"], row["invocation"]) for row in rows]


async def orders(one: Instance, task_id: str) -> dict[tuple[int, int], int]:
    """(branch, node) to the place in the satisfied order."""
    rows = await one.rows("SELECT branch, node, satisfied_order FROM durable_release WHERE task_id = $1::uuid", task_id)
    return {(row["branch"], row["node"]): row["satisfied_order"] for row in rows}


async def branched(one: Instance, action: Action, node: int, branch: int = 1) -> int:
    return await one.engine.durable.branch(TENANT, action.task_id, node, branch)


async def finished(one: Instance, worker: DurableWorker, action: Action) -> None:
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)


# Invocations ----------------------------------------------------------------------------------------------------------


async def test_d_5_2_every_assignment_is_the_next_invocation_of_the_same_log(one: Instance) -> None:
    """D-5.1, D-5.3, D-5.7: each walks from node 1, and restores are no retries."""
    worker = await serving(one, retries=2)
    action = await started(worker)
    task_id = action.task_id
    seen: list[tuple[int, int]] = []

    async def walk(on: DurableWorker, invocation: int) -> Action:
        begun = await on.invocation(task_id, invocation)
        ack = await on.memo(begun, "k")
        assert (ack.ref.node, ack.existed) == (1, invocation > 1)
        assert (await on.wait(begun, hears("go"))).node == 2
        seen.append((invocation, begun.retry_count))
        return begun

    await worker.worker.fail(await walk(worker, 1))
    await worker.evict(await walk(worker, 2))
    await one.engine.evicting.restore(TENANT, [task_id], "a test")
    await walk(worker, 3)
    other = await serving(one, retries=2)
    await one.lose(worker.worker, other.worker)
    await finished(one, other, await walk(other, 4))
    await one.replay(task_id)
    await finished(one, other, await walk(other, 5))
    assert await branched(one, action, 2) == 2
    await walk(other, 6)
    assert [retry for _, retry in seen] == [0, 1, 1, 2, 3, 4]
    assert await places(one, task_id) == [(1, 1, 1), (1, 2, 1), (2, 2, 6)]


async def test_d_5_1_each_task_run_has_a_log_of_its_own(one: Instance) -> None:
    """D-12.9."""
    worker = await serving(one)
    one_action, other = await started(worker), await started(worker)
    assert await worker.memoized(one_action, "k", 1) == 1
    ack = await worker.memo(other, "k")
    assert (ack.ref.node, ack.existed, ack.payload) == (1, False, None)


# Nodes and branches ---------------------------------------------------------------------------------------------------


async def test_d_6_2_every_operation_takes_the_next_node_of_branch_1(one: Instance) -> None:
    """D-6.1, D-6.3."""
    worker = await serving(one, "flow", "child")
    action = await started(worker)
    assert (await worker.memo(action, "now")).ref == EntryRef(action.task_id, 1, 1, 1)
    assert await worker.wait(action, sleeps("1h")) == EntryRef(action.task_id, 1, 1, 2)
    assert [(run.branch, run.node) for run in (await worker.spawn(action, "child", "child")).runs] == [(1, 3), (1, 4)]
    assert (await worker.wait(action, hears("x"))).node == 5


async def test_d_6_4_a_child_takes_its_node_again_only_where_the_walk_comes_to_it(one: Instance) -> None:
    """D-13.7."""
    worker = await serving(one, "flow", "child", retries=1)
    action = await started(worker)

    async def spawned(which: Action, *keys: str) -> list[int]:
        items = tuple(TriggerItem(workflow_name="child", child_key=key) for key in keys)
        ack = await worker.ask(SpawnRequest(which.task_id, which.invocation or 0, items), SpawnAck)
        return [run.node for run in ack.runs]

    assert await spawned(action, "a") == [1]
    assert await spawned(action, "b", "a", "b") == [2, 1, 2]
    assert (await worker.memo(action, "k")).ref.node == 3
    again = await retried(worker, action)
    assert await spawned(again, "a") == [1]
    assert await spawned(again, "b", "a", "b") == [2, 1, 2]
    ack = await worker.memo(again, "k")
    assert (ack.ref.node, ack.existed) == (3, True)


async def test_d_6_5_a_shorter_walk_keeps_the_nodes_beyond_it(one: Instance) -> None:
    """D-14.11: fewer operations are no error."""
    worker = await serving(one, retries=2)
    action = await started(worker)
    for number in range(3):
        await worker.memo(action, str(number))
    again = await retried(worker, action)
    assert (await worker.memo(again, "0")).existed
    last = await retried(worker, again)
    nodes = [(await worker.memo(last, str(number))).ref.node for number in range(4)]
    assert nodes == [1, 2, 3, 4]
    assert await places(one, action.task_id) == [(1, 1, 1), (1, 2, 1), (1, 3, 1), (1, 4, 3)]


async def test_d_6_7_nodes_below_a_branch_are_those_of_its_parent(one: Instance) -> None:
    """D-6.9: and new ones are of the newest branch. D-6.10: branches of branches."""
    worker = await serving(one)
    action = await started(worker)
    for number in range(3):
        await worker.memoized(action, str(number), number)
    await finished(one, worker, action)
    assert await branched(one, action, 2) == 2
    second = await worker.invocation(action.task_id, 2)
    acks = [await worker.memo(second, str(number)) for number in range(3)]
    assert [(ack.ref.branch, ack.ref.node, ack.existed) for ack in acks] == [(1, 1, True), (2, 2, False), (2, 3, False)]
    await finished(one, worker, second)
    assert await branched(one, action, 3, 2) == 3
    third = await worker.invocation(action.task_id, 3)
    acks = [await worker.memo(third, str(number)) for number in range(3)]
    assert [(ack.ref.branch, ack.ref.node) for ack in acks] == [(1, 1), (2, 2), (3, 3)]
    # The value of the second branch was never computed there.
    assert [ack.payload for ack in acks] == ["0", None, None]


async def test_d_6_8_siblings_are_never_consulted_and_the_newest_of_equals_wins(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    for number in range(2):
        await worker.memoized(action, str(number), number)
    await finished(one, worker, action)
    assert await branched(one, action, 2) == 2
    second = await worker.invocation(action.task_id, 2)
    await worker.memo(second, "0")
    # Another operation than on branch 1.
    await worker.result(await worker.wait(second, sleeps("0s")))
    await worker.memo(second, "beyond")
    await finished(one, worker, second)
    assert await branched(one, action, 2, 1) == 3
    third = await worker.invocation(action.task_id, 3)
    await worker.memo(third, "0")
    ack = await worker.memo(third, "neither")
    assert (ack.ref.branch, ack.ref.node, ack.existed) == (3, 2, False)
    await finished(one, worker, third)
    assert await branched(one, action, 2, 3) == 4
    fourth = await worker.invocation(action.task_id, 4)
    await worker.memo(fourth, "0")
    ack = await worker.memo(fourth, "other")
    assert (ack.ref.branch, ack.ref.node, ack.existed) == (4, 2, False)


# Entries --------------------------------------------------------------------------------------------------------------


async def test_d_7_1_what_is_kept_of_an_entry(one: Instance) -> None:
    """D-7.2, D-11.9: the label is for people."""
    worker = await serving(one, "flow", "child", retries=1)
    action = await started(worker)
    await worker.memoized(action, "k", 1)
    await worker.result(await worker.wait(action, sleeps("0s"), label="until the rate is known"))
    [run] = (await worker.spawn(action, "child")).runs
    again = await retried(worker, action)
    await worker.memo(again, "k")
    await worker.wait(again, sleeps("0s"), label="another text")
    lines = await one.engine.durable.entries(TENANT, action.task_id, 0, 100)
    assert [(line.branch, line.node, line.kind) for line in lines] == [
        (1, 1, EntryKind.MEMO),
        (1, 2, EntryKind.WAIT_FOR),
        (1, 3, EntryKind.RUN),
    ]
    assert [line.is_satisfied for line in lines] == [True, True, False]
    assert lines[1].satisfied_at is not None
    assert lines[1].satisfied_at >= lines[1].inserted_at
    assert [line.user_message for line in lines] == [None, "until the rate is known", None]
    assert [line.wait_data for line in lines] == [
        None,
        [{"kind": "SLEEP", "sleepDurationMs": 0}],
        [{"kind": "CHILD_WORKFLOW", "workflowName": "child"}],
    ]
    assert lines[2].run_id == run.run_id
    assert {line.task_id for line in lines} == {action.task_id}
    assert [place[2] for place in await places(one, action.task_id)] == [1, 1, 1]


async def test_d_7_3_the_first_result_of_an_entry_stays(one: Instance) -> None:
    """D-29.3, D-12.7."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    ack = await worker.memo(action, "k")
    worker.say(MemoValue(ack.ref, '{"n": 1}'))
    worker.say(MemoValue(ack.ref, '{"n": 2}'))
    group = "00000000-0000-4000-8000-00000000000a"
    ref = await worker.wait(action, hears("go", group), sleeps("10m", group))
    await one.push("go", '{"n": 1}')
    await worker.completed(ref)
    await one.push("go", '{"n": 2}')
    await one.pass_time(660, worker.worker)
    late = NewOutcome(OfTask(TENANT, action.task_id), (1, 2), Result(one.clock.now(), '{"CREATE": {}}'))
    assert not await one.engine.durable_writes.outcome(late)
    again = await retried(worker, action)
    assert orjson.loads((await worker.memo(again, "k")).payload or "") == {"n": 1}
    assert await worker.result(await worker.wait(again, sleeps("10m"), hears("go"))) == {"CREATE": {"go": [{"n": 1}]}}
    assert len([each for each in worker.completions if each.ref == ref]) == 1


async def test_d_7_4_results_of_waits_are_objects_of_objects_of_lists(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("a"), hears("b"), sleeps("0s"))
    await one.push("a")
    await one.push("b", '{"x": [1]}')
    assert await worker.result(ref) == {
        "CREATE": {"a": [{}], "b": [{"x": [1]}], "sleep:0s": [{"sleep_duration": "0s"}]}
    }


async def test_d_7_6_completions_are_numbered_without_gaps(one: Instance) -> None:
    """What is over at once is numbered by node; memos have no number."""
    worker = await serving(one, language="GO")
    await one.define("child")
    children = await one.worker("child", completes=True)
    action = await started(worker)
    late = await worker.wait(action, hears("late"))
    both = [await worker.wait(action, hears("both")) for _ in range(2)]
    await worker.memoized(action, "k", 1)
    await one.push("both")
    for ref in both:
        await worker.completed(ref)
    [run] = (await worker.spawn(action, "child")).runs
    child = await worker.completed(EntryRef(action.task_id, 1, run.branch, run.node))
    await one.push("late")
    last = await worker.completed(late)
    assert await orders(one, action.task_id) == {(1, 2): 1, (1, 3): 2, (1, 5): 3, (1, 1): 4}
    assert (child.order, last.order) == (3, 4)
    assert [each.order for each in worker.completions if each.ref.node == 4] == [None]
    assert len(children.starts) == 1


async def test_d_7_7_a_replay_hears_completions_in_the_order_in_which_they_came(one: Instance) -> None:
    worker = await serving(one, retries=1)
    action = await started(worker)
    slow, quick = await worker.wait(action, hears("slow")), await worker.wait(action, hears("quick"))
    await one.push("quick")
    await worker.completed(quick)
    await one.push("slow")
    await worker.completed(slow)
    again = await retried(worker, action)
    refs = [await worker.wait(again, hears("slow")), await worker.wait(again, hears("quick"))]
    await until(lambda: all(any(each.ref == ref for each in worker.completions) for ref in refs), "both complete")
    heard = [(each.ref.node, each.order) for each in worker.completions if each.ref.invocation == 2]
    assert heard == [(2, 1), (1, 2)]
