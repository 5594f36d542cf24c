"""Durable tasks with an engine that has no durable stream (behaviour-durable D-1.3, D-26)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from grpc import StatusCode

from fakes.durable_world import durable_worker, output_of
from fakes.fake_durable import FakeDurable
from fakes.worker_world import Number, double, running
from hatchet_sdk import DurableContext, EvictionPolicy, Hatchet
from hatchet_sdk.worker.registration import has_durable_stream

pytest_plugins = ["fakes.durable_fixtures"]


@pytest.mark.parametrize(
    ("version", "has"),
    [
        ("v0.80.0", True),
        ("0.80.0", True),
        ("v1.0.0-alpha", True),
        ("v0.79.99", False),
        ("v0.111", False),
        ("latest", False),
        ("", False),
    ],
)
def test_d_1_1_and_d_1_2_the_version_decides(version: str, has: bool) -> None:
    assert has_durable_stream(version) is has


@pytest.fixture(autouse=True)
def _old(fake: FakeDurable) -> None:
    fake.version = "v0.79.0"


def test_d_26_1_waits_are_registered_by_name(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        slept = await ctx.aio_sleep_for(timedelta(seconds=5))
        event = await ctx.aio_wait_for_event("go")
        return {"slept": slept.duration.total_seconds(), "event": event}

    # A policy is of no use there.
    policy = EvictionPolicy(ttl=timedelta(milliseconds=1))
    with running(durable_worker(hatchet, task, policy=policy)):
        action = fake.start_durable("task:task", durable_task_invocation_count=0)
        task_id = action.task_run_external_id
        fake.wait_for(lambda: (task_id, "sleep:5s-1") in fake.waits_by_name, "the sleep")
        fake.end_wait_by_name(task_id, "sleep:5s-1", {"sleep:5s": [{"sleep_duration": "5s"}]})
        fake.wait_for(lambda: (task_id, "event:go-2") in fake.waits_by_name, "the event")
        fake.stop()
        fake.start()
        fake.wait_for(lambda: len(fake.calls["ListenForDurableEvent"]) >= 2, "the stream is back")
        fake.end_wait_by_name(task_id, "event:go-2", {"go": [{"a": 1}]})
        assert output_of(fake, action) == {"slept": 5.0, "event": {"a": 1}}
    assert fake.durable_streams == 0
    (register, *_) = fake.requests("RegisterDurableEvent")
    assert register.conditions.sleep_conditions[0].sleep_for == "5s"


def test_d_1_3_memos_live_in_the_process_and_children_are_ordinary(fake: FakeDurable, hatchet: Hatchet) -> None:
    computed: list[int] = []

    def compute() -> int:
        computed.append(1)
        return 7

    child = hatchet.task(name="child", input_validator=Number)(double)

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        value = await ctx.aio_memo(compute)
        ref = await child.aio_run(Number(n=1), wait_for_result=False)
        return {"value": value, "child": bool(ref.workflow_run_id)}

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        assert output_of(fake, action) == {"value": 7, "child": True}
        fake.next_invocation(action, retry_count=1)
        fake.wait_for(lambda: fake.events(action).count("COMPLETED") == 2, "the second attempt ends")
    assert computed == [1]
    assert [request.name for request in fake.requests("TriggerWorkflow")] == ["child", "child"]


def test_a_cancellation_ends_a_wait_there_too(fake: FakeDurable, hatchet: Hatchet) -> None:
    ended: list[bool] = []

    async def task(input: Number, ctx: DurableContext) -> None:
        try:
            await ctx.aio_wait_for_event("go")
        finally:
            ended.append(ctx.exit_flag)

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        fake.wait_for(lambda: fake.waits_by_name, "the wait")
        fake.cancel_task(action)
        fake.wait_for(lambda: ended == [True], "the function ends")


def test_a_wait_that_cannot_be_registered_fails_the_attempt(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_wait_for_event("go")

    fake.fail("RegisterDurableEvent", StatusCode.INVALID_ARGUMENT)
    with running(durable_worker(hatchet, task)):
        event = fake.terminal(fake.start_durable("task:task"))
    assert "RegisterDurableEvent" in event.event_payload
