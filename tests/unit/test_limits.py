"""What task runs and runs ask of the limits that their workflow declares (behaviour-core C-8.35, C-9, C-10, C-16)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_model import a_version

from hatchet.core.definitions import StoredRule, StoredTask, StoredVersion, TaskDefinition, WorkflowDefinition
from hatchet.core.definitions import stored_version as stored
from hatchet.core.limits import (
    LONGEST_KEY,
    MOST_UNITS,
    NONE,
    Ask,
    Limits,
    Units,
    from_text,
    of_run,
    of_task,
    short_key,
    to_text,
)
from hatchet.core.rules import BatchRule, ConcurrencyRule, RateLimitRule, Strategy, Window

BIG = 2**63 - 1


def task_limits(
    *rules: ConcurrencyRule | RateLimitRule,
    batch: BatchRule | None = None,
    shared: dict[str, ConcurrencyRule] | None = None,
    metadata: dict[str, Any] | None = None,
    size: int = 0,
    **input: Any,
) -> Limits:
    """The limits of a run of one task with these rules for this input."""
    concurrency = tuple(rule for rule in rules if isinstance(rule, ConcurrencyRule))
    rate_limits = tuple(rule for rule in rules if isinstance(rule, RateLimitRule))
    definition = TaskDefinition(readable_id="t", action="flow:t", rate_limits=rate_limits, batch=batch)
    (plain,) = a_version(definition).tasks
    asks = tuple(StoredRule(id=f"r{number}", definition=rule) for number, rule in enumerate(concurrency))
    task = StoredTask(
        id=plain.id,
        index=plain.index,
        definition=definition,
        execution_timeout_seconds=plain.execution_timeout_seconds,
        schedule_timeout_seconds=plain.schedule_timeout_seconds,
        slots=plain.slots,
        rules=asks,
    )
    return of_task(task, variables(input, metadata), size, shared or {})


def variables(input: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"input": input, "additional_metadata": metadata, "workflow_run_id": "run-1"}


def rule(expression: str, **options: Any) -> ConcurrencyRule:
    return ConcurrencyRule(expression=expression, strategy=Strategy.GROUP_ROUND_ROBIN, **options)


def dynamic(**options: Any) -> RateLimitRule:
    return RateLimitRule(**{"key": "label", "key_expression": "input.user", **options})


# Concurrency --------------------------------------------------------------------------------------------------------


def test_c_9_15_one_ask_for_each_rule_in_their_order() -> None:
    limits = task_limits(rule("input.b", max_runs=2), rule("input.a"), a="x", b="y")
    assert limits == Limits(
        (
            Ask("r0", Strategy.GROUP_ROUND_ROBIN, "y", 2),
            Ask("r1", Strategy.GROUP_ROUND_ROBIN, "x", 1),
        )
    )


def test_c_8_30_what_expressions_see() -> None:
    asks = task_limits(rule("additional_metadata.m + input.a + workflow_run_id"), metadata={"m": "1"}, a="2").asks
    assert asks[0].key == "12run-1"


def test_c_9_5_the_limit_is_computed_for_each_run() -> None:
    one = rule("input.a", max_runs=7, max_runs_expression="input.most")
    assert task_limits(one, a="x", most=3).asks[0].max_runs == 3
    assert task_limits(one, a="x", most=BIG).asks[0].max_runs == BIG


def test_c_9_6_a_static_limit_below_1_is_kept() -> None:
    assert task_limits(rule("input.a", max_runs=0), a="x").asks[0].max_runs == 0


def test_c_3_38_a_shared_rule_is_as_the_latest_registration_left_it() -> None:
    declared = rule("input.a", max_runs=1, name="shared", is_tenant_scoped=True)
    latest = ConcurrencyRule(expression="input.b", max_runs=5, strategy=Strategy.CANCEL_NEWEST, name="shared")
    assert task_limits(declared, shared={"shared": latest}, a="x", b="y").asks == (
        Ask("r0", Strategy.CANCEL_NEWEST, "y", 5),
    )
    assert task_limits(declared, a="x").asks[0].key == "x"
    own = rule("input.a", name="shared")
    assert task_limits(own, shared={"shared": latest}, a="x", b="y").asks[0].key == "x"


def test_c_9_12_a_run_of_several_tasks_asks_as_a_whole() -> None:
    version = whole(rule("input.a", max_runs=2))
    assert of_run(version, variables({"a": "x"}), {}).asks[0].key == "x"
    assert (of_run(version, variables({}), {}).error or "").startswith("failed to parse step expression (input.a): ")


def whole(*rules: ConcurrencyRule) -> StoredVersion:
    tasks = tuple(TaskDefinition(readable_id=name, action=f"flow:{name}") for name in "ab")
    definition = WorkflowDefinition(name="flow", tasks=tasks, concurrency=rules)
    return stored(definition, {"a": "step a", "b": "step b"}, version_id="v", tenant_id="t", workflow_id="w", order=1)


# Rate limits --------------------------------------------------------------------------------------------------------


def test_c_10_7_static_and_dynamic_rate_limits() -> None:
    limits = task_limits(
        RateLimitRule(key="static", units=2),
        dynamic(units_expression="input.units", limit_expression="10", window=Window.HOUR),
        user="ann",
        units=3,
    )
    assert limits.units == (Units("ann", 3, 10, Window.HOUR), Units("static", 2))


def test_c_10_8_with_any_expression_the_key_is_only_a_label_unless_it_is_all_there_is() -> None:
    assert task_limits(dynamic(), user="ann").units == (Units("ann", 1),)
    assert task_limits(dynamic(key_expression=None, units_expression="2")).units == (Units("label", 2),)


def test_c_10_9_minus_1_leaves_the_key_as_it_is_and_a_minute_is_the_usual_window() -> None:
    assert task_limits(dynamic(limit_expression="-1", window=Window.DAY), user="ann").units == (Units("ann", 1),)
    assert task_limits(dynamic(limit_expression="5"), user="ann").units == (Units("ann", 1, 5, Window.MINUTE),)


def test_c_10_10_one_key_twice_lower_limit_larger_window_and_all_units() -> None:
    limits = task_limits(
        dynamic(units=2, limit_expression="10", window=Window.SECOND),
        dynamic(units=3, limit_expression="7", window=Window.WEEK),
        RateLimitRule(key="ann", units=4),
        user="ann",
    )
    assert limits.units == (Units("ann", 9, 7, Window.WEEK),)


def test_units_may_be_zero_and_doubles_are_cut() -> None:
    one = dynamic(units_expression="input.units", limit_expression="input.most")
    assert task_limits(one, user="ann", units=0, most=0).units == (Units("ann", 0, 0, Window.MINUTE),)
    assert task_limits(one, user="ann", units=2.9, most=3.9).units == (Units("ann", 2, 3, Window.MINUTE),)


# Batches ------------------------------------------------------------------------------------------------------------


def test_c_16_9_a_batch_task_has_the_key_of_its_batch_and_its_size() -> None:
    batch = BatchRule(max_size=3, key_expression="input.a")
    assert task_limits(batch=batch, size=77, a="x") == Limits(batch_key="x", size=77)
    assert task_limits(batch=batch, size=77).error == (
        "failed to parse batch group key expression (input.a): no such key: 'a'"
    ).replace("'a'", '"a"')


# Bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("input.missing", "no such key"),
        ("input.n", "expected string output, got int"),
        ("input.flag", "expected string output, got bool"),
        ("input.none", "expected string output, got null"),
        ("input.list", "expected string output, got list"),
        ("input.", "does not compile"),
        ("", "does not compile: it is empty"),
        ("output.a", "undeclared reference to 'output'"),
        ("string(1 / (input.n - 1))", "divide by zero"),
        ("input.deep.er.still", "no such key"),
        ("'a' + '\\u0000'", "null character"),
    ],
)
def test_c_8_35_a_key_that_cannot_be_computed_names_its_expression(expression: str, reason: str) -> None:
    expected = f"failed to parse step expression ({expression}): "
    for one in (rule(expression), dynamic(key_expression=expression)):
        limits = task_limits(one, n=1, flag=True, none=None, list=[], deep={})
        assert limits.error is not None
        assert limits.error.startswith(expected)
        assert reason in limits.error
        assert limits == Limits(error=limits.error)
    batch = task_limits(
        batch=BatchRule(max_size=2, key_expression=expression), n=1, flag=True, none=None, list=[], deep={}
    )
    assert batch.error is not None
    assert batch.error.startswith(f"failed to parse batch group key expression ({expression}): ")


@pytest.mark.parametrize("most", [0, -1, -(2**63), 2**63, 10**400, 1.5, "3", None, True, [3]])
def test_c_9_5_a_limit_that_is_none_fails_the_task(most: Any) -> None:
    error = task_limits(rule("input.a", max_runs_expression="input.most"), a="x", most=most).error
    assert error is not None
    assert error.startswith("failed to parse step expression (input.most): ")


@pytest.mark.parametrize("number", [-2, -(2**63), 2**63, 1e300, 10**400, "3", None, True, [3]])
def test_c_10_11_units_and_limits_that_are_none_fail_the_task(number: Any) -> None:
    for option in ("units_expression", "limit_expression"):
        error = task_limits(dynamic(**{option: "input.number"}), user="ann", number=number).error
        assert error is not None
        assert error.startswith("failed to parse step expression (input.number): ")
    assert task_limits(dynamic(units_expression="-1"), user="ann").error == (
        "failed to parse step expression (-1): units must be 0 or more, got -1"
    )


def test_an_empty_key_of_a_rate_limit_fails_the_task_and_one_of_a_rule_is_a_group() -> None:
    assert task_limits(dynamic(), user="").error == (
        "failed to parse step expression (input.user): the key of a rate limit must not be empty"
    )
    assert task_limits(rule("input.a"), a="").asks[0].key == ""


def test_units_that_add_up_to_too_many_fail_the_task() -> None:
    one = dynamic(units_expression=str(BIG))
    assert task_limits(one, user="ann").units == (Units("ann", MOST_UNITS),)
    assert task_limits(one, one, one, user="ann").error == (
        f"the units of rate limit 'ann' add up to {2 * BIG}, at most {BIG} fit: ask for fewer"
    )


def test_the_first_mistake_is_told() -> None:
    error = task_limits(rule("input.first"), rule("input.second")).error
    assert error is not None
    assert "(input.first)" in error


# Keys ---------------------------------------------------------------------------------------------------------------


def test_keys_of_10_kb_stay_apart_and_equal_ones_equal() -> None:
    long = "ä" * 10_240
    one, same, other = (
        task_limits(rule("input.a"), dynamic(key_expression="input.a"), a=text) for text in (long, long, long + "x")
    )
    assert one == same
    assert one.asks[0].key != other.asks[0].key
    assert one.units[0].key != other.units[0].key
    assert len(one.asks[0].key) == len(one.units[0].key) == LONGEST_KEY + 1 + 64
    # A key of an index row in the database has at most a third of a page.
    assert len(one.units[0].key.encode()) < 2_700
    assert len(task_limits(batch=BatchRule(max_size=2, key_expression="input.a"), a=long).batch_key or "") < 400


@given(st.text(min_size=LONGEST_KEY - 2, max_size=LONGEST_KEY + 2), st.text(max_size=600))
def test_short_keys_are_kept_and_different_keys_stay_different(one: str, other: str) -> None:
    assert (short_key(one) == one) == (len(one) <= LONGEST_KEY)
    assert (short_key(one) == short_key(other)) == (one == other)
    assert short_key(one + other).startswith(one[:LONGEST_KEY])


def test_null_characters_never_reach_the_database() -> None:
    for text in ("\x00", "a\x00b"):
        limits = task_limits(rule("input.a"), dynamic(key_expression="input.a"), a=text)
        assert "\\u0000" not in (to_text(limits) or "")
        missing = task_limits(rule("input.m[input.a]"), a=text, m={})
        assert missing.error is not None
        assert "\x00" not in missing.error


def test_half_surrogate_pairs_can_be_stored() -> None:
    limits = task_limits(rule("input.a"), a="\ud800")
    assert from_text(to_text(limits)) == limits


# Stored -------------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1)
all_units = st.builds(Units, texts, numbers) | st.builds(Units, texts, numbers, numbers, st.sampled_from(Window))
all_asks = st.builds(Ask, texts, st.sampled_from(Strategy), texts, numbers)
batches = st.tuples(st.none(), st.just(0)) | st.tuples(texts, st.integers(0, 2**40))


@given(
    st.lists(all_asks, max_size=3).map(tuple), st.lists(all_units, max_size=3).map(tuple), batches, st.none() | texts
)
def test_c_9_3_what_is_stored_is_what_was_computed(
    asks: tuple[Ask, ...], units: tuple[Units, ...], batch: tuple[str | None, int], error: str | None
) -> None:
    limits = Limits(asks, units, *batch, error)
    text = to_text(limits)
    assert from_text(text) == limits
    # As the database gives it back: with its keys in another order, and blanks.
    if text is not None:
        again = orjson.dumps(dict(sorted(orjson.loads(text).items())), option=orjson.OPT_INDENT_2).decode()
        assert from_text(again) == limits


def test_no_limits_are_stored_as_nothing() -> None:
    assert to_text(NONE) is None
    assert to_text(task_limits()) is None
    assert from_text(None) is NONE
    assert from_text("") is NONE
