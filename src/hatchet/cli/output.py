"""What programs say when they cannot do what they were asked."""

from __future__ import annotations

import sys
import textwrap
from typing import NoReturn

_WIDTH = 110


def print_error(text: str) -> None:
    """``Error:`` and the text on standard error, each of its lines wrapped for a terminal."""
    lines = f"Error: {text}".splitlines()
    wrapped = [textwrap.fill(line, _WIDTH, break_long_words=False, break_on_hyphens=False) for line in lines]
    print("\n".join(wrapped), file=sys.stderr)


def fail(text: str) -> NoReturn:
    """Say it, and end with exit code 1."""
    print_error(text)
    sys.exit(1)
