"""Memos, and the comparison of what is asked with what is recorded (behaviour-durable D-12, D-14)."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from durable_worker import hears, retried, serving, sleeps, started
from engine_fixture import Instance
from engine_worker import until

from hatchet.core.durable_messages import (
    EntryCompleted,
    EntryRef,
    MemoAck,
    MemoRequest,
    MemoValue,
    Refused,
    Request,
    SpawnAck,
    SpawnRequest,
    WaitRequest,
)
from hatchet.core.messages import TriggerItem
from hatchet.core.statuses import RunStatus


async def values(one: Instance) -> list[str]:
    """The results in the rows."""
    return [row["payload"].decode() for row in await one.rows("SELECT payload FROM durable_result ORDER BY node")]


def child(name: str = "flow", text: str = "{}", **fields: Any) -> TriggerItem:
    return TriggerItem(workflow_name=name, input=text, **fields)


def spawn(task_id: str, invocation: int, *items: TriggerItem) -> SpawnRequest:
    return SpawnRequest(task_id, invocation, items)


# Memos ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ['{"n": 1}', "5", '"text"', "[1, 2]", "null", "false", '""'])
async def test_d_12_1_the_value_of_a_memo_is_any_json(one: Instance, value: str) -> None:
    """D-12.3, D-12.5; D-12.8: it travels in the answer, and the completion is empty."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    ack = await worker.memo(action, "k")
    assert (ack.existed, ack.payload) == (False, None)
    assert worker.completions == []
    worker.say(MemoValue(ack.ref, value))
    assert await worker.completed(ack.ref) == EntryCompleted(ack.ref, "", order=None)
    again = await worker.memo(await retried(worker, action), "k")
    assert (again.existed, again.payload) == (True, value)
    assert await worker.completed(again.ref) == EntryCompleted(again.ref, "", order=None)


async def test_d_12_2_keys_are_bytes_that_nobody_reads(one: Instance) -> None:
    worker = await serving(one, retries=1)
    action = await started(worker)
    keys = [bytes(range(256)), b"", b"\xff", b"__now__", b"k" * 10_000]
    for number, key in enumerate(keys):
        ack = await worker.ask(MemoRequest(action.task_id, 1, key, str(number)), MemoAck)
        assert (ack.ref.node, ack.existed) == (number + 1, False)
    await retried(worker, action)
    for number, key in enumerate(keys):
        ack = await worker.ask(MemoRequest(action.task_id, 2, key), MemoAck)
        assert (ack.ref.node, ack.existed, ack.payload) == (number + 1, True, str(number))


async def test_d_12_4_a_memo_with_its_value_is_complete_at_once(one: Instance) -> None:
    """D-12.12: its completion follows the answer."""
    worker = await serving(one)
    action = await started(worker)
    ack = await worker.ask(MemoRequest(action.task_id, 1, b"k", '{"n": 1}'), MemoAck)
    assert not ack.existed
    await worker.completed(ack.ref)
    assert [type(each) for each in worker.heard] == [MemoAck, EntryCompleted]
    assert await values(one) == ['{"n": 1}']


async def test_d_12_6_a_memo_that_was_never_computed_is_computed_by_the_next_invocation(one: Instance) -> None:
    worker = await serving(one, retries=2)
    action = await started(worker)
    await worker.memo(action, "k")
    again = await retried(worker, action)
    ack = await worker.memo(again, "k")
    assert (ack.existed, ack.payload) == (True, None)
    worker.say(MemoValue(ack.ref, "7"))
    await worker.completed(ack.ref)
    last = await worker.memo(await retried(worker, again), "k")
    assert last.payload == "7"


