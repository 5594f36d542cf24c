"""Messages that report on the runs of a batch (behaviour-core C-16.24 to C-16.27)."""

from __future__ import annotations

import time
from collections.abc import Iterable

from hatchet_contracts.dispatcher_pb2 import (
    AssignedAction,
    BatchActionEvent,
    BatchActionEventItem,
    StepActionEvent,
    StepActionEventType,
)

LARGEST_BYTES = 1_000_000
"""The items of a message; a larger one travels alone. The engine takes a part of the items in each (C-16.26)."""


def item_of(event: StepActionEvent) -> BatchActionEventItem:
    """What an event says about its task run, as an item among others."""
    return BatchActionEventItem(
        task_run_external_id=event.task_run_external_id,
        event_payload=event.event_payload,
        retry_count=event.retry_count if event.HasField("retry_count") else None,
        should_not_retry=event.should_not_retry if event.HasField("should_not_retry") else None,
        retry_after_ms=event.retry_after_ms if event.HasField("retry_after_ms") else None,
    )


def plain_items(action: AssignedAction, ids: Iterable[str]) -> list[BatchActionEventItem]:
    """Items that say nothing but which runs are meant."""
    return [BatchActionEventItem(task_run_external_id=run, retry_count=action.retry_count) for run in ids]


def batch_events(
    action: AssignedAction,
    kind: StepActionEventType,
    items: Iterable[BatchActionEventItem],
    *,
    worker_id: str = "",
    seconds_ago: float = 0.0,
) -> list[BatchActionEvent]:
    """Messages of one kind about runs of the batch that ``action`` started, as many as the size of the items needs."""
    events: list[BatchActionEvent] = []
    size = 0
    for item in items:
        added = item.ByteSize()
        if not events or size + added > LARGEST_BYTES:
            events.append(_empty(action, kind, worker_id, seconds_ago))
            size = 0
        events[-1].items.append(item)
        size += added
    return events


def halves(event: BatchActionEvent) -> list[BatchActionEvent]:
    """The same in two messages; in one if there is only one item."""
    middle = (len(event.items) + 1) // 2
    parts = []
    for items in (event.items[:middle], event.items[middle:]):
        if items:
            part = BatchActionEvent()
            part.CopyFrom(event)
            del part.items[:]
            part.items.extend(items)
            parts.append(part)
    return parts


def _empty(action: AssignedAction, kind: StepActionEventType, worker_id: str, seconds_ago: float) -> BatchActionEvent:
    event = BatchActionEvent(
        worker_id=worker_id,
        job_id=action.job_id,
        action_id=action.action_id,
        batch_id=action.batchId,
        event_type=kind,
    )
    event.event_timestamp.FromNanoseconds(time.time_ns() - int(seconds_ago * 1e9))
    return event
