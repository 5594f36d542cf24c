"""What an assignment says: the input, the other tasks of the run, and which run and attempt it is.

Reads the message on demand: one object is made for every assignment, and most tasks ask for little of it.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import deprecated

from hatchet_sdk.context import upstream
from hatchet_sdk.context.payload import ActionPayload, filter_payload, parse_payload

if TYPE_CHECKING:
    from hatchet_contracts.dispatcher_pb2 import AssignedAction
    from hatchet_sdk.declare.task import Task, ValidTaskReturnType
    from hatchet_sdk.exceptions import TaskRunError

R = TypeVar("R", bound="ValidTaskReturnType")


class Assignment:
    """The part of a context that comes from the assignment alone."""

    def __init__(self, action: AssignedAction) -> None:
        self._action = action
        self._payload: dict[str, Any] | None = None

    # --- the input -----------------------------------------------------------------------------------------------

    @property
    def payload(self) -> dict[str, Any]:
        """The payload of the assignment as plain objects (C-5.5).

        Raises:
            ValueError: the engine sent something else than a JSON object.
        """
        # Not a cached_property: that takes a lock shared by all contexts, on the way of every task.
        if self._payload is None:
            self._payload = parse_payload(self._action.action_payload)
        return self._payload

    @cached_property
    def data(self) -> ActionPayload:
        """The payload of the assignment as a model."""
        return ActionPayload.model_validate(self.payload)

    @property
    def input(self) -> dict[str, Any]:
        """The input of the run as plain objects, before any validation."""
        return self.payload.get("input") or {}

    @property
    def workflow_input(self) -> dict[str, Any]:
        """The same as `input`."""
        return self.input

    @property
    def trigger_data(self) -> dict[str, Any]:
        """The data of the conditions that let this task start, by the conditions' keys (C-5.13).

        An event's payload is under the event's key, a sleep under `sleep:<duration>`, unless the condition has a
        `readable_data_key` of its own.
        """
        return self.payload.get("triggers") or {}

    @property
    def filter_payload(self) -> dict[str, Any]:
        """The payload of the filter that let the triggering event through; empty without one (C-5.12)."""
        return filter_payload(self.trigger_data) or self.payload.get("filter_payload") or {}

    @property
    def triggering_event_id(self) -> str | None:
        """The id of the event that triggered the run; None if none did."""
        return self._action.triggering_event_external_id or None

    @property
    def triggering_event_key(self) -> str | None:
        """The key of the event that triggered the run; None if none did."""
        return self._action.triggering_event_key or None

    @property
    def was_triggered_by_event(self) -> bool:
        """Whether an event triggered the run."""
        # `triggered_by` says "manual" in all cases today (C-5.5); the event's id tells.
        return self.triggering_event_id is not None or self.payload.get("triggered_by") == "event"

    @cached_property
    def additional_metadata(self) -> dict[str, Any]:
        """The metadata that the run was triggered with."""
        text = self._action.additional_metadata
        return (json.loads(text) or {}) if text else {}

    # --- the other tasks of the run ------------------------------------------------------------------------------

    def task_output(self, task: Task[Any, R]) -> R:
        """The output of a parent, as a value of the type that the parent declares to return.

        Raises:
            ValueError: `task` was skipped (see `was_skipped`), is not among the tasks that ran before this one, or its
                output does not fit its declared type (`pydantic.ValidationError`).
        """
        return upstream.output_of(self.payload, task, asked_by=self.task_name)

    def aio_task_output(self, task: Task[Any, R]) -> R:
        """The same as `task_output`: the outputs came with the assignment, so there is nothing to await."""
        return self.task_output(task)

    def was_skipped(self, task: Task[Any, Any]) -> bool:
        """Whether a parent was skipped (C-5.8)."""
        return upstream.was_skipped(self.payload, task)

    @property
    def task_run_errors(self) -> dict[str, str]:
        """In an on-failure task: the error texts of the failed tasks by task name, else empty (C-5.15)."""
        return upstream.errors_of(self.payload)

    def get_task_run_error(self, task: Task[Any, Any]) -> TaskRunError | None:
        """In an on-failure task: how `task` failed; None if it did not."""
        return upstream.error_of(self.payload, task)

    @deprecated("use get_task_run_error")
    def fetch_task_run_error(self, task: Task[Any, Any]) -> str | None:
        """In an on-failure task: the error text of `task`; None if it did not fail."""
        return upstream.error_text_of(self.payload, task)

    # --- who am I ------------------------------------------------------------------------------------------------

    @property
    def workflow_run_id(self) -> str:
        return self._action.workflow_run_id

    @property
    def task_run_id(self) -> str:
        """The id of this task run; the same on every attempt."""
        return self._action.task_run_external_id

    @property
    def step_run_id(self) -> str:
        """The older name of `task_run_id`."""
        return self._action.task_run_external_id

    @property
    def task_name(self) -> str:
        return self._action.task_name

    @property
    def workflow_id(self) -> str | None:
        return self._action.workflow_id or None

    @property
    def workflow_version_id(self) -> str | None:
        return self._action.workflow_version_id or None

    @property
    def retry_count(self) -> int:
        """How often the task was queued again: 0 on the first attempt (C-6.26)."""
        return self._action.retry_count

    @property
    def attempt_number(self) -> int:
        """`retry_count` + 1."""
        return self._action.retry_count + 1

    @property
    def priority(self) -> int | None:
        # No presence on the wire; a run has at least 1.
        return self._action.priority or None

    @property
    def child_index(self) -> int | None:
        """The place of this run among its parent's children; None if no task triggered it."""
        return self._action.child_workflow_index if self._action.HasField("child_workflow_index") else None

    @property
    def child_key(self) -> str | None:
        return self._action.child_workflow_key if self._action.HasField("child_workflow_key") else None

    @property
    def parent_workflow_run_id(self) -> str | None:
        return self._action.parent_workflow_run_id if self._action.HasField("parent_workflow_run_id") else None
