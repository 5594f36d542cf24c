"""The exceptions of the SDK. Light to import: nothing here needs grpc."""

from __future__ import annotations

import json
import traceback
from datetime import timedelta

TASK_RUN_ERROR_METADATA_KEY = "__hatchet_error_metadata__"

_UNKNOWN_TYPE = "HatchetError"
_TRACEBACK = "Traceback (most recent call last):"


class ConfigurationError(Exception):
    """The client's configuration cannot work: a token is missing or malformed, or a file cannot be read."""


class NonRetryableException(Exception):
    """Raise it in a task: the task fails at once, whatever its ``retries`` say (C-5.34)."""


class NonDeterminismError(Exception):
    """A durable task asked for something else than its log has at this place (behaviour-durable D-14).

    Its code changed between two invocations, or does not do the same every time. Attributes: ``task_external_id``,
    ``invocation_count``, ``message`` (what was recorded, and what was asked for), ``node_id`` (the place in the log).
    """

    def __init__(self, task_external_id: str, invocation_count: int, message: str, node_id: int) -> None:
        super().__init__(message)
        self.task_external_id = task_external_id
        self.invocation_count = invocation_count
        self.message = message
        self.node_id = node_id

    def __reduce__(self) -> tuple[type[NonDeterminismError], tuple[str, int, str, int]]:
        return (type(self), (self.task_external_id, self.invocation_count, self.message, self.node_id))


class DurableOperationError(Exception):
    """The engine refused a step of a durable task, or its answer got lost.

    The attempt cannot go on; a retry can, as the steps before it are in the log.
    """


class EvictionNotSupportedError(NonRetryableException):
    """The engine is too old to take waiting tasks off their workers; ``engine_version`` is what it calls itself."""

    def __init__(self, engine_version: str | None = None) -> None:
        super().__init__(f"the engine (version {engine_version or 'unknown'}) cannot evict durable tasks; v0.80.0 can")
        self.engine_version = engine_version


class RetryAfterException(Exception):
    """Raise it in a task: the next attempt starts after ``after`` instead of the declared back-off (C-6.27).

    It uses up one of the task's retries.
    """

    def __init__(self, message: str = "", *, after: timedelta) -> None:
        super().__init__(message)
        self.after = after

    @property
    def after_ms(self) -> int:
        """The delay in whole milliseconds, not below zero."""
        return max(0, round(self.after.total_seconds() * 1000))


class IllegalTaskOutputError(Exception):
    """A task returned something that is neither a pydantic model, a dataclass, a mapping nor None."""


class DedupeViolationError(Exception):
    """The engine refused a run as a duplicate of one that exists."""


class IdempotencyCollisionError(Exception):
    """A run with the same idempotency key exists; ``existing_run_external_id`` is its id."""

    def __init__(self, existing_run_external_id: str) -> None:
        super().__init__(f"a run with the same idempotency key exists: {existing_run_external_id}")
        self.existing_run_external_id = existing_run_external_id


class BulkTriggerIdempotencyCollisionError(Exception):
    """Some runs of a bulk trigger collided with existing ones; the others were created (C-4.43)."""

    def __init__(
        self, successful_workflow_run_external_ids: list[str], collisions: list[IdempotencyCollisionError]
    ) -> None:
        super().__init__(
            f"{len(collisions)} runs collided by their idempotency key, "
            f"{len(successful_workflow_run_external_ids)} were created"
        )
        self.successful_workflow_run_external_ids = successful_workflow_run_external_ids
        self.collisions = collisions


class LifespanSetupError(Exception):
    """The worker's ``lifespan`` generator raised before it yielded."""


class LoopAlreadyRunningError(Exception):
    """A worker was started with a blocking call on a thread whose event loop runs."""


class CancelledRunError(ValueError):
    """The awaited run was cancelled, so there is no result. Carries the run's id."""

    def __init__(self, workflow_run_id: str) -> None:
        super().__init__(f"Workflow run {workflow_run_id} was cancelled.")
        self.workflow_run_id = workflow_run_id


class TaskRunError(Exception):
    """How one task run failed: type, message and traceback of the exception on the worker.

    ``exc`` is the message, ``exc_type`` the name of the exception's class, ``trace`` the traceback's text.
    """

    def __init__(self, exc: str, exc_type: str, trace: str, task_run_external_id: str | None) -> None:
        super().__init__(exc)
        self.exc = exc
        self.exc_type = exc_type
        self.trace = trace
        self.task_run_external_id = task_run_external_id

    def __str__(self) -> str:
        return self.serialize(include_metadata=False)

    def __repr__(self) -> str:
        return f"TaskRunError({self.exc_type}: {self.exc!r}, task_run_external_id={self.task_run_external_id!r})"

    def __reduce__(self) -> tuple[type[TaskRunError], tuple[str, str, str, str | None]]:
        return (type(self), (self.exc, self.exc_type, self.trace, self.task_run_external_id))

    def serialize(self, include_metadata: bool) -> str:
        """The text that a worker sends (C-5.40); empty when there is neither type nor message.

        ``include_metadata`` appends the line that names the task run.
        """
        if not self.exc_type and not self.exc:
            return ""
        kind = self.exc_type.replace(": ", ":::")
        message = self.exc.replace("\n", "\\\n")
        text = f"{kind}: {message}\n{self.trace}"
        if not include_metadata:
            return text
        metadata = json.dumps({TASK_RUN_ERROR_METADATA_KEY: {"task_run_external_id": self.task_run_external_id}})
        return f"{text}\n\n{metadata}"

    @classmethod
    def from_exception(cls, exc: Exception, task_run_external_id: str | None) -> TaskRunError:
        """Describe an exception that a task raised."""
        trace = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))
        return cls(str(exc), type(exc).__name__, trace, task_run_external_id)

    @classmethod
    def deserialize(cls, serialized: str) -> TaskRunError:
        """Read an error text as it came from the engine; never raises, whoever wrote the text (C-5.41).

        Texts of one line, and texts whose first line has no ``: ``, become type ``HatchetError`` with the whole text as
        message.
        """
        if not serialized:
            return cls("", "", "", None)
        text, task_id = _split_metadata(serialized)
        header, newline, trace = text.partition("\n")
        if not newline or ": " not in header:
            return cls(text, _UNKNOWN_TYPE, "", task_id)
        kind, _, message = header.partition(": ")
        message, trace = _join_message(message, trace)
        return cls(message, kind.replace(":::", ": "), trace, task_id)


def _split_metadata(serialized: str) -> tuple[str, str | None]:
    body, _, last = serialized.rstrip("\n").rpartition("\n")
    try:
        metadata = json.loads(last)[TASK_RUN_ERROR_METADATA_KEY]
        task_id = metadata.get("task_run_external_id")
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return serialized.rstrip("\n"), None
    return body.rstrip("\n"), task_id if isinstance(task_id, str) else None


def _join_message(message: str, trace: str) -> tuple[str, str]:
    """Undo the escaping of a message of several lines: a line that ends with a backslash goes on."""
    while message.endswith("\\") and trace and not trace.startswith(_TRACEBACK):
        line, _, trace = trace.partition("\n")
        message = f"{message[:-1]}\n{line}"
    return message, trace


class FailedTaskRunExceptionGroup(ValueError):
    """An awaited run failed; ``exceptions`` holds one :class:`TaskRunError` for each failed task (C-7.19)."""

    def __init__(self, message: str, exceptions: list[TaskRunError]) -> None:
        super().__init__(message, exceptions)
        self.message = message
        self.exceptions = exceptions

    def __str__(self) -> str:
        return "\n\n".join([self.message, *(str(error) for error in self.exceptions)])
