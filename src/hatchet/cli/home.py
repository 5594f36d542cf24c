"""Where the programs keep what they remember about one person on one machine."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hatchet.core.errors import FailedPrecondition


def home() -> Path:
    """``$HATCHET_HOME``, else ``.hatchet`` in the home directory (behaviour-rest R-36.2). It may not exist yet."""
    chosen = os.environ.get("HATCHET_HOME")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".hatchet"


def private_directory(path: Path) -> Path:
    """``path``, made with mode 0700 if it was not there; an existing directory keeps its mode.

    Raises :class:`FailedPrecondition` when it cannot be made or written to.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FailedPrecondition(
            f"cannot create the directory {path}: {error.strerror}. "
            "Make it writable for you, or choose another place with HATCHET_HOME."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise FailedPrecondition(
            f"the directory {path} is not writable for you. Change its owner or mode, "
            "or choose another place with HATCHET_HOME."
        )
    return path


def write_privately(path: Path, text: str) -> None:
    """Replace ``path`` in one step by a file of mode 0600, so that no reader ever sees half of it."""
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``; waits for another process that holds it. The file stays, the lock does not."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
