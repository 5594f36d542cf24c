"""Where runs go and in which order: sticky workflows and their children, labels that change, priorities."""

from __future__ import annotations

import itertools

import pytest
from official_session import Session

from support.program import wait_until

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("strategy", ["soft", "hard"])
def test_c_11_14_a_sticky_run_and_its_sticky_children_stay_on_one_worker(session: Session, strategy: str) -> None:
    """C-11.15 for the children; two workers could run every task."""
    assert list(session.worker_statuses().values()).count("ACTIVE") > 1
    for _ in range(6):
        result = session.client.ask("aio_run", f"sticky_{strategy}", {"n": 3}, {})
        children = result["spawns"]["children"]
        assert len(children) == 6
        workers = {task["worker"] for task in result.values()} | set(children)
        assert len(workers) == 1
        assert None not in workers


def test_c_11_21_a_task_goes_where_the_label_is_large_enough(session: Session) -> None:
    """The labels are as large as the workers: 20 and 5."""
    large = session.client.ask("aio_run_labelled", "labelled", "one")["where"]["worker"]
    placed = [session.client.ask("aio_run", "needs_capacity", {"text": str(n)}, {}) for n in range(6)]
    assert placed == [{"worker": large}] * 6


@pytest.mark.parametrize("the_session", ["ours"], indirect=True)
def test_c_11_22_a_label_that_a_task_sets_counts_at_once(session: Session) -> None:
    """Not for the official client, which names no worker in this call, so that C-2.40 refuses it."""
    waiting = session.client.ask("run_no_wait", "needs_memory", {"text": "memory"})
    # C-11.18, C-11.21: a required label excludes workers that do not have it, or not enough of it.
    session.client.ask("aio_run", "sets_memory", {"n": 10}, {})
    assert session.client.ask("details", waiting)["status"] == "QUEUED"
    enough = session.client.ask("aio_run", "sets_memory", {"n": 11}, {})
    assert session.client.ask("aio_result_of", "needs_memory", waiting) == enough


def test_c_11_4_the_highest_priority_starts_first(session: Session) -> None:
    """The only worker has one slot, and it is taken until all runs wait; two of them were scheduled."""
    worker = session.worker("one-slot", 1, "in-order")
    session.await_worker(worker)
    session.client.ask("run_no_wait", "in_order", {"group": "order", "name": "blocker"})
    session.await_mark("order-blocked")
    priorities = [1, 3, 2, 1, 3, 2, 2, 1, 3]
    members = [{"group": "order", "name": f"{n:02}"} for n in range(len(priorities))]
    options = [{"priority": priority} for priority in priorities]
    run_ids = session.client.ask("run_members", "in_order", members, options)
    for priority in (1, 3):
        later = {"group": "order", "name": f"scheduled-{priority}"}
        session.client.ask("schedule", "in_order", later, 0.0, {"priority": priority})

    def started() -> list[str]:
        rows = session.client.ask("scheduled", "in_order").values()
        return [row["run_id"] for row in rows if row["run_id"]]

    wait_until(lambda: len(started()) == 2, "the scheduled runs wait too")
    run_ids += started()
    session.mark("order-go")
    results = [session.client.ask("aio_result_of", "in_order", run_id) for run_id in run_ids]
    # Other tests use every worker that is active.
    worker.terminate()
    wait_until(lambda: session.worker_statuses()["one-slot"] != "ACTIVE", "the worker takes no more")
    assert {each["priority"] for each in results} == {1, 2, 3}
    results.sort(key=lambda each: each["start"])
    places = [(each["priority"], each["name"]) for each in results]
    # C-11.1: among equals in the order of creation; the scheduled ones came last.
    assert places == sorted(places, key=lambda place: (-place[0], place[1]))
    assert all(earlier["end"] <= later["start"] for earlier, later in itertools.pairwise(results))
