"""The worker against a fake dispatcher: a real gRPC server that does nothing by itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import grpc
import pytest
from pydantic import BaseModel

from fakes.fake_dispatcher import FakeDispatcher, token
from fakes.fake_rest import FakeRest
from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_sdk import ClientConfig, ClientTLSConfig, Context, Hatchet, NonRetryableException, RetryAfterException
from hatchet_sdk.context.current import current_context
from hatchet_sdk.exceptions import LifespanSetupError, LoopAlreadyRunningError, TaskRunError
from hatchet_sdk.worker import attempts
from hatchet_sdk.worker.errors import WorkerRegistrationError
from hatchet_sdk.worker.worker import Worker, WorkerStartOptions, WorkerStatus

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
JOIN_SECONDS = 20.0


class Number(BaseModel):
    n: int = 0


@pytest.fixture
def fake() -> Iterator[FakeDispatcher]:
    fake = FakeDispatcher()
    yield fake
    fake.close()


@pytest.fixture
def rest() -> Iterator[FakeRest]:
    rest = FakeRest()
    yield rest
    rest.close()


def config(fake: FakeDispatcher, rest: FakeRest | None = None, **values: Any) -> ClientConfig:
    url = rest.url if rest is not None else "http://127.0.0.1:1"
    return ClientConfig(token=token(fake.port, url), tls_config=ClientTLSConfig(strategy="none"), **values)


@pytest.fixture
def hatchet(fake: FakeDispatcher, rest: FakeRest) -> Hatchet:
    return Hatchet(config=config(fake, rest))


@contextmanager
def running(worker: Worker) -> Iterator[threading.Thread]:
    """The worker in a thread of its own, where it handles no signals."""
    thread = threading.Thread(target=worker.start)
    thread.start()
    try:
        yield thread
    finally:
        asyncio.run(worker.exit_gracefully())
        thread.join(JOIN_SECONDS)
        assert not thread.is_alive()


def worker_of(hatchet: Hatchet, **functions: Callable[..., Any]) -> Worker:
    tasks = [hatchet.task(name=name, input_validator=Number)(function) for name, function in functions.items()]
    return hatchet.worker("test-worker", slots=10, workflows=tasks)


# --- what a task gets and what becomes of it -----------------------------------------------------------------------


async def double(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
    return {"n": input.n * 2}


def sync_double(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
    return {"n": input.n * 2}


@pytest.mark.parametrize("function", [double, sync_double])
def test_c_5_29_a_short_task_is_reported_once(
    fake: FakeDispatcher, hatchet: Hatchet, function: Callable[..., Any]
) -> None:
    with running(worker_of(hatchet, task=function)):
        action = fake.start_task("task:task", {"n": 21})
        event = fake.terminal(action)
        assert event.event_payload == '{"n":42}'
        assert (event.job_id, event.job_run_id, event.task_id) == ("job", action.job_run_id, "task")
        assert event.worker_id == fake.worker_ids[0]
        assert event.HasField("retry_count")
        assert event.event_timestamp.seconds > 0
    assert fake.events(action) == ["COMPLETED"]


def test_c_5_26_a_long_task_is_reported_started(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    go_on = threading.Event()

    def slow(input: Number, ctx: Context) -> None:  # noqa: A002
        go_on.wait(JOIN_SECONDS)

    with running(worker_of(hatchet, slow=slow)):
        action = fake.start_task("slow:slow")
        fake.wait_for(lambda: fake.events(action) == ["STARTED"], "STARTED")
        go_on.set()
        assert fake.terminal(action).event_payload == ""
    assert fake.events(action) == ["STARTED", "COMPLETED"]


def test_the_context_tells_what_the_assignment_says(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    seen: list[Context] = []

    async def look(input: Number, ctx: Context) -> None:  # noqa: A002
        assert current_context.get() is ctx
        assert hatchet.current_context is ctx
        seen.append(ctx)

    task = hatchet.task(name="Look", retries=2)(look)
    worker = hatchet.worker("labelled", labels={"zone": "b", "size": 3}, workflows=[task])
    with running(worker):
        action = fake.start_task(
            "look:look",
            {"a": 1},
            retry_count=1,
            additional_metadata='{"tenant": "x"}',
            child_workflow_index=0,
            child_workflow_key="k",
            parent_workflow_run_id="p",
            priority=2,
            workflow_id="w",
            workflow_version_id="v",
        )
        fake.terminal(action)
    (ctx,) = seen
    assert ctx.workflow_run_id == ctx.task_run_id == ctx.step_run_id == action.task_run_external_id
    assert ctx.input == ctx.workflow_input == ctx.data.input == {"a": 1}
    assert (ctx.retry_count, ctx.attempt_number, ctx.max_attempts) == (1, 2, 3)
    assert (ctx.task_name, ctx.workflow_name, ctx.workflow_id, ctx.workflow_version_id) == ("look", "Look", "w", "v")
    assert (ctx.child_index, ctx.child_key, ctx.parent_workflow_run_id, ctx.priority) == (0, "k", "p", 2)
    assert ctx.additional_metadata == {"tenant": "x"}
    assert ctx.worker_id == ctx.worker.id() == fake.worker_ids[0]
    assert ctx.worker.labels() == ctx.worker_labels == {"zone": "b", "size": 3}
    assert not ctx.exit_flag
    assert not ctx.is_cancelled
    assert not ctx.done()
    assert ctx.lifespan is None
    assert [ctx.next_child_index(), ctx.next_child_index()] == [0, 1]


def test_an_absent_optional_field_is_none(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    seen: list[object] = []

    async def look(input: Number, ctx: Context) -> None:  # noqa: A002
        seen.extend((ctx.child_index, ctx.child_key, ctx.parent_workflow_run_id, ctx.priority, ctx.workflow_id))
        seen.append(ctx.additional_metadata)

    with running(worker_of(hatchet, look=look)):
        fake.terminal(fake.start_task("look:look"))
    assert seen == [None, None, None, None, None, {}]


def test_the_calls_of_the_context_reach_the_engine(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    def sync_calls(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        ctx.refresh_timeout(timedelta(seconds=10))
        ctx.release_slot()
        ctx.upsert_worker_labels({"a": 1})
        return {"labels": ctx.worker.labels()}

    async def async_calls(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        await ctx.aio_refresh_timeout("1m")
        await ctx.aio_release_slot()
        await ctx.aio_upsert_worker_labels({"b": "x"})
        return {"labels": ctx.worker.labels()}

    with running(worker_of(hatchet, sync_calls=sync_calls, async_calls=async_calls)):
        first = fake.start_task("sync_calls:sync_calls")
        assert fake.terminal(first).event_payload == '{"labels":{"a":1}}'
        second = fake.start_task("async_calls:async_calls")
        assert fake.terminal(second).event_payload == '{"labels":{"a":1,"b":"x"}}'
    refreshed = fake.requests("RefreshTimeout")
    assert [request.increment_timeout_by for request in refreshed] == ["10s", "1m"]
    assert [request.task_run_external_id for request in fake.requests("ReleaseSlot")] == [
        first.task_run_external_id,
        second.task_run_external_id,
    ]
    assert [dict(request.labels).keys() for request in fake.requests("UpsertWorkerLabels")] == [{"a"}, {"b"}]


def test_tasks_see_the_context_variables_of_start(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    variable: ContextVar[str] = ContextVar("variable")

    def read(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        before = variable.get()
        variable.set("changed by a task")
        return {"value": before}

    async def aio_read(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        return read(input, ctx)

    worker = worker_of(hatchet, read=read, aio_read=aio_read)
    start = worker.start

    def start_with_variable() -> None:
        variable.set("from start")
        start()

    worker.start = start_with_variable  # type: ignore[method-assign, assignment]
    with running(worker):
        for action_id in ("read:read", "aio_read:aio_read", "read:read", "aio_read:aio_read"):
            assert fake.terminal(fake.start_task(action_id)).event_payload == '{"value":"from start"}'


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [True, False])
def test_c_5_40_a_failure_carries_the_error(fake: FakeDispatcher, hatchet: Hatchet, is_async: bool) -> None:
    def broken(input: Number, ctx: Context) -> None:  # noqa: A002
        raise KeyError("no such key")

    async def aio_broken(input: Number, ctx: Context) -> None:  # noqa: A002
        broken(input, ctx)

    with running(worker_of(hatchet, broken=aio_broken if is_async else broken)):
        action = fake.start_task("broken:broken")
        event = fake.terminal(action)
    assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
    error = TaskRunError.deserialize(event.event_payload)
    assert (error.exc_type, error.exc) == ("KeyError", "'no such key'")
    assert error.task_run_external_id == action.task_run_external_id
    assert "in broken" in error.trace
    assert "executor.py" not in error.trace
    assert not event.should_not_retry
    assert not event.HasField("retry_after_ms")


def test_c_5_34_a_non_retryable_failure_says_so(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    async def broken(input: Number, ctx: Context) -> None:  # noqa: A002
        raise NonRetryableException("for good")

    with running(worker_of(hatchet, broken=broken)):
        assert fake.terminal(fake.start_task("broken:broken")).should_not_retry


def test_c_6_27_retry_after_travels_in_milliseconds(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    async def later(input: Number, ctx: Context) -> None:  # noqa: A002
        raise RetryAfterException("busy", after=timedelta(seconds=1.5))

    with running(worker_of(hatchet, later=later)):
        event = fake.terminal(fake.start_task("later:later"))
    assert event.retry_after_ms == 1500
    assert not event.should_not_retry


def test_an_input_that_does_not_fit_fails_for_good(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(worker_of(hatchet, task=double)):
        event = fake.terminal(fake.start_task("task:task", {"n": "many"}))
    assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
    assert event.event_payload.startswith("ValidationError: ")
    assert event.should_not_retry


def test_a_payload_that_is_no_json_fails_for_good(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(worker_of(hatchet, task=double)):
        event = fake.terminal(fake.start_task("task:task", action_payload="[1]"))
    assert "must be a JSON object" in event.event_payload
    assert event.should_not_retry


@pytest.mark.parametrize("output", ["text", {"a": object()}, 7])
def test_an_output_that_json_cannot_hold_fails(fake: FakeDispatcher, hatchet: Hatchet, output: Any) -> None:
    async def illegal(input: Number, ctx: Context) -> Any:  # noqa: A002
        return output

    with running(worker_of(hatchet, illegal=illegal)):
        event = fake.terminal(fake.start_task("illegal:illegal"))
    assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
    assert event.event_payload.startswith("IllegalTaskOutputError: task 'illegal' returned ")


def test_c_5_39_an_output_that_is_too_large_fails_with_size_and_limit(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    async def large(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        return {"x": "y" * input.n}

    with running(worker_of(hatchet, large=large)):
        event = fake.terminal(fake.start_task("large:large", {"n": 5_000_000}))
        assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
        assert "has 5000008 bytes, the limit is 4177920" in event.event_payload
        event = fake.terminal(fake.start_task("large:large", {"n": 4_000_000}))
        assert event.event_type == pb.STEP_EVENT_TYPE_COMPLETED


def test_c_5_39_an_output_above_the_engines_own_limit_fails(rest: FakeRest) -> None:
    fake = FakeDispatcher(max_message_bytes=1_000_000)

    async def large(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        return {"x": "y" * 2_000_000}

    with running(worker_of(Hatchet(config=config(fake, rest)), large=large)):
        event = fake.terminal(fake.start_task("large:large"))
    assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
    assert "the engine refused it" in event.event_payload
    fake.close()


def test_c_5_39_an_error_that_is_too_large_is_cut(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    async def verbose(input: Number, ctx: Context) -> None:  # noqa: A002
        raise ValueError("z" * 5_000_000)

    with running(worker_of(hatchet, verbose=verbose)):
        event = fake.terminal(fake.start_task("verbose:verbose"))
    assert event.event_payload.startswith("ValueError: zzz")
    assert "the limit is 4177920" in event.event_payload
    assert len(event.event_payload) < 3000


def test_c_5_3_an_unknown_action_fails_at_once(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(worker_of(hatchet, task=double)):
        event = fake.terminal(fake.start_task("nobody:knows"))
    assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
    assert "no function for the action 'nobody:knows'" in event.event_payload
    assert "task:task" in event.event_payload


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError("mine"), GeneratorExit()])
@pytest.mark.parametrize("is_async", [True, False])
def test_no_exception_of_a_task_kills_the_worker(
    fake: FakeDispatcher, hatchet: Hatchet, error: BaseException, is_async: bool
) -> None:
    def deadly(input: Number, ctx: Context) -> None:  # noqa: A002
        raise error

    async def aio_deadly(input: Number, ctx: Context) -> None:  # noqa: A002
        raise error

    with running(worker_of(hatchet, deadly=aio_deadly if is_async else deadly, task=double)):
        event = fake.terminal(fake.start_task("deadly:deadly"))
        assert event.event_payload.startswith(f"{type(error).__name__}: ")
        assert fake.terminal(fake.start_task("task:task", {"n": 1})).event_payload == '{"n":2}'


def test_an_error_without_readable_text_is_reported(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    async def broken(input: Number, ctx: Context) -> None:  # noqa: A002
        raise Unreadable

    async def surrogate(input: Number, ctx: Context) -> None:  # noqa: A002
        raise ValueError("lone \ud800 surrogate")

    with running(worker_of(hatchet, broken=broken, surrogate=surrogate)):
        event = fake.terminal(fake.start_task("broken:broken"))
        assert event.event_payload.startswith("Unreadable: ")
        event = fake.terminal(fake.start_task("surrogate:surrogate"))
        assert event.event_payload.startswith("ValueError: lone \\ud800 surrogate")


# --- the connection ------------------------------------------------------------------------------------------------


def test_c_2_20_a_task_that_blocks_the_main_loop_keeps_the_heartbeat(
    fake: FakeDispatcher, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hatchet_sdk.worker.connection.HEARTBEAT_SECONDS", 0.1)
    go_on = threading.Event()

    async def blocking(input: Number, ctx: Context) -> None:  # noqa: A002
        go_on.wait(JOIN_SECONDS)

    with running(worker_of(hatchet, blocking=blocking, task=sync_double)):
        action = fake.start_task("blocking:blocking")
        fake.wait_for(lambda: fake.events(action) == ["STARTED"], "the task blocks the loop")
        before = len(fake.times("Heartbeat"))
        fake.wait_for(lambda: len(fake.times("Heartbeat")) >= before + 10, "heartbeats go on")
        # Nor does it keep sync tasks and their reports.
        assert fake.terminal(fake.start_task("task:task", {"n": 1})).event_payload == '{"n":2}'
        assert fake.events(action) == ["STARTED"]
        go_on.set()
        fake.terminal(action)


@pytest.mark.parametrize("code", [UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.OK])
def test_c_2_17_a_broken_stream_is_opened_again_under_the_same_id(
    fake: FakeDispatcher, hatchet: Hatchet, code: grpc.StatusCode
) -> None:
    with running(worker_of(hatchet, task=double)):
        fake.terminal(fake.start_task("task:task"))
        fake.drop_streams(code)
        fake.wait_for(lambda: fake.streams == 2, "the stream is open again")
        fake.terminal(fake.start_task("task:task"))
        assert {request.worker_id for request in fake.requests("ListenV2")} == {fake.worker_ids[0]}
        assert len(fake.requests("Register")) == 1


def test_the_engine_restarts_and_nothing_is_lost(
    fake: FakeDispatcher, hatchet: Hatchet, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()

    def held(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        go_on.wait(JOIN_SECONDS)
        return {"n": input.n}

    worker = worker_of(hatchet, held=held)
    with caplog.at_level(logging.INFO, "hatchet.worker"), running(worker):
        through_it = fake.start_task("held:held", {"n": 1})
        fake.wait_for(lambda: fake.events(through_it) == ["STARTED"], "the task runs")
        assert worker.status is WorkerStatus.HEALTHY
        fake.stop()
        fake.wait_for(lambda: worker.status is WorkerStatus.UNHEALTHY, "the worker notices")
        go_on.set()  # the result has nowhere to go
        fake.start()
        assert fake.terminal(through_it).event_payload == '{"n":1}'
        fake.wait_for(lambda: worker.status is WorkerStatus.HEALTHY, "the worker is back")
        assert fake.terminal(fake.start_task("held:held", {"n": 2})).event_payload == '{"n":2}'
    assert len(fake.worker_ids) == 1
    messages = [record.getMessage() for record in caplog.records]
    assert sum("lost the connection to the engine at 127.0.0.1:" in message for message in messages) == 1
    assert sum("reconnected to the engine" in message for message in messages) == 1
    assert not any(record.exc_info for record in caplog.records)
    assert hatchet.config.token not in caplog.text


def test_after_a_reconnect_running_tasks_are_stated_again(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    go_on = threading.Event()

    def held(input: Number, ctx: Context) -> None:  # noqa: A002
        go_on.wait(JOIN_SECONDS)

    with running(worker_of(hatchet, held=held)):
        actions = [fake.start_task("held:held") for _ in range(3)]
        fake.wait_for(lambda: len(fake.events()) == 3, "all have started")
        fake.drop_streams()
        for action in actions:
            fake.wait_for(lambda a=action: fake.events(a) == ["STARTED"] * 2, "STARTED again")  # type: ignore[misc]
        go_on.set()
        for action in actions:
            fake.terminal(action)


def test_a_second_start_of_a_running_attempt_is_ignored(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    started = []
    go_on = threading.Event()

    def held(input: Number, ctx: Context) -> None:  # noqa: A002
        started.append(ctx.retry_count)
        go_on.wait(JOIN_SECONDS)

    with running(worker_of(hatchet, held=held, task=double)):
        action = fake.start_task("held:held")
        fake.wait_for(lambda: started == [0], "it runs")
        fake.send(action)
        # The next attempt of the same task run is another one.
        retry = pb.AssignedAction()
        retry.CopyFrom(action)
        retry.retry_count = 1
        fake.send(retry)
        fake.wait_for(lambda: started == [0, 1], "the retry runs")
        go_on.set()
        fake.wait_for(lambda: fake.events(action).count("COMPLETED") == 2, "both are reported")
        fake.terminal(fake.start_task("task:task"))
    assert started == [0, 1]
    assert fake.events(action).count("COMPLETED") == 2


def test_c_5_38_a_result_survives_failing_reports(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(worker_of(hatchet, task=double)):
        fake.wait_for(lambda: fake.open_streams, "connected")
        fake.fail("SendStepActionEvent", UNAVAILABLE, times=3)
        action = fake.start_task("task:task", {"n": 4})
        assert fake.terminal(action).event_payload == '{"n":8}'
        fake.wait_for(lambda: len(fake.requests("SendStepActionEvent failed")) == 3, "three tries failed")
    assert fake.events(action) == ["COMPLETED"]


def test_a_start_that_comes_again_while_its_report_is_under_way_is_ignored(
    fake: FakeDispatcher, hatchet: Hatchet
) -> None:
    runs = []

    async def count(input: Number, ctx: Context) -> None:  # noqa: A002
        runs.append(ctx.task_run_id)

    with running(worker_of(hatchet, count=count)):
        fake.wait_for(lambda: fake.open_streams, "connected")
        fake.fail("SendStepActionEvent", grpc.StatusCode.INTERNAL)
        action = fake.start_task("count:count")
        fake.wait_for(lambda: fake.requests("SendStepActionEvent failed"), "the first try failed")
        fake.send(action)
        fake.terminal(action)
    assert len(runs) == 1


def test_c_5_25_a_refused_report_is_given_up(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(worker_of(hatchet, task=double)):
        fake.wait_for(lambda: fake.open_streams, "connected")
        fake.fail("SendStepActionEvent", grpc.StatusCode.INVALID_ARGUMENT)
        lost = fake.start_task("task:task")
        fake.wait_for(lambda: fake.requests("SendStepActionEvent failed"), "the report was refused")
        fake.terminal(fake.start_task("task:task"))
    # The worker ended in good order although that report never arrived.
    assert fake.events(lost) == []


def test_a_worker_that_the_engine_forgot_registers_again(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    worker = hatchet.worker("again", slots=7, labels={"a": 1}, workflows=[hatchet.task(name="task")(double_any)])
    with running(worker):
        fake.terminal(fake.start_task("task:task"))
        fake.fail("ListenV2", grpc.StatusCode.NOT_FOUND)
        fake.drop_streams()
        fake.wait_for(lambda: len(fake.worker_ids) == 2, "a second record")
        event = fake.terminal(fake.start_task("task:task"))
        assert event.worker_id == fake.worker_ids[1]
    first, second = fake.requests("Register")
    assert first == second
    assert [request.worker_id for request in fake.requests("ListenV2")] == fake.worker_ids


async def double_any(input: Any, ctx: Context) -> dict[str, Any]:  # noqa: A002
    return {}


@pytest.mark.parametrize("code", [grpc.StatusCode.DEADLINE_EXCEEDED, UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION])
def test_c_2_22_after_a_failed_heartbeat_the_stream_is_opened_again(
    fake: FakeDispatcher, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch, code: grpc.StatusCode
) -> None:
    monkeypatch.setattr("hatchet_sdk.worker.connection.HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr("hatchet_sdk.worker.connection.OPENING_SECONDS", 0.0)
    with running(worker_of(hatchet, task=double)):
        fake.terminal(fake.start_task("task:task"))
        fake.fail("Heartbeat", code)
        fake.wait_for(lambda: fake.streams == 2, "a fresh stream")
        fake.terminal(fake.start_task("task:task"))


def test_c_2_23_an_engine_without_heartbeats_is_not_asked_again(
    fake: FakeDispatcher, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hatchet_sdk.worker.connection.HEARTBEAT_SECONDS", 0.02)
    fake.fail("Heartbeat", grpc.StatusCode.UNIMPLEMENTED)
    with running(worker_of(hatchet, task=double)):
        for _ in range(5):
            fake.terminal(fake.start_task("task:task"))
    assert fake.requests("Heartbeat") == []


# --- cancellation --------------------------------------------------------------------------------------------------


def test_c_5_20_an_async_task_is_cancelled_at_once_and_silently(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    seen: list[str] = []

    async def endless(input: Number, ctx: Context) -> None:  # noqa: A002
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(f"cancelled {ctx.exit_flag} {ctx.is_cancelled} {ctx.done()}")

    with running(worker_of(hatchet, endless=endless)):
        action = fake.start_task("endless:endless")
        fake.wait_for(lambda: seen == ["begun"], "it runs")
        fake.cancel_task(action)
        fake.wait_for(lambda: seen == ["begun", "cancelled True True True"], "it was cancelled")
    assert set(fake.events(action)) <= {"STARTED"}


def test_c_5_20_a_sync_task_sees_the_exit_flag_and_its_result_is_dropped(
    fake: FakeDispatcher, hatchet: Hatchet
) -> None:
    ended = threading.Event()

    def patient(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        while not ctx.exit_flag:
            time.sleep(0.001)
        ended.set()
        return {"too": "late"}

    with running(worker_of(hatchet, patient=patient)):
        action = fake.start_task("patient:patient")
        fake.wait_for(lambda: fake.events(action) == ["STARTED"], "it runs")
        fake.cancel_task(action)
        fake.wait_for(ended.is_set, "it saw the flag")
    assert fake.events(action) == ["STARTED"]


def test_c_5_22_a_cancel_of_nothing_is_ignored(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(worker_of(hatchet, task=double)):
        action = fake.start_task("task:task")
        fake.terminal(action)
        fake.cancel_task(action)
        fake.terminal(fake.start_task("task:task"))


def test_a_task_can_cancel_itself(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    flags: list[bool] = []

    async def aio_self(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        await ctx.aio_cancel()
        flags.append(ctx.exit_flag)
        return {}

    def sync_self(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        ctx.cancel()
        flags.append(ctx.exit_flag)
        return {}

    with running(worker_of(hatchet, aio_self=aio_self, sync_self=sync_self)):
        actions = [fake.start_task("aio_self:aio_self"), fake.start_task("sync_self:sync_self")]
        fake.wait_for(lambda: flags == [True, True], "both are cancelled")
    asked = {request.external_ids[0] for request in fake.requests("CancelTasks")}
    assert asked == {action.task_run_external_id for action in actions}
    assert "COMPLETED" not in fake.events()


# --- start and stop ------------------------------------------------------------------------------------------------


def test_c_2_4_what_the_worker_registers(fake: FakeDispatcher, rest: FakeRest) -> None:
    hatchet = Hatchet(config=config(fake, rest, namespace="Ns", worker_preset_labels={"preset": "p", "zone": "a"}))
    tasks = [hatchet.task(name="One")(double_any), hatchet.task(name="Two")(double_any)]
    worker = hatchet.worker("w", slots=3, labels={"zone": "b", "n": 4}, workflows=tasks)
    assert (worker.slots, worker.name, worker.status) == (3, "ns_w", WorkerStatus.INITIALIZED)
    with running(worker):
        fake.wait_for(lambda: fake.open_streams, "connected")
    assert [request.name for request in fake.requests("PutWorkflow")] == ["ns_One", "ns_Two"]
    (request,) = fake.requests("Register")
    assert request.worker_name == "ns_w"
    assert list(request.actions) == ["ns_one:one", "ns_two:two"]
    assert list(request.services) == ["default"]
    assert dict(request.slot_config) == {"default": 3}
    assert not request.HasField("slots")
    labels = {key: label.str_value or label.int_value for key, label in request.labels.items()}
    assert labels == {"preset": "p", "zone": "b", "n": 4}
    assert request.runtime_info.language == pb.PYTHON


def test_a_worker_with_nothing_to_run_says_so_before_any_call(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with pytest.raises(WorkerRegistrationError, match="'idle' has nothing to run: pass workflows="):
        hatchet.worker("idle").start()
    assert fake.calls == {}


def test_a_refused_workflow_ends_the_start_with_its_name_and_the_engines_text(
    fake: FakeDispatcher, hatchet: Hatchet
) -> None:
    fake.fail("PutWorkflow", grpc.StatusCode.INVALID_ARGUMENT, text="the timeout is odd")
    worker = worker_of(hatchet, task=double)
    with pytest.raises(WorkerRegistrationError, match="workflow 'task' was not registered: the timeout is odd"):
        worker.start()
    assert fake.requests("Register") == []
    assert worker.status is WorkerStatus.INITIALIZED


def test_a_refused_worker_ends_the_start(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    fake.fail("Register", grpc.StatusCode.INVALID_ARGUMENT, text="bad slots")
    with pytest.raises(WorkerRegistrationError, match="worker 'test-worker' was not registered: bad slots"):
        worker_of(hatchet, task=double).start()


def test_register_is_tried_again_when_the_engine_is_only_just_not_there(
    fake: FakeDispatcher, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hatchet_sdk.worker.registration.REGISTER_WAIT_SECONDS", 0.01)
    fake.fail("Register", UNAVAILABLE, times=3)
    with running(worker_of(hatchet, task=double)):
        fake.terminal(fake.start_task("task:task"))


async def test_start_in_a_coroutine_is_an_error(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with pytest.raises(LoopAlreadyRunningError, match="cannot be called from a coroutine"):
        worker_of(hatchet, task=double).start()


def test_a_given_loop_is_used_and_left_open(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    loop = asyncio.new_event_loop()
    loops: list[asyncio.AbstractEventLoop] = []

    async def look(input: Number, ctx: Context) -> None:  # noqa: A002
        loops.append(asyncio.get_running_loop())
        await worker.exit_gracefully()

    worker = worker_of(hatchet, look=look)
    thread = threading.Thread(target=worker.start, args=(WorkerStartOptions(loop=loop),))
    thread.start()
    fake.terminal(fake.start_task("look:look"))
    thread.join(JOIN_SECONDS)
    assert not thread.is_alive()
    assert loops == [loop]
    assert not loop.is_closed()
    loop.close()


def test_a_worker_can_start_again(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    worker = worker_of(hatchet, task=double)
    for n in (1, 2):
        with running(worker):
            assert fake.terminal(fake.start_task("task:task", {"n": n})).event_payload == f'{{"n":{2 * n}}}'


def test_c_2_37_a_stop_pauses_drains_and_unsubscribes(fake: FakeDispatcher, rest: FakeRest, hatchet: Hatchet) -> None:
    go_on = threading.Event()

    def held(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        go_on.wait(JOIN_SECONDS)
        return {"n": input.n}

    worker = worker_of(hatchet, held=held, task=double)
    thread = threading.Thread(target=worker.start)
    thread.start()
    action = fake.start_task("held:held", {"n": 5})
    fake.wait_for(lambda: fake.events(action) == ["STARTED"], "it runs")
    stopper = threading.Thread(target=lambda: asyncio.run(worker.exit_gracefully()))
    stopper.start()
    fake.wait_for(lambda: rest.patches, "paused")
    assert worker.killing
    # An assignment that crossed the pause is run.
    assert fake.terminal(fake.start_task("task:task", {"n": 1})).event_payload == '{"n":2}'
    assert fake.requests("Unsubscribe") == []
    go_on.set()
    assert fake.terminal(action).event_payload == '{"n":5}'
    stopper.join(JOIN_SECONDS)
    thread.join(JOIN_SECONDS)
    assert not thread.is_alive()
    assert rest.patches == [(f"/api/v1/workers/{fake.worker_ids[0]}", {"isPaused": True})]
    assert rest.tokens == [f"Bearer {hatchet.config.token}"]
    assert [request.worker_id for request in fake.requests("Unsubscribe")] == fake.worker_ids
    assert fake.open_streams == 0


def test_a_stop_without_rest_unsubscribes_before_it_drains(fake: FakeDispatcher) -> None:
    go_on = threading.Event()

    def held(input: Number, ctx: Context) -> None:  # noqa: A002
        go_on.wait(JOIN_SECONDS)

    worker = worker_of(Hatchet(config=config(fake)), held=held)
    thread = threading.Thread(target=worker.start)
    thread.start()
    action = fake.start_task("held:held")
    fake.wait_for(lambda: fake.events(action) == ["STARTED"], "it runs")
    stopper = threading.Thread(target=lambda: asyncio.run(worker.exit_gracefully()))
    stopper.start()
    fake.wait_for(lambda: fake.requests("Unsubscribe"), "unsubscribed")
    go_on.set()
    fake.terminal(action)
    stopper.join(JOIN_SECONDS)
    thread.join(JOIN_SECONDS)
    assert not thread.is_alive()


def test_a_stop_during_the_start_ends_it(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    fake.fail("PutWorkflow", UNAVAILABLE, times=1000)
    worker = worker_of(hatchet, task=double)
    thread = threading.Thread(target=worker.start)
    thread.start()
    fake.wait_for(lambda: fake.requests("PutWorkflow failed"), "it tries")
    asyncio.run(worker.exit_gracefully())
    thread.join(JOIN_SECONDS)
    assert not thread.is_alive()
    assert fake.requests("Register") == []


def test_the_lifespan_is_around_all_tasks(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    order: list[str] = []

    async def lifespan() -> AsyncGenerator[dict[str, int], None]:
        order.append("up")
        yield {"pool": 7}
        order.append("down")

    async def use(input: Number, ctx: Context) -> dict[str, Any]:  # noqa: A002
        order.append("task")
        return {"got": ctx.lifespan["pool"]}

    worker = hatchet.worker("w", workflows=[hatchet.task(name="use")(use)], lifespan=lifespan)
    with running(worker):
        assert fake.terminal(fake.start_task("use:use")).event_payload == '{"got":7}'
    assert order == ["up", "task", "down"]


def test_a_failing_lifespan_ends_the_start(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    async def lifespan() -> AsyncGenerator[None, None]:
        raise OSError("no database")
        yield

    worker = hatchet.worker("w", workflows=[hatchet.task(name="task")(double_any)], lifespan=lifespan)
    with pytest.raises(LifespanSetupError, match="OSError: no database"):
        worker.start()
    assert fake.requests("Register") == []


# --- signals -------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, sys, time
from hatchet_sdk import Context, EmptyModel, Hatchet

hatchet = Hatchet()

def say(text):
    print(text, flush=True)

async def lifespan():
    yield None
    say("lifespan down")

@hatchet.task(name="until_told")
async def until_told(input: EmptyModel, ctx: Context) -> dict[str, str]:
    say("running")
    try:
        while not ctx.worker.labels().get("finish"):
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        say("cancelled")
        raise
    return {"state": "finished"}

@hatchet.task(name="finish")
async def finish(input: EmptyModel, ctx: Context) -> None:
    await ctx.aio_upsert_worker_labels({"finish": 1})

@hatchet.task(name="stuck")
def stuck(input: EmptyModel, ctx: Context) -> None:
    say("running")
    time.sleep(3600)

@hatchet.task(name="blocked")
async def blocked(input: EmptyModel, ctx: Context) -> None:
    say("running")
    time.sleep(3600)

hatchet.worker("p", workflows=[until_told, finish, stuck, blocked], lifespan=lifespan).start()
say("start returned")
"""


