"""What a running task asks of the engine through its context: log lines, chunks, child runs, cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from grpc import StatusCode

from fakes.fake_dispatcher import FakeDispatcher
from fakes.fake_rest import FakeRest
from fakes.worker_world import Number, config, double, running, worker_of
from hatchet_sdk import Context, Hatchet
from hatchet_sdk.wire import resend
from hatchet_sdk.wire.errors import EngineError
from hatchet_sdk.worker import executor

pytest_plugins = ["fakes.worker_fixtures"]


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "CANCEL_GRACE_SECONDS", 0.1)


@pytest.fixture
def app_logger() -> Iterator[logging.Logger]:
    """A logger of the application, at DEBUG."""
    logger = logging.getLogger("app.under.test")
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.setLevel(logging.NOTSET)


def lines(fake: FakeDispatcher) -> list[str]:
    return [request.message for request in fake.requests("PutLog")]


def warnings(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


# --- log -------------------------------------------------------------------------------------------------------------


def test_c_13_1_a_line_of_ctx_log(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    def sync_task(input: Number, ctx: Context) -> None:
        ctx.log("a line")
        ctx.log({"step": 1})
        ctx.log("")

    with running(worker_of(hatchet, sync_task=sync_task)):
        before = time.time()
        action = fake.start_task("sync_task:sync_task", retry_count=2)
        fake.terminal(action)
        fake.wait_for(lambda: len(lines(fake)) == 2, "both lines")
    first, second = fake.requests("PutLog")
    assert (first.message, second.message) == ("a line", '{"step": 1}')
    assert (first.level, first.task_retry_count) == ("INFO", 2)
    assert first.task_run_external_id == action.task_run_external_id
    assert before - 1 < first.created_at.ToMicroseconds() / 1e6 < time.time() + 1


def test_c_13_6_lines_keep_their_order_and_none_is_lost_when_the_worker_stops(
    fake: FakeDispatcher, hatchet: Hatchet
) -> None:
    async def chatty(input: Number, ctx: Context) -> None:
        for i in range(500):
            await ctx.aio_log(str(i))

    with running(worker_of(hatchet, chatty=chatty)):
        fake.terminal(fake.start_task("chatty:chatty"))
    assert lines(fake) == [str(i) for i in range(500)]
    times = [request.created_at.ToMicroseconds() for request in fake.requests("PutLog")]
    assert times == sorted(set(times))


def test_a_line_is_also_written_to_the_logger_of_this_process(
    fake: FakeDispatcher, hatchet: Hatchet, caplog: pytest.LogCaptureFixture
) -> None:
    async def task(input: Number, ctx: Context) -> None:
        ctx.log("once here, once there")

    with caplog.at_level(logging.INFO), running(worker_of(hatchet, task=task)):
        fake.terminal(fake.start_task("task:task"))
    assert warnings(caplog, "once here, once there") == 1
    assert lines(fake) == ["once here, once there"]


def test_c_13_6_a_failure_is_warned_of_once_and_fails_no_task(
    fake: FakeDispatcher, hatchet: Hatchet, caplog: pytest.LogCaptureFixture
) -> None:
    fake.fail("PutLog", StatusCode.INVALID_ARGUMENT, times=3)

    def task(input: Number, ctx: Context) -> dict[str, Any]:
        for i in range(4):
            ctx.log(f"line {i}")
        return {"done": True}

    with running(worker_of(hatchet, task=task)):
        assert fake.terminal(fake.start_task("task:task")).event_payload == '{"done":true}'
    assert lines(fake) == ["line 3"]
    assert warnings(caplog, "a log line of task") == 1


def test_a_line_survives_a_short_absence_of_the_engine(
    fake: FakeDispatcher, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resend, "WAITS_SECONDS", (0.01, 0.01, 0.01))
    fake.fail("PutLog", StatusCode.UNAVAILABLE, times=3)

    async def task(input: Number, ctx: Context) -> None:
        ctx.log("patient")

    with running(worker_of(hatchet, task=task)):
        fake.terminal(fake.start_task("task:task"))
    assert lines(fake) == ["patient"]


def test_lines_without_room_are_dropped_with_a_warning(
    fake: FakeDispatcher, rest: FakeRest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resend, "WAITS_SECONDS", (60.0,))
    monkeypatch.setattr("hatchet_sdk.worker.life.LOG_FLUSH_SECONDS", 0.01)
    fake.fail("PutLog", StatusCode.UNAVAILABLE, times=1)

    def task(input: Number, ctx: Context) -> dict[str, Any]:
        for _ in range(10):
            ctx.log("x")
        return {"done": True}

    hatchet = Hatchet(config=config(fake, rest, log_queue_size=3))
    with running(worker_of(hatchet, task=task)):
        assert fake.terminal(fake.start_task("task:task")).event_payload == '{"done":true}'
    assert lines(fake) == []
    assert warnings(caplog, "more are dropped (log_queue_size)") == 1
    assert warnings(caplog, "3 log lines of tasks were not sent") == 1


def test_raise_on_error_waits_for_the_engine(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    seen: list[object] = []

    def sync_task(input: Number, ctx: Context) -> None:
        ctx.log("arrives", raise_on_error=True)
        seen.append(lines(fake))
        fake.fail("PutLog", StatusCode.NOT_FOUND, text="no such task")
        with pytest.raises(EngineError, match="no such task"):
            ctx.log("does not", raise_on_error=True)
        with pytest.raises(TypeError):
            ctx.log({"a": object()}, raise_on_error=True)

    async def async_task(input: Number, ctx: Context) -> None:
        fake.fail("PutLog", StatusCode.NOT_FOUND, text="no such task")
        with pytest.raises(EngineError, match="no such task"):
            await ctx.aio_log("does not", raise_on_error=True)

    with running(worker_of(hatchet, sync_task=sync_task, async_task=async_task)):
        for name in ("sync_task", "async_task"):
            assert fake.terminal(fake.start_task(f"{name}:{name}")).event_payload == ""
    assert seen == [["arrives"]]


# --- Python's logging ------------------------------------------------------------------------------------------------


def test_records_of_a_task_go_to_its_log(fake: FakeDispatcher, hatchet: Hatchet, app_logger: logging.Logger) -> None:
    def in_thread(input: Number, ctx: Context) -> None:
        app_logger.debug("fine %d", 1)
        app_logger.info({"step": 1})
        try:
            raise ValueError("bad")
        except ValueError:
            app_logger.exception("broken")

    async def on_loop(input: Number, ctx: Context) -> None:
        app_logger.warning("careful")
        await asyncio.to_thread(app_logger.critical, "from a thread of the task")

    app_logger.warning("before the worker")
    with running(worker_of(hatchet, in_thread=in_thread, on_loop=on_loop)):
        app_logger.warning("outside of any task")
        first = fake.start_task("in_thread:in_thread")
        fake.terminal(first)
        second = fake.start_task("on_loop:on_loop")
        fake.terminal(second)
    app_logger.warning("after the worker")
    sent = fake.requests("PutLog")
    assert [(line.level, line.message.partition("\n")[0]) for line in sent] == [
        ("DEBUG", "fine 1"),
        ("INFO", "{'step': 1}"),
        ("ERROR", "broken"),
        ("WARN", "careful"),
        ("ERROR", "from a thread of the task"),
    ]
    assert sent[2].message.endswith("ValueError: bad")
    ids = [line.task_run_external_id for line in sent]
    assert ids == [first.task_run_external_id] * 3 + [second.task_run_external_id] * 2


def test_only_the_logger_of_the_configuration_is_captured(
    fake: FakeDispatcher, rest: FakeRest, app_logger: logging.Logger
) -> None:
    async def task(input: Number, ctx: Context) -> None:
        app_logger.getChild("part").warning("below it")
        logging.getLogger("another").warning("beside it")

    hatchet = Hatchet(config=config(fake, rest, logger=app_logger))
    with running(worker_of(hatchet, task=task)):
        fake.terminal(fake.start_task("task:task"))
    assert lines(fake) == ["below it"]
    assert app_logger.handlers == []


def test_capture_can_be_switched_off(fake: FakeDispatcher, rest: FakeRest, app_logger: logging.Logger) -> None:
    async def task(input: Number, ctx: Context) -> None:
        app_logger.error("stays here")
        ctx.log("goes there")

    hatchet = Hatchet(config=config(fake, rest, disable_log_capture=True))
    with running(worker_of(hatchet, task=task)):
        fake.terminal(fake.start_task("task:task"))
    assert lines(fake) == ["goes there"]


def test_two_workers_of_a_process_capture_their_own_tasks(
    fake: FakeDispatcher, hatchet: Hatchet, app_logger: logging.Logger
) -> None:
    async def task(input: Number, ctx: Context) -> None:
        app_logger.warning("mine")

    with running(worker_of(hatchet, task=task)), running(worker_of(hatchet, task=task)):
        fake.wait_for(lambda: fake.open_streams == 2, "both listen")
        fake.terminal(fake.start_task("task:task"))
    assert lines(fake) == ["mine"]


def test_a_program_without_handlers_still_sees_its_warnings(
    fake: FakeDispatcher, rest: FakeRest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("program.without.handlers")
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.INFO)

    async def task(input: Number, ctx: Context) -> None:
        logger.warning("seen by both")
        logger.info("only in the log of the task")

    hatchet = Hatchet(config=config(fake, rest, logger=logger))
    with running(worker_of(hatchet, task=task)):
        fake.terminal(fake.start_task("task:task"))
    assert lines(fake) == ["seen by both", "only in the log of the task"]
    assert capsys.readouterr().err.count("seen by both") == 1


# --- stream ----------------------------------------------------------------------------------------------------------


def test_c_7_42_chunks_are_numbered_in_their_order(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    def sync_task(input: Number, ctx: Context) -> None:
        for i in range(20):
            ctx.put_stream(f"chunk {i}")

    async def async_task(input: Number, ctx: Context) -> None:
        await ctx.aio_put_stream("text ä")
        await ctx.aio_put_stream(b"\x00\xff")
        ctx.put_stream("from a coroutine, blocking")

    with running(worker_of(hatchet, sync_task=sync_task, async_task=async_task)):
        first = fake.start_task("sync_task:sync_task")
        fake.terminal(first)
        # Nothing is under way any more when the task has ended.
        sent = fake.requests("PutStreamEvent")
        assert [(chunk.event_index, chunk.message) for chunk in sent] == [(i, f"chunk {i}".encode()) for i in range(20)]
        assert {chunk.task_run_external_id for chunk in sent} == {first.task_run_external_id}
        assert all(chunk.created_at.seconds > 0 for chunk in sent)
        # The next attempt counts from 0 again.
        fake.terminal(fake.start_task("async_task:async_task", retry_count=1))
    sent = fake.requests("PutStreamEvent")[20:]
    assert [chunk.event_index for chunk in sent] == [0, 1, 2]
    assert [chunk.message for chunk in sent] == ["text ä".encode(), b"\x00\xff", b"from a coroutine, blocking"]


def test_several_threads_of_a_task_never_share_an_index(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    def task(input: Number, ctx: Context) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ctx.put_stream, [str(i) for i in range(40)]))

    with running(worker_of(hatchet, task=task)):
        fake.terminal(fake.start_task("task:task"))
    assert sorted(chunk.event_index for chunk in fake.requests("PutStreamEvent")) == list(range(40))


def test_a_chunk_survives_a_short_absence_of_the_engine(
    fake: FakeDispatcher, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resend, "WAITS_SECONDS", (0.01, 0.01, 0.01))
    fake.fail("PutStreamEvent", StatusCode.UNAVAILABLE, times=3)

    async def task(input: Number, ctx: Context) -> None:
        await ctx.aio_put_stream("a")
        await ctx.aio_put_stream("b")

    with running(worker_of(hatchet, task=task)):
        fake.terminal(fake.start_task("task:task"))
    assert [(chunk.event_index, chunk.message) for chunk in fake.requests("PutStreamEvent")] == [(0, b"a"), (1, b"b")]


def test_a_refused_chunk_is_an_error_of_the_task(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    fake.fail("PutStreamEvent", StatusCode.NOT_FOUND, text="no such task")

    def task(input: Number, ctx: Context) -> None:
        with pytest.raises(TypeError, match="must be str or bytes, got int"):
            ctx.put_stream(5)  # type: ignore[arg-type]
        ctx.put_stream("a")

    with running(worker_of(hatchet, task=task)):
        assert "no such task" in fake.terminal(fake.start_task("task:task")).event_payload


# --- the other tasks of the run --------------------------------------------------------------------------------------


def test_c_5_7_tasks_of_a_workflow_read_what_ran_before_them(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    flow = hatchet.workflow(name="Flow", input_validator=Number)

    @flow.task()
    def first(input: Number, ctx: Context) -> Number:
        return Number(n=input.n + 1)

    @flow.task(parents=[first])
    async def maybe(input: Number, ctx: Context) -> dict[str, Any]:
        return {}

    @flow.task(parents=[first, maybe])
    async def last(input: Number, ctx: Context) -> dict[str, Any]:
        return {"sum": input.n + ctx.task_output(first).n, "skipped": ctx.was_skipped(maybe), **ctx.trigger_data}

    @flow.on_failure_task()
    def clean_up(input: Number, ctx: Context) -> dict[str, Any]:
        error = ctx.get_task_run_error(last)
        assert error is not None
        return {"failed": list(ctx.task_run_errors), "type": error.exc_type, "text": error.exc}

    with running(hatchet.worker("test-worker", slots=10, workflows=[flow])):
        done = fake.terminal(fake.start_task("flow:first", {"n": 1}))
        assert done.event_payload == '{"n":2}'
        payload = {
            "input": {"n": 1},
            "parents": {"first": json.loads(done.event_payload), "maybe": {"skipped": True}},
            "triggers": {"user:paid": {"sum": 3}},
        }
        event = fake.terminal(fake.start_task("flow:last", action_payload=json.dumps(payload)))
        assert json.loads(event.event_payload) == {"sum": 3, "skipped": True, "user:paid": {"sum": 3}}
        failed = fake.terminal(fake.start_task("flow:last", {"n": 1}))
        assert "has no output of 'first'" in failed.event_payload
        errors = {"step_run_errors": {"last": failed.event_payload}}
        (action,) = [request for request in fake.requests("Register")[0].actions if "failure" in request]
        event = fake.terminal(fake.start_task(action, action_payload=json.dumps(errors)))
        answer = json.loads(event.event_payload)
        assert (answer["failed"], answer["type"]) == (["last"], "ValueError")
        assert "has no output of 'first'" in answer["text"]


# --- child runs ------------------------------------------------------------------------------------------------------


def test_c_4_11_a_child_run_names_its_parent_from_wherever_the_task_triggers_it(
    fake: FakeDispatcher, hatchet: Hatchet
) -> None:
    child = hatchet.task(name="child", input_validator=Number)(double)

    def spawn() -> None:
        child.run(wait_for_result=False)

    def sync_task(input: Number, ctx: Context) -> None:
        spawn()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(contextvars.copy_context().run, spawn).result()

    async def async_task(input: Number, ctx: Context) -> None:
        await child.aio_run(wait_for_result=False)
        await asyncio.to_thread(spawn)
        await asyncio.create_task(child.aio_run(wait_for_result=False))

    with running(worker_of(hatchet, sync_task=sync_task, async_task=async_task)):
        spawn()
        first = fake.start_task("sync_task:sync_task")
        fake.terminal(first)
        second = fake.start_task("async_task:async_task")
        fake.terminal(second)
    outside, *inside = fake.requests("TriggerWorkflow")
    assert not outside.parent_task_run_external_id
    asked = [(request.parent_task_run_external_id, request.child_index) for request in inside]
    assert asked == [(first.task_run_external_id, i) for i in range(2)] + [
        (second.task_run_external_id, i) for i in range(3)
    ]


# --- cancellation ----------------------------------------------------------------------------------------------------


def test_c_5_20_a_cancelled_async_task_may_end_by_itself_within_the_grace_period(
    fake: FakeDispatcher, hatchet: Hatchet
) -> None:
    seen: list[str] = []

    async def polite(input: Number, ctx: Context) -> dict[str, Any]:
        seen.append("begun")
        while not ctx.exit_flag:  # noqa: ASYNC110  # the flag is all that a task has
            await asyncio.sleep(0.01)
        seen.append("ended by itself")
        return {"too": "late"}

    with running(worker_of(hatchet, polite=polite)):
        action = fake.start_task("polite:polite")
        fake.wait_for(lambda: seen == ["begun"], "it runs")
        fake.cancel_task(action)
        fake.wait_for(lambda: seen == ["begun", "ended by itself"], "it saw the flag")
    assert set(fake.events(action)) <= {"STARTED"}


@pytest.mark.usefixtures("short_grace")
def test_c_5_20_a_second_cancel_does_not_disturb_the_cleaning_up(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    seen: list[str] = []
    cleaned = asyncio.Event()

    async def careful(input: Number, ctx: Context) -> None:
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaning")
            await cleaned.wait()
            seen.append("clean")

    async def later(input: Number, ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("the later one was cancelled")

    worker = worker_of(hatchet, careful=careful, later=later)
    with running(worker):
        action = fake.start_task("careful:careful")
        fake.wait_for(lambda: seen == ["begun"], "it runs")
        fake.cancel_task(action)
        fake.cancel_task(action)
        fake.wait_for(lambda: seen == ["begun", "cleaning"], "it was cancelled")
        # When its grace is over, that of the second CANCEL would be over as well.
        other = fake.start_task("later:later")
        fake.wait_for(lambda: fake.events(other) == ["STARTED"], "the later one runs")
        fake.cancel_task(other)
        fake.wait_for(lambda: seen[-1] == "the later one was cancelled", "the later one was cancelled")
        assert worker.loop is not None
        worker.loop.call_soon_threadsafe(cleaned.set)
        fake.wait_for(lambda: seen[-1] == "clean", "it could clean up")


@pytest.mark.usefixtures("short_grace")
def test_a_task_that_cancels_itself_is_cancelled_when_the_engine_says_so(
    fake: FakeDispatcher, hatchet: Hatchet
) -> None:
    seen: list[str] = []

    async def task(input: Number, ctx: Context) -> None:
        await ctx.aio_cancel()
        seen.append("asked")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with running(worker_of(hatchet, task=task)):
        action = fake.start_task("task:task")
        fake.wait_for(lambda: seen == ["asked"], "it asked")
        fake.cancel_task(action)
        fake.wait_for(lambda: seen == ["asked", "cancelled"], "it was cancelled")
    assert set(fake.events(action)) <= {"STARTED"}


# --- rate limits -----------------------------------------------------------------------------------------------------


def test_c_10_4_a_task_can_pause_a_rate_limit(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    until = datetime.now(UTC) + timedelta(minutes=5)
    answers: list[datetime] = []

    def sync_task(input: Number, ctx: Context) -> None:
        answers.append(ctx.pause_rate_limit("api", until))

    async def async_task(input: Number, ctx: Context) -> None:
        answers.append(await ctx.aio_pause_rate_limit("api", until))

    with running(worker_of(hatchet, sync_task=sync_task, async_task=async_task)):
        for name in ("sync_task", "async_task"):
            fake.terminal(fake.start_task(f"{name}:{name}"))
    assert [(request.key, request.paused_until.ToDatetime(UTC)) for request in fake.requests("PauseRateLimit")] == [
        ("api", until)
    ] * 2
    assert all(abs(answer - until) < timedelta(milliseconds=1) for answer in answers)
