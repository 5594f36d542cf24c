"""Runs that tasks spawn: keys, indices, retries, metadata."""

from __future__ import annotations

from typing import Any

import pytest
from official_session import Session

pytestmark = pytest.mark.interop

PARENT_RUN, PARENT_TASK = "hatchet__parent_workflow_run_id", "hatchet__parent_step_run_id"


def ids(children: list[dict[str, Any]]) -> list[str]:
    return [child["run_id"] for child in children]


def test_c_4_18_one_key_is_one_child(session: Session) -> None:
    result = session.client.ask("aio_run", "by_key", {"n": 0}, {})
    a, a_again, b = ids(result["single"])
    assert a == a_again != b
    # C-4.13: the result is that of the first spawn, whatever the second one's input.
    assert [child["n"] for child in result["single"]] == [0, 0, 2]
    # C-4.17: items of one request are deduplicated against each other and against what was spawned before.
    c, c_again, d, a_in_bulk = ids(result["bulk"])
    assert c == c_again
    assert a_in_bulk == a
    assert len({a, b, c, d}) == 4
    assert [child["n"] for child in result["bulk"]] == [0, 0, 2, 0]


def test_c_4_15_single_and_bulk_spawns_are_distinct_children(session: Session) -> None:
    result = session.client.ask("aio_run", "by_index", {"n": 0}, {})
    children = result["children"]
    assert [child["n"] for child in children] == list(range(5))
    assert [child["index"] for child in children] == list(range(5))
    assert len(set(ids(children))) == 5
    assert {child["parent"] for child in children} == {result["task"]}  # C-4.12


def test_c_4_14_a_retried_parent_gets_the_same_children(session: Session) -> None:
    """The first attempt spawned three and ran into its timeout; the second one's input for the first child differs."""
    result = session.client.ask("aio_run", "spawns_again", {"text": "spawns"}, {})
    assert result["attempt"] == 2
    assert result["child"]["n"] == 0
    assert session.await_mark("spawns-1").split() == result["ids"]
    assert session.await_mark("spawns-2").split() == result["ids"]


def test_c_4_16_children_of_two_tasks_of_one_run_are_different(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "family", {"n": 4})
    result = session.client.ask("aio_outputs_of", run_id)
    elder, younger = result["elder"], result["younger"]
    assert [child["n"] for child in elder["children"]] == [0, 1, 2]
    assert [child["n"] for child in younger["children"]] == [10]
    tasks = {task["external_id"] for task in session.client.ask("details", run_id)["tasks"].values()}
    assert len({*ids(elder["children"]), *ids(younger["children"]), *tasks}) == 4 + 3
    for spawner in (elder, younger):
        for child in spawner["children"]:
            assert (child["metadata"][PARENT_TASK], child["metadata"][PARENT_RUN]) == (spawner["task"], run_id)
    # A child may be a workflow.
    assert result["whole"]["diamond"]["join"] == {"n": 4, "grandparent": 8, "sum": 19}


def test_c_7_22_a_parent_gets_failures_of_children_in_their_places(session: Session) -> None:
    result = session.client.ask("aio_run", "tolerant", {"n": 4}, {})
    failed = "FailedTaskRunExceptionGroup"
    assert result["results"] == [{"n": 0}, failed, {"n": 2}, failed]


def test_c_4_22_children_inherit_metadata_but_not_what_is_reserved(session: Session) -> None:
    """What tasks read in their contexts (C-4.27); reserved keys are those of C-4.21."""
    options = {"additional_metadata": {"test_run_id": "t-1", "who": "me", "hatchet__mine": "x"}}
    result = session.client.ask("aio_run", "grandparent", {"n": 1}, options)
    middle = result["middle"]
    youngest = middle["youngest"]
    assert result["metadata"].items() >= {"test_run_id": "t-1", "who": "me"}.items()
    assert middle["metadata"] == {
        "test_run_id": "t-1",  # C-4.23
        "who": "me",
        "own": "middle",
        PARENT_RUN: result["task"],
        PARENT_TASK: result["task"],
    }
    # The child's own keys win, and its ids are those of its parent, not of its grandparent.
    assert youngest["metadata"] == {
        "test_run_id": "t-1",
        "who": "youngest",
        "own": "middle",
        PARENT_RUN: middle["task"],
        PARENT_TASK: middle["task"],
    }


def test_c_4_19_cancelling_a_parent_leaves_its_child_alone(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "leaves_child", {"text": "left"})
    child_id = session.await_mark("left-child")
    session.client.ask("cancel", run_id)
    assert session.await_end(run_id)["status"] == "CANCELLED"
    assert session.client.ask("details", child_id)["status"] in ("QUEUED", "RUNNING")
    session.mark("left-go")
    assert session.client.ask("aio_result_of", "waits_for_mark", child_id) == {"text": "left"}
