"""Choosing TCP ports for a server of one's own: asked for, remembered, or the first free one."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from itertools import chain

from hatchet.core.errors import FailedPrecondition, InvalidArgument

SCANNED = 100


def is_free(port: int) -> bool:
    """Whether nobody listens on ``port``, by IPv4 or IPv6: clients that ask for ``localhost`` may try either."""
    return _can_bind(socket.AF_INET, "127.0.0.1", port) and _can_bind(socket.AF_INET6, "::1", port)


def choose(*, asked: int, remembered: int | None, first: int, flag: str, taken: Collection[int]) -> int:
    """``asked`` when it is not 0, else ``remembered`` when it is free, else the first free port from ``first`` on.

    ``taken`` are ports that are free but spoken for. Raises :class:`InvalidArgument` for a number that is no port, and
    :class:`FailedPrecondition` when the asked port is in use or none of a hundred is free.
    """
    if asked:
        return _checked(asked, flag, taken)
    wanted = () if remembered is None else (remembered,)
    for port in chain(wanted, range(first, min(first + SCANNED, 65536))):
        if port not in taken and is_free(port):
            return port
    raise FailedPrecondition(f"no port from {first} to {first + SCANNED - 1} is free; choose one with {flag}.")


def _checked(port: int, flag: str, taken: Collection[int]) -> int:
    if not 1 <= port <= 65535:
        raise InvalidArgument(f"{flag} {port}: a port is a number from 1 to 65535.")
    if port in taken:
        raise InvalidArgument(f"{flag} {port}: the same port cannot serve twice; choose another.")
    if not is_free(port):
        raise FailedPrecondition(
            f"port {port} ({flag}) is in use by another program. Stop that program, choose another port, "
            f"or leave {flag} out to have a free one found."
        )
    return port


def _can_bind(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except PermissionError:
        return False
    except OSError as error:
        # A machine without IPv6 has no such address: then nobody can listen on it either.
        return family == socket.AF_INET6 and error.errno != errno.EADDRINUSE
    return True
