"""Durable requests that cannot be right: each is answered with what is wrong (behaviour-durable D-4.8 to D-4.10)."""

from __future__ import annotations

from typing import Any

import pytest
from durable_worker import DurableWorker, hears, retried, serving, sleeps, started
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT, until

from hatchet.core import durable_log
from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.durable_messages import (
    EntryRef,
    EvictRequest,
    MemoAck,
    MemoRequest,
    MemoValue,
    Refused,
    Response,
    SpawnRequest,
    UnreadableRequest,
    WaitRequest,
)
from hatchet.core.messages import Action, TriggerItem
from hatchet.core.statuses import RunStatus

NOBODY = "00000000-0000-4000-8000-000000000001"
SOME_ENTRIES = (
    "INSERT INTO durable_entry (tenant_id, task_id, branch, node, kind, digest, invocation, subject, is_single, "
    "created_at) SELECT $1::uuid, $2::uuid, 1, node, 'MEMO', $3::bytea, 1, '', false, now() "
    "FROM generate_series($4::integer, $5::integer) AS node"
)


def memo(action: Action, key: str = "k", *, invocation: int | None = None) -> MemoRequest:
    return MemoRequest(action.task_id, invocation or action.invocation or 0, key.encode())


def children(action: Action, *items: TriggerItem) -> SpawnRequest:
    return SpawnRequest(action.task_id, action.invocation or 0, items)


async def places(one: Instance, task_id: str) -> list[tuple[int, int, str]]:
    """(branch, node, kind) of the entries of a task, from the rows."""
    rows = await one.rows(
        "SELECT branch, node, kind FROM durable_entry WHERE task_id = $1::uuid ORDER BY branch, node", task_id
    )
    return [(row["branch"], row["node"], row["kind"]) for row in rows]


async def answered(worker: DurableWorker, count: int) -> list[Response]:
    """Wait for so many answers and return all that have come."""
    await until(lambda: len(worker.acks) >= count, f"{count} requests are answered")
    return worker.acks


TOO_LONG = f"{10**9}h"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda task: WaitRequest(task, 1, (sleeps("5 seconds"),)), "wait_for_conditions[0].sleep_for: invalid durat"),
        (lambda task: WaitRequest(task, 1, (hears("x"), sleeps(""))), "wait_for_conditions[1].sleep_for"),
        (lambda task: WaitRequest(task, 1, (sleeps("1d2h"),)), "such as 2d"),
        (lambda task: WaitRequest(task, 1, (sleeps(TOO_LONG),)), "longer than 290 years"),
        (lambda task: WaitRequest(task, 1, (sleeps("9999y"),)), "longer than 290 years"),
        (lambda task: WaitRequest(task, 1, (hears(""),)), "wait_for_conditions[0].user_event_key is empty"),
        (lambda task: SpawnRequest(task, 1, (TriggerItem(workflow_name="x"),)), "workflow names not found: x"),
        (lambda task: SpawnRequest(task, 1, (TriggerItem(workflow_name="flow", input="{"),)), "invalid json"),
        (lambda task: SpawnRequest(task, 1, (TriggerItem(workflow_name="flow", priority=4),)), "priority"),
        (lambda task: SpawnRequest(task, 1, (TriggerItem(workflow_name="flow", priority=0),)), "priority"),
        (lambda task: UnreadableRequest(task, 1, "or_group_id is not a UUID"), "or_group_id is not a UUID"),
    ],
)
async def test_d_4_8_a_bad_request_is_answered_with_what_is_wrong(one: Instance, make: Any, says: str) -> None:
    """D-4.9, D-9.5, D-13.17: nothing is written, and the next request is answered as if it had not been."""
    worker = await serving(one)
    action = await started(worker)
    refused = await worker.refused(make(action.task_id))
    assert says in refused.message
    assert refused.ref == EntryRef(action.task_id, 1, 0, 0)
    assert not refused.is_non_determinism
    assert (await worker.memo(action, "k")).ref.node == 1
    assert await places(one, action.task_id) == [(1, 1, "MEMO")]
    assert len(await one.rows("SELECT FROM task")) == 1


