"""SIGINT and SIGTERM: real worker processes against a fake dispatcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fakes.fake_dispatcher import FakeDispatcher, token
from fakes.fake_rest import FakeRest
from fakes.worker_world import JOIN_SECONDS

pytest_plugins = ["fakes.worker_fixtures"]


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
