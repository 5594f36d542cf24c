"""Trigger requests as the engine takes them (behaviour-core C-4.1, C-4.2)."""

from __future__ import annotations

from hatchet.core.errors import Unimplemented
from hatchet.core.messages import TriggerItem
from hatchet.grpc.fields import clean_text, decoded, quoted, required_uuid
from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
from hatchet_contracts.v1.workflows_pb2 import TriggerWorkflowRunRequest


def trigger_item(request: TriggerWorkflowRequest) -> TriggerItem:
    """One run to create. Ids that are no UUID and texts that cannot be stored raise :class:`InvalidArgument` (C-4.8).

    An empty parent id is the same as none, because some clients send it outside tasks (C-4.11).
    """
    _optional_uuid(request.desired_worker_id, "desired_worker_id")
    _refuse_placement(request)
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
    )


def admin_trigger_item(request: TriggerWorkflowRunRequest) -> TriggerItem:
    """The same for the newer call, which knows no parents (C-4.2)."""
    _refuse_placement(request)
    return TriggerItem(
        workflow_name=request.workflow_name,
        input=decoded(request.input, "input"),
        additional_metadata=decoded(request.additional_metadata, "additional_metadata"),
        priority=request.priority if request.HasField("priority") else None,
    )


def _optional_uuid(text: str, field: str) -> str | None:
    return required_uuid(text, field) if text else None


def _refuse_placement(request: TriggerWorkflowRequest | TriggerWorkflowRunRequest) -> None:
    """Wishes about the worker are not served yet: say so instead of running the task anywhere."""
    name = request.name if isinstance(request, TriggerWorkflowRequest) else request.workflow_name
    wishes = [field for field in ("desired_worker_id", "desired_worker_labels") if getattr(request, field, None)]
    if wishes:
        raise Unimplemented(
            f"workflow {quoted(name)} was not triggered: "
            f"this version of the server does not yet serve {', '.join(wishes)}"
        )
