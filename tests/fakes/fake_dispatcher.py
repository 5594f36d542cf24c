"""An engine that exists only as far as a worker can see it: a real gRPC server with the worker's RPCs, no scheduling.

It runs on a thread and event loop of its own, so that a test may block, and remembers every call. Tests hand out
assignments with `send`, break things with `drop_streams`, `stop` and `fail`, and wait for what the worker does with
`wait_for`; nothing sleeps for a fixed time.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import grpc

from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_contracts import events_pb2 as events
from hatchet_contracts import workflows_pb2 as workflows
from hatchet_contracts.v1 import workflows_pb2 as v1
from hatchet_contracts.v1.shared import trigger_pb2

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
EVENT_NAMES = {
    pb.STEP_EVENT_TYPE_STARTED: "STARTED",
    pb.STEP_EVENT_TYPE_COMPLETED: "COMPLETED",
    pb.STEP_EVENT_TYPE_FAILED: "FAILED",
}
METHODS: dict[str, dict[str, tuple[Any, Any]]] = {
    "Dispatcher": {
        "GetVersion": (pb.GetVersionRequest, pb.GetVersionResponse),
        "Register": (pb.WorkerRegisterRequest, pb.WorkerRegisterResponse),
        "Heartbeat": (pb.HeartbeatRequest, pb.HeartbeatResponse),
        "SendStepActionEvent": (pb.StepActionEvent, pb.ActionEventResponse),
        "Unsubscribe": (pb.WorkerUnsubscribeRequest, pb.WorkerUnsubscribeResponse),
        "RefreshTimeout": (pb.RefreshTimeoutRequest, pb.RefreshTimeoutResponse),
        "SendBatchActionEvent": (pb.BatchActionEvent, pb.ActionEventResponse),
        "ReleaseSlot": (pb.ReleaseSlotRequest, pb.ReleaseSlotResponse),
        "UpsertWorkerLabels": (pb.UpsertWorkerLabelsRequest, pb.UpsertWorkerLabelsResponse),
    },
    "v1.AdminService": {
        "PutWorkflow": (v1.CreateWorkflowVersionRequest, v1.CreateWorkflowVersionResponse),
        "CancelTasks": (v1.CancelTasksRequest, v1.CancelTasksResponse),
        "ReplayTasks": (v1.ReplayTasksRequest, v1.ReplayTasksResponse),
        "GetRunDetails": (v1.GetRunDetailsRequest, v1.GetRunDetailsResponse),
        "BranchDurableTask": (v1.BranchDurableTaskRequest, v1.BranchDurableTaskResponse),
    },
    "EventsService": {
        "PutLog": (events.PutLogRequest, events.PutLogResponse),
        "PutStreamEvent": (events.PutStreamEventRequest, events.PutStreamEventResponse),
    },
    "WorkflowService": {
        "TriggerWorkflow": (trigger_pb2.TriggerWorkflowRequest, workflows.TriggerWorkflowResponse),
        "PutRateLimit": (workflows.PutRateLimitRequest, workflows.PutRateLimitResponse),
        "ScheduleWorkflow": (workflows.ScheduleWorkflowRequest, workflows.WorkflowVersion),
        "PauseRateLimit": (workflows.PauseRateLimitRequest, workflows.PauseRateLimitResponse),
    },
}
ANSWERS = {name: answer for methods in METHODS.values() for name, (_, answer) in methods.items()}

Calls = list[tuple[float, Any]]


def token(port: int, server_url: str) -> str:
    """A token as clients read it; nobody verifies it here."""
    claims = {"sub": str(uuid.uuid4()), "server_url": server_url, "grpc_broadcast_address": f"127.0.0.1:{port}"}
    parts = (json.dumps({"alg": "none"}), json.dumps(claims), "x")
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


class FakeDispatcher:
    """The server. Its attributes may be read from any thread; `calls` maps a method to (time, request) pairs."""

    def __init__(self, max_message_bytes: int = 4 * 1024 * 1024) -> None:
        self.port = 0
        self.version = "v0.111.0"
        self.calls: dict[str, Calls] = {}
        self.worker_ids: list[str] = []
        self.streams = 0
        self.run_details = v1.GetRunDetailsResponse()
        self._max_message_bytes = max_message_bytes
        self._open_streams: list[asyncio.Queue[pb.AssignedAction | grpc.StatusCode]] = []
        self._subscribers: list[asyncio.Queue[pb.WorkflowEvent | grpc.StatusCode]] = []
        self._failures: dict[str, list[tuple[grpc.StatusCode, str]]] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._server: grpc.aio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    # --- the test's side -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Serves, after a `stop` on the same port again."""
        self._on_loop(self._start())

    def stop(self, grace: float | None = None) -> None:
        """Breaks every call and refuses connections."""
        self._on_loop(self._stop(grace))

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def send(self, action: pb.AssignedAction) -> pb.AssignedAction:
        """Writes to the newest stream; waits until there is one."""
        self.wait_for(lambda: self.open_streams > 0, "a stream is open")
        self._loop.call_soon_threadsafe(lambda: self._open_streams[-1].put_nowait(action))
        return action

    def start_task(self, action_id: str, input: object = None, **fields: Any) -> pb.AssignedAction:
        """Assigns a new task run (C-5.1)."""
        run_id = str(uuid.uuid4())
        payload = {"input": input or {}, "parents": {}, "triggers": {}, "triggered_by": "manual"}
        values = {
            "tenant_id": str(uuid.uuid4()),
            "workflow_run_id": run_id,
            "task_run_external_id": run_id,
            "job_run_id": run_id,
            "job_id": "job",
            "task_id": "task",
            "action_id": action_id,
            "task_name": action_id.rpartition(":")[2],
            "action_payload": json.dumps(payload),
        }
        return self.send(pb.AssignedAction(**{**values, **fields}))

    def cancel_task(self, action: pb.AssignedAction) -> None:
        """Sends the CANCEL of an assignment (C-5.18)."""
        cancel = pb.AssignedAction()
        cancel.CopyFrom(action)
        cancel.action_type = pb.CANCEL_STEP_RUN
        cancel.action_payload = ""
        self.send(cancel)

    def drop_streams(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        """Ends all streams; with OK in good order."""

        def drop() -> None:
            for stream in self._open_streams:
                stream.put_nowait(code)

        self._loop.call_soon_threadsafe(drop)

    @property
    def subscribers(self) -> int:
        """How many streams of run events are open."""
        return len(self._subscribers)

    def publish(self, *items: pb.WorkflowEvent | grpc.StatusCode) -> None:
        """Sends events to the subscribers of run events; waits until there is one. A status ends their streams."""
        self.wait_for(lambda: self._subscribers, "somebody subscribes to run events")

        def put() -> None:
            for subscriber in self._subscribers:
                for item in items:
                    subscriber.put_nowait(item)

        self._loop.call_soon_threadsafe(put)

    def fail(self, method: str, code: grpc.StatusCode, times: int = 1, text: str = "broken by the test") -> None:
        """Lets the next calls of a method fail."""
        with self._changed:
            self._failures[method] = [(code, text)] * times

    @property
    def open_streams(self) -> int:
        return len(self._open_streams)

    def requests(self, method: str) -> list[Any]:
        with self._changed:
            return [request for _, request in self.calls.get(method, [])]

    def times(self, method: str) -> list[float]:
        with self._changed:
            return [at for at, _ in self.calls.get(method, [])]

    def events(self, action: pb.AssignedAction | None = None) -> list[str]:
        """The kinds of the accepted reports in their order, of one task run or of all."""
        return [
            EVENT_NAMES[event.event_type]
            for event in self.requests("SendStepActionEvent")
            if action is None or event.task_run_external_id == action.task_run_external_id
        ]

    def terminal(self, action: pb.AssignedAction) -> pb.StepActionEvent:
        """The terminal report of a task run; waits for it."""

        def find() -> pb.StepActionEvent | None:
            for event in self.requests("SendStepActionEvent"):
                same = event.task_run_external_id == action.task_run_external_id
                if same and event.event_type != pb.STEP_EVENT_TYPE_STARTED:
                    return event
            return None

        return self.wait_for(find, f"a terminal report of {action.action_id}")

    def wait_for(self, condition: Callable[[], T], what: str, seconds: float = DEADLINE_SECONDS) -> T:
        """The first true value of `condition`; fails the test when it does not come."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            left = deadline - time.monotonic()
            if left <= 0:
                counts = Counter({method: len(calls) for method, calls in self.calls.items()})
                raise AssertionError(f"waited {seconds} s in vain: {what}; calls so far: {dict(counts)}")
            with self._changed:
                # Conditions may also look at things that nobody announces, so it never sleeps for long.
                self._changed.wait(min(left, 0.02))

    # --- the server's side ---------------------------------------------------------------------------------------

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_SECONDS)

    async def _start(self) -> None:
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", self._max_message_bytes),
                ("grpc.http2.min_ping_interval_without_data_ms", 5000),
                ("grpc.http2.max_ping_strikes", 0),
            ]
        )
        for service, methods in METHODS.items():
            handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
                name: grpc.unary_unary_rpc_method_handler(
                    self._unary(name), request.FromString, response.SerializeToString
                )
                for name, (request, response) in methods.items()
            }
            if service == "Dispatcher":
                handlers["ListenV2"] = grpc.unary_stream_rpc_method_handler(
                    self._listen, pb.WorkerListenRequest.FromString, pb.AssignedAction.SerializeToString
                )
                handlers["SubscribeToWorkflowEvents"] = grpc.unary_stream_rpc_method_handler(
                    self._subscribe, pb.SubscribeToWorkflowEventsRequest.FromString, pb.WorkflowEvent.SerializeToString
                )
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        for service, handlers in self._other_services().items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server

    async def _stop(self, grace: float | None) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(grace)
            self._open_streams.clear()
            self._subscribers.clear()

    def _other_services(self) -> dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]]:
        """What a fake that knows more serves beside."""
        return {}

    def _unary(self, name: str) -> Callable[[Any, Any], Awaitable[Any]]:
        async def handle(request: Any, context: Any) -> Any:
            await self._fail_if_told(name, context)
            answer = self._answer(name, request)
            if answer is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, "worker not found")
            self._remember(name, request)
            return answer

        return handle

    async def _fail_if_told(self, name: str, context: Any) -> None:
        with self._changed:
            failures = self._failures.get(name)
            failure = failures.pop() if failures else None
        if failure is not None:
            self._remember(f"{name} failed", None)
            await context.abort(*failure)

    def _answer(self, name: str, request: Any) -> Any:
        if name == "GetVersion":
            return pb.GetVersionResponse(version=self.version)
        if name == "Register":
            self.worker_ids.append(str(uuid.uuid4()))
            return pb.WorkerRegisterResponse(worker_id=self.worker_ids[-1], worker_name=request.worker_name)
        if name == "Heartbeat" and request.worker_id not in self.worker_ids:
            return None
        if name == "Unsubscribe":
            for stream in self._open_streams:
                stream.put_nowait(grpc.StatusCode.OK)
        if name == "BranchDurableTask":
            return v1.BranchDurableTaskResponse(
                task_external_id=request.task_external_id, node_id=request.node_id, branch_id=request.branch_id + 1
            )
        if name == "GetRunDetails":
            return self.run_details
        if name == "TriggerWorkflow":
            return workflows.TriggerWorkflowResponse(workflow_run_id=str(uuid.uuid4()))
        if name == "ScheduleWorkflow":
            scheduled = [workflows.ScheduledWorkflow(id=str(uuid.uuid4()), trigger_at=at) for at in request.schedules]
            return workflows.WorkflowVersion(workflow_id=str(uuid.uuid4()), scheduled_workflows=scheduled)
        if name == "PauseRateLimit":
            return workflows.PauseRateLimitResponse(paused_until=request.paused_until)
        return ANSWERS[name]()

    async def _listen(self, request: pb.WorkerListenRequest, context: Any) -> None:
        await self._fail_if_told("ListenV2", context)
        if request.worker_id not in self.worker_ids:
            await context.abort(grpc.StatusCode.NOT_FOUND, "worker not found")
        self.streams += 1
        await self._stream("ListenV2", request, context, self._open_streams)

    async def _subscribe(self, request: pb.SubscribeToWorkflowEventsRequest, context: Any) -> None:
        await self._fail_if_told("SubscribeToWorkflowEvents", context)
        await self._stream("SubscribeToWorkflowEvents", request, context, self._subscribers)

    async def _stream(
        self, name: str, request: Any, context: Any, streams: list[asyncio.Queue[T | grpc.StatusCode]]
    ) -> None:
        queue: asyncio.Queue[T | grpc.StatusCode] = asyncio.Queue()
        streams.append(queue)
        self._remember(name, request)
        try:
            while True:
                item = await queue.get()
                if isinstance(item, grpc.StatusCode):
                    if item is not grpc.StatusCode.OK:
                        await context.abort(item, "stream broken by the test")
                    return
                await context.write(item)
        finally:
            if queue in streams:
                streams.remove(queue)

    def _remember(self, name: str, request: Any) -> None:
        with self._changed:
            self.calls.setdefault(name, []).append((time.monotonic(), request))
            self._changed.notify_all()
