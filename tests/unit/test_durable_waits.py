"""What durable tasks wait for, as pure functions (behaviour-durable D-8 to D-11, D-14)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hatchet.core.durable_waits import (
    Match,
    WaitCondition,
    WaitKind,
    checked,
    described,
    fingerprint,
    from_text,
    next_due,
    open_events,
    outcome,
    sleep_seconds,
    to_text,
    wait_data,
)
from hatchet.core.errors import InvalidArgument


def sleep(text: str, group: str = "", key: str | None = None) -> WaitCondition:
    data_key = f"sleep:{text}" if key is None else key
    return WaitCondition(kind=WaitKind.SLEEP, or_group=group or text, data_key=data_key, sleep_for=text)


def event(name: str, group: str = "", key: str | None = None, **options: Any) -> WaitCondition:
    return WaitCondition(kind=WaitKind.EVENT, or_group=group or name, data_key=key or name, event_key=name, **options)


def met(conditions: list[WaitCondition], matches: dict[int, Match], now: float) -> dict[str, Any] | None:
    found = outcome(conditions, 100.0, matches, now)
    return None if found is None else json.loads(found.payload)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("5000ms", 5),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("3661s", 3661),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1y", 31_536_000),
    ],
)
def test_d_9_1_durations(text: str, seconds: float) -> None:
    assert sleep_seconds(text) == seconds


@pytest.mark.parametrize("text", ["0h", "0s", "-5s", "-1h30m", "-2d"])
def test_d_9_5_zero_and_negative_sleeps_are_over_at_once(text: str) -> None:
    assert sleep_seconds(text) == 0
    assert met([sleep(text)], {}, 100.0) == {"CREATE": {f"sleep:{text}": [{"sleep_duration": text}]}}


@pytest.mark.parametrize(
    "text", ["", "-", "5", "5x", "--5s", "+5s", "1d2h", "soon", " 5s", "1.5d", "300y", "9" * 400 + "d"]
)
def test_d_9_5_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="sleep_for"):
        sleep_seconds(text)
    with pytest.raises(InvalidArgument, match=r"wait_for_conditions\[1\].sleep_for") as refused:
        checked([event("a"), sleep(text)])
    assert len(refused.value.message) < 300


def test_d_8_an_event_condition_names_its_event() -> None:
    with pytest.raises(InvalidArgument, match=r"wait_for_conditions\[0\].user_event_key is empty"):
        checked([event("")])
    assert checked([event("a"), sleep("1s")]) == (event("a"), sleep("1s"))


def test_d_8_5_groups_are_and_ed_and_their_members_or_ed() -> None:
    wait = [sleep("5s", "one"), event("a", "one"), event("b", "two")]
    assert met(wait, {1: Match(1, 101.0, '{"n":1}')}, 1000.0) is None
    assert met(wait, {2: Match(2, 101.0, '{"n":2}')}, 104.9) is None
    assert met(wait, {1: Match(1, 101.0, '{"n":1}'), 2: Match(2, 102.0, '{"n":2}')}, 102.0) == {
        "CREATE": {"a": [{"n": 1}], "b": [{"n": 2}]}
    }


def test_d_8_6_a_wait_without_conditions_is_never_over() -> None:
    assert outcome([], 0.0, {}, 1e12) is None
    assert next_due([], 0.0, {}) is None


def test_d_9_3_the_deadline_counts_from_the_first_registration() -> None:
    assert outcome([sleep("5s")], 100.0, {}, 104.999) is None
    over = outcome([sleep("5s")], 100.0, {}, 5000.0)
    assert over is not None
    assert over.at == 105.0


def test_d_9_6_the_text_is_echoed_unchanged() -> None:
    assert met([sleep("90m", key="k")], {}, 1e9) == {"CREATE": {"k": [{"sleep_duration": "90m"}]}}


def test_d_9_9_another_member_wins_and_the_sleep_is_discarded() -> None:
    wait = [sleep("5s", "g"), event("a", "g")]
    matches = {1: Match(1, 101.0, "{}")}
    assert met(wait, matches, 101.0) == {"CREATE": {"a": [{}]}}
    assert met(wait, matches, 1000.0) == {"CREATE": {"a": [{}]}}


def test_d_10_8_the_datum_is_the_payload() -> None:
    assert met([event("a")], {0: Match(0, 101.0, '{"x": {"y": [1.0, null]}}')}, 101.0) == {
        "CREATE": {"a": [{"x": {"y": [1.0, None]}}]}
    }
    assert met([event("a")], {0: Match(0, 101.0, "")}, 101.0) == {"CREATE": {"a": [{}]}}


def test_d_11_2_all_conditions_have_a_key() -> None:
    wait = [sleep("5s"), event("a")]
    assert met(wait, {}, 200.0) is None
    over = outcome(wait, 100.0, {1: Match(1, 150.0, "{}")}, 200.0)
    assert over is not None
    assert over.at == 150.0
    assert json.loads(over.payload) == {"CREATE": {"sleep:5s": [{"sleep_duration": "5s"}], "a": [{}]}}


def test_d_11_3_what_held_first_wins_even_when_it_is_seen_late() -> None:
    wait = [event("a", "g"), sleep("5s", "g"), sleep("3s", "g")]
    assert met(wait, {0: Match(0, 104.0, "{}")}, 1000.0) == {"CREATE": {"sleep:3s": [{"sleep_duration": "3s"}]}}
    assert met(wait, {0: Match(0, 102.0, "{}")}, 1000.0) == {"CREATE": {"a": [{}]}}


def test_d_11_4_one_key_holds_all_its_data() -> None:
    wait = [event("a", key="k"), event("b", key="k")]
    matches = {0: Match(0, 102.0, '{"n":1}'), 1: Match(1, 101.0, '{"n":2}')}
    assert met(wait, matches, 200.0) == {"CREATE": {"k": [{"n": 1}, {"n": 2}]}}


def test_d_9_4_when_time_alone_ends_a_wait() -> None:
    assert next_due([sleep("5s"), sleep("9s")], 100.0, {}) == 109.0
    assert next_due([sleep("5s", "g"), sleep("9s", "g")], 100.0, {}) == 105.0
    assert next_due([sleep("5s"), event("a")], 100.0, {}) is None
    assert next_due([sleep("5s"), event("a")], 100.0, {1: Match(1, 101.0, "{}")}) == 105.0
    assert next_due([sleep("5s", "g"), event("a", "g"), event("b")], 100.0, {1: Match(1, 101.0, "{}")}) is None


def test_d_8_7_an_event_meets_only_conditions_that_are_open() -> None:
    wait = [sleep("5s", "g"), event("a", "g"), event("b"), event("a", "h")]
    assert open_events(wait, 100.0, {}, 104.9) == [1, 2, 3]
    assert open_events(wait, 100.0, {}, 105.0) == [2, 3]
    assert open_events(wait, 100.0, {3: Match(3, 101.0, "{}")}, 104.0) == [1, 2]


def test_d_10_9_looking_back_needs_a_scope_and_a_time() -> None:
    assert event("a", event_scope="s", since=0.0).looks_back
    assert not event("a", event_scope="s").looks_back
    assert not event("a", since=1.0).looks_back


def test_d_14_2_conditions_are_compared_in_any_order_but_all_of_them() -> None:
    one, two = sleep("5s"), event("a", expression="input.x > 1")
    assert fingerprint([one, two]) == fingerprint([two, one])
    others = [
        [one],
        [one, two, two],
        [sleep("6s"), two],
        [one, event("b", key="a", expression="input.x > 1")],
        [one, event("a", expression="input.x > 2")],
        [one, event("a", key="z", expression="input.x > 1")],
    ]
    assert all(fingerprint(other) != fingerprint([one, two]) for other in others)


def test_d_14_5_groups_scopes_and_look_back_are_not_compared() -> None:
    now = event("a", "g1", event_scope="s", since=1.0)
    assert fingerprint([now]) == fingerprint([event("a", "g2", event_scope="t", since=2.0)])
    assert fingerprint([now]) == fingerprint([event("a", "g3")])


def test_d_14_8_waits_in_words() -> None:
    assert described([sleep("5s")]) == "sleep(5s)"
    assert described([sleep("5s"), event("a", "g"), sleep("1h", "g")]) == ("sleep(5s) and any of (event(a), sleep(1h))")
    assert described([]) == "nothing"


def test_d_25_3_wait_data() -> None:
    assert wait_data([sleep("1.5s"), event("a", "g"), sleep("1h", "g")]) == [
        {"kind": "SLEEP", "sleepDurationMs": 1500},
        {"or": [{"kind": "USER_EVENT", "eventKey": "a"}, {"kind": "SLEEP", "sleepDurationMs": 3_600_000}]},
    ]


def test_d_8_3_conditions_come_back_from_their_row_as_they_were() -> None:
    wait = (sleep("5s", "g", ""), event("a", "g", expression="true", event_scope="s", since=0.0), event("b"))
    assert from_text(to_text(wait)) == wait
    assert from_text(to_text(())) == ()
