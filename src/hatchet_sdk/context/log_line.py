"""One line of a task's log (behaviour-core C-13.1 to C-13.3)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

LONGEST_LINE = 10_000
"""Characters; the engine refuses a longer line (C-13.3)."""


class LogLevel(str, Enum):  # noqa: UP042  # StrEnum prints differently
    """The levels that the engine knows (C-13.2)."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"

    @classmethod
    def from_levelname(cls, levelname: str) -> LogLevel:
        """The level for a name of Python's `logging`; INFO for a name that it does not know."""
        number = logging.getLevelNamesMapping().get(levelname.upper(), logging.INFO)
        return cls.of(number)

    @classmethod
    def of(cls, number: int) -> LogLevel:
        """The level for a level number of Python's `logging`; those between two levels belong to the lower one."""
        if number >= logging.ERROR:
            return cls.ERROR
        if number >= logging.WARNING:
            return cls.WARN
        return cls.INFO if number >= logging.INFO else cls.DEBUG


@dataclass(slots=True, eq=False)
class LogLine:
    """A line on its way to the engine.

    Attributes:
        at: when it was written, seconds since 1970.
        sent: set when the engine has the line, or the exception why it will not; None if nobody waits for it.
    """

    task_run_id: str
    retry_count: int
    level: LogLevel
    text: str
    at: float
    sent: Future[None] | None = None


class LogSender(Protocol):
    """Where a context puts its lines; the worker's queue."""

    def put(self, line: LogLine) -> None: ...


def text_of(line: str | Mapping[str, Any], *, strict: bool) -> str:
    """What to write for an argument of `Context.log`: a text as it is, a mapping as JSON.

    Raises:
        TypeError: with `strict`, when JSON cannot hold a member; else its `repr` is written.
    """
    if isinstance(line, str):
        return line
    return json.dumps(line, default=None if strict else repr)


def clean(text: str) -> str:
    """`text` as the engine takes it: not too long (C-13.3), no U+0000 (C-13.8), nothing that UTF-8 cannot hold."""
    kept = text[:LONGEST_LINE].replace("\x00", "\ufffd")
    if kept.isascii():
        return kept
    return kept.encode("utf-8", "replace").decode()
