"""The official Python client against our engine: what it calls and gets is what its documentation promises."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from official_session import Session

from support.program import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.parametrize("the_session", ["official"], indirect=True)]


def failed(error: dict[str, Any]) -> tuple[str, str]:
    """Type and message of the one task failure that an error of the client carries (C-7.19)."""
    [member] = error["members"]
    return member["exc_type"], member["exc"]


@pytest.mark.parametrize("call", ["run", "aio_run"])
@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("double_sync", {"type": "Doubled", "doubled": 8}),
        ("double_async", {"doubled": 8}),
        ("halve", {"type": "Halved", "half": 2.0}),
    ],
)
def test_a_task_runs_and_returns_its_value(session: Session, call: str, task: str, expected: object) -> None:
    assert session.client.ask(call, task, {"n": 4}, {}) == expected


def test_c_7_15_a_task_without_a_value(session: Session) -> None:
    assert session.client.ask("aio_run", "nothing", {}, {}) == {"type": "EmptyModel"}
    assert session.client.ask("run", "nothing", {}, {}) == {"type": "EmptyModel", "nothing": None}


def test_a_task_sees_its_context(session: Session) -> None:
    options = {"additional_metadata": {"who": "Ünï"}, "priority": 3}
    seen = session.client.ask("aio_run", "describe", {"text": "naïve ✓"}, options)
    assert seen["text"] == "naïve ✓"
    assert seen["metadata"] == {"who": "Ünï"}
    assert (seen["priority"], seen["attempt"], seen["retries"]) == (3, 1, 0)
    assert uuid.UUID(seen["run_id"])
    assert uuid.UUID(seen["worker_id"])


def test_c_7_29_details_show_input_and_metadata(session: Session) -> None:
    seen = session.client.ask("aio_run", "describe", {"text": "here"}, {"additional_metadata": {"who": "me"}})
    details = session.client.ask("details", seen["run_id"])
    assert (details["status"], details["done"]) == ("COMPLETED", True)
    assert details["input"] == {"text": "here"}
    assert details["metadata"]["who"] == "me"
    assert details["tasks"]["describe"]["output"] == seen
    assert details["tasks"]["describe"]["external_id"] == seen["run_id"]


@pytest.mark.parametrize(("call", "count"), [("run_many", 100), ("aio_run_many", 500)])
def test_run_many_returns_in_order(session: Session, call: str, count: int) -> None:
    results = session.client.ask(call, "double_async", list(range(count)), {})
    assert [each["doubled"] for each in results] == [2 * n for n in range(count)]


def test_fifty_callers_wait_at_once(session: Session) -> None:
    results = session.client.ask("aio_gather", "double_sync", list(range(50)))
    assert [each["doubled"] for each in results] == [2 * n for n in range(50)]


@pytest.mark.parametrize("call", ["no_wait_then_result", "aio_no_wait_then_result"])
def test_a_reference_gives_the_result_later(session: Session, call: str) -> None:
    answer = session.client.ask(call, "double_sync", {"n": 21})
    assert answer["result"]["doubled"] == 42
    assert session.client.ask("aio_result_of", "double_sync", answer["run_id"])["doubled"] == 42


@pytest.mark.parametrize("call", ["run", "aio_run"])
def test_c_5_40_type_and_text_of_an_exception_arrive(session: Session, call: str) -> None:
    error = session.client.fails(call, "fail", {"text": "it broke: badly"}, {})
    assert error.type == "FailedTaskRunExceptionGroup"
    assert failed({"members": error.members}) == ("ValueError", "it broke: badly")
    # The error names the run (C-7.19) and, by the metadata line of C-5.40, the task: the same id for a standalone task.
    run_id = re.search(r"Workflow run (\S+) failed", error.text)
    assert run_id is not None
    assert error.members[0]["task_run_external_id"] == run_id[1]


@pytest.mark.parametrize("call", ["run_many", "aio_run_many"])
def test_c_7_22_exceptions_are_returned_in_order(session: Session, call: str) -> None:
    results = session.client.ask(call, "fail_when_even", list(range(6)), {"return_exceptions": True})
    assert [each["doubled"] for each in results[1::2]] == [2, 6, 10]
    assert [failed(each) for each in results[0::2]] == [("RuntimeError", f"{n} is even") for n in (0, 2, 4)]


def test_c_6_21_a_retry_succeeds(session: Session) -> None:
    assert session.client.ask("aio_run", "flaky", {"n": 3}, {}) == {"attempt": 4, "retry_count": 3}


def test_c_6_29_exhausted_retries_fail_with_the_last_error(session: Session) -> None:
    error = session.client.fails("aio_run", "flaky", {"n": 99}, {})
    assert failed({"members": error.members}) == ("RuntimeError", "attempt 6 fails")


def test_c_6_22_a_retry_with_backoff_succeeds(session: Session) -> None:
    assert session.client.ask("aio_run", "flaky_with_backoff", {"n": 1}, {}) == {"attempt": 2}


def test_c_5_34_a_non_retryable_exception_ends_at_once(session: Session) -> None:
    error = session.client.fails("aio_run", "never_retried", {}, {})
    assert failed({"members": error.members}) == ("NonRetryableException", "given up in attempt 1")


def test_c_6_31_execution_timeout(session: Session) -> None:
    error = session.client.fails("aio_run", "too_slow", {}, {})
    assert "Task exceeded timeout" in error.text


def test_a_refreshed_timeout_lets_a_task_finish(session: Session) -> None:
    value = session.client.ask("aio_run", "asks_for_time", {}, {})
    assert value == {"finished": "in the time that it asked for"}


def test_a_task_may_give_its_slot_back(session: Session) -> None:
    assert session.client.ask("aio_run", "gives_slot_back", {}, {}) == {"slot": "given back"}


def test_c_6_39_cancel_of_a_running_task(session: Session) -> None:
    client = session.client
    run_id = client.ask("run_no_wait", "cancel_me", {"text": "running"})
    session.await_mark("running-started")
    assert client.ask("details", run_id)["status"] == "RUNNING"
    client.ask("cancel", run_id)
    wait_until(lambda: client.ask("details", run_id)["done"], "the run is over")
    task = client.ask("details", run_id)["tasks"]["cancel-me"]
    assert (task["status"], task["output"], task["error"]) == ("CANCELLED", None, None)
    session.await_mark("running-cancelled")
    # C-7.21: one way of asking raises, the other returns what there is.
    assert "was cancelled" in client.fails("result_of", "cancel_me", run_id).text
    assert client.ask("aio_result_of", "cancel_me", run_id) == {}


def test_c_6_38_cancel_of_a_queued_task(session: Session) -> None:
    client = session.client
    client.ask("register", "orphan")
    run_id = client.ask("run_no_wait", "orphan", {"text": "queued"})
    assert client.ask("details", run_id)["status"] == "QUEUED"
    client.ask("cancel", run_id)
    wait_until(lambda: client.ask("details", run_id)["done"], "the run is over")
    assert client.ask("details", run_id)["status"] == "CANCELLED"


def test_c_6_43_a_task_cancels_itself(session: Session) -> None:
    assert "was cancelled" in session.client.fails("run", "cancels_itself", {}, {}).text


def test_c_6_33_schedule_timeout_without_a_worker(session: Session) -> None:
    session.client.ask("register", "short_lived_orphan")
    assert "was cancelled" in session.client.fails("run", "short_lived_orphan", {}, {}).text


def test_c_4_12_a_task_spawns_children(session: Session) -> None:
    value = session.client.ask("aio_run", "parent", {"n": 3}, {})
    assert value["many"] == [0, 2, 4]
    assert value["one"]["parent"] == value["task"]


def test_a_task_that_logs_completes(session: Session) -> None:
    assert session.client.ask("aio_run", "talkative", {"text": "a log"}, {}) == {"text": "a log"}


def test_c_4_8_an_unknown_workflow_is_an_error_at_once(session: Session) -> None:
    error = session.client.fails("trigger_unknown")
    assert "INVALID_ARGUMENT" in error.text
    assert "workflow names not found: nobody-registered-this" in error.text


def test_c_2_1_the_version_of_the_engine(session: Session) -> None:
    assert re.match(r"v\d+\.\d+\.\d+(-|$)", session.client.ask("engine_version"))


def test_c_2_41_the_client_lists_the_workers(session: Session) -> None:
    assert {"name": "one", "status": "ACTIVE"} in session.client.ask("workers")


def test_c_2_27_a_terminated_worker_finishes_its_task(session: Session) -> None:
    """The task starts on ``keeper``, which is asked to end; another worker could take it and must not."""
    client = session.client
    [keeper] = [worker for worker in session.workers if worker.name == "keeper"]
    run_id = client.ask("run_no_wait", "long", {"text": "drained"})
    assert session.await_mark("drained-started") == "1"
    other = session.worker("other", 5, "long")
    session.await_worker(other)
    keeper.terminate()
    wait_until(lambda: session.worker_statuses()["keeper"] == "PAUSED", "keeper is paused")
    assert client.ask("details", run_id)["status"] == "RUNNING"
    session.mark("drained-go")
    assert client.ask("aio_result_of", "long", run_id) == {"attempt": 1, "retry_count": 0}
    assert keeper.process is not None
    assert keeper.process.wait(60) == 0, keeper.tail()
    # A worker that is gone gets nothing; the other one does.
    session.mark("after-go")
    assert client.ask("aio_run", "long", {"text": "after"}, {}) == {"attempt": 1, "retry_count": 0}
