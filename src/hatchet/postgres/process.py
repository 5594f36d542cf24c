"""Starting PostgreSQL programs as children that cannot outlive us, and waiting for them without blocking the loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hatchet.postgres import launcher, watcher
from hatchet.postgres.identity import Identity

_POLL = 0.01
_STAGES = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))


@dataclass(slots=True)
class Child:
    """A running program; ``process.pid`` is the program's own pid."""

    process: subprocess.Popen[bytes]
    _watcher: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    async def wait(self, seconds: float) -> int | None:
        """The exit code, or ``None`` when it still runs after ``seconds``."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (code := self.process.poll()) is None:
            if asyncio.get_running_loop().time() > deadline:
                return None
            await asyncio.sleep(_POLL)
        return code

    async def stop(self) -> None:
        """Fast shutdown; sterner after 30 seconds, the end after 40. Returns when it has gone."""
        for sign, patience in _STAGES:
            if self.running:
                # Root or the same user: the only errors are of a process that has just ended.
                self.process.send_signal(sign)
            if await self.wait(patience) is not None:
                break
        self.dismiss_watcher()

    def dismiss_watcher(self) -> None:
        """End the watcher of a program that has ended, before its pid can mean another one."""
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()
            if self._watcher.stdin is not None:
                self._watcher.stdin.close()
            self._watcher = None


def spawn(
    command: Sequence[str],
    *,
    identity: Identity | None,
    keep_search_right: bool,
    output: IO[bytes] | int,
    directory: Path,
    watch_by_pipe: bool = sys.platform != "linux",
) -> Child:
    """Start ``command`` in a session of its own, so that Ctrl-C reaches it through us and not before us.

    Call it from a thread that lives as long as the program shall: the kernel watches the thread, not the process.
    Raises OSError when the interpreter cannot be run.
    """
    user = "-" if identity is None else f"{identity.uid}:{identity.gid}"
    rights = "search" if keep_search_right else "-"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), user, rights, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env=_environment(),
        start_new_session=True,
    )
    watching = None
    if watch_by_pipe:
        script = [sys.executable, "-I", "-S", watcher.__file__, str(process.pid)]
        watching = subprocess.Popen(script, stdin=subprocess.PIPE, start_new_session=True)
    return Child(process, watching)


def _environment() -> dict[str, str]:
    """Nothing of the caller's: PGDATA, PGPORT and their like would change what the programs do."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
