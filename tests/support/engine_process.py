"""A whole engine as a process: started, killed, started again at the same addresses."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from pathlib import Path

from hatchet.cli import runtime
from support.program import Program, clean_environment, wait_until

START_SECONDS = 120.0
PORTS = range(15000, 30000)
"""Below the range from which the system picks."""

ENGINE = (sys.executable, "-P", "-m", "hatchet.cli.engine")
QUICK_LOSS_ENGINE = (sys.executable, str(Path(__file__).with_name("quick_loss_engine.py")))
"""The same engine, which gives up a silent worker after ``TEST_LOST_SECONDS``."""


def free_port() -> int:
    """A free port that nobody else picks, so that it is still free after a restart: each process of the tests has a
    range of its own."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for _ in range(1000):
        port = random.choice(PORTS[own % processes :: processes])
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


class EngineProcess(Program):
    """``hatchet-engine`` with a data directory of its own under ``directory``."""

    def __init__(
        self, directory: Path, *, name: str = "engine", lost_seconds: float | None = None, **environment: str
    ) -> None:
        self.data_dir = directory / name
        self.data_dir.mkdir(parents=True)
        self.grpc_port, self.port, self.health_port = free_port(), free_port(), free_port()
        self.environment = clean_environment(
            HATCHET_DATA_DIR=str(self.data_dir),
            SERVER_GRPC_PORT=str(self.grpc_port),
            SERVER_PORT=str(self.port),
            SERVER_HEALTHCHECK_PORT=str(self.health_port),
            SERVER_GRPC_BIND_ADDRESS="127.0.0.1",
            SERVER_GRPC_BROADCAST_ADDRESS=f"127.0.0.1:{self.grpc_port}",
            SERVER_GRPC_INSECURE="true",
            SERVER_LOGGER_FORMAT="console",
            **environment,
        )
        if lost_seconds is not None:
            self.environment["TEST_LOST_SECONDS"] = str(lost_seconds)
        command = ENGINE if lost_seconds is None else QUICK_LOSS_ENGINE
        super().__init__(name, command, self.environment, directory / f"{name}.log")

    def start(self) -> None:
        """Start it without waiting until it is ready."""
        (self.data_dir / runtime.RUNTIME_FILE).unlink(missing_ok=True)
        super().start()

    def launch(self) -> None:
        """Start it and wait until it is ready."""
        self.start()
        self.await_ready()

    def await_ready(self) -> None:
        """Wait until it says that it is ready; fails with its log when it ends or takes too long."""
        try:
            wait_until(self._is_ready_or_over, f"{self.name} is ready", seconds=START_SECONDS)
            assert self.is_running, f"{self.name} ended with code {self.process and self.process.returncode}"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    @property
    def runtime(self) -> runtime.Runtime:
        """What the ready engine announced."""
        found = runtime.read(self.data_dir)
        assert found is not None, self.tail()
        return found

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def token(self) -> str:
        """A new API token of the default tenant, made by ``hatchet-admin`` while the engine runs."""
        command = [sys.executable, "-P", "-m", "hatchet.cli.admin", "token", "create"]
        made = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=START_SECONDS, check=False
        )
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def client_environment(self, token: str, **values: str) -> dict[str, str]:
        """The environment in which a client or worker finds this engine."""
        return clean_environment(
            HATCHET_CLIENT_TOKEN=token,
            HATCHET_CLIENT_HOST_PORT=self.grpc_address,
            HATCHET_CLIENT_SERVER_URL=f"http://127.0.0.1:{self.port}",
            HATCHET_CLIENT_TLS_STRATEGY="none",
            PYTHONUNBUFFERED="1",
            **values,
        )

    def _is_ready_or_over(self) -> bool:
        return not self.is_running or runtime.read(self.data_dir) is not None
