"""A program of a test as a process of its own: its output in a file, ended by its process id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.02

_OURS = ("HATCHET_", "SERVER_", "DATABASE_", "ADMIN_", "DEFAULT_TENANT_")


def clean_environment(**values: str) -> dict[str, str]:
    """The environment without anything that configures Hatchet, and ``values`` on top."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)} | values


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = DEADLINE_SECONDS) -> None:
    """Look again and again until ``condition`` holds; fails after ``seconds`` with ``what`` did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what}"
        time.sleep(POLL_SECONDS)


class Program:
    """One command that is started, ended in several ways, and started again; its output is appended to ``log``."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._command = list(command)
        self._environment = dict(environment)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it in a session of its own, so that a whole family of processes can be ended."""
        assert not self.is_running
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.log.parent,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to the process and to the children in its session."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_SECONDS)

    def terminate(self) -> None:
        """Ask it to end: SIGTERM to the process alone, as a service manager does."""
        if self.is_running:
            os.kill(self.pid, signal.SIGTERM)

    def stop(self, *, seconds: float = DEADLINE_SECONDS) -> int:
        """Ask it to end and wait; SIGKILL when it does not. The exit code."""
        if self.process is None:
            return 0
        self.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end on SIGTERM\n{self.tail()}") from None

    def text(self) -> str:
        """Everything that it printed."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def tail(self, lines: int = 60) -> str:
        """The end of its output, with a heading."""
        return f"--- {self.name}: {self.log}\n" + "\n".join(self.text().splitlines()[-lines:])
