"""Environment variables from files, for programs that are configured by the environment alone."""

from __future__ import annotations

import os
from pathlib import Path

from hatchet.core.errors import InvalidArgument


def load_environment(path: Path) -> None:
    """Set what ``path`` says, a file of ``NAME=value`` lines or a directory of ``*.env`` files; the environment wins.

    Raises :class:`InvalidArgument` when there is no such path, or it cannot be read.
    """
    from dotenv import dotenv_values

    files = sorted(path.glob("*.env")) if path.is_dir() else [path]
    for file in files:
        try:
            with file.open(encoding="utf-8") as stream:
                values = dotenv_values(stream=stream)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise InvalidArgument(f"--config {path}: cannot read {file}: {reason}.") from error
        for name, value in values.items():
            if value is not None:
                os.environ.setdefault(name, value)
