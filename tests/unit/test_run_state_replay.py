"""What a replay of tasks opens, and what is decided anew (behaviour-core C-15.9 to C-15.17)."""

from __future__ import annotations

from typing import Any

import pytest
from run_model import AT, ON_FAILURE, Run, event, output, rebuilt, sleep, task

from hatchet.core.run_tasks import Verdict
from hatchet.core.statuses import Outcome, RunStatus

DONE, FAILED, CANCELLED, SKIPPED = Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED, Outcome.SKIPPED


def a_finished_chain() -> Run:
    run = Run(task("a"), task("b", "a"), task("c", "b"))
    for name in "abc":
        run.end(name)
    run.pass_time(100)
    return run


def test_c_15_9_a_task_is_replayed_with_what_is_below_it() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "b"), task("d", "a"), on_failure=True)
    graph = run.version.graph
    assert graph.with_descendants([1]) == {1, 2}
    assert graph.with_descendants([0]) == {0, 1, 2, 3}


def test_c_15_10_a_running_task_is_not_replayed() -> None:
    run = Run(task("a"), task("b"))
    run.end("a")
    assert run.replay_by_name("a", "b") == {"a": True}
    assert run.state.tasks[1].attempt == 0
    # A second replay finds nothing that has ended.
    assert run.replay_by_name("a", "b") == {}


def test_c_15_10_a_run_is_skipped_while_a_task_of_it_does_not_exist() -> None:
    run = Run(task("a"), task("slow"), task("c", "a", "slow"))
    run.end("a")
    assert run.replay_by_name("a", "slow", "c") == {}
    assert run.outcome("a") is DONE
    run.end("slow")
    assert run.replay_by_name("a", "slow") == {"a": True, "slow": True}


@pytest.mark.parametrize("outcome", [DONE, FAILED, CANCELLED, Outcome.TIMED_OUT, Outcome.SCHEDULING_TIMED_OUT])
def test_c_15_11_any_end_may_be_replayed(outcome: Outcome) -> None:
    run = Run(task("a"), task("b"))
    run.end("a", outcome)
    assert run.replay_by_name("a") == {"a": True}
    run.end("a")
    assert run.outcome("a") is DONE


def test_c_15_11_skipped_tasks_may_be_replayed() -> None:
    run = Run(task("a", skip_if=[sleep(0)]))
    assert run.outcome("a") is SKIPPED
    assert run.replay_by_name("a") == {"a": True}


def test_c_15_12_a_replay_opens_the_next_attempt_and_forgets_the_end() -> None:
    run = a_finished_chain()
    run.replay_by_name("a", "b", "c")
    assert [one.attempt for one in run.state.tasks] == [1, 1, 1]
    assert [one.outcome for one in run.state.tasks] == [None, None, None]
    assert [one.output for one in run.state.tasks] == [None, None, None]
    assert not run.state.ended(0, 0, DONE, run.now, None)


def test_c_15_14_tasks_below_a_replayed_one_wait_and_the_first_is_queued_at_once() -> None:
    run = a_finished_chain()
    assert run.replay_by_name("a", "b", "c") == {"a": True, "b": False, "c": False}
    assert run.may_run() == {"a"}
    run.end("a")
    assert run.may_run() == {"b"}
    assert run.decision("b").at == run.now


def test_c_15_14_sleeps_and_events_of_tasks_below_are_waited_for_anew() -> None:
    run = Run(task("a"), task("b", "a", wait_for=[sleep(5), event("e")]))
    run.end("a")
    run.push("e")
    run.pass_time(5)
    run.end("b")
    run.replay_by_name("a", "b")
    run.end("a")
    assert run.waits[1].listens_since == run.now
    run.pass_time(5)
    assert run.may_run() == set()
    run.push("e")
    assert run.may_run() == {"b"}


def test_c_15_14_the_waits_of_a_task_that_is_queued_at_once_are_not_repeated() -> None:
    run = Run(task("a"), task("b", "a", wait_for=[sleep(5), event("e")], skip_if=[event("no")]))
    run.end("a")
    run.push("e")
    run.pass_time(5)
    run.end("b")
    assert run.replay_by_name("b") == {"b": True}
    assert (run.may_run(), run.waits) == ({"b"}, {})


def test_c_15_14_a_task_is_not_queued_over_a_parent_that_runs_again() -> None:
    run = a_finished_chain()
    run.replay_by_name("a", "b", "c")
    run.cancel("b", "c")
    # The parent is not replayed by this call, as it has not ended; its child must wait for it all the same.
    assert run.replay_by_name("a", "b", "c") == {"b": False, "c": False}
    assert run.may_run() == {"a"}
    run.end("a")
    assert run.may_run() == {"b"}


@pytest.mark.parametrize(("second", "verdict"), [(DONE, Verdict.SKIP), (FAILED, Verdict.QUEUE)])
def test_c_15_15_an_on_failure_task_waits_again_for_those_replayed_with_it(second: Outcome, verdict: Verdict) -> None:
    run = Run(task("a"), task("b"), on_failure=True)
    run.end("a", FAILED)
    run.end("b")
    run.end(ON_FAILURE)
    assert run.replay_by_name("a", ON_FAILURE) == {"a": True, ON_FAILURE: False}
    assert run.may_run() == {"a"}
    run.end("a", second)
    assert run.decision(ON_FAILURE).verdict is verdict


