"""One owner for a data directory: a file lock, which the kernel drops when the owner dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hatchet.core.errors import FailedPrecondition


class OwnerLock:
    """An exclusive lock on a file that names its holder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises :class:`FailedPrecondition` naming the holder, OSError when it is not writable."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise FailedPrecondition(
                f"The data directory {self._path.parent} is in use by another server (process {holder}). Stop that one "
                "first, or give this one a directory of its own by HATCHET_DATA_DIR."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held. The file stays: removing it would race."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None
