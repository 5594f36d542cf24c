"""A call of a function for all runs of a batch (behaviour-core C-16.21 to C-16.29)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hatchet_contracts.dispatcher_pb2 import (
    STEP_EVENT_TYPE_COMPLETED,
    STEP_EVENT_TYPE_FAILED,
    STEP_EVENT_TYPE_STARTED,
    AssignedAction,
    StepActionEvent,
)
from hatchet_sdk.context.batch import BatchContext, members_of
from hatchet_sdk.exceptions import IllegalTaskOutputError
from hatchet_sdk.wire.batch_events import batch_events, item_of, plain_items
from hatchet_sdk.worker.job import Event

if TYPE_CHECKING:
    from hatchet_sdk.declare.task import Task
    from hatchet_sdk.worker.outcome import Outcomes

logger = logging.getLogger("hatchet.worker")

NAMED_IDS = 3


class BatchJob:
    """Judges each run by itself where it can: one whose input or output is wrong does not spoil the others."""

    def __init__(self, action: AssignedAction, task: Task[Any, Any], context: BatchContext, outcomes: Outcomes) -> None:
        self._action = action
        self._task = task
        self._context = context
        self._outcomes = outcomes
        self._called_for: list[str] = []
        self._refused: dict[str, Exception] = {}

    def value(self) -> dict[str, Any]:
        """The inputs by the ids of the task runs. Raises when no input at all fits."""
        inputs = {}
        for run, member in self._context.members.items():
            try:
                inputs[run] = self._task.parse_input(member.input)
            except Exception as error:
                self._refused[run] = error.with_traceback(None)
        if not inputs:
            raise next(iter(self._refused.values()), ValueError(f"batch {self._action.batchId} is empty"))
        self._called_for = list(inputs)
        return inputs

    def started(self, seconds_ago: float) -> Sequence[Event]:
        try:
            items = plain_items(self._action, self._context.members)
        except ValueError:
            return ()
        return batch_events(self._action, STEP_EVENT_TYPE_STARTED, items, seconds_ago=seconds_ago)

    def completed(self, output: Any) -> Sequence[Event]:
        events = [self._one(run, value) for run, value in self._outputs(output).items()]
        return self._together([*events, *self._refusals()])

    def failed(self, error: BaseException, *, retry: bool = True) -> Sequence[Event]:
        try:
            runs = [run for run in self._context.members if run not in self._refused]
        except ValueError as unreadable:
            # Whose runs they are is what cannot be read; the engine's timeout will find them.
            logger.error("%s", unreadable)
            return ()
        failed = self._outcomes.failed_each([_of_run(self._action, run) for run in runs], error, retry=retry)
        return self._together([*failed, *self._refusals()])

    def _outputs(self, output: Any) -> Mapping[str, Any]:
        """The output of each run that the function was called for, in their order."""
        batch, runs = self._task.batch, self._called_for
        if batch is not None and batch.broadcast_output:
            return dict.fromkeys(runs, output)
        where = f"batch task '{self._task.name}'"
        if not isinstance(output, Mapping):
            raise IllegalTaskOutputError(
                f"{where} must return a mapping from the ids of its inputs to outputs, got {type(output).__name__}; "
                "broadcast_output=True lets it return one value for all"
            )
        missing = [run for run in runs if run not in output]
        unknown = [str(run) for run in output if run not in self._context.members]
        if missing or unknown:
            raise IllegalTaskOutputError(
                f"{where} must return an output for each of its {len(runs)} inputs by its id; "
                f"missing: {_few(missing)}; unknown: {_few(unknown)}"
            )
        return {run: output[run] for run in runs}

    def _one(self, run: str, output: Any) -> StepActionEvent:
        action = _of_run(self._action, run)
        try:
            return self._outcomes.completed(action, self._task.serialize_output(output))
        except IllegalTaskOutputError as error:
            return self._outcomes.failed(action, error)

    def _refusals(self) -> list[StepActionEvent]:
        return [
            self._outcomes.failed(_of_run(self._action, run), error, retry=False)
            for run, error in self._refused.items()
        ]

    def _together(self, events: Iterable[StepActionEvent]) -> list[Event]:
        return [*together(self._action, events)]


def together(action: AssignedAction, events: Iterable[StepActionEvent]) -> Sequence[Event]:
    """Events of single runs as events of their batch: one for those that completed, one for those that failed."""
    ends = list(events)
    found: list[Event] = []
    for kind in (STEP_EVENT_TYPE_COMPLETED, STEP_EVENT_TYPE_FAILED):
        found += batch_events(action, kind, (item_of(event) for event in ends if event.event_type == kind))
    return found


def refused_batch(action: AssignedAction, text: str, outcomes: Outcomes) -> Sequence[Event]:
    """That no run of the batch can be run here, and why."""
    try:
        runs = members_of(action)
    except ValueError as unreadable:
        logger.error("%s", unreadable)
        return ()
    return together(action, (outcomes.failed_with_text(_of_run(action, run), text) for run in runs))


def _of_run(action: AssignedAction, run: str) -> AssignedAction:
    """The batch's action as if it had been for one run."""
    return AssignedAction(
        task_run_external_id=run, job_id=action.job_id, action_id=action.action_id, retry_count=action.retry_count
    )


def _few(ids: Sequence[str]) -> str:
    if not ids:
        return "none"
    more = f" and {len(ids) - NAMED_IDS} more" if len(ids) > NAMED_IDS else ""
    return ", ".join(ids[:NAMED_IDS]) + more
