"""Triggering and results against a small engine of our own: what travels, what comes back, what survives a break."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import grpc
import pytest
from pydantic import BaseModel

from fakes.caller_world import InTask, caller_config
from fakes.fake_engine import FakeEngine, FakeRun, make_token
from hatchet_sdk import (
    CancelledRunError,
    ClientConfig,
    ClientTLSConfig,
    ConfigurationError,
    Context,
    DedupeViolationError,
    EmptyModel,
    EngineError,
    FailedTaskRunExceptionGroup,
    Hatchet,
    TriggerWorkflowOptions,
)
from hatchet_sdk.context.current import current_context
from hatchet_sdk.run import coalesce, results
from hatchet_sdk.wire.loop_thread import connection_thread

NO_WAIT = pytest.mark.filterwarnings("ignore:.*wait_for_result=False:DeprecationWarning")


class In(BaseModel):
    n: int


class Out(BaseModel):
    n: int


def _double(engine: FakeEngine) -> None:
    engine.on_trigger = lambda run: engine.complete(run, {"n": 2 * json.loads(run.request.input)["n"]})


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine().start()
    _double(engine)
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_pause", lambda failures: 0.01)


@pytest.fixture
def hatchet(engine: FakeEngine) -> Hatchet:
    return Hatchet(config=caller_config(engine))


def _task(hatchet: Hatchet) -> Any:
    @hatchet.task(name="Double", input_validator=In)
    async def double(input: In, ctx: Context) -> Out:
        return Out(n=2 * input.n)

    return double


@pytest.fixture
def double(hatchet: Hatchet) -> Any:
    return _task(hatchet)


# --- fire and wait, fire and forget ---------------------------------------------------------------------------------


def test_run_returns_the_typed_result(double: Any, engine: FakeEngine) -> None:
    assert double.run(In(n=4)) == Out(n=8)
    assert engine.last().request.name == "Double"
    assert engine.calls["GetRunDetails"] == 0


def test_c_1_9_every_call_carries_the_token(double: Any, engine: FakeEngine) -> None:
    double.run(In(n=1))
    for method in ("TriggerWorkflow", "SubscribeToWorkflowRuns"):
        assert engine.metadata[method]["authorization"] == f"bearer {make_token(engine.target)}"


async def test_aio_run_and_a_blocking_run_inside_a_running_loop(double: Any) -> None:
    assert await double.aio_run(In(n=4)) == Out(n=8)
    assert double.run(In(n=5)) == Out(n=10)


async def test_references_give_the_result_later(double: Any, engine: FakeEngine) -> None:
    engine.on_trigger = None
    ref = await double.aio_run(In(n=4), wait_for_result=False)
    assert ref.workflow_run_id == engine.last().run_id
    awaited = asyncio.create_task(ref.aio_result())
    await asyncio.to_thread(engine.wait_until, lambda: ref.workflow_run_id in engine.subscribed)
    assert not awaited.done()
    engine.complete(engine.last(), {"n": 1})
    assert await awaited == Out(n=1)
    assert await asyncio.to_thread(ref.result) == Out(n=1)
    assert await double.aio_get_result(ref.workflow_run_id) == Out(n=1)
    assert await asyncio.to_thread(double.get_result, ref.workflow_run_id) == Out(n=1)
    assert double.get_run_ref("some-id").workflow_run_id == "some-id"


@NO_WAIT
async def test_the_deprecated_spellings_work(double: Any) -> None:
    assert double.run_no_wait(In(n=1)).result() == Out(n=2)
    assert await (await double.aio_run_no_wait(In(n=1))).aio_result() == Out(n=2)
    items = [double.create_bulk_run_item(In(n=n)) for n in range(3)]
    assert [ref.result().n for ref in double.run_many_no_wait(items)] == [0, 2, 4]
    assert [(await ref.aio_result()).n for ref in await double.aio_run_many_no_wait(items)] == [0, 2, 4]


def test_c_7_15_a_task_that_returns_nothing(hatchet: Hatchet, engine: FakeEngine) -> None:
    engine.on_trigger = lambda run: engine.complete(run)

    @hatchet.task()
    def nothing(input: EmptyModel, ctx: Context) -> None: ...

    @hatchet.task()
    def untyped(input, ctx): ...  # type: ignore[no-untyped-def]

    assert nothing.run() is None  # type: ignore[func-returns-value]
    assert untyped.run() == {}


async def test_engine_version(hatchet: Hatchet, engine: FakeEngine) -> None:
    assert await hatchet.aio_get_engine_version() == "v0.999.0"
    engine.fail_next("GetVersion", grpc.StatusCode.UNIMPLEMENTED)
    assert await hatchet.aio_get_engine_version() is None


# --- failures of runs -----------------------------------------------------------------------------------------------


def test_c_7_19_a_failed_run_raises_a_group_that_names_the_run(double: Any, engine: FakeEngine) -> None:
    engine.on_trigger = lambda run: engine.fail(run, "ValueError: no\nTraceback (most recent call last):\n...", "late")
    with pytest.raises(FailedTaskRunExceptionGroup) as caught:
        double.run(In(n=1))
    assert [(e.exc_type, e.exc) for e in caught.value.exceptions] == [("ValueError", "no"), ("HatchetError", "late")]
    assert engine.last().run_id in str(caught.value)


async def test_c_7_21_a_cancelled_run_raises_for_both_kinds_of_callers(double: Any, engine: FakeEngine) -> None:
    engine.on_trigger = engine.cancel
    with pytest.raises(CancelledRunError, match="was cancelled"):
        await double.aio_run(In(n=1))
    with pytest.raises(ValueError, match="was cancelled"):
        await asyncio.to_thread(double.run, In(n=1))


# --- many runs ------------------------------------------------------------------------------------------------------


async def test_c_4_4_bulk_results_are_in_the_order_of_the_items(double: Any, engine: FakeEngine) -> None:
    items = [double.create_bulk_run_item(In(n=n)) for n in range(2500)]
    assert [out.n for out in await double.aio_run_many(items)] == [2 * n for n in range(2500)]
    assert sorted(engine.bulk_sizes) == [500, 1000, 1000]
    assert await double.aio_run_many([]) == []


def test_c_4_5_bulk_requests_stay_below_the_message_limit(engine: FakeEngine) -> None:
    double = _task(Hatchet(config=caller_config(engine, grpc_max_send_message_length=20_000)))
    items = [double.create_bulk_run_item(In(n=n), additional_metadata={"pad": "x" * 900}) for n in range(50)]
    refs = double.run_many(items, wait_for_result=False)
    assert [json.loads(engine.runs[ref.workflow_run_id].request.input)["n"] for ref in refs] == list(range(50))
    assert len(engine.bulk_sizes) == 3


def test_c_7_22_exceptions_take_the_place_of_failed_runs(double: Any, engine: FakeEngine) -> None:
    def end(run: FakeRun) -> None:
        n = json.loads(run.request.input)["n"]
        engine.complete(run, {"n": n}) if n % 2 else engine.fail(run, f"E: {n}\ntrace")

    engine.on_trigger = end
    items = [double.create_bulk_run_item(In(n=n)) for n in range(10)]
    got = double.run_many(items, return_exceptions=True)
    assert [out.n for out in got[1::2]] == [1, 3, 5, 7, 9]
    assert [error.exceptions[0].exc for error in got[::2]] == ["0", "2", "4", "6", "8"]
    with pytest.raises(FailedTaskRunExceptionGroup):
        double.run_many(items)


def test_the_first_failure_is_raised_while_other_runs_go_on(double: Any, engine: FakeEngine) -> None:
    def end(run: FakeRun) -> None:
        if json.loads(run.request.input)["n"] == 1:
            engine.fail(run, "broken")

    engine.on_trigger = end
    with pytest.raises(FailedTaskRunExceptionGroup, match="broken"):
        double.run_many([double.create_bulk_run_item(In(n=n)) for n in range(3)])


def test_a_refused_chunk_tells_how_many_runs_exist(double: Any, engine: FakeEngine) -> None:
    engine.fail_next("BulkTriggerWorkflow", grpc.StatusCode.INVALID_ARGUMENT, "workflow names not found: x")
    items = [double.create_bulk_run_item(In(n=n)) for n in range(2000)]
    with pytest.raises(EngineError, match="workflow names not found: x") as caught:
        double.run_many(items)
    assert len(engine.runs) == 1000
    assert caught.value.__notes__ == ["1000 of the 2000 runs were created before or beside the refused ones"]


# --- single triggers under load -------------------------------------------------------------------------------------


async def test_triggers_that_come_together_share_requests(double: Any, engine: FakeEngine) -> None:
    outs = await asyncio.gather(*(double.aio_run(In(n=n)) for n in range(300)))
    assert [out.n for out in outs] == [2 * n for n in range(300)]
    assert engine.bulk_sizes
    assert engine.calls["TriggerWorkflow"] + sum(engine.bulk_sizes) == 300


async def test_one_wrong_trigger_among_many_fails_alone(double: Any, engine: FakeEngine) -> None:
    engine.fail_next("BulkTriggerWorkflow", grpc.StatusCode.INVALID_ARGUMENT, "one of them")
    engine.fail_next("TriggerWorkflow", grpc.StatusCode.INVALID_ARGUMENT, "this one")
    outs = await asyncio.gather(*(double.aio_run(In(n=n)) for n in range(50)), return_exceptions=True)
    errors = [out for out in outs if isinstance(out, BaseException)]
    assert [error.details() for error in errors if isinstance(error, EngineError)] == ["this one"]
    assert len(errors) == 1
    assert len(engine.runs) == 49


async def test_a_refusal_of_everybody_reaches_everybody(double: Any, engine: FakeEngine) -> None:
    for method in ("TriggerWorkflow", "BulkTriggerWorkflow"):
        engine.fail_next(method, grpc.StatusCode.UNAUTHENTICATED, "invalid auth token", times=50)
    outs = await asyncio.gather(*(double.aio_run(In(n=n)) for n in range(50)), return_exceptions=True)
    assert {type(out) for out in outs} == {EngineError}
    assert not engine.runs


async def test_a_slow_trigger_does_not_hold_up_the_others(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalesce, "SLOW_SECONDS", 0.01)
    config = caller_config(engine)
    gate = threading.Event()

    class Held:
        def __call__(self, retry_state: Any) -> float:
            return 0.0 if gate.is_set() else 3600.0

    config.tenacity.wait = cast("Any", Held)
    double = _task(Hatchet(config=config))
    engine.fail_next("TriggerWorkflow", grpc.StatusCode.INTERNAL, times=coalesce.LANES)
    stuck = [asyncio.create_task(double.aio_run(In(n=n))) for n in range(coalesce.LANES)]
    await asyncio.to_thread(engine.wait_until, lambda: engine.calls["TriggerWorkflow"] == coalesce.LANES)
    assert await asyncio.wait_for(double.aio_run(In(n=7)), 30) == Out(n=14)
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


# --- inside a task --------------------------------------------------------------------------------------------------


@pytest.fixture
def in_task() -> Iterator[InTask]:
    context = InTask({"Double": True})
    token = current_context.set(cast("Context", context))
    yield context
    current_context.reset(token)


def test_c_4_15_runs_triggered_in_a_task_are_its_children_in_order(
    double: Any, engine: FakeEngine, in_task: InTask
) -> None:
    double.run(In(n=1))
    double.run_many([double.create_bulk_run_item(In(n=2)), double.create_bulk_run_item(In(n=3), key="k")])
    double.run(In(n=4), sticky=True)
    requests = [run.request for run in engine.runs.values()]
    assert [request.child_index for request in requests] == [0, 1, 2, 3]
    assert {request.parent_id for request in requests} == {in_task.workflow_run_id}
    assert {request.parent_task_run_external_id for request in requests} == {in_task.task_run_id}
    assert [request.child_key for request in requests] == ["", "", "k", ""]
    assert [request.desired_worker_id for request in requests] == ["", "", "", in_task.worker_id]


def test_a_given_parent_and_index_are_kept(double: Any, engine: FakeEngine, in_task: InTask) -> None:
    double.run(In(n=1), TriggerWorkflowOptions(parent_id="p", parent_step_run_id="s", child_index=9))
    request = engine.last().request
    assert (request.parent_id, request.parent_task_run_external_id, request.child_index) == ("p", "s", 9)


def test_c_4_11_outside_a_task_there_is_no_parent(double: Any, engine: FakeEngine) -> None:
    double.run(In(n=1), sticky=True)
    assert {field.name for field, _ in engine.last().request.ListFields()} == {"name", "input"}


# --- errors of calls ------------------------------------------------------------------------------------------------

FINAL = ["INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNIMPLEMENTED", "UNAUTHENTICATED"]


@pytest.mark.parametrize("code", FINAL)
def test_c_1_11_user_errors_come_at_once_with_the_words_of_the_engine(
    double: Any, engine: FakeEngine, code: str
) -> None:
    engine.fail_next("TriggerWorkflow", grpc.StatusCode[code], "priority must be between 1 and 3, got 7")
    with pytest.raises(EngineError, match="priority must be between 1 and 3, got 7") as caught:
        double.run(In(n=1))
    assert caught.value.code() is grpc.StatusCode[code]
    assert caught.value.details() == "priority must be between 1 and 3, got 7"
    assert isinstance(caught.value, grpc.RpcError)
    assert engine.calls["TriggerWorkflow"] == 1


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED"])
def test_c_1_11_other_errors_are_tried_again(double: Any, engine: FakeEngine, code: str) -> None:
    engine.fail_next("TriggerWorkflow", grpc.StatusCode[code], times=4)
    assert double.run(In(n=1)) == Out(n=2)
    assert engine.calls["TriggerWorkflow"] == 5


def test_c_1_11_after_five_attempts_the_last_error_is_raised(double: Any, engine: FakeEngine) -> None:
    engine.fail_next("TriggerWorkflow", grpc.StatusCode.INTERNAL, "An internal error occurred.", times=6)
    with pytest.raises(EngineError, match=r"An internal error occurred\. \(TriggerWorkflow at .*: INTERNAL\)"):
        double.run(In(n=1))
    assert engine.calls["TriggerWorkflow"] == 5


def test_c_4_49_a_duplicate_is_a_dedupe_violation(double: Any, engine: FakeEngine) -> None:
    engine.fail_next("TriggerWorkflow", grpc.StatusCode.ALREADY_EXISTS, "exists")
    with pytest.raises(DedupeViolationError, match="exists"):
        double.run(In(n=1))


def test_an_engine_that_is_not_there_is_named_with_what_to_do(engine: FakeEngine) -> None:
    double = _task(Hatchet(config=caller_config(engine)))
    engine.stop_server()
    with pytest.raises(EngineError, match=rf"cannot reach the engine at {engine.target}.*hatchet server status"):
        double.run(In(n=1))


def test_a_refused_token_says_where_tokens_come_from(double: Any, engine: FakeEngine) -> None:
    engine.fail_next("TriggerWorkflow", grpc.StatusCode.UNAUTHENTICATED, "invalid auth token")
    with pytest.raises(EngineError, match=r"refused the token.*invalid auth token.*HATCHET_CLIENT_TOKEN"):
        double.run(In(n=1))


def test_c_1_23_an_input_above_the_limit_fails_at_once_and_says_which_limit(engine: FakeEngine) -> None:
    double = _task(Hatchet(config=caller_config(engine, grpc_max_send_message_length=1000)))
    with pytest.raises(EngineError, match=r"above the size limit.*HATCHET_CLIENT_GRPC_MAX_SEND_MESSAGE_LENGTH"):
        double.run(In(n=1), additional_metadata={"pad": "x" * 2000})
    assert engine.calls["TriggerWorkflow"] == 0


@pytest.mark.parametrize(
    ("tls", "text"),
    [
        (ClientTLSConfig(strategy="magic"), "unknown TLS strategy 'magic'"),
        (ClientTLSConfig(strategy="mtls"), "needs HATCHET_CLIENT_TLS_ROOT_CA_FILE"),
        (ClientTLSConfig(strategy="tls", root_ca_file="/no/such/ca"), "cannot read /no/such/ca"),
    ],
)
def test_c_1_17_tls_settings_that_cannot_work_are_named(engine: FakeEngine, tls: ClientTLSConfig, text: str) -> None:
    config = ClientConfig(token=make_token(engine.target), tls_config=tls)
    with pytest.raises(ConfigurationError, match=text):
        _task(Hatchet(config=config)).run(In(n=1))


# --- the stream of results ------------------------------------------------------------------------------------------


async def test_c_7_1_one_stream_serves_all_runs_and_c_7_4_shares_requests(double: Any, engine: FakeEngine) -> None:
    engine.on_trigger = None
    ref = await double.aio_run(In(n=1), wait_for_result=False)
    waits = [asyncio.create_task(ref.aio_result()) for _ in range(5)]
    other = asyncio.create_task(double.aio_run(In(n=2)))
    await asyncio.to_thread(engine.wait_until, lambda: len(engine.subscribed) == 2)
    for run in list(engine.runs.values()):
        engine.complete(run, {"n": 7})
    assert {out.n for out in await asyncio.gather(*waits, other)} == {7}
    assert (engine.streams_opened, len(engine.subscribed)) == (1, 2)


async def test_c_7_8_after_a_break_all_open_ids_are_sent_again(double: Any, engine: FakeEngine) -> None:
    engine.on_trigger = None
    refs = [await double.aio_run(In(n=n), wait_for_result=False) for n in range(3)]
    waits = [asyncio.create_task(ref.aio_result()) for ref in refs]
    ids = {ref.workflow_run_id for ref in refs}
    await asyncio.to_thread(engine.wait_until, lambda: set(engine.subscribed) == ids)
    engine.subscribed.clear()
    engine.cut_streams()
    await asyncio.to_thread(engine.wait_until, lambda: set(engine.subscribed) == ids)
    for run in list(engine.runs.values()):
        engine.complete(run, {"n": 7})
    assert [out.n for out in await asyncio.gather(*waits)] == [7, 7, 7]


async def test_a_run_that_ended_while_the_engine_was_away_is_found(double: Any, engine: FakeEngine) -> None:
    engine.on_trigger = None
    ref = await double.aio_run(In(n=1), wait_for_result=False)
    waiting = asyncio.create_task(ref.aio_result())
    await asyncio.to_thread(engine.wait_until, lambda: bool(engine.subscribed))
    await asyncio.to_thread(engine.stop_server)
    engine.complete(engine.last(), {"n": 7})
    await asyncio.to_thread(engine.start)
    assert await asyncio.wait_for(waiting, 60) == Out(n=7)


def test_a_stream_that_ends_at_once_is_backed_by_looking_runs_up(double: Any, engine: FakeEngine) -> None:
    engine.eof_streams = True
    assert double.run(In(n=1)) == Out(n=2)
    assert engine.calls["GetRunDetails"] > 0
    engine.on_trigger = lambda run: engine.fail(run, "broken")
    with pytest.raises(FailedTaskRunExceptionGroup, match="broken"):
        double.run(In(n=1))
    engine.on_trigger = engine.cancel
    with pytest.raises(CancelledRunError):
        double.run(In(n=1))


def test_a_stream_that_is_not_served_is_backed_by_looking_runs_up(double: Any, engine: FakeEngine) -> None:
    engine.fail_next("SubscribeToWorkflowRuns", grpc.StatusCode.UNIMPLEMENTED, times=10_000)
    assert double.run(In(n=1)) == Out(n=2)


def test_ends_of_the_stream_do_not_spin(double: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[int] = []
    monkeypatch.setattr(results, "_pause", lambda failures: pauses.append(failures) or 0.0)  # type: ignore[func-returns-value]
    engine.eof_streams = True
    double.run(In(n=1))
    assert pauses[:2] == [1, 2]
    assert engine.streams_opened <= len(pauses) + 1


def test_pauses_grow_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pauses = [results._pause(failures) for failures in range(12)]
    assert all(0.05 <= pause <= results.LONGEST_PAUSE for pause in pauses)
    assert pauses[0] < 0.11 < pauses[3]


def test_a_refused_stream_tells_those_who_wait(double: Any, engine: FakeEngine) -> None:
    # A write that meets the refused stream hides the refusal from that one stream (grpc reports INTERNAL), so more than
    # one is refused, as by an engine that goes on refusing.
    engine.fail_next("SubscribeToWorkflowRuns", grpc.StatusCode.UNAUTHENTICATED, "invalid auth token", times=10_000)
    with pytest.raises(EngineError, match="refused the token"):
        double.run(In(n=1))
    engine.fail_no_more("SubscribeToWorkflowRuns")
    assert double.run(In(n=1)) == Out(n=2)


def test_c_7_12_results_too_large_for_the_stream_are_fetched(double: Any, engine: FakeEngine) -> None:
    engine.drop_results = True
    assert double.run(In(n=1)) == Out(n=2)
    assert engine.calls["GetRunDetails"] == 1


async def test_a_lost_event_is_asked_for_again(
    double: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.on_trigger = None
    ref = await double.aio_run(In(n=1), wait_for_result=False)
    monkeypatch.setattr(double.client.client.runner._listener, "_resend_seconds", 0.05)
    waiting = asyncio.create_task(ref.aio_result())
    await asyncio.to_thread(engine.wait_until, lambda: bool(engine.subscribed))
    run = engine.last()
    run.results, run.status = _completed(run), 2  # final, but nobody was told
    assert await asyncio.wait_for(waiting, 30) == Out(n=5)


def _completed(run: FakeRun) -> list[Any]:
    from hatchet_contracts.dispatcher_pb2 import StepRunResult

    return [StepRunResult(task_run_external_id=run.run_id, task_name="double", output='{"n": 5}')]


async def test_giving_up_a_wait_leaves_the_others(double: Any, engine: FakeEngine) -> None:
    engine.on_trigger = None
    ref = await double.aio_run(In(n=1), wait_for_result=False)
    first, second = (asyncio.create_task(ref.aio_result()) for _ in range(2))
    await asyncio.to_thread(engine.wait_until, lambda: bool(engine.subscribed))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    engine.complete(engine.last(), {"n": 7})
    assert await second == Out(n=7)


def test_many_threads_share_one_client(double: Any, engine: FakeEngine) -> None:
    with ThreadPoolExecutor(16) as pool:
        outs = list(pool.map(lambda n: double.run(In(n=n)).n, range(200)))
    assert outs == [2 * n for n in range(200)]
    assert engine.streams_opened == 1


# --- threads and processes ------------------------------------------------------------------------------------------


def test_a_blocking_call_on_the_connection_thread_is_refused(double: Any) -> None:
    async def misuse() -> None:
        double.run(In(n=1))

    with pytest.raises(RuntimeError, match="use the aio_ variant"):
        connection_thread().run(misuse())


FORK = """
import os, sys
from hatchet_sdk import ClientConfig, ClientTLSConfig, Context, EmptyModel, Hatchet
hatchet = Hatchet(config=ClientConfig(token=sys.argv[1], tls_config=ClientTLSConfig(strategy="none")))
@hatchet.task()
def task(input: EmptyModel, ctx: Context) -> dict[str, int]: ...
if sys.argv[2] == "late":
    print(task.run(), flush=True)
pid = os.fork()
if pid == 0:
    try:
        print("child", task.run(), flush=True)
    except RuntimeError as error:
        print("child", error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("parent", task.run(), flush=True)
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_a_forked_child_works_or_is_told_why_not(engine: FakeEngine, when: str) -> None:
    engine.on_trigger = lambda run: engine.complete(run, {"n": 1})
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(FORK), make_token(engine.target), when],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "HATCHET_HOME": "/nonexistent"},
    )
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines[-1] == "parent {'n': 1}"
    expected = "child {'n': 1}" if when == "early" else "child this process was forked after hatchet_sdk had connected"
    assert any(line.startswith(expected) for line in lines), (done.stdout, done.stderr)
