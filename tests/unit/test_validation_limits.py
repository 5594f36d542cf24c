"""Which concurrency rules, rate limits and batches are refused (behaviour-core C-3.17, C-3.18, C-3.22, C-3.38)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from run_model import task
from test_validation import last, mistake, mistakes, workflow

from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.rules import BatchRule, ConcurrencyRule, RateLimitRule, Strategy, Window
from hatchet.core.validation import validate

RULE = ConcurrencyRule(expression="input.user", max_runs=2, strategy=Strategy.GROUP_ROUND_ROBIN)
SHARED = replace(RULE, name="all", is_tenant_scoped=True)
LIMIT = RateLimitRule(key="api")
BATCH = BatchRule(max_size=10)


def of_task(**options: object) -> WorkflowDefinition:
    return workflow(task("a", **options))  # type: ignore[arg-type]


def test_good_limits_pass() -> None:
    limits = (
        LIMIT,
        replace(LIMIT, units=0),
        RateLimitRule(key="k", key_expression="input.user", limit_expression="-1", units_expression="0"),
        RateLimitRule(key="k", key_expression="'x'", limit_expression="input.limit", window=Window.YEAR),
    )
    validate(
        workflow(
            task("a", concurrency=(RULE, replace(RULE, expression="'constant'"), SHARED), rate_limits=limits),
            task("b", concurrency=(RULE, SHARED), batch=BATCH, slot_requests={"gpu": 2}),
            concurrency=(RULE, replace(RULE, strategy=Strategy.CANCEL_NEWEST), replace(SHARED, name="other")),
            on_failure=last(concurrency=(RULE,), rate_limits=limits),
        )
    )


# Concurrency --------------------------------------------------------------------------------------------------------


def test_c_3_17_an_expression_is_required() -> None:
    rules = (replace(RULE, expression=""),)
    assert mistake(workflow(concurrency=rules)) == "concurrency[0]: CEL expression is required for concurrency"
    told = mistake(of_task(concurrency=(RULE, *rules)))
    assert told == "tasks[0] (a): concurrency[1]: CEL expression is required for concurrency"
    assert mistake(workflow(on_failure=last(concurrency=rules))).startswith("on_failure_task: concurrency[0]: CEL")


@pytest.mark.parametrize("text", ["input.", "inptu.user", "output.n", " ", "input.a\n.", "x" * 20_000, "a\x00"])
def test_c_3_17_the_expression_compiles_with_the_variables_of_a_workflow(text: str) -> None:
    told = mistake(workflow(concurrency=(replace(RULE, expression=text),)))
    assert told.startswith("concurrency[0]: expression ")
    assert "does not compile" in told
    assert len(told) < 400
    names = "input.a + additional_metadata.b + workflow_run_id + parents.c.d"
    validate(workflow(concurrency=(replace(RULE, expression=names),)))


@pytest.mark.parametrize("number", [-(2**31), -1, 0, 1, 2**31 - 1])
def test_c_9_6_a_limit_below_1_is_accepted(number: int) -> None:
    validate(workflow(concurrency=(replace(RULE, max_runs=number),)))


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1])
def test_an_overflowing_limit_is_named(number: int) -> None:
    told = mistake(workflow(concurrency=(replace(RULE, max_runs=number),)))
    assert told == f"concurrency[0]: max_runs must be between -2147483648 and 2147483647, not {number}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("input.", "max_runs_expression 'input.' does not compile"),
        ("workflow_run_id", "max_runs_expression 'workflow_run_id' does not compile"),
        ("", "max_runs_expression '' does not compile"),
        ("0", "max_runs_expression must be 1 or more, not 0"),
        (" -3", "max_runs_expression must be 1 or more, not -3"),
        ("9" * 20, f"max_runs_expression '{'9' * 20}' does not compile"),
    ],
)
def test_c_9_5_the_expression_of_the_limit(text: str, told: str) -> None:
    assert told in mistake(of_task(concurrency=(replace(RULE, max_runs_expression=text),)))
    validate(of_task(concurrency=(replace(RULE, max_runs_expression="additional_metadata.plan == 'pro' ? 5 : 1"),)))


@pytest.mark.parametrize("name", ["", "  "])
def test_c_3_38_a_tenant_scoped_rule_has_a_name(name: str) -> None:
    told = mistake(workflow(concurrency=(replace(SHARED, name=name),)))
    assert told.startswith("concurrency[0]: name is required with is_tenant_scoped")
    validate(workflow(concurrency=(replace(RULE, name=name),)))


def test_names_that_cannot_be_kept_are_refused() -> None:
    assert "name 'a\\x00' must not contain the null character" in mistake(
        workflow(concurrency=(replace(SHARED, name="a\x00"),))
    )
    assert "must be at most 255 bytes long, not 256: shorten it" in mistake(
        workflow(concurrency=(replace(SHARED, name="ü" * 128),))
    )


def test_c_9_4_two_rules_of_one_list_have_groups_of_their_own() -> None:
    twice = (RULE, replace(RULE, max_runs=5))
    told = mistake(of_task(concurrency=twice))
    assert (
        told
        == "tasks[0] (a): concurrency[1] repeats the expression and strategy of concurrency[0]: keep one of the two"
    )
    # Rules of the workflow and of a task have groups of their own.
    validate(workflow(task("a", concurrency=(RULE,)), concurrency=(RULE,)))
    told, differing = mistakes(workflow(concurrency=(SHARED, replace(SHARED, expression="input.other"))))
    assert told == "concurrency[1] repeats the name of concurrency[0]: keep one of the two"
    assert differing.startswith("concurrency: the tenant-scoped rule 'all' is declared in 2 ways")


def test_c_3_38_a_shared_rule_is_the_same_wherever_a_workflow_declares_it() -> None:
    validate(workflow(task("a", concurrency=(SHARED,)), task("b", concurrency=(SHARED,))))
    other = replace(SHARED, max_runs=3)
    told = mistake(workflow(task("a", concurrency=(SHARED,)), task("b", concurrency=(other,))))
    assert told == (
        "concurrency: the tenant-scoped rule 'all' is declared in 2 ways: make them equal or give them different names"
    )


@pytest.mark.parametrize("on_failure", [True, False])
def test_c_9_12_a_task_cannot_wait_for_the_place_of_its_own_run(on_failure: bool) -> None:
    definition = workflow(concurrency=(SHARED,))
    if on_failure:
        definition = replace(definition, on_failure=last("t", concurrency=(SHARED,)))
    else:
        definition = replace(definition, tasks=(task("t", concurrency=(SHARED,)),))
    told = mistake(definition)
    assert "rule 'all' is declared by the workflow and by its task 't', which would wait for its own run" in told


# Rate limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [RateLimitRule(key=""), RateLimitRule(key="", key_expression="input.user")])
def test_c_3_18_a_key_is_required(rule: RateLimitRule) -> None:
    assert mistake(of_task(rate_limits=(LIMIT, rule))).startswith("tasks[0] (a): rate_limits[1]: key is required")


@pytest.mark.parametrize(("key", "text"), [("a\x00", "the null character"), ("k" * 10_000, "at most 2000 bytes long")])
def test_keys_that_cannot_be_kept_are_refused(key: str, text: str) -> None:
    told = mistake(of_task(rate_limits=(RateLimitRule(key=key),)))
    assert text in told
    assert len(told) < 300


@pytest.mark.parametrize("units", [-1, -(2**31), 2**31])
def test_negative_and_overflowing_units_are_refused(units: int) -> None:
    told = mistake(of_task(rate_limits=(replace(LIMIT, units=units),)))
    assert told == f"tasks[0] (a): rate_limits[0]: units must be between 0 and 2147483647, not {units}"


@pytest.mark.parametrize(
    ("field", "label"),
    [("key_expression", "key_expr"), ("units_expression", "units_expr"), ("limit_expression", "limit_values_expr")],
)
@pytest.mark.parametrize("text", ["input.", "", "unknown.n", "99999999999999999999"])
def test_c_3_18_expressions_compile(field: str, label: str, text: str) -> None:
    told = mistake(of_task(rate_limits=(replace(LIMIT, **{field: text}),)))  # type: ignore[arg-type]
    assert told.startswith(f"tasks[0] (a): rate_limits[0]: {label} {text!r} does not compile")


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("units_expression", "-1", "units_expr must be 0 or more, not -1"),
        ("limit_expression", "-2", "limit_values_expr must be -1 or more, not -2"),
    ],
)
def test_c_10_7_a_number_that_fails_every_task_is_refused(field: str, text: str, told: str) -> None:
    assert told in mistake(of_task(rate_limits=(replace(LIMIT, **{field: text}),)))  # type: ignore[arg-type]


# Batches ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (BatchRule(max_size=0), "batch_max_size must be between 1 and 100000, not 0"),
        (BatchRule(max_size=-1), "batch_max_size must be between 1 and 100000, not -1"),
        (BatchRule(max_size=100_001), "batch_max_size must be between 1 and 100000, not 100001"),
        (replace(BATCH, interval_ms=0), "batch_max_interval_ms must be between 1 and 86400000, not 0"),
        (replace(BATCH, interval_ms=86_400_001), "batch_max_interval_ms must be between 1 and 86400000, not 86400001"),
        (replace(BATCH, max_runs=0), "batch_group_max_runs must be between 1 and 10000, not 0"),
        (replace(BATCH, max_runs=10_001), "batch_group_max_runs must be between 1 and 10000, not 10001"),
        (replace(BATCH, key_expression="input."), "batch_group_key 'input.' does not compile"),
        (replace(BATCH, key_expression="output.n"), "batch_group_key 'output.n' does not compile"),
    ],
)
def test_c_3_22_ranges_of_a_batch(rule: BatchRule, text: str) -> None:
    assert mistake(of_task(batch=rule)).startswith(f"tasks[0] (a): batch.{text}")


@pytest.mark.parametrize(
    "rule",
    [
        BatchRule(max_size=1, interval_ms=1, max_runs=1),
        BatchRule(max_size=100_000, interval_ms=86_400_000, max_runs=10_000),
    ],
)
def test_c_3_22_the_ends_of_the_ranges_are_in_them(rule: BatchRule) -> None:
    validate(of_task(batch=rule))


def test_c_3_22_a_durable_task_is_no_batch_task() -> None:
    assert "batch: a durable task cannot be a batch task" in mistake(of_task(batch=BATCH, is_durable=True))


def test_c_16_12_slot_requests_of_a_batch_task_are_checked_and_not_used() -> None:
    one = TaskDefinition(readable_id="a", action="f:a", batch=BATCH, slot_requests={"gpu": 3})
    validate(workflow(one))
    assert one.slots == {"default": 1}
    assert "gpu must ask for 1 unit or more" in mistake(workflow(replace(one, slot_requests={"gpu": 0})))


def test_c_3_26_every_mistake_is_told() -> None:
    lines = mistakes(
        workflow(
            task(
                "a",
                concurrency=(ConcurrencyRule(expression="", max_runs_expression="("),),
                rate_limits=(RateLimitRule(key="", units=-1, limit_expression=")"),),
                batch=BatchRule(max_size=0, interval_ms=0),
                is_durable=True,
            ),
            concurrency=(ConcurrencyRule(expression="(", is_tenant_scoped=True),),
        )
    )
    assert [line.rpartition("]: ")[0] for line in lines[:7]] == [
        "concurrency[0",
        "concurrency[0",
        "tasks[0] (a): concurrency[0",
        "tasks[0] (a): concurrency[0",
        *["tasks[0] (a): rate_limits[0"] * 3,
    ]
    assert len(lines) == 10
