"""What a durable task asks for, and how each request is answered (behaviour-durable D-2, D-4)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from durable_worker import Acks, DurableWorker, hears, retried, serving, sleeps, started
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT, until

from hatchet.core.durable_messages import (
    EntryCompleted,
    EntryRef,
    EvictionAck,
    EvictRequest,
    MemoAck,
    MemoRequest,
    Refused,
    Request,
    Response,
    ServerEvict,
    SpawnAck,
    SpawnRequest,
    WaitAck,
    WaitRequest,
)
from hatchet.core.errors import NotFound, ResourceExhausted, Unavailable
from hatchet.core.messages import Action, TriggerItem
from hatchet.core.statuses import RunStatus
from hatchet.engine import durable_streams, durable_walk, durable_writes
from hatchet.store.durable import NewEntry, Place, append_entries
from hatchet.store.pool import Queries

NOBODY = "00000000-0000-4000-8000-000000000001"


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


# Streams --------------------------------------------------------------------------------------------------------------


async def test_d_2_4_a_second_stream_of_a_worker_replaces_the_first(one: Instance) -> None:
    first = await serving(one)
    action = await started(first)
    ref = await first.wait(action, hears("go"))
    second = await DurableWorker(first.worker).open()
    assert (await second.memo(action, "k")).ref.node == 2
    await one.push("go")
    await second.completed(ref)
    assert first.completions == []
    # The end of the stream that was replaced changes nothing.
    await first.close()
    assert (await second.memo(action, "l")).ref.node == 3


async def test_d_2_5_a_status_alone_brings_later_completions_to_the_new_stream(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, hears("go"))
    await worker.close()
    await worker.open()
    worker.status(ref)
    # The status was handled: requests of one task are handled in their order.
    await worker.memo(action, "k")
    await one.push("go")
    assert await worker.result(ref) == {"CREATE": {"go": [{}]}}


async def test_d_2_5_a_stream_that_said_nothing_of_a_task_is_not_told_of_it(one: Instance) -> None:
    """The status poll brings what was missed (D-15.9)."""
    worker = await serving(one)
    action, other = await started(worker), await started(worker)
    ref = await worker.wait(action, hears("go"))
    await worker.close()
    await worker.open()
    await one.push("go")
    await until(lambda: one.rows("SELECT FROM durable_result"), "the wait is over")
    await worker.memo(other, "k")
    assert worker.completions == []
    worker.status(ref)
    await worker.completed(ref)


async def test_d_2_6_a_slow_request_delays_only_its_own_task(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await serving(one, "flow", "child")
    slow, quick = await started(worker), await started(worker)
    goes_on = asyncio.Event()
    prepare = one.engine.trigger.prepare

    async def wait_first(*given: Any) -> Any:
        await goes_on.wait()
        return await prepare(*given)

    monkeypatch.setattr(one.engine.trigger, "prepare", wait_first)
    worker.say(children(slow, TriggerItem(workflow_name="child", child_index=0)))
    worker.say(memo(slow))
    await worker.memo(quick, "k")
    assert len(worker.acks) == 1
    goes_on.set()
    _, spawned, remembered = await answered(worker, 3)
    assert isinstance(spawned, SpawnAck)
    assert isinstance(remembered, MemoAck)
    assert (spawned.runs[0].node, remembered.ref.node) == (1, 2)


async def test_d_2_7_the_end_of_a_stream_ends_no_task(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.memo(action, "k")
    await worker.close()
    await one.watched()
    assert await one.status(action.task_id) is RunStatus.RUNNING
    await worker.open()
    assert (await worker.memo(action, "l")).ref == EntryRef(action.task_id, 1, 1, 2)
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)


async def test_d_2_10_a_request_whose_answer_got_lost_is_new_when_it_is_repeated(one: Instance) -> None:
    """D-2.9: only a new invocation begins at node 1 again."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    worker.is_deaf = True
    worker.say(memo(action))
    await until(lambda: places(one, action.task_id), "the entry is written")
    await worker.close()
    worker.is_deaf = False
    await worker.open()
    ack = await worker.memo(action, "k")
    assert (ack.ref.node, ack.existed) == (2, False)
    again = await retried(worker, action)
    ack = await worker.memo(again, "k")
    assert (ack.ref.node, ack.existed) == (1, True)


async def test_d_2_2_only_workers_of_the_tenant_open_streams(one: Instance) -> None:
    worker = await serving(one)
    for tenant_id, worker_id in ((TENANT, NOBODY), (OTHER_TENANT, worker.worker.id)):
        with pytest.raises(NotFound, match=worker_id):
            await one.engine.durable.open(tenant_id, worker_id, worker._take)


