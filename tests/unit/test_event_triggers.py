"""Which runs an event starts, against a naive model (behaviour-core C-12.10 to C-12.29, C-4.24)."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchet.core.event_triggers import (
    FailedFilter,
    Filter,
    Pattern,
    Start,
    TriggeredWorkflow,
    Triggers,
    asked,
    run_metadata,
    triggering_event,
    variables_of,
)
from hatchet.core.expressions import ExpressionFailed, Use, evaluate, holds_all
from hatchet.core.messages import EventRecord

EVENT = EventRecord(
    tenant_id="t",
    id="0195f2a0-0000-7000-8000-000000000001",
    key="user:created",
    payload='{"should_skip":false,"n":3}',
    additional_metadata='{"who":"me"}',
    scope="s",
    priority=None,
    happened_at=1.0,
    inserted_at=2.0,
)

texts = st.text("abAB:%_.*", max_size=8)


def naive(trigger: str, key: str) -> bool:
    """C-12.11, by a regular expression."""
    return re.fullmatch(".*".join(map(re.escape, trigger.split("*"))), key, re.DOTALL) is not None


def starts(triggers: Triggers, event: EventRecord) -> tuple[list[Start], list[FailedFilter]]:
    found = triggers.candidates(event.key, event.scope)
    if found is None:
        return [], []
    by_filters, failed = asked(found.filtered, variables_of(event))
    return [*found.certain, *by_filters], failed


def workflow(name: str, *keys: str) -> TriggeredWorkflow:
    return TriggeredWorkflow(f"id-{name}", name, keys)


def filtered(number: int, expression: str, scope: str = "s", payload: str = "{}", name: str = "w") -> Filter:
    return Filter(f"f{number}", f"id-{name}", scope, expression, payload)


# Keys ------------------------------------------------------------------------------------------------------------


@given(texts, texts)
def test_c_12_11_a_star_stands_for_any_characters_and_everything_else_for_itself(trigger: str, key: str) -> None:
    matching = Triggers([workflow("w", trigger)], []).matching(key)
    # In a key a star is a plain character (C-12.6), which the star of a pattern matches like any other.
    assert bool(matching) is (naive(trigger, key) if "*" in trigger else trigger == key)


@given(st.text("ab*", max_size=10).filter(lambda text: "*" in text), st.text("ab", max_size=12))
def test_c_12_11_many_stars(trigger: str, key: str) -> None:
    assert Pattern.of(trigger).matches(key) is naive(trigger, key)


def test_c_12_12_a_prefix() -> None:
    triggers = Triggers([workflow("w", "prefix:*")], [])
    assert [bool(triggers.matching(key)) for key in ("prefix:1", "prefix:2", "prefix:", "foobar")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("key", ["User:Created", "USER:created", "user:created "])
def test_c_12_15_case_and_blanks_matter(key: str) -> None:
    assert Triggers([workflow("w", "user:created", "user:c*d")], []).matching(key) == ()


def test_a_hostile_pattern_takes_no_time() -> None:
    pattern = Pattern.of("*a" * 200 + "*b")
    began = time.monotonic()
    assert not pattern.matches("a" * 2000)
    assert time.monotonic() - began < 1


@given(st.lists(st.lists(texts, max_size=4), max_size=6), st.lists(texts, min_size=1, max_size=6))
def test_c_12_10_and_c_12_13_each_workflow_that_matches_once(triggers: list[list[str]], keys: list[str]) -> None:
    known = Triggers([workflow(str(number), *keys) for number, keys in enumerate(triggers)], [])
    # Each key twice: the second answer is a remembered one.
    for key in keys * 2:
        wanted = [
            str(number)
            for number, some in enumerate(triggers)
            if any(naive(one, key) if "*" in one else one == key for one in some)
        ]
        assert [one.name for one in known.matching(key)] == wanted
        found = known.candidates(key, None)
        assert [start.workflow for start in (found.certain if found else ())] == wanted


def test_what_is_remembered_of_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hatchet.core.event_triggers.KEYS_REMEMBERED", 10)
    triggers = Triggers([workflow("w", "a*")], [])
    for number in range(100):
        assert [one.name for one in triggers.matching(f"a{number}")] == ["w"]
    assert len(triggers._of_key) <= 10


# Filters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [None, "", "s", "other"])
def test_c_12_17_without_filters_the_scope_does_not_matter(scope: str | None) -> None:
    triggers = Triggers([workflow("w", "user:created", "user:*")], [filtered(1, "true", name="another")])
    assert starts(triggers, replace(EVENT, scope=scope)) == ([Start("w")], [])


@pytest.mark.parametrize("scope", [None, "", "S", "s ", "t"])
def test_c_12_18_and_c_12_24_with_filters_the_scope_must_be_equal(scope: str | None) -> None:
    triggers = Triggers([workflow("w", "user:created")], [filtered(1, "true")])
    assert triggers.candidates("user:created", scope) is None
    assert triggers.candidates("user:created", "s") is not None


def test_c_12_19_one_run_for_each_true_filter() -> None:
    filters = [filtered(n, "input.n == 3", payload=f'{{"filter_id":{n}}}') for n in (1, 2)]
    triggers = Triggers([workflow("w", "user:*", "user:created")], [*filters, filtered(3, "input.n == 4")])
    assert starts(triggers, EVENT) == ([Start("w", filters[0]), Start("w", filters[1])], [])


def test_c_12_20_false_empty_erroneous_and_other_types_start_nothing() -> None:
    expressions = ["false", "input.missing == 1", "1", "'true'", "input.", ""]
    filters = [filtered(number, text) for number, text in enumerate(expressions)]
    begun, failed = starts(Triggers([workflow("w", "user:created")], filters), EVENT)
    assert begun == []
    assert [one.filter.expression for one in failed] == expressions[1:]
    reasons = [one.reason for one in failed]
    assert "missing" in reasons[0]
    assert reasons[1:3] == ["expected bool output, got int", "expected bool output, got string"]
    assert all(reason.startswith("does not compile") for reason in reasons[3:])


@pytest.mark.parametrize(("payload", "runs"), [('{"foobar":"baz"}', 1), ('{"foobar":"qux"}', 0)])
def test_c_12_21_the_payload_of_the_filter_is_seen(payload: str, runs: int) -> None:
    one = filtered(1, "input.should_skip == false && payload.foobar == 'baz'", payload=payload)
    begun, failed = starts(Triggers([workflow("w", "user:created")], [one]), EVENT)
    assert (len(begun), failed) == (runs, [])


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("scope", [None, "s"])
@pytest.mark.parametrize("key", ["user:created", "user:deleted"])
def test_c_12_23_the_table(skip: bool, scope: str | None, key: str) -> None:
    triggers = Triggers([workflow("w", "user:created")], [filtered(1, "input.should_skip == false")])
    event = replace(EVENT, key=key, scope=scope, payload=json.dumps({"should_skip": skip}))
    begun, _ = starts(triggers, event)
    assert bool(begun) is (not skip and scope == "s" and key == "user:created")


def test_c_12_26_and_c_8_30_what_an_expression_sees() -> None:
    text = (
        f"event_key == 'user:created' && event_id == '{EVENT.id}' && additional_metadata.who == 'me' "
        "&& input.n == 3 && payload.a.b == 1"
    )
    one = filtered(1, text, payload='{"a":{"b":1}}')
    assert starts(Triggers([workflow("w", "user:created")], [one]), EVENT) == ([Start("w", one)], [])


def test_c_12_34_a_payload_that_is_no_object() -> None:
    triggers = Triggers([workflow("w", "user:created")], [filtered(1, "true"), filtered(2, "input.n == 3")])
    for payload in ("[1]", '"text"', "3", "null"):
        begun, failed = starts(triggers, replace(EVENT, payload=payload))
        assert [start.filter.id for start in begun if start.filter] == ["f1"]
        assert [one.filter.id for one in failed] == ["f2"]


# Many expressions at once ------------------------------------------------------------------------------------------

EXPRESSIONS = [
    "true",
    "input.n > 1",
    "input.n > 1 && payload.x == 'a'",
    "payload.x == 'b'",
    "has(input.n)",
    "input.exists(k, k == 'n')",
    "additional_metadata.m == input.n",
    "input.deep.a.b == 1",
    "input.missing",
    "1 + 1",
    "input.n / 0 == 1",
    "'x' in payload",
    "event_key.startsWith('a')",
    "(",
    "",
    "input.n == 18446744073709551616.0",
]
values: st.SearchStrategy[Any] = st.one_of(
    st.integers(-3, 3), st.just(2**64), st.none(), st.text("ab\ud800", max_size=2), st.just({"a": {"b": 1}})
)
objects = st.dictionaries(st.sampled_from(["n", "m", "x", "deep"]), values, max_size=4)


@given(
    st.lists(st.tuples(st.sampled_from(EXPRESSIONS), st.integers(0, 2)), max_size=12),
    st.lists(objects, min_size=3, max_size=3),
    objects,
    objects,
)
def test_expressions_that_are_asked_together_say_what_they_say_alone(
    asked_for: list[tuple[str, int]], payloads: list[dict[str, Any]], given_input: Any, metadata: Any
) -> None:
    variables = {"input": given_input, "additional_metadata": metadata, "event_id": "1", "event_key": "ab"}
    owns = [{"payload": payload} for payload in payloads]
    found = holds_all([(text, owns[which]) for text, which in asked_for], Use.EVENT_FILTER, variables)
    assert len(found) == len(asked_for)
    for (text, which), answer in zip(asked_for, found, strict=True):
        try:
            alone: bool | str = evaluate(text, Use.EVENT_FILTER, {**variables, **owns[which]})
        except ExpressionFailed as failed:
            alone = failed.reason
        assert (answer.reason if isinstance(answer, ExpressionFailed) else answer) == alone


def test_an_int_beyond_64_bits_is_a_double_here_too() -> None:
    found = holds_all([("input.big > 1", {}), ("input.big < 1", {})], Use.EVENT_FILTER, {"input": {"big": 2**70}})
    assert found == [True, False]


def test_a_value_that_is_nested_too_deeply_fails_only_those_that_read_it() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    found = holds_all(
        [("input.a == 1", {}), ("input.deep == 1", {}), ("input.a == 2", {})],
        Use.EVENT_FILTER,
        {"input": {"a": 1, "deep": deep}},
    )
    assert (found[0], found[2]) == (True, False)
    assert isinstance(found[1], ExpressionFailed)


# Runs ------------------------------------------------------------------------------------------------------------


def test_c_4_24_the_metadata_of_a_run() -> None:
    own = {"hatchet__event_id": EVENT.id, "hatchet__event_key": EVENT.key}
    assert json.loads(run_metadata(EVENT)) == {"who": "me", **own}
    assert json.loads(run_metadata(replace(EVENT, additional_metadata=""))) == own
    assert json.loads(run_metadata(replace(EVENT, additional_metadata=" { } "))) == own
    reserved = {
        "hatchet__event_id": "old",
        "hatchet__other": 1,
        "hatchet__source_workflow_run_id": "r",
        "hatchet__source_step_run_id": "t",
        "n": 123456789012345678901234567890,
    }
    given_ = run_metadata(replace(EVENT, additional_metadata=json.dumps(reserved)))
    del reserved["hatchet__other"]
    assert json.loads(given_) == {**reserved, **own}
    only_kept = run_metadata(replace(EVENT, additional_metadata='{"hatchet__source_step_run_id":"t", "n": 1.10}\n'))
    assert '"n": 1.10' in only_kept
    assert json.loads(only_kept) == {"hatchet__source_step_run_id": "t", "n": 1.1, **own}


@given(st.dictionaries(st.text(max_size=20), st.integers() | st.text(max_size=5) | st.none(), max_size=5))
def test_c_4_24_metadata_of_any_shape(metadata: dict[str, Any]) -> None:
    found = json.loads(run_metadata(replace(EVENT, additional_metadata=json.dumps(metadata))))
    kept = {key: value for key, value in metadata.items() if not key.startswith("hatchet__")}
    assert found == {**kept, "hatchet__event_id": EVENT.id, "hatchet__event_key": EVENT.key}


def test_c_12_31_the_event_that_started_a_run() -> None:
    assert triggering_event(run_metadata(EVENT)) == (EVENT.id, EVENT.key)
    for metadata in ("", "{}", '{"a":"hatchet__event_id"}', '{"hatchet__event_id":1,"hatchet__event_key":"k"}'):
        assert triggering_event(metadata) == (None, None)
