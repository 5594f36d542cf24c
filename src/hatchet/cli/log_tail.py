"""The log file of a server in the background: its last lines, following it, keeping it from growing for ever."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROTATED_BYTES = 20 * 1024 * 1024


def length(path: Path) -> int:
    """Bytes in the file; 0 when there is none."""
    return _place(path)[0]


def last_lines(path: Path, count: int, *, size: int) -> list[str]:
    """The last ``count`` lines of the first ``size`` bytes, without their ends; empty when there is no file."""
    try:
        with path.open("rb") as file:
            lines = file.read(size).decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return lines[-count:] if count > 0 else []


def appended_since(path: Path, size: int, *, lines: int) -> str:
    """The last ``lines`` lines of what was written after the file had ``size`` bytes."""
    try:
        with path.open("rb") as file:
            file.seek(size)
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def follow(path: Path, *, size: int, ended: Callable[[], bool], poll_seconds: float = 0.2) -> Iterator[str]:
    """Lines that are added after the file had ``size`` bytes, until ``ended`` says that nothing more will come.

    A file that is replaced or cut short is read anew from its beginning.
    """
    position, identity = size, _place(path)[1]
    rest = ""
    while True:
        over = ended()  # asked before reading, so that the last lines are not missed
        size, now = _place(path)
        if now != identity or size < position:
            position, identity, rest = 0, now, ""
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                data = file.read()
            position += len(data)
            *complete, rest = (rest + data.decode("utf-8", errors="replace")).split("\n")
            yield from complete
        elif over:
            return
        else:
            time.sleep(poll_seconds)


def rotate(path: Path) -> None:
    """Move a large file away, to ``<name>.1``; one older file is kept."""
    if path.exists() and path.stat().st_size > ROTATED_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))


def _place(path: Path) -> tuple[int, tuple[int, int]]:
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return 0, (0, 0)
    return stat.st_size, (stat.st_dev, stat.st_ino)
