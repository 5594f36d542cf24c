"""One paragraph for each way in which the embedded server can fail: what happened, and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hatchet.core.errors import FailedPrecondition

_LINES = 12


def explain(what: str, root: Path, log: str) -> str:
    """The paragraph for a program that failed: ``what`` it could not do, and the end of what it said."""
    if "No space left on device" in log or "could not extend file" in log:
        return f"The embedded PostgreSQL server {what}: {no_space(root)}"
    said = " | ".join(line.strip() for line in log.splitlines()[-_LINES:] if line.strip())
    return f"The embedded PostgreSQL server {what}. Its last words: {said or '(none)'}"


def no_space(root: Path) -> str:
    """What to do about a full disk."""
    return (
        f"the disk that holds {root} is full. Free some space (an empty data directory needs 100 MB), "
        "or choose a directory on another disk by HATCHET_DATA_DIR, and start again."
    )


_NO_SPACE = os.strerror(errno.ENOSPC)


def from_os_error(error: OSError, root: Path) -> FailedPrecondition:
    """The refusal for an error of the file system while we prepared ``root``."""
    where = error.filename or root
    # Copying a tree collects its errors into one that has no number of its own.
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT) or (error.errno is None and _NO_SPACE in str(error))
    if is_full:
        return FailedPrecondition(f"The embedded PostgreSQL server cannot write {where}: {no_space(root)}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FailedPrecondition(
            f"The data directory {root} cannot be used: no write permission ({where}: {error.strerror}). Give this "
            "user the right to write there, or choose another directory by HATCHET_DATA_DIR."
        )
    return FailedPrecondition(
        f"The data directory {root} cannot be used ({where}: {error.strerror or error}). "
        "Choose another directory by HATCHET_DATA_DIR."
    )
