"""The official Python client against ``hatchet server start``, with nothing but what the profile says."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from official_session import Session

from support.engine_process import free_port
from support.program import clean_environment

pytestmark = pytest.mark.interop


class Home:
    """A ``HATCHET_HOME`` with the command line in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._environment = clean_environment(HATCHET_HOME=str(path))

    def hatchet(self, *arguments: str) -> str:
        command = [sys.executable, "-P", "-c", "from hatchet.cli.main import main; main()", *arguments]
        ran = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=180, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def profile(self, name: str) -> dict[str, str]:
        content = yaml.safe_load((self.path / "profiles.yaml").read_text("utf-8"))
        profile: dict[str, str] = content["profiles"][name]
        return profile


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="hatchet-home-") as name:
        Path(name).chmod(0o755)
        home = Home(Path(name) / "home")
        try:
            yield home
        finally:
            home.hatchet("server", "stop")


def test_the_official_client_runs_against_server_start(python: Path, home: Home, tmp_path: Path) -> None:
    home.hatchet("server", "start", "--dashboard-port", str(free_port()), "--grpc-port", str(free_port()))
    # The token alone: it names the addresses (C-1.3).
    token = home.profile("local")["token"]
    environment = clean_environment(HATCHET_CLIENT_TOKEN=token, HATCHET_CLIENT_TLS_STRATEGY="none")
    session = Session(python, tmp_path, environment)
    try:
        session.await_worker(session.worker("one"))
        assert session.client.ask("run", "double_sync", {"n": 1}, {}) == {"type": "Doubled", "doubled": 2}
        results = session.client.ask("aio_run_many", "double_async", list(range(50)), {})
        assert [each["doubled"] for each in results] == [2 * n for n in range(50)]
        error = session.client.fails("run", "fail", {"text": "said so"}, {})
        assert error.members[0]["exc"] == "said so"
        assert session.client.ask("aio_run", "flaky", {"n": 2}, {})["attempt"] == 3
    finally:
        session.close()
    assert "stopped" in home.hatchet("server", "stop")
