"""How a worker starts, and how it stops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest

from fakes.fake_dispatcher import FakeDispatcher
from fakes.fake_rest import FakeRest
from fakes.worker_world import JOIN_SECONDS, Number, config, double, nothing, running, worker_of
from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_sdk import Context, Hatchet
from hatchet_sdk.exceptions import LifespanSetupError, LoopAlreadyRunningError
from hatchet_sdk.worker.errors import WorkerRegistrationError
from hatchet_sdk.worker.worker import WorkerStartOptions, WorkerStatus

pytest_plugins = ["fakes.worker_fixtures"]

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def test_c_2_4_what_the_worker_registers(fake: FakeDispatcher, rest: FakeRest) -> None:
    hatchet = Hatchet(config=config(fake, rest, namespace="Ns", worker_preset_labels={"preset": "p", "zone": "a"}))
    tasks = [hatchet.task(name="One")(nothing), hatchet.task(name="Two")(nothing)]
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

    async def look(input: Number, ctx: Context) -> None:
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

    def held(input: Number, ctx: Context) -> dict[str, Any]:
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

    def held(input: Number, ctx: Context) -> None:
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

    async def use(input: Number, ctx: Context) -> dict[str, Any]:
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

    worker = hatchet.worker("w", workflows=[hatchet.task(name="task")(nothing)], lifespan=lifespan)
    with pytest.raises(LifespanSetupError, match="OSError: no database"):
        worker.start()
    assert fake.requests("Register") == []
