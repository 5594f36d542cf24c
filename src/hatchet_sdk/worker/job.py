"""What the executor needs to know of an attempt: what the function gets, and how its end is told to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hatchet_contracts.dispatcher_pb2 import AssignedAction, BatchActionEvent, StepActionEvent

if TYPE_CHECKING:
    from hatchet_sdk.context.context import Context
    from hatchet_sdk.declare.task import Task
    from hatchet_sdk.worker.outcome import Outcomes

Event = StepActionEvent | BatchActionEvent


class Job(Protocol):
    """One call of a function."""

    def value(self) -> Any:
        """The first argument of the function. Raises when the input does not fit, which no other attempt mends."""

    def started(self, seconds_ago: float) -> Sequence[Event]:
        """That the assignment came, so long ago. Never raises."""

    def completed(self, output: Any) -> Sequence[Event]:
        """That the function returned `output`. Raises IllegalTaskOutputError when it is of the wrong kind."""

    def failed(self, error: BaseException, *, retry: bool = True) -> Sequence[Event]:
        """That the function, or one of the methods above, raised `error`. Never raises."""


class SingleJob:
    """A call for one task run."""

    __slots__ = ("_action", "_context", "_outcomes", "_task")

    def __init__(self, action: AssignedAction, task: Task[Any, Any], context: Context, outcomes: Outcomes) -> None:
        self._action = action
        self._task = task
        self._context = context
        self._outcomes = outcomes

    def value(self) -> Any:
        return self._task.parse_input(self._context.input)

    def started(self, seconds_ago: float) -> Sequence[Event]:
        return (self._outcomes.started(self._action, seconds_ago),)

    def completed(self, output: Any) -> Sequence[Event]:
        return (self._outcomes.completed(self._action, self._task.serialize_output(output)),)

    def failed(self, error: BaseException, *, retry: bool = True) -> Sequence[Event]:
        return (self._outcomes.failed(self._action, error, retry=retry),)
