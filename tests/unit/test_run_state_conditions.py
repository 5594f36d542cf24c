"""What sleeps, events and outputs of parents decide about a task (behaviour-core C-8.4 to C-8.28, C-8.38)."""

from __future__ import annotations

import pytest
from run_model import AT, Run, event, or_, output, sleep, task

from hatchet.core.run_state import RunState
from hatchet.core.run_tasks import DEAD_END, Verdict
from hatchet.core.statuses import Outcome, RunStatus

DONE, FAILED, CANCELLED, SKIPPED = Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED, Outcome.SKIPPED


def started_after(run: Run, name: str) -> float:
    """Seconds from the run's creation to the decision that the task runs."""
    decision = run.decision(name)
    assert decision.verdict is Verdict.QUEUE
    return decision.at - AT


# Groups and the order of actions ------------------------------------------------------------------------------------


def test_c_8_4_all_groups_must_hold_and_one_member_satisfies_a_group() -> None:
    run = Run(task("t", wait_for=[or_(event("a"), event("b")), or_(event("c"), event("d"))]))
    run.push("a")
    run.push("b")
    assert run.may_run() == set()
    run.push("d")
    assert run.may_run() == {"t"}
    # Those that held are told apart from the one that did not.
    assert run.decision("t").met == (0, 1, 3)


def test_c_8_4_groups_of_different_actions_have_nothing_to_do_with_each_other() -> None:
    run = Run(task("t", wait_for=[event("go")], skip_if=[event("x"), event("y")]))
    run.push("x")
    assert run.outcome("t") is None
    run.push("go")
    assert run.may_run() == {"t"}


@pytest.mark.parametrize(
    ("actions", "verdict"),
    [
        (("wait_for", "skip_if", "cancel_if"), Verdict.SKIP),
        (("wait_for", "skip_if"), Verdict.SKIP),
        (("skip_if", "cancel_if"), Verdict.SKIP),
        (("wait_for", "cancel_if"), Verdict.CANCEL),
        (("wait_for",), Verdict.QUEUE),
    ],
)
def test_c_8_5_skip_goes_before_cancel_and_cancel_before_queue(actions: tuple[str, ...], verdict: Verdict) -> None:
    run = Run(task("t", **{action: [event("e")] for action in actions}))
    run.pass_time(1)
    if "wait_for" in actions:
        run.push("e")
        assert run.decision("t").verdict is verdict
    by_time = Run(task("t", wait_for=[sleep(9)], **{a: [sleep(5)] for a in actions if a != "wait_for"}))
    by_time.pass_time(60)
    assert by_time.decision("t").verdict is verdict


def test_c_8_6_the_first_satisfied_action_decides_for_good() -> None:
    run = Run(task("t", wait_for=[event("go")], skip_if=[event("no")], cancel_if=[sleep(5)]))
    run.push("go")
    assert run.waits == {}
    run.push("no")
    run.pass_time(10)
    assert run.may_run() == {"t"}
    assert run.state.advance([0], run.now) == []
    assert not run.state.matched(0, 0, 1, run.now)


def test_c_8_6_late_timers_still_decide_in_the_order_of_their_times() -> None:
    run = Run(task("t", wait_for=[sleep(3)], cancel_if=[sleep(2)]))
    run.pass_time(60, late=True)
    assert (run.decision("t").verdict, run.decision("t").at) == (Verdict.CANCEL, AT + 2)


# Two stages ---------------------------------------------------------------------------------------------------------


def test_c_8_7_a_root_task_listens_from_its_creation() -> None:
    run = Run(task("t", wait_for=[event("e")]))
    assert run.waits[0].listens_since == AT
    run.push("e")
    assert run.may_run() == {"t"}


def test_c_8_7_sleeps_and_events_are_registered_when_the_last_parent_has_ended() -> None:
    run = Run(task("a"), task("b"), task("t", "a", "b", wait_for=[or_(sleep(10), event("e"))]))
    run.end("a")
    assert run.waits == {}
    run.push("e")
    run.end("b")
    assert run.outcome("t") is None
    assert (run.waits[2].listens_since, run.waits[2].wakes_at) == (run.now, run.now + 10)


def test_c_8_8_a_sleep_is_counted_from_the_end_of_the_parents() -> None:
    run = Run(task("start"), task("t", "start", wait_for=[sleep(10)]))
    run.end("start", after=7)
    run.pass_time(9.5)
    assert run.may_run() == set()
    run.pass_time(30)
    assert started_after(run, "t") == 17


