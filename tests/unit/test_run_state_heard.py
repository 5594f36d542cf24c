"""Until when events are known bounds what sleeps decide (behaviour-core C-8.38); what a single event meets (C-8.23)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from run_model import AT, Run, event, or_, output, sleep, task

from hatchet.core.event_match import Happened
from hatchet.core.messages import EventRecord
from hatchet.core.run_state import RunState
from hatchet.core.run_tasks import Decision, Verdict

LATER = AT + 60


def advanced(state: RunState, heard: float) -> dict[int, Decision]:
    changes = state.advance(state.undecided(), LATER, lambda index: heard if state.listens(index) else LATER)
    return {change.index: change.decision for change in changes}


def test_a_sleep_decides_nothing_that_an_event_might_have_decided_before() -> None:
    state = Run(task("t", wait_for=[event("e")], skip_if=[sleep(5)])).state
    for heard in (0.0, AT, AT + 4):
        waits = advanced(state, heard)[0]
        assert (waits.verdict, waits.wakes_at, waits.listens_since) == (Verdict.WAIT, AT + 5, AT)
    skipped = advanced(state, AT + 5)[0]
    assert (skipped.verdict, skipped.at) == (Verdict.SKIP, AT + 5)


def test_an_event_that_is_found_late_counts_from_its_own_time() -> None:
    state = Run(task("t", wait_for=[event("e")], skip_if=[sleep(5)])).state
    assert advanced(state, 0.0)[0].verdict is Verdict.WAIT
    assert state.matched(0, 0, 0, AT + 4)
    assert not state.listens(0)
    queued = advanced(state, 0.0)[0]
    assert (queued.verdict, queued.at) == (Verdict.QUEUE, AT + 4)


def test_what_events_could_still_meet_is_waited_for_also_when_others_came() -> None:
    state = Run(task("t", wait_for=[event("e"), event("f")], cancel_if=[sleep(5)])).state
    assert state.matched(0, 0, 0, AT + 1)
    assert state.listens(0)
    assert advanced(state, AT + 2)[0].verdict is Verdict.WAIT
    assert advanced(state, AT + 5)[0].verdict is Verdict.CANCEL


def test_parents_and_tasks_without_events_are_decided_as_ever() -> None:
    run = Run(
        task("a"),
        task("napped", "a", wait_for=[sleep(5)]),
        task("chosen", "a", wait_for=[or_(output("a", "true"), event("e"))]),
    )
    run.end("a")
    state = run.state
    assert [state.listens(index) for index in range(3)] == [False, False, True]
    # What the output decides was decided with the end of the parent, and an event has no say in it.
    assert run.may_run() == {"chosen"}
    assert advanced(state, 0.0)[1].verdict is Verdict.QUEUE


def test_a_parent_that_has_ended_wakes_nobody_later() -> None:
    run = Run(task("a"), task("t", "a", wait_for=[or_(event("e")), or_(output("a", "true"))]))
    run.end("a", after=7)
    waits = run.state.decide(1, 0.0)
    assert (waits.verdict, waits.wakes_at, waits.listens_since) == (Verdict.WAIT, None, run.now)


def test_what_is_below_a_task_that_is_skipped_by_its_sleep_waits_for_its_own_events() -> None:
    run = Run(task("t", wait_for=[event("e")], skip_if=[sleep(5)]), task("u", "t", skip_if=[sleep(5)]))
    changes = run.state.advance([0], LATER, lambda index: LATER)
    assert [(change.index, change.decision.verdict) for change in changes] == [(0, Verdict.SKIP), (1, Verdict.SKIP)]
    fresh = Run(task("t", wait_for=[event("e")], skip_if=[sleep(5)]), task("u", "t", cancel_if=[event("f"), sleep(9)]))
    changes = fresh.state.advance([0], LATER, lambda index: LATER if index == 0 else 0.0)
    assert [(change.index, change.decision.verdict) for change in changes] == [(0, Verdict.SKIP), (1, Verdict.SKIP)]


@pytest.mark.parametrize(
    ("key", "scope", "payload", "expected"),
    [
        ("e", "s", '{"n":1}', True),
        ("E", "s", '{"n":1}', False),
        ("e", None, '{"n":1}', False),
        ("e", "other", '{"n":1}', False),
        ("e", "s", '{"n":2}', False),
        ("e", "s", "{}", False),
        ("e", "s", "", False),
    ],
)
def test_c_8_23_key_scope_and_expression_must_fit(key: str, scope: str | None, payload: str, expected: bool) -> None:
    record = EventRecord(
        tenant_id="",
        id="",
        key=key,
        payload=payload,
        additional_metadata="",
        scope=scope,
        priority=None,
        happened_at=AT,
        inserted_at=AT,
    )
    wanted = replace(event("e"), event_scope="s", expression="input.n == 1")
    assert Happened(record).meets(wanted) is expected
