"""One base exception with a stable code that gRPC, REST and the CLI share.

A user error never becomes INTERNAL, because clients retry INTERNAL for a long time (behaviour-core C-1.11).
"""

from __future__ import annotations

from enum import Enum


class Code(Enum):
    """Why a request was refused. The names equal the gRPC status names."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class HatchetError(Exception):
    """An error whose text is meant for the caller: what was wrong, which field, what to do."""

    code: Code = Code.INTERNAL

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(HatchetError):
    """The request can never succeed as it is."""

    code = Code.INVALID_ARGUMENT


class InvalidFields(InvalidArgument):
    """Several fields at once: (name of the field, what is wrong and how it must be), at least one."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__(" ".join(text for _, text in faults))
        self.faults = faults


class NotFound(HatchetError):
    """The id is unknown in the caller's tenant; another tenant's id looks the same (C-1.12)."""

    code = Code.NOT_FOUND


class AlreadyExists(HatchetError):
    """What the request would make is there already."""

    code = Code.ALREADY_EXISTS


class IdempotencyCollision(AlreadyExists):
    """Runs were not created because others hold their idempotency keys (C-4.42 to C-4.47).

    ``collisions``: (run that holds the key, run that was not created), in the order of the request. ``created``: the
    runs of the same request that were. The text is looked for by clients and must stay.
    """

    def __init__(self, collisions: list[tuple[str, str]], created: list[str]) -> None:
        super().__init__("idempotency key collision")
        self.collisions = collisions
        self.created = created


class Unauthenticated(HatchetError):
    """No token, or one that this server does not accept (C-1.10: one text for every reason)."""

    code = Code.UNAUTHENTICATED

    def __init__(self) -> None:
        super().__init__("invalid auth token")


class FailedPrecondition(HatchetError):
    """The request is fine but the thing it names is in the wrong state."""

    code = Code.FAILED_PRECONDITION


class SwitchedOff(FailedPrecondition):
    """The operator has switched this operation off."""


class ResourceExhausted(HatchetError):
    """A limit or a full buffer; trying again later may succeed."""

    code = Code.RESOURCE_EXHAUSTED


class Unimplemented(HatchetError):
    """The contract knows this, this version of the server does not serve it."""

    code = Code.UNIMPLEMENTED


class Unavailable(HatchetError):
    """The database or this instance cannot answer at the moment; clients retry (C-1.11)."""

    code = Code.UNAVAILABLE
