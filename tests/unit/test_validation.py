"""What is refused when a workflow is registered, and with which text (behaviour-core C-3.9 to C-3.28)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from run_model import a_version, event, or_, output, sleep, task
from run_strategies import versions

from hatchet.core.conditions import Condition
from hatchet.core.definitions import (
    Idempotency,
    IdempotencyMethod,
    StoredVersion,
    TaskDefinition,
    WorkflowDefinition,
)
from hatchet.core.errors import InvalidArgument
from hatchet.core.labels import DesiredLabel
from hatchet.core.validation import normal_action, validate

HEAD = "Validation failed with the following errors:"


def workflow(*tasks: TaskDefinition, **options: object) -> WorkflowDefinition:
    return WorkflowDefinition(**{"name": "Flow", "tasks": tasks or (task("step"),), **options})  # type: ignore[arg-type]


def last(name: str = "fail", **options: object) -> TaskDefinition:
    return TaskDefinition(readable_id=name, action=f"flow:{name}", **options)  # type: ignore[arg-type]


def mistakes(definition: WorkflowDefinition) -> list[str]:
    """The lines of the refusal without their numbers."""
    with pytest.raises(InvalidArgument) as refused:
        validate(definition)
    head, *lines = refused.value.message.splitlines()
    assert head == HEAD
    assert [line.partition(". ")[0] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    return [line.partition(". ")[2] for line in lines]


def mistake(definition: WorkflowDefinition) -> str:
    """The only line."""
    (line,) = mistakes(definition)
    return line


FULL = workflow(
    task(
        "One",
        execution_timeout="1h30m",
        schedule_timeout="10s",
        retries=3,
        backoff_factor=1.5,
        backoff_max_seconds=10,
        is_durable=True,
        slot_requests={"gpu": 2},
        worker_labels=(DesiredLabel(key="memory", value=16), DesiredLabel(key="zone", value="", required=True)),
    ),
    task("two", "One", wait_for=[or_(sleep(5), event("e"))], skip_if=[output("One", "output.n > 1")]),
    task("three", "One", "two", cancel_if=[output("two", "")]),
    on_failure=last(retries=1),
    description="d",
    version="v1",
    default_priority=2,
    input_json_schema='{"type": "object"}',
    idempotency=Idempotency(expression="input.id + checksum(additional_metadata.who)", ttl_ms=1),
)


def test_a_good_definition_passes() -> None:
    validate(FULL)


@given(versions())
def test_any_acyclic_graph_with_any_conditions_passes(version: StoredVersion) -> None:
    has_on_failure = version.graph.on_failure is not None
    tasks = [one.definition for one in version.tasks]
    if has_on_failure:
        validate(workflow(*tasks[:-1], on_failure=tasks[-1]))
    else:
        validate(workflow(*tasks))


# Names, actions, numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a b", "ä", "a\n", "a/b", "a:b"])
def test_c_3_9_names_have_letters_digits_dots_hyphens_and_underscores(name: str) -> None:
    assert mistake(workflow(name=name)).startswith(f"name {name!r} must consist of letters")
    told = mistake(workflow(TaskDefinition(readable_id=name, action="f:a")))
    assert f"readable_id {name!r} must consist of letters" in told


def test_c_3_9_a_workflow_needs_a_task() -> None:
    assert mistake(WorkflowDefinition(name="f")) == "tasks: a workflow needs at least one task"


@pytest.mark.parametrize(
    "definition",
    [workflow(task("a"), task("b"), task("a")), workflow(task("a"), task("b"), on_failure=last("a"))],
)
def test_c_3_9_readable_ids_are_unique_the_on_failure_tasks_too(definition: WorkflowDefinition) -> None:
    assert mistake(definition) == "tasks: readable ids must be unique, repeated: a"


def test_c_3_4_readable_ids_that_differ_in_case_are_different() -> None:
    validate(workflow(task("step"), task("Step", "step")))


@pytest.mark.parametrize(("given", "stored"), [("Flow:Step", "flow:step"), ("A:b:C", "a:b:c")])
def test_c_3_10_actions_are_lower_case(given: str, stored: str) -> None:
    assert normal_action(given) == stored


@pytest.mark.parametrize("action", ["", "a", ":", "a:", "a:b:", "a::b", "a:b:c:d", "a:b\x00"])
def test_c_3_10_bad_actions_are_refused(action: str) -> None:
    with pytest.raises(InvalidArgument, match="action"):
        normal_action(action)
    told = mistake(workflow(TaskDefinition(readable_id="a", action=action)))
    assert "must have 2 or 3 non-empty parts separated by colons" in told


@pytest.mark.parametrize("field", ["execution_timeout", "schedule_timeout"])
@pytest.mark.parametrize("text", ["soon", "-5m", "", "1 s", "5"])
def test_c_3_11_durations(field: str, text: str) -> None:
    told = mistake(workflow(task("a", **{field: text})))  # type: ignore[arg-type]
    assert told.startswith(f"tasks[0] (a): {field}: invalid duration {text!r}")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"retries": -1}, "retries must be 0 or more, not -1"),
        ({"backoff_factor": 0.5}, "backoff_factor must be between 1 and 1000, not 0.5"),
        ({"backoff_factor": 1000.5}, "backoff_factor must be between 1 and 1000, not 1000.5"),
        ({"backoff_factor": float("nan")}, "backoff_factor must be between 1 and 1000, not nan"),
        ({"backoff_max_seconds": 0}, "backoff_max_seconds must be between 1 and 86400, not 0"),
        ({"backoff_max_seconds": 86401}, "backoff_max_seconds must be between 1 and 86400, not 86401"),
    ],
)
def test_c_3_13_retries_and_backoff(options: dict[str, object], text: str) -> None:
    assert mistake(workflow(task("a", **options))) == f"tasks[0] (a): {text}"  # type: ignore[arg-type]


@pytest.mark.parametrize("priority", [0, 4])
def test_c_3_14_priority(priority: int) -> None:
    assert mistake(workflow(default_priority=priority)) == f"default_priority must be between 1 and 3, not {priority}"


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        ({"": 1}, "a slot type must not be empty"),
        ({"a\x00": 1}, "or contain the null character"),
        ({"gpu": 0}, "gpu must ask for 1 unit or more, not 0"),
    ],
)
def test_c_3_20_slot_requests(slots: dict[str, int], text: str) -> None:
    assert text in mistake(workflow(task("a", slot_requests=slots)))


@pytest.mark.parametrize("label", [("", "v"), ("a\x00", 1), ("a", "\x00")])
def test_c_3_21_worker_labels_need_a_key(label: tuple[str, str | int]) -> None:
    wish = DesiredLabel(key=label[0], value=label[1])
    assert "worker_labels: a key must not be empty" in mistake(workflow(task("a", worker_labels=(wish,))))


@pytest.mark.parametrize("weight", [-5, 0, 1_000_000])
def test_c_3_21_any_weight_is_accepted(weight: int) -> None:
    validate(workflow(task("a", worker_labels=(DesiredLabel(key="k", value=1, weight=weight),))))


@pytest.mark.parametrize("field", ["description", "version"])
def test_texts_without_the_null_character(field: str) -> None:
    assert mistake(workflow(**{field: "a\x00"})) == f"{field} must not contain the null character"


# Conditions ---------------------------------------------------------------------------------------------------------


def with_condition(condition: Condition, *, skip: bool = False) -> WorkflowDefinition:
    """A workflow whose second task has that condition."""
    lists = {"skip_if" if skip else "wait_for": [condition]}
    return workflow(task("a"), task("b", "a", **lists))


def changed(condition: Condition, **fields: object) -> Condition:
    return replace(condition, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("condition", [sleep(5), event("e"), output("a", "true")])
def test_c_3_19_a_data_key_is_required(condition: Condition) -> None:
    told = mistake(with_condition(changed(condition, data_key="")))
    assert "readable_data_key is required" in told
    assert told.startswith(f"tasks[1] (b): conditions ({condition.kind.value.lower()} ''): ")


@pytest.mark.parametrize("condition", [event("e"), output("a", "true")])
def test_c_3_19_an_expression_must_compile_unless_it_is_empty(condition: Condition) -> None:
    told = mistake(with_condition(changed(condition, expression="input.n >")))
    assert "expression 'input.n >' does not compile" in told
    validate(with_condition(changed(condition, expression="")))


def test_c_3_19_the_variables_of_a_condition_are_those_of_its_kind() -> None:
    validate(with_condition(output("a", "output.n > 1"), skip=True))
    validate(with_condition(changed(event("e"), expression="input.n > 1")))
    assert "expression 'output.n > 1'" in mistake(with_condition(changed(event("e"), expression="output.n > 1")))


@pytest.mark.parametrize("text", [None, "", "soon", "-1s"])
def test_c_3_19_a_sleep_is_a_duration(text: str | None) -> None:
    told = mistake(with_condition(changed(sleep(5), sleep_for=text)))
    assert "sleep_for: invalid duration" in told


@pytest.mark.parametrize("key", [None, ""])
def test_c_3_19_an_event_needs_a_key(key: str | None) -> None:
    assert "user_event_key is required" in mistake(with_condition(changed(event("e"), event_key=key)))


@pytest.mark.parametrize("parent", [None, "", "b", "other"])
def test_c_3_19_a_judged_parent_is_one_of_the_tasks_parents(parent: str | None) -> None:
    definition = workflow(
        task("a"), task("other"), task("b", "a", wait_for=[changed(output("a", "true"), parent=parent)])
    )
    assert mistake(definition).endswith(f"parent_readable_id {parent or ''!r} is not one of the task's parents")


@pytest.mark.parametrize("field", ["data_key", "event_key", "event_scope"])
def test_c_3_19_texts_of_conditions_have_no_null_character(field: str) -> None:
    assert "no text may contain the null character" in mistake(with_condition(changed(event("e"), **{field: "a\x00"})))


# Idempotency --------------------------------------------------------------------------------------------------------


def test_c_3_23_the_method_is_ttl_by_default() -> None:
    assert Idempotency(expression="input.id", ttl_ms=1).method is IdempotencyMethod.TTL


@pytest.mark.parametrize(
    ("idempotency", "text"),
    [
        (Idempotency(expression="", ttl_ms=5), "idempotency.expression: a CEL expression is required"),
        (Idempotency(expression="input.", ttl_ms=5), "idempotency.expression 'input.' does not compile"),
        (Idempotency(expression="output.id", ttl_ms=5), "idempotency.expression 'output.id' does not compile"),
        (Idempotency(expression="input.id", ttl_ms=0), "idempotency.ttl_ms must be 1 or more, not 0"),
        (Idempotency(expression="input.id", ttl_ms=-5), "idempotency.ttl_ms must be 1 or more, not -5"),
    ],
)
def test_c_3_23_idempotency(idempotency: Idempotency, text: str) -> None:
    assert mistake(workflow(idempotency=idempotency)).startswith(text)


# The graph ----------------------------------------------------------------------------------------------------------


def test_c_3_24_an_unknown_parent_has_the_text_that_suites_know() -> None:
    told = mistake(workflow(task("a"), task("b", "a", "nobody")))
    assert told == "dag parent not found: parent step 'nobody' not found for step 'b'"


def test_c_3_24_a_parent_is_found_by_its_exact_case() -> None:
    assert "parent step 'a' not found" in mistake(workflow(task("A"), task("b", "a")))


def test_c_6_46_the_on_failure_task_is_nobodys_parent() -> None:
    told = mistake(workflow(task("a"), task("b", "fail"), on_failure=last()))
    assert told == "dag parent not found: parent step 'fail' not found for step 'b'"


@pytest.mark.parametrize(
    ("tasks", "named"),
    [
        ([task("a", "a")], "a"),
        ([task("a", "b"), task("b", "a")], "a, b"),
        ([task("a", "c"), task("b", "a"), task("c", "b"), task("free"), task("below", "c")], "a, b, below, c"),
    ],
)
def test_c_3_25_a_cycle_is_an_invalid_argument_that_names_it(tasks: list[TaskDefinition], named: str) -> None:
    told = mistake(workflow(*tasks))
    assert "has a cycle" in told
    assert told.endswith(f": {named}")


def test_c_3_7_the_on_failure_task_has_no_parents_and_no_conditions() -> None:
    told = mistakes(workflow(task("a"), on_failure=task("fail", "a", wait_for=[sleep(5)])))
    assert [line.partition(" must")[0] for line in told] == [
        "on_failure_task: parents",
        "on_failure_task: conditions",
    ]


def test_the_on_failure_task_is_checked_like_any_other() -> None:
    assert mistake(workflow(on_failure=last(retries=-1))) == "on_failure_task: retries must be 0 or more, not -1"


# The text as a whole ------------------------------------------------------------------------------------------------


def test_c_3_26_all_mistakes_are_numbered_lines_of_one_message() -> None:
    lines = mistakes(
        workflow(
            TaskDefinition(readable_id="x y", action="a:x", retries=-1),
            task("b", execution_timeout="1", wait_for=[changed(event("e"), event_key="", expression="(")]),
            name="?",
            on_failure=last(schedule_timeout="x"),
        )
    )
    assert [line.split(":")[0] for line in lines] == [
        "name '?' must consist of letters, digits, '.', '-' and '_', at least one",
        "tasks[0] (x y)",
        "tasks[0] (x y)",
        "tasks[1] (b)",
        "tasks[1] (b)",
        "tasks[1] (b)",
        "on_failure_task",
    ]


def test_c_3_26_long_texts_are_cut() -> None:
    told = mistake(workflow(name="a b" * 1000))
    assert len(told) < 300


@pytest.mark.parametrize(
    "definition",
    [
        workflow(TaskDefinition(readable_id="a\nb", action="f:a")),
        workflow(task("a", "x\ny")),
        workflow(task("a", slot_requests={"x\ny": 0})),
        workflow(task("a"), task("b", "a", skip_if=[changed(output("a", ""), expression="output.\nn >")])),
        workflow(idempotency=Idempotency(expression="input.\n", ttl_ms=1)),
    ],
)
def test_c_3_26_line_breaks_in_what_is_quoted_do_not_break_the_lines(definition: WorkflowDefinition) -> None:
    assert "\\n" in mistake(definition)


@pytest.mark.parametrize("schema", ["{", "", "[1,]", '{"a": NaN}'])
def test_c_3_28_the_input_schema_must_be_json(schema: str) -> None:
    assert mistake(workflow(input_json_schema=schema)).startswith("invalid json in field input_json_schema")


def test_a_version_that_passed_can_be_run() -> None:
    assert a_version(*FULL.tasks, on_failure=True).graph.size == 4