@contextmanager
def program(fake: FakeDispatcher, rest: FakeRest) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ,
        "HATCHET_CLIENT_TOKEN": token(fake.port, rest.url),
        "HATCHET_CLIENT_TLS_STRATEGY": "none",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_c_2_27_the_first_signal_lets_the_running_task_end(
    fake: FakeDispatcher, rest: FakeRest, number: signal.Signals
) -> None:
    with program(fake, rest) as process:
        action = fake.start_task("until_told:until_told")
        assert line(process) == "running"
        process.send_signal(number)
        fake.wait_for(lambda: rest.patches, "paused")
        beats = len(fake.times("Heartbeat"))
        fake.wait_for(lambda: len(fake.times("Heartbeat")) > beats, "a heartbeat while draining")
        fake.start_task("finish:finish")
        assert fake.terminal(action).event_payload == '{"state":"finished"}'
        assert [line(process), line(process)] == ["lifespan down", "start returned"]
        assert process.wait(JOIN_SECONDS) == 0
    assert [request.worker_id for request in fake.requests("Unsubscribe")] == fake.worker_ids


def test_the_second_signal_cancels_what_runs(fake: FakeDispatcher, rest: FakeRest) -> None:
    with program(fake, rest) as process:
        action = fake.start_task("until_told:until_told")
        assert line(process) == "running"
        process.send_signal(signal.SIGINT)
        fake.wait_for(lambda: rest.patches, "paused")
        process.send_signal(signal.SIGINT)
        assert [line(process), line(process)] == ["cancelled", "lifespan down"]
        assert process.wait(JOIN_SECONDS) == 130
    # The engine gives the task to another worker when the heartbeat stays away.
    assert set(fake.events(action)) <= {"STARTED"}


@pytest.mark.parametrize("task", ["stuck", "blocked"])
def test_the_second_signal_ends_a_worker_that_cannot_cancel(fake: FakeDispatcher, rest: FakeRest, task: str) -> None:
    with program(fake, rest) as process:
        fake.start_task(f"{task}:{task}")
        assert line(process) == "running"
        process.send_signal(signal.SIGTERM)
        # Even a blocked main loop does not keep the worker from pausing.
        fake.wait_for(lambda: rest.patches, "paused")
        process.send_signal(signal.SIGTERM)
        assert process.wait(JOIN_SECONDS) == 143


def test_the_limit_of_a_short_task_is_documented() -> None:
    assert pytest.approx(0.05) == attempts.STARTED_AFTER_SECONDS
