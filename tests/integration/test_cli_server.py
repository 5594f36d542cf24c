"""``hatchet server`` with the real engine, and ``make run``, each in a home of its own (behaviour-rest R-37)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from hatchet.cli import profiles, runtime

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "from hatchet.cli.main import main; main()"


class Home:
    """A ``HATCHET_HOME`` and the program that runs in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "server" / "hatchet-cli"
        own = ("HATCHET_", "SERVER_", "DATABASE_", "ADMIN_", "DEFAULT_TENANT_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self.environment = {**kept, "HATCHET_HOME": str(path)}

    def run(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        ran = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=180, check=False)
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        return ran.stdout if code == 0 else ran.stdout + ran.stderr

    def runtime(self) -> runtime.Runtime:
        found = runtime.read(self.data)
        assert found is not None
        return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("HATCHET_HOME", str(tmp_path / "home"))
    home = Home(tmp_path / "home")
    yield home
    home.run("server", "stop")


def eventually(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, "the process ended early"
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.05)


def ready_code(port: int | None) -> int:
    assert port is not None
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/ready")
    status = connection.getresponse().status
    connection.close()
    return status


def test_r_37_1_start_status_logs_stop(home: Home) -> None:
    said = home.run("server", "start")
    assert re.search(r"Dashboard +http://localhost:\d+", said)
    assert re.search(r"gRPC +localhost:\d+", said)
    assert "local (default)" in said
    assert profiles.load().default == "local"
    assert ready_code(home.runtime().health_port) == 200
    assert "already running" in home.run("server", "start")
    assert "ready" in home.run("server", "status")
    assert home.run("server", "logs", "-n", "1").count("\n") == 1
    assert "stopped" in home.run("server", "stop")
    assert "not running" in home.run("server", "stop")
    assert "not running" in home.run("server", "status", code=1)


def test_r_37_1_data_ports_and_token_stay_across_a_kill(home: Home) -> None:
    home.run("server", "start")
    before, token = home.runtime(), profiles.load().get("local").token
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: runtime.running_pid(home.data) is None)
    home.run("server", "start")
    after = home.runtime()
    assert (after.grpc_address, after.server_url) == (before.grpc_address, before.server_url)
    assert profiles.load().get("local").token == token


def test_a_removed_profile_comes_back(home: Home) -> None:
    home.run("server", "start")
    home.run("profile", "remove", "--name", "local")
    home.run("server", "start")
    assert profiles.load().default == "local"


def test_a_port_in_use_is_named(home: Home, tmp_path: Path) -> None:
    home.run("server", "start")
    port = home.runtime().grpc_address.rpartition(":")[2]
    said = home.run("server", "start", "-p", "second", "-g", port, code=1)
    assert f"port {port} (--grpc-port) is in use" in " ".join(said.split())


def test_logs_follow_to_the_end(home: Home) -> None:
    home.run("server", "start")
    command = [sys.executable, "-c", PROGRAM, "server", "logs", "--follow"]
    follower = subprocess.Popen(command, env=home.environment, stdout=subprocess.PIPE, text=True)
    assert follower.stdout is not None
    assert follower.stdout.readline()
    home.run("server", "stop")
    assert "stopped" in follower.communicate(timeout=60)[0]
    assert follower.returncode == 0


def serve_until(number: signal.Signals, home: Home) -> str:
    """What ``make run`` says until it is sent the signal, and after it."""
    log = home.path.parent / f"run-{number}.log"
    command = [sys.executable, str(ROOT / "scripts" / "run.py")]
    with log.open("w") as output:
        running = subprocess.Popen(command, env=home.environment, stdout=output, stderr=output, text=True)
    try:
        eventually(lambda: "Press Ctrl-C" in log.read_text(), running)
        running.send_signal(number)
        assert running.wait(120) == 0, log.read_text()
    finally:
        if running.poll() is None:
            running.terminate()
            running.wait(120)
    return log.read_text()


@pytest.mark.slow
def test_make_run_serves_until_it_is_interrupted_and_does_so_twice(home: Home) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        said = serve_until(number, home)
        assert "Hello, World!" in said
        assert "Traceback" not in said
        assert runtime.running_pid(home.data) is None
