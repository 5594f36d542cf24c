"""Reports that pile up share a call: an RPC costs both ends several hundred microseconds, an item of a batch a few.

`SendBatchActionEvent` carries reports of one kind and one action. Only our own engine takes it for ordinary tasks,
which its version text tells; every other engine gets one call a report, as its contract says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol, TypeVar

from hatchet_contracts.dispatcher_pb2 import BatchActionEvent, StepActionEvent
from hatchet_sdk.wire.batch_events import item_of
from hatchet_sdk.worker.job import Event

LARGEST_BATCH = 200
LARGEST_BYTES = 1_000_000
OUR_ENGINE = "-python."
"""In the version text of an engine that takes batches."""


def takes_batches(version: str) -> bool:
    """Whether the engine of this version text takes several reports in one call."""
    return OUR_ENGINE in version


class HasEvent(Protocol):
    """What waits in the queue."""

    @property
    def event(self) -> Event: ...


Waiting = TypeVar("Waiting", bound=HasEvent)


def take_batch(queue: deque[Waiting]) -> list[Waiting]:
    """Removes from the left what may travel together: same kind, same action, not too many, not too large.

    A report of a batch task is a message of its own already.
    """
    taken = queue.popleft()
    first, batch, size = taken.event, [taken], taken.event.ByteSize()
    if isinstance(first, BatchActionEvent):
        return batch
    while queue and len(batch) < LARGEST_BATCH:
        event = queue[0].event
        if isinstance(event, BatchActionEvent):
            break
        size += event.ByteSize()
        if event.event_type != first.event_type or event.action_id != first.action_id or size > LARGEST_BYTES:
            break
        batch.append(queue.popleft())
    return batch


def batch_event(events: Sequence[StepActionEvent], worker_id: str) -> BatchActionEvent:
    """One message for reports that `take_batch` put together."""
    first = events[0]
    return BatchActionEvent(
        worker_id=worker_id,
        job_id=first.job_id,
        action_id=first.action_id,
        event_timestamp=first.event_timestamp,
        event_type=first.event_type,
        items=[item_of(event) for event in events],
    )
