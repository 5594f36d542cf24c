"""Replay and bulk operations."""

from __future__ import annotations

from typing import Any

import pytest
from official_session import Session

pytestmark = pytest.mark.interop


def retry_counts(outputs: dict[str, Any]) -> dict[str, int]:
    return {name: output["retry_count"] for name, output in outputs.items()}


def test_c_7_14_a_result_asked_for_after_a_replay_is_the_new_one(session: Session) -> None:
    client = session.client
    session.mark("again-go")
    run_id = client.ask("run_no_wait", "chain", {"text": "again"})
    assert retry_counts(client.ask("aio_outputs_of", run_id)) == {"held": 0, "after_held": 0, "beside_held": 0}
    (session.marks / "again-go").unlink()
    client.ask("replay", run_id)
    session.await_mark("again-held-2")
    details = client.ask("details", run_id)
    assert (details["status"], details["done"]) == ("RUNNING", False)  # C-15.17
    session.mark("again-go")
    outputs = client.ask("aio_outputs_of", run_id)
    # C-15.9, C-15.12: all tasks of the run, each one attempt later, and the child sees its parent's new output.
    assert retry_counts(outputs) == {"held": 1, "after_held": 1, "beside_held": 1}
    assert outputs["after_held"]["after"] == 1


def test_c_15_22_replaying_a_middle_task_leaves_what_is_above_it(session: Session) -> None:
    client = session.client
    run_id = client.ask("run_no_wait", "line", {"n": 5})
    client.ask("aio_outputs_of", run_id)
    client.ask("replay", client.ask("details", run_id)["tasks"]["middle"]["external_id"])
    session.await_details(run_id, lambda found: (found["tasks"]["tail"]["output"] or {}).get("retry_count"), "replayed")
    assert client.ask("aio_outputs_of", run_id) == {
        "head": {"n": 5, "retry_count": 0},
        "middle": {"head": 0, "retry_count": 1},
        "tail": {"middle": 1, "retry_count": 1},
    }


def test_c_8_21_a_task_cancelled_in_the_first_pass_runs_in_the_second(session: Session) -> None:
    client = session.client
    run_id = client.ask("run_no_wait", "second_time", {"n": 5})
    client.ask("aio_outputs_of", run_id)
    assert client.ask("details", run_id)["status"] == "CANCELLED"
    client.ask("replay", run_id)
    session.await_details(run_id, lambda found: found["status"] == "COMPLETED", "the second pass completes")
    assert client.ask("aio_outputs_of", run_id) == {
        "counts": {"retry_count": 1},
        "runs_when_replayed": {"n": 5, "parent": 1},
        "below_it": {"n": 5},
    }


def test_c_15_19_a_replayed_parent_gets_its_children_of_the_first_pass(session: Session) -> None:
    client = session.client
    run_id = client.ask("run_no_wait", "by_index", {"n": 0})
    first = client.ask("aio_result_of", "by_index", run_id)
    client.ask("replay", run_id)
    session.await_details(run_id, lambda found: found["done"], "the second pass is over")
    assert client.ask("aio_result_of", "by_index", run_id) == first
    assert "RETRIED_BY_USER" in session.task_events(run_id)  # C-5.49


def test_c_15_20_failed_runs_are_replayed_by_a_filter(session: Session) -> None:
    """30 runs that fail the first time, beside one of another group that stays as it is."""
    client = session.client
    runs = client.ask("run_many_no_wait", "second_chance", list(range(30)), {"group": "replayed"})
    [other] = client.ask("run_many_no_wait", "second_chance", [99], {"group": "left alone"})
    for run_id in (*runs, other):
        session.await_details(run_id, lambda found: found["status"] == "FAILED", "the first pass fails")
    client.ask("bulk", "replay", {"group": "replayed"})
    for n, run_id in enumerate(runs):
        details = session.await_details(
            run_id, lambda found: found["status"] == "COMPLETED", "the second one completes"
        )
        tasks = details["tasks"]
        assert tasks["succeeds_when_replayed"]["output"] == {"n": n, "attempt": 2}
        assert tasks["mourns-on-failure"]["output"] == {"skipped": True}  # C-15.15
    assert client.ask("details", other)["status"] == "FAILED"


def test_c_15_5_running_runs_are_cancelled_by_a_filter(session: Session) -> None:
    """Runs that wait for a mark which nobody leaves."""
    client = session.client
    runs = client.ask("run_many_no_wait", "waits_for_mark", list(range(10)), {"group": "cancelled"})
    [other] = client.ask("run_many_no_wait", "waits_for_mark", [99], {"group": "kept"})
    client.ask("bulk", "cancel", {"group": "cancelled"})
    for run_id in runs:
        assert session.await_end(run_id)["status"] == "CANCELLED"
    assert client.ask("details", other)["status"] in ("QUEUED", "RUNNING")
    client.ask("cancel", other)
    session.await_end(other)
