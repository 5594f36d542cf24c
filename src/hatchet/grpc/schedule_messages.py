"""Requests for scheduled runs as the engine takes them (behaviour-core C-14.17)."""

from __future__ import annotations

from collections.abc import Sequence

from hatchet.core.definitions import StoredVersion
from hatchet.engine.scheduled_runs import WantedRun
from hatchet.grpc.fields import clean_text, required_uuid, to_seconds, to_timestamp
from hatchet.grpc.legacy_registration import version_message
from hatchet_contracts import workflows_pb2 as pb


def wanted_run(request: pb.ScheduleWorkflowRequest) -> WantedRun:
    """The runs to schedule. Ids that are no UUID raise :class:`InvalidArgument`; an empty one is the same as none."""
    child_key = request.child_key if request.HasField("child_key") else ""
    return WantedRun(
        workflow=request.name,
        times=[to_seconds(at) for at in request.schedules],
        input=request.input,
        additional_metadata=request.additional_metadata,
        priority=request.priority if request.HasField("priority") else None,
        parent_run_id=_optional_uuid(request.parent_id, "parent_id"),
        parent_task_id=_optional_uuid(request.parent_task_run_external_id, "parent_task_run_external_id"),
        child_index=request.child_index if request.HasField("child_index") else None,
        child_key=clean_text(child_key, "child_key") or None,
    )


def scheduled_version(version: StoredVersion, made: Sequence[tuple[str, float]]) -> pb.WorkflowVersion:
    """The answer: the version that would run now, and one entry for each given time, in order."""
    message = version_message(version, "")
    for scheduled_id, at in made:
        message.scheduled_workflows.add(id=scheduled_id, trigger_at=to_timestamp(at))
    return message


def _optional_uuid(text: str, field: str) -> str | None:
    return required_uuid(text, field) if text else None
