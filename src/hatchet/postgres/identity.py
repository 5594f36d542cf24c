"""Under which user the server runs, and whether that user gets at our files.

initdb and postgres refuse root. As root we run them as ``postgres`` or ``nobody``; then that user must be able to enter
the program and data directories. Nothing outside of the data directory is ever changed for that.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from hatchet.core.errors import FailedPrecondition
from hatchet.postgres.binaries import Binaries

_USERS = ("postgres", "nobody")


@dataclass(slots=True, frozen=True)
class Identity:
    """A user to become, which only root can."""

    uid: int
    gid: int
    name: str


def choose_identity(cluster: Path) -> Identity | None:
    """Whom to become for ``cluster``: nobody else (``None``) unless we are root, else its owner or a usual user.

    Raises :class:`FailedPrecondition` when root finds no user to become.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat().st_uid) != 0:
        entry = _by_uid(owner)
        return entry or Identity(owner, cluster.stat().st_gid, str(owner))
    for name in _USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Identity(found.pw_uid, found.pw_gid, name)
    raise FailedPrecondition(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor `nobody` to run it as. "
        "Start the server as an ordinary user, or use a database elsewhere by DATABASE_URL."
    )


def _by_uid(uid: int) -> Identity | None:
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return None
    return Identity(uid, found.pw_gid, found.pw_name)


def may_enter(path: Path, identity: Identity) -> bool:
    """Whether that user can reach and read ``path`` (a directory or a file), judging by the permission bits."""
    resolved = path.resolve()
    wanted = stat.S_IROTH | (stat.S_IXOTH if resolved.is_dir() or os.access(resolved, os.X_OK) else 0)
    return all(_allows(parent, identity, stat.S_IXOTH) for parent in resolved.parents) and _allows(
        resolved, identity, wanted
    )


def _allows(path: Path, identity: Identity, wanted: int) -> bool:
    status = path.stat()
    if status.st_uid == identity.uid:
        wanted <<= 6
    elif status.st_gid == identity.gid:
        wanted <<= 3
    return status.st_mode & wanted == wanted


def usable_binaries(binaries: Binaries, identity: Identity | None, root: Path) -> Binaries:
    """The programs, or a copy of them in our ``root`` when ``identity`` cannot reach them but can reach that."""
    if identity is None or binaries.wheel is None or _can_run(binaries, identity) or not may_enter(root, identity):
        return binaries
    package = binaries.bin.parent.parent
    stamp = f"{package} {binaries.postgres.stat().st_mtime_ns}\n"
    copy = root / "programs"
    if not (copy / "from").exists() or (copy / "from").read_text("utf-8") != stamp:
        _copy_wheel(package, copy, stamp)
    return Binaries(copy / package.name / "pginstall" / "bin", binaries.major, binaries.wheel)


def _can_run(binaries: Binaries, identity: Identity) -> bool:
    share = binaries.bin.parent / "share"
    return all(may_enter(path, identity) for path in (binaries.postgres, binaries.initdb, share, *share.glob("*.bki")))


def _copy_wheel(package: Path, copy: Path, stamp: str) -> None:
    """Copy the programs with the sibling ``.libs`` that they load from, and let everybody read the copy."""
    shutil.rmtree(copy, ignore_errors=True)
    unused = shutil.ignore_patterns("include", "doc", "*.py", "__pycache__")
    shutil.copytree(package, copy / package.name, symlinks=True, ignore=unused)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    (copy / "from").write_text(stamp, "utf-8")
