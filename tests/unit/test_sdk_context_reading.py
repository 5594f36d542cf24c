"""What a context reads from its assignment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from fakes.fake_engine import make_token
from hatchet_contracts.dispatcher_pb2 import AssignedAction
from hatchet_sdk import ClientConfig, Context, Hatchet
from hatchet_sdk.context.assignment import Assignment
from hatchet_sdk.context.log_line import LONGEST_LINE, LogLevel, clean, text_of
from hatchet_sdk.declare.task import Task
from hatchet_sdk.exceptions import TaskRunError


class Answer(BaseModel):
    n: int


class Optional(BaseModel):
    n: int = 5


@dataclass
class Point:
    x: int


def task_returning(kind: Any, name: str = "First") -> Task[Any, Any]:
    def function(input: Any, ctx: Context) -> Any:
        return None

    function.__annotations__["return"] = kind
    task = Hatchet(config=ClientConfig(token=make_token())).task(name=name)(function).tasks[0]
    task.name = name
    return task


def assignment(**payload: Any) -> Assignment:
    return Assignment(AssignedAction(task_name="second", action_payload=json.dumps(payload)))


@pytest.mark.parametrize(
    ("kind", "output", "value"),
    [
        (Answer, {"n": 1}, Answer(n=1)),
        (Point, {"x": 2}, Point(2)),
        (dict, {"a": [1]}, {"a": [1]}),
        (Any, {"a": 1}, {"a": 1}),
        (Answer | None, {"n": 1}, Answer(n=1)),
    ],
)
def test_c_5_7_the_output_of_a_parent_has_its_declared_type(kind: Any, output: object, value: object) -> None:
    assert assignment(parents={"first": output}).task_output(task_returning(kind)) == value


@pytest.mark.parametrize("empty", [{}, None])
@pytest.mark.parametrize(
    ("kind", "value"), [(None, None), (dict, {}), (Answer | None, None), (Optional, Optional()), (Any, {})]
)
def test_c_5_9_an_empty_output_is_what_the_type_admits(empty: object, kind: Any, value: object) -> None:
    assert assignment(parents={"first": empty}).task_output(task_returning(kind)) == value


def test_a_parent_that_returned_nothing_but_declares_a_model_is_an_error() -> None:
    with pytest.raises(ValueError, match="'First' returned nothing, but declares to return Answer"):
        assignment(parents={"first": {}}).task_output(task_returning(Answer))


def test_an_output_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValidationError):
        assignment(parents={"first": {"n": "x"}}).task_output(task_returning(Answer))


@pytest.mark.parametrize("payload", [{}, {"parents": None}, {"parents": {"other": {}}}])
def test_the_output_of_a_task_that_is_no_parent_is_an_error_that_says_what_to_do(payload: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'second' has no output of 'First'.*parents=\[\.\.\.\]"):
        assignment(**payload).task_output(task_returning(dict))


def test_a_parent_is_found_in_the_case_in_which_another_sdk_registered_it() -> None:
    assert assignment(parents={"First": {"n": 3}}).task_output(task_returning(Answer)) == Answer(n=3)


def test_any_json_of_another_sdk_is_an_output() -> None:
    with_number = assignment(parents={"first": {"n": 1}, "typescript": 5})
    assert with_number.task_output(task_returning(Any, "typescript")) == 5
    assert with_number.aio_task_output(task_returning(Answer)) == Answer(n=1)


def test_c_5_8_a_skipped_parent() -> None:
    skipped = assignment(parents={"first": {"skipped": True}, "ran": {"skipped": "no"}})
    assert skipped.was_skipped(task_returning(Answer))
    assert not skipped.was_skipped(task_returning(dict, "ran"))
    assert not skipped.was_skipped(task_returning(dict, "unknown"))
    with pytest.raises(ValueError, match="'First' was skipped"):
        skipped.task_output(task_returning(Answer))


def test_c_5_15_errors_of_failed_tasks() -> None:
    text = TaskRunError.from_exception(ValueError("no luck"), "run-1").serialize(include_metadata=True)
    failed = assignment(step_run_errors={"first": text, "fine": ""})
    first = task_returning(dict)
    assert failed.task_run_errors == {"first": text}
    error = failed.get_task_run_error(first)
    assert error is not None
    assert (error.exc, error.exc_type, error.task_run_external_id) == ("no luck", "ValueError", "run-1")
    assert failed.get_task_run_error(task_returning(dict, "fine")) is None
    with pytest.deprecated_call():
        assert failed.fetch_task_run_error(first) == text


def test_c_5_6_without_errors() -> None:
    assert assignment(step_run_errors=None).task_run_errors == {}
    assert assignment().get_task_run_error(task_returning(dict)) is None
    with pytest.deprecated_call():
        assert assignment().fetch_task_run_error(task_returning(dict)) is None


def test_c_5_13_data_of_conditions() -> None:
    triggers = {"user:paid": {"sum": 3}, "sleep:10s": {"sleep_duration": "10s"}, "filter_payload": {"f": 1}}
    context = assignment(triggers=triggers)
    assert context.trigger_data["user:paid"] == {"sum": 3}
    assert context.trigger_data["sleep:10s"] == {"sleep_duration": "10s"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"triggers": {"filter_payload": {"f": 1}}}, {"f": 1}),
        ({"triggers": {"filter_payload": None}}, {}),
        ({"triggers": {}}, {}),
        ({"triggers": None}, {}),
        ({"filter_payload": {"g": 1}}, {"g": 1}),
        ({}, {}),
    ],
)
def test_c_5_12_filter_payload(payload: dict[str, Any], expected: object) -> None:
    assert assignment(**payload).filter_payload == expected
    assert assignment(**payload).data.filter_payload == expected


def test_a_run_that_an_event_triggered() -> None:
    action = AssignedAction(triggering_event_external_id="e", triggering_event_key="user:create")
    context = Assignment(action)
    assert (context.triggering_event_id, context.triggering_event_key) == ("e", "user:create")
    assert context.was_triggered_by_event
    manual = assignment(triggered_by="manual")
    assert (manual.triggering_event_id, manual.triggering_event_key) == (None, None)
    assert not manual.was_triggered_by_event


def test_nothing_at_all_in_the_payload() -> None:
    empty = Assignment(AssignedAction())
    assert (empty.input, empty.trigger_data, empty.task_run_errors, empty.filter_payload) == ({}, {}, {}, {})
    assert empty.additional_metadata == {}


@pytest.mark.parametrize(
    ("number", "level"),
    [(5, "DEBUG"), (10, "DEBUG"), (20, "INFO"), (25, "INFO"), (30, "WARN"), (40, "ERROR"), (50, "ERROR")],
)
def test_c_13_2_levels(number: int, level: str) -> None:
    assert LogLevel.of(number).value == level


def test_levels_by_name() -> None:
    names = ("DEBUG", "warning", "CRITICAL", "made up")
    assert [LogLevel.from_levelname(name).value for name in names] == ["DEBUG", "WARN", "ERROR", "INFO"]


def test_c_13_3_a_long_line_is_cut() -> None:
    assert len(clean("ä" * (LONGEST_LINE + 1))) == LONGEST_LINE == 10_000


def test_c_13_8_a_line_holds_what_the_engine_takes() -> None:
    assert clean("a\x00b\udce9") == "a\ufffdb?"


def test_a_mapping_is_written_as_json() -> None:
    assert text_of({"a": 1}, strict=True) == '{"a": 1}'
    assert "object" in text_of({"a": object()}, strict=False)
    with pytest.raises(TypeError):
        text_of({"a": object()}, strict=True)