def test_c_8_8_an_event_before_the_end_of_the_parents_does_not_count() -> None:
    run = Run(task("start"), task("t", "start", wait_for=[event("e")]))
    run.push("e")
    run.end("start")
    assert run.may_run() == set()
    run.push("e")
    assert run.may_run() == {"t"}


def test_c_8_8_an_event_of_a_clock_that_is_behind_counts_from_the_registration() -> None:
    run = Run(task("start"), task("t", "start", skip_if=[event("e")], cancel_if=[output("start", "true")]))
    run.state.ended(0, 0, DONE, AT + 5, "{}")
    assert run.state.matched(1, 0, 0, AT + 4.9)
    assert run.state.decide(1, AT + 6).verdict is Verdict.SKIP
    assert run.state.decide(1, AT + 6).at == AT + 5


def test_c_8_9_an_event_that_nobody_waits_for_is_dropped() -> None:
    run = Run(task("t", wait_for=[event("e")]))
    run.push("other")
    assert run.outcome("t") is None
    assert run.facts == []


def test_c_8_10_an_event_skips_at_once_while_the_task_sleeps() -> None:
    run = Run(task("start"), task("t", "start", wait_for=[sleep(30)], skip_if=[event("e")]))
    run.end("start")
    run.pass_time(3)
    run.push("e")
    assert run.outcome("t") is SKIPPED
    assert run.decision("t").at == run.now


def test_c_8_11_without_the_event_the_task_is_skipped_after_its_sleep() -> None:
    run = Run(task("start"), task("t", "start", wait_for=[event("e")], skip_if=[sleep(12)]))
    run.end("start")
    run.pass_time(11)
    assert run.outcome("t") is None
    run.pass_time(1)
    assert (run.outcome("t"), run.decision("t").at) == (SKIPPED, AT + 13)


def test_c_8_11_with_the_event_before_the_task_runs() -> None:
    run = Run(task("start"), task("t", "start", wait_for=[event("e")], skip_if=[sleep(12)]))
    run.end("start")
    run.pass_time(11)
    run.push("e")
    run.pass_time(60)
    assert run.may_run() == {"t"}


@pytest.mark.parametrize(
    ("wait_for", "cancel_if", "pushes", "at"),
    [
        ([sleep(30)], [event("e")], True, 3),
        ([event("go")], [sleep(8)], False, 8),
        ([event("go")], [or_(event("e"), sleep(8))], True, 3),
        ([event("go")], [or_(event("e"), sleep(8))], False, 8),
    ],
)
def test_c_8_12_cancel_if_cancels_task_children_and_run(
    wait_for: list[object], cancel_if: list[object], pushes: bool, at: float
) -> None:
    waiting = task("t", "start", wait_for=wait_for, cancel_if=cancel_if)  # type: ignore[arg-type]
    run = Run(task("start"), waiting, task("child", "t"))
    run.end("start", after=0)
    run.pass_time(3)
    if pushes:
        run.push("e")
    run.pass_time(60)
    assert run.decision("t").at == AT + at
    assert run.outcomes() == {"start": DONE, "t": CANCELLED, "child": CANCELLED}
    assert run.status() is RunStatus.CANCELLED


def test_c_8_13_an_event_of_an_or_group_starts_the_task() -> None:
    run = Run(task("t", wait_for=[or_(sleep(60), event("e"))]))
    run.pass_time(2)
    run.push("e")
    assert run.may_run() == {"t"}
    # Only the event is told to the task (C-5.13).
    assert run.decision("t").met == (1,)


def test_c_8_13_a_task_wakes_for_the_next_of_its_sleeps() -> None:
    run = Run(task("t", wait_for=[or_(sleep(60), event("e"))], skip_if=[sleep(5), event("no")]))
    assert run.waits[0].wakes_at == AT + 5
    run.pass_time(5)
    assert run.waits[0].wakes_at == AT + 60
    run.pass_time(60)
    assert run.may_run() == {"t"}


def test_c_8_14_the_first_sleep_and_one_of_the_second_group() -> None:
    groups = [or_(sleep(30)), or_(sleep(40), event("p"))]
    with_event = Run(task("t", wait_for=groups))
    with_event.push("p")
    assert with_event.may_run() == set()
    with_event.pass_time(60)
    assert started_after(with_event, "t") == 30
    without = Run(task("t", wait_for=groups))
    without.pass_time(60)
    assert started_after(without, "t") == 40


