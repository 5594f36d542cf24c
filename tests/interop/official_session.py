"""An engine with the workers and the caller of a Python client beside it, each a process of its own."""

from __future__ import annotations

import base64
import json
import select
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from support.engine_process import EngineProcess
from support.program import DEADLINE_SECONDS, Program, wait_until

PROGRAMS = Path(__file__).with_name("programs")
ANSWER_SECONDS = 90.0


class ClientError(Exception):
    """What the client raised: its type, its text, and the errors that it is made of."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['type']}: {error['text']}")
        self.type: str = error["type"]
        self.text: str = error["text"]
        self.members: list[dict[str, Any]] = error["members"]
        self.fields = error

    @property
    def failures(self) -> dict[str, str]:
        """Messages of the task failures in it by their types (C-7.19)."""
        return {member["exc_type"]: member["exc"] for member in self.members}


class Caller:
    """The client, asked by :meth:`ask` to do one thing after the other."""

    def __init__(self, python: Path, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._output = log.open("wb")
        self._process = subprocess.Popen(
            [str(python), str(PROGRAMS / "client.py")],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            text=True,
        )

    def ask(self, action: str, *arguments: Any) -> Any:
        """What ``action`` of ``programs/client.py`` returned. Raises :class:`ClientError` when the client raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([action, arguments]) + "\n")
        self._process.stdin.flush()
        readable, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        line = self._process.stdout.readline() if readable else ""
        assert line, f"no answer to {action} {arguments}\n{self._log.read_text('utf-8', 'replace')[-3000:]}"
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["value"]

    def fails(self, action: str, *arguments: Any) -> ClientError:
        """The error that the client raised; fails when it raised none."""
        try:
            value = self.ask(action, *arguments)
        except ClientError as error:
            return error
        raise AssertionError(f"{action} {arguments} returned {value!r} instead of failing")

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


class Session:
    """Where the programs run, and what they leave there."""

    def __init__(self, python: Path, directory: Path, environment: Mapping[str, str]) -> None:
        self.marks = directory / "marks"
        self.marks.mkdir()
        self._python = python
        self._directory = directory
        self._environment = {**environment, "INTEROP_MARKS": str(self.marks)}
        self._token = environment["HATCHET_CLIENT_TOKEN"]
        claims = _claims(self._token)
        self._tenant = claims["sub"]
        self._url = environment.get("HATCHET_CLIENT_SERVER_URL") or claims["server_url"]
        self.client = Caller(python, self._environment, directory / "client.log")
        self.workers: list[Program] = []
        self.engine: EngineProcess | None = None
        """The engine, where the session knows it."""

    def worker(self, name: str, slots: int = 20, *which: str) -> Program:
        """Start a worker; it is not yet connected."""
        command = [str(self._python), str(PROGRAMS / "worker.py"), name, str(slots), *which]
        worker = Program(name, command, self._environment, self._directory / f"{name}.log")
        worker.start()
        self.workers.append(worker)
        return worker

    def worker_statuses(self) -> dict[str, str]:
        """Status of every worker that the engine lists, by name."""
        return {row["name"]: row["status"] for row in self._ask(f"tenants/{self._tenant}/worker")["rows"]}

    def await_worker(self, worker: Program) -> None:
        """Wait until the engine shows it as active."""
        what = f"{worker.name} is active"
        try:
            wait_until(lambda: not worker.is_running or self.worker_statuses().get(worker.name) == "ACTIVE", what)
            assert worker.is_running
        except AssertionError as error:
            raise AssertionError(f"{error}\n{worker.tail()}") from None

    def await_mark(self, name: str) -> str:
        """Wait until a task left the mark; what it wrote."""
        wait_until((self.marks / name).exists, f"the mark {name} is there")
        return (self.marks / name).read_text()

    def mark(self, name: str) -> None:
        (self.marks / name).write_text("x")

    def await_details(self, run_id: str, holds: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Ask for the details of the run until ``holds`` is true of them; returns them."""
        found: list[dict[str, Any]] = []

        def look() -> object:
            found[:] = [self.client.ask("details", run_id)]
            return holds(found[0])

        wait_until(look, what)
        return found[0]

    def await_end(self, run_id: str) -> dict[str, Any]:
        """Wait until the run is final; its details."""
        return self.await_details(run_id, lambda details: details["done"], f"the run {run_id} is over")

    def push_until_end(self, run_id: str, key: str, payload: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Push the event again and again until the run is final: it only counts once the task waits for it (C-8.9)."""

        def is_over(details: dict[str, Any]) -> bool:
            if not details["done"]:
                self.client.ask("push", key, payload, options)
            return bool(details["done"])

        return self.await_details(run_id, is_over, f"the event {key} ends the run {run_id}")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What tasks have added to the mark so far, a JSON object a line."""
        path = self.marks / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def await_lines(self, name: str, count: int) -> list[dict[str, Any]]:
        """Wait until tasks have added as many lines to the mark; all of them."""
        wait_until(lambda: len(self.lines(name)) >= count, f"{count} lines in {name}")
        return self.lines(name)

    def task_events(self, task_id: str) -> list[str]:
        """Types of the events of a task, in no order that is promised."""
        return [row["eventType"] for row in self._ask(f"stable/tasks/{task_id}/task-events?limit=100")["rows"]]

    def task_events_in_order(self, task_id: str) -> list[tuple[str, str]]:
        """Type and message of the events of a task, oldest first."""
        rows = self._ask(f"stable/tasks/{task_id}/task-events?limit=100")["rows"]
        return [(row["eventType"], row["message"]) for row in sorted(rows, key=lambda row: row["timestamp"])]

    def durable_log(self, task_id: str) -> list[dict[str, Any]]:
        """The entries of a durable task, by branch and node (D-25.1)."""
        entries: list[dict[str, Any]] = self._ask(f"stable/tenants/{self._tenant}/durable-tasks/{task_id}")
        return entries

    def restore(self, task_id: str) -> bool:
        """Restore an evicted task; the clients do not offer it. What the engine answered (D-25.7)."""
        return bool(self._ask(f"stable/tasks/{task_id}/restore", "POST")["requeued"])

    def await_evicted(self, run_id: str) -> dict[str, Any]:
        """Wait until a task of the run has left its worker (D-24.2); the run's details."""

        def is_evicted(details: dict[str, Any]) -> bool:
            assert not details["done"], details
            return any(task["is_evicted"] for task in details["tasks"].values())

        return self.await_details(run_id, is_evicted, f"the run {run_id} is evicted")

    def trigger_cron(self, cron_id: str) -> str:
        """Start a run of a cron now; the clients do not offer it. The run's id."""
        run_id: str = self._ask(f"tenants/{self._tenant}/workflows/crons/{cron_id}", "POST")["externalId"]
        return run_id

    def _ask(self, path: str, method: str = "GET") -> Any:
        """The answer of the REST API, asked without a client of anybody's."""
        headers = {"Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(f"{self._url}/api/v1/{path}", headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)

    def close(self) -> None:
        self.client.close()
        for worker in self.workers:
            worker.kill()


def _claims(token: str) -> dict[str, str]:
    """What a token says about where to go (C-1.3)."""
    part = token.split(".")[1]
    claims: dict[str, str] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims
