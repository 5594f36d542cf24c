"""Become the server's user, ask the kernel to end us with our parent, and turn into the given program.

Run as a script of its own (``python -I -S launcher.py PARENT UID:GID|- RIGHTS PROGRAM ARGS...``): code between fork
and exec in a process with threads can hang, and ``PR_SET_PDEATHSIG`` is lost by a change of the user, so it must come
after. Uses the standard library alone, and imports nothing late: the new user may not reach Python's own files.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


def main(parent: str, identity: str, rights: str, *command: str) -> None:
    """Never returns: the process becomes ``command``. ``rights`` ``search`` keeps the right to enter any directory."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if identity != "-":
        uid, gid = map(int, identity.split(":"))
        _become(uid, gid, libc if rights == "search" else None)
    if libc is not None:
        # SIGINT is PostgreSQL's fast shutdown: it ends the sessions and leaves nothing to recover.
        _checked(libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0), "follow the parent")
        if os.getppid() != int(parent):
            sys.exit("the parent has gone before the server was started")
    os.execv(command[0], command)


def _become(uid: int, gid: int, keep_through: ctypes.CDLL | None) -> None:
    capability = None
    if keep_through is not None:
        with open("/proc/self/status", "rb") as file:
            capability = permitted_capability(file.read().decode())
        if capability is None:
            sys.exit("root has no right here to let another user enter its directories")
        _checked(keep_through.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep the capabilities")
        # Else access(2), by which initdb and postgres look for their own programs, does not count the right for a user
        # who is not root. It may be denied: then it matters only where the programs lie in a closed directory.
        keep_through.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if keep_through is not None and capability is not None:
        _raise_ambient(keep_through, capability)


def permitted_capability(status: str) -> int | None:
    """The weakest permitted capability in the text of /proc/self/status that lets a user enter any directory."""
    for line in status.splitlines():
        if line.startswith("CapPrm:"):
            bits = int(line.split()[1], 16)
            return next((cap for cap in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if bits >> cap & 1), None)
    return None


def _raise_ambient(libc: ctypes.CDLL, capability: int) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Two sets of (effective, permitted, inheritable), for capabilities 0-31 and 32-63.
    sets = (ctypes.c_uint32 * 6)(*[1 << capability] * 3, 0, 0, 0)
    _checked(libc.capset(header, sets), "hand on a capability")
    _checked(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0), "hand on a capability")


def _checked(result: int, what: str) -> None:
    if result != 0:
        sys.exit(f"cannot {what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(*sys.argv[1:])
