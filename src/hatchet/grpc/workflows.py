"""``WorkflowService`` and ``v1.AdminService``: registration, triggers, bulk operations and details of runs."""

from __future__ import annotations

from hatchet.core.errors import InvalidArgument
from hatchet.core.messages import Caller
from hatchet.grpc.fields import log_number, required_uuid, to_timestamp
from hatchet.grpc.filter_messages import wanted_runs
from hatchet.grpc.legacy_registration import newer_request, version_message
from hatchet.grpc.ports import Bulking, DurableExecution, RateLimiting, Reading, Registering, Scheduling, Triggering
from hatchet.grpc.rate_limits import paused_until, window_of
from hatchet.grpc.registration_messages import workflow_definition
from hatchet.grpc.result_messages import details_response
from hatchet.grpc.schedule_messages import scheduled_version, wanted_run
from hatchet.grpc.trigger_messages import admin_trigger_item, trigger_item
from hatchet_contracts import workflows_pb2 as pb
from hatchet_contracts.v1 import workflows_pb2 as v1
from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest

MAX_BULK_ITEMS = 1000


class WorkflowService:
    """Handlers of ``WorkflowService`` (behaviour-core C-4, C-10)."""

    def __init__(
        self, *, registration: Registering, trigger: Triggering, scheduled: Scheduling, rate_limits: RateLimiting
    ) -> None:
        self._registration = registration
        self._trigger = trigger
        self._scheduled = scheduled
        self._rate_limits = rate_limits

    async def put_workflow(self, caller: Caller, request: pb.PutWorkflowRequest) -> pb.WorkflowVersion:
        """C-3.8: the registration of old clients."""
        definition = workflow_definition(newer_request(request.opts))
        version = await self._registration.put(caller.tenant_id, definition)
        return version_message(version, request.opts.version)

    async def trigger_workflow(self, caller: Caller, request: TriggerWorkflowRequest) -> pb.TriggerWorkflowResponse:
        """C-4.1, C-4.6."""
        run_ids = await self._trigger.trigger(caller.tenant_id, [trigger_item(request)])
        return pb.TriggerWorkflowResponse(workflow_run_id=run_ids[0])

    async def bulk_trigger_workflow(
        self, caller: Caller, request: pb.BulkTriggerWorkflowRequest
    ) -> pb.BulkTriggerWorkflowResponse:
        """C-4.4, C-4.5, C-4.7."""
        if len(request.workflows) > MAX_BULK_ITEMS:
            raise InvalidArgument(f"workflows: at most {MAX_BULK_ITEMS} items a call, not {len(request.workflows)}")
        items = [trigger_item(item) for item in request.workflows]
        run_ids = await self._trigger.trigger(caller.tenant_id, items) if items else []
        return pb.BulkTriggerWorkflowResponse(workflow_run_ids=run_ids)

    async def schedule_workflow(self, caller: Caller, request: pb.ScheduleWorkflowRequest) -> pb.WorkflowVersion:
        """C-14.17 to C-14.19."""
        version, made = await self._scheduled.add(caller.tenant_id, wanted_run(request))
        return scheduled_version(version, made)

    async def put_rate_limit(self, caller: Caller, request: pb.PutRateLimitRequest) -> pb.PutRateLimitResponse:
        """C-10.1."""
        window = window_of(request.duration)
        await self._rate_limits.put(caller.tenant_id, request.key, request.limit, window)
        return pb.PutRateLimitResponse()

    async def pause_rate_limit(self, caller: Caller, request: pb.PauseRateLimitRequest) -> pb.PauseRateLimitResponse:
        """C-10.4."""
        until = await self._rate_limits.pause(caller.tenant_id, request.key, paused_until(request))
        return pb.PauseRateLimitResponse(paused_until=to_timestamp(until))


class AdminService:
    """Handlers of ``v1.AdminService`` (behaviour-core C-3, C-4, C-6, C-7, C-15, behaviour-durable D-22)."""

    def __init__(
        self,
        *,
        registration: Registering,
        trigger: Triggering,
        bulk: Bulking,
        reading: Reading,
        durable: DurableExecution,
    ) -> None:
        self._registration = registration
        self._trigger = trigger
        self._bulk = bulk
        self._reading = reading
        self._durable = durable

    async def put_workflow(
        self, caller: Caller, request: v1.CreateWorkflowVersionRequest
    ) -> v1.CreateWorkflowVersionResponse:
        """C-3.1."""
        version = await self._registration.put(caller.tenant_id, workflow_definition(request))
        return v1.CreateWorkflowVersionResponse(id=version.id, workflow_id=version.workflow_id)

    async def trigger_workflow_run(
        self, caller: Caller, request: v1.TriggerWorkflowRunRequest
    ) -> v1.TriggerWorkflowRunResponse:
        """C-4.2."""
        run_ids = await self._trigger.trigger(caller.tenant_id, [admin_trigger_item(request)])
        return v1.TriggerWorkflowRunResponse(external_id=run_ids[0])

    async def cancel_tasks(self, caller: Caller, request: v1.CancelTasksRequest) -> v1.CancelTasksResponse:
        """C-6.37, C-15.1."""
        return v1.CancelTasksResponse(cancelled_tasks=await self._bulk.cancel(caller.tenant_id, wanted_runs(request)))

    async def replay_tasks(self, caller: Caller, request: v1.ReplayTasksRequest) -> v1.ReplayTasksResponse:
        """C-15.1."""
        return v1.ReplayTasksResponse(replayed_tasks=await self._bulk.replay(caller.tenant_id, wanted_runs(request)))

    async def get_run_details(self, caller: Caller, request: v1.GetRunDetailsRequest) -> v1.GetRunDetailsResponse:
        """C-7.23 to C-7.31."""
        external_id = required_uuid(request.external_id, "external id")
        return details_response(await self._reading.run_details(caller.tenant_id, external_id))

    async def branch_durable_task(
        self, caller: Caller, request: v1.BranchDurableTaskRequest
    ) -> v1.BranchDurableTaskResponse:
        """D-22.5, D-22.10."""
        task_id = required_uuid(request.task_external_id, "task_external_id")
        node = log_number(request.node_id, "node_id")
        branch = log_number(request.branch_id, "branch_id")
        made = await self._durable.branch(caller.tenant_id, task_id, node, branch)
        return v1.BranchDurableTaskResponse(task_external_id=task_id, node_id=node, branch_id=made)
