"""``hatchet loadtest`` against a real server: what it counts, and that it fails when it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = "from hatchet.cli.main import main; main()"
OWN = ("HATCHET_", "SERVER_", "DATABASE_", "ADMIN_", "DEFAULT_TENANT_")


class Home:
    """A ``HATCHET_HOME`` with a server."""

    def __init__(self, path: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
        self.environment = {**kept, "HATCHET_HOME": str(path)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=180, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("loadtest") / "home")
    # Another test run on this machine can take a port between its choice and its use.
    for _ in range(3):
        started = home.run("server", "start")
        if started.returncode == 0:
            break
    assert started.returncode == 0, started.stderr
    yield home
    home.run("server", "stop")


def number(text: str, row: str) -> int:
    found = re.search(rf"^  {row} +(\d+)", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])


@pytest.mark.slow
def test_every_accepted_run_is_accounted_for(home: Home, tmp_path: Path) -> None:
    flags = ["-e", "20", "-d", "2s", "-w", "60s", "-F", "2", "-f", "0.25", "-P", "1kb", "-s", "10"]
    ran = home.run("loadtest", *flags, "--averageDurationThreshold", "0s", "--plotDirectory", str(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert number(ran.stdout, "accepted") == 80
    assert number(ran.stdout, "completed") == 60
    assert number(ran.stdout, "failed") == 20
    assert number(ran.stdout, "lost") == 0
    assert len((tmp_path / "loadtest.csv").read_text(encoding="utf-8").splitlines()) == 61


@pytest.mark.slow
def test_a_threshold_that_is_exceeded_fails(home: Home) -> None:
    ran = home.run("loadtest", "-e", "5", "-d", "1s", "-w", "60s", "--averageDurationThreshold", "0.001ms")
    assert ran.returncode == 1
    assert "--averageDurationThreshold" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.slow
def test_runs_that_nobody_takes_are_lost_and_told(home: Home) -> None:
    ran = home.run("loadtest", "-e", "5", "-d", "1s", "-w", "1s", "--externalWorker", "-l", "error")
    assert ran.returncode == 1
    assert "5 of 5 accepted runs did not finish" in ran.stderr


def test_a_missing_token_is_told(tmp_path: Path) -> None:
    nobody = Home(tmp_path)
    ran = nobody.run("loadtest", "-d", "1s")
    assert ran.returncode == 1
    assert "token" in ran.stderr.lower()
    assert "Traceback" not in ran.stderr
