"""ALREADY_EXISTS of a trigger, as the exception it means (behaviour-core C-1.16, C-4.42 to C-4.50)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError

from hatchet_contracts.v1 import workflows_pb2
from hatchet_sdk.exceptions import (
    BulkTriggerIdempotencyCollisionError,
    DedupeViolationError,
    IdempotencyCollisionError,
)

if TYPE_CHECKING:
    from hatchet_sdk.wire.errors import EngineError

COLLISION = "idempotency key collision"
DETAILS = "grpc-status-details-bin"


def translate(error: EngineError) -> Exception:
    """The exception to raise for a refused trigger: ``error`` itself unless the run exists already."""
    if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
        return error
    if error.details() != COLLISION:
        return DedupeViolationError(error.details())
    details = error.trailers().get(DETAILS, b"")
    for detail in _details(details if isinstance(details, bytes) else b""):
        collision = _collision(detail)
        if collision is not None:
            return collision
    return IdempotencyCollisionError("")


def _collision(detail: AnyMessage) -> Exception | None:
    single, bulk = workflows_pb2.IdempotencyCollisionError(), workflows_pb2.BulkTriggerIdempotencyCollisionError()
    try:
        if detail.Unpack(single):
            return IdempotencyCollisionError(single.existing_run_external_id)
        if detail.Unpack(bulk):
            return BulkTriggerIdempotencyCollisionError(
                list(bulk.successful_workflow_run_external_ids),
                [IdempotencyCollisionError(item.existing_run_external_id) for item in bulk.collisions],
            )
    except DecodeError:
        return None
    return None


def _details(status: bytes) -> Iterator[AnyMessage]:
    """The ``details`` (field 3) of a serialized ``google.rpc.Status``; nothing for a text that is not one."""
    try:
        position = 0
        while position < len(status):
            key, position = _varint(status, position)
            value, position = _varint(status, position)
            if key & 7 == 2:
                if key >> 3 == 3:
                    yield AnyMessage.FromString(status[position : position + value])
                position += value
            elif key & 7 != 0:
                return
    except (IndexError, DecodeError):
        return


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