# Outputs of parents -------------------------------------------------------------------------------------------------


def test_c_8_15_an_expression_sees_the_output_when_the_parent_completed() -> None:
    run = Run(task("a"), task("b"), task("t", "a", "b", wait_for=[output("a", "output.n == 2")]))
    run.end("a", output='{"n": 2}')
    assert run.may_run() == {"b"}
    run.end("b")
    assert run.may_run() == {"t"}
    assert run.decision("t").met == (0,)


@pytest.mark.parametrize("outcome", [FAILED, CANCELLED])
def test_c_8_15_a_parent_that_did_not_complete_satisfies_no_expression(outcome: Outcome) -> None:
    run = Run(task("a"), task("t", "a", skip_if=[output("a", "true")]))
    run.end("a", outcome, output='{"n": 2}')
    assert run.outcome("t") is CANCELLED


def test_c_8_16_a_false_expression_leaves_it_to_the_partners_of_its_group() -> None:
    run = Run(task("a"), task("t", "a", wait_for=[or_(output("a", "output.n > 1"), event("e"))]))
    run.end("a", output='{"n": 1}')
    assert run.outcome("t") is None
    run.push("e")
    assert run.may_run() == {"t"}


def test_c_8_16_a_group_that_cannot_be_satisfied_waits_to_be_skipped() -> None:
    run = Run(task("a"), task("t", "a", wait_for=[output("a", "output.n > 1")], skip_if=[event("e")]))
    run.end("a", output='{"n": 1}')
    assert run.waits[1].listens_since == run.now
    run.push("e")
    assert run.outcome("t") is SKIPPED


def test_c_8_16_a_task_that_nothing_can_decide_any_more_is_cancelled_with_a_reason() -> None:
    run = Run(task("a"), task("t", "a", wait_for=[output("a", "output.n > 1"), sleep(5)]))
    run.end("a", output='{"n": 1}')
    decision = run.decision("t")
    assert (decision.verdict, decision.reason, decision.at) == (Verdict.CANCEL, DEAD_END, run.now)
    assert run.state.is_over


def test_c_8_17_a_true_skip_expression_skips_as_soon_as_its_parents_are_there() -> None:
    run = Run(task("a"), task("slow"), task("t", "a", "slow", skip_if=[output("a", "output.n > 1")]))
    run.end("a", output='{"n": 2}')
    assert run.outcome("t") is SKIPPED
    assert run.may_run() == {"slow"}


def test_c_8_17_skip_expressions_over_two_parents_need_both() -> None:
    both = [output("a", "output.n > 1"), output("b", "output.n > 1")]
    run = Run(task("a"), task("b"), task("slow"), task("t", "a", "b", "slow", skip_if=both))
    run.end("a", output='{"n": 2}')
    assert run.outcome("t") is None
    run.end("b", output='{"n": 2}')
    assert run.outcome("t") is SKIPPED


def test_c_8_17_after_a_false_skip_expression_the_usual_rules_go_on() -> None:
    run = Run(task("a"), task("b"), task("t", "a", "b", skip_if=[output("a", "output.n > 1")]))
    run.end("a", output='{"n": 1}')
    run.end("b")
    assert run.may_run() == {"t"}


def test_c_8_17_a_skip_expression_replaces_the_rule_about_skipped_parents() -> None:
    parents = (task("a", skip_if=[sleep(0)]), task("b", skip_if=[sleep(0)]))
    run = Run(*parents, task("t", "a", "b", skip_if=[output("a", "has(output.n)")]), task("u", "a", "b"))
    assert run.outcome("u") is SKIPPED
    assert run.may_run() == {"t"}


def test_c_8_18_cancel_if_over_an_output() -> None:
    run = Run(task("a"), task("b"), task("t", "a", "b", cancel_if=[output("a", "output.n > 1")]))
    run.end("a", output='{"n": 2}')
    assert run.outcome("t") is CANCELLED


def test_c_8_18_a_failed_parent_still_cancels_beside_a_false_cancel_if() -> None:
    run = Run(task("a"), task("b"), task("t", "a", "b", cancel_if=[output("a", "output.n > 1")]))
    run.end("a", output='{"n": 1}')
    assert run.outcome("t") is None
    run.end("b", FAILED)
    assert run.outcome("t") is CANCELLED


