"""Durable tasks that wait: sleeps, events, groups, several waits at once."""

from __future__ import annotations

from typing import Any

import pytest
from official_session import Session

pytestmark = pytest.mark.interop


def kinds(session: Session, task_id: str) -> list[tuple[int, int, str, bool]]:
    """Branch, node, kind of each entry, and whether it is satisfied."""
    return [
        (entry["branchId"], entry["nodeId"], entry["kind"], entry["isSatisfied"])
        for entry in session.durable_log(task_id)
    ]


def test_d_9_6_a_sleep_reports_how_long_it_was_told_to_last(session: Session) -> None:
    """D-27.2: sleeps one after the other add up; D-27.1."""
    run_id = session.client.ask("run_no_wait", "durable_sleeper", {"text": "sleeper"})
    result = session.client.ask("aio_result_of", "durable_sleeper", run_id)
    assert result.pop("waited") >= 2.0
    assert result == {"durations": [1.0, 1.0], "invocation": 1, "attempt": 1}
    assert session.lines("sleeper") == [{"at": at, "invocation": 1} for at in range(3)]
    assert kinds(session, run_id) == [(1, 1, "WAIT_FOR", True), (1, 2, "WAIT_FOR", True)]
    first = session.durable_log(run_id)[0]
    assert first["waitData"] == [{"kind": "SLEEP", "sleepDurationMs": 1000}]  # D-25.3
    assert first["taskExternalId"] == run_id
    assert set(session.task_events(run_id)) >= {"QUEUED", "ASSIGNED", "SENT_TO_WORKER", "STARTED", "FINISHED"}  # D-24.8


def test_d_6_6_a_sleep_until_a_time_asks_for_the_time_first(session: Session) -> None:
    """D-9.5: a sleep until a time that has passed is over at once."""
    run_id = session.client.ask("run_no_wait", "durable_until", {"text": "until"})
    result = session.client.ask("aio_result_of", "durable_until", run_id)
    assert 1.0 <= result["slept"] <= 2.5
    assert result["past"] <= 0
    log = [kind for _, _, kind, _ in kinds(session, run_id)]
    assert log == ["MEMO", "MEMO", "WAIT_FOR", "MEMO", "WAIT_FOR"]


def test_d_10_8_an_event_ends_a_wait_and_is_its_result(session: Session) -> None:
    """D-10.2: an expression chooses; D-10.4: so does a scope."""
    client = session.client
    run_id = client.ask("run_no_wait", "durable_listener", {"text": "listener"})

    def push(suffix: str, payload: dict[str, Any], **options: Any) -> None:
        client.ask("push", f"durable:listener{suffix}", payload, options)

    def await_entries(count: int) -> None:
        session.await_details(run_id, lambda _: len(session.durable_log(run_id)) >= count, f"{count} entries")

    await_entries(1)
    push("", {"a": [1, "zwei", None]})
    await_entries(2)
    push(":chosen", {"n": 5})
    push(":chosen", {"other": 9})  # D-10.3
    push(":chosen", {"n": 6})
    await_entries(3)
    push(":scoped", {"scope": "other"}, scope="other")
    push(":scoped", {"scope": None})
    push(":scoped", {"scope": "right"}, scope="right")
    assert client.ask("aio_result_of", "durable_listener", run_id) == {
        "plain": {"a": [1, "zwei", None]},
        "chosen": {"n": 6},
        "scoped": {"CREATE": {"why": [{"scope": "right"}]}},  # D-11.1
    }


def test_d_10_9_a_wait_looks_back(session: Session) -> None:
    """D-27.12: the second wait's event comes first; D-10.12: a group looks back, too."""
    client = session.client
    for number in (3, 2):
        client.ask("push", f"back:back:{number}", {"scope": "other"}, {"scope": "other"})  # D-27.13
        client.ask("push", f"back:back:{number}", {"number": number}, {"scope": "back"})
    run_id = client.ask("run_no_wait", "durable_looks_back", {"text": "back"})
    session.await_details(run_id, lambda _: len(session.durable_log(run_id)) >= 2, "it waits for the first event")
    client.ask("push", "back:back:1", {"number": 1}, {"scope": "back"})
    assert client.ask("aio_result_of", "durable_looks_back", run_id) == {
        "first": {"number": 1},
        "second": {"number": 2},
        "either": {"CREATE": {"back:back:3": [{"number": 3}]}},
    }


