"""Structured details of an error, as they travel in the trailers (behaviour-core C-1.16, C-4.44 to C-4.50)."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from hatchet.core.errors import Code, IdempotencyCollision
from hatchet_contracts.v1 import workflows_pb2 as v1

TRAILER = "grpc-status-details-bin"
BULK_PATH = "/WorkflowService/BulkTriggerWorkflow"
MAX_IDS = 100
"""Run ids in one detail. Clients accept 8 KiB of trailers in all: more of them would hide the status itself."""

_NUMBERS = {Code.ALREADY_EXISTS: 6}


def trailers(error: Exception, path: str, text: str) -> tuple[tuple[str, bytes], ...]:
    """The trailers for an error of the method ``path`` whose status says ``text``; empty for errors without details.

    Code and text are repeated in the details, because clients compare them.
    """
    if not isinstance(error, IdempotencyCollision):
        return ()
    detail = AnyMessage()
    detail.Pack(_bulk(error) if path == BULK_PATH else _single(*error.collisions[0]))
    status = Status(code=_NUMBERS[error.code], message=text, details=[detail])
    return ((TRAILER, status.SerializeToString()),)


def _single(existing: str, colliding: str) -> v1.IdempotencyCollisionError:
    return v1.IdempotencyCollisionError(existing_run_external_id=existing, colliding_run_external_id=colliding)


def _bulk(error: IdempotencyCollision) -> Message:
    room = max(0, MAX_IDS - 2 * len(error.collisions))
    return v1.BulkTriggerIdempotencyCollisionError(
        successful_workflow_run_external_ids=error.created[:room],
        collisions=[_single(*collision) for collision in error.collisions[: MAX_IDS // 2]],
    )