def test_c_8_19_skip_if_on_one_of_two_parents() -> None:
    run = Run(task("a"), task("b"), task("t", "a", "b", skip_if=[output("b", "output.n == 1")]))
    run.end("a")
    run.end("b", output='{"n": 1}')
    assert run.outcome("t") is SKIPPED


@pytest.mark.parametrize("number", [10, 90])
def test_c_8_19_of_two_siblings_with_opposite_expressions_one_is_skipped(number: int) -> None:
    left = task("left", "start", skip_if=[output("start", "output.random_number > 50")])
    right = task("right", "start", skip_if=[output("start", "output.random_number <= 50")])
    run = Run(task("start"), left, right, task("end", "left", "right"))
    run.end("start", output=f'{{"random_number": {number}}}')
    skipped, runs = ("left", "right") if number > 50 else ("right", "left")
    assert (run.outcome(skipped), run.may_run()) == (SKIPPED, {runs})
    run.end(runs)
    assert run.may_run() == {"end"}


def test_c_8_19_skip_if_with_one_true_member_of_an_or() -> None:
    run = Run(task("a"), task("t", "a", skip_if=[or_(output("a", "output.n == 1"), output("a", "output.n == 2"))]))
    run.end("a", output='{"n": 2}')
    assert run.outcome("t") is SKIPPED


def test_c_8_20_cancel_if_over_an_output_cancels_children_and_run() -> None:
    cancelled = task("t", "a", cancel_if=[output("a", "output.random_number > 1")])
    run = Run(task("a"), cancelled, task("child", "t"))
    run.end("a", output='{"random_number": 2}')
    assert (run.outcome("t"), run.outcome("child")) == (CANCELLED, CANCELLED)
    assert run.status() is RunStatus.CANCELLED


def test_c_8_22_the_output_of_a_skipped_parent() -> None:
    run = Run(
        task("a", skip_if=[sleep(0)]),
        task("b"),
        task("sees it", "a", "b", cancel_if=[output("a", "output.skipped")]),
        task("misses a field", "a", "b", skip_if=[output("a", "output.n < 5")]),
    )
    run.end("b")
    assert run.outcome("sees it") is CANCELLED
    assert run.may_run() == {"misses a field"}


@pytest.mark.parametrize("text", [None, "{}", '{"n": "2"}', "[2]", "2", "null"])
def test_c_8_22_what_cannot_be_evaluated_is_not_satisfied(text: str | None) -> None:
    run = Run(task("a"), task("t", "a", cancel_if=[output("a", "output.n > 1")]))
    run.end("a", output=text)
    assert run.may_run() == {"t"}


def test_c_8_35_a_condition_of_another_type_is_not_satisfied() -> None:
    run = Run(task("a"), task("t", "a", cancel_if=[output("a", "output.n")]))
    run.end("a", output='{"n": 1}')
    assert run.may_run() == {"t"}


def test_c_8_27_one_event_may_satisfy_any_number_of_tasks() -> None:
    run = Run(task("a", wait_for=[event("e")]), task("b", wait_for=[event("e")], skip_if=[event("e")]))
    run.push("e")
    assert run.may_run() == {"a"}
    assert run.outcome("b") is SKIPPED


def test_an_event_counts_once_for_a_condition_and_only_for_its_attempt() -> None:
    state = Run(task("t", wait_for=[event("a"), event("b")])).state
    assert state.matched(0, 0, 0, AT + 1)
    assert not state.matched(0, 0, 0, AT + 2)
    assert not state.matched(0, 1, 1, AT + 2)
    assert state.tasks[0].matches == {0: AT + 1}


# Groups that mix kinds ----------------------------------------------------------------------------------------------


def test_c_8_38_a_true_expression_is_kept_while_other_parents_run() -> None:
    waiting = task("t", "a", "b", wait_for=[or_(output("a", "output.n > 1"), sleep(60))])
    run = Run(task("a"), task("b"), waiting)
    run.end("a", output='{"n": 2}')
    assert run.may_run() == {"b"}
    run.end("b", after=7)
    assert started_after(run, "t") == 8


def test_c_8_38_a_false_expression_waits_for_the_sleep_of_its_group() -> None:
    run = Run(task("a"), task("t", "a", wait_for=[or_(output("a", "output.n > 1"), sleep(60))]))
    run.end("a", output='{"n": 1}')
    run.pass_time(100)
    assert started_after(run, "t") == 61


