"""Where the server listens: a socket in a directory that only its user can enter, else a private port."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path

from hatchet.postgres.identity import Identity

PORT = 5432
"""Part of the socket's name; sockets in directories of their own cannot collide."""

_LONGEST = 100
"""Bytes of a socket's path that every system takes."""

_PREFIX = "hatchet-pg-"
_RECORD = "socket-directory"


def prepare_socket_directory(root: Path, identity: Identity | None) -> str:
    """A private directory for the socket: in ``root`` when its path is short, else under the temporary directory.

    Returns an empty text where Unix sockets do not work.
    """
    forget_socket_directory(root)
    inside = root / "socket"
    if _fits(inside):
        inside.mkdir(mode=0o700, exist_ok=True)
        if _works(inside):
            return _handed_over(inside, identity)
    outside = Path(tempfile.mkdtemp(prefix=_PREFIX))
    if _fits(outside) and _works(outside):
        # A killed owner cannot remove it, so the next one must know where it is.
        (root / _RECORD).write_text(f"{outside}\n", "utf-8")
        return _handed_over(outside, identity)
    outside.rmdir()
    return ""


def forget_socket_directory(root: Path) -> None:
    """Remove the directory that an earlier start made outside of ``root``."""
    record = root / _RECORD
    if not record.exists():
        return
    recorded = Path(record.read_text("utf-8").strip())
    if recorded.name.startswith(_PREFIX) and not recorded.is_symlink():
        shutil.rmtree(recorded, ignore_errors=True)
    record.unlink()


def clear_socket_directory(directory: str) -> None:
    """Remove what a killed server left: PostgreSQL believes in it while any process, even a dead one, has that pid."""
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (Path(directory) / name).unlink(missing_ok=True)


def free_port() -> int:
    """A port of the loop-back address that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / f".s.PGSQL.{PORT}.lock")) <= _LONGEST


def _works(directory: Path) -> bool:
    """Some mounted file systems have no sockets."""
    path = directory / ".probe"
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
        path.unlink()
    except (OSError, AttributeError):
        return False
    return True


def _handed_over(directory: Path, identity: Identity | None) -> str:
    directory.chmod(0o700)
    if identity is not None:
        os.chown(directory, identity.uid, identity.gid)
    return str(directory)