async def test_d_12_7_late_values_are_ignored(one: Instance) -> None:
    """Of a memo that has one, and of an invocation that is over; D-28.5: of a task that has ended."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    first, second = (await worker.memo(action, "a")).ref, (await worker.memo(action, "b")).ref
    worker.say(MemoValue(first, "1"))
    worker.say(MemoValue(first, "2"))
    again = await retried(worker, action)
    worker.say(MemoValue(second, "3"))
    assert (await worker.memo(again, "a")).payload == "1"
    assert (await worker.memo(again, "b")).payload is None
    await worker.worker.complete(again)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    before = len(worker.heard)
    worker.say(MemoValue(EntryRef(action.task_id, 2, 1, 2), "4"))
    await worker.ask(MemoRequest(action.task_id, 2, b"c"), Refused)
    assert await values(one) == ["1"]
    assert len(worker.heard) == before + 1


async def test_d_12_8_a_status_that_lists_a_memo_is_answered(one: Instance) -> None:
    """Python lists it until it hears of it."""
    worker = await serving(one)
    action = await started(worker)
    ref = (await worker.memo(action, "k")).ref
    worker.status(ref)
    await worker.memo(action, "l")
    assert worker.completions == []
    worker.say(MemoValue(ref, "1"))
    await worker.completed(ref)
    worker.status(ref)
    await worker.completed(ref, times=2)


async def test_d_12_9_memos_belong_to_their_run(one: Instance) -> None:
    worker = await serving(one)
    action, other = await started(worker), await started(worker)
    await worker.memoized(action, "k", 1)
    assert not (await worker.memo(other, "k")).existed


async def test_d_12_10_a_replay_computes_nothing_again(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    now = await worker.memoized(action, "__now__", {"at": 1.5})
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    await one.replay(action.task_id)
    again = await worker.invocation(action.task_id, 2)
    assert await worker.memoized(again, "__now__", {"at": 2.5}) == now


async def test_d_12_11_a_value_may_come_after_later_requests(one: Instance) -> None:
    """It is matched by its place alone. D-28.4: also on another stream."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    refs = [(await worker.memo(action, key)).ref for key in "abc"]
    await worker.wait(action, sleeps("1h"))
    await worker.close()
    await worker.open()
    for ref in reversed(refs):
        worker.say(MemoValue(ref, str(ref.node)))
    for ref in refs:
        await worker.completed(ref)
    again = await retried(worker, action)
    assert [(await worker.memo(again, key)).payload for key in "abc"] == ["1", "2", "3"]


# Non-determinism ------------------------------------------------------------------------------------------------------

GROUPS = [str(uuid.uuid4()) for _ in range(4)]


def recorded(task_id: str, invocation: int) -> dict[str, tuple[Request, str]]:
    """Requests by kind, and how people are told of them."""
    return {
        "memo": (MemoRequest(task_id, invocation, b"k"), "memo"),
        "sleep": (WaitRequest(task_id, invocation, (sleeps("5m"),)), "sleep(5m)"),
        "event": (WaitRequest(task_id, invocation, (hears("a"),)), "event(a)"),
        "or": (
            WaitRequest(task_id, invocation, (sleeps("5m", GROUPS[0]), hears("a", GROUPS[0]))),
            "any of (sleep(5m), event(a))",
        ),
        "and": (WaitRequest(task_id, invocation, (sleeps("5m"), hears("a"))), "sleep(5m) and event(a)"),
        "nothing": (WaitRequest(task_id, invocation, ()), "nothing"),
        "run": (spawn(task_id, invocation, child("child")), "run(child)"),
        "other run": (spawn(task_id, invocation, child("flow")), "run(flow)"),
    }


@pytest.mark.parametrize("kind", sorted(recorded("", 1)))
async def test_d_14_1_everything_else_than_what_is_recorded_is_refused(one: Instance, kind: str) -> None:
    """D-14.7 to D-14.9, D-14.12: the place and both sides are named, nothing changes, the same node is next."""
    worker = await serving(one, retries=1)
    await one.define("child")
    action = await started(worker)
    worker.say(recorded(action.task_id, 1)[kind][0])
    await until(lambda: worker.acks, "it is recorded")
    await retried(worker, action)
    asked = recorded(action.task_id, 2)
    expected = asked.pop(kind)
    # D-14.5: groups are not compared, so that these two are the same.
    asked.pop({"or": "and", "and": "or"}.get(kind, ""), None)
    for request, received in asked.values():
        refused = await worker.refused(request)
        assert refused.is_non_determinism
        assert refused.ref == EntryRef(action.task_id, 2, 1, 1)
        first, *lines = refused.message.splitlines()
        assert first.startswith("non-determinism error")
        assert action.task_id in first
        assert "1:1" in first
        assert lines[0].startswith(f"expected: {expected[1]}")
        assert lines[1].startswith(f"received: {received}")
    worker.say(expected[0])
    await until(lambda: not isinstance(worker.acks[-1], Refused), "what is recorded is asked for")
    assert len(await one.rows("SELECT FROM durable_entry")) == 1
    assert len(await one.rows("SELECT FROM task")) == (2 if "run" in kind else 1)