# Answers --------------------------------------------------------------------------------------------------------------


async def test_d_4_1_each_request_is_answered_once_and_in_its_order(one: Instance) -> None:
    """D-6.2: each operation takes the next node; D-3.18: which answer belongs to which request."""
    worker = await serving(one, "flow", "child")
    action = await started(worker)
    makers: list[tuple[Request, type[Response]]] = []
    for number in range(20):
        makers.append((memo(action, str(number)), MemoAck))
        makers.append((WaitRequest(action.task_id, 1, (sleeps("1h"),)), WaitAck))
        makers.append((children(action, TriggerItem(workflow_name="child", child_index=number)), SpawnAck))
    for request, _ in makers:
        worker.say(request)
    acks = await answered(worker, len(makers))
    assert [type(ack) for ack in acks] == [kind for _, kind in makers]
    nodes = [ack.runs[0].node if isinstance(ack, SpawnAck) else ack.ref.node for ack in acks]  # type: ignore[union-attr]
    assert nodes == list(range(1, len(makers) + 1))
    worker.say(EvictRequest(action.task_id, 1))
    assert (await answered(worker, len(makers) + 1))[-1] == EvictionAck(action.task_id, 1)


async def test_d_4_2_what_is_acknowledged_is_in_the_rows(one: Instance) -> None:
    worker = await serving(one, "flow", "child")
    action = await started(worker)
    seen: list[tuple[int, int, str]] = []

    async def look(response: Response) -> None:
        if isinstance(response, Acks):
            seen[:] = await places(one, action.task_id)
        worker.heard.append(response)

    await worker.close()
    worker.session = await one.engine.durable.open(TENANT, worker.worker.id, look)
    await worker.memo(action, "k")
    assert seen == [(1, 1, "MEMO")]
    await worker.wait(action, sleeps("1h"))
    assert seen == [(1, 1, "MEMO"), (1, 2, "WAIT_FOR")]
    await worker.spawn(action, "child")
    assert seen == [(1, 1, "MEMO"), (1, 2, "WAIT_FOR"), (1, 3, "RUN")]


