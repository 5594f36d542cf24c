"""What an assignment says about the other tasks of its run: their outputs and their errors (C-5.7 to C-5.16).

Read from the payload as it came, not through a model: a task of another SDK may return any JSON, and a task that asks
for nothing pays for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from pydantic_core import to_json

from hatchet_sdk.exceptions import TaskRunError

if TYPE_CHECKING:
    from hatchet_sdk.declare.task import Task, ValidTaskReturnType

R = TypeVar("R", bound="ValidTaskReturnType")

_ABSENT = object()


def output_of(payload: Mapping[str, Any], task: Task[Any, R], *, asked_by: str) -> R:
    """The output of `task` as its declared type.

    Args:
        asked_by: the name of the task that asks, for the error.

    Raises:
        ValueError: the task was skipped, or the assignment has no output of it.
        pydantic.ValidationError: the output does not fit the declared type. (It is a ValueError too.)
    """
    output = _find(payload.get("parents"), task)
    if output is _ABSENT:
        raise ValueError(
            f"task '{asked_by}' has no output of '{task.name}': only tasks that ran before it have one, so declare"
            f" '{task.name}' as a parent (parents=[...]) of '{asked_by}'"
        )
    if _says_skipped(output):
        raise ValueError(f"task '{task.name}' was skipped and has no output; ask ctx.was_skipped() first")
    if output in (None, {}):
        return _empty_output(task)
    return task.parse_output(to_json(output))


def was_skipped(payload: Mapping[str, Any], task: Task[Any, Any]) -> bool:
    """Whether `task` was skipped (C-5.8); False for a task that the assignment says nothing about."""
    return _says_skipped(_find(payload.get("parents"), task))


def errors_of(payload: Mapping[str, Any]) -> dict[str, str]:
    """The error texts of failed tasks by their names (C-5.15, C-5.16)."""
    return {name: text for name, text in (payload.get("step_run_errors") or {}).items() if text}


def error_text_of(payload: Mapping[str, Any], task: Task[Any, Any]) -> str | None:
    """How `task` failed, as its worker wrote it; None if it did not fail."""
    text = _find(errors_of(payload), task)
    return None if text is _ABSENT else str(text)


def error_of(payload: Mapping[str, Any], task: Task[Any, Any]) -> TaskRunError | None:
    """How `task` failed; None if it did not."""
    text = error_text_of(payload, task)
    return None if text is None else TaskRunError.deserialize(text)


def _find(by_name: Any, task: Task[Any, Any]) -> Any:
    if not isinstance(by_name, Mapping):
        return _ABSENT
    found = by_name.get(task.readable_id, _ABSENT)
    # Another SDK registers names in the case in which they were written.
    return by_name.get(task.name, _ABSENT) if found is _ABSENT else found


def _says_skipped(output: Any) -> bool:
    return isinstance(output, Mapping) and output.get("skipped") is True


def _empty_output(task: Task[Any, R]) -> R:
    """`{}` stands for an empty object and for None alike (C-5.9), so the declared type decides."""
    try:
        return task.parse_output(b"{}")
    except ValidationError:
        if task.parse_output(None) is None:
            return None  # type: ignore[return-value]  # R admits None, or parse_output had not returned it
        declared = getattr(task.output_validator_type, "__name__", task.output_validator_type)
        raise ValueError(f"task '{task.name}' returned nothing, but declares to return {declared}") from None
