"""End a server when its owner has gone, where the kernel does not do that for us (everywhere but Linux).

Run as a script of its own with the server's pid; its standard input is a pipe that the owner holds open and never
writes to. The end of file is the owner's death or its wish that we stop watching: then the server is gone already.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main(pid: int) -> None:
    """Wait for the end of standard input, then ask the server for a fast shutdown."""
    while os.read(0, 1):
        pass
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGINT)


if __name__ == "__main__":
    main(int(sys.argv[1]))
