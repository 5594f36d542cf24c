"""Workers and clients of a chaos test as processes, and what they wrote down."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.engine_process import EngineProcess
from support.program import Program, wait_until

PROGRAMS = Path(__file__).with_name("programs")
ENDLESS = 1_000_000
"""Runs of a load that goes on until it is told to stop."""
END_SECONDS = 240.0


class Lines:
    """A file of JSON lines that a program appends to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return self.path.read_bytes().count(b"\n") if self.path.exists() else 0

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; the last one of a killed program may be cut off."""
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


class Load(Program):
    """A program that triggers runs, not more than ``count``, and waits for their results."""

    def __init__(
        self, name: str, directory: Path, environment: dict[str, str], program: str, count: int, *numbers: int
    ) -> None:
        self.count = count
        self.is_cut_short = False
        self.acknowledged = Lines(directory / f"{name}.acknowledged")
        self.results = Lines(directory / f"{name}.results")
        arguments = (self.acknowledged.path, self.results.path, count, *numbers)
        command = [sys.executable, str(PROGRAMS / program), *map(str, arguments)]
        super().__init__(name, command, environment, directory / f"{name}.log")

    def enough(self) -> None:
        """Trigger nothing more; what was triggered is still waited for."""
        self.is_cut_short = True
        self.terminate()

    def acknowledged_runs(self) -> list[dict[str, Any]]:
        """What was acknowledged: every run once, and all of them unless the load was cut short."""
        lines = self.acknowledged.read()
        assert len({line["run"] for line in lines}) == len(lines)
        assert self.is_cut_short or len(lines) == self.count, f"{self.name}: {len(lines)} of {self.count} runs"
        return lines


class Client(Load):
    """``programs/client.py``: runs of the task ``work``."""

    def __init__(
        self,
        name: str,
        directory: Path,
        environment: dict[str, str],
        *,
        count: int = ENDLESS,
        bulk: int = 25,
        milliseconds: int = 5,
        window: int = 400,
    ) -> None:
        super().__init__(name, directory, environment, "client.py", count, bulk, milliseconds, window)


class DagClient(Load):
    """``programs/dag_client.py``: runs of workflows."""

    def __init__(
        self, name: str, directory: Path, environment: dict[str, str], *, count: int = ENDLESS, window: int = 48
    ) -> None:
        super().__init__(name, directory, environment, "dag_client.py", count, window)


class LimitsClient(Load):
    """``programs/limits_client.py``: runs under limits, events and scheduled runs, until it is told to stop.

    ``label``: tells the keys of its runs from those of others; its name unless another one is given.
    """

    def __init__(
        self, name: str, directory: Path, environment: dict[str, str], *, window: int = 40, label: str | None = None
    ) -> None:
        self.label = label or name
        self.count = ENDLESS
        self.is_cut_short = False
        self.acknowledged = Lines(directory / f"{name}.acknowledged")
        self.results = Lines(directory / f"{name}.results")
        arguments = (self.acknowledged.path, self.results.path, self.label, window)
        command = [sys.executable, str(PROGRAMS / "limits_client.py"), *map(str, arguments)]
        Program.__init__(self, name, command, environment, directory / f"{name}.log")


class DurableClient(Load):
    """``programs/durable_client.py``: durable runs and the events that they wait for, until it is told to stop."""

    def __init__(self, name: str, directory: Path, environment: dict[str, str], *, window: int = 24) -> None:
        self.count = ENDLESS
        self.is_cut_short = False
        self.acknowledged = Lines(directory / f"{name}.acknowledged")
        self.results = Lines(directory / f"{name}.results")
        arguments = (self.acknowledged.path, self.results.path, name, window)
        command = [sys.executable, str(PROGRAMS / "durable_client.py"), *map(str, arguments)]
        Program.__init__(self, name, command, environment, directory / f"{name}.log")


class Pusher(Program):
    """``programs/pusher.py``: events, all the time."""

    def __init__(self, name: str, directory: Path, environment: dict[str, str]) -> None:
        self.acknowledged = Lines(directory / f"{name}.acknowledged")
        command = [sys.executable, str(PROGRAMS / "pusher.py"), str(self.acknowledged.path)]
        super().__init__(name, command, environment, directory / f"{name}.log")


class Chaos:
    """The processes of one test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.history = Lines(directory / "history")
        self.steps = Lines(directory / "steps")
        self.effects = Lines(directory / "effects")
        self.marks = directory / "marks"
        self.marks.mkdir()
        self.engines: list[EngineProcess] = []
        self.workers: list[Program] = []
        self.clients: list[Client] = []
        self.dag_clients: list[DagClient] = []
        self.limits_clients: list[LimitsClient] = []
        self.durable_clients: list[DurableClient] = []
        self.pushers: list[Pusher] = []
        self._tokens: dict[str, str] = {}

    def engine(self, name: str = "engine", *, lost_seconds: float | None = None, **environment: str) -> EngineProcess:
        """Start an engine and wait until it is ready."""
        engine = EngineProcess(self.directory, name=name, lost_seconds=lost_seconds, **environment)
        self.engines.append(engine)
        engine.launch()
        self._tokens[name] = engine.token()
        return engine

    def environment(self, engine: EngineProcess, *, address: str | None = None) -> dict[str, str]:
        """The environment of a client of ``engine``; ``address`` leads it somewhere else, such as through a proxy."""
        environment = engine.client_environment(
            self._tokens[engine.name],
            CHAOS_HISTORY=str(self.history.path),
            CHAOS_STEPS=str(self.steps.path),
            CHAOS_EFFECTS=str(self.effects.path),
            CHAOS_MARKS=str(self.marks),
        )
        return environment | ({"HATCHET_CLIENT_HOST_PORT": address} if address else {})

    def worker(self, name: str, environment: dict[str, str], *, slots: int = 20, program: str = "worker.py") -> Program:
        """Start a worker; it is not yet connected."""
        command = [sys.executable, str(PROGRAMS / program), name, str(slots)]
        worker = Program(name, command, environment, self.directory / f"{name}.log")
        worker.start()
        self.workers.append(worker)
        return worker

    def client(self, name: str, environment: dict[str, str], **options: Any) -> Client:
        """Start a client."""
        client = Client(name, self.directory, environment, **options)
        client.start()
        self.clients.append(client)
        return client

    def dag_client(self, name: str, environment: dict[str, str], **options: Any) -> DagClient:
        """Start a client of workflows."""
        client = DagClient(name, self.directory, environment, **options)
        client.start()
        self.dag_clients.append(client)
        return client

    def limits_client(self, name: str, environment: dict[str, str], **options: Any) -> LimitsClient:
        """Start a client of workflows under limits."""
        client = LimitsClient(name, self.directory, environment, **options)
        client.start()
        self.limits_clients.append(client)
        return client

    def durable_client(self, name: str, environment: dict[str, str], dsn: str, **options: Any) -> DurableClient:
        """Start a client of durable tasks, which looks into the database of the engine."""
        client = DurableClient(name, self.directory, environment | {"CHAOS_DSN": dsn}, **options)
        client.start()
        self.durable_clients.append(client)
        return client

    def pusher(self, name: str, environment: dict[str, str]) -> Pusher:
        """Start to push events."""
        pusher = Pusher(name, self.directory, environment)
        pusher.start()
        self.pushers.append(pusher)
        return pusher

    def await_results(self, client: Load, count: int) -> None:
        """Wait until the client has so many results, or all."""
        wanted = min(count, client.count)
        self.wait(lambda: len(client.results) >= wanted or not client.is_running, f"{client.name} has {wanted} results")
        assert len(client.results) >= wanted, client.tail()

    def await_more(self, **more: int) -> None:
        """Wait until each load of that name has so many more results than now; all of them go on then."""
        every = (*self.clients, *self.dag_clients, *self.limits_clients, *self.durable_clients)
        loads = {load.name: load for load in every}
        wanted = [(loads[name], len(loads[name].results) + count) for name, count in more.items()]
        for load, count in wanted:
            self.await_results(load, count)
        assert all(load.is_running for load, _ in wanted)

    def finish(self, *loads: Load) -> None:
        """Trigger nothing more, and wait until these loads have all their results."""
        for load in loads:
            load.enough()
        for load in loads:
            self.await_end(load)

    def await_end(self, client: Load) -> None:
        """Wait until the client has all its results and has ended by itself."""
        self.wait(lambda: not client.is_running, f"{client.name} has all its results")
        assert client.process is not None
        assert client.process.returncode == 0, client.tail()

    def wait(self, condition: Callable[[], object], what: str, *, seconds: float = END_SECONDS) -> None:
        wait_until(condition, what, seconds=seconds)

    def now(self) -> float:
        """The moment on the clock by which clients note theirs."""
        return time.time()

    def tails(self) -> str:
        """The ends of all logs."""
        return "\n".join(program.tail() for program in (*self.engines, *self._callers(), *self.workers))

    def close(self) -> None:
        for program in (*self._callers(), *self.workers, *self.engines):
            program.kill()

    def _callers(self) -> list[Program]:
        return [*self.clients, *self.dag_clients, *self.limits_clients, *self.durable_clients, *self.pushers]