async def test_d_4_9_unknown_and_foreign_tasks_are_refused(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    task = TaskDefinition(readable_id="flow", action="flow:run", is_durable=True)
    await one.engine.registration.put(OTHER_TENANT, WorkflowDefinition(name="flow", tasks=(task,)))
    [foreign] = await one.engine.trigger.trigger(OTHER_TENANT, [TriggerItem(workflow_name="flow")])
    for task_id in ("t", "", NOBODY, foreign):
        requests = (
            MemoRequest(task_id, 1, b"k"),
            WaitRequest(task_id, 1, (sleeps("1h"),)),
            SpawnRequest(task_id, 1, (TriggerItem(workflow_name="flow"),)),
            EvictRequest(task_id, 1),
        )
        for request in requests:
            refused = await worker.refused(request)
            assert ("not a UUID" if len(task_id) < 2 else f"unknown task run: {task_id}") in refused.message
            assert refused.ref == EntryRef(task_id, 1, 0, 0)
    assert await one.rows("SELECT FROM durable_entry") == []
    await worker.memo(action, "k")


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED])
async def test_d_4_10_a_finished_task_gets_no_entries(one: Instance, status: RunStatus) -> None:
    """D-21.3; an eviction of it is acknowledged (D-17.10)."""
    worker = await serving(one)
    action = await started(worker)
    if status is RunStatus.COMPLETED:
        await worker.worker.complete(action)
    elif status is RunStatus.FAILED:
        await worker.worker.fail(action)
    else:
        await one.cancel(action.task_id)
    await one.ended(action.task_id, status)
    for request in (
        memo(action),
        WaitRequest(action.task_id, 1, (sleeps("1h"),)),
        children(action, TriggerItem(workflow_name="flow")),
    ):
        refused = await worker.refused(request)
        assert f"has finished: it is {status.value}" in refused.message
        assert refused.ref == EntryRef(action.task_id, 1, 0, 0)
    await worker.evict(action)
    assert await places(one, action.task_id) == []


async def test_d_4_10_values_of_memos_out_of_order_change_nothing(one: Instance) -> None:
    """D-12.7: there is no answer to them, so the next request's answer is the first."""
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    for odd in (ref, EntryRef(action.task_id, 1, 1, 7), EntryRef(action.task_id, 1, 9, 1), EntryRef(NOBODY, 1, 1, 1)):
        worker.say(MemoValue(odd, '{"v": 1}'))
    worker.say(MemoValue(EntryRef("t", 1, 1, 1), "1"))
    assert (await worker.memo(action, "k")).ref.node == 2
    assert await one.rows("SELECT FROM durable_result") == []
    assert len(worker.acks) == 2


@pytest.mark.parametrize("is_kept", [True, False])
async def test_d_4_8_a_log_of_the_most_entries_takes_no_more(one: Instance, is_kept: bool) -> None:
    """It says what to do instead; what is recorded is answered all the same."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.memo(action, "k")
    digest = durable_log.memo_digest(b"k")
    await one.rows(SOME_ENTRIES, TENANT, action.task_id, digest, 2, durable_log.MOST_ENTRIES - 1)
    if is_kept:
        one.engine.durable_streams.forget(action.task_id)
        assert (await worker.memo(action, "k")).ref.node == durable_log.MOST_ENTRIES
    else:
        # Two children at once do not fit where one would.
        one.engine.durable_streams.forget(action.task_id)
        pair = [TriggerItem(workflow_name="flow", child_index=number) for number in range(2)]
        assert "9999 entries" in (await worker.refused(children(action, *pair))).message
        await worker.spawn(action, "flow")
    for request in (
        memo(action),
        WaitRequest(action.task_id, 1, (sleeps("1s"),)),
        children(action, TriggerItem(workflow_name="flow", child_index=5)),
    ):
        refused = await worker.refused(request)
        assert "the durable log has 10000 entries, and 10000 are the most" in refused.message
        assert "Continue the work in a child run" in refused.message
    again = await retried(worker, action)
    assert (await worker.memo(again, "k")).ref.node == 1
    assert len(await places(one, action.task_id)) == durable_log.MOST_ENTRIES


async def test_d_4_8_each_of_many_bad_requests_is_answered(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    for number in range(50):
        worker.say(WaitRequest(action.task_id, 1, (sleeps(f"{number}x"),)))
        worker.say(memo(action, str(number)))
    acks = await answered(worker, 100)
    assert [type(ack) for ack in acks] == [Refused, MemoAck] * 50
    assert [ack.ref.node for ack in acks if isinstance(ack, MemoAck)] == list(range(1, 51))
