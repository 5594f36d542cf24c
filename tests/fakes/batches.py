"""Batches as a fake engine hands them out, and what a worker reports on them (behaviour-core C-16.19 to C-16.29)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from fakes.fake_dispatcher import FakeDispatcher
from hatchet_contracts import dispatcher_pb2 as pb

KINDS = {
    pb.STEP_EVENT_TYPE_STARTED: "STARTED",
    pb.STEP_EVENT_TYPE_COMPLETED: "COMPLETED",
    pb.STEP_EVENT_TYPE_FAILED: "FAILED",
    pb.STEP_EVENT_TYPE_CANCELLED: "CANCELLED",
}


def start_batch(fake: FakeDispatcher, action_id: str, inputs: Sequence[object], **fields: Any) -> pb.AssignedAction:
    """Assigns a batch with a run for each input (C-16.19, C-16.20)."""
    members = {
        str(uuid.uuid4()): {
            "workflow_run_id": str(uuid.uuid4()),
            "payload": {"input": value, "parents": {}, "triggers": {}, "triggered_by": "manual"},
        }
        for value in inputs
    }
    values: dict[str, Any] = {
        "tenant_id": str(uuid.uuid4()),
        "action_id": action_id,
        "action_type": pb.START_BATCH,
        "action_payload": json.dumps(members),
        "batchId": str(uuid.uuid4()),
        "batchKey": "default",
        "batchStartPayload": pb.BatchStartPayload(triggerReason="batch_size_reached", expectedSize=len(inputs)),
    }
    return fake.send(pb.AssignedAction(**{**values, **fields}))


def ids_of(batch: pb.AssignedAction) -> list[str]:
    """The task runs of a batch in the engine's order."""
    return list(json.loads(batch.action_payload))


def cancel_batch(fake: FakeDispatcher, batch: pb.AssignedAction, task_run_external_id: str = "") -> None:
    """Sends the CANCEL of a batch; our engine names the batch in the place of the task run too."""
    cancel = pb.AssignedAction()
    cancel.CopyFrom(batch)
    cancel.action_type = pb.CANCEL_STEP_RUN
    cancel.action_payload = ""
    cancel.task_run_external_id = task_run_external_id
    fake.send(cancel)


class Reported:
    """What the worker has said about one batch."""

    def __init__(self, fake: FakeDispatcher, batch: pb.AssignedAction) -> None:
        self._fake = fake
        self._batch = batch

    @property
    def events(self) -> list[pb.BatchActionEvent]:
        """The accepted events in their order."""
        sent = self._fake.requests("SendBatchActionEvent")
        return [event for event in sent if event.batch_id == self._batch.batchId]

    @property
    def kinds(self) -> list[str]:
        return [KINDS[event.event_type] for event in self.events]

    def items(self, kind: str) -> dict[str, pb.BatchActionEventItem]:
        """The items of all events of one kind by task run."""
        return {
            item.task_run_external_id: item
            for event in self.events
            if KINDS[event.event_type] == kind
            for item in event.items
        }

    def outputs(self) -> list[Any]:
        """The outputs of the completed runs in the order of the batch."""
        done = self.items("COMPLETED")
        texts = [done[run].event_payload for run in ids_of(self._batch) if run in done]
        return [json.loads(text) if text else None for text in texts]

    def wait(self) -> Reported:
        """Until every run of the batch has its end."""
        wanted = set(ids_of(self._batch))
        self.until(
            lambda: wanted <= {run for kind in ("COMPLETED", "FAILED", "CANCELLED") for run in self.items(kind)},
            "every run of the batch has ended",
        )
        return self

    def until(self, condition: Callable[[], bool], what: str) -> None:
        self._fake.wait_for(condition, what)
