"""One typed method per RPC that the SDK uses; multicallables are made once, a call costs as little as grpc allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.message import Message

from hatchet_contracts import dispatcher_pb2, events_pb2, workflows_pb2
from hatchet_contracts.v1 import dispatcher_pb2 as durable_pb2
from hatchet_contracts.v1 import workflows_pb2 as v1_pb2
from hatchet_contracts.v1.shared import trigger_pb2
from hatchet_sdk.wire import retry
from hatchet_sdk.wire.channel import authorization
from hatchet_sdk.wire.errors import EngineError, explain

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)

COMPRESS_FROM_BYTES = 16_384
"""Smaller requests are not worth the CPU of gzip; nor is any request that stays on this machine."""

DEADLINE_SECONDS = 60.0
REGISTER_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0
WAIT_SECONDS = 5.0
"""D-26.4."""

Unary = grpc.aio.UnaryUnaryMultiCallable


class Calls:
    """The RPCs of one channel. Use it on the event loop of that channel, that is on the connection thread.

    Every method raises :class:`~hatchet_sdk.wire.errors.EngineError` after the retries of behaviour-core C-1.11.
    """

    def __init__(self, channel: grpc.aio.Channel, config: ClientConfig) -> None:
        self.channel = channel
        self.config = config
        self._metadata = authorization(config)
        self._compresses = not _is_local(config.host_port)
        self._ordinary = retry.ordinary(config)
        self._details = retry.details(config)

        def unary(path: str, request: type[Q], response: type[A]) -> Unary[Q, A]:
            return channel.unary_unary(
                path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
            )

        d, w, e, v1 = dispatcher_pb2, workflows_pb2, events_pb2, v1_pb2
        self._get_version = unary("/Dispatcher/GetVersion", d.GetVersionRequest, d.GetVersionResponse)
        self._register = unary("/Dispatcher/Register", d.WorkerRegisterRequest, d.WorkerRegisterResponse)
        self._heartbeat = unary("/Dispatcher/Heartbeat", d.HeartbeatRequest, d.HeartbeatResponse)
        self._report = unary("/Dispatcher/SendStepActionEvent", d.StepActionEvent, d.ActionEventResponse)
        self._unsubscribe = unary("/Dispatcher/Unsubscribe", d.WorkerUnsubscribeRequest, d.WorkerUnsubscribeResponse)
        self._refresh = unary("/Dispatcher/RefreshTimeout", d.RefreshTimeoutRequest, d.RefreshTimeoutResponse)
        self._reports = unary("/Dispatcher/SendBatchActionEvent", d.BatchActionEvent, d.ActionEventResponse)
        self._release = unary("/Dispatcher/ReleaseSlot", d.ReleaseSlotRequest, d.ReleaseSlotResponse)
        self._labels = unary(
            "/Dispatcher/UpsertWorkerLabels", d.UpsertWorkerLabelsRequest, d.UpsertWorkerLabelsResponse
        )
        self._trigger = unary(
            "/WorkflowService/TriggerWorkflow", trigger_pb2.TriggerWorkflowRequest, w.TriggerWorkflowResponse
        )
        self._bulk = unary(
            "/WorkflowService/BulkTriggerWorkflow", w.BulkTriggerWorkflowRequest, w.BulkTriggerWorkflowResponse
        )
        self._put = unary(
            "/v1.AdminService/PutWorkflow", v1.CreateWorkflowVersionRequest, v1.CreateWorkflowVersionResponse
        )
        self._run_details = unary("/v1.AdminService/GetRunDetails", v1.GetRunDetailsRequest, v1.GetRunDetailsResponse)
        self._cancel = unary("/v1.AdminService/CancelTasks", v1.CancelTasksRequest, v1.CancelTasksResponse)
        self._replay = unary("/v1.AdminService/ReplayTasks", v1.ReplayTasksRequest, v1.ReplayTasksResponse)
        self._push = unary("/EventsService/Push", e.PushEventRequest, e.Event)
        self._bulk_push = unary("/EventsService/BulkPush", e.BulkPushEventRequest, e.Events)
        self._put_log = unary("/EventsService/PutLog", e.PutLogRequest, e.PutLogResponse)
        self._put_chunk = unary("/EventsService/PutStreamEvent", e.PutStreamEventRequest, e.PutStreamEventResponse)
        self._pause_rate_limit = unary(
            "/WorkflowService/PauseRateLimit", w.PauseRateLimitRequest, w.PauseRateLimitResponse
        )
        self._put_rate_limit = unary("/WorkflowService/PutRateLimit", w.PutRateLimitRequest, w.PutRateLimitResponse)
        self._schedule = unary("/WorkflowService/ScheduleWorkflow", w.ScheduleWorkflowRequest, w.WorkflowVersion)
        self._events = channel.unary_stream(
            "/Dispatcher/SubscribeToWorkflowEvents",
            request_serializer=d.SubscribeToWorkflowEventsRequest.SerializeToString,
            response_deserializer=d.WorkflowEvent.FromString,
        )
        self._listen = channel.unary_stream(
            "/Dispatcher/ListenV2",
            request_serializer=d.WorkerListenRequest.SerializeToString,
            response_deserializer=d.AssignedAction.FromString,
        )
        self._branch = unary(
            "/v1.AdminService/BranchDurableTask", v1.BranchDurableTaskRequest, v1.BranchDurableTaskResponse
        )
        self._register_wait = unary(
            "/v1.V1Dispatcher/RegisterDurableEvent",
            durable_pb2.RegisterDurableEventRequest,
            durable_pb2.RegisterDurableEventResponse,
        )
        self._durable = channel.stream_stream(
            "/v1.V1Dispatcher/DurableTask",
            request_serializer=durable_pb2.DurableTaskRequest.SerializeToString,
            response_deserializer=durable_pb2.DurableTaskResponse.FromString,
        )
        self._waits = channel.stream_stream(
            "/v1.V1Dispatcher/ListenForDurableEvent",
            request_serializer=durable_pb2.ListenForDurableEventRequest.SerializeToString,
            response_deserializer=durable_pb2.DurableEvent.FromString,
        )
        self._runs = channel.stream_stream(
            "/Dispatcher/SubscribeToWorkflowRuns",
            request_serializer=d.SubscribeToWorkflowRunsRequest.SerializeToString,
            response_deserializer=d.WorkflowRunEvent.FromString,
        )

    async def _call(
        self,
        method: str,
        call: Unary[Q, A],
        request: Q,
        policy: retry.RetryPolicy,
        timeout: float = DEADLINE_SECONDS,
        compression: grpc.Compression | None = None,
    ) -> A:
        try:
            return await call(request, timeout=timeout, metadata=self._metadata, compression=compression)
        except grpc.aio.AioRpcError as error:
            return await self._repeat(
                method,
                error,
                lambda: call(request, timeout=timeout, metadata=self._metadata, compression=compression),
                policy,
            )

    async def _repeat(
        self, method: str, error: grpc.aio.AioRpcError, call: Callable[[], Awaitable[A]], policy: retry.RetryPolicy
    ) -> A:
        try:
            return await retry.again(error, call, policy, self.config)
        except grpc.aio.AioRpcError as last:
            # The frames inside grpc say nothing; the text and the code say everything.
            raise self.explain(last, method) from None

    def explain(self, error: grpc.aio.AioRpcError, method: str) -> EngineError:
        """``error`` of a stream of this channel in words for people."""
        return explain(error, method=method, target=self.config.host_port, tls_strategy=self.config.tls_config.strategy)

    def _compression(self, request: Message) -> grpc.Compression | None:
        if self._compresses and request.ByteSize() > COMPRESS_FROM_BYTES:
            return grpc.Compression.Gzip
        return None

    async def get_version(self) -> str:
        """The engine's version text, ``v<major>.<minor>.<patch>`` (C-2.1)."""
        request = dispatcher_pb2.GetVersionRequest()
        return (await self._call("GetVersion", self._get_version, request, retry.VERSION)).version

    async def put_workflow(self, request: v1_pb2.CreateWorkflowVersionRequest) -> v1_pb2.CreateWorkflowVersionResponse:
        """Register a workflow version; repeating an identical one changes nothing (C-3.30)."""
        return await self._call("PutWorkflow", self._put, request, self._ordinary)

    async def trigger_workflow(self, request: trigger_pb2.TriggerWorkflowRequest) -> str:
        """Create one run and return its id; it is durable when this returns (C-4.6)."""
        answer = await self._call(
            "TriggerWorkflow", self._trigger, request, self._ordinary, compression=self._compression(request)
        )
        return answer.workflow_run_id

    async def bulk_trigger_workflow(self, request: workflows_pb2.BulkTriggerWorkflowRequest) -> list[str]:
        """Create runs and return their ids in the order of the items (C-4.4)."""
        answer = await self._call(
            "BulkTriggerWorkflow", self._bulk, request, self._ordinary, compression=self._compression(request)
        )
        return list(answer.workflow_run_ids)

    async def get_run_details(
        self, external_id: str, *, policy: retry.RetryPolicy | None = None
    ) -> v1_pb2.GetRunDetailsResponse:
        """State, input and outputs of a run or of a standalone task (C-7.23)."""
        request = v1_pb2.GetRunDetailsRequest(external_id=external_id)
        return await self._call("GetRunDetails", self._run_details, request, policy or self._details)

    async def cancel_tasks(
        self, external_ids: Sequence[str] = (), tasks: v1_pb2.TasksFilter | None = None
    ) -> list[str]:
        """Cancel runs or tasks, by id or by filter; returns the ids that were cancelled (C-15.1)."""
        request = v1_pb2.CancelTasksRequest(external_ids=external_ids, filter=tasks)
        answer = await self._call("CancelTasks", self._cancel, request, self._ordinary)
        return list(answer.cancelled_tasks)

    async def replay_tasks(
        self, external_ids: Sequence[str] = (), tasks: v1_pb2.TasksFilter | None = None
    ) -> list[str]:
        """Run finished runs or tasks again, by id or by filter; returns the ids that were accepted (C-15.1)."""
        request = v1_pb2.ReplayTasksRequest(external_ids=external_ids, filter=tasks)
        answer = await self._call("ReplayTasks", self._replay, request, self._ordinary)
        return list(answer.replayed_tasks)

    async def register(self, request: dispatcher_pb2.WorkerRegisterRequest) -> dispatcher_pb2.WorkerRegisterResponse:
        """Create a worker record. Not repeated here: each success makes another worker (C-2.5, C-2.43)."""
        return await self._call("Register", self._register, request, retry.ONCE, REGISTER_SECONDS)

    async def heartbeat(self, request: dispatcher_pb2.HeartbeatRequest) -> None:
        """Tell that the worker lives. Not repeated here: the next beat is the retry (C-2.20)."""
        await self._call("Heartbeat", self._heartbeat, request, retry.ONCE, HEARTBEAT_SECONDS)

    def listen_v2(
        self, worker_id: str
    ) -> grpc.aio.UnaryStreamCall[dispatcher_pb2.WorkerListenRequest, dispatcher_pb2.AssignedAction]:
        """Open the stream of assigned actions; the caller iterates, re-opens after a break, and cancels it (C-2.13)."""
        return self._listen(dispatcher_pb2.WorkerListenRequest(worker_id=worker_id), metadata=self._metadata)

    async def send_step_action_event(
        self, event: dispatcher_pb2.StepActionEvent, *, policy: retry.RetryPolicy = retry.REPORTS
    ) -> None:
        """Report what became of an attempt; repeated up to 20 times, duplicates are harmless (C-5.38)."""
        await self._call("SendStepActionEvent", self._report, event, policy, compression=self._compression(event))

    async def send_batch_action_event(
        self, event: dispatcher_pb2.BatchActionEvent, *, policy: retry.RetryPolicy = retry.REPORTS
    ) -> None:
        """Report what became of several attempts in one call; only our own engine takes it for ordinary tasks."""
        await self._call("SendBatchActionEvent", self._reports, event, policy, compression=self._compression(event))

    async def unsubscribe(self, worker_id: str) -> None:
        """Take the worker out of assignment."""
        request = dispatcher_pb2.WorkerUnsubscribeRequest(worker_id=worker_id)
        await self._call("Unsubscribe", self._unsubscribe, request, self._ordinary)

    async def refresh_timeout(self, task_run_external_id: str, increment_timeout_by: str) -> float:
        """Extend the execution timeout by a duration text; returns the new deadline, seconds since 1970."""
        request = dispatcher_pb2.RefreshTimeoutRequest(
            task_run_external_id=task_run_external_id, increment_timeout_by=increment_timeout_by
        )
        at = (await self._call("RefreshTimeout", self._refresh, request, self._ordinary)).timeout_at
        return at.seconds + at.nanos / 1e9

    async def release_slot(self, task_run_external_id: str) -> None:
        """Give the task's slot back while it keeps running."""
        request = dispatcher_pb2.ReleaseSlotRequest(task_run_external_id=task_run_external_id)
        await self._call("ReleaseSlot", self._release, request, self._ordinary)

    async def upsert_worker_labels(self, worker_id: str, labels: dict[str, str | int]) -> None:
        """Set the given labels, keep the others (C-2.40)."""
        request = dispatcher_pb2.UpsertWorkerLabelsRequest(worker_id=worker_id, labels=worker_labels(labels))
        await self._call("UpsertWorkerLabels", self._labels, request, self._ordinary)

    async def push_event(self, request: events_pb2.PushEventRequest) -> events_pb2.Event:
        """Store an event; it starts and releases what waits for it (C-12.2)."""
        return await self._call("Push", self._push, request, self._ordinary, compression=self._compression(request))

    async def bulk_push_events(self, events: Sequence[events_pb2.PushEventRequest]) -> list[events_pb2.Event]:
        """Store up to 1000 events, all or none; the answers are in their order (C-12.3)."""
        request = events_pb2.BulkPushEventRequest(events=events)
        answer = await self._call(
            "BulkPush", self._bulk_push, request, self._ordinary, compression=self._compression(request)
        )
        return list(answer.events)

    async def put_log(self, request: events_pb2.PutLogRequest, *, policy: retry.RetryPolicy = retry.ONCE) -> None:
        """Store a line in the log of a task run (C-13.1)."""
        await self._call("PutLog", self._put_log, request, policy)

    async def put_stream_event(
        self, request: events_pb2.PutStreamEventRequest, *, policy: retry.RetryPolicy = retry.ONCE
    ) -> None:
        """Send a chunk to whoever listens to the run (C-13.9)."""
        await self._call("PutStreamEvent", self._put_chunk, request, policy, compression=self._compression(request))

    async def put_rate_limit(self, request: workflows_pb2.PutRateLimitRequest) -> None:
        """Create or change a rate limit (C-10.1)."""
        await self._call("PutRateLimit", self._put_rate_limit, request, self._ordinary)

    async def schedule_workflow(self, request: workflows_pb2.ScheduleWorkflowRequest) -> workflows_pb2.WorkflowVersion:
        """Let runs start at the given times (C-14.17)."""
        return await self._call(
            "ScheduleWorkflow", self._schedule, request, self._ordinary, compression=self._compression(request)
        )

    async def pause_rate_limit(self, key: str, until: float) -> float:
        """Let the rate limit yield nothing until then, seconds since 1970; returns the time in effect (C-10.4)."""
        request = workflows_pb2.PauseRateLimitRequest(key=key)
        request.paused_until.FromNanoseconds(round(until * 1e6) * 1000)
        answer = await self._call("PauseRateLimit", self._pause_rate_limit, request, self._ordinary)
        return answer.paused_until.ToNanoseconds() / 1e9

    def subscribe_to_workflow_events(
        self, workflow_run_id: str
    ) -> grpc.aio.UnaryStreamCall[dispatcher_pb2.SubscribeToWorkflowEventsRequest, dispatcher_pb2.WorkflowEvent]:
        """Open the stream of what happens in one run (C-7.32); the caller reads it, and cancels it."""
        request = dispatcher_pb2.SubscribeToWorkflowEventsRequest(workflow_run_id=workflow_run_id)
        return self._events(request, metadata=self._metadata)

    async def branch_durable_task(self, request: v1_pb2.BranchDurableTaskRequest) -> v1_pb2.BranchDurableTaskResponse:
        """Run a durable task again from a node of its log on (D-22.5). Not repeated: each success makes a branch."""
        return await self._call("BranchDurableTask", self._branch, request, retry.ONCE)

    async def register_durable_event(self, request: durable_pb2.RegisterDurableEventRequest) -> None:
        """Begin a wait at an engine that has no durable stream; repeating it changes nothing (D-26.1)."""
        await self._call("RegisterDurableEvent", self._register_wait, request, self._ordinary, WAIT_SECONDS)

    def durable_task(
        self,
    ) -> grpc.aio.StreamStreamCall[durable_pb2.DurableTaskRequest, durable_pb2.DurableTaskResponse]:
        """Open the stream of durable operations (D-2); the caller writes `register_worker` first."""
        return self._durable(None, metadata=self._metadata)

    def listen_for_durable_event(
        self,
    ) -> grpc.aio.StreamStreamCall[durable_pb2.ListenForDurableEventRequest, durable_pb2.DurableEvent]:
        """Open the stream of ended waits of an engine that has no durable stream (D-26.2)."""
        return self._waits(None, metadata=self._metadata)

    def subscribe_to_workflow_runs(
        self,
    ) -> grpc.aio.StreamStreamCall[dispatcher_pb2.SubscribeToWorkflowRunsRequest, dispatcher_pb2.WorkflowRunEvent]:
        """Open the stream of results: write run ids, read one event for each (C-7.1)."""
        return self._runs(None, metadata=self._metadata)


def worker_labels(labels: dict[str, str | int]) -> dict[str, dispatcher_pb2.WorkerLabels]:
    """Labels as the wire has them: text or whole number (C-2.10)."""
    return {
        key: dispatcher_pb2.WorkerLabels(int_value=value)
        if isinstance(value, int)
        else dispatcher_pb2.WorkerLabels(str_value=value)
        for key, value in labels.items()
    }


def _is_local(host_port: str) -> bool:
    host = host_port.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith(("127.", "unix"))
