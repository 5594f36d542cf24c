"""`ctx` in a batch task: one object for all runs of the batch (behaviour-core C-16.19 to C-16.22)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pydantic_core import from_json

from hatchet_sdk.context.context import Context

if TYPE_CHECKING:
    from hatchet_contracts.dispatcher_pb2 import AssignedAction, BatchActionEvent
    from hatchet_sdk.declare.task import Task, ValidTaskReturnType
    from hatchet_sdk.wire.calls import Calls

R = TypeVar("R", bound="ValidTaskReturnType")


@dataclass(slots=True, frozen=True)
class BatchMember:
    """A run of the batch: the id of its workflow run, and its input as plain objects."""

    workflow_run_id: str
    input: dict[str, Any]


def members_of(action: AssignedAction) -> dict[str, BatchMember]:
    """The runs of a batch by the ids of their task runs, in the order in which the engine names them (C-16.20).

    Raises:
        ValueError: the engine sent something else.
    """
    payload = from_json(action.action_payload)
    try:
        return {
            task_run: BatchMember(item["workflow_run_id"], item["payload"].get("input") or {})
            for task_run, item in payload.items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"batch {action.batchId} has a payload that is none of a batch: {error!r}") from None


class BatchContext(Context):
    """What a batch task does by way of it, such as logging, it does for every run of the batch.

    What belongs to a single run is empty here: the ids, the metadata, `input`. A child run that is triggered in a batch
    has no parent (C-16.37).
    """

    _members: dict[str, BatchMember] | None = None

    @property
    def payload(self) -> dict[str, Any]:
        return {}

    @property
    def members(self) -> dict[str, BatchMember]:
        """See `members_of`. For the worker."""
        if self._members is None:
            self._members = members_of(self._action)
        return self._members

    @property
    def _task_run_ids(self) -> list[str]:
        return list(self.members)

    def task_output(self, task: Task[Any, R]) -> R:
        """Not in a batch: its runs belong to different workflow runs, each with its own outputs.

        Raises:
            ValueError: always.
        """
        self._no_parents(task)

    def was_skipped(self, task: Task[Any, Any]) -> bool:
        """Not in a batch, like `task_output`. Raises ValueError."""
        self._no_parents(task)

    def _no_parents(self, task: Task[Any, Any]) -> NoReturn:
        raise ValueError(
            f"a batch task cannot read what became of '{task.name}': the runs of a batch belong to different workflow"
            " runs. Give it what it needs as input, or let an ordinary task read the output"
        )

    async def _cancel(self) -> None:
        """Ends all runs of the batch as CANCELLED; what the function returns afterwards is not sent (C-16.29)."""
        from hatchet_contracts.dispatcher_pb2 import STEP_EVENT_TYPE_CANCELLED
        from hatchet_sdk.wire.batch_events import batch_events, plain_items
        from hatchet_sdk.wire.resend import until_sent

        items = plain_items(self._action, self.members)
        for event in batch_events(self._action, STEP_EVENT_TYPE_CANCELLED, items, worker_id=self.worker_id):
            await until_sent(self._link, partial(_send, event))
        self._cancelled = True


async def _send(event: BatchActionEvent, calls: Calls) -> None:
    from hatchet_sdk.wire.retry import ONCE

    await calls.send_batch_action_event(event, policy=ONCE)
