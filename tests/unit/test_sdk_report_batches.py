"""Reports that pile up share a call."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import pytest

from hatchet_contracts.dispatcher_pb2 import (
    STEP_EVENT_TYPE_COMPLETED,
    STEP_EVENT_TYPE_FAILED,
    BatchActionEvent,
    StepActionEvent,
)
from hatchet_sdk.worker.report_batches import LARGEST_BATCH, LARGEST_BYTES, batch_event, take_batch, takes_batches


@dataclass
class Queued:
    event: Any


def completed(number: int, action: str = "price:price", payload: str = "{}") -> Queued:
    return Queued(
        StepActionEvent(
            task_run_external_id=f"task-{number}",
            action_id=action,
            event_type=STEP_EVENT_TYPE_COMPLETED,
            event_payload=payload,
            retry_count=number,
        )
    )


def names(batch: list[Queued]) -> list[str]:
    return [queued.event.task_run_external_id for queued in batch]


@pytest.mark.parametrize(
    ("version", "answer"), [("v0.79.0-python.0.1.0", True), ("v0.79.0", False), ("", False), ("v1.2.3-alpha", False)]
)
def test_only_our_engine_gets_batches(version: str, answer: bool) -> None:
    assert takes_batches(version) is answer


def test_a_batch_ends_where_kind_or_action_changes() -> None:
    failed = completed(3)
    failed.event.event_type = STEP_EVENT_TYPE_FAILED
    queue = deque([completed(1), completed(2), failed, completed(4, action="other:other")])
    assert [names(take_batch(queue)) for _ in range(3)] == [["task-1", "task-2"], ["task-3"], ["task-4"]]
    assert not queue


def test_a_report_of_a_batch_task_travels_alone() -> None:
    members = Queued(BatchActionEvent(action_id="price:price", event_type=STEP_EVENT_TYPE_COMPLETED))
    queue = deque([completed(1), members, members, completed(2)])
    assert [len(take_batch(queue)) for _ in range(4)] == [1, 1, 1, 1]
    assert not queue


def test_a_batch_is_bounded_in_number_and_size() -> None:
    many = deque(completed(number) for number in range(LARGEST_BATCH + 5))
    assert len(take_batch(many)) == LARGEST_BATCH
    assert len(many) == 5
    large = deque(completed(number, payload="x" * (LARGEST_BYTES * 2 // 3)) for number in range(2))
    assert names(take_batch(large)) == ["task-0"]


def test_an_event_keeps_its_fields_in_a_batch() -> None:
    event = completed(7, payload="boom").event
    event.should_not_retry = True
    event.retry_after_ms = 250
    batch = batch_event([event, completed(8).event], "worker")
    assert (batch.worker_id, batch.action_id, batch.event_type) == ("worker", "price:price", STEP_EVENT_TYPE_COMPLETED)
    first, second = batch.items
    assert (first.task_run_external_id, first.event_payload, first.retry_count) == ("task-7", "boom", 7)
    assert (first.should_not_retry, first.retry_after_ms) == (True, 250)
    assert not second.HasField("should_not_retry")
    assert not second.HasField("retry_after_ms")
    assert not batch.HasField("batch_id")
