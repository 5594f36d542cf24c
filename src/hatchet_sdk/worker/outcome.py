"""How an attempt ended, as the event that tells the engine (C-5.23 to C-5.40)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

from hatchet_contracts.dispatcher_pb2 import (
    STEP_EVENT_TYPE_COMPLETED,
    STEP_EVENT_TYPE_FAILED,
    STEP_EVENT_TYPE_STARTED,
    AssignedAction,
    StepActionEvent,
    StepActionEventType,
)
from hatchet_sdk.exceptions import NonRetryableException, RetryAfterException, TaskRunError

# Ids, timestamps and framing around the payload; the real figure is about 300 bytes.
MESSAGE_SLACK = 16 * 1024
# The widest character of UTF-8.
BYTES_PER_CHARACTER = 4
# How much of an error that is too long to send is kept.
KEPT_ERROR_CHARACTERS = 2000


class Outcomes:
    """Makes the events of one worker.

    Args:
        max_message_bytes: the most that a message to the engine may have (`grpc_max_send_message_length`).
    """

    def __init__(self, max_message_bytes: int) -> None:
        self._limit = max(max_message_bytes - MESSAGE_SLACK, MESSAGE_SLACK)

    def started(self, action: AssignedAction, seconds_ago: float) -> StepActionEvent:
        """STARTED, dated back to the moment when the assignment came (C-5.27)."""
        return _event(action, STEP_EVENT_TYPE_STARTED, "", time.time_ns() - int(seconds_ago * 1e9))

    def completed(self, action: AssignedAction, output: str) -> StepActionEvent:
        """COMPLETED with the output as JSON text; FAILED if it is too large to send (C-5.39)."""
        size = self._oversize(output)
        if size:
            return self.failed_with_text(
                action,
                f"the output of the task has {size} bytes, the limit is {self._limit}: store it elsewhere and return"
                " a reference, or raise HATCHET_CLIENT_GRPC_MAX_SEND_MESSAGE_LENGTH and the engine's message limit",
            )
        return _event(action, STEP_EVENT_TYPE_COMPLETED, output)

    def failed(self, action: AssignedAction, error: BaseException, *, retry: bool = True) -> StepActionEvent:
        """FAILED with the error text of C-5.40.

        Args:
            retry: False for a failure that another attempt cannot mend, whatever the type of the error.
        """
        return self.failed_each((action,), error, retry=retry)[0]

    def failed_each(
        self, actions: Sequence[AssignedAction], error: BaseException, *, retry: bool = True
    ) -> list[StepActionEvent]:
        """FAILED with the same error for several task runs; its traceback is written once."""
        described = _describe(error)
        return [
            self._failed(action, error, _text_for(described, action.task_run_external_id), retry) for action in actions
        ]

    def _failed(self, action: AssignedAction, error: BaseException, text: str, retry: bool) -> StepActionEvent:
        size = self._oversize(text)
        if size:
            kept = f"{type(error).__name__}: {_text_of(error)}"[:KEPT_ERROR_CHARACTERS]
            text = f"{kept} … (the error text has {size} bytes, the limit is {self._limit}; the rest was cut)"
        event = self.failed_with_text(action, text)
        if not retry or isinstance(error, NonRetryableException):
            event.should_not_retry = True
        elif isinstance(error, RetryAfterException):
            event.retry_after_ms = max(error.after_ms, 0)
        return event

    def failed_with_text(self, action: AssignedAction, text: str) -> StepActionEvent:
        """FAILED with a text of the worker's own."""
        return _event(action, STEP_EVENT_TYPE_FAILED, text)

    def _oversize(self, text: str) -> int:
        """The size in bytes if it is above the limit, else 0; counts bytes only when the length leaves a doubt."""
        if len(text) * BYTES_PER_CHARACTER <= self._limit:
            return 0
        size = len(text.encode("utf-8", "replace"))
        return size if size > self._limit else 0


def _event(
    action: AssignedAction, event_type: StepActionEventType, payload: str, nanoseconds: int | None = None
) -> StepActionEvent:
    event = StepActionEvent(
        job_id=action.job_id,
        job_run_id=action.job_run_id,
        task_id=action.task_id,
        task_run_external_id=action.task_run_external_id,
        action_id=action.action_id,
        event_type=event_type,
        retry_count=action.retry_count,
    )
    seconds, nanos = divmod(time.time_ns() if nanoseconds is None else nanoseconds, 1_000_000_000)
    event.event_timestamp.seconds = seconds
    event.event_timestamp.nanos = nanos
    try:
        event.event_payload = payload
    except (UnicodeEncodeError, ValueError):
        # Lone surrogates, as `os.fsdecode` makes them from odd file names, have no place in UTF-8.
        event.event_payload = payload.encode("utf-8", "backslashreplace").decode()
    return event


def _describe(error: BaseException) -> TaskRunError | str:
    try:
        # SystemExit and its like have the same parts; the parser of the text knows no difference.
        return TaskRunError.from_exception(cast(Exception, error), None)
    except Exception as broken:
        return f"{type(error).__name__}: the error has no readable text ({type(broken).__name__} in its __str__)"


def _text_for(described: TaskRunError | str, task_run_id: str) -> str:
    if isinstance(described, str):
        return described
    return TaskRunError(described.exc, described.exc_type, described.trace, task_run_id).serialize(
        include_metadata=True
    )


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""