def test_c_8_38_skip_if_of_an_expression_or_an_event() -> None:
    mixed = task("t", "a", skip_if=[or_(output("a", "output.n > 1"), event("e"))], wait_for=[sleep(30)])
    at_once = Run(task("a"), mixed)
    at_once.end("a", output='{"n": 2}')
    assert at_once.outcome("t") is SKIPPED
    later = Run(task("a"), mixed)
    later.end("a", output='{"n": 1}')
    later.push("e")
    assert later.outcome("t") is SKIPPED


def test_c_8_38_the_skip_form_needs_all_its_groups_whatever_their_kinds() -> None:
    mixed = task("t", "a", skip_if=[output("a", "output.n > 1"), sleep(5)], wait_for=[sleep(10)])
    run = Run(task("a"), mixed)
    run.end("a", output='{"n": 2}')
    assert run.outcome("t") is None
    run.pass_time(60)
    assert (run.outcome("t"), run.decision("t").at) == (SKIPPED, AT + 6)


def test_c_8_38_without_conditions_to_queue_the_parents_alone_start_it() -> None:
    run = Run(task("a"), task("t", "a", cancel_if=[event("e")], skip_if=[sleep(5)]))
    run.end("a")
    assert run.may_run() == {"t"}


def test_c_8_38_a_failed_parent_cancels_although_the_task_could_wait() -> None:
    run = Run(task("a"), task("b"), task("t", "a", "b", wait_for=[or_(sleep(5), event("e"))]))
    run.end("a", FAILED)
    assert run.outcome("t") is CANCELLED
    assert run.may_run() == {"b"}


def test_c_8_38_skipped_parents_skip_a_task_that_waits_for_an_event() -> None:
    run = Run(task("a", skip_if=[sleep(0)]), task("t", "a", wait_for=[event("e")], cancel_if=[sleep(9)]))
    assert run.outcome("t") is SKIPPED


def test_c_8_38_at_one_instant_skip_is_tested_before_the_broken_parent() -> None:
    run = Run(task("a"), task("b"), task("t", "a", "b", skip_if=[output("a", "output.n > 1")]))
    state = run.state
    state.ended(0, 0, DONE, AT + 3, '{"n": 2}')
    state.ended(1, 0, FAILED, AT + 3, None)
    assert state.decide(2, AT + 9).verdict is Verdict.SKIP
    earlier = RunState.fresh(run.version, AT)
    earlier.ended(0, 0, DONE, AT + 3, '{"n": 2}')
    earlier.ended(1, 0, FAILED, AT + 2, None)
    assert (earlier.decide(2, AT + 9).verdict, earlier.decide(2, AT + 9).at) == (Verdict.CANCEL, AT + 2)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_c_8_38_the_order_of_asking_makes_no_difference(order: tuple[int, ...]) -> None:
    """Before the parent's own end is noticed the child looks skipped; asked after it, cancelled."""
    child = task("child", "done", "timed", skip_if=[output("done", "true")])
    run = Run(child, task("timed", cancel_if=[sleep(5)], wait_for=[event("never")]), task("done"))
    run.state.ended(2, 0, DONE, AT + 10, "{}")
    changes = run.state.advance(order, AT + 20)
    assert [(run.name(change.index), change.decision.verdict, change.decision.at - AT) for change in changes] == [
        ("timed", Verdict.CANCEL, 5),
        ("child", Verdict.CANCEL, 5),
    ]


def test_a_parent_whose_writers_clock_is_ahead_has_ended_nevertheless() -> None:
    run = Run(task("a"), task("t", "a", skip_if=[event("e")], wait_for=[sleep(1)]))
    run.state.ended(0, 0, DONE, AT + 5, None)
    assert run.state.decide(1, AT).verdict is Verdict.WAIT
    assert run.state.decide(1, AT).wakes_at == AT + 6
    plain = Run(task("a"), task("t", "a", skip_if=[event("e")]))
    plain.state.ended(0, 0, DONE, AT + 5, None)
    assert plain.state.decide(1, AT).verdict is Verdict.QUEUE
    root = Run(task("t", skip_if=[event("e")]))
    assert root.state.fresh(root.version, AT + 5).decide(0, AT).verdict is Verdict.QUEUE
