"""The total transition table (behaviour-core C-6.5), replays (C-15.12), budgets and delays of retries (C-6.20 ff.)."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchet.core.run_tasks import SKIPPED_OUTPUT
from hatchet.core.statuses import Outcome, RunStatus
from hatchet.core.transitions import (
    DEFAULT_BACKOFF_CAP_SECONDS,
    HAND_OVER_DELAYS,
    Counters,
    Decision,
    Event,
    EventKind,
    Policy,
    State,
    decide,
    replayed,
    retry_delay,
    status_of,
)

NOW = 1_750_000_000.0
NONE_LEFT = Counters(attempt=0, app_retries=0, internal_retries=0)
PLAIN = Policy(retries=0, backoff_factor=None, backoff_max_seconds=None, execution_timeout="5s")

DECIDING = {
    (State.PENDING, EventKind.CANCELLED): Outcome.CANCELLED,
    (State.PENDING, EventKind.SKIPPED): Outcome.SKIPPED,
    **{
        (state, EventKind.OUTRUN): Outcome.OUTRUN
        for state in (State.PENDING, State.BACKOFF, State.QUEUED, State.RUNNING, State.EVICTED)
    },
    (State.QUEUED, EventKind.REFUSED): Outcome.FAILED,
    (State.BACKOFF, EventKind.CANCELLED): Outcome.CANCELLED,
    (State.QUEUED, EventKind.CANCELLED): Outcome.CANCELLED,
    (State.QUEUED, EventKind.SCHEDULE_TIMED_OUT): Outcome.SCHEDULING_TIMED_OUT,
    (State.RUNNING, EventKind.COMPLETED): Outcome.COMPLETED,
    (State.RUNNING, EventKind.FAILED): Outcome.FAILED,
    (State.RUNNING, EventKind.CANCELLED): Outcome.CANCELLED,
    (State.RUNNING, EventKind.EXECUTION_TIMED_OUT): Outcome.TIMED_OUT,
    (State.RUNNING, EventKind.WORKER_LOST): Outcome.REASSIGNED,
    (State.RUNNING, EventKind.HAND_OVER_FAILED): Outcome.COULD_NOT_SEND,
    (State.RUNNING, EventKind.EVICTED): Outcome.EVICTED,
    (State.EVICTED, EventKind.CANCELLED): Outcome.CANCELLED,
}
"""Every pair that decides something, and the outcome; all other pairs change nothing."""

counters = st.builds(Counters, st.integers(0, 500), st.integers(0, 50), st.integers(0, 30), st.integers(0, 90))
factors = st.none() | st.floats(1, 1000, allow_nan=False)
policies = st.builds(
    Policy,
    retries=st.integers(0, 50),
    backoff_factor=factors,
    backoff_max_seconds=st.none() | st.integers(1, 86_400),
    execution_timeout=st.sampled_from(["5s", "1m", "1h30m"]),
    max_internal_retries=st.integers(0, 20),
)
events = st.builds(
    Event,
    kind=st.sampled_from(EventKind),
    at=st.floats(1e9, 2e9),
    payload=st.text(max_size=20),
    should_not_retry=st.booleans(),
    retry_after_ms=st.none() | st.integers(-1000, 1_000_000),
)


def decided(
    state: State, kind: EventKind, policy: Policy = PLAIN, counts: Counters = NONE_LEFT, **fields: object
) -> Decision:
    decision = decide(state, replace(Event(kind, NOW), **fields), policy, counts)
    assert decision is not None
    return decision


@pytest.mark.parametrize(("state", "kind"), list(itertools.product(State, EventKind)))
def test_c_6_5_every_pair_of_state_and_event_has_its_answer(state: State, kind: EventKind) -> None:
    decision = decide(state, Event(kind, NOW), PLAIN, NONE_LEFT)
    assert (None if decision is None else decision.outcome) == DECIDING.get((state, kind))


def test_c_6_5_the_moves_that_the_table_allows() -> None:
    moves = {
        (status_of(state), _shown_after(decision))
        for state, kind in itertools.product(State, EventKind)
        for policy in (PLAIN, replace(PLAIN, retries=1), replace(PLAIN, max_internal_retries=0))
        if (decision := decide(state, Event(kind, NOW), policy, NONE_LEFT)) is not None
    }
    moves |= {(status_of(state), RunStatus.QUEUED) for state in State if replayed(state, NONE_LEFT) is not None}
    queued, running = RunStatus.QUEUED, RunStatus.RUNNING
    completed, failed, cancelled = RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED
    assert moves == {
        # A skipped task never ran (C-6.3).
        *itertools.product([queued], [completed, cancelled]),
        # Its limits could not be computed (C-8.35).
        (queued, failed),
        *itertools.product([running], [completed, failed, cancelled, queued]),
        # An evicted task is shown as running, so are its eviction and its cancel.
        (running, running),
        # Only a replay leads out of an end.
        *itertools.product([completed, failed, cancelled], [queued]),
    }


def _shown_after(decision: Decision) -> RunStatus:
    if decision.retry_at is None:
        return decision.outcome.status
    return status_of(State.EVICTED) if decision.outcome is Outcome.EVICTED else RunStatus.QUEUED


def test_c_6_3_a_skipped_task_is_completed_with_an_output_that_says_so() -> None:
    decision = decided(State.PENDING, EventKind.SKIPPED, replace(PLAIN, retries=5))
    assert (decision.outcome, decision.outcome.status) == (Outcome.SKIPPED, RunStatus.COMPLETED)
    assert (decision.output, decision.error, decision.retry_at) == ('{"skipped":true}', None, None)
    assert decision.output == SKIPPED_OUTPUT


def test_c_6_6_a_task_that_never_ran_may_end() -> None:
    ends = {
        decision.outcome
        for kind in EventKind
        if (decision := decide(State.PENDING, Event(kind, NOW), PLAIN, NONE_LEFT)) is not None
    }
    assert ends == {Outcome.CANCELLED, Outcome.OUTRUN, Outcome.SKIPPED}


@pytest.mark.parametrize("state", [State.QUEUED, State.BACKOFF, State.RUNNING])
def test_c_6_3_a_task_that_may_run_is_not_skipped_any_more(state: State) -> None:
    assert decide(state, Event(EventKind.SKIPPED, NOW), PLAIN, NONE_LEFT) is None


@pytest.mark.parametrize("kind", [kind for kind in EventKind if kind.value.endswith("TIMED_OUT")])
def test_c_6_33_and_c_6_34_no_timeout_runs_while_a_task_waits_for_its_parents(kind: EventKind) -> None:
    assert decide(State.PENDING, Event(kind, NOW), PLAIN, NONE_LEFT) is None


@pytest.mark.parametrize("state", [State.PENDING, State.BACKOFF, State.QUEUED, State.RUNNING, State.EVICTED])
def test_c_15_10_only_finished_work_is_replayed(state: State) -> None:
    assert replayed(state, NONE_LEFT) is None


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
@given(counts=counters)
def test_c_15_11_and_c_15_12_a_replay_of_any_end_has_all_retries_again(state: State, counts: Counters) -> None:
    assert replayed(state, counts) == Counters(counts.attempt + 1, 0, 0, counts.evictions)


@given(counts=counters)
def test_c_15_12_after_a_replay_the_budget_is_that_of_a_first_attempt(counts: Counters) -> None:
    policy = replace(PLAIN, retries=1, backoff_factor=2.0)
    again = replayed(State.FAILED, counts)
    assert again is not None
    decision = decided(State.RUNNING, EventKind.FAILED, policy, again)
    assert (decision.retry_at, decision.app_retries) == (NOW + 2.0, 1)


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
@given(event=events, policy=policies, counts=counters)
def test_c_5_44_nothing_moves_a_task_that_has_ended(
    state: State, event: Event, policy: Policy, counts: Counters
) -> None:
    assert decide(state, event, policy, counts) is None


@given(state=st.sampled_from(State), event=events, policy=policies, counts=counters)
def test_c_6_21_at_most_one_counter_grows_and_only_with_a_further_attempt(
    state: State, event: Event, policy: Policy, counts: Counters
) -> None:
    decision = decide(state, event, policy, counts)
    if decision is None:
        return
    grown = (
        decision.app_retries - counts.app_retries,
        decision.internal_retries - counts.internal_retries,
        decision.evictions - counts.evictions,
    )
    if decision.retry_at is None:
        assert grown == (0, 0, 0)
    else:
        assert grown == (0, 0, 1) if decision.outcome is Outcome.EVICTED else grown in ((1, 0, 0), (0, 1, 0))
        assert decision.retry_at >= event.at


@given(event=events, policy=policies, counts=counters)
def test_c_6_21_a_user_retry_needs_budget_and_is_never_forbidden(
    event: Event, policy: Policy, counts: Counters
) -> None:
    for kind in (EventKind.FAILED, EventKind.EXECUTION_TIMED_OUT):
        decision = decide(State.RUNNING, replace(event, kind=kind), policy, counts)
        assert decision is not None
        has_budget = counts.app_retries < policy.retries and not event.should_not_retry
        assert (decision.retry_at is not None) == has_budget
        assert decision.app_retries == counts.app_retries + has_budget
        assert decision.internal_retries == counts.internal_retries


@given(policy=policies, counts=counters, kind=st.sampled_from([EventKind.WORKER_LOST, EventKind.HAND_OVER_FAILED]))
def test_c_2_28_engine_retries_leave_the_users_budget_alone(policy: Policy, counts: Counters, kind: EventKind) -> None:
    decision = decided(State.RUNNING, kind, policy, counts)
    assert decision.app_retries == counts.app_retries
    assert (decision.retry_at is not None) == (counts.internal_retries < policy.max_internal_retries)


@given(policy=policies, counts=counters)
def test_c_2_28_a_lost_worker_means_no_delay(policy: Policy, counts: Counters) -> None:
    decision = decided(State.RUNNING, EventKind.WORKER_LOST, policy, counts)
    assert decision.retry_at in (None, NOW)


def test_c_2_33_a_task_without_retries_is_reassigned_too() -> None:
    decision = decided(State.RUNNING, EventKind.WORKER_LOST)
    assert (decision.retry_at, decision.app_retries, decision.internal_retries) == (NOW, 0, 1)


def test_c_2_29_the_eleventh_reassignment_fails_the_task_with_an_engine_text() -> None:
    tenth = decided(State.RUNNING, EventKind.WORKER_LOST, counts=Counters(9, 0, 9))
    assert (tenth.retry_at, tenth.internal_retries) == (NOW, 10)
    last = decided(State.RUNNING, EventKind.WORKER_LOST, counts=Counters(10, 0, 10))
    assert (last.retry_at, last.internal_retries) == (None, 10)
    assert last.outcome.status is RunStatus.FAILED
    assert last.error is not None
    assert "lost" in last.error
    assert "\n" not in last.error


def test_c_2_35_hand_over_delays_grow_from_100_ms_to_5_s_and_the_last_text_names_the_cause() -> None:
    delays = []
    for internal in range(10):
        decision = decided(State.RUNNING, EventKind.HAND_OVER_FAILED, counts=Counters(internal, 0, internal))
        assert decision.retry_at is not None
        delays.append(round(decision.retry_at - NOW, 6))
    assert delays == [*HAND_OVER_DELAYS, 5.0, 5.0, 5.0, 5.0]
    assert (delays[0], max(delays)) == (0.1, 5.0)
    last = decided(
        State.RUNNING, EventKind.HAND_OVER_FAILED, counts=Counters(10, 0, 10), payload="its payload exceeds 4 MB"
    )
    assert last.retry_at is None
    assert "its payload exceeds 4 MB" in str(last.error)


def test_c_6_22_factor_2_and_maximum_10_give_2_4_8_10_10() -> None:
    policy = replace(PLAIN, retries=5, backoff_factor=2.0, backoff_max_seconds=10)
    delays = []
    for used in range(5):
        decision = decided(State.RUNNING, EventKind.FAILED, policy, Counters(used, used, 0))
        assert decision.retry_at is not None
        delays.append(decision.retry_at - NOW)
    assert delays == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_c_6_22_the_exponent_counts_user_retries_and_not_reassignments() -> None:
    policy = replace(PLAIN, retries=5, backoff_factor=3.0)
    decision = decided(State.RUNNING, EventKind.FAILED, policy, Counters(attempt=7, app_retries=0, internal_retries=7))
    assert decision.retry_at == NOW + 3.0


def test_c_6_22_without_a_factor_a_retry_is_queued_at_once() -> None:
    policy = replace(PLAIN, retries=1, backoff_max_seconds=10)
    assert decided(State.RUNNING, EventKind.FAILED, policy).retry_at == NOW


@pytest.mark.parametrize("retry", [1, 10, 1000, 10**6])
def test_c_3_13_a_factor_without_a_maximum_is_capped_at_a_day(retry: int) -> None:
    policy = replace(PLAIN, backoff_factor=1000.0)
    assert retry_delay(policy, retry, None) == min(1000.0 ** min(retry, 5), DEFAULT_BACKOFF_CAP_SECONDS)


@given(policy=policies, retry=st.integers(1, 10**9))
def test_c_6_22_a_delay_never_overflows_nor_passes_its_cap(policy: Policy, retry: int) -> None:
    delay = retry_delay(policy, retry, None)
    assert 0 <= delay <= (policy.backoff_max_seconds or DEFAULT_BACKOFF_CAP_SECONDS)


@given(policy=policies, retry=st.integers(1, 100))
def test_c_6_22_delays_never_shrink(policy: Policy, retry: int) -> None:
    assert retry_delay(policy, retry, None) <= retry_delay(policy, retry + 1, None)


@pytest.mark.parametrize(("given_ms", "seconds"), [(0, 0.0), (1, 0.001), (1000, 1.0), (-5, 0.0)])
def test_c_6_27_retry_after_replaces_the_computed_delay(given_ms: int, seconds: float) -> None:
    policy = replace(PLAIN, retries=2, backoff_factor=10.0)
    decision = decided(State.RUNNING, EventKind.FAILED, policy, retry_after_ms=given_ms)
    assert (decision.retry_at, decision.app_retries) == (NOW + seconds, 1)


@pytest.mark.parametrize(("retries", "forbidden"), [(0, False), (3, True)])
def test_c_6_27_retry_after_gives_no_retry_that_is_not_left(retries: int, forbidden: bool) -> None:
    policy = replace(PLAIN, retries=retries)
    decision = decided(
        State.RUNNING, EventKind.FAILED, policy, payload="boom", should_not_retry=forbidden, retry_after_ms=5
    )
    assert (decision.retry_at, decision.outcome, decision.error) == (None, Outcome.FAILED, "boom")


@given(policy=policies, counts=counters, kind=st.sampled_from([EventKind.CANCELLED, EventKind.SCHEDULE_TIMED_OUT]))
def test_c_6_28_cancelled_and_schedule_timeout_are_never_retried(
    policy: Policy, counts: Counters, kind: EventKind
) -> None:
    for state in (State.PENDING, State.BACKOFF, State.QUEUED, State.RUNNING, State.EVICTED):
        decision = decide(state, Event(kind, NOW), policy, counts)
        if decision is not None:
            assert (decision.retry_at, decision.output, decision.error) == (None, None, None)
            assert decision.outcome.status is RunStatus.CANCELLED


def test_c_6_34_the_wait_for_a_retry_does_not_count_for_the_schedule_timeout() -> None:
    assert decide(State.BACKOFF, Event(EventKind.SCHEDULE_TIMED_OUT, NOW), PLAIN, NONE_LEFT) is None


@pytest.mark.parametrize("timeout", ["5s", "1h30m", "0.5s"])
def test_c_6_30_the_text_names_the_timeout_as_registered(timeout: str) -> None:
    decision = decided(State.RUNNING, EventKind.EXECUTION_TIMED_OUT, replace(PLAIN, execution_timeout=timeout))
    assert decision.error == f"Task exceeded timeout of {timeout}"
    assert decision.outcome.status is RunStatus.FAILED


@pytest.mark.parametrize(("payload", "output"), [("", None), ("null", "null"), ('{"a":1}', '{"a":1}')])
def test_c_5_30_an_empty_payload_is_no_output(payload: str, output: str | None) -> None:
    assert decided(State.RUNNING, EventKind.COMPLETED, payload=payload).output == output


@given(text=st.text())
def test_c_5_42_an_error_text_is_kept_as_it_is(text: str) -> None:
    for retries in (0, 1):
        policy = replace(PLAIN, retries=retries)
        assert decided(State.RUNNING, EventKind.FAILED, policy, payload=text).error == text


def test_c_6_23_a_wait_for_a_retry_is_shown_as_queued() -> None:
    assert {state: status_of(state) for state in State} == {
        State.PENDING: RunStatus.QUEUED,
        State.BACKOFF: RunStatus.QUEUED,
        State.QUEUED: RunStatus.QUEUED,
        State.RUNNING: RunStatus.RUNNING,
        State.EVICTED: RunStatus.RUNNING,
        State.COMPLETED: RunStatus.COMPLETED,
        State.FAILED: RunStatus.FAILED,
        State.CANCELLED: RunStatus.CANCELLED,
    }


def test_c_6_1_the_statuses_and_those_that_are_an_end() -> None:
    assert [status.value for status in RunStatus] == [
        "QUEUED",
        "RUNNING",
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "EVICTED",
    ]
    ends = {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}
    assert {status for status in RunStatus if status.is_terminal} == ends
    assert {outcome.status for outcome in Outcome if outcome is not Outcome.EVICTED} == ends


def test_c_6_4_every_last_outcome_has_its_status() -> None:
    assert {outcome: outcome.status for outcome in Outcome} == {
        Outcome.COMPLETED: RunStatus.COMPLETED,
        Outcome.SKIPPED: RunStatus.COMPLETED,
        Outcome.FAILED: RunStatus.FAILED,
        Outcome.TIMED_OUT: RunStatus.FAILED,
        Outcome.CANCELLED: RunStatus.CANCELLED,
        Outcome.OUTRUN: RunStatus.CANCELLED,
        Outcome.SCHEDULING_TIMED_OUT: RunStatus.CANCELLED,
        Outcome.REASSIGNED: RunStatus.FAILED,
        Outcome.COULD_NOT_SEND: RunStatus.FAILED,
        # Never the last: what it says is how the task is shown until it goes on.
        Outcome.EVICTED: RunStatus.RUNNING,
    }


@given(policy=policies, counts=counters, reason=st.text(max_size=20))
def test_d_17_8_an_eviction_uses_up_no_retry_and_waits_for_a_restore(
    policy: Policy, counts: Counters, reason: str
) -> None:
    decision = decided(State.RUNNING, EventKind.EVICTED, policy, counts, payload=reason)
    assert (decision.outcome, decision.retry_at, decision.output) == (Outcome.EVICTED, math.inf, None)
    assert (decision.app_retries, decision.internal_retries) == (counts.app_retries, counts.internal_retries)
    assert decision.evictions == counts.evictions + 1
    assert decision.error == (reason or None)


@pytest.mark.parametrize("kind", [EventKind.SCHEDULE_TIMED_OUT, EventKind.EXECUTION_TIMED_OUT, EventKind.WORKER_LOST])
def test_d_17_14_neither_timeouts_nor_a_lost_worker_touch_an_evicted_task(kind: EventKind) -> None:
    assert decide(State.EVICTED, Event(kind, NOW), PLAIN, NONE_LEFT) is None


@given(counts=counters)
def test_d_5_7_the_count_of_retries_grows_with_a_replay_and_not_with_evictions(counts: Counters) -> None:
    evicted = decided(State.RUNNING, EventKind.EVICTED, counts=counts)
    after = Counters(counts.attempt + 1, evicted.app_retries, evicted.internal_retries, evicted.evictions)
    assert after.attempt - after.evictions == counts.attempt - counts.evictions
    again = replayed(State.COMPLETED, after)
    assert again is not None
    assert again.attempt - again.evictions == counts.attempt - counts.evictions + 1
