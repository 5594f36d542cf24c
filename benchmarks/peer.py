"""A process of the benchmark, spoken to by lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from benchmarks.machine import ROOT

STOP_SECONDS = 30.0
LINE_LIMIT = 64 * 1024 * 1024
KEPT_ERRORS = 40


class PeerEnded(RuntimeError):
    """The process ended, or fell silent, before it said what was waited for."""


class Peer:
    """Started on entering, ended on leaving. Lines that are JSON objects are events; the newest of each is kept."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._command = list(command)
        self._env = {**os.environ, **(env or {})}
        self._process: asyncio.subprocess.Process | None = None
        self._latest: dict[str, dict[str, Any]] = {}
        self._heard = asyncio.Condition()
        self._readers: list[asyncio.Task[None]] = []
        self._errors: deque[str] = deque(maxlen=KEPT_ERRORS)

    @classmethod
    def module(cls, name: str, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Self:
        """``python -m module`` with the Python that runs the benchmark."""
        return cls(name, [sys.executable, "-m", module, *arguments], env)

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._env, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE_LIMIT,
            start_new_session=True,
        )  # fmt: skip
        self._readers = [asyncio.create_task(self._read_events()), asyncio.create_task(self._read_errors())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def has_ended(self) -> bool:
        return self._running.returncode is not None

    @property
    def errors(self) -> str:
        """The last lines on standard error."""
        return "\n".join(self._errors)

    def latest(self, event: str) -> dict[str, Any]:
        """The newest event of that name; empty before the first."""
        return self._latest.get(event, {})

    async def tell(self, line: str) -> None:
        """Send one line. Raises :class:`PeerEnded` when nobody reads it any more."""
        stdin = self._running.stdin
        assert stdin is not None, "piped"
        try:
            stdin.write(f"{line}\n".encode())
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise PeerEnded(f"{self.name} ended:\n{self.errors}") from error

    async def expect(self, event: str, seconds: float) -> dict[str, Any]:
        """Wait for the first event of that name. Raises :class:`PeerEnded` after ``seconds`` or when it ended."""
        async with self._heard:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._heard.wait_for(
                        lambda: event in self._latest or self._readers[0].done() or self.has_ended
                    )
        if event not in self._latest:
            if self._readers[0].done():
                await self._running.wait()
            what = "ended" if self.has_ended else f"was silent for {seconds:.0f} s"
            raise PeerEnded(f"{self.name} {what} before it said {event!r}:\n{self.errors}")
        return self._latest[event]

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end and wait; kill it when it does not. The exit code."""
        process = self._running
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)
        assert process.returncode is not None, "waited for"
        return process.returncode

    async def _read_events(self) -> None:
        stdout = self._running.stdout
        assert stdout is not None, "piped"
        while line := await stdout.readline():
            try:
                said = json.loads(line)
                event = said["event"]
            except (ValueError, TypeError, KeyError):
                self._errors.append(line.decode("utf-8", "replace").rstrip())
                continue
            async with self._heard:
                self._latest[event] = said
                self._heard.notify_all()
        async with self._heard:
            self._heard.notify_all()

    async def _read_errors(self) -> None:
        stderr = self._running.stderr
        assert stderr is not None, "piped"
        while line := await stderr.readline():
            self._errors.append(line.decode("utf-8", "replace").rstrip())

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "entered"
        return self._process
