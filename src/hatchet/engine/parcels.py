"""What a worker's stream carries: starts and cancels of attempts and of batches (behaviour-core C-5.1, C-16.19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hatchet.core.batches import sentence
from hatchet.core.messages import Action, ActionKind, BatchStart
from hatchet.core.payloads import TaskPayload, batch_payload
from hatchet.engine.inputs import Input
from hatchet.engine.memory import Batch, Flight

EMPTY = Input(TaskPayload("", ""), "")


class Parcel:
    """One message to a worker, and the attempts that it hands over; none when it is a cancel."""

    __slots__ = ("_action", "_texts", "flights")

    def __init__(self, action: Action, flights: Sequence[Flight] = (), texts: Mapping[str, str] | None = None) -> None:
        """``texts``: of a batch, each attempt's payload by task id."""
        self._action = action
        self.flights = list(flights)
        self._texts = texts

    def action(self) -> Action:
        """The message, of a batch with the attempts that are left."""
        batch = self._action.batch
        if self._texts is not None and batch is not None:
            tasks = [flight.task for flight in self.flights]
            items = [(task.id, task.run_id or task.id, self._texts[task.id]) for task in tasks]
            self._action.payload = batch_payload(items)
            batch.size = len(items)
        return self._action


def start_action(flight: Flight, sent: Input) -> Action:
    """The message that hands an attempt over."""
    return _action(flight, sent, ActionKind.START)


def cancel_action(flight: Flight) -> Action:
    """The message that stops an attempt."""
    return _action(flight, EMPTY, ActionKind.CANCEL)


def batch_action(flight: Flight, batch: Batch, kind: ActionKind) -> Action:
    """A message about the whole batch, of which ``flight`` is one."""
    action = _action(flight, EMPTY, kind)
    action.batch = BatchStart(
        id=batch.id, key=batch.key, reason=sentence(batch.reason), flushed_at=batch.flushed_at, size=batch.size
    )
    return action


def submission(flight: Flight) -> tuple[int, float, str]:
    """The order of a batch's attempts (C-16.7, C-16.21)."""
    task = flight.task
    return -task.level, task.ready_at, task.id


def _action(flight: Flight, sent: Input, kind: ActionKind) -> Action:
    task, version, payload = flight.task, flight.task.version, sent.payload
    step = task.step
    return Action(
        kind=kind,
        tenant_id=flight.tenant_id,
        run_id=task.run_id or task.id,
        task_id=task.id,
        step_id=step.id,
        readable_id=step.definition.readable_id,
        action=step.definition.action,
        workflow_id=version.workflow_id,
        version_id=version.id,
        retry_count=task.retry_count,
        priority=task.priority,
        payload=sent.text,
        additional_metadata=payload.additional_metadata,
        inserted_at=task.created_at,
        parent_run_id=payload.parent_run_id,
        parent_task_id=payload.parent_task_id,
        child_index=payload.child_index,
        child_key=payload.child_key,
        invocation=task.invocation if step.definition.is_durable else None,
    )
