"""How the tasks of a run follow from each other, and the status of the run (C-6.3 to C-6.19, C-6.38 to C-6.49)."""

from __future__ import annotations

import itertools

import pytest
from run_model import ON_FAILURE, Run, a_version, event, rebuilt, sleep, task

from hatchet.core.definitions import TaskDefinition
from hatchet.core.run_state import RunState
from hatchet.core.run_tasks import Verdict
from hatchet.core.statuses import Outcome, RunStatus

DONE, FAILED, CANCELLED, SKIPPED = Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED, Outcome.SKIPPED


def a_diamond() -> Run:
    return Run(task("top"), task("left", "top"), task("right", "top"), task("bottom", "left", "right"))


def skipped(name: str, *parents: str) -> TaskDefinition:
    """A task that is skipped as soon as it may be decided."""
    return task(name, *parents, skip_if=[sleep(0)])


# What follows from parents ------------------------------------------------------------------------------------------


def test_c_6_13_roots_exist_with_the_run_and_children_when_they_are_decided() -> None:
    run = a_diamond()
    assert run.may_run() == {"top"}
    assert [run.state.exists(index) for index in range(4)] == [True, False, False, False]
    run.end("top")
    assert [run.state.exists(index) for index in range(4)] == [True, True, True, False]


def test_c_6_14_a_child_is_queued_when_all_parents_completed() -> None:
    run = a_diamond()
    run.end("top")
    assert run.may_run() == {"left", "right"}
    run.end("left")
    assert run.may_run() == {"right"}
    run.end("right")
    assert run.may_run() == {"bottom"}
    assert run.decision("bottom").at == run.now
    run.end("bottom")
    assert run.state.is_over
    assert run.state.finished_at() == run.now


@pytest.mark.parametrize(
    "outcome",
    [FAILED, Outcome.TIMED_OUT, Outcome.REASSIGNED, Outcome.COULD_NOT_SEND, CANCELLED, Outcome.SCHEDULING_TIMED_OUT],
)
def test_c_6_15_what_is_below_a_failed_or_cancelled_task_is_cancelled_at_once(outcome: Outcome) -> None:
    run = Run(task("top"), task("other"), task("child", "top", "other"), task("grandchild", "child"))
    run.end("top", outcome)
    assert run.outcome("child") is run.outcome("grandchild") is CANCELLED
    assert run.decision("grandchild").at == run.now
    assert run.may_run() == {"other"}


def test_c_6_16_a_child_of_skipped_tasks_only_is_skipped_and_so_on() -> None:
    run = Run(skipped("a"), skipped("b"), task("child", "a", "b"), task("grandchild", "child"))
    assert set(run.outcomes().values()) == {SKIPPED}
    assert run.state.is_over


def test_c_6_16_a_child_of_skipped_and_completed_tasks_runs() -> None:
    run = Run(skipped("a"), task("b"), task("child", "a", "b"))
    assert run.outcome("child") is None
    run.end("b")
    assert run.may_run() == {"child"}


def test_c_6_17_what_is_not_below_the_failure_completes() -> None:
    run = Run(
        task("bad"),
        task("good"),
        task("below", "bad"),
        task("beside", "good"),
        task("below both", "bad", "good"),
        task("last", "beside"),
    )
    run.end("bad", FAILED)
    for name in ("good", "beside", "last"):
        run.end(name)
    assert run.outcomes() == {
        "bad": FAILED,
        "good": DONE,
        "below": CANCELLED,
        "beside": DONE,
        "below both": CANCELLED,
        "last": DONE,
    }


def test_c_6_18_a_parent_that_is_tried_again_keeps_its_children_waiting() -> None:
    run = Run(task("top"), task("child", "top"))
    run.start(0)
    run.retry(0)
    assert run.outcome("child") is None
    assert run.may_run() == {"top"}
    run.end("top")
    assert run.may_run() == {"child"}
    assert run.state.tasks[0].attempt == 1


def test_c_6_19_every_task_has_ended_when_the_run_is_over() -> None:
    run = Run(task("top"), task("child", "top"), task("grandchild", "child"), on_failure=True)
    run.end("top", FAILED)
    run.end(ON_FAILURE)
    assert run.state.is_over
    assert all(run.state.exists(index) for index in range(4))
    assert None not in run.outcomes().values()


def test_tasks_may_be_listed_before_their_parents() -> None:
    run = Run(task("grandchild", "child"), task("child", "top"), task("top"), on_failure=True)
    assert run.may_run() == {"top"}
    run.end("top", CANCELLED)
    assert run.outcome("grandchild") is CANCELLED
    assert run.outcome(ON_FAILURE) is SKIPPED


def test_c_5_43_only_the_first_end_of_the_current_attempt_counts() -> None:
    state = RunState.fresh(a_version(task("a")), 0)
    state.retried(0, 1)
    assert not state.ended(0, 0, FAILED, 1, None)
    assert state.ended(0, 1, DONE, 2, None)
    assert not state.ended(0, 1, FAILED, 3, None)
    assert not state.ended(0, 2, FAILED, 3, None)
    state.retried(0, 2)
    assert (state.tasks[0].outcome, state.tasks[0].attempt, state.open) == (DONE, 1, 0)


