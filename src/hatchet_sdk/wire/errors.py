"""What a refused or failed call looks like to the user: the engine's words, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import grpc


class EngineError(grpc.RpcError):
    """A call to the engine failed.

    The text holds the engine's message and, where the cause is usually on the caller's side, what to do. It is a
    ``grpc.RpcError``, so that code which catches that keeps working.
    """

    def __init__(self, message: str, code: grpc.StatusCode, details: str, trailers: dict[str, str | bytes]) -> None:
        super().__init__(message)
        self._code = code
        self._details = details
        self._trailers = trailers

    def again(self) -> EngineError:
        """The same error as a new object, for another caller to raise: a traceback belongs to one."""
        return EngineError(str(self), self._code, self._details, self._trailers)

    def code(self) -> grpc.StatusCode:
        """The gRPC status of the call."""
        return self._code

    def details(self) -> str:
        """The engine's message, unchanged."""
        return self._details

    def trailers(self) -> dict[str, str | bytes]:
        """The trailing metadata by key; keys that end in ``-bin`` hold bytes."""
        return self._trailers


def explain(error: grpc.aio.AioRpcError, *, method: str, target: str, tls_strategy: str) -> EngineError:
    """``error`` with a text for people: ``method`` is the RPC's name, ``target`` the ``host:port`` of the engine."""
    code = error.code()
    details = error.details() or ""
    metadata = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    trailers = dict(metadata)
    return EngineError(_text(code, details, method, target, tls_strategy), code, details, trailers)


def _text(code: grpc.StatusCode, details: str, method: str, target: str, tls_strategy: str) -> str:
    if code is grpc.StatusCode.UNAVAILABLE:
        tls = "" if tls_strategy == "none" else "; a local server also needs HATCHET_CLIENT_TLS_STRATEGY=none"
        return (
            f"cannot reach the engine at {target} ({method}): {details}. Is it running (`hatchet server status`)? "
            f"Check HATCHET_CLIENT_HOST_PORT{tls}."
        )
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return (
            f"the engine at {target} refused the token ({method}): {details}. It may be expired, revoked or issued by "
            "another server; check HATCHET_CLIENT_TOKEN or the profile that it comes from."
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the engine at {target} did not answer in time ({method}): {details}"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and is_too_large(details):
        return (
            f"the message of {method} is above the size limit: {details}. Send less, or raise "
            "HATCHET_CLIENT_GRPC_MAX_SEND_MESSAGE_LENGTH or HATCHET_CLIENT_GRPC_MAX_RECV_MESSAGE_LENGTH (bytes) "
            "together with the server's SERVER_GRPC_MAX_MSG_SIZE."
        )
    return f"{details} ({method} at {target}: {code.name})"


def is_too_large(details: str) -> bool:
    """Whether RESOURCE_EXHAUSTED means that a message exceeded a size limit; trying again cannot help then."""
    return "larger than max" in details
