"""How an error of the engine becomes a gRPC status (behaviour-core C-1.11 to C-1.13)."""

from __future__ import annotations

import grpc
import structlog

from hatchet.core.errors import Code, HatchetError

INTERNAL_TEXT = "An internal error occurred."

MAX_DETAILS_BYTES = 4000
"""Texts travel percent-encoded in the trailers, of which clients accept 8 KiB: a longer one would hide the status."""

_log = structlog.get_logger(__name__)
_STATUS = {code: grpc.StatusCode[code.value] for code in Code}


def status_of(error: Exception, path: str) -> tuple[grpc.StatusCode, str]:
    """The status and text for the caller of the method ``path``.

    Everything but a :class:`HatchetError` is a mistake of ours: logged here in full, the caller gets a neutral text.
    """
    if isinstance(error, HatchetError) and error.code is not Code.INTERNAL:
        return _STATUS[error.code], shortened(error.message)
    _log.error("grpc call failed", method=path, exc_info=error)
    return grpc.StatusCode.INTERNAL, INTERNAL_TEXT


def shortened(text: str) -> str:
    """``text``, cut so that its encoded form fits into the trailers."""
    if len(text) * 12 <= MAX_DETAILS_BYTES or _encoded_size(text) <= MAX_DETAILS_BYTES:
        return text
    left = MAX_DETAILS_BYTES - _encoded_size("…")
    for position, char in enumerate(text):
        left -= _encoded_size(char)
        if left < 0:
            return text[:position] + "…"
    return text


def _encoded_size(text: str) -> int:
    # Printable ASCII except the percent sign stays as it is; every other byte becomes three characters.
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in text.encode())