# The status of the run ------------------------------------------------------------------------------------------------


def test_c_6_7_a_run_is_queued_until_a_task_was_with_a_worker() -> None:
    run = a_diamond()
    assert run.status() is RunStatus.QUEUED
    run.start(0)
    assert run.status() is RunStatus.RUNNING
    # The retry waits again, the run does not go back.
    run.retry(0)
    assert run.status() is RunStatus.RUNNING


def test_c_6_7_a_run_whose_first_task_was_skipped_is_running() -> None:
    run = Run(skipped("a"), task("b"))
    assert run.status() is RunStatus.RUNNING
    assert rebuilt(run.version, run.created_at, run.facts).status() is RunStatus.RUNNING


def test_c_6_8_status_by_the_ends_of_the_tasks() -> None:
    for outcomes in itertools.product((DONE, SKIPPED, CANCELLED, FAILED), repeat=3):
        state = RunState.fresh(a_version(task("a"), task("b"), task("c")), 0)
        for index, outcome in enumerate(outcomes):
            assert state.status() is (RunStatus.RUNNING if index else RunStatus.QUEUED)
            state.ended(index, 0, outcome, 1, None)
        expected = RunStatus.COMPLETED
        if CANCELLED in outcomes:
            expected = RunStatus.CANCELLED
        if FAILED in outcomes:
            expected = RunStatus.FAILED
        assert state.status() is expected


def test_c_6_8_the_examples_of_the_rule() -> None:
    for outcomes, status in (
        ((DONE, CANCELLED), RunStatus.CANCELLED),
        ((DONE, FAILED, CANCELLED), RunStatus.FAILED),
        ((DONE, SKIPPED), RunStatus.COMPLETED),
    ):
        state = RunState.fresh(a_version(*(task(f"t{number}") for number in range(len(outcomes)))), 0)
        for index, outcome in enumerate(outcomes):
            state.ended(index, 0, outcome, 1, None)
        assert state.status() is status


def test_c_6_9_a_completed_on_failure_task_leaves_the_run_failed() -> None:
    run = Run(task("a"), on_failure=True)
    run.end("a", FAILED)
    run.end(ON_FAILURE)
    assert (run.state.is_over, run.status()) == (True, RunStatus.FAILED)


@pytest.mark.parametrize(("outcome", "status"), [(DONE, RunStatus.COMPLETED), (CANCELLED, RunStatus.CANCELLED)])
def test_c_6_9_a_skipped_on_failure_task_does_not_matter(outcome: Outcome, status: RunStatus) -> None:
    run = Run(task("a"), on_failure=True)
    run.end("a", outcome)
    assert run.outcome(ON_FAILURE) is SKIPPED
    assert (run.state.is_over, run.status()) == (True, status)


def test_c_6_10_a_run_with_a_failure_is_running_until_its_last_task_has_ended() -> None:
    run = Run(
        task("fails"),
        task("cancels"),
        task("slow"),
        task("quick"),
        task("below fails", "fails"),
        task("below slow", "slow", "quick"),
    )
    for index in sorted(run.ready):
        run.start(index)
    run.end("fails", FAILED, after=0.1)
    run.end("cancels", CANCELLED, after=0.1)
    run.end("quick", after=0.1)
    run.pass_time(4)
    assert (run.status(), run.state.is_over) == (RunStatus.RUNNING, False)
    run.end("slow")
    run.end("below slow")
    assert (run.status(), run.state.is_over) == (RunStatus.FAILED, True)
    assert list(run.outcomes().values()) == [FAILED, CANCELLED, DONE, DONE, CANCELLED, DONE]


@pytest.mark.parametrize("outcome", [DONE, FAILED, CANCELLED])
def test_c_6_11_a_run_of_one_task_has_its_status(outcome: Outcome) -> None:
    run = Run(task("a"))
    assert run.version.is_plain
    assert run.status() is RunStatus.QUEUED
    run.end("a", outcome)
    assert run.status() is outcome.status


# Cancelling -----------------------------------------------------------------------------------------------------------


def test_c_6_38_cancelling_one_task_leaves_ended_ones_and_other_branches_alone() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "b"), task("d", "a"))
    run.end("a")
    run.cancel("a", "b")
    assert run.outcomes() == {"a": DONE, "b": CANCELLED, "c": CANCELLED, "d": None}
    assert run.may_run() == {"d"}


def test_c_6_40_cancel_ends_the_wait_for_times_and_events() -> None:
    run = Run(task("a", wait_for=[sleep(5), event("e")]))
    assert list(run.waits) == [0]
    run.cancel("a")
    run.push("e")
    run.pass_time(60)
    assert (run.waits, run.may_run(), run.outcome("a")) == ({}, set(), CANCELLED)
    assert not run.state.matched(0, 0, 1, run.now)