def test_c_15_15_an_on_failure_task_alone_is_queued_at_once() -> None:
    run = Run(task("a"), on_failure=True)
    run.end("a")
    assert run.outcome(ON_FAILURE) is SKIPPED
    assert run.replay_by_name(ON_FAILURE) == {ON_FAILURE: True}
    assert run.may_run() == {ON_FAILURE}


def test_c_15_15_it_waits_also_for_those_that_were_asked_for_but_have_not_ended() -> None:
    run = Run(task("a"), on_failure=True)
    run.end("a", FAILED)
    run.end(ON_FAILURE)
    run.replay_by_name("a")
    assert run.replay_by_name("a", ON_FAILURE) == {ON_FAILURE: False}
    run.end("a")
    assert run.outcome(ON_FAILURE) is SKIPPED


def test_c_15_16_a_task_skipped_or_cancelled_at_first_is_decided_anew() -> None:
    run = Run(
        task("a"),
        task("skipped", "a", skip_if=[output("a", "output.n == 0")]),
        task("cancelled", "a", cancel_if=[output("a", "output.n == 0")]),
    )
    run.end("a", output='{"n": 0}')
    assert run.status() is RunStatus.CANCELLED
    run.replay_by_name("a", "skipped", "cancelled")
    run.end("a", output='{"n": 1}')
    assert run.may_run() == {"skipped", "cancelled"}


def test_c_8_21_and_c_15_21_a_cancel_condition_that_changes_on_replay() -> None:
    run = Run(task("a"), task("b", "a", cancel_if=[output("a", "output.retry_count == 0")]), task("c", "b"))
    run.end("a", output='{"retry_count": 0}')
    assert (run.outcome("b"), run.outcome("c")) == (CANCELLED, CANCELLED)
    run.replay([0, 1, 2])
    run.end("a", output='{"retry_count": 1}')
    run.end("b")
    run.end("c")
    assert run.status() is RunStatus.COMPLETED


def test_c_15_17_the_run_is_running_again_and_ends_again() -> None:
    run = a_finished_chain()
    assert (run.state.is_over, run.status()) == (True, RunStatus.COMPLETED)
    run.replay_by_name("a", "b", "c")
    assert (run.state.is_over, run.status()) == (False, RunStatus.RUNNING)
    assert all(run.state.exists(index) for index in range(3))
    run.end("a", FAILED)
    assert (run.state.is_over, run.status()) == (True, RunStatus.FAILED)


def test_c_15_22_replay_of_the_middle_of_a_chain() -> None:
    run = Run(task("a"), task("b", "a", cancel_if=[output("a", "output.n == 9")]), task("c", "b"))
    run.end("a", output='{"n": 1}')
    run.end("b")
    run.end("c")
    assert run.replay(run.version.graph.with_descendants([1])) == {1: True, 2: False}
    first, second, third = run.state.tasks
    assert (first.attempt, first.outcome, first.output) == (0, DONE, '{"n": 1}')
    assert (second.attempt, third.attempt) == (1, 1)
    run.end("b")
    run.end("c")
    assert run.state.is_over


def test_a_decision_after_a_replay_is_not_older_than_the_replay() -> None:
    run = Run(task("a"), task("b"), task("c", "a", "b", wait_for=[sleep(5)]), task("d", "c"))
    run.end("a")
    run.end("b")
    run.pass_time(5)
    run.end("c")
    run.end("d")
    run.pass_time(1000)
    replayed_at = run.now
    run.replay_by_name("a", "c", "d")
    run.end("a")
    run.pass_time(5)
    assert run.decision("c").at == replayed_at + 6
    assert run.decision("c").at > AT + 1000


@pytest.mark.parametrize("conditions", [{}, {"cancel_if": [event("e")]}])
def test_a_parent_that_stays_broken_cancels_again_but_not_before_the_replay(
    conditions: dict[str, list[Any]],
) -> None:
    run = Run(task("bad"), task("b"), task("c", "bad", "b", **conditions))
    run.end("bad", FAILED)
    run.end("b")
    run.pass_time(1000)
    assert run.replay_by_name("b", "c") == {"b": True, "c": False}
    assert (run.outcome("c"), run.decision("c").at) == (CANCELLED, run.now)


def test_after_a_restart_the_replay_goes_on_where_it_was() -> None:
    run = Run(task("a"), task("b", "a", wait_for=[event("e")]), on_failure=True)
    run.end("a")
    run.push("e")
    run.end("b")
    run.replay([0, 1, 2])
    run.end("a")
    again = rebuilt(run.version, run.created_at, reversed(run.facts))
    assert again.status() is RunStatus.RUNNING
    assert [task.attempt for task in again.tasks] == [1, 1, 1]
    assert again.undecided() == run.state.undecided() == [1, 2]
    assert again.decide(1, run.now) == run.waits[1]
