"""Failures of tasks: what the worker reports of them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from fakes.fake_dispatcher import FakeDispatcher
from fakes.fake_rest import FakeRest
from fakes.worker_world import Number, config, double, running, worker_of
from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_sdk import Context, Hatchet, NonRetryableException, RetryAfterException
from hatchet_sdk.exceptions import TaskRunError

pytest_plugins = ["fakes.worker_fixtures"]


@pytest.mark.parametrize("is_async", [True, False])
def test_c_5_40_a_failure_carries_the_error(fake: FakeDispatcher, hatchet: Hatchet, is_async: bool) -> None:
    def broken(input: Number, ctx: Context) -> None:
        raise KeyError("no such key")

    async def aio_broken(input: Number, ctx: Context) -> None:
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
    async def broken(input: Number, ctx: Context) -> None:
        raise NonRetryableException("for good")

    with running(worker_of(hatchet, broken=broken)):
        assert fake.terminal(fake.start_task("broken:broken")).should_not_retry


def test_c_6_27_retry_after_travels_in_milliseconds(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    async def later(input: Number, ctx: Context) -> None:
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
    async def illegal(input: Number, ctx: Context) -> Any:
        return output

    with running(worker_of(hatchet, illegal=illegal)):
        event = fake.terminal(fake.start_task("illegal:illegal"))
    assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
    assert event.event_payload.startswith("IllegalTaskOutputError: task 'illegal' returned ")


def test_c_5_39_an_output_that_is_too_large_fails_with_size_and_limit(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    async def large(input: Number, ctx: Context) -> dict[str, Any]:
        return {"x": "y" * input.n}

    with running(worker_of(hatchet, large=large)):
        event = fake.terminal(fake.start_task("large:large", {"n": 5_000_000}))
        assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
        assert "has 5000008 bytes, the limit is 4177920" in event.event_payload
        event = fake.terminal(fake.start_task("large:large", {"n": 4_000_000}))
        assert event.event_type == pb.STEP_EVENT_TYPE_COMPLETED


def test_c_5_39_an_output_above_the_engines_own_limit_fails(rest: FakeRest) -> None:
    fake = FakeDispatcher(max_message_bytes=1_000_000)

    async def large(input: Number, ctx: Context) -> dict[str, Any]:
        return {"x": "y" * 2_000_000}

    with running(worker_of(Hatchet(config=config(fake, rest)), large=large)):
        event = fake.terminal(fake.start_task("large:large"))
    assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
    assert "the engine refused it" in event.event_payload
    fake.close()


def test_c_5_39_an_error_that_is_too_large_is_cut(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    async def verbose(input: Number, ctx: Context) -> None:
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
    def deadly(input: Number, ctx: Context) -> None:
        raise error

    async def aio_deadly(input: Number, ctx: Context) -> None:
        raise error

    with running(worker_of(hatchet, deadly=aio_deadly if is_async else deadly, task=double)):
        event = fake.terminal(fake.start_task("deadly:deadly"))
        assert event.event_payload.startswith(f"{type(error).__name__}: ")
        assert fake.terminal(fake.start_task("task:task", {"n": 1})).event_payload == '{"n":2}'


def test_an_error_without_readable_text_is_reported(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    async def broken(input: Number, ctx: Context) -> None:
        raise Unreadable

    async def surrogate(input: Number, ctx: Context) -> None:
        raise ValueError("lone \ud800 surrogate")

    with running(worker_of(hatchet, broken=broken, surrogate=surrogate)):
        event = fake.terminal(fake.start_task("broken:broken"))
        assert event.event_payload.startswith("Unreadable: ")
        event = fake.terminal(fake.start_task("surrogate:surrogate"))
        assert event.event_payload.startswith("ValueError: lone \\ud800 surrogate")