@pytest.mark.parametrize("is_written", [False, True])
async def test_d_29_8_a_write_that_fails_leaves_one_entry_or_none(
    one: Instance, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    """D-4.8: when the database stays away the worker hears of it; what is asked next goes on behind what is written."""
    monkeypatch.setattr(durable_streams, "AWAY_SECONDS", -1.0)
    worker = await serving(one)
    action = await started(worker)

    async def fail(queries: Queries, rows: Sequence[NewEntry]) -> set[Place]:
        monkeypatch.undo()
        if is_written:
            await append_entries(queries, rows)
        raise Unavailable("the database is gone")

    monkeypatch.setattr(durable_writes, "append_entries", fail)
    refused = await worker.refused(WaitRequest(action.task_id, 1, (hears("go"),)))
    assert refused.message == "the database is gone"
    assert len(await places(one, action.task_id)) == int(is_written)
    assert (await worker.memo(action, "k")).ref.node == 1 + int(is_written)
    assert len(await places(one, action.task_id)) == 1 + int(is_written)


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("kind", ["memo", "wait", "spawn"])
async def test_d_4_4_a_request_waits_for_a_database_that_is_away_for_a_moment(
    one: Instance, monkeypatch: pytest.MonkeyPatch, kind: str, is_written: bool
) -> None:
    """D-29.8: whether the lost commit happened or not, there is one entry, and its acknowledgement names it."""
    worker = await serving(one, "flow", "child")
    action = await started(worker)
    await worker.memoized(action, "first", 1)
    module = durable_walk if kind == "spawn" else durable_writes

    async def fail(queries: Queries, rows: Sequence[NewEntry]) -> set[Place]:
        monkeypatch.undo()
        if is_written and kind != "spawn":
            # The transaction of a spawn is rolled back as a whole.
            await append_entries(queries, rows)
        raise Unavailable("the database is gone")

    monkeypatch.setattr(module, "append_entries", fail)
    if kind == "memo":
        node = (await worker.memo(action, "k", '{"v":1}')).ref.node
    elif kind == "wait":
        node = (await worker.wait(action, hears("go"))).node
    else:
        node = (await worker.spawn(action, "child")).runs[0].node
    assert node == 2
    assert [place[1] for place in await places(one, action.task_id)] == [1, 2]
    assert (await worker.memo(action, "next")).ref.node == 3


async def test_d_4_3_the_answer_comes_before_the_completion(one: Instance) -> None:
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.completed(await worker.wait(action, sleeps("0s")))
    await worker.memoized(action, "k", 1)
    again = await retried(worker, action)
    del worker.heard[:]
    await worker.completed(await worker.wait(again, sleeps("0s")))
    await worker.completed((await worker.memo(again, "k")).ref)
    assert [type(one) for one in worker.heard] == [WaitAck, EntryCompleted, MemoAck, EntryCompleted]


async def test_d_4_6_a_call_for_many_children_comes_in_chunks(one: Instance) -> None:
    """D-4.7 and D-6.3: in the order of the requests, and on consecutive nodes."""
    worker = await serving(one, "flow", "child")
    action = await started(worker)
    for start in (0, 100, 200):
        worker.say(
            children(
                action,
                *(TriggerItem(workflow_name="child", child_index=start + number) for number in range(100)),
            )
        )
    runs = [run for ack in await answered(worker, 3) if isinstance(ack, SpawnAck) for run in ack.runs]
    assert [run.node for run in runs] == list(range(1, 301))
    rows = await one.rows("SELECT id, child_index FROM task WHERE parent_task_id = $1::uuid", action.task_id)
    assert {str(row["id"]): row["child_index"] for row in rows} == {
        run.run_id: number for number, run in enumerate(runs)
    }


async def test_d_4_7_children_are_answered_in_the_order_of_the_request(one: Instance) -> None:
    worker = await serving(one, "flow", "child", retries=1)
    action = await started(worker)

    def keyed(which: Action, *keys: str) -> SpawnRequest:
        return children(which, *(TriggerItem(workflow_name="child", child_key=key) for key in keys))

    first = await worker.ask(keyed(action, "a", "b", "a"), SpawnAck)
    assert [run.node for run in first.runs] == [1, 2, 1]
    again = await retried(worker, action)
    assert (await worker.ask(keyed(again, "a", "b"), SpawnAck)).runs == first.runs[:2]
    second = await worker.ask(keyed(again, "c", "b", "d", "a"), SpawnAck)
    assert [run.node for run in second.runs] == [3, 2, 4, 1]
    assert (second.runs[1], second.runs[3]) == (first.runs[1], first.runs[0])
    assert len({run.run_id for run in second.runs}) == 4


# Who may ask ----------------------------------------------------------------------------------------------------------


async def test_d_4_11_a_task_that_is_on_no_worker_gets_no_entries(one: Instance) -> None:
    """Evicted, and waiting for its retry: the count alone would not tell."""
    worker = await serving(one, retries=1, backoff_factor=300.0)
    evicted, failed = await started(worker), await started(worker)
    await worker.wait(evicted, hears("go"))
    await worker.evict(evicted)
    await worker.worker.fail(failed)
    for action in (evicted, failed):
        for request in (
            memo(action),
            WaitRequest(action.task_id, 1, (sleeps("1h"),)),
            children(action, TriggerItem(workflow_name="flow")),
        ):
            notice = await worker.ask(request, ServerEvict)
            assert (notice.task_id, notice.invocation) == (action.task_id, 1)
            # The next count is known to nobody yet, but that does not help.
            await worker.ask(memo(action, invocation=2), ServerEvict)
    assert await places(one, evicted.task_id) == [(1, 1, "WAIT_FOR")]
    assert await places(one, failed.task_id) == []


async def test_d_4_11_only_the_worker_that_has_the_task_may_ask(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    other = await serving(one)
    notice = await other.ask(memo(action), ServerEvict)
    assert "runs on another worker" in notice.reason
    assert await places(one, action.task_id) == []
    assert (await worker.memo(action, "k")).ref.node == 1


async def test_d_4_9_ids_in_capitals_mean_the_same_task(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    worker.say(MemoRequest(action.task_id.upper(), 1, b"k"))
    [ack] = await answered(worker, 1)
    assert isinstance(ack, MemoAck)
    assert ack.ref == EntryRef(str(uuid.UUID(action.task_id)), 1, 1, 1)


async def test_a_worker_that_does_not_read_its_stream_is_told_to_open_another(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded (design invariant 12); what waits for the worker is asked for again on its next stream."""
    monkeypatch.setattr("hatchet.engine.durable_session.MOST_RESPONSES", 3)
    worker = await serving(one)
    action = await started(worker)
    session, send = worker.session, asyncio.Event()
    assert session is not None

    async def stuck(_: object) -> None:
        await send.wait()

    session._send = stuck
    for number in range(6):
        session.push(Refused(EntryRef(action.task_id, 1, 1, number), "no matter"))
        await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted, match="too slowly"):
        session.handle(MemoRequest(action.task_id, 1, b"k"))
    send.set()
    await worker.close()
    await worker.open()
    assert not (await worker.memo(action, "k")).existed
