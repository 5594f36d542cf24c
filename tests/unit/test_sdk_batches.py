"""What the function of a batch task gets, and what the engine hears of each run of the batch."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from pydantic import BaseModel

from fakes.batches import Reported, cancel_batch, ids_of, start_batch
from fakes.fake_dispatcher import FakeDispatcher
from fakes.fake_rest import FakeRest
from fakes.worker_world import Number, config, running
from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_sdk import Context, EmptyModel, Hatchet, NonRetryableException, RetryAfterException
from hatchet_sdk.context.current import current_context
from hatchet_sdk.declare.standalone import Standalone
from hatchet_sdk.run.outcome import RunOutcome, TaskOutcome
from hatchet_sdk.wire import batch_events as messages
from hatchet_sdk.worker.worker import Worker

pytest_plugins = ["fakes.worker_fixtures"]

ACTION = "many:many"
Inputs = dict[str, Number]


class Out(BaseModel):
    n: int


def batch_worker(hatchet: Hatchet, function: Callable[..., Any], **options: Any) -> Worker:
    """A worker with one batch task, whose action id is `many:many`."""
    declare: Callable[..., Callable[..., Standalone[Any, Any]]] = hatchet.batch_task
    task = declare(**{"name": "many", "input_validator": Number, "batch_max_size": 100, **options})(function)
    return hatchet.worker("test-worker", slots=10, workflows=[task])


async def double_all(inputs: Inputs, ctx: Context) -> dict[str, Out]:
    return {run: Out(n=number.n * 2) for run, number in reversed(inputs.items())}


def sync_double_all(inputs: Inputs, ctx: Context) -> dict[str, Out]:
    return {run: Out(n=number.n * 2) for run, number in inputs.items()}


# --- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [double_all, sync_double_all])
def test_c_16_35_each_run_gets_the_output_that_has_its_id(
    fake: FakeDispatcher, hatchet: Hatchet, function: Callable[..., Any]
) -> None:
    with running(batch_worker(hatchet, function)):
        batch = start_batch(fake, ACTION, [{"n": n} for n in range(20)])
        reported = Reported(fake, batch).wait()
    assert reported.outputs() == [{"n": n * 2} for n in range(20)]
    # C-16.24, C-16.27: one event for the batch, with the batch's own attempt in each item.
    (event,) = reported.events
    assert (event.worker_id, event.action_id) == (fake.worker_ids[0], ACTION)
    assert event.event_timestamp.seconds > 0
    assert {item.retry_count for item in event.items} == {0}
    assert all(item.HasField("retry_count") for item in event.items)


def test_c_16_21_the_function_is_called_once_with_the_inputs_in_their_order(
    fake: FakeDispatcher, hatchet: Hatchet
) -> None:
    calls: list[list[tuple[str, int]]] = []

    def function(inputs: Inputs, ctx: Context) -> dict[str, Out]:
        calls.append([(run, number.n) for run, number in inputs.items()])
        return sync_double_all(inputs, ctx)

    with running(batch_worker(hatchet, function)):
        batch = start_batch(fake, ACTION, [{"n": n} for n in (5, 3, 9, 1)])
        Reported(fake, batch).wait()
    assert calls == [list(zip(ids_of(batch), (5, 3, 9, 1), strict=True))]


def test_c_16_36_a_broadcast_output_is_the_output_of_all(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    def function(inputs: Inputs, ctx: Context) -> Out:
        return Out(n=sum(number.n for number in inputs.values()))

    with running(batch_worker(hatchet, function, broadcast_output=True)):
        reported = Reported(fake, start_batch(fake, ACTION, [{"n": 1}] * 10)).wait()
    assert reported.outputs() == [{"n": 10}] * 10


def test_c_16_22_one_slot_is_enough_for_any_batch(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(batch_worker(hatchet, double_all)):
        fake.wait_for(lambda: fake.requests("Register"), "the worker has registered")
        assert dict(fake.requests("Register")[0].slot_config) == {"default": 10}
        Reported(fake, start_batch(fake, ACTION, [{"n": 1}] * 50)).wait()


def test_a_run_may_return_nothing(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(batch_worker(hatchet, lambda inputs, ctx: dict.fromkeys(inputs))):
        reported = Reported(fake, start_batch(fake, ACTION, [{}, {}])).wait()
    assert reported.outputs() == [None, None]


def test_a_long_batch_is_reported_started_before_it_ends(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    go_on = threading.Event()

    def function(inputs: Inputs, ctx: Context) -> dict[str, Out]:
        go_on.wait(20)
        return sync_double_all(inputs, ctx)

    with running(batch_worker(hatchet, function)):
        batch = start_batch(fake, ACTION, [{"n": 1}, {"n": 2}])
        reported = Reported(fake, batch)
        reported.until(lambda: reported.kinds == ["STARTED"], "STARTED has come")
        assert list(reported.items("STARTED")) == ids_of(batch)
        go_on.set()
        reported.wait()
    assert reported.kinds == ["STARTED", "COMPLETED"]


def test_a_second_start_of_the_same_batch_is_ignored(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    calls, go_on = [], threading.Event()

    def function(inputs: Inputs, ctx: Context) -> dict[str, Out]:
        calls.append(len(inputs))
        go_on.wait(20)
        return sync_double_all(inputs, ctx)

    with running(batch_worker(hatchet, function)):
        batch = start_batch(fake, ACTION, [{"n": 1}])
        fake.wait_for(lambda: calls, "the function runs")
        fake.send(batch)
        other = start_batch(fake, ACTION, [{"n": 2}])
        fake.wait_for(lambda: len(calls) == 2, "the other batch runs")
        go_on.set()
        Reported(fake, batch).wait()
        Reported(fake, other).wait()
    assert calls == [1, 1]


# --- failures -------------------------------------------------------------------------------------------------------


def _raise(error: BaseException) -> Callable[..., Any]:
    def function(inputs: Inputs, ctx: Context) -> dict[str, Out]:
        raise error

    return function


def test_c_16_28_a_batch_whose_function_raises_fails_as_a_whole(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(batch_worker(hatchet, _raise(KeyError("boom")))):
        batch = start_batch(fake, ACTION, [{"n": 1}, {"n": 2}])
        reported = Reported(fake, batch).wait()
    assert reported.kinds == ["FAILED"]
    for run, item in reported.items("FAILED").items():
        assert item.event_payload.startswith("KeyError: 'boom'\nTraceback")
        assert f'"task_run_external_id": "{run}"' in item.event_payload
        assert not item.HasField("should_not_retry")


def test_an_error_says_for_each_run_whether_and_when_to_try_again(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    later = RetryAfterException("later", after=timedelta(milliseconds=250))
    for error, field, value in (
        (NonRetryableException("never"), "should_not_retry", True),
        (later, "retry_after_ms", 250),
    ):
        with running(batch_worker(hatchet, _raise(error))):
            items = Reported(fake, start_batch(fake, ACTION, [{}, {}])).wait().items("FAILED")
        assert [getattr(item, field) for item in items.values()] == [value, value]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda inputs: {run: {} for run in list(inputs)[1:]}, "missing: {first}; unknown: none"),
        (lambda inputs: {**{run: {} for run in inputs}, "stranger": {}}, "missing: none; unknown: stranger"),
        (lambda inputs: [{} for _ in inputs], "must return a mapping from the ids"),
        (lambda inputs: None, "must return a mapping from the ids"),
    ],
)
def test_c_16_28_wrong_ids_and_wrong_counts_fail_the_batch(
    fake: FakeDispatcher, hatchet: Hatchet, wrong: Callable[[Any], Any], words: str
) -> None:
    with running(batch_worker(hatchet, lambda inputs, ctx: wrong(inputs))):
        batch = start_batch(fake, ACTION, [{}, {}, {}])
        reported = Reported(fake, batch).wait()
    texts = [item.event_payload for item in reported.items("FAILED").values()]
    assert len(texts) == 3
    assert all(words.format(first=ids_of(batch)[0]) in text for text in texts)


def test_c_16_26_a_wrong_input_or_output_fails_its_run_alone(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    seen: list[int] = []

    def function(inputs: Inputs, ctx: Context) -> dict[str, Any]:
        seen.extend(number.n for number in inputs.values())
        return {run: 7 if number.n == 3 else {"n": number.n} for run, number in inputs.items()}

    with running(batch_worker(hatchet, function)):
        batch = start_batch(fake, ACTION, [{"n": 1}, {"n": "x"}, {"n": 3}, {"n": 4}])
        reported = Reported(fake, batch).wait()
    assert seen == [1, 3, 4]
    assert reported.outputs() == [{"n": 1}, {"n": 4}]
    _, no_number, no_object, _ = ids_of(batch)
    failed = reported.items("FAILED")
    assert set(failed) == {no_number, no_object}
    assert "ValidationError" in failed[no_number].event_payload
    assert failed[no_number].should_not_retry
    assert failed[no_object].event_payload.startswith("IllegalTaskOutputError")
    assert not failed[no_object].HasField("should_not_retry")


def test_without_any_good_input_the_function_is_not_called(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    called: list[object] = []
    with running(batch_worker(hatchet, lambda inputs, ctx: called.append(inputs))):
        items = Reported(fake, start_batch(fake, ACTION, [{"n": "x"}, {"n": "y"}])).wait().items("FAILED")
    assert called == []
    assert [item.should_not_retry for item in items.values()] == [True, True]


@pytest.mark.parametrize("action_id", ["unknown:unknown", "single:single"])
def test_a_batch_that_nobody_can_run_is_told_so(fake: FakeDispatcher, hatchet: Hatchet, action_id: str) -> None:
    single = hatchet.task(name="single")(lambda value, ctx: {})
    with running(hatchet.worker("test-worker", workflows=[single])):
        items = Reported(fake, start_batch(fake, action_id, [{}, {}])).wait().items("FAILED")
    assert len(items) == 2
    assert all(action_id in item.event_payload for item in items.values())


def test_a_single_run_of_a_batch_task_is_told_so(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(batch_worker(hatchet, double_all)):
        event = fake.terminal(fake.start_task(ACTION, {"n": 1}))
    assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
    assert "is a batch task, but the engine assigned a single run" in event.event_payload


def test_a_payload_that_is_none_of_a_batch_does_not_stop_the_worker(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    with running(batch_worker(hatchet, double_all)):
        for text in ('{"r": {}}', "[1]", "{", "{}"):
            start_batch(fake, ACTION, [], action_payload=text)
        assert Reported(fake, start_batch(fake, ACTION, [{"n": 4}])).wait().outputs() == [{"n": 8}]


# --- cancelling -----------------------------------------------------------------------------------------------------


def test_c_16_29_a_function_that_cancels_ends_all_runs_as_cancelled(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    async def function(inputs: Inputs, ctx: Context) -> dict[str, Out]:
        await ctx.aio_cancel()
        assert ctx.exit_flag
        return await double_all(inputs, ctx)

    # Also when the engine is away for a moment.
    fake.fail("SendBatchActionEvent", grpc.StatusCode.UNAVAILABLE, times=2)
    with running(batch_worker(hatchet, function)):
        batch = start_batch(fake, ACTION, [{}] * 10)
        reported = Reported(fake, batch).wait()
    # The worker has stopped: nothing more comes.
    assert reported.kinds == ["CANCELLED"]
    assert list(reported.items("CANCELLED")) == ids_of(batch)
    assert reported.events[0].worker_id == fake.worker_ids[0]


def test_c_16_29_who_awaits_a_cancelled_run_of_a_batch_task_gets_nothing(hatchet: Hatchet) -> None:
    def function(inputs: dict[str, Number], ctx: Context) -> dict[str, EmptyModel]:
        return {}

    task = hatchet.batch_task(input_validator=Number, batch_max_size=2)(function)
    outcome = RunOutcome("run", (TaskOutcome("function", "run", "", None),))
    assert task._value(outcome, awaited=True) == EmptyModel()
    assert not task._raises(outcome, awaited=True)
    with pytest.raises(ValueError, match="was cancelled"):
        task._value(outcome, awaited=False)


@pytest.mark.parametrize("names_it_twice", [True, False])
def test_c_16_22_the_engine_cancels_a_batch_by_its_id(
    fake: FakeDispatcher, hatchet: Hatchet, names_it_twice: bool
) -> None:
    state: list[str] = []

    async def function(inputs: Inputs, ctx: Context) -> dict[str, Out]:
        state.append("running")
        try:
            await asyncio.sleep(60)
        finally:
            state.append(f"stopped, flag {ctx.exit_flag}")
        return await double_all(inputs, ctx)

    with running(batch_worker(hatchet, function)):
        batch = start_batch(fake, ACTION, [{}, {}])
        fake.wait_for(lambda: state, "the function runs")
        # C-16.34: a cancelled member alone stops nothing.
        member = pb.AssignedAction(
            action_type=pb.CANCEL_STEP_RUN, action_id=ACTION, task_run_external_id=ids_of(batch)[0]
        )
        fake.send(member)
        cancel_batch(fake, batch, batch.batchId if names_it_twice else "")
        fake.wait_for(lambda: len(state) == 2, "the function has stopped")
    assert state == ["running", "stopped, flag True"]
    assert set(Reported(fake, batch).kinds) <= {"STARTED"}


# --- what the context does ------------------------------------------------------------------------------------------


def test_what_the_function_writes_belongs_to_every_run(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    def function(inputs: Inputs, ctx: Context) -> dict[str, Out]:
        assert current_context.get() is ctx
        ctx.log("one line", raise_on_error=True)
        ctx.put_stream("chunk")
        ctx.refresh_timeout(timedelta(seconds=30))
        return sync_double_all(inputs, ctx)

    with running(batch_worker(hatchet, function)):
        batch = start_batch(fake, ACTION, [{}, {}])
        Reported(fake, batch).wait()
    wanted = set(ids_of(batch))
    assert {request.task_run_external_id for request in fake.requests("PutLog")} == wanted
    assert {request.task_run_external_id for request in fake.requests("PutStreamEvent")} == wanted
    assert {request.task_run_external_id for request in fake.requests("RefreshTimeout")} == wanted


def test_c_16_37_a_run_triggered_in_a_batch_is_nobodys_child(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    child = hatchet.task(name="child")(lambda value, ctx: {})

    async def function(inputs: Inputs, ctx: Context) -> dict[str, Out]:
        await child.aio_run(wait_for_result=False)
        return await double_all(inputs, ctx)

    with running(batch_worker(hatchet, function)):
        Reported(fake, start_batch(fake, ACTION, [{}])).wait()
    (request,) = fake.requests("TriggerWorkflow")
    assert {field.name for field, _ in request.ListFields()} == {"name", "input"}


# --- transport ------------------------------------------------------------------------------------------------------


def test_reports_of_a_batch_outlive_a_failing_engine(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    fake.fail("SendBatchActionEvent", grpc.StatusCode.INTERNAL, times=2)
    with running(batch_worker(hatchet, double_all)):
        reported = Reported(fake, start_batch(fake, ACTION, [{"n": 1}, {"n": 2}])).wait()
    assert reported.outputs() == [{"n": 2}, {"n": 4}]


def test_large_outputs_travel_in_several_events(fake: FakeDispatcher, hatchet: Hatchet) -> None:
    text = "x" * 400_000
    with running(batch_worker(hatchet, lambda inputs, ctx: {run: {"text": text} for run in inputs})):
        reported = Reported(fake, start_batch(fake, ACTION, [{}] * 12)).wait()
    assert reported.outputs() == [{"text": text}] * 12
    # Two of 400 kB fit into an event.
    assert reported.kinds.count("COMPLETED") == 6


def test_an_output_above_the_limit_fails_its_run_alone(fake: FakeDispatcher, rest: FakeRest) -> None:
    hatchet = Hatchet(config=config(fake, rest, grpc_max_send_message_length=200_000))

    def function(inputs: Inputs, ctx: Context) -> dict[str, Any]:
        return {run: {"text": "x" * (250_000 if number.n else 1)} for run, number in inputs.items()}

    with running(batch_worker(hatchet, function)):
        batch = start_batch(fake, ACTION, [{"n": 0}, {"n": 1}])
        reported = Reported(fake, batch).wait()
    (text,) = [item.event_payload for item in reported.items("FAILED").values()]
    assert "the limit is" in text
    assert list(reported.items("COMPLETED")) == ids_of(batch)[:1]


def test_an_event_that_the_engine_finds_too_large_is_sent_in_parts(rest: FakeRest) -> None:
    fake = FakeDispatcher(max_message_bytes=100_000)
    try:
        hatchet = Hatchet(config=config(fake, rest))

        def function(inputs: Inputs, ctx: Context) -> dict[str, Any]:
            return {run: {"text": "x" * number.n} for run, number in inputs.items()}

        with running(batch_worker(hatchet, function)):
            batch = start_batch(fake, ACTION, [{"n": 40_000}, {"n": 40_000}, {"n": 40_000}, {"n": 150_000}])
            reported = Reported(fake, batch).wait()
    finally:
        fake.close()
    assert len(reported.items("COMPLETED")) == 3
    ((run, item),) = reported.items("FAILED").items()
    assert run == ids_of(batch)[3]
    assert "the engine refused it" in item.event_payload


def test_halves_have_all_items_once() -> None:
    action = pb.AssignedAction(action_id="a", batchId="b")
    ids = [str(uuid.uuid4()) for _ in range(5)]
    (event,) = messages.batch_events(action, pb.STEP_EVENT_TYPE_STARTED, messages.plain_items(action, ids))
    parts = messages.halves(event)
    assert [item.task_run_external_id for part in parts for item in part.items] == ids
    assert [len(part.items) for part in parts] == [3, 2]
    assert all(part.batch_id == "b" and part.event_timestamp == event.event_timestamp for part in parts)
    assert len(messages.halves(messages.halves(parts[1])[0])) == 1


def test_json_of_the_members_is_read_in_its_order() -> None:
    from hatchet_sdk.context.batch import members_of

    members = {str(n): {"workflow_run_id": f"w{n}", "payload": {"input": None}} for n in (3, 1, 2)}
    found = members_of(pb.AssignedAction(action_payload=json.dumps(members)))
    assert list(found) == ["3", "1", "2"]
    assert found["1"].workflow_run_id == "w1"
    assert found["1"].input == {}
