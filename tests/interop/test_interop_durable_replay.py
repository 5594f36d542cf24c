"""Durable tasks that run again: replayed, reset to a node, with other steps than the first time."""

from __future__ import annotations

import re
from typing import Any

import pytest
from official_session import Session

pytestmark = pytest.mark.interop


def result_of(session: Session, name: str, run_id: str) -> Any:
    return session.client.ask("aio_result_of", name, run_id)


def test_d_22_1_a_replay_answers_from_the_log(session: Session) -> None:
    """The event is not pushed again, no child is spawned again (D-22.4), and the time stays the same (D-12.10)."""
    client = session.client
    run_id = client.ask("run_no_wait", "again", {"text": "again"})
    session.push_until_end(run_id, "again:again", {"n": 1})
    first = result_of(session, "again", run_id)
    assert first["event"] == {"n": 1}
    log = session.durable_log(run_id)
    assert [entry["kind"] for entry in log] == ["MEMO", "WAIT_FOR", "WAIT_FOR", "RUN", "RUN", "RUN"]
    client.ask("replay", run_id)
    assert result_of(session, "again", run_id) == first
    assert session.durable_log(run_id) == log
    lines = session.lines("again")
    # D-5.2, D-5.7
    assert [(line.pop("attempt"), line.pop("invocation")) for line in lines] == [(1, 1), (2, 2)]
    assert lines == [first, first]


def test_d_27_9_another_first_step_is_an_error_that_names_it(session: Session) -> None:
    """D-14.9; a task may catch it. D-14.7: the log stays as it was."""
    run_id = session.client.ask("run_no_wait", "changes_its_mind", {"text": "catches"})
    assert result_of(session, "changes_its_mind", run_id) == {"attempt": 1, "node": None}
    log = session.durable_log(run_id)
    session.client.ask("replay", run_id)
    result = result_of(session, "changes_its_mind", run_id)
    assert (result["attempt"], result["node"]) == (2, 1)
    assert re.search("[nN]on-determinism", result["text"])
    assert session.durable_log(run_id) == log


def test_d_14_8_nobody_catches_it_and_the_attempt_fails_with_both_steps(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "changes_its_mind", {"text": "fails"})
    result_of(session, "changes_its_mind", run_id)
    session.client.ask("replay", run_id)
    details = session.await_end(run_id)
    assert details["status"] == "FAILED"
    [task] = details["tasks"].values()
    assert re.search("[nN]on-determinism", task["error"])
    assert run_id in task["error"]
    assert "1:1" in task["error"]
    assert "sleep(1s)" in task["error"]
    assert "sleep(2s)" in task["error"]


def test_d_27_15_another_input_for_the_same_child_is_an_error(session: Session) -> None:
    """D-14.4; the run had two children before and has two children afterwards."""
    run_id = session.client.ask("run_no_wait", "other_child", {"text": "other"})
    details = session.await_end(run_id)
    assert details["status"] == "FAILED"
    [task] = details["tasks"].values()
    assert re.search("[nN]on-determinism", task["error"])
    assert [entry["kind"] for entry in session.durable_log(run_id)] == ["RUN", "RUN"]
    assert len(set(session.await_mark("other-1").split())) == 2
    assert not (session.marks / "other-2").exists()


def test_d_22_6_a_reset_does_again_what_is_at_or_behind_the_node(session: Session) -> None:
    """D-22.5: the answer has the new branch; D-6.10: a branch of a branch; D-22.8."""
    run_id = session.client.ask("run_no_wait", "in_steps", {"text": "steps"})
    first = result_of(session, "in_steps", run_id)
    answer = session.client.ask("reset", run_id, 2, 1)
    assert (answer["task_external_id"], answer["node_id"], answer["branch_id"]) == (run_id, 2, 2)
    second = result_of(session, "in_steps", run_id)
    assert second["first"] == first["first"]
    assert second["second"] != first["second"]
    assert second["child"] != first["child"]
    assert (second["attempt"], second["invocation"]) == (2, 2)
    answer = session.client.ask("reset", run_id, 4, 2)
    assert (answer["node_id"], answer["branch_id"]) == (4, 3)
    third = result_of(session, "in_steps", run_id)
    assert (third["first"], third["second"]) == (second["first"], second["second"])
    assert len({first["child"], second["child"], third["child"]}) == 3
    places = [(entry["branchId"], entry["nodeId"]) for entry in session.durable_log(run_id)]
    assert places == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 2), (2, 3), (2, 4), (3, 4)]


def test_d_22_10_a_reset_of_what_does_not_exist_is_refused(session: Session) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    # One client asks over REST, the other one over gRPC.
    assert re.search("404|NOT_FOUND", session.client.fails("reset", unknown, 1, 1).text)


def test_d_15_17_branches_take_the_same_turns_again(session: Session) -> None:
    """D-7.7: in the replay all is there at once, and still everybody comes in the recorded order."""
    run_id = session.client.ask("run_no_wait", "races", {"text": "races"})
    first = result_of(session, "races", run_id)
    for count in (2, 3):
        session.client.ask("replay", run_id)
        session.await_lines("races", count)
        assert result_of(session, "races", run_id) == first
    assert [line["order"] for line in session.lines("races")] == 3 * [first["order"]]
    assert session.client.ask("details", run_id)["status"] == "COMPLETED"


def test_d_9_7_a_sleep_keeps_its_end_through_cancel_and_replay(session: Session) -> None:
    """D-21.4, D-27.3."""
    client = session.client
    run_id = client.ask("run_no_wait", "long_sleeper", {"text": "long-sleeper"})
    session.await_details(run_id, lambda _: len(session.durable_log(run_id)) == 2, "it sleeps")
    client.ask("cancel", run_id)
    assert session.await_end(run_id)["status"] == "CANCELLED"
    before = session.durable_log(run_id)
    client.ask("replay", run_id)
    result = result_of(session, "long_sleeper", run_id)
    session.await_mark("long-sleeper-2")
    after = session.durable_log(run_id)
    assert [entry["insertedAt"] for entry in after[:2]] == [entry["insertedAt"] for entry in before]
    assert [entry["kind"] for entry in after] == ["MEMO", "WAIT_FOR", "MEMO"]
    assert result["took"] >= 3
