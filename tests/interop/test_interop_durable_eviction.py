"""Durable tasks that leave their worker while they wait, and come back; workers that end meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from official_session import Session

from support.program import wait_until

pytestmark = pytest.mark.interop

FIRST = {"invocation": 1, "attempt": 1, "retries": 0}
SECOND = {"invocation": 2, "attempt": 1, "retries": 0}


def result_of(session: Session, name: str, run_id: str) -> Any:
    return session.client.ask("aio_result_of", name, run_id)


@pytest.fixture(scope="module")
def killed(the_session: Session) -> str:
    """A run whose worker was killed while the run waited. The loss of a worker takes 30 s to be seen: it passes while
    other tests run."""
    worker = the_session.worker("killed", 5, "moves")
    the_session.await_worker(worker)
    run_id: str = the_session.client.ask("run_no_wait", "moves", {"text": "killed"})
    the_session.await_details(run_id, lambda _: len(the_session.durable_log(run_id)) == 2, "it waits")
    worker.kill()
    return run_id


@pytest.fixture(autouse=True)
def _killed_first(killed: str) -> None:
    """The time begins with the first test."""


@pytest.fixture(scope="module")
def crowded(the_session: Session) -> tuple[str, str]:
    """Two runs for a worker with one durable slot; the client waits for 10 s before it makes room."""
    the_session.await_worker(the_session.worker("narrow", 1, "makes-room"))
    first = the_session.client.ask("run_no_wait", "makes_room", {"text": "first"})
    the_session.await_mark("first-1")
    return first, the_session.client.ask("run_no_wait", "makes_room", {"text": "second"})


@pytest.fixture(autouse=True)
def _crowded_first(crowded: tuple[str, str]) -> None:
    """The time begins with the first test."""


def test_d_17_6_a_stopped_worker_leaves_its_waiting_tasks_to_others(session: Session) -> None:
    stopped = session.worker("stopped", 5, "moves")
    session.await_worker(stopped)
    run_id = session.client.ask("run_no_wait", "moves", {"text": "stopped"})
    session.await_details(run_id, lambda _: len(session.durable_log(run_id)) == 2, "it waits")
    stopped.terminate()
    session.await_evicted(run_id)
    assert stopped.process is not None
    assert stopped.process.wait(60) == 0, stopped.tail()
    other = session.worker("takes-over", 5, "moves")
    session.await_worker(other)
    session.client.ask("push", "moves:stopped", {"n": 1})
    result = result_of(session, "moves", run_id)
    assert result["event"] == {"n": 1}
    assert {name: result[name] for name in SECOND} == SECOND
    assert [line["worker"] == result["worker"] for line in session.lines("moves-stopped")] == [False, True]


# --- eviction and restore --------------------------------------------------------------------------------------------


def test_d_18_1_an_event_restores_an_evicted_task(session: Session) -> None:
    """D-5.7, D-18.6: another invocation of the same attempt; D-24.1: evicted is a kind of running."""
    run_id = session.client.ask("run_no_wait", "evicted_listener", {"text": "listener"})
    details = session.await_evicted(run_id)
    [task] = details["tasks"].values()
    assert (details["status"], task["status"]) == ("RUNNING", "RUNNING")
    session.client.ask("push", "evicted:listener", {"n": 1})
    result = result_of(session, "evicted_listener", run_id)
    now = result.pop("now")
    assert result == {"event": {"n": 1}, **SECOND}
    assert session.lines("evicted-listener") == [{"now": now, **FIRST}, {"now": now, **SECOND}]


def test_d_24_8_the_events_of_an_evicted_task(session: Session) -> None:
    """D-17.9: with the reason that the client gave; D-18.2."""
    run_id = session.client.ask("run_no_wait", "evicted_listener", {"text": "events"})
    session.await_evicted(run_id)
    session.client.ask("push", "evicted:events", {})
    session.await_end(run_id)
    events = session.task_events_in_order(run_id)
    types = [kind for kind, _ in events if kind.startswith("DURABLE") or kind in ("ASSIGNED", "FINISHED")]
    assert types == ["ASSIGNED", "DURABLE_EVICTED", "DURABLE_RESTORING", "ASSIGNED", "FINISHED"]
    [reason] = [message for kind, message in events if kind == "DURABLE_EVICTED"]
    assert "events" in reason


def test_d_9_3_a_sleep_goes_on_while_its_task_is_evicted(session: Session) -> None:
    """D-18.1: its end restores the task."""
    run_id = session.client.ask("run_no_wait", "evicted_sleeper", {"n": 3})
    session.await_evicted(run_id)
    result = result_of(session, "evicted_sleeper", run_id)
    assert result.pop("took") >= 3
    assert result == {"slept": 3, **SECOND}


def test_d_18_8_a_restore_before_the_wait_is_over(session: Session) -> None:
    """It sleeps on and may be evicted again. D-18.3: nothing happens to what is not evicted, and it runs once."""
    run_id = session.client.ask("run_no_wait", "evicted_sleeper", {"n": 5})
    session.await_evicted(run_id)
    assert session.restore(run_id)
    assert session.restore(run_id)
    session.await_details(run_id, lambda found: not is_evicted(found), "it is back")
    session.await_evicted(run_id)
    result = result_of(session, "evicted_sleeper", run_id)
    assert result.pop("took") >= 5
    assert result == {"slept": 5, "invocation": 3, "attempt": 1, "retries": 0}
    assert session.restore(run_id)  # D-18.7
    assert session.client.ask("details", run_id)["status"] == "COMPLETED"


def is_evicted(details: dict[str, Any]) -> bool:
    return any(task["is_evicted"] for task in details["tasks"].values())


def test_d_18_9_children_restore_their_parent(session: Session) -> None:
    """D-13.9: they run while it is away, and each of them is one run over all invocations."""
    run_id = session.client.ask("run_no_wait", "evicted_parent", {"text": "family"})
    for number in range(4):
        session.await_evicted(run_id)
        session.mark(f"family-{number}-go")
        session.await_details(run_id, has_ended(session, run_id, number + 1), f"child {number} is over")
        if number == 0:
            session.await_details(run_id, lambda _: len(session.durable_log(run_id)) == 4, "it spawned the others")
    result = result_of(session, "evicted_parent", run_id)
    assert result["children"] == [{"text": f"family-{number}"} for number in range(4)]
    assert result["invocation"] >= 3
    assert (result["attempt"], result["retries"]) == (1, 0)
    assert [entry["kind"] for entry in session.durable_log(run_id)] == 4 * ["RUN"]


def has_ended(session: Session, run_id: str, count: int) -> Callable[[Any], bool]:
    """Whether as many entries of its log are satisfied."""
    return lambda _: sum(entry["isSatisfied"] for entry in session.durable_log(run_id)) >= count


def test_d_17_17_without_a_policy_a_task_stays(session: Session) -> None:
    """The other one waits as long, and is evicted."""
    kept = session.client.ask("run_no_wait", "never_evicted", {"text": "kept"})
    session.await_details(kept, lambda _: session.durable_log(kept), "it waits")
    evicted = session.client.ask("run_no_wait", "evicted_listener", {"text": "beside-kept"})
    session.await_evicted(evicted)
    session.client.ask("push", "kept:kept", {"n": 1})
    assert result_of(session, "never_evicted", kept) == {"event": {"n": 1}, **FIRST}
    assert "DURABLE_EVICTED" not in session.task_events(kept)
    session.client.ask("push", "evicted:beside-kept", {})
    assert session.await_end(evicted)["status"] == "COMPLETED"


def test_d_18_9_branches_keep_their_turns_over_evictions(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "evicted_branches", {"text": "br"})
    # The event must not come before its wait, which is the fifth step.
    details = session.await_details(
        run_id, lambda found: is_evicted(found) and len(session.durable_log(run_id)) == 5, "it waits for the event"
    )
    assert details["status"] == "RUNNING"
    session.client.ask("push", "branches:br", {"n": 1})
    result = result_of(session, "evicted_branches", run_id)
    assert result["order"] == ["quick1", "quick2", "slow1", "slow2"]
    assert result["event"] == {"n": 1}
    assert (result["attempt"], result["retries"]) == (1, 0)
    assert result["invocation"] > 1
    # No invocation saw another order.
    for count in range(1, result["invocation"] + 1):
        seen = [line["step"] for line in session.lines(f"br-{count}")]
        assert seen == result["order"][: len(seen)]


def test_d_21_2_an_evicted_task_is_cancelled_and_stays_so(session: Session) -> None:
    """D-27.19: also when what it waited for comes."""
    client = session.client
    run_id = client.ask("run_no_wait", "evicted_listener", {"text": "cancelled"})
    session.await_evicted(run_id)
    client.ask("cancel", run_id)
    assert session.await_end(run_id)["status"] == "CANCELLED"
    client.ask("push", "evicted:cancelled", {})
    beside = client.ask("run_no_wait", "evicted_listener", {"text": "beside-cancelled"})
    session.push_until_end(beside, "evicted:beside-cancelled", {})
    assert client.ask("details", run_id)["status"] == "CANCELLED"
    assert len(session.lines("evicted-cancelled")) == 1


def test_d_22_3_an_evicted_task_is_replayed_and_completes(session: Session) -> None:
    run_id = session.client.ask("run_no_wait", "evicted_listener", {"text": "replayed"})
    session.await_evicted(run_id)
    session.client.ask("replay", run_id)
    session.await_lines("evicted-replayed", 2)
    session.client.ask("push", "evicted:replayed", {"n": 2})
    result = result_of(session, "evicted_listener", run_id)
    assert result["event"] == {"n": 2}
    assert result["invocation"] >= 2


# --- workers that end ------------------------------------------------------------------------------------------------


def test_d_17_17_a_task_makes_room_for_another(session: Session, crowded: tuple[str, str]) -> None:
    first, second = crowded
    session.await_evicted(first)
    session.await_mark("second-1")
    session.client.ask("push", "room:second", {"n": 2})
    assert result_of(session, "makes_room", second)["event"] == {"n": 2}
    session.client.ask("push", "room:first", {"n": 1})
    result = result_of(session, "makes_room", first)
    assert result["event"] == {"n": 1}
    assert result["invocation"] >= 2
    assert (result["attempt"], result["retries"]) == (1, 0)


def test_d_20_5_a_killed_worker_loses_nothing_of_the_log(session: Session, killed: str) -> None:
    """D-29.9, D-20.11: another attempt, the same time; the event comes before anybody runs the task again."""
    session.client.ask("push", "moves:killed", {"n": 3})
    if not any(worker.name == "takes-over" and worker.is_running for worker in session.workers):
        session.await_worker(session.worker("takes-over", 5, "moves"))
    result = result_of(session, "moves", killed)
    assert result["event"] == {"n": 3}
    assert (result["invocation"], result["attempt"]) == (2, 2)
    assert len(session.lines("moves-killed")) == 2
    assert session.worker_statuses()["killed"] != "ACTIVE"
    wait_until(lambda: "REASSIGNED" in session.task_events(killed), "the engine says that it reassigned the task")
