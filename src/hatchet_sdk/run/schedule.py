"""From a declared workflow and a time to a scheduled run (behaviour-core C-14.17)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from hatchet_contracts.workflows_pb2 import ScheduleWorkflowRequest, WorkflowVersion
from hatchet_sdk.features.rest_models import utc
from hatchet_sdk.run.call import Call
from hatchet_sdk.run.trigger import metadata_text

if TYPE_CHECKING:
    from hatchet_sdk.client import Client
    from hatchet_sdk.declare.options import ScheduleTriggerWorkflowOptions


def scheduled_run(
    client: Client, workflow_name: str, run_at: datetime, input_text: str, options: ScheduleTriggerWorkflowOptions
) -> Call[WorkflowVersion, WorkflowVersion]:
    """Schedule one run. Unlike a run that starts now it is nobody's child unless the options say so: the task that
    schedules it may be gone by then.

    Raises ``TypeError`` for metadata that JSON cannot hold, and when ``run_at`` is not a time.
    """
    request = ScheduleWorkflowRequest(
        name=client.config.apply_namespace(workflow_name, options.namespace),
        input=input_text,
        parent_id=options.parent_id,
        parent_task_run_external_id=options.parent_step_run_id,
        child_index=options.child_index,
        child_key=options.child_key,
        additional_metadata=metadata_text(workflow_name, options),
        priority=None if options.priority is None else int(options.priority),
    )
    request.schedules.add().FromDatetime(utc(run_at, "run_at"))

    async def send() -> WorkflowVersion:
        return await client.connection.calls().schedule_workflow(request)

    return Call(client.connection, send(), lambda version: version)
