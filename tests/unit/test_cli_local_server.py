"""Starting, finding and stopping a server in the background; a small program stands in for the engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hatchet.cli import local_server, ports, runtime
from hatchet.cli.home import home
from hatchet.cli.local_server import LocalServer
from hatchet.cli.runtime import Presence, Runtime
from hatchet.core.errors import FailedPrecondition, InvalidArgument

STAND_IN = """
import os, signal, socket, sys, threading
from pathlib import Path
from hatchet.cli.runtime import Presence, Runtime

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
(Path(os.environ["HATCHET_DATA_DIR"]) / "starts").open("a").write("x")
presence = Presence(Path(os.environ["HATCHET_DATA_DIR"]))
assert presence.claim()
print("listening on", os.environ["SERVER_GRPC_PORT"], flush=True)
if "REFUSE" in os.environ:
    sys.exit("Error: the moon is full. Wait a day.")
listeners = [socket.create_server(("127.0.0.1", int(os.environ[name]))) for name in ("SERVER_GRPC_PORT", "SERVER_PORT")]
print("database", os.environ.get("DATABASE_URL"), flush=True)
presence.announce(
    Runtime(
        pid=os.getpid(),
        dsn="postgresql://nowhere",
        grpc_address=os.environ["SERVER_GRPC_BROADCAST_ADDRESS"],
        server_url=os.environ["SERVER_URL"],
        health_port=int(os.environ["SERVER_HEALTHCHECK_PORT"]),
        tenant_id="t",
    )
)
while not stop.wait(0.05):
    pass
presence.leave()
"""


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HATCHET_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(local_server, "ENGINE", (sys.executable, "-c", STAND_IN))


@pytest.fixture
def server() -> Iterator[LocalServer]:
    server = LocalServer("test")
    yield server
    server.stop()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


def test_r_37_1_start_again_finds_the_running_server(server: LocalServer) -> None:
    first = server.start()
    assert home().stat().st_mode & 0o777 == 0o700
    second = server.start()
    assert first.started_now
    assert not second.started_now
    assert second.runtime == first.runtime
    assert (server.data_dir / "starts").read_text() == "x"


def test_r_37_1_ports_are_found_and_kept(server: LocalServer) -> None:
    first = server.start()
    assert server.stop()
    again = server.start()
    assert (again.runtime.grpc_address, again.runtime.server_url) == (
        first.runtime.grpc_address,
        first.runtime.server_url,
    )


def test_r_37_1_asked_ports_are_used_and_remembered(server: LocalServer) -> None:
    dashboard = ports.choose(asked=0, remembered=None, first=19000, flag="", taken=())
    grpc = ports.choose(asked=0, remembered=None, first=dashboard + 1, flag="", taken=())
    running = server.start(dashboard_port=dashboard, grpc_port=grpc)
    assert running.runtime.server_url == f"http://localhost:{dashboard}"
    assert running.runtime.grpc_address == f"localhost:{grpc}"
    server.stop()
    assert server.start().runtime.grpc_address == f"localhost:{grpc}"


def test_r_37_2_stop_ends_the_process_and_says_whether_there_was_one(server: LocalServer) -> None:
    pid = server.start().runtime.pid
    assert server.stop()
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert not server.stop()
    assert server.running() is None


def test_two_projects_run_side_by_side(server: LocalServer) -> None:
    other = LocalServer("other")
    try:
        assert server.start().runtime.grpc_address != other.start().runtime.grpc_address
        other.stop()
        assert server.running() is not None
    finally:
        other.stop()


def test_failed_start_repeats_what_the_engine_said(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSE", "yes")
    with pytest.raises(FailedPrecondition, match="the moon is full") as caught:
        server.start()
    assert "engine.log" in caught.value.message
    assert not server.is_running()


def test_the_database_of_an_application_is_left_alone(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://shop@db/shop")
    server.start()
    assert "database None" in server.log_file.read_text()


def test_killed_engine_is_not_running_and_is_started_anew(server: LocalServer) -> None:
    killed = server.start().runtime.pid
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: not server.is_running())
    assert (server.data_dir / runtime.RUNTIME_FILE).exists()
    assert server.running() is None
    assert not server.stop()
    again = server.start()
    assert again.started_now
    assert again.runtime.pid != killed


def test_starts_at_the_same_time_start_one_engine(server: LocalServer, tmp_path: Path) -> None:
    code = (
        "import sys; from hatchet.cli import local_server; local_server.ENGINE = (sys.executable, '-c', sys.argv[1]);"
        "print(local_server.LocalServer('test').start().runtime.pid)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, STAND_IN], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    pids = {process.communicate(timeout=60)[0] for process in started}
    assert [process.returncode for process in started] == [0, 0, 0, 0]
    assert len(pids) == 1
    assert (server.data_dir / "starts").read_text() == "x"


@pytest.mark.parametrize("name", ["../other", "a/b", ".hidden", "a b"])
def test_project_name_is_one_of_a_directory(name: str) -> None:
    with pytest.raises(InvalidArgument, match="--project-name"):
        LocalServer(name)


def test_directory_that_cannot_be_made_is_one_paragraph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HATCHET_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(FailedPrecondition, match="HATCHET_HOME"):
        LocalServer("test").start()


def a_runtime(pid: int) -> Runtime:
    return Runtime(
        pid=pid, dsn="d", grpc_address="127.0.0.1:1", server_url="http://localhost:2", health_port=None, tenant_id="t"
    )


def test_second_engine_on_a_directory_stays_unseen(tmp_path: Path) -> None:
    first, second = Presence(tmp_path), Presence(tmp_path)
    assert first.claim()
    assert not second.claim(patience_seconds=0)
    first.announce(a_runtime(os.getpid()))
    second.announce(a_runtime(1))
    second.leave()
    assert runtime.read(tmp_path) == a_runtime(os.getpid())
    first.leave()
    assert runtime.read(tmp_path) is None
    assert runtime.running_pid(tmp_path) is None


def test_runtime_file_is_for_the_owner_alone(tmp_path: Path) -> None:
    presence = Presence(tmp_path)
    presence.claim()
    presence.announce(a_runtime(os.getpid()))
    assert (tmp_path / runtime.RUNTIME_FILE).stat().st_mode & 0o777 == 0o600
    stored = json.loads((tmp_path / runtime.RUNTIME_FILE).read_text())
    assert stored.keys() == {"pid", "dsn", "grpc_address", "server_url", "health_port", "tenant_id"}
    presence.leave()
