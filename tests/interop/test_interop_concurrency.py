"""One case of each concurrency strategy, for whole runs and for one task of them, and several rules at once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from official_session import Session

pytestmark = pytest.mark.interop

LEVELS = pytest.mark.parametrize("level", ["workflow", "task"])


def most_at_once(spans: list[dict[str, Any]]) -> int:
    """How many of the spans have an instant in common."""
    moments = sorted([(span["start"], 1) for span in spans] + [(span["end"], -1) for span in spans])
    now = most = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


class Group:
    """Runs of one workflow in one group. The first of them has begun; it and the others end after :meth:`go`."""

    def __init__(self, session: Session, workflow: str) -> None:
        self.session = session
        self.workflow = workflow
        self.first = self.run("first")
        self.await_start("first")

    def run(self, name: str) -> str:
        run_id: str = self.session.client.ask("run_no_wait", self.workflow, {"group": self.workflow, "name": name})
        return run_id

    def await_start(self, name: str) -> None:
        self.session.await_mark(f"{self.workflow}-{name}-started")

    def has_started(self, name: str) -> bool:
        return (self.session.marks / f"{self.workflow}-{name}-started").exists()

    def await_cancelled(self, run_id: str) -> None:
        """C-9.11: cancelled, without an error and without an output."""
        details = self.session.await_end(run_id)
        assert details["status"] == "CANCELLED"
        holds = details["tasks"]["holds"]
        assert (holds["status"], holds["output"], holds["error"]) == ("CANCELLED", None, None)

    def go(self) -> None:
        self.session.mark(f"{self.workflow}-go")

    def await_completed(self, run_id: str) -> None:
        assert set(self.session.client.ask("aio_outputs_of", run_id)) == {"holds", "after"}
        # C-9.23: right as soon as the result is there.
        assert self.session.client.ask("details", run_id)["status"] == "COMPLETED"


@LEVELS
def test_c_9_7_groups_are_served_in_turn_and_each_in_its_order(session: Session, level: str) -> None:
    groups = {name: f"{name}-{level}" for name in ("many", "few")}
    for group in groups.values():
        session.mark(f"{group}-go")
    members = [{"group": groups["many"], "name": str(n), "seconds": 0.4} for n in range(4)]
    members.append({"group": groups["few"], "name": "0", "seconds": 0.4})
    run_ids = session.client.ask("run_members", f"group_round_robin_{level}", members)
    *many, few = (session.client.ask("aio_outputs_of", run_id) for run_id in run_ids)
    starts = [outputs["holds"]["start"] for outputs in many]
    assert starts == sorted(starts)
    last_of_place = "after" if level == "workflow" else "holds"
    for earlier, later in itertools.pairwise(many):
        # C-9.12: a run keeps its place until its last task has ended; C-9.14: a task until its own end.
        end = earlier["after"]["at"] if last_of_place == "after" else earlier["holds"]["end"]
        assert end <= later["holds"]["start"]
    assert few["holds"]["start"] < many[1]["holds"]["start"]


@LEVELS
def test_c_9_22_cancel_in_progress_keeps_the_newest(session: Session, level: str) -> None:
    group = Group(session, f"cancel_in_progress_{level}")
    second = group.run("second")
    group.await_cancelled(group.first)
    group.await_start("second")
    third = group.run("third")
    group.await_cancelled(second)
    group.await_start("third")
    group.go()
    group.await_completed(third)


@LEVELS
def test_c_9_23_cancel_newest_keeps_what_runs(session: Session, level: str) -> None:
    group = Group(session, f"cancel_newest_{level}")
    for run_id in [group.run(f"later-{n}") for n in range(4)]:
        group.await_cancelled(run_id)
    group.go()
    group.await_completed(group.first)
    assert not any(group.has_started(f"later-{n}") for n in range(4))
    # C-9.18: the place is free again.
    group.await_completed(group.run("after-all"))


@LEVELS
@pytest.mark.parametrize("kept", ["newest", "oldest"])
def test_c_9_10_of_those_that_wait_one_stays(session: Session, kept: str, level: str) -> None:
    group = Group(session, f"cancel_queued_except_{kept}_{level}")
    waiting = {name: group.run(name) for name in ("a", "b", "c")}
    stays = {"newest": "c", "oldest": "a"}[kept]
    for name, run_id in waiting.items():
        if name != stays:
            group.await_cancelled(run_id)
    assert session.client.ask("details", group.first)["status"] == "RUNNING"
    assert session.client.ask("details", waiting[stays])["status"] == "QUEUED"
    group.go()
    group.await_completed(group.first)
    group.await_completed(waiting[stays])
    assert [name for name in waiting if group.has_started(name)] == [stays]


@LEVELS
def test_c_9_16_all_rules_hold_at_once(session: Session, level: str) -> None:
    """Two digits of which three run at once, three names of which two do: at most six, never more of either."""
    members = [{"group": f"digit-{n % 2}-{level}", "name": f"name-{n % 3}-{level}", "seconds": 0.2} for n in range(24)]
    run_ids = session.client.ask("run_members", f"two_rules_{level}", members)
    spans = [session.client.ask("aio_outputs_of", run_id)["spans"] for run_id in run_ids]
    for kind, limit in (("group", 3), ("name", 2)):
        for value in {span[kind] for span in spans}:
            assert most_at_once([span for span in spans if span[kind] == value]) <= limit
    assert most_at_once(spans) > 1


def test_c_3_40_a_number_is_a_rule_for_all_runs(session: Session) -> None:
    members = [{"group": str(n), "name": "any", "seconds": 0.1} for n in range(4)]
    spans = session.client.ask("aio_gather_members", "one_of_a_number", members)
    assert most_at_once(spans) == 1
