"""Runs that durable tasks spawn: an entry of the log each."""

from __future__ import annotations

from typing import Any

import pytest
from official_session import Session

pytestmark = pytest.mark.interop


def ids(children: list[dict[str, Any]]) -> list[str]:
    return [child["run_id"] for child in children]


def spawned(session: Session, task_id: str) -> list[dict[str, Any]]:
    """The log's entries of children."""
    return [entry for entry in session.durable_log(task_id) if entry["kind"] == "RUN"]


def test_d_27_5_children_in_bulk_come_back_in_order(session: Session) -> None:
    """D-13.2: they know their parent; D-13.3: indexes count on; D-13.12: the raw output of a task."""
    run_id = session.client.ask("run_no_wait", "durable_parent", {"n": 10})
    result = session.client.ask("aio_result_of", "durable_parent", run_id)
    children = [result["one"], *result["many"]]
    assert [child["n"] for child in children] == list(range(-1, 10))
    assert [child["index"] for child in children] == list(range(11))
    assert {child["parent"] for child in children} == {run_id} == {result["task"]}
    log = spawned(session, run_id)
    assert [entry["nodeId"] for entry in log] == list(range(1, 12))
    assert all(entry["isSatisfied"] for entry in log)
    assert log[0]["waitData"] == [{"kind": "CHILD_WORKFLOW", "workflowName": "child"}]


def test_d_4_6_many_children_come_in_several_requests(session: Session) -> None:
    """250 of them: three requests, whose children come back in the caller's order."""
    run_id = session.client.ask("run_no_wait", "durable_parent", {"n": 250})
    result = session.client.ask("aio_result_of", "durable_parent", run_id)
    assert [child["n"] for child in result["many"]] == list(range(250))
    assert len(set(ids(result["many"]))) == 250
    assert len(spawned(session, run_id)) == 251


def test_d_13_7_one_key_is_one_child(session: Session) -> None:
    """D-13.6: the first input counts; D-27.16; D-29.4: an entry for each child and no more."""
    run_id = session.client.ask("run_no_wait", "durable_keyed", {"n": 0})
    result = session.client.ask("aio_result_of", "durable_keyed", run_id)
    a, b, a_again = ids(result["single"])
    assert a == a_again != b
    assert [child["n"] for child in result["single"]] == [0, 1, 0]
    c, c_again, d, a_in_bulk = ids(result["bulk"])
    assert (c, a) == (c_again, a_in_bulk)
    assert [child["n"] for child in result["bulk"]] == [0, 0, 2, 0]
    assert len({a, b, c, d}) == 4 == len(spawned(session, run_id))


def test_d_13_18_the_failure_of_a_child_is_an_exception(session: Session) -> None:
    """D-13.14: with what its worker said. Among others it stands in its place."""
    result = session.client.ask("aio_run", "durable_tolerant", {"n": 4}, {})
    [caught] = result["caught"]
    assert "odd" in caught["text"]
    odd = caught["type"]
    assert result["results"] == [{"n": 0}, odd, {"n": 2}, odd]


def test_d_13_18_a_failure_that_nobody_catches_fails_the_parent(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "durable_intolerant", {"n": 1})
    details = session.await_end(run_id)
    assert details["status"] == "FAILED"
    [task] = details["tasks"].values()
    assert "odd" in task["error"]


def test_d_13_15_a_cancelled_child_is_an_exception(session: Session) -> None:
    client = session.client
    run_id = client.ask("run_no_wait", "durable_bereft", {"text": "bereft"})
    client.ask("cancel", session.await_mark("bereft-run"))
    # Ours raises what it raises for every cancelled run, and the text names the run.
    assert "was cancelled" in client.ask("aio_result_of", "durable_bereft", run_id)["text"]
    assert client.ask("details", run_id)["status"] == "COMPLETED"


def test_d_13_20_a_child_that_nobody_waits_for_blocks_nothing(session: Session) -> None:
    """D-15.16."""
    run_id = session.client.ask("run_no_wait", "durable_forgetful", {"text": "f"})
    result = session.client.ask("aio_result_of", "durable_forgetful", run_id)
    assert (result["slept"], result["waited"], result["later"]["n"]) == (1.0, 4, 1)
    assert result["spawned"][0] == result["later"]["run_id"]
    assert len(set(result["spawned"])) == 3
    assert [entry["kind"] for entry in session.durable_log(run_id)] == ["RUN", "RUN", "RUN", "WAIT_FOR", "RUN"]
    # Each of the others was one run, too, and completes.
    for child in result["spawned"][1:]:
        assert session.await_end(child)["status"] == "COMPLETED"


def test_d_13_10_children_may_be_workflows_and_durable_tasks(session: Session) -> None:
    """D-13.12: of a workflow the outputs of its steps; D-27.8."""
    result = session.client.ask("aio_run", "durable_nested", {"n": 4}, {})
    assert result["workflow"]["join"] == {"n": 4, "grandparent": 8, "sum": 19}
    assert set(result["workflow"]) > {"join"}
    assert [child["n"] for child in result["durable"]["many"]] == [0, 1]
    assert result["others"] == [0, 1, 2]


def test_d_23_3_children_of_a_durable_step_are_those_of_the_step(session: Session) -> None:
    """D-27.17: their indexes are also those of the workflow's own tasks."""
    run_id = session.client.ask("run_no_wait", "durable_family", {"n": 5})
    details = session.await_end(run_id)
    assert details["status"] == "COMPLETED"
    step = details["tasks"]["spawning_step"]
    assert step["output"]["task"] == step["external_id"]
    assert step["output"]["above"] == {"n": 5}
    children = step["output"]["children"]
    assert [(child["n"], child["index"]) for child in children] == [(0, 0), (1, 1), (2, 2)]
    assert {child["parent"] for child in children} == {step["external_id"]}
    assert {child["metadata"]["hatchet__parent_step_run_id"] for child in children} == {step["external_id"]}
    own = {task["external_id"] for task in details["tasks"].values()}
    assert len({*ids(children), *own, run_id}) == 6
    assert len(spawned(session, step["external_id"])) == 3
