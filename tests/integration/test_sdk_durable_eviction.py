"""Waiting durable tasks are taken off their worker, by its policy or by the engine, and go on elsewhere."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import timedelta
from typing import Any

import pytest

from fakes.durable_world import durable_worker, output_of
from fakes.fake_durable import FakeDurable
from fakes.worker_world import JOIN_SECONDS, Number, running
from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_sdk import DurableContext, EvictionPolicy, Hatchet
from hatchet_sdk.worker import durable_invocation, eviction

pytest_plugins = ["fakes.durable_fixtures"]

AT_ONCE = EvictionPolicy(ttl=timedelta(milliseconds=1))


@pytest.fixture(autouse=True)
def _quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eviction, "TICK_SECONDS", 0.02)


async def _wait_for_go(input: Number, ctx: DurableContext) -> dict[str, Any]:
    return {"event": await ctx.aio_wait_for_event("go"), "invocation": ctx.invocation_count}


def _wait_for_go_in_a_thread(input: Number, ctx: DurableContext) -> dict[str, Any]:
    try:
        event = ctx.wait_for_event("go")
    except Exception as error:
        # An eviction is none that a task could catch this way.
        return {"caught": str(error)}
    return {"event": event, "invocation": ctx.invocation_count}


@pytest.mark.parametrize("function", [_wait_for_go, _wait_for_go_in_a_thread])
def test_d_17_4_a_wait_above_its_ttl_is_evicted_and_restored(
    fake: FakeDurable, hatchet: Hatchet, function: Any
) -> None:
    with running(durable_worker(hatchet, function, policy=AT_ONCE)):
        action = fake.start_durable("task:task")
        log = fake.log_of(action)
        fake.wait_for(lambda: log.evicted, "the task is evicted")
        # D-17.13: nobody is told of the end of the function.
        assert set(fake.events(action)) <= {"STARTED"}
        fake.push_event("go", {"a": 1})
        assert output_of(fake, action) == {"event": {"a": 1}, "invocation": 2}
    assert log.reasons == ["wait TTL exceeded: event go"]
    assert set(fake.events(action)) - {"STARTED"} == {"COMPLETED"}


def test_d_17_2_a_task_without_policy_is_never_evicted(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def impatient(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_wait_for_event("never")

    other = hatchet.durable_task(name="other", input_validator=Number, eviction_policy=AT_ONCE)(impatient)
    with running(durable_worker(hatchet, _wait_for_go, other, policy=None)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.asked("worker_status"), "the wait is listed")
        # Later ticks have looked at both.
        for _ in range(2):
            evicted = fake.log_of(fake.start_durable("other:other"))
            fake.wait_for(lambda evicted=evicted: evicted.evicted, "the other is evicted")
        assert not fake.log_of(action).evicted
        fake.push_event("go", {})
        assert output_of(fake, action) == {"event": {}, "invocation": 1}


def test_d_17_5_full_slots_evict_the_one_that_waits_longest(
    fake: FakeDurable, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "CAPACITY_WAIT_SECONDS", 0.01)
    policy = EvictionPolicy(ttl=None)
    with running(durable_worker(hatchet, _wait_for_go, policy=policy, durable_slots=2)):
        first = fake.start_durable("task:task")
        fake.wait_for(lambda: len(fake.asked("wait_for")) == 1, "the first waits")
        second = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.log_of(first).evicted, "the first is evicted")
        assert fake.log_of(first).reasons == ["worker at capacity: event go"]
        assert not fake.log_of(second).evicted
        fake.push_event("go", {})
        output_of(fake, first)
        output_of(fake, second)


@pytest.mark.parametrize("function", [_wait_for_go, _wait_for_go_in_a_thread])
@pytest.mark.parametrize("policy", [None, EvictionPolicy(ttl=timedelta(hours=1), allow_capacity_eviction=False)])
def test_d_17_6_a_worker_that_stops_evicts_all_that_waits(
    fake: FakeDurable, hatchet: Hatchet, function: Any, policy: EvictionPolicy | None
) -> None:
    fake.restores = False
    with running(durable_worker(hatchet, function, policy=policy)):
        actions = [fake.start_durable("task:task") for _ in range(3)]
        fake.wait_for(lambda: len(fake.asked("wait_for")) == 3, "all wait")
    # It has ended although nothing they wait for came.
    assert [fake.log_of(action).reasons for action in actions] == [["worker shutdown: event go"]] * 3
    assert set(fake.events()) <= {"STARTED"}


def test_d_17_6_one_that_begins_to_wait_while_the_worker_stops_is_evicted_too(
    fake: FakeDurable, hatchet: Hatchet
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def busy(input: Number, ctx: DurableContext) -> None:
        began.set()
        go_on.wait(JOIN_SECONDS)
        ctx.wait_for_event("go")

    worker = durable_worker(hatchet, busy)
    thread = threading.Thread(target=worker.start)
    thread.start()
    action = fake.start_durable("task:task")
    assert began.wait(JOIN_SECONDS)
    worker._stop_soon()
    fake.wait_for(lambda: worker.killing, "the worker stops")
    go_on.set()
    thread.join(JOIN_SECONDS)
    assert not thread.is_alive()
    assert fake.log_of(action).reasons == ["worker shutdown: event go"]


def test_an_engine_that_does_not_answer_does_not_keep_a_worker_that_stops(
    fake: FakeDurable, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "GIVE_UP_SECONDS", 0.1)
    fake.swallow.add("evict_invocation")
    with running(durable_worker(hatchet, _wait_for_go)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.asked("wait_for"), "the wait")
    assert set(fake.events(action)) <= {"STARTED"}


def test_d_17_12_an_eviction_without_answer_holds_up_no_other(fake: FakeDurable, hatchet: Hatchet) -> None:
    with running(durable_worker(hatchet, _wait_for_go, policy=AT_ONCE)):
        fake.swallow.add("evict_invocation")
        first = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.asked("evict_invocation"), "the first eviction is asked for")
        fake.swallow.clear()
        second = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.log_of(second).evicted, "the second is evicted")
        assert not fake.log_of(first).evicted
        # A break settles the first one, and it is asked for again.
        fake.cut_durable()
        fake.wait_for(lambda: fake.log_of(first).evicted, "the first is evicted")
        fake.push_event("go", {})
        output_of(fake, first)


def test_d_17_11_a_refused_eviction_lets_the_task_wait_on(fake: FakeDurable, hatchet: Hatchet) -> None:
    fake.refuse_next("evict_invocation", "the storage is away")
    with running(durable_worker(hatchet, _wait_for_go, policy=AT_ONCE)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: len(fake.asked("evict_invocation")) == 2, "it is asked for again")
        fake.wait_for(lambda: fake.log_of(action).evicted, "it is evicted")
        fake.push_event("go", {})
        assert output_of(fake, action)["invocation"] == 2


def test_d_17_15_code_does_not_run_on_for_a_moment_while_an_eviction_is_decided(
    fake: FakeDurable, hatchet: Hatchet
) -> None:
    ran_on: list[int] = []

    async def task(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_wait_for_event("go")
        ran_on.append(ctx.invocation_count)

    fake.swallow.add("evict_invocation")
    with running(durable_worker(hatchet, task, policy=AT_ONCE)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.asked("evict_invocation"), "the eviction is asked for")
        # The completion overtakes the answer; then the engine evicts all the same, and restores.
        fake.push_event("go", {})
        fake.wait_for(lambda: fake.log_of(action).entries[1].order, "the completion is written")
        ack = pb.DurableTaskEvictionAckResponse(
            durable_task_external_id=action.task_run_external_id, invocation_count=1
        )
        fake.say(pb.DurableTaskResponse(eviction_ack=ack))
        fake.swallow.clear()
        fake.next_invocation(action)
        output_of(fake, action)
    assert ran_on == [2]


@pytest.mark.parametrize("function", [_wait_for_go, _wait_for_go_in_a_thread])
def test_d_16_3_the_engine_takes_an_invocation_away(fake: FakeDurable, hatchet: Hatchet, function: Any) -> None:
    ended: list[bool] = []

    def watched(input: Number, ctx: DurableContext) -> Any:
        try:
            return _wait_for_go_in_a_thread(input, ctx)
        finally:
            ended.append(ctx.is_cancelled)

    async def aio_watched(input: Number, ctx: DurableContext) -> Any:
        try:
            return await _wait_for_go(input, ctx)
        finally:
            ended.append(ctx.is_cancelled)

    chosen = aio_watched if function is _wait_for_go else watched
    with running(durable_worker(hatchet, chosen)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.asked("worker_status"), "the wait is listed")
        fake.server_evict(action, 0)
        fake.server_evict(action, 1)
        fake.wait_for(lambda: ended == [True], "the function ends")
        # The next invocation of the same task is not concerned.
        fake.next_invocation(action)
        fake.wait_for(lambda: len(fake.asked("wait_for")) == 2, "the next invocation waits")
        fake.server_evict(action, 1)
        fake.push_event("go", {"a": 1})
        assert output_of(fake, action) == {"event": {"a": 1}, "invocation": 2}
    assert fake.events(action).count("COMPLETED") == 1


def test_d_16_1_a_stale_invocation_does_no_harm(fake: FakeDurable, hatchet: Hatchet) -> None:
    stalled, go_on = threading.Event(), threading.Event()
    ended: list[bool] = []

    def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        try:
            stalled.set()
            go_on.wait(JOIN_SECONDS)
            return {"memo": ctx.memo(int)}
        finally:
            ended.append(ctx.is_cancelled)

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        assert stalled.wait(JOIN_SECONDS)
        # The engine gave the task to another worker.
        fake.log_of(action).count += 1
        go_on.set()
        fake.wait_for(lambda: ended == [True], "the old invocation ends")
    assert len(fake.asked("memo")) == 1
    assert fake.log_of(action).entries == {}
    assert set(fake.events(action)) <= {"STARTED"}


def test_d_29_1_the_next_invocation_ends_the_one_before(fake: FakeDurable, hatchet: Hatchet) -> None:
    ended: list[int] = []

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        try:
            await asyncio.sleep(0 if ctx.invocation_count == 2 else 3600)
        finally:
            ended.append(ctx.invocation_count)
        return {"invocation": ctx.invocation_count}

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: "STARTED" in fake.events(action), "the first invocation runs")
        fake.next_invocation(action, retry_count=1)
        assert output_of(fake, action) == {"invocation": 2}
        fake.wait_for(lambda: sorted(ended) == [1, 2], "the first one ends")
    assert fake.events(action).count("COMPLETED") == 1


def test_d_17_13_concurrent_branches_end_with_the_eviction(fake: FakeDurable, hatchet: Hatchet) -> None:
    ended: list[str] = []

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        async def busy() -> None:
            try:
                if ctx.invocation_count == 1:
                    await asyncio.sleep(3600)
            finally:
                ended.append(f"busy {ctx.invocation_count}")

        event, _ = await asyncio.gather(ctx.aio_wait_for_event("go"), busy())
        return {"event": event}

    with running(durable_worker(hatchet, task, policy=AT_ONCE)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: "busy 1" in ended, "the other branch ends")
        fake.push_event("go", {"a": 1})
        assert output_of(fake, action) == {"event": {"a": 1}}


def test_d_18_9_children_survive_an_eviction(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def child(input: Number, ctx: Any) -> dict[str, Any]:
        return {}

    declared = hatchet.task(name="child", input_validator=Number)(child)

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        items = [declared.create_bulk_run_item(Number(n=n)) for n in range(3)]
        results = await declared.aio_run_many(items)
        return {"results": results, "invocation": ctx.invocation_count}

    with running(durable_worker(hatchet, task, policy=AT_ONCE)):
        action = fake.start_durable("task:task")
        log = fake.log_of(action)
        fake.wait_for(lambda: log.evicted, "the parent is evicted")
        fake.restores = False
        ids = [entry.run_id for entry in log.children.values()]
        for number, run_id in enumerate(ids):
            fake.finish_child(run_id, {"n": number})
        fake.wait_for(lambda: all(entry.end for entry in log.entries.values()), "the children have ended")
        fake.next_invocation(action)
        output = output_of(fake, action)
    assert output == {"results": [{"n": 0}, {"n": 1}, {"n": 2}], "invocation": 2}
    assert len(log.requests) == 3
    assert log.reasons[0] == "wait TTL exceeded: 3 child runs"


def test_d_4_5_an_eviction_without_answer_is_given_up(
    fake: FakeDurable, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_invocation, "EVICTION_ACK_SECONDS", 0.05)
    fake.swallow.add("evict_invocation")
    with running(durable_worker(hatchet, _wait_for_go, policy=AT_ONCE)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: len(fake.asked("evict_invocation")) == 2, "it is asked for again")
        fake.swallow.clear()
        fake.wait_for(lambda: fake.log_of(action).evicted, "it is evicted")
        fake.push_event("go", {})
        assert output_of(fake, action)["invocation"] == 2


def test_d_4_1_a_late_answer_is_not_taken_for_another(
    fake: FakeDurable, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_invocation, "EVICTION_ACK_SECONDS", 0.05)

    ended: list[int] = []

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        try:
            if ctx.invocation_count == 1:
                await ctx.aio_wait_for_event("go")
            return {"memo": await ctx.aio_memo(int)}
        finally:
            ended.append(ctx.invocation_count)

    fake.swallow |= {"evict_invocation", "memo"}
    with running(durable_worker(hatchet, task, policy=AT_ONCE)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: len(fake.asked("evict_invocation")) == 2, "the first eviction was given up")
        fake.push_event("go", {})
        fake.wait_for(lambda: fake.asked("memo"), "a memo is under way")
        # Now the engine tells that it did evict the task: that is no answer to the memo.
        ack = pb.DurableTaskEvictionAckResponse(
            durable_task_external_id=action.task_run_external_id, invocation_count=1
        )
        fake.say(pb.DurableTaskResponse(eviction_ack=ack))
        fake.wait_for(lambda: ended == [1], "the invocation ends")
        assert fake.asked("complete_memo") == []
        fake.swallow.clear()
        fake.log_of(action).entries.clear()
        fake.next_invocation(action)
        assert output_of(fake, action) == {"memo": 0}
    assert fake.events(action).count("COMPLETED") == 1


def test_outputs_of_evicted_invocations_are_not_reported(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def stubborn(input: Number, ctx: DurableContext) -> dict[str, Any]:
        try:
            await ctx.aio_wait_for_event("go")
        except asyncio.CancelledError:
            return {"finished": ctx.invocation_count}
        return {"went": ctx.invocation_count}

    with running(durable_worker(hatchet, stubborn, policy=AT_ONCE)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.log_of(action).evicted, "it is evicted")
        fake.push_event("go", {})
        assert output_of(fake, action) == {"went": 2}
    outputs = [json.loads(e.event_payload) for e in fake.requests("SendStepActionEvent") if e.event_payload]
    assert outputs == [{"went": 2}]
