"""A task's events, derived from its facts (behaviour-core C-5.47, C-5.48, C-17.45 to C-17.48)."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchet.core.history import AttemptFacts, TaskEvent, history
from hatchet.core.statuses import Outcome, TaskEventType

AT = 1_750_000_000.0


def names(events: list[TaskEvent]) -> list[str]:
    return [event.type.value for event in events]


def an_attempt(number: int = 0, **facts: Any) -> AttemptFacts:
    return AttemptFacts(number, **{"ready_at": AT, "assigned_at": AT + 1, "worker_id": "w", **facts})


def test_c_17_45_a_task_that_waits_was_created_and_queued() -> None:
    events = history(AT, [AttemptFacts(0, AT)])
    assert names(events) == ["CREATED", "QUEUED"]
    assert [event.worker_id for event in events] == [None, None]


def test_c_17_45_a_completed_task() -> None:
    facts = an_attempt(started_at=AT + 2, outcome=Outcome.COMPLETED, finished_at=AT + 3)
    events = history(AT, [facts])
    assert names(events) == ["CREATED", "QUEUED", "ASSIGNED", "SENT_TO_WORKER", "STARTED", "FINISHED"]
    assert [event.at - AT for event in events] == [0, 0, 1, 1, 2, 3]
    assert {event.worker_id for event in events[2:]} == {"w"}


def test_c_5_27_without_a_started_event_the_hand_over_is_the_start() -> None:
    events = history(AT, [an_attempt(outcome=Outcome.FAILED, finished_at=AT + 3, error="boom")])
    assert ("STARTED", AT + 1) in [(event.type.value, event.at) for event in events]


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.REASSIGNED, Outcome.COULD_NOT_SEND])
def test_an_attempt_that_never_reached_its_worker_did_not_start(outcome: Outcome) -> None:
    assert "STARTED" not in names(history(AT, [an_attempt(outcome=outcome, finished_at=AT + 3)]))


def test_c_17_45_notes_lie_between_the_start_and_the_end() -> None:
    notes = (("TIMEOUT_REFRESHED", AT + 2.5, ""), ("SLOT_RELEASED", AT + 2.7, ""))
    facts = an_attempt(started_at=AT + 2, outcome=Outcome.COMPLETED, finished_at=AT + 3, notes=notes)
    assert names(history(AT, [facts]))[4:] == ["STARTED", "TIMEOUT_REFRESHED", "SLOT_RELEASED", "FINISHED"]


@pytest.mark.parametrize(("outcome", "last"), [(Outcome.FAILED, "FAILED"), (Outcome.TIMED_OUT, "TIMED_OUT")])
def test_c_5_48_retrying_follows_a_failure_and_precedes_the_next_queued(outcome: Outcome, last: str) -> None:
    first = an_attempt(outcome=outcome, finished_at=AT + 3, retry_at=AT + 5, error="boom")
    events = history(AT, [first, an_attempt(1, ready_at=AT + 5, assigned_at=None, worker_id=None)])
    assert names(events)[-3:] == [last, "RETRYING", "QUEUED"]
    assert [event.retry_count for event in events[-3:]] == [0, 0, 1]
    assert events[-3].message == "boom"


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT])
def test_c_17_46_a_last_failure_is_not_followed_by_retrying(outcome: Outcome) -> None:
    assert "RETRYING" not in names(history(AT, [an_attempt(outcome=outcome, finished_at=AT + 3)]))


@pytest.mark.parametrize(
    ("outcome", "last"),
    [(Outcome.REASSIGNED, "REASSIGNED"), (Outcome.COULD_NOT_SEND, "COULD_NOT_SEND_TO_WORKER")],
)
def test_c_2_28_reassignment_is_no_retry(outcome: Outcome, last: str) -> None:
    first = an_attempt(outcome=outcome, finished_at=AT + 3, retry_at=AT + 3)
    events = history(AT, [first, an_attempt(1, ready_at=AT + 3, assigned_at=None, worker_id=None)])
    assert names(events)[-2:] == [last, "QUEUED"]


def test_c_6_3_a_skipped_task_has_a_skipped_event_and_was_with_no_worker() -> None:
    events = history(AT, [AttemptFacts(0, AT, outcome=Outcome.SKIPPED, finished_at=AT + 3)])
    assert names(events) == ["CREATED", "QUEUED", "SKIPPED"]
    assert events[-1].worker_id is None


def test_c_6_15_a_task_that_was_cancelled_before_it_could_run() -> None:
    events = history(AT, [AttemptFacts(0, AT, outcome=Outcome.CANCELLED, finished_at=AT + 3, error="no way on")])
    assert names(events) == ["CREATED", "QUEUED", "CANCELLED"]
    assert events[-1].message == "no way on"


def test_c_5_49_and_c_15_12_a_replay_is_told_before_the_attempt_that_it_opens() -> None:
    first = an_attempt(outcome=Outcome.FAILED, finished_at=AT + 3, error="boom")
    second = an_attempt(1, ready_at=AT + 60, replayed_at=AT + 60, assigned_at=None, worker_id=None)
    events = history(AT, [first, second])
    assert names(events)[-3:] == ["FAILED", "RETRIED_BY_USER", "QUEUED"]
    assert [event.retry_count for event in events[-3:]] == [0, 1, 1]
    # It is no retry of the failure.
    assert "RETRYING" not in names(events)


def test_c_15_14_a_replayed_task_that_waits_for_its_parents_is_queued_later() -> None:
    first = an_attempt(outcome=Outcome.COMPLETED, finished_at=AT + 3)
    second = an_attempt(1, ready_at=AT + 90, replayed_at=AT + 60, assigned_at=AT + 91)
    events = history(AT, [first, second])
    assert [(event.type.value, event.at - AT) for event in events[-4:]] == [
        ("RETRIED_BY_USER", 60),
        ("QUEUED", 90),
        ("ASSIGNED", 91),
        ("SENT_TO_WORKER", 91),
    ]


def test_c_6_33_a_schedule_timeout() -> None:
    facts = AttemptFacts(0, AT, outcome=Outcome.SCHEDULING_TIMED_OUT, finished_at=AT + 300)
    assert names(history(AT, [facts])) == ["CREATED", "QUEUED", "SCHEDULING_TIMED_OUT"]


times = st.floats(-5, 5)
ends = st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.EVICTED])


@st.composite
def chains(draw: st.DrawFn) -> list[AttemptFacts]:
    """Attempts as the rows may tell them, opened by retries and replays, with clocks of workers that are off."""
    count, at, replayed_at, chain = draw(st.integers(1, 4)), AT, None, []
    for number in range(count):
        is_last = number == count - 1
        is_replayed = draw(st.booleans())
        assigned = at + draw(st.floats(0, 5))
        finished = assigned + draw(st.floats(0, 5))
        notes = [("SLOT_RELEASED", draw(st.floats(assigned, finished)), "")] if draw(st.booleans()) else []
        facts = an_attempt(
            number,
            ready_at=at,
            assigned_at=assigned,
            started_at=draw(st.none() | st.floats(AT - 100, AT + 100)),
            outcome=draw(ends),
            finished_at=finished,
            replayed_at=replayed_at,
            retry_at=None if is_last or is_replayed else finished + draw(st.floats(0, 5)),
            notes=tuple(notes),
        )
        chain.append(facts)
        replayed_at = finished + draw(st.floats(0, 5)) if is_replayed else None
        waits = draw(st.floats(0, 5))
        at = facts.retry_at or (finished if replayed_at is None else replayed_at + waits)
    return chain


@given(chains())
def test_c_17_47_times_never_go_back_and_c_17_48_every_event_carries_its_attempt(chain: list[AttemptFacts]) -> None:
    events = history(AT, chain)
    assert events[0].type is TaskEventType.CREATED
    for number in range(len(chain)):
        mine = [event for event in events if event.retry_count == number and event.type is not TaskEventType.CREATED]
        assert [event.at for event in mine] == sorted(event.at for event in mine)
        first = [event.type for event in mine if event.type is not TaskEventType.RETRIED_BY_USER]
        assert first[0] is TaskEventType.QUEUED
        assert (mine[0].type is TaskEventType.RETRIED_BY_USER) == (chain[number].replayed_at is not None)
    assert [event.retry_count for event in events] == sorted(event.retry_count for event in events)
    assert names(events).count("QUEUED") == len(chain)


def test_d_24_8_an_eviction_and_the_restore_after_it_are_lines_of_the_same_retry() -> None:
    """D-5.7: the retry after them has the next number; D-17.9, D-18.2: reason and cause are told."""
    chain = [
        an_attempt(outcome=Outcome.EVICTED, finished_at=AT + 2, retry_at=math.inf, error="worker shutdown"),
        an_attempt(
            1,
            ready_at=AT + 5,
            restored_at=AT + 5,
            restore_cause="its sleep is over",
            assigned_at=AT + 6,
            outcome=Outcome.FAILED,
            finished_at=AT + 7,
            retry_at=AT + 7,
        ),
        an_attempt(2, ready_at=AT + 7, assigned_at=AT + 8, outcome=Outcome.EVICTED, finished_at=AT + 9),
        an_attempt(3, ready_at=None, assigned_at=None),
    ]
    events = history(AT, chain)
    life = ["QUEUED", "ASSIGNED", "SENT_TO_WORKER", "STARTED"]
    first, second = ["DURABLE_EVICTED", "DURABLE_RESTORING", *life, "FAILED", "RETRYING"], [*life, "DURABLE_EVICTED"]
    assert names(events) == ["CREATED", *life, *first, *second]
    assert [event.retry_count for event in events if event.type is TaskEventType.ASSIGNED] == [0, 0, 1]
    told = {event.message for event in events if event.type.value.startswith("DURABLE")}
    assert told == {"worker shutdown", "its sleep is over", "Task was paused and evicted from its worker"}
