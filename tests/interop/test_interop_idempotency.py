"""Idempotency keys: which errors a client makes of collisions."""

from __future__ import annotations

import time

import pytest
from official_session import ClientError, Session

from support.program import wait_until

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("call", ["run", "aio_run"])
def test_c_4_42_a_collision_names_the_run_that_exists(session: Session, call: str) -> None:
    text = f"collides-{call}"
    first = session.client.ask("run_no_wait", "one_at_a_time", {"text": text})
    error = session.client.fails(call, "one_at_a_time", {"text": text}, {})
    # C-4.49, C-4.50: any other text or trailer would have become another error. C-4.47: the id is the first trigger's.
    assert error.type == "IdempotencyCollisionError"
    assert error.fields["existing_run_external_id"] == first
    session.mark(f"{text}-go")
    assert session.client.ask("aio_result_of", "one_at_a_time", first) == {"attempt": 1}
    # C-4.37: free as soon as the run is over.
    assert session.client.ask("aio_run", "one_at_a_time", {"text": text}, {}) == {"attempt": 1}


def test_c_4_37_the_key_of_a_cancelled_run_is_free(session: Session) -> None:
    first = session.client.ask("run_no_wait", "one_at_a_time", {"text": "dropped"})
    session.client.ask("cancel", first)
    session.await_end(first)
    session.mark("dropped-go")
    assert session.client.ask("aio_run", "one_at_a_time", {"text": "dropped"}, {}) == {"attempt": 1}


def test_c_4_38_the_key_is_held_through_a_retry_and_its_wait(session: Session) -> None:
    first = session.client.ask("run_no_wait", "one_at_a_time", {"text": "retry"})
    session.await_mark("retry-failed")
    assert session.client.fails("aio_run", "one_at_a_time", {"text": "retry"}, {}).type == "IdempotencyCollisionError"
    session.mark("retry-go")
    assert session.client.ask("aio_result_of", "one_at_a_time", first) == {"attempt": 2}


def test_c_4_36_the_key_outlives_the_run_until_its_time_is_over(session: Session) -> None:
    began = time.monotonic()
    assert session.client.ask("aio_run", "once_in_three_seconds", {"text": "ttl"}, {}) == {"text": "ttl"}
    error = session.client.fails("aio_run", "once_in_three_seconds", {"text": "ttl"}, {})
    assert error.type == "IdempotencyCollisionError"

    def is_free() -> bool:
        try:
            session.client.ask("run_no_wait", "once_in_three_seconds", {"text": "ttl"})
        except ClientError as refused:
            if refused.type != "IdempotencyCollisionError":
                raise
            return False
        return True

    wait_until(is_free, "the key is free again")
    assert time.monotonic() - began >= 3


def test_c_4_46_a_bulk_creates_the_first_of_each_key(session: Session) -> None:
    texts = ["bulk-1", "bulk-1", "bulk-2", "bulk-1"]
    for text in set(texts):
        session.mark(f"{text}-go")
    error = session.client.fails("run_many_texts", "one_at_a_time", texts)
    # C-4.45: what was created, and what stood in the way of the others.
    assert error.type == "BulkTriggerIdempotencyCollisionError"
    one, two = error.fields["successful_workflow_run_external_ids"]
    collisions = error.fields["collisions"]
    assert [each["existing_run_external_id"] for each in collisions] == [one, one]
    assert [session.client.ask("aio_result_of", "one_at_a_time", run_id) for run_id in (one, two)] == [
        {"attempt": 1},
        {"attempt": 1},
    ]


def test_c_4_39_a_workflow_holds_its_key_until_all_its_tasks_are_over(session: Session) -> None:
    first = session.client.ask("run_no_wait", "claims", {"text": "claims"})
    session.await_details(first, lambda found: found["tasks"]["quick"]["status"] == "COMPLETED", "one task is over")
    assert session.client.fails("aio_run", "claims", {"text": "claims"}, {}).type == "IdempotencyCollisionError"
    session.mark("claims-go")
    session.client.ask("aio_outputs_of", first)
    assert session.client.ask("aio_run", "claims", {"text": "claims"}, {})["quick"] == {"quick": "claims"}
