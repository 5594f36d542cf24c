"""The data directory itself: made whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from hatchet.core.errors import FailedPrecondition
from hatchet.postgres.binaries import Binaries
from hatchet.postgres.failures import explain
from hatchet.postgres.identity import Identity
from hatchet.postgres.process import spawn

USER = "hatchet"
"""Superuser of the embedded server."""

_PASSWORD = "password"
_PATIENCE = 300.0


async def create_cluster(
    root: Path, cluster: Path, binaries: Binaries, identity: Identity | None, *, keep_search_right: bool
) -> None:
    """Run initdb beside ``cluster``, durable on disk, and rename: a start that was killed leaves no half of a cluster.

    Raises :class:`FailedPrecondition` with initdb's own words when it fails.
    """
    unfinished = cluster.with_name(f"{cluster.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password = _make_password(root)
    given = [unfinished] if identity is None else [unfinished, password]
    if identity is not None:
        for path in given:
            os.chown(path, identity.uid, identity.gid)
    log = root / "initdb.log"
    with log.open("wb") as output:
        child = spawn(
            [
                str(binaries.initdb),
                *("-D", str(unfinished), "-U", USER, "--pwfile", str(password)),
                *("--encoding", "UTF8", "--no-locale", "--no-instructions"),
                # The socket's directory is private; a port is open to every user of the machine.
                *("--auth-local", "trust", "--auth-host", "scram-sha-256"),
            ],
            identity=identity,
            keep_search_right=keep_search_right,
            output=output,
            directory=root,
        )
        try:
            code = await child.wait(_PATIENCE)
        finally:
            if child.running:
                await child.stop()
            child.dismiss_watcher()
    if code != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise FailedPrecondition(explain("could not make its data directory", root, log.read_text("utf-8", "replace")))
    unfinished.rename(cluster)
    _sync_directory(root)
    log.unlink(missing_ok=True)


def read_password(root: Path) -> str:
    """The superuser's password, asked for on the TCP port alone."""
    return (root / _PASSWORD).read_text("ascii").strip()


def _make_password(root: Path) -> Path:
    path = root / _PASSWORD
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{secrets.token_urlsafe(24)}\n")
    return path


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
