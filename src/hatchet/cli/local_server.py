"""A server of one's own on this machine: started in the background, found again, stopped (behaviour-rest R-37.1 to 4).

Instead of containers there is one ``hatchet-engine`` process with its embedded PostgreSQL. Each project has a directory
with its data, its log, and the ports that it got, so that running again finds everything as it was.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import psutil

from hatchet.cli import ports, runtime
from hatchet.cli.home import home, locked, private_directory, write_privately
from hatchet.cli.log_tail import appended_since, rotate
from hatchet.cli.runtime import Runtime
from hatchet.core.errors import FailedPrecondition, InvalidArgument

DEFAULT_PROJECT = "hatchet-cli"
START_SECONDS = 120.0
STOP_SECONDS = 60.0
ENGINE = (sys.executable, "-P", "-m", "hatchet.cli.engine")
"""``-P``: a file of the same name in the current directory is never imported instead."""

_PROJECT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")


@dataclass(slots=True, frozen=True)
class Ports:
    """The ports of one project."""

    dashboard: int
    grpc: int
    health: int


@dataclass(slots=True, frozen=True)
class Running:
    """A server that answers."""

    runtime: Runtime
    started_now: bool
    """False when it was already running."""


class LocalServer:
    """One project's server. Raises :class:`InvalidArgument` for a name that cannot be one of a directory."""

    def __init__(self, project: str = "") -> None:
        self.project = project or DEFAULT_PROJECT
        if not _PROJECT.match(self.project):
            raise InvalidArgument(
                f"--project-name {project!r}: use 1 to 63 letters, digits, dots, dashes and underscores, "
                "beginning with a letter or digit."
            )
        self.data_dir = home() / "server" / self.project
        self.log_file = self.data_dir / "engine.log"
        self._memory = self.data_dir / "project.json"

    def start(
        self, *, dashboard_port: int = 0, grpc_port: int = 0, meanwhile: Callable[[], object] = lambda: None
    ) -> Running:
        """Start the server unless it runs, and return when it answers. 0 lets a port be found.

        ``meanwhile`` is called once while a started engine comes up.

        Raises :class:`FailedPrecondition` with the reason, as the server's own log gives it, when it does not start.
        """
        for directory in (home(), self.data_dir):
            private_directory(directory)
        with locked(self.data_dir / "start.lock"):
            if self.is_running():
                return self._joined()
            chosen = self._choose_ports(dashboard_port, grpc_port)
            write_privately(self._memory, json.dumps(asdict(chosen)) + "\n")
            return Running(self._launch(chosen, meanwhile), started_now=True)

    def stop(self) -> bool:
        """Ask the server to stop and wait until it has; False when it did not run.

        Raises :class:`FailedPrecondition` when it is still there after a minute.
        """
        pid = self.pid()
        if pid is None:
            return False
        os.kill(pid, signal.SIGTERM)
        # Its ports are free when the process is gone, which is a moment after it has said so.
        if not _wait(lambda: self.pid() != pid and not _is_alive(pid), STOP_SECONDS):
            raise FailedPrecondition(
                f"the server (process {pid}) was asked to stop and is still there after {STOP_SECONDS:.0f} s. "
                f"See {self.log_file}; `kill -9 {pid}` ends it at once, and nothing that it acknowledged is lost."
            )
        return True

    def running(self) -> Running | None:
        """The server when it is ready, else None."""
        found = runtime.read(self.data_dir)
        return Running(found, started_now=False) if found else None

    def pid(self) -> int | None:
        """The process that is starting, running or stopping; None when there is none."""
        return runtime.running_pid(self.data_dir)

    def is_running(self) -> bool:
        """Whether such a process exists."""
        return self.pid() is not None

    def _joined(self) -> Running:
        _wait(lambda: self.running() is not None or not self.is_running(), START_SECONDS)
        found = self.running()
        if found is None:
            raise FailedPrecondition(
                f"another server is running in {self.data_dir} but does not become ready. See {self.log_file}, and "
                f"`hatchet server stop --project-name {self.project}`."
            )
        return found

    def _choose_ports(self, dashboard: int, grpc: int) -> Ports:
        old = self._remembered()
        old_dashboard, old_grpc, old_health = (old.dashboard, old.grpc, old.health) if old else (None, None, None)
        choose = ports.choose
        first = choose(asked=dashboard, remembered=old_dashboard, first=8888, flag="--dashboard-port", taken=())
        second = choose(asked=grpc, remembered=old_grpc, first=7077, flag="--grpc-port", taken=(first,))
        third = choose(
            asked=0, remembered=old_health, first=8733, flag="SERVER_HEALTHCHECK_PORT", taken=(first, second)
        )
        return Ports(first, second, third)

    def _launch(self, chosen: Ports, meanwhile: Callable[[], object]) -> Runtime:
        rotate(self.log_file)
        before = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                ENGINE,
                env=self._environment(chosen),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
                start_new_session=True,
            )
        try:
            meanwhile()
            return self._await_ready(process, before)
        except BaseException:
            _end(process)
            raise

    def _await_ready(self, process: subprocess.Popen[bytes], log_size: int) -> Runtime:
        _wait(lambda: process.poll() is not None or runtime.read(self.data_dir) is not None, START_SECONDS)
        ready = runtime.read(self.data_dir)
        if ready is not None:
            return ready
        said = appended_since(self.log_file, log_size, lines=15)
        what = "took too long to start" if process.poll() is None else f"ended at once (code {process.returncode})"
        raise FailedPrecondition(f"the server {what}. It said:\n\n{said or '(nothing)'}\n\nIts log: {self.log_file}")

    def _environment(self, chosen: Ports) -> dict[str, str]:
        """The caller's environment with what this project decides.

        ``DATABASE_*`` is left out: in a developer's shell it names the database of some application, not ours.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DATABASE_")}
        suggested = {"SERVER_GRPC_BIND_ADDRESS": "127.0.0.1", "SERVER_LOGGER_FORMAT": "console"}
        decided = {
            "HATCHET_DATA_DIR": str(self.data_dir),
            "SERVER_GRPC_BROADCAST_ADDRESS": f"localhost:{chosen.grpc}",
            "SERVER_GRPC_INSECURE": "true",
            "SERVER_GRPC_PORT": str(chosen.grpc),
            "SERVER_HEALTHCHECK": "true",
            "SERVER_HEALTHCHECK_PORT": str(chosen.health),
            "SERVER_PORT": str(chosen.dashboard),
            "SERVER_URL": f"http://localhost:{chosen.dashboard}",
            "SERVER_AUTH_COOKIE_DOMAIN": "localhost",
            "SERVER_AUTH_COOKIE_INSECURE": "true",
        }
        return {**suggested, **inherited, **decided}

    def _remembered(self) -> Ports | None:
        try:
            stored: dict[str, int] = json.loads(self._memory.read_text(encoding="utf-8"))
            return Ports(dashboard=stored["dashboard"], grpc=stored["grpc"], health=stored["health"])
        except (OSError, ValueError, TypeError, KeyError):
            return None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Look again and again until ``condition`` holds; False when it did not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _is_alive(pid: int) -> bool:
    """Whether the process is there; one that has ended and was not waited for by its parent is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
