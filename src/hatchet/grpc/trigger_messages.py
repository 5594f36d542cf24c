"""Trigger requests as the engine takes them (behaviour-core C-4.1, C-4.2)."""

from __future__ import annotations

from hatchet.core.messages import TriggerItem
from hatchet.grpc.fields import clean_text, decoded, required_uuid
from hatchet.grpc.label_messages import desired_labels
from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
from hatchet_contracts.v1.workflows_pb2 import TriggerWorkflowRunRequest


def trigger_item(request: TriggerWorkflowRequest) -> TriggerItem:
    """One run to create. Ids that are no UUID and texts that cannot be stored raise :class:`InvalidArgument` (C-4.8).

    An empty parent id is the same as none, because some clients send it outside tasks (C-4.11). A desired worker id
    is for sticky workflows and without effect on others (C-11.13).
    """
    child_key = request.child_key if request.HasField("child_key") else ""
    return TriggerItem(
        workflow_name=request.name,
        input=request.input,
        additional_metadata=request.additional_metadata,
        priority=request.priority if request.HasField("priority") else None,
        parent_run_id=_optional_uuid(request.parent_id, "parent_id"),
        parent_task_id=_optional_uuid(request.parent_task_run_external_id, "parent_task_run_external_id"),
        child_index=request.child_index if request.HasField("child_index") else None,
        child_key=clean_text(child_key, "child_key") or None,
        desired_worker=_optional_uuid(request.desired_worker_id, "desired_worker_id"),
        desired_labels=desired_labels(request.desired_worker_labels, "desired_worker_labels"),
    )


def admin_trigger_item(request: TriggerWorkflowRunRequest) -> TriggerItem:
    """The same for the newer call, which knows no parents (C-4.2)."""
    return TriggerItem(
        workflow_name=request.workflow_name,
        input=decoded(request.input, "input"),
        additional_metadata=decoded(request.additional_metadata, "additional_metadata"),
        priority=request.priority if request.HasField("priority") else None,
        desired_labels=desired_labels(request.desired_worker_labels, "desired_worker_labels"),
    )


def _optional_uuid(text: str, field: str) -> str | None:
    return required_uuid(text, field) if text else None
