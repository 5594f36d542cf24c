"""What a task of a worker gets, and what the engine hears of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest
from grpc import StatusCode

from fakes.fake_dispatcher import FakeDispatcher
from fakes.worker_world import JOIN_SECONDS, Number, double, running, sync_double, worker_of
from hatchet_sdk import Context, Hatchet
from hatchet_sdk.context.current import current_context
from hatchet_sdk.worker.executor import CANCEL_GRACE_SECONDS

pytest_plugins = ["fakes.worker_fixtures"]


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

    def slow(input: Number, ctx: Context) -> None:
        go_on.wait(JOIN_SECONDS)

    with running(worker_of(hatchet, slow=slow)):
        action = fake.start_task("slow:slow")
        fake.wait_for(lambda: fake.events(action) == ["STARTED"], "STARTED")
        go_on.set()
        assert fake.terminal(action).event_payload == ""
    assert fake.events(action) == ["STARTED", "COMPLETED"]


def test_the_context_tells_what_the_assignment_says(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    seen: list[Context] = []

    async def look(input: Number, ctx: Context) -> None:
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

    async def look(input: Number, ctx: Context) -> None:
        seen.extend((ctx.child_index, ctx.child_key, ctx.parent_workflow_run_id, ctx.priority, ctx.workflow_id))
        seen.append(ctx.additional_metadata)

    with running(worker_of(hatchet, look=look)):
        fake.terminal(fake.start_task("look:look"))
    assert seen == [None, None, None, None, None, {}]


def test_c_11_37_the_calls_of_the_context_reach_the_engine(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    def sync_calls(input: Number, ctx: Context) -> dict[str, Any]:
        ctx.refresh_timeout(timedelta(seconds=10))
        answer: object = ctx.release_slot()
        assert answer is None
        ctx.upsert_worker_labels({"a": 1})
        return {"labels": ctx.worker.labels()}

    async def async_calls(input: Number, ctx: Context) -> dict[str, Any]:
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

    def read(input: Number, ctx: Context) -> dict[str, Any]:
        before = variable.get()
        variable.set("changed by a task")
        return {"value": before}

    async def aio_read(input: Number, ctx: Context) -> dict[str, Any]:
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


def test_c_5_20_an_async_task_is_cancelled_after_a_grace_period_and_silently(
    fake: FakeDispatcher, hatchet: Hatchet
) -> None:
    seen: list[str] = []

    async def endless(input: Number, ctx: Context) -> None:
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(f"cancelled {ctx.exit_flag} {ctx.is_cancelled} {ctx.done()}")

    with running(worker_of(hatchet, endless=endless)):
        action = fake.start_task("endless:endless")
        fake.wait_for(lambda: seen == ["begun"], "it runs")
        asked = time.monotonic()
        fake.cancel_task(action)
        fake.wait_for(lambda: seen == ["begun", "cancelled True True True"], "it was cancelled")
        assert time.monotonic() - asked >= CANCEL_GRACE_SECONDS
    assert set(fake.events(action)) <= {"STARTED"}


def test_c_5_20_a_sync_task_sees_the_exit_flag_and_its_result_is_dropped(
    fake: FakeDispatcher, hatchet: Hatchet
) -> None:
    ended = threading.Event()

    def patient(input: Number, ctx: Context) -> dict[str, Any]:
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

    async def aio_self(input: Number, ctx: Context) -> dict[str, Any]:
        await ctx.aio_cancel()
        flags.append(ctx.exit_flag)
        return {}

    def sync_self(input: Number, ctx: Context) -> dict[str, Any]:
        ctx.cancel()
        flags.append(ctx.exit_flag)
        return {}

    with running(worker_of(hatchet, aio_self=aio_self, sync_self=sync_self)):
        actions = [fake.start_task("aio_self:aio_self"), fake.start_task("sync_self:sync_self")]
        fake.wait_for(lambda: flags == [True, True], "both are cancelled")
    asked = {request.external_ids[0] for request in fake.requests("CancelTasks")}
    assert asked == {action.task_run_external_id for action in actions}
    assert "COMPLETED" not in fake.events()


def test_a_start_that_comes_again_after_the_end_is_ignored(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    ran: list[str] = []

    async def task(input: Number, ctx: Context) -> None:
        ran.append(ctx.task_run_id)

    worker = worker_of(hatchet, task=task)
    with running(worker):
        action = fake.start_task("task:task")
        fake.terminal(action)
        fake.wait_for(lambda: worker._life is not None and not len(worker._life._attempts), "the report was answered")
        fake.send(action)
        other = fake.start_task("task:task")
        fake.terminal(other)
    assert ran == [action.task_run_external_id, other.task_run_external_id]


def test_an_attempt_whose_report_was_refused_may_start_again(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    ran: list[str] = []

    async def task(input: Number, ctx: Context) -> None:
        ran.append(ctx.task_run_id)

    fake.fail("SendStepActionEvent", StatusCode.INVALID_ARGUMENT)
    worker = worker_of(hatchet, task=task)
    with running(worker):
        action = fake.start_task("task:task")
        fake.wait_for(lambda: "SendStepActionEvent failed" in fake.calls, "the report is refused")
        fake.wait_for(lambda: worker._life is not None and not len(worker._life._attempts), "the report was given up")
        fake.send(action)
        fake.terminal(action)
    assert len(ran) == 2
