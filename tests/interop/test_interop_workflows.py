"""Workflows of several tasks: results, failures, retries, cancellation, placement."""

from __future__ import annotations

from typing import Any

import pytest
from official_session import Session

pytestmark = pytest.mark.interop

DIAMOND = {"start": {"doubled": 6}, "left": {"left": 7}, "right": {"right": 8}}


def statuses(details: dict[str, Any]) -> dict[str, str]:
    return {name: task["status"] for name, task in details["tasks"].items()}


# --- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["run", "aio_run"])
def test_c_6_14_a_diamond_runs_in_order_and_returns_all_outputs(session: Session, call: str) -> None:
    join = {"n": 3, "grandparent": 6, "sum": 15}  # C-5.7: outputs of all ancestors are there
    assert session.client.ask(call, "diamond", {"n": 3}, {}) == {**DIAMOND, "join": join}


def test_c_5_10_ten_runs_at_once_see_their_own_inputs_and_parents(session: Session) -> None:
    results = session.client.ask("aio_gather", "diamond", list(range(10)))
    assert [each["join"] for each in results] == [{"n": n, "grandparent": 2 * n, "sum": 4 * n + 3} for n in range(10)]


def test_c_7_15_a_task_without_output_is_left_out_when_awaited_and_none_when_polled(session: Session) -> None:
    speaks = {"said": "something"}
    assert session.client.ask("aio_run", "quiet", {}, {}) == {"speaks": speaks}
    assert session.client.ask("run", "quiet", {}, {}) == {"silent": None, "speaks": speaks}


def test_c_3_4_a_large_workflow_runs_layer_by_layer(session: Session) -> None:
    """48 tasks in six layers, each with all eight tasks of the layer above as parents."""
    result = session.client.ask("aio_run", "large", {"n": 1}, {})
    expected = 1
    for layer in range(6):
        # The client writes names of tasks in lower case (C-3.3).
        assert [result[f"task-{layer}-{place}"] for place in range(8)] == [{"value": expected}] * 8
        expected = 8 * expected + 1
    assert len(result) == 48


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["run", "aio_run"])
def test_c_7_19_two_failing_tasks_are_a_group_of_two(session: Session, call: str) -> None:
    error = session.client.fails(call, "two_failures", {}, {})
    assert error.type == "FailedTaskRunExceptionGroup"
    assert error.text.startswith("Workflow run ")
    assert error.failures == {"ValueError": "first: broke", "RuntimeError": "second broke"}


def test_c_7_22_exceptions_of_workflows_are_returned_in_order(session: Session) -> None:
    results = session.client.ask("aio_run_many", "judged", list(range(10)), {"return_exceptions": True})
    assert results[1::2] == [{"judge": {"odd": n}, "bystander": {"n": n}} for n in range(1, 10, 2)]
    assert [each["members"][0]["exc"] for each in results[0::2]] == [f"{n} is even" for n in range(0, 10, 2)]


def test_c_6_47_the_on_failure_task_runs_and_reads_the_error(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "rescued", {"n": 0})
    error = session.client.fails("aio_outputs_of", run_id)
    assert error.failures == {"KeyError": "'no zero: please'"}
    # C-7.3: the result came when the on-failure task had ended.
    details = session.client.ask("details", run_id)
    assert (details["status"], details["done"]) == ("FAILED", True)
    assert statuses(details) == {
        "works": "COMPLETED",
        "breaks": "FAILED",
        "celebrate-on-success": "CANCELLED",
        "rescue-on-failure": "COMPLETED",
    }
    # C-6.46, C-5.15, C-5.16: it has the outputs of what completed, and the errors by task.
    rescue = details["tasks"]["rescue-on-failure"]["output"]
    assert rescue == {"failed": ["breaks"], "error": ["KeyError", "'no zero: please'"], "worked": 0}


def test_c_6_45_without_a_failure_the_on_failure_task_is_skipped(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "rescued", {"n": 5})
    outputs = session.client.ask("aio_outputs_of", run_id)
    assert outputs == {
        "works": {"worked": 5},
        "breaks": {"held": 5},
        "celebrate-on-success": {"celebrated": 5},  # C-6.48
        "rescue-on-failure": {"skipped": True},  # C-7.13
    }
    assert session.client.ask("details", run_id)["status"] == "COMPLETED"  # C-6.9