def test_d_11_3_only_the_winner_of_a_group_is_in_the_result(session: Session) -> None:
    """D-11.2: conditions beside each other are all there; D-11.7; D-8.7: an event counts for one wait."""
    client = session.client
    run_id = client.ask("run_no_wait", "durable_first_of", {"text": "g"})
    session.push_until_end(run_id, "first-of:g", {"by": "event"})
    slept = {"sleep:1s": [{"sleep_duration": "1s"}]}
    event = {"first-of:g": [{"by": "event"}]}
    assert client.ask("aio_result_of", "durable_first_of", run_id) == {
        "by_sleep": {"CREATE": slept},
        "by_event": {"CREATE": event},
        "several": {"CREATE": {**slept, **event, "own": [{"sleep_duration": "2s"}]}},
    }
    data = [each["waitData"] for each in session.durable_log(run_id)]
    assert data[0] == [
        {"or": [{"kind": "SLEEP", "sleepDurationMs": 1000}, {"kind": "USER_EVENT", "eventKey": "never"}]}
    ]
    assert len(data[2]) == 3


def test_d_28_7_waits_at_once_end_in_the_order_in_which_they_are_over(session: Session) -> None:
    client = session.client
    run_id = client.ask("run_no_wait", "durable_together", {"text": "t"})
    session.await_details(run_id, lambda _: len(session.durable_log(run_id)) == 3, "it waits for all three")
    session.await_details(run_id, lambda _: all(is_over(session, run_id, node) for node in (1, 3)), "two are over")
    client.ask("push", "together:t", {"n": 1})
    result = client.ask("aio_result_of", "durable_together", run_id)
    assert result.pop("waited") >= 2
    assert result == {"order": ["one", "two", "event"], "event": {"n": 1}, "durations": [1.0, 2.0]}


def is_over(session: Session, run_id: str, node: int) -> bool:
    return any(entry["nodeId"] == node and entry["isSatisfied"] for entry in session.durable_log(run_id))


def test_d_20_4_a_retry_goes_on_where_the_log_ends(session: Session) -> None:
    """D-5.2: each attempt is an invocation; D-12.10: the time that it saw is the same."""
    run_id = session.client.ask("run_no_wait", "durable_flaky", {"text": "flaky"})
    now = session.client.ask("aio_result_of", "durable_flaky", run_id)["now"]
    assert session.lines("flaky") == [{"now": now, "attempt": n, "invocation": n} for n in (1, 2, 3)]
    assert kinds(session, run_id) == [(1, 1, "MEMO", True), (1, 2, "WAIT_FOR", True)]


def test_d_21_1_a_waiting_task_is_cancelled(session: Session) -> None:
    client = session.client
    run_id = client.ask("run_no_wait", "durable_hangs", {"text": "hangs"})
    session.await_details(run_id, lambda _: session.durable_log(run_id), "it waits")
    client.ask("cancel", run_id)
    assert session.await_end(run_id)["status"] == "CANCELLED"
    session.await_mark("hangs-cancelled")
    # D-21.3: its wait is over, too.
    client.ask("push", "hangs:hangs", {})
    assert session.client.ask("details", run_id)["status"] == "CANCELLED"
    assert not (session.marks / "hangs-went-on").exists()


def test_d_23_1_a_durable_step_of_a_workflow(session: Session) -> None:
    """D-23.2: the log is that of the step's task."""
    client = session.client
    run_id = client.ask("run_no_wait", "durable_steps", {"text": "s"})
    details = session.push_until_end(run_id, "steps:s", {"n": 1})
    tasks = details["tasks"]
    step = tasks["waiting"]["external_id"]
    assert tasks["waiting"]["output"] == {"above": {"text": "s"}, "event": {"n": 1}, "task": step}
    assert tasks["after"]["output"] == {"event": {"n": 1}}
    assert kinds(session, step) == [(1, 1, "WAIT_FOR", True), (1, 2, "WAIT_FOR", True)]


def test_d_28_8_a_durable_task_without_a_durable_operation(session: Session) -> None:
    assert session.client.ask("aio_run", "durable_idle", {"n": 7}, {}) == {"n": 7, "invocation": 1}
