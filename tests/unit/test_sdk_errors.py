"""Error texts between workers and callers: what is sent is what arrives (behaviour-core C-5.40 to C-5.42, C-7.19)."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchet_contracts.v1 import workflows_pb2
from hatchet_sdk.exceptions import (
    TASK_RUN_ERROR_METADATA_KEY,
    BulkTriggerIdempotencyCollisionError,
    CancelledRunError,
    DedupeViolationError,
    FailedTaskRunExceptionGroup,
    IdempotencyCollisionError,
    RetryAfterException,
    TaskRunError,
)
from hatchet_sdk.run.collisions import COLLISION, DETAILS, translate
from hatchet_sdk.run.outcome import RunOutcome, TaskOutcome
from hatchet_sdk.wire.errors import EngineError


def _raised(error: Exception, task_id: str | None = "task-1") -> TaskRunError:
    try:
        raise error
    except Exception as caught:
        return TaskRunError.from_exception(caught, task_id)


def test_c_5_40_text_has_header_traceback_blank_line_metadata() -> None:
    text = _raised(ValueError("went wrong")).serialize(include_metadata=True)
    lines = text.split("\n")
    assert lines[0] == "ValueError: went wrong"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-2] == ""
    assert json.loads(lines[-1]) == {TASK_RUN_ERROR_METADATA_KEY: {"task_run_external_id": "task-1"}}
    assert TASK_RUN_ERROR_METADATA_KEY not in _raised(ValueError("x")).serialize(include_metadata=False)


def test_c_5_40_newlines_of_the_message_become_backslash_newline() -> None:
    assert _raised(ValueError("l1\nl2")).serialize(True).startswith("ValueError: l1\\\nl2\nTraceback")


def test_c_5_40_colon_space_in_the_type_is_escaped() -> None:
    assert TaskRunError("m", "odd: type", "trace", None).serialize(False) == "odd:::type: m\ntrace"
    assert TaskRunError.deserialize("odd:::type: m\ntrace").exc_type == "odd: type"


@given(st.text(alphabet=st.characters(exclude_characters="\r", exclude_categories=["Cs"])))
def test_c_5_40_round_trip_keeps_message_type_and_task(message: str) -> None:
    sent = _raised(RuntimeError(message))
    got = TaskRunError.deserialize(sent.serialize(include_metadata=True))
    assert (got.exc, got.exc_type, got.task_run_external_id) == (message, "RuntimeError", "task-1")


@pytest.mark.parametrize("text", ["one line", "one: line", "first line\nsecond: line", "Task exceeded timeout of 1m"])
def test_c_5_41_texts_without_a_header_arrive_whole(text: str) -> None:
    error = TaskRunError.deserialize(text)
    assert (error.exc_type, error.exc, error.task_run_external_id) == ("HatchetError", text, None)


@pytest.mark.parametrize(
    "last", ["42", "true", "null", '"text"', '{"message": "x"}', "[1]", '{"__hatchet_error_metadata__": 3}']
)
def test_c_5_41_a_last_line_of_other_json_is_part_of_the_text(last: str) -> None:
    error = TaskRunError.deserialize(f"Kind: message\n{last}")
    assert (error.exc_type, error.exc, error.task_run_external_id) == ("Kind", "message", None)


def test_c_5_41_empty_text_is_no_error() -> None:
    error = TaskRunError.deserialize("")
    assert (error.exc, error.exc_type, error.serialize(True)) == ("", "", "")


@given(st.text())
def test_c_5_41_no_text_makes_the_parser_raise(text: str) -> None:
    TaskRunError.deserialize(text)


def test_task_run_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(_raised(ValueError("x"))))
    assert (error.exc, error.exc_type, error.task_run_external_id) == ("x", "ValueError", "task-1")


def _outcome(*tasks: tuple[str, str | None, str | None]) -> RunOutcome:
    return RunOutcome("run-1", tuple(TaskOutcome(name, f"id-{name}", error, output) for name, error, output in tasks))


def test_c_7_19_failed_run_is_a_group_with_one_member_per_failed_task() -> None:
    text = _raised(ValueError("first")).serialize(True)
    outcome = _outcome(("a", text, None), ("b", "engine says no", None), ("c", None, "{}"))
    with pytest.raises(FailedTaskRunExceptionGroup) as caught:
        outcome.outputs()
    assert caught.value.message == "Workflow run run-1 failed."
    assert [(e.exc, e.exc_type) for e in caught.value.exceptions] == [
        ("first", "ValueError"),
        ("engine says no", "HatchetError"),
    ]
    assert caught.value.exceptions[1].task_run_external_id == "id-b"
    assert "run-1" in str(caught.value)
    assert "first" in str(caught.value)


def test_c_7_10_an_empty_error_means_cancelled_and_failure_wins() -> None:
    with pytest.raises(CancelledRunError, match="run-1 was cancelled") as caught:
        _outcome(("a", "", None)).outputs()
    assert isinstance(caught.value, ValueError)
    with pytest.raises(FailedTaskRunExceptionGroup):
        _outcome(("a", "", None), ("b", "no", None)).outputs()


def test_c_7_15_blocking_callers_get_all_tasks_and_awaiting_ones_the_outputs_that_exist() -> None:
    outcome = _outcome(("a", None, '{"x": 1}'), ("b", None, None), ("c", None, '{"skipped": true}'))
    assert outcome.outputs() == {"a": {"x": 1}, "b": None, "c": {"skipped": True}}
    assert outcome.awaited_outputs() == {"a": {"x": 1}, "c": {"skipped": True}}


def test_c_7_21_awaiting_a_cancelled_run_gives_the_outputs_there_are() -> None:
    outcome = _outcome(("a", None, '{"x": 1}'), ("b", "", None))
    assert outcome.awaited_outputs() == {"a": {"x": 1}}
    assert (outcome.cancelled, outcome.failed) == (True, False)
    with pytest.raises(FailedTaskRunExceptionGroup):
        _outcome(("a", "", None), ("b", "no", None)).awaited_outputs()


def test_c_6_27_retry_after_in_milliseconds() -> None:
    error = RetryAfterException("later", after=timedelta(seconds=1.5))
    assert (error.after_ms, str(error)) == (1500, "later")
    assert RetryAfterException(after=timedelta(seconds=-1)).after_ms == 0


# --- idempotency (C-4.42 to C-4.50) ---------------------------------------------------------------------------------


def _status(detail: object) -> bytes:
    from google.protobuf.any_pb2 import Any as AnyMessage

    packed = AnyMessage()
    packed.Pack(detail)  # type: ignore[arg-type]
    body = packed.SerializeToString()
    message = COLLISION.encode()
    return b"\x08\x06\x12" + bytes([len(message)]) + message + b"\x1a" + _length(len(body)) + body


def _length(size: int) -> bytes:
    return bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])


def _already_exists(details: str, trailer: bytes | None = None) -> EngineError:
    trailers: dict[str, str | bytes] = {} if trailer is None else {DETAILS: trailer}
    return EngineError("text", grpc.StatusCode.ALREADY_EXISTS, details, trailers)


def test_c_4_44_single_collision_names_the_existing_run() -> None:
    detail = workflows_pb2.IdempotencyCollisionError(existing_run_external_id="old", colliding_run_external_id="new")
    error = translate(_already_exists(COLLISION, _status(detail)))
    assert isinstance(error, IdempotencyCollisionError)
    assert error.existing_run_external_id == "old"


def test_c_4_45_bulk_collision_lists_both_kinds() -> None:
    detail = workflows_pb2.BulkTriggerIdempotencyCollisionError(
        successful_workflow_run_external_ids=["a" * 36, "b" * 36],
        collisions=[workflows_pb2.IdempotencyCollisionError(existing_run_external_id="old")],
    )
    error = translate(_already_exists(COLLISION, _status(detail)))
    assert isinstance(error, BulkTriggerIdempotencyCollisionError)
    assert error.successful_workflow_run_external_ids == ["a" * 36, "b" * 36]
    assert [collision.existing_run_external_id for collision in error.collisions] == ["old"]


def test_c_4_49_another_text_is_a_dedupe_violation() -> None:
    assert isinstance(translate(_already_exists("duplicate")), DedupeViolationError)


@pytest.mark.parametrize("body", [b"\x0a\xff", b"\x12\x05ab"])
def test_a_damaged_detail_of_the_right_type_is_still_a_collision(body: bytes) -> None:
    from google.protobuf.any_pb2 import Any as AnyMessage

    detail = AnyMessage(type_url="type.googleapis.com/v1.BulkTriggerIdempotencyCollisionError", value=body)
    error = translate(
        _already_exists(COLLISION, b"\x1a" + _length(len(detail.SerializeToString())) + detail.SerializeToString())
    )
    assert isinstance(error, IdempotencyCollisionError)


@given(st.binary())
def test_damaged_details_are_still_a_collision(trailer: bytes) -> None:
    assert isinstance(
        translate(_already_exists(COLLISION, trailer)),
        IdempotencyCollisionError | BulkTriggerIdempotencyCollisionError,
    )


def test_other_errors_stay_what_they_are() -> None:
    error = EngineError("text", grpc.StatusCode.INVALID_ARGUMENT, "bad", {})
    assert translate(error) is error