def test_c_6_10_a_run_goes_on_beside_failed_and_cancelled_tasks(session: Session) -> None:
    """Six tasks: one fails at once, one cancels itself, one is held until we say so."""
    run_id = session.client.ask("run_no_wait", "mixed", {"text": "mixed"})
    over = {"fails": "FAILED", "cancels": "CANCELLED", "fine": "COMPLETED"}
    details = session.await_details(
        run_id, lambda found: over.items() <= statuses(found).items(), "three tasks of the run are over"
    )
    assert (details["status"], details["done"]) == ("RUNNING", False)
    session.mark("mixed-go")
    assert session.client.fails("aio_outputs_of", run_id).failures == {"ValueError": "at once"}
    details = session.client.ask("details", run_id)
    assert (details["status"], details["done"]) == ("FAILED", True)
    # C-6.15, C-6.17: below the failed task all is cancelled, elsewhere all is done.
    below = {"below_fails": "CANCELLED", "slow": "COMPLETED", "below_slow": "COMPLETED"}
    assert statuses(details) == {**over, **below}


# --- retries ---------------------------------------------------------------------------------------------------------


def test_c_6_18_children_wait_for_the_retry_of_their_parent(session: Session) -> None:
    result = session.client.ask("aio_run", "unsteady", {"text": "unsteady"}, {})
    assert result == {"tries": {"attempt": 2}, "after_tries": {"parent": 2, "attempt": 1}}
    first, second = (float(session.await_mark(f"unsteady-{attempt}")) for attempt in (1, 2))
    assert 0.9 < second - first < 3  # C-6.22: factor 1.0 is a second


def test_c_5_34_a_non_retryable_failure_beside_an_ordinary_one(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "two_budgets", {})
    error = session.client.fails("aio_outputs_of", run_id)
    assert error.failures == {"NonRetryableException": "no second try", "ValueError": "both tries fail"}
    tasks = session.client.ask("details", run_id)["tasks"]
    events = [kind for task in tasks.values() for kind in session.task_events(task["external_id"])]
    assert (events.count("RETRYING"), events.count("FAILED")) == (1, 3)


# --- cancellation ----------------------------------------------------------------------------------------------------


def test_c_6_43_a_task_cancels_itself_beside_one_that_completes(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "half_cancelled", {})
    # C-7.21: one way of asking gives the outputs there are, the other raises.
    assert session.client.ask("aio_outputs_of", run_id) == {"stays": {"stayed": "to the end"}}
    assert "was cancelled" in session.client.fails("outputs_of", run_id).text
    details = session.client.ask("details", run_id)
    assert details["status"] == "CANCELLED"
    quits = details["tasks"]["quits"]
    assert (quits["status"], quits["output"], quits["error"]) == ("CANCELLED", None, None)  # C-6.42


def test_c_6_44_cancelling_a_run_ends_what_runs_and_what_has_not_begun(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "chain", {"text": "cut"})
    session.await_mark("cut-held-1")
    session.await_details(run_id, lambda found: statuses(found)["beside_held"] == "COMPLETED", "one task is done")
    session.client.ask("cancel", run_id)
    details = session.await_end(run_id)
    assert details["status"] == "CANCELLED"
    assert statuses(details) == {"held": "CANCELLED", "after_held": "CANCELLED", "beside_held": "COMPLETED"}


def test_c_6_38_cancelling_one_task_leaves_its_siblings_alone(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "mixed", {"text": "one-task"})
    running = session.await_details(run_id, lambda found: statuses(found)["slow"] == "RUNNING", "the task runs")
    session.client.ask("cancel", running["tasks"]["slow"]["external_id"])
    details = session.await_end(run_id)
    assert statuses(details) == {
        "fails": "FAILED",
        "below_fails": "CANCELLED",
        "cancels": "CANCELLED",
        "fine": "COMPLETED",
        "slow": "CANCELLED",
        "below_slow": "CANCELLED",
    }


SERVING = ("one", "keeper")
"""The workers of the session that serve the labelled task."""

# --- placement -------------------------------------------------------------------------------------------------------


def test_c_11_23_tasks_run_where_the_label_of_the_run_says(session: Session) -> None:
    # Other tests leave workers behind that do not serve the task.
    active = [name for name, status in session.worker_statuses().items() if status == "ACTIVE" and name in SERVING]
    assert len(active) > 1
    places = {}
    for name in active:
        result = session.client.ask("aio_run_labelled", "labelled", name)
        assert result["where"] == result["where_below"]
        places[name] = result["where"]["worker"]
    assert len(set(places.values())) == len(active)
    again = session.client.ask("aio_run_labelled", "labelled", active[0])
    assert again["where"]["worker"] == places[active[0]]