def test_c_6_43_one_task_cancels_itself_and_another_completes() -> None:
    run = Run(task("self"), task("normal"))
    run.end("self", CANCELLED)
    assert run.status() is RunStatus.RUNNING
    run.end("normal")
    assert run.status() is RunStatus.CANCELLED


@pytest.mark.parametrize("on_failure", [False, True])
def test_c_6_44_a_cancelled_run_ends_also_the_tasks_that_do_not_exist_yet(on_failure: bool) -> None:
    run = Run(task("a"), task("b", "a"), task("c", "b", wait_for=[event("e")]), on_failure=on_failure)
    run.start(0)
    run.cancel("a", "b", "c")
    assert run.state.is_over
    assert run.status() is RunStatus.CANCELLED
    assert {run.outcome(name) for name in "abc"} == {CANCELLED}


def test_c_6_44_a_running_on_failure_task_is_cancelled_like_any_other() -> None:
    run = Run(task("bad"), task("slow"), on_failure=True)
    run.end("bad", FAILED)
    run.start(run.index(ON_FAILURE))
    run.cancel("bad", "slow", ON_FAILURE)
    assert run.outcomes() == {"bad": FAILED, "slow": CANCELLED, ON_FAILURE: CANCELLED}
    assert run.status() is RunStatus.FAILED


# On failure -----------------------------------------------------------------------------------------------------------


def test_c_3_43_a_task_with_an_on_failure_task_is_a_run_of_two_tasks() -> None:
    run = Run(task("a"), on_failure=True)
    assert not run.version.is_plain
    assert run.version.graph.on_failure == 1
    assert run.may_run() == {"a"}


def test_c_6_45_the_on_failure_task_does_not_wait_for_other_branches() -> None:
    run = Run(task("bad"), task("slow"), on_failure=True)
    run.start(1)
    run.end("bad", FAILED)
    assert run.may_run() == {"slow", ON_FAILURE}
    assert run.decision(ON_FAILURE).at == run.now


def test_c_6_45_the_first_failure_is_the_moment_also_when_a_second_is_known() -> None:
    state = RunState.fresh(a_version(task("a"), task("b"), on_failure=True), 0)
    state.ended(0, 0, FAILED, 7, None)
    state.ended(1, 0, FAILED, 5, None)
    assert (state.decide(2, 9).verdict, state.decide(2, 9).at) == (Verdict.QUEUE, 5)


def test_c_6_45_a_failure_that_is_tried_again_does_not_start_it() -> None:
    run = Run(task("a"), on_failure=True)
    run.start(0)
    run.retry(0)
    assert run.may_run() == {"a"}
    run.end("a", Outcome.TIMED_OUT)
    assert run.may_run() == {ON_FAILURE}


@pytest.mark.parametrize("ends", list(itertools.product((DONE, CANCELLED), repeat=2)))
def test_c_6_45_without_a_failure_it_is_skipped_when_the_others_have_ended(ends: tuple[Outcome, Outcome]) -> None:
    run = Run(task("a"), task("b"), on_failure=True)
    run.end("a", ends[0])
    assert run.outcome(ON_FAILURE) is None
    run.end("b", ends[1])
    assert run.outcome(ON_FAILURE) is SKIPPED
    assert run.state.is_over


def test_c_6_46_its_failure_starts_no_further_one_and_it_is_nobodys_parent() -> None:
    run = Run(task("a"), on_failure=True)
    graph = run.version.graph
    assert (graph.children[1], graph.roots) == ((), (0,))
    run.end("a", FAILED)
    run.end(ON_FAILURE, FAILED)
    assert (run.state.is_over, run.status(), run.may_run()) == (True, RunStatus.FAILED, set())
    assert len(run.decisions) == 2


def test_c_6_47_a_failing_task_with_an_on_failure_task() -> None:
    run = Run(task("a"), on_failure=True)
    run.end("a", FAILED)
    run.end(ON_FAILURE)
    assert run.outcomes() == {"a": FAILED, ON_FAILURE: DONE}


@pytest.mark.parametrize(("second", "expected"), [(DONE, None), (FAILED, CANCELLED), (CANCELLED, CANCELLED)])
def test_c_6_48_an_on_success_task_runs_only_if_all_leaves_completed(second: Outcome, expected: Outcome | None) -> None:
    run = Run(task("first"), task("second"), task("success", "first", "second"))
    run.end("first")
    run.end("second", second)
    assert run.outcome("success") is expected
    assert ("success" in run.may_run()) == (expected is None)


@pytest.mark.parametrize("outcome", [CANCELLED, Outcome.SCHEDULING_TIMED_OUT])
def test_c_6_49_neither_cancel_nor_schedule_timeout_starts_it(outcome: Outcome) -> None:
    run = Run(task("a"), task("b", "a"), on_failure=True)
    run.end("a", outcome)
    assert run.decision(ON_FAILURE).verdict is Verdict.SKIP
    assert run.status() is RunStatus.CANCELLED
