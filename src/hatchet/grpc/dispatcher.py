"""The ``Dispatcher`` service: workers register, listen and report; clients wait for results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from hatchet.core.clock import Clock
from hatchet.core.durations import parse_duration
from hatchet.core.errors import HatchetError, Unavailable
from hatchet.core.ids import parse_uuid
from hatchet.core.messages import Action, Caller, RunFinished
from hatchet.grpc.action_messages import assigned_action, task_report, task_reports, worker_labels, worker_registration
from hatchet.grpc.event_messages import followed, workflow_event
from hatchet.grpc.fields import required_uuid, to_timestamp
from hatchet.grpc.ports import Controlling, Dispatching, Publishing, Reporting, Restoring, RunEventing, WorkerBook
from hatchet.grpc.result_messages import run_event
from hatchet.grpc.transport import SendMessage
from hatchet.grpc.version import ENGINE_VERSION
from hatchet_contracts import dispatcher_pb2 as pb

HEARTBEAT_SECONDS = 4.0
RESTORED = "Restored by the gRPC API"
"""What the history of a restored task says (D-18.2)."""

_log = structlog.get_logger(__name__)


class DispatcherService:
    """Handlers of ``Dispatcher`` (behaviour-core C-2, C-5, C-7)."""

    def __init__(
        self,
        *,
        workers: WorkerBook,
        dispatch: Dispatching,
        reports: Reporting,
        control: Controlling,
        evicting: Restoring,
        results: Publishing,
        clock: Clock,
        max_message_bytes: int,
        run_events: RunEventing,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._workers = workers
        self._dispatch = dispatch
        self._reports = reports
        self._control = control
        self._evicting = evicting
        self._results = results
        self._run_events = run_events
        self._clock = clock
        self._max_message_bytes = max_message_bytes
        self._heartbeat_seconds = heartbeat_seconds

    async def get_version(self, _caller: Caller, _request: pb.GetVersionRequest) -> pb.GetVersionResponse:
        """C-2.1."""
        return pb.GetVersionResponse(version=ENGINE_VERSION)

    async def register(self, caller: Caller, request: pb.WorkerRegisterRequest) -> pb.WorkerRegisterResponse:
        """C-2.4 to C-2.12: every call makes a new worker."""
        registration = worker_registration(request)
        worker_id = await self._workers.register(caller.tenant_id, registration)
        return pb.WorkerRegisterResponse(tenant_id=caller.tenant_id, worker_id=worker_id, worker_name=registration.name)

    async def listen_v2(self, caller: Caller, request: pb.WorkerListenRequest, send: SendMessage) -> None:
        """C-2.13 to C-2.19."""
        worker_id = required_uuid(request.worker_id, "worker_id")

        async def send_action(action: Action) -> None:
            await send(assigned_action(action))

        await self._dispatch.listen(caller.tenant_id, worker_id, send_action)

    async def listen(self, caller: Caller, request: pb.WorkerListenRequest, send: SendMessage) -> None:
        """The same for old clients, which do not send heartbeats themselves (C-2.16)."""
        worker_id = required_uuid(request.worker_id, "worker_id")
        async with self._heartbeats(caller.tenant_id, worker_id):
            await self.listen_v2(caller, request, send)

    @asynccontextmanager
    async def _heartbeats(self, tenant_id: str, worker_id: str) -> AsyncIterator[None]:
        beating = asyncio.create_task(self._beat(tenant_id, worker_id), name=f"heartbeat of {worker_id}")
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait((beating,))

    async def _beat(self, tenant_id: str, worker_id: str) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                await self._workers.heartbeat(tenant_id, worker_id)
            except HatchetError as error:
                _log.warning("a heartbeat failed", worker_id=worker_id, error=error.message)

    async def heartbeat(self, caller: Caller, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """C-2.20 to C-2.22; the server's clock counts, not the given time."""
        await self._workers.heartbeat(caller.tenant_id, required_uuid(request.worker_id, "worker_id"))
        return pb.HeartbeatResponse()

    async def unsubscribe(self, caller: Caller, request: pb.WorkerUnsubscribeRequest) -> pb.WorkerUnsubscribeResponse:
        """C-2.36."""
        worker_id = required_uuid(request.worker_id, "worker_id")
        await self._workers.unsubscribe(caller.tenant_id, worker_id)
        return pb.WorkerUnsubscribeResponse(tenant_id=caller.tenant_id, worker_id=worker_id)

    async def upsert_worker_labels(
        self, caller: Caller, request: pb.UpsertWorkerLabelsRequest
    ) -> pb.UpsertWorkerLabelsResponse:
        """C-2.40."""
        worker_id = required_uuid(request.worker_id, "worker_id")
        await self._workers.upsert_labels(caller.tenant_id, worker_id, worker_labels(request.labels))
        return pb.UpsertWorkerLabelsResponse(tenant_id=caller.tenant_id, worker_id=worker_id)

    async def send_step_action_event(self, caller: Caller, request: pb.StepActionEvent) -> pb.ActionEventResponse:
        """C-5.23 to C-5.32."""
        await self._reports.report(caller.tenant_id, task_report(request, self._clock))
        return pb.ActionEventResponse(tenant_id=caller.tenant_id, worker_id=request.worker_id)

    async def send_batch_action_event(self, caller: Caller, request: pb.BatchActionEvent) -> pb.ActionEventResponse:
        """C-16.24 to C-16.30; without a batch, several reports of one kind: what our SDK sends when they pile up."""
        await self._reports.report_all(caller.tenant_id, task_reports(request, self._clock))
        return pb.ActionEventResponse(tenant_id=caller.tenant_id, worker_id=request.worker_id)

    async def subscribe_to_workflow_runs(
        self, caller: Caller, requests: AsyncIterator[pb.SubscribeToWorkflowRunsRequest], send: SendMessage
    ) -> None:
        """C-7.1 to C-7.13.

        Stays open until the client closes its half: a client that gets an earlier end calls again at once (C-7.8).
        """

        async def deliver(finished: list[RunFinished]) -> None:
            # When the stream is gone nobody can be told; the client asks again on its next one (C-7.4).
            with suppress(Unavailable):
                for run in finished:
                    await send(run_event(run, self._max_message_bytes))

        subscription = self._results.open(caller.tenant_id, deliver)
        try:
            async for request in requests:
                run_id = parse_uuid(request.workflow_run_id)
                if run_id is not None:
                    subscription.add([run_id])
        finally:
            await subscription.close()

    async def subscribe_to_workflow_events(
        self, caller: Caller, request: pb.SubscribeToWorkflowEventsRequest, send: SendMessage
    ) -> None:
        """C-7.32 to C-7.48; ends after the event with hangup."""
        wanted = followed(request)
        if wanted.run_id is not None:
            subscription = self._run_events.subscribe_run(caller.tenant_id, wanted.run_id)
        else:
            subscription = self._run_events.subscribe_metadata(caller.tenant_id, wanted.key, wanted.value)
        async with subscription as events:
            async for event in events:
                await send(workflow_event(event, self._max_message_bytes))

    async def release_slot(self, caller: Caller, request: pb.ReleaseSlotRequest) -> pb.ReleaseSlotResponse:
        """C-11.34 to C-11.37."""
        task_id = required_uuid(request.task_run_external_id, "task_run_external_id")
        await self._control.release_slot(caller.tenant_id, task_id)
        return pb.ReleaseSlotResponse()

    async def refresh_timeout(self, caller: Caller, request: pb.RefreshTimeoutRequest) -> pb.RefreshTimeoutResponse:
        """C-11.38 to C-11.41."""
        task_id = required_uuid(request.task_run_external_id, "task_run_external_id")
        increment = parse_duration(request.increment_timeout_by)
        timeout_at = await self._control.refresh_timeout(caller.tenant_id, task_id, increment)
        return pb.RefreshTimeoutResponse(timeout_at=to_timestamp(timeout_at))

    async def restore_evicted_task(
        self, caller: Caller, request: pb.RestoreEvictedTaskRequest
    ) -> pb.RestoreEvictedTaskResponse:
        """D-18.7: true for every task run of the tenant, whether it was evicted or not."""
        task_id = required_uuid(request.task_run_external_id, "task_run_external_id")
        await self._evicting.requeue(caller.tenant_id, task_id, RESTORED)
        return pb.RestoreEvictedTaskResponse(requeued=True)

    async def put_overrides_data(self, _caller: Caller, _request: pb.OverridesData) -> pb.OverridesDataResponse:
        """Accepted without effect (C-5.37)."""
        return pb.OverridesDataResponse()
