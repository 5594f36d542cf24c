"""From a declared task and its options to runs: one request, many requests, with or without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message
from pydantic_core import to_json

from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
from hatchet_contracts.workflows_pb2 import BulkTriggerWorkflowRequest
from hatchet_sdk.context.current import current_context
from hatchet_sdk.declare.labels import desired_labels
from hatchet_sdk.exceptions import BulkTriggerIdempotencyCollisionError, IdempotencyCollisionError
from hatchet_sdk.run.coalesce import Coalescer
from hatchet_sdk.run.collisions import translate
from hatchet_sdk.run.outcome import RunOutcome
from hatchet_sdk.run.results import ResultListener, Until
from hatchet_sdk.wire.errors import EngineError

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.declare.options import ScheduleTriggerWorkflowOptions, TriggerWorkflowOptions
    from hatchet_sdk.wire.connection import Connection

M = TypeVar("M", bound=Message)

MAX_BULK_WORKFLOW_RUN_BATCH_SIZE = 1000
CHUNKS_IN_FLIGHT = 3
FRAME_BYTES = 8
"""Upper bound of what the list of a bulk request adds to each item."""


def prepare(
    config: ClientConfig, workflow_name: str, input_text: str | None, options: TriggerWorkflowOptions
) -> TriggerWorkflowRequest:
    """The message that creates one run; called where the user called, because the parent task is found from there.

    Inside a task the run becomes a child of it: parent ids, and the next child index unless one is given (C-4.11,
    C-4.15). A batch is no parent (C-16.37).
    Raises ``TypeError`` for metadata that JSON cannot hold, ``ValueError`` for a label without key, and for a sticky
    child that this worker cannot run (C-11.15).
    """
    request = TriggerWorkflowRequest(
        name=config.apply_namespace(workflow_name, options.namespace),
        input=input_text or "{}",
        parent_id=options.parent_id,
        parent_task_run_external_id=options.parent_step_run_id,
        child_index=options.child_index,
        child_key=options.child_key,
        priority=None if options.priority is None else int(options.priority),
        desired_worker_id=options.desired_worker_id,
        additional_metadata=metadata_text(workflow_name, options),
        desired_worker_labels=desired_labels(options.desired_worker_label),
    )
    context = current_context.get()
    if context is None:
        return request
    if context.task_run_id:
        if options.parent_step_run_id is None:
            request.parent_id = options.parent_id or context.workflow_run_id
            request.parent_task_run_external_id = context.task_run_id
        if options.child_index is None:
            request.child_index = context.next_child_index()
    if options.sticky and options.desired_worker_id is None:
        context.worker.check_sticky(request.name)
        request.desired_worker_id = context.worker_id
    return request


def metadata_text(workflow_name: str, options: ScheduleTriggerWorkflowOptions) -> str | None:
    """The metadata of a run as JSON text; None for none. Raises ``TypeError`` for what JSON cannot hold."""
    if not options.additional_metadata:
        return None
    try:
        return to_json(options.additional_metadata).decode()
    except ValueError as error:
        raise TypeError(f"additional_metadata of a run of '{workflow_name}' cannot become JSON: {error}") from error


def chunks(
    requests: Sequence[M], limit_bytes: int, *, added_bytes: int = 0, most: int = MAX_BULK_WORKFLOW_RUN_BATCH_SIZE
) -> Iterator[Sequence[M]]:
    """``requests`` in order, in pieces of at most ``most`` items and ``limit_bytes`` (C-4.5, C-12.3).

    ``added_bytes`` counts on top of each item. A single item above the limit travels alone and is refused with its own
    error.
    """
    start = size = 0
    for index, request in enumerate(requests):
        item = request.ByteSize() + FRAME_BYTES + added_bytes
        if index > start and (index - start >= most or size + item > limit_bytes):
            yield requests[start:index]
            start, size = index, 0
        size += item
    if start < len(requests):
        yield requests[start:]


@dataclass(slots=True, frozen=True)
class _Chunk:
    """What became of one bulk request."""

    ids: list[str]
    collisions: list[IdempotencyCollisionError] = field(default_factory=list)
    error: Exception | None = None


class Runner:
    """Creates runs and waits for them. Its coroutines run on the connection thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._listener = ResultListener(connection)
        self._coalescer = Coalescer(connection)

    async def trigger(self, request: TriggerWorkflowRequest, *, alone: bool) -> str:
        """Create one run; its id. ``alone`` keeps it out of requests that are shared with other runs.

        Raises ``EngineError``, or an idempotency or dedupe error when the run exists already.
        """
        try:
            if alone:
                return await self._connection.calls().trigger_workflow(request)
            return await self._coalescer.trigger(request)
        except EngineError as error:
            raise translate(error) from None

    async def trigger_and_wait(self, request: TriggerWorkflowRequest, *, alone: bool) -> RunOutcome:
        """Create one run and wait for its end: one hop between threads for both."""
        return await self._listener.wait(await self.trigger(request, alone=alone))

    async def trigger_many(self, requests: Sequence[TriggerWorkflowRequest]) -> list[str]:
        """Create runs; their ids in the order of the requests (C-4.4).

        A chunk that is refused stops those behind it; the chunks beside it may have created their runs, and a note on
        the exception says how many. A chunk in which runs collide by their idempotency keys creates the others (C-4.43)
        and stops nothing: one ``BulkTriggerIdempotencyCollisionError`` at the end tells about all chunks.
        """
        gate = asyncio.Semaphore(CHUNKS_IN_FLIGHT)
        limit = self._connection.config.grpc_max_send_message_length - 1024
        stopped = False

        async def send(part: Sequence[TriggerWorkflowRequest]) -> _Chunk:
            nonlocal stopped
            async with gate:
                if stopped:
                    return _Chunk([])
                chunk = await self._trigger_chunk(part)
                stopped = stopped or chunk.error is not None
                return chunk

        answers = await asyncio.gather(*(send(part) for part in chunks(requests, limit)))
        ids = [run_id for chunk in answers for run_id in chunk.ids]
        collisions = [collision for chunk in answers for collision in chunk.collisions]
        for chunk in answers:
            if chunk.error is not None:
                if ids:
                    chunk.error.add_note(
                        f"{len(ids)} of the {len(requests)} runs were created before or beside the refused ones"
                    )
                raise chunk.error from None
        if collisions:
            raise BulkTriggerIdempotencyCollisionError(ids, collisions)
        return ids

    async def _trigger_chunk(self, part: Sequence[TriggerWorkflowRequest]) -> _Chunk:
        try:
            request = BulkTriggerWorkflowRequest(workflows=part)
            return _Chunk(await self._connection.calls().bulk_trigger_workflow(request))
        except EngineError as error:
            raised = translate(error)
        if isinstance(raised, BulkTriggerIdempotencyCollisionError):
            return _Chunk(raised.successful_workflow_run_external_ids, raised.collisions)
        return _Chunk([], error=raised)

    async def trigger_many_and_wait(
        self, requests: Sequence[TriggerWorkflowRequest], *, until: Until | None
    ) -> list[RunOutcome | None]:
        """Create runs and wait for their ends, in order; see ``ResultListener.wait_all``."""
        ids = await self.trigger_many(requests)
        return await self._listener.wait_all(ids, until=until)

    async def wait(self, run_id: str) -> RunOutcome:
        """Wait for the end of a run that exists."""
        return await self._listener.wait(run_id)
