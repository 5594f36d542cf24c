"""The stream of durable operations: it comes back, what is waited for survives, and nothing is asked for twice."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from grpc import StatusCode

from fakes.durable_world import durable_worker, error_of, output_of
from fakes.fake_durable import FakeDurable
from fakes.worker_world import Number, running
from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_sdk import DurableContext, Hatchet
from hatchet_sdk.worker import durable_invocation, durable_stream

pytest_plugins = ["fakes.durable_fixtures"]

ENDS = [StatusCode.OK, StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.CANCELLED]


async def _wait_for_go(input: Number, ctx: DurableContext) -> dict[str, Any]:
    return await ctx.aio_wait_for_event("go")


def _listed(fake: FakeDurable) -> list[tuple[int, int]]:
    """What the statuses listed: (node, invocation)."""
    return [
        (one.node_id, one.invocation_count) for status in fake.asked("worker_status") for one in status.waiting_entries
    ]


def test_d_2_1_the_stream_is_opened_by_the_first_durable_task(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> None: ...

    with running(durable_worker(hatchet, task)):
        fake.wait_for(lambda: fake.open_streams, "connected")
        assert fake.durable_streams == 0
        output_of(fake, fake.start_durable("task:task"))
        output_of(fake, fake.start_durable("task:task"))
        fake.wait_for(lambda: fake.registered, "registered")
    assert fake.registered == [fake.worker_ids[0]]
    assert fake.durable_streams == 1


@pytest.mark.parametrize("end", ENDS)
def test_d_2_8_it_comes_back_after_every_end_and_waits_survive(
    fake: FakeDurable, hatchet: Hatchet, end: StatusCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the status behind the registration can tell.
    monkeypatch.setattr(durable_stream, "STATUS_SECONDS", 3600.0)
    with running(durable_worker(hatchet, _wait_for_go)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: _listed(fake), "the wait is listed")
        # Lost on the way: only what the worker says on the next stream brings it back.
        fake.pushes_completions = False
        fake.cut_durable(end)
        fake.push_event("go", {"a": 1})
        assert output_of(fake, action) == {"a": 1}
    kinds = [request.WhichOneof("message") for request in fake.durable_requests]
    second = kinds.index("register_worker", 1)
    # D-2.3: directly behind the registration.
    assert kinds[second + 1] == "worker_status"


def test_d_2_7_a_restart_of_the_engine_fails_no_waiting_task(fake: FakeDurable, hatchet: Hatchet) -> None:
    with running(durable_worker(hatchet, _wait_for_go)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: _listed(fake), "the wait is listed")
        fake.stop()
        fake.start()
        fake.wait_for(lambda: fake.durable_streams == 2, "the stream is back")
        fake.push_event("go", {"a": 2})
        assert output_of(fake, action) == {"a": 2}
    assert len(fake.asked("wait_for")) == 1


def test_d_2_10_a_step_under_way_when_the_stream_breaks_fails_the_attempt(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> None:
        try:
            await ctx.aio_sleep_for("1ms")
        except Exception:
            # Whether the sleep is in the log is not known, so nothing else may be asked for either.
            await ctx.aio_memo(int)

    fake.swallow.add("wait_for")
    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.asked("wait_for"), "the step is under way")
        fake.cut_durable()
        event_text = error_of(fake, action)
        assert not fake.terminal(action).should_not_retry
    assert "DurableOperationError: the connection to the engine broke during a step" in event_text
    assert fake.asked("memo") == []
    assert len(fake.asked("wait_for")) == 1


def test_d_28_1_a_step_that_had_not_left_follows_on_the_next_stream(fake: FakeDurable, hatchet: Hatchet) -> None:
    broken, go_on = threading.Event(), threading.Event()

    def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        ctx.sleep_for("1ms")
        broken.set()
        go_on.wait(60)
        return {"value": ctx.memo(int)}

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        assert broken.wait(60)
        fake.fail("DurableTask", StatusCode.UNAVAILABLE, times=2)
        fake.cut_durable()
        fake.wait_for(lambda: "DurableTask failed" in fake.calls, "the stream is away")
        go_on.set()
        assert output_of(fake, action) == {"value": 0}


def test_d_2_9_the_value_of_a_memo_is_sent_again_until_the_engine_has_it(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        return {"value": await ctx.aio_memo(int)}

    fake.swallow.add("complete_memo")
    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.asked("complete_memo"), "the value")
        fake.swallow.clear()
        fake.cut_durable()
        assert output_of(fake, action) == {"value": 0}
    assert len(fake.asked("complete_memo")) == 2


def test_d_4_4_a_step_without_an_answer_fails(
    fake: FakeDurable, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_invocation.Invocation._exchange, "__defaults__", (0.05,))

    async def task(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_sleep_for("1ms")

    fake.swallow.add("wait_for")
    with running(durable_worker(hatchet, task)):
        assert "did not answer a step of this task within 0.05 s" in error_of(fake, fake.start_durable("task:task"))


def test_d_15_7_what_is_waited_for_is_told_at_once_and_again(
    fake: FakeDurable, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_stream, "STATUS_SECONDS", 0.05)
    fake.pushes_completions = False
    with running(durable_worker(hatchet, _wait_for_go)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: len(_listed(fake)) >= 3, "three statuses")
        fake.push_event("go", {"a": 3})
        # Nothing was pushed: the answer to a status repairs it (D-15.9).
        assert output_of(fake, action) == {"a": 3}
    assert set(_listed(fake)) == {(1, 1)}
    assert {status.worker_id for status in fake.asked("worker_status")} == {fake.worker_ids[0]}


def test_d_15_6_the_highest_order_received_is_told(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_sleep_for("1ms")
        await ctx.aio_sleep_for("1ms")
        await ctx.aio_wait_for_event("go")

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: (3, 1) in _listed(fake), "the third wait is listed")
        fake.push_event("go", {})
        output_of(fake, action)
    orders = [
        one.highest_received_satisfied_order
        for status in fake.asked("worker_status")
        for one in status.received_satisfied_orders
    ]
    assert orders == [1, 2]


def test_d_15_5_a_completion_that_comes_twice_is_taken_once(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        first = await ctx.aio_wait_for_event("go")
        second = await ctx.aio_wait_for_event("go")
        return {"first": first, "second": second}

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: _listed(fake), "the first wait")
        fake.push_event("go", {"n": 1})
        fake.wait_for(lambda: (2, 1) in _listed(fake), "the second wait")
        log = fake.log_of(action)
        fake._loop.call_soon_threadsafe(fake._complete, log, log.entries[1])
        fake.push_event("go", {"n": 2})
        assert output_of(fake, action) == {"first": {"n": 1}, "second": {"n": 2}}


def test_d_15_15_odd_messages_do_not_break_the_stream(fake: FakeDurable, hatchet: Hatchet) -> None:
    with running(durable_worker(hatchet, _wait_for_go)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: _listed(fake), "the wait is listed")
        ref = pb.DurableEventLogEntryRef(
            durable_task_external_id=action.task_run_external_id, invocation_count=1, branch_id=1, node_id=9
        )
        completed = pb.DurableTaskEventLogEntryCompletedResponse(ref=ref, payload=b"no json")
        fake.say(pb.DurableTaskResponse(entry_completed=completed))
        fake.say(pb.DurableTaskResponse(wait_for_ack={"ref": ref}))
        fake.say(pb.DurableTaskResponse())
        fake.push_event("go", {"a": 4})
        assert output_of(fake, action) == {"a": 4}
    assert fake.durable_streams == 1


def test_an_engine_that_refuses_the_stream_is_named_in_the_error(fake: FakeDurable, hatchet: Hatchet) -> None:
    fake.fail("DurableTask", StatusCode.PERMISSION_DENIED, times=1000)
    with running(durable_worker(hatchet, _wait_for_go)):
        assert "broken by the test (DurableTask at" in error_of(fake, fake.start_durable("task:task"))


def test_the_stream_follows_a_new_worker_record(fake: FakeDurable, hatchet: Hatchet) -> None:
    with running(durable_worker(hatchet, _wait_for_go)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: _listed(fake), "the wait is listed")
        first = fake.worker_ids[0]
        fake.worker_ids.remove(first)
        fake.drop_streams()
        fake.wait_for(lambda: len(fake.registered) == 2, "the stream is opened for the new record")
        fake.push_event("go", {})
        output_of(fake, action)
    assert fake.registered == [first, fake.worker_ids[0]]


def test_d_21_3_a_cancellation_ends_the_waits(fake: FakeDurable, hatchet: Hatchet) -> None:
    seen: list[str] = []

    async def task(input: Number, ctx: DurableContext) -> None:
        try:
            await ctx.aio_wait_for_event("go")
        finally:
            seen.append(f"ended, flag {ctx.exit_flag}")

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: _listed(fake), "the wait is listed")
        fake.cancel_task(action)
        fake.wait_for(lambda: seen, "the function ends")
    assert seen == ["ended, flag True"]
    assert set(fake.events(action)) <= {"STARTED"}


def test_d_5_5_a_cancellation_of_another_invocation_ends_nothing(fake: FakeDurable, hatchet: Hatchet) -> None:
    with running(durable_worker(hatchet, _wait_for_go)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: _listed(fake), "the wait is listed")
        other = type(action)()
        other.CopyFrom(action)
        other.durable_task_invocation_count = 2
        fake.cancel_task(other)
        fake.push_event("go", {"a": 5})
        assert output_of(fake, action) == {"a": 5}


def test_a_cancellation_ends_the_wait_of_a_function_that_is_not_async(fake: FakeDurable, hatchet: Hatchet) -> None:
    seen: list[str] = []

    def task(input: Number, ctx: DurableContext) -> None:
        try:
            ctx.wait_for_event("go")
        except Exception:
            seen.append("an ordinary exception")
        finally:
            seen.append("ended")

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: _listed(fake), "the wait is listed")
        fake.cancel_task(action)
        fake.wait_for(lambda: seen, "the function ends")
    assert seen == ["ended"]
    assert set(fake.events(action)) <= {"STARTED"}


def test_d_4_1_a_step_that_nobody_awaits_any_more_is_answered_before_the_next(
    fake: FakeDurable, hatchet: Hatchet
) -> None:
    asked, given_up = threading.Event(), threading.Event()

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        first = asyncio.create_task(ctx.aio_sleep_for("1h"))
        await asyncio.to_thread(asked.wait, 60)
        first.cancel()
        second = asyncio.create_task(ctx.aio_sleep_for("1ms"))
        await asyncio.sleep(0)
        given_up.set()
        return {"slept": (await second).duration.total_seconds()}

    async def other(input: Number, ctx: DurableContext) -> dict[str, Any]:
        return {"memo": await ctx.aio_memo(int)}

    other_task = hatchet.durable_task(name="other", input_validator=Number)(other)
    fake.swallow.add("wait_for")
    with running(durable_worker(hatchet, task, other_task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.asked("wait_for"), "the first sleep is asked for")
        asked.set()
        assert given_up.wait(60)
        # What another task asks for comes behind whatever the first has asked for by now.
        output_of(fake, fake.start_durable("other:other"))
        unanswered = fake.asked("wait_for")
        fake.swallow.clear()
        for message in unanswered:
            fake._loop.call_soon_threadsafe(fake._step, "wait_for", message)
        assert output_of(fake, action) == {"slept": 0.001}
    assert len(fake.asked("wait_for")) == 2
