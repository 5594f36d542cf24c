"""The events that tell how an attempt ended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_sdk.exceptions import NonRetryableException, RetryAfterException
from hatchet_sdk.worker.outcome import MESSAGE_SLACK, Outcomes

LIMIT = 100_000
ACTION = pb.AssignedAction(
    job_id="job", job_run_id="run", task_id="task", task_run_external_id="id", action_id="a:b", retry_count=3
)


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes(LIMIT + MESSAGE_SLACK)


def test_c_5_23_ids_are_echoed(outcomes: Outcomes) -> None:
    event = outcomes.completed(ACTION, "{}")
    assert (event.job_id, event.job_run_id, event.task_id) == ("job", "run", "task")
    assert (event.task_run_external_id, event.action_id, event.retry_count) == ("id", "a:b", 3)
    assert not event.HasField("should_not_retry")
    assert not event.HasField("retry_after_ms")


def test_c_5_27_started_is_dated_back(outcomes: Outcomes) -> None:
    now = outcomes.completed(ACTION, "").event_timestamp.ToNanoseconds()
    started = outcomes.started(ACTION, 5.0).event_timestamp.ToNanoseconds()
    assert 4.0 < (now - started) / 1e9 < 5.1


@pytest.mark.parametrize(("character", "width"), [("a", 1), ("é", 2), ("語", 3), ("🪓", 4)])
def test_c_5_39_the_limit_counts_bytes(outcomes: Outcomes, character: str, width: int) -> None:
    fits = character * (LIMIT // width)
    assert outcomes.completed(ACTION, fits).event_type == pb.STEP_EVENT_TYPE_COMPLETED
    event = outcomes.completed(ACTION, fits + character)
    assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
    assert f"has {(LIMIT // width + 1) * width} bytes, the limit is {LIMIT}" in event.event_payload
    assert "\n" not in event.event_payload


def test_c_5_34_and_c_6_27_what_the_exceptions_ask_for(outcomes: Outcomes) -> None:
    assert outcomes.failed(ACTION, NonRetryableException("x")).should_not_retry
    assert outcomes.failed(ACTION, ValueError("x"), retry=False).should_not_retry
    later = outcomes.failed(ACTION, RetryAfterException("x", after=timedelta(milliseconds=250)))
    assert (later.retry_after_ms, later.HasField("should_not_retry")) == (250, False)
    past = outcomes.failed(ACTION, RetryAfterException("x", after=timedelta(seconds=-1)))
    assert past.retry_after_ms == 0
