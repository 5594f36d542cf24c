"""Tasks that wait, are skipped or are cancelled by conditions."""

from __future__ import annotations

from typing import Any

import pytest
from official_session import Session

pytestmark = pytest.mark.interop

SKIPPED = {"skipped": True}


def outputs(details: dict[str, Any]) -> dict[str, Any]:
    return {name: task["output"] for name, task in details["tasks"].items()}


def is_cancelled(details: dict[str, Any], *names: str) -> bool:
    return details["status"] == "CANCELLED" and all(details["tasks"][name]["status"] == "CANCELLED" for name in names)


# --- sleeps and events -----------------------------------------------------------------------------------------------


def test_c_8_8_a_sleep_counts_from_the_end_of_the_parent(session: Session) -> None:
    result = session.client.ask("aio_run", "sleeps", {"text": "s"}, {})
    assert 1.0 <= result["waiter"]["waited"] < 4
    assert result["waiter"]["triggers"] == {"sleep:1s": {"sleep_duration": "1s"}}  # C-5.13


def test_c_8_10_an_event_skips_a_sleeping_task(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "skipped_by_event", {"text": "e"})
    details = session.push_until_end(run_id, "skipped-by-event", {})
    assert details["status"] == "COMPLETED"
    assert outputs(details)["waiter"] == SKIPPED
    assert outputs(details)["below"] == SKIPPED  # C-6.16: its only parent was skipped


def test_c_8_11_a_sleep_skips_a_task_whose_event_does_not_come(session: Session) -> None:
    result = session.client.ask("aio_run", "skipped_by_sleep", {"text": "s"}, {})
    assert result["waiter"] == SKIPPED


def test_c_8_11_an_event_in_time_lets_the_task_run(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "skipped_by_sleep", {"text": "e"})
    details = session.push_until_end(run_id, "skipped-by-sleep", {"in": "time"})
    waiter = outputs(details)["waiter"]
    assert waiter["triggers"] == {"skipped-by-sleep": {"in": "time"}}
    assert outputs(details)["below"] == {"skipped": False, "parent_skipped": False}


def test_c_8_12_an_event_cancels_a_sleeping_task(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "cancelled_by_event", {"text": "e"})
    details = session.push_until_end(run_id, "cancelled-by-event", {})
    assert is_cancelled(details, "waiter", "below")
    assert list(session.client.ask("aio_outputs_of", run_id)) == ["begin"]


@pytest.mark.parametrize("name", ["cancelled_by_sleep", "cancelled_by_either"])
def test_c_8_12_a_sleep_cancels_a_task(session: Session, name: str) -> None:
    run_id = session.client.ask("run_no_wait", name, {"text": "s"})
    assert is_cancelled(session.await_end(run_id), "waiter", "below")


def test_c_8_13_an_event_of_an_or_group_starts_the_task(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "either", {"text": "e"})
    details = session.push_until_end(run_id, "either", {"by": "event"})
    assert outputs(details)["waiter"]["triggers"] == {"either": {"by": "event"}}


def test_c_8_14_every_group_needs_one_member(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "two_groups", {"text": "e"})
    details = session.push_until_end(run_id, "two-groups", {"by": "event"})
    waiter = outputs(details)["waiter"]
    assert waiter["waited"] >= 1.0
    assert waiter["triggers"] == {"sleep:1s": {"sleep_duration": "1s"}, "two-groups": {"by": "event"}}


def test_c_8_23_scope_and_expression_choose_the_event(session: Session) -> None:
    """C-8.24: the expression sees the payload as ``input``; one that cannot be evaluated is just not satisfied."""
    client = session.client
    run_id = client.ask("run_no_wait", "choosy", {"text": "e"})
    session.await_details(run_id, lambda found: found["tasks"]["begin"]["status"] == "COMPLETED", "the parent is over")

    for _ in range(5):
        client.ask("push", "choosy", {"n": 9}, {"scope": "wrong"})
        client.ask("push", "choosy", {"n": 9})
        client.ask("push", "choosy", {"n": 1}, {"scope": "right"})
        client.ask("push", "choosy", {"other": 9}, {"scope": "right"})
    # A task is there as soon as its conditions are decided (C-6.13), so this one is not.
    assert list(client.ask("details", run_id)["tasks"]) == ["begin"]
    details = session.push_until_end(run_id, "choosy", {"n": 7}, scope="right")
    assert outputs(details)["waiter"]["triggers"] == {"why": {"n": 7}}


def test_c_5_14_a_task_without_parents_waits_and_gets_the_data(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "rooted", {"text": "r"})
    details = session.push_until_end(run_id, "rooted", {"at": "the root"})
    assert outputs(details) == {"root": {"triggers": {"rooted": {"at": "the root"}}}, "other_root": {"text": "r"}}


# --- parents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "taken"), [(3, "low"), (9, "high")])
def test_c_8_19_exactly_one_of_two_branches_is_skipped(session: Session, n: int, taken: str) -> None:
    result = session.client.ask("aio_run", "branches", {"n": n}, {})
    skipped = {"low": "high", "high": "low"}[taken]
    assert result[taken] == {"was": taken}
    assert result[skipped] == SKIPPED
    assert result["below_low"] == ({"below": "low"} if taken == "low" else SKIPPED)
    assert result["meet"] == {"low_skipped": taken == "high", "high_skipped": taken == "low"}  # C-5.8, C-6.16
    assert result["never"] == SKIPPED  # one member of its or-group is true


def test_c_8_20_the_output_of_a_parent_cancels_a_task_and_those_below(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "second_time", {"n": 5})
    assert session.client.ask("aio_outputs_of", run_id) == {"counts": {"retry_count": 0}}
    assert is_cancelled(session.client.ask("details", run_id), "runs_when_replayed", "below_it")
