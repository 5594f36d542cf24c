"""The connection of the worker breaks, and nothing is lost."""

from __future__ import annotations

import logging
import threading
from typing import Any

import grpc
import pytest

from fakes.fake_dispatcher import FakeDispatcher
from fakes.worker_world import JOIN_SECONDS, Number, double, nothing, running, sync_double, worker_of
from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_sdk import Context, Hatchet
from hatchet_sdk.worker.worker import WorkerStatus

pytest_plugins = ["fakes.worker_fixtures"]

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def test_c_2_20_a_task_that_blocks_the_main_loop_keeps_the_heartbeat(
    fake: FakeDispatcher, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hatchet_sdk.worker.connection.HEARTBEAT_SECONDS", 0.1)
    go_on = threading.Event()

    async def blocking(input: Number, ctx: Context) -> None:
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

    def held(input: Number, ctx: Context) -> dict[str, Any]:
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

    def held(input: Number, ctx: Context) -> None:
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

    def held(input: Number, ctx: Context) -> None:
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

    async def count(input: Number, ctx: Context) -> None:
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
    worker = hatchet.worker("again", slots=7, labels={"a": 1}, workflows=[hatchet.task(name="task")(nothing)])
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
