"""How a mistake of a definition is told: each is one short line, whatever a client sent (behaviour-core C-3.26)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hatchet.core.errors import InvalidArgument
from hatchet.core.expressions import Use, check

MAX_INT32 = 2**31 - 1
"""The numbers of the messages and of the columns that keep them."""

_QUOTED = 80


def caught(check: Callable[..., object], *args: object) -> Iterator[str]:
    """The text of the :class:`InvalidArgument` that ``check(*args)`` raises; nothing when it raises none."""
    try:
        check(*args)
    except InvalidArgument as error:
        yield error.message


def expression_mistakes(label: str, text: str, use: Use) -> Iterator[str]:
    """Why ``text`` cannot be an expression for ``use``."""
    if reason := check(text, use):
        yield f"{label} {quoted(text)} {reason}"


def number_mistakes(label: str, number: int, least: int, most: int) -> Iterator[str]:
    """That ``number`` is not in the range."""
    if not least <= number <= most:
        yield f"{label} must be between {least} and {most}, not {number}"


def text_mistakes(label: str, text: str, max_bytes: int) -> Iterator[str]:
    """That ``text`` cannot be stored, or is longer than ``max_bytes`` in UTF-8."""
    if "\x00" in text:
        yield f"{label} {quoted(text)} must not contain the null character"
    if (size := len(text.encode())) > max_bytes:
        yield f"{label} {quoted(text)} must be at most {max_bytes} bytes long, not {size}: shorten it"


def quoted(text: str) -> str:
    """``text`` in quotes, cut."""
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")


def shown(text: str) -> str:
    """``text`` on one line, cut."""
    return quoted(text)[1:-1]


def one_line(text: str) -> str:
    """``text`` with escapes for line breaks and other characters that cannot be seen."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
