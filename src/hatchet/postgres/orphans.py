"""What an owner that was killed may have left behind: a server that still runs or shuts down, or parts of one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import psutil

from hatchet.core.errors import FailedPrecondition

_STAGES = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
"""Fast shutdown, immediate shutdown, the end; and the seconds that each gets."""

_POLL = 0.02


async def clear_orphans(cluster: Path) -> None:
    """Stop every server process of ``cluster``; call it only while holding the owner's lock.

    A clean directory costs one look for a file. Raises :class:`FailedPrecondition` for a process that does not end.
    """
    pid_file = cluster / "postmaster.pid"
    if not pid_file.exists():
        return
    for sign, patience in _STAGES:
        remaining = _processes_of(cluster)
        _signal_all(remaining, sign)
        if not remaining or await _all_gone(cluster, patience):
            _drop_misleading(pid_file)
            return
    pids = ", ".join(str(process.pid) for process in _processes_of(cluster))
    raise FailedPrecondition(
        f"A PostgreSQL server of an earlier run still uses {cluster} (process {pids}) and does not end. "
        "End it by hand, then start again."
    )


def _drop_misleading(pid_file: Path) -> None:
    """PostgreSQL would take any living process with the recorded pid for its predecessor, and refuse to start."""
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        if psutil.pid_exists(int(pid_file.read_text("utf-8").splitlines()[0])):
            pid_file.unlink()


async def _all_gone(cluster: Path, patience: float) -> bool:
    deadline = asyncio.get_running_loop().time() + patience
    while _processes_of(cluster):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(_POLL)
    return True


def _processes_of(cluster: Path) -> list[psutil.Process]:
    """Server processes of this directory, the postmaster first, else backends that outlived theirs."""
    target = str(cluster.resolve())
    found = [process for process in psutil.process_iter() if _belongs(process, target)]
    pids = {process.pid for process in found}
    heads = []
    for process in found:
        with contextlib.suppress(psutil.Error):
            if process.ppid() not in pids:
                heads.append(process)
    return heads


def _belongs(process: psutil.Process, cluster: str) -> bool:
    try:
        if not process.name().startswith("postgres") or process.status() == psutil.STATUS_ZOMBIE:
            return False
        # Without the right to look at another user's processes only the postmaster's arguments tell.
        return cluster in process.cmdline() or process.cwd() == cluster
    except psutil.Error:
        return False


def _signal_all(processes: list[psutil.Process], sign: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(sign)
