"""``hatchet-engine`` around the server: signals, start-up failures, and what it leaves in the data directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hatchet.cli import runtime

STAND_IN = """
import asyncio, os, sys, types
from hatchet.core.errors import Unavailable

class Server:
    server_url, health_port, dsn, default_tenant_id = "http://localhost:1", None, "postgresql://nowhere", "t"
    def __init__(self, settings):
        self.how = os.environ["HOW"]
        self.grpc_address = settings.broadcast_address()
    async def start(self):
        if self.how == "refuse":
            raise Unavailable("cannot reach the database: nobody is at home. Check DATABASE_URL.")
        if self.how == "slow":
            print("starting", flush=True)
            await asyncio.sleep(3600)
    async def stop(self, grace=None):
        print("grace", grace, flush=True)
        if self.how == "stuck":
            await asyncio.sleep(3600)

module = types.ModuleType("hatchet.server")
module.Server = Server
sys.modules["hatchet.server"] = module
from hatchet.cli.engine import main
main(sys.argv[1:])
"""


class Engine:
    """The program in a process of its own."""

    def __init__(self, data_dir: Path, how: str, *arguments: str, **environment: str) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, "-c", STAND_IN, *arguments],
            env={**os.environ, "HOW": how, "HATCHET_DATA_DIR": str(data_dir), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "the condition never held"
            time.sleep(0.02)

    def until_ready(self) -> None:
        self.until(lambda: runtime.read(self.data_dir) is not None)

    def end(self, number: int | None = None) -> tuple[int, str, str]:
        if number is not None:
            self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    started: list[Engine] = []

    def start(how: str, *arguments: str, **environment: str) -> Engine:
        started.append(Engine(tmp_path / "data", how, *arguments, **environment))
        return started[-1]

    yield start
    for engine in started:
        if engine.process.poll() is None:
            engine.process.kill()
        engine.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_gracefully(run: Callable[..., Engine], number: signal.Signals) -> None:
    engine = run("well")
    engine.until_ready()
    assert (engine.data_dir / runtime.RUNTIME_FILE).stat().st_mode & 0o777 == 0o600
    code, output, errors = engine.end(number)
    assert (code, errors) == (0, "")
    assert "grace None" in output
    assert not (engine.data_dir / runtime.RUNTIME_FILE).exists()
    assert runtime.running_pid(engine.data_dir) is None


def test_no_graceful_shutdown_waits_for_nothing(run: Callable[..., Engine]) -> None:
    engine = run("well", "--no-graceful-shutdown")
    engine.until_ready()
    assert "grace 0" in engine.end(signal.SIGTERM)[1]


def test_a_signal_during_the_start_ends_it(run: Callable[..., Engine]) -> None:
    engine = run("slow")
    engine.until(lambda: runtime.running_pid(engine.data_dir) is not None)
    assert engine.process.stdout is not None
    assert "starting" in engine.process.stdout.readline()
    code, output, errors = engine.end(signal.SIGTERM)
    assert (code, errors) == (0, "")
    assert "grace" in output


def test_a_second_signal_ends_it_at_once(run: Callable[..., Engine]) -> None:
    engine = run("stuck")
    engine.until_ready()
    engine.process.send_signal(signal.SIGTERM)
    assert engine.process.stdout is not None
    while "grace" not in engine.process.stdout.readline():
        pass
    assert engine.end(signal.SIGTERM)[0] == 130


def test_what_keeps_it_from_starting_is_one_paragraph(run: Callable[..., Engine]) -> None:
    code, _, errors = run("refuse").end()
    assert code == 1
    assert errors == "Error: cannot reach the database: nobody is at home. Check DATABASE_URL.\n"


def test_a_wrong_variable_is_one_paragraph(run: Callable[..., Engine]) -> None:
    code, _, errors = run("well", SERVER_GRPC_PORT="seventy").end()
    assert code == 1
    assert "SERVER_GRPC_PORT" in errors
    assert "Traceback" not in errors


def test_a_data_directory_that_cannot_be_made_is_one_paragraph(run: Callable[..., Engine], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, errors = run("well", HATCHET_DATA_DIR=str(tmp_path / "file" / "data")).end()
    assert code == 1
    assert errors.startswith("Error: cannot create the directory")


@pytest.mark.parametrize("form", ["file", "directory"])
def test_config_gives_variables_and_the_environment_wins(run: Callable[..., Engine], tmp_path: Path, form: str) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "server.env").write_text('SERVER_GRPC_BROADCAST_ADDRESS="engine.example.com:443"\nSERVER_PORT=wrong\n')
    path = config if form == "directory" else config / "server.env"
    engine = run("well", "--config", str(path), SERVER_PORT="8080")
    engine.until_ready()
    found = runtime.read(engine.data_dir)
    assert found is not None
    assert found.grpc_address == "engine.example.com:443"


def test_config_that_is_not_there_is_an_error(run: Callable[..., Engine], tmp_path: Path) -> None:
    code, _, errors = run("well", "--config", str(tmp_path / "absent")).end()
    assert code == 1
    assert "absent" in errors
