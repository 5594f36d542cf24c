"""A small engine for the caller's half of the SDK: remembers what it was asked, answers as it is told.

It speaks gRPC on a free port of 127.0.0.1, on a thread and event loop of its own, so that tests can use blocking calls.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from fakes.failures import Failure, Refused, collided
from hatchet_contracts import dispatcher_pb2, workflows_pb2
from hatchet_contracts.v1 import workflows_pb2 as v1_pb2
from hatchet_contracts.v1.shared import trigger_pb2

T = TypeVar("T")

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"


def make_token(grpc_address: str = "localhost:7070", **claims: Any) -> str:
    """A token with the three claims that clients read; nobody checks its signature."""
    payload = {"sub": TENANT, "server_url": "http://localhost:8080", "grpc_broadcast_address": grpc_address, **claims}
    return ".".join(_base64(json.dumps(part)) for part in ({"alg": "ES256"}, payload, {"not": "a signature"}))


def _base64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@dataclass(slots=True)
class FakeRun:
    """A run that was triggered, and its end once there is one."""

    run_id: str
    request: trigger_pb2.TriggerWorkflowRequest
    results: list[dispatcher_pb2.StepRunResult] | None = None
    status: int = v1_pb2.RunStatus.RUNNING


Finish = Callable[[FakeRun], None]


@dataclass
class FakeEngine:
    """Start it with ``start()``; ``target`` is its address then."""

    on_trigger: Finish | None = None
    """Called with each new run; may finish it."""
    port: int = 0
    runs: dict[str, FakeRun] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    bulk_sizes: list[int] = field(default_factory=list)
    metadata: dict[str, dict[str, str | bytes]] = field(default_factory=dict)
    subscribed: list[str] = field(default_factory=list)
    streams_opened: int = 0
    drop_results: bool = False
    """Send results as an empty list, as for results that are too large (C-7.12)."""
    eof_streams: bool = False
    """End every stream of results as soon as it opens."""
    idempotency_key: Callable[[trigger_pb2.TriggerWorkflowRequest], str | None] | None = None
    """The key of a request; the second run with one key collides (C-4.35)."""
    keys: dict[str, str] = field(default_factory=dict)
    """Run ids by the keys that they hold."""
    workflows: list[v1_pb2.CreateWorkflowVersionRequest] = field(default_factory=list)
    """What was registered."""

    def __post_init__(self) -> None:
        self._failures: dict[str, deque[Failure]] = defaultdict(deque)
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-engine", daemon=True)
        self._listeners: dict[asyncio.Queue[str | None], set[str]] = {}

    # --- for tests -----------------------------------------------------------------------------------------------

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> FakeEngine:
        if not self._thread.is_alive():
            self._thread.start()
        self._run(self._start())
        return self

    def stop_server(self) -> None:
        """Close the port and break all calls; ``start()`` opens the same port again."""
        self._run(self._server.stop(0))

    def close(self) -> None:
        self._run(self._server.stop(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def fail_next(
        self,
        method: str,
        code: grpc.StatusCode,
        details: str = "told so",
        *,
        times: int = 1,
        trailers: tuple[tuple[str, str | bytes], ...] = (),
    ) -> None:
        self._failures[method].extend([Failure(code, details, trailers)] * times)

    def fail_no_more(self, method: str) -> None:
        """Forget the failures of the method that nobody met."""
        self._failures[method].clear()

    def complete(self, run: FakeRun, output: object = None, *, name: str | None = None) -> None:
        """End a run with an output."""
        text = None if output is None else json.dumps(output)
        self._end(run, dispatcher_pb2.StepRunResult(task_name=_name(run, name), output=text), "COMPLETED")

    def end(
        self,
        run: FakeRun,
        outputs: Mapping[str, object],
        *,
        failed: Mapping[str, str] | None = None,
        cancelled: Sequence[str] = (),
    ) -> None:
        """End a run of several tasks: outputs by task name (None for a task that returned nothing), and the others."""
        errors = {**(failed or {}), **dict.fromkeys(cancelled, "")}
        results = [
            dispatcher_pb2.StepRunResult(task_name=name, output=None if output is None else json.dumps(output))
            for name, output in outputs.items()
        ]
        results += [dispatcher_pb2.StepRunResult(task_name=name, error=error) for name, error in errors.items()]
        for result in results:
            result.task_run_external_id = str(uuid.uuid4())
        status = "FAILED" if failed else "CANCELLED" if cancelled else "COMPLETED"
        self._finish(run, results, v1_pb2.RunStatus.Value(status))

    def fail(self, run: FakeRun, *errors: str) -> None:
        """End a run with one failed task for each text."""
        results = [
            dispatcher_pb2.StepRunResult(task_run_external_id=str(uuid.uuid4()), task_name=f"t{i}", error=error)
            for i, error in enumerate(errors)
        ]
        self._finish(run, results, v1_pb2.RunStatus.FAILED)

    def cancel(self, run: FakeRun) -> None:
        self._end(run, dispatcher_pb2.StepRunResult(task_name=_name(run, None), error=""), "CANCELLED")

    def cut_streams(self) -> None:
        """End the open streams of results; the clients are expected to come back."""
        self._run(self._cut())

    def wait_until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Block until ``condition`` holds; it is looked at whenever something happened here."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), "the fake engine did not see what the test waits for"

    def last(self) -> FakeRun:
        return next(reversed(self.runs.values()))

    # --- inside --------------------------------------------------------------------------------------------------

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)])
        self._server.add_generic_rpc_handlers(
            (
                self._service("Dispatcher", {"GetVersion": (self._version, dispatcher_pb2.GetVersionRequest)}),
                self._service(
                    "WorkflowService",
                    {
                        "TriggerWorkflow": (self._trigger, trigger_pb2.TriggerWorkflowRequest),
                        "BulkTriggerWorkflow": (self._bulk, workflows_pb2.BulkTriggerWorkflowRequest),
                    },
                ),
                self._service(
                    "v1.AdminService",
                    {
                        "GetRunDetails": (self._details, v1_pb2.GetRunDetailsRequest),
                        "PutWorkflow": (self._put, v1_pb2.CreateWorkflowVersionRequest),
                    },
                ),
            )
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    def _service(self, name: str, methods: dict[str, tuple[Any, Any]]) -> grpc.GenericRpcHandler:
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                self._counted(method, handler), request.FromString, lambda answer: answer.SerializeToString()
            )
            for method, (handler, request) in methods.items()
        }
        if name == "Dispatcher":
            handlers["SubscribeToWorkflowRuns"] = grpc.stream_stream_rpc_method_handler(
                self._subscribe,
                dispatcher_pb2.SubscribeToWorkflowRunsRequest.FromString,
                dispatcher_pb2.WorkflowRunEvent.SerializeToString,
            )
        return grpc.method_handlers_generic_handler(name, handlers)

    def _counted(self, method: str, handler: Callable[[Any], Any]) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            await self._enter(method, context)
            try:
                return handler(request)
            except Refused as refused:
                failure = refused.failure
                await context.abort(failure.code, failure.details, failure.trailers)

        return handle

    async def _enter(self, method: str, context: Any) -> None:
        self.metadata[method] = dict(context.invocation_metadata())
        with self._changed:
            self.calls[method] += 1
            self._changed.notify_all()
        if self._failures[method]:
            failure = self._failures[method].popleft()
            await context.abort(failure.code, failure.details, failure.trailers)

    def _version(self, _: dispatcher_pb2.GetVersionRequest) -> dispatcher_pb2.GetVersionResponse:
        return dispatcher_pb2.GetVersionResponse(version="v0.999.0")

    def _put(self, request: v1_pb2.CreateWorkflowVersionRequest) -> v1_pb2.CreateWorkflowVersionResponse:
        self.workflows.append(request)
        return v1_pb2.CreateWorkflowVersionResponse(id=str(uuid.uuid4()), workflow_id=str(uuid.uuid4()))

    def _new_run(self, request: trigger_pb2.TriggerWorkflowRequest) -> str:
        run = FakeRun(str(uuid.uuid4()), request)
        with self._changed:
            self.runs[run.run_id] = run
            self._changed.notify_all()
        if self.on_trigger is not None:
            self.on_trigger(run)
        return run.run_id

    def _trigger(self, request: trigger_pb2.TriggerWorkflowRequest) -> workflows_pb2.TriggerWorkflowResponse:
        run_id, collision = self._claim(request)
        if collision is not None:
            raise Refused(collided(collision))
        return workflows_pb2.TriggerWorkflowResponse(workflow_run_id=run_id)

    def _bulk(self, request: workflows_pb2.BulkTriggerWorkflowRequest) -> workflows_pb2.BulkTriggerWorkflowResponse:
        self.bulk_sizes.append(len(request.workflows))
        claims = [self._claim(item) for item in request.workflows]
        ids = [run_id for run_id, collision in claims if collision is None]
        collisions = [collision for _, collision in claims if collision is not None]
        if collisions:
            raise Refused(
                collided(
                    v1_pb2.BulkTriggerIdempotencyCollisionError(
                        successful_workflow_run_external_ids=ids, collisions=collisions
                    )
                )
            )
        return workflows_pb2.BulkTriggerWorkflowResponse(workflow_run_ids=ids)

    def _claim(
        self, request: trigger_pb2.TriggerWorkflowRequest
    ) -> tuple[str, v1_pb2.IdempotencyCollisionError | None]:
        """A run for the request, unless its key is taken."""
        key = self.idempotency_key(request) if self.idempotency_key is not None else None
        if key is not None and key in self.keys:
            return "", v1_pb2.IdempotencyCollisionError(
                existing_run_external_id=self.keys[key], colliding_run_external_id=str(uuid.uuid4())
            )
        run_id = self._new_run(request)
        if key is not None:
            self.keys[key] = run_id
        return run_id, None

    def _details(self, request: v1_pb2.GetRunDetailsRequest) -> v1_pb2.GetRunDetailsResponse:
        run = self.runs[request.external_id]
        answer = v1_pb2.GetRunDetailsResponse(status=run.status, done=run.results is not None)
        for result in run.results or ():
            answer.task_runs[result.task_name].CopyFrom(
                v1_pb2.TaskRunDetail(
                    readable_id=result.task_name,
                    external_id=result.task_run_external_id,
                    status=_status_of(result) if run.results is not None else run.status,
                    error=result.error or None,
                    output=result.output.encode() or None,
                )
            )
        return answer

    def _end(self, run: FakeRun, result: dispatcher_pb2.StepRunResult, status: str) -> None:
        result.task_run_external_id = run.run_id
        self._finish(run, [result], v1_pb2.RunStatus.Value(status))

    def _finish(self, run: FakeRun, results: list[dispatcher_pb2.StepRunResult], status: int) -> None:
        run.results, run.status = results, status
        self._loop.call_soon_threadsafe(self._publish, run.run_id)

    def _publish(self, run_id: str) -> None:
        for queue, wanted in self._listeners.items():
            if run_id in wanted:
                wanted.discard(run_id)
                queue.put_nowait(run_id)

    async def _cut(self) -> None:
        for queue in self._listeners:
            queue.put_nowait(None)

    async def _subscribe(self, ids: AsyncIterator[Any], context: Any) -> AsyncIterator[dispatcher_pb2.WorkflowRunEvent]:
        with self._changed:
            self.streams_opened += 1
            self._changed.notify_all()
        await self._enter("SubscribeToWorkflowRuns", context)
        if self.eof_streams:
            return
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        wanted: set[str] = set()
        self._listeners[queue] = wanted
        reader = asyncio.create_task(self._take_ids(ids, wanted, queue))
        try:
            while (run_id := await queue.get()) is not None:
                results = [] if self.drop_results else self.runs[run_id].results
                yield dispatcher_pb2.WorkflowRunEvent(workflow_run_id=run_id, results=results)
        finally:
            reader.cancel()
            del self._listeners[queue]

    async def _take_ids(self, ids: AsyncIterator[Any], wanted: set[str], queue: asyncio.Queue[str | None]) -> None:
        async for message in ids:
            run = self.runs.get(message.workflow_run_id)
            if run is not None and run.results is not None:
                queue.put_nowait(run.run_id)
            else:
                wanted.add(message.workflow_run_id)
            with self._changed:
                self.subscribed.append(message.workflow_run_id)
                self._changed.notify_all()


def _status_of(result: dispatcher_pb2.StepRunResult) -> v1_pb2.RunStatus:
    if not result.HasField("error"):
        return v1_pb2.RunStatus.COMPLETED
    return v1_pb2.RunStatus.FAILED if result.error else v1_pb2.RunStatus.CANCELLED


def _name(run: FakeRun, name: str | None) -> str:
    return name or run.request.name.lower()
