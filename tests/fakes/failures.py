"""How calls of the fake engine end when they do not succeed."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from hatchet_contracts.v1 import workflows_pb2 as v1_pb2


@dataclass(slots=True)
class Failure:
    """How a call ends."""

    code: grpc.StatusCode
    details: str
    trailers: tuple[tuple[str, str | bytes], ...] = ()


class Refused(Exception):
    """Raised by a handler: the call ends like this."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


def collided(detail: v1_pb2.IdempotencyCollisionError | v1_pb2.BulkTriggerIdempotencyCollisionError) -> Failure:
    """ALREADY_EXISTS with its detail in the trailer (C-4.42 to C-4.50)."""
    message = "idempotency key collision"
    packed = AnyMessage()
    packed.Pack(detail)
    # google.rpc.Status: code = 1, message = 2, details = 3.
    status = b"\x08\x06" + _field(2, message.encode()) + _field(3, packed.SerializeToString())
    return Failure(grpc.StatusCode.ALREADY_EXISTS, message, (("grpc-status-details-bin", status),))


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes as the wire has it."""
    size, length = bytearray(), len(content)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + content
