"""How a running engine is found from outside: two small files in its data directory.

``server.lock`` holds the process id and stays locked as long as that process lives, however it ends; ``server.json``
appears when the engine is ready and says how to reach it. Only the engine that holds the lock writes them: further
engines on the same data directory run unseen.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from hatchet.cli.home import write_privately

LOCK_FILE = "server.lock"
RUNTIME_FILE = "server.json"


@dataclass(slots=True, frozen=True)
class Runtime:
    """How to reach an engine that is ready."""

    pid: int
    dsn: str = field(repr=False)
    grpc_address: str
    """``host:port`` as clients should use it: what tokens name."""
    server_url: str
    """What tokens name as the address of the API."""
    health_port: int | None
    tenant_id: str
    """The default tenant."""


class Presence:
    """The engine's side: present from :meth:`claim` until :meth:`leave` or the end of the process."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir
        self._lock: IO[str] | None = None

    def claim(self, *, patience_seconds: float = 0.5) -> bool:
        """Take the lock; False when another engine holds it. The patience covers commands that look at the lock."""
        file = os.fdopen(os.open(self._dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
        deadline = time.monotonic() + patience_seconds
        while not _try_lock(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                file.close()
                return False
            time.sleep(0.02)
        (self._dir / RUNTIME_FILE).unlink(missing_ok=True)  # what a killed engine left
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._lock = file
        return True

    def announce(self, runtime: Runtime) -> None:
        """Say that the engine is ready. Does nothing without the lock."""
        if self._lock is not None:
            write_privately(self._dir / RUNTIME_FILE, json.dumps(asdict(runtime), indent=2) + "\n")

    def leave(self) -> None:
        """Take back what was announced and give up the lock."""
        if self._lock is not None:
            (self._dir / RUNTIME_FILE).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None


def running_pid(data_dir: Path) -> int | None:
    """The process id of the engine that is starting, running or stopping on ``data_dir``; None when none is."""
    try:
        with (data_dir / LOCK_FILE).open("r", encoding="utf-8") as file:
            if _try_lock(file, fcntl.LOCK_SH):
                return None
            return int(file.read().strip())
    except (FileNotFoundError, ValueError):  # no number yet: it is being written at this moment
        return None


def read(data_dir: Path) -> Runtime | None:
    """What the engine on ``data_dir`` announced; None when it is not ready or not running."""
    pid = running_pid(data_dir)
    if pid is None:
        return None
    try:
        stored = json.loads((data_dir / RUNTIME_FILE).read_text(encoding="utf-8"))
        runtime = Runtime(**stored)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return runtime if runtime.pid == pid else None


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