async def test_d_14_2_conditions_are_compared_in_any_order(one: Instance) -> None:
    """D-14.5: neither groups nor scope nor window nor label."""
    worker = await serving(one, retries=2)
    action = await started(worker)
    since = one.clock.now()
    ref = await worker.wait(
        action, hears("a", GROUPS[0], scope="s", since=since), hears("b", GROUPS[0]), sleeps("1h"), label="one"
    )
    again = await retried(worker, action)
    other = (sleeps("1h"), hears("b", GROUPS[1]), hears("a", GROUPS[2], scope="t", since=since + 9))
    assert (await worker.wait(again, *other, label="two")).node == ref.node
    last = await retried(worker, again)
    # But each as often as it was.
    for unlike in (other[:2], (*other, other[0]), (other[0], other[0], other[1])):
        assert (await worker.refused(WaitRequest(last.task_id, 3, unlike))).is_non_determinism


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({}, True),
        ({"priority": 3, "additional_metadata": '{"a": 1}', "desired_worker": str(uuid.uuid4())}, True),
        ({"child_index": 7}, True),
        ({"child_index": None, "child_key": "k"}, True),
        ({"text": '{"n": 2}'}, False),
        ({"text": '{ "n": 1}'}, False),
        ({"name": "child"}, False),
    ],
)
async def test_d_14_3_of_a_child_workflow_and_input_are_compared(
    one: Instance, changes: dict[str, Any], is_same: bool
) -> None:
    """D-14.5, D-14.8."""
    worker = await serving(one, retries=1)
    await one.define("child")
    action = await started(worker)
    given = {"name": "flow", "text": '{"n": 1}', "child_index": 0}
    first = await worker.ask(spawn(action.task_id, 1, child(**given)), SpawnAck)  # type: ignore[arg-type]
    await retried(worker, action)
    worker.say(spawn(action.task_id, 2, child(**{**given, **changes})))
    await until(lambda: len(worker.acks) == 2, "it is answered")
    answer = worker.acks[-1]
    if is_same:
        assert isinstance(answer, SpawnAck)
        assert answer.runs == first.runs
    else:
        assert isinstance(answer, Refused)
        assert answer.is_non_determinism
        assert "expected: run(flow)" in answer.message
    assert len(await one.rows("SELECT FROM task")) == 2


async def test_d_14_4_a_child_is_compared_with_the_one_of_its_index_wherever_that_is(one: Instance) -> None:
    """D-27.15: nothing of the request is spawned, and two children exist."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.ask(spawn(action.task_id, 1, child(text="1", child_index=0), child(text="2", child_index=1)), SpawnAck)
    await retried(worker, action)
    request = spawn(
        action.task_id, 2, child(text="1", child_index=0), child(text="9", child_index=1), child(child_index=2)
    )
    refused = await worker.refused(request)
    assert refused.is_non_determinism
    assert refused.ref == EntryRef(action.task_id, 2, 1, 2)
    assert "another input" in refused.message
    assert len(await one.rows("SELECT FROM task")) == 3
    refused = await worker.refused(spawn(action.task_id, 2, child(text="9", child_index=1)))
    assert refused.ref.node in (1, 2)


async def test_d_14_6_of_a_memo_the_key_is_compared(one: Instance) -> None:
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.memoized(action, "k", 1)
    again = await retried(worker, action)
    refused = await worker.refused(MemoRequest(action.task_id, 2, b"l"))
    assert refused.is_non_determinism
    assert "received: memo with another key" in refused.message
    assert (await worker.memo(again, "k")).payload == "1"


async def test_d_14_10_the_task_fails_after_its_ordinary_retries(one: Instance) -> None:
    worker = await serving(one, retries=2)
    action = await started(worker)
    await worker.wait(action, sleeps("1h"))
    for invocation in (2, 3):
        action = await retried(worker, action)
        assert (await worker.refused(MemoRequest(action.task_id, invocation, b"k"))).is_non_determinism
    await worker.worker.fail(action, "NonDeterminismError")
    await one.ended(action.task_id, RunStatus.FAILED)


async def test_d_14_11_more_operations_than_recorded_are_new(one: Instance) -> None:
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.memoized(action, "a", 1)
    again = await retried(worker, action)
    assert (await worker.memo(again, "a")).existed
    ack = await worker.memo(again, "b")
    assert (ack.ref.node, ack.existed) == (2, False)


async def test_d_27_9_a_program_that_catches_the_error_completes(one: Instance) -> None:
    """D-14.9."""
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, sleeps("2s"))
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    await one.replay(action.task_id)
    again = await worker.invocation(action.task_id, 2)
    refused = await worker.refused(WaitRequest(action.task_id, 2, (sleeps("4s"),)))
    assert (refused.ref.node, refused.ref.invocation, again.retry_count + 1) == (1, 2, 2)
    await worker.worker.complete(again, orjson.dumps({"node": 1}).decode())
    details = await one.ended(action.task_id, RunStatus.COMPLETED)
    assert details.tasks[0].output == '{"node":1}'
