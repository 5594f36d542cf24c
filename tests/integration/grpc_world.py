"""A gRPC server with stand-ins for the engine, and a plain channel to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from hatchet.core.clock import HeldClock
from hatchet.core.definitions import StoredVersion, WorkflowDefinition
from hatchet.core.durable_messages import Request, SendResponse
from hatchet.core.durable_waits import WaitCondition
from hatchet.core.errors import NotFound, Unauthenticated, Unavailable
from hatchet.core.graph import Graph
from hatchet.core.messages import (
    Caller,
    RunDetails,
    RunFilter,
    RunFinished,
    Send,
    TaskReport,
    TriggerItem,
    WorkerRegistration,
)
from hatchet.grpc.server import GrpcServer
from hatchet.grpc.services import grpc_services

TENANT = "11111111-1111-4111-8111-111111111111"
WORKER = "22222222-2222-4222-8222-222222222222"
TASK = "33333333-3333-4333-8333-333333333333"
RUN = "44444444-4444-4444-8444-444444444444"
AUTH = (("authorization", "bearer good"),)
LIMIT = 4_194_304
DEADLINE = 30.0

_Result = TypeVar("_Result")


class Tokens:
    """One good token; ``slow`` is good too but never cached, ``away`` cannot be checked."""

    def cached(self, token: str) -> Caller | None:
        return Caller(TENANT, "token") if token == "good" else None

    async def verify(self, token: str) -> Caller:
        await asyncio.sleep(0)
        if token == "slow":
            return Caller(TENANT, "token")
        if token == "away":
            raise Unavailable("the database does not answer")
        raise Unauthenticated


class Subscription:
    def __init__(self, deliver: Callable[[list[RunFinished]], Awaitable[None]]) -> None:
        self.deliver = deliver
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.closed = asyncio.Event()

    def add(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            self.asked.put_nowait(run_id)

    async def close(self) -> None:
        self.closed.set()


@dataclass
class Engine:
    """Every engine service in one: notes what it was asked and does as the test prepared."""

    asked: list[tuple[str, Any]] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    """By method name: raised instead of an answer."""
    on_listen: Callable[[Send], Awaitable[None]] | None = None
    listener_ended: asyncio.Event = field(default_factory=asyncio.Event)
    beaten: asyncio.Event = field(default_factory=asyncio.Event)
    subscriptions: asyncio.Queue[Subscription] = field(default_factory=asyncio.Queue)
    details: RunDetails | None = None

    def _note(self, name: str, tenant_id: str, what: object) -> None:
        assert tenant_id == TENANT
        self.asked.append((name, what))
        if name in self.failures:
            raise self.failures[name]

    async def put(self, tenant_id: str, definition: WorkflowDefinition) -> StoredVersion:
        self._note("put", tenant_id, definition)
        return StoredVersion(
            id="version",
            tenant_id=tenant_id,
            workflow_id="workflow",
            name="n",
            order=1,
            default_priority=1,
            tasks=(),
            graph=Graph((), has_on_failure=False),
        )

    async def trigger(self, tenant_id: str, items: Sequence[TriggerItem]) -> list[str]:
        self._note("trigger", tenant_id, list(items))
        return [f"run-{number}" for number in range(len(items))]

    async def register(self, tenant_id: str, registration: WorkerRegistration) -> str:
        self._note("register", tenant_id, registration)
        return WORKER

    async def heartbeat(self, tenant_id: str, worker_id: str) -> None:
        self.beaten.set()
        self._note("heartbeat", tenant_id, worker_id)

    async def unsubscribe(self, tenant_id: str, worker_id: str) -> None:
        self._note("unsubscribe", tenant_id, worker_id)

    async def upsert_labels(self, tenant_id: str, worker_id: str, labels: Mapping[str, str | int]) -> None:
        self._note("upsert_labels", tenant_id, (worker_id, dict(labels)))

    async def listen(self, tenant_id: str, worker_id: str, send: Send) -> None:
        self._note("listen", tenant_id, worker_id)
        try:
            if self.on_listen is not None:
                await self.on_listen(send)
        finally:
            self.listener_ended.set()

    async def report(self, tenant_id: str, report: TaskReport) -> None:
        self._note("report", tenant_id, report)

    async def report_all(self, tenant_id: str, reports: Sequence[TaskReport]) -> None:
        self._note("report_all", tenant_id, list(reports))

    async def cancel(self, tenant_id: str, wanted: Sequence[str] | RunFilter) -> list[str]:
        self._note("cancel", tenant_id, wanted)
        return [RUN] if isinstance(wanted, RunFilter) else list(wanted)

    async def replay(self, tenant_id: str, wanted: Sequence[str] | RunFilter) -> list[str]:
        self._note("replay", tenant_id, wanted)
        return [RUN] if isinstance(wanted, RunFilter) else list(wanted)

    async def release_slot(self, tenant_id: str, task_id: str) -> None:
        self._note("release_slot", tenant_id, task_id)

    async def refresh_timeout(self, tenant_id: str, task_id: str, increment_seconds: float) -> float:
        self._note("refresh_timeout", tenant_id, (task_id, increment_seconds))
        return 1000.25 + increment_seconds

    async def requeue(self, tenant_id: str, task_id: str, cause: str) -> None:
        self._note("requeue", tenant_id, (task_id, cause))

    def open(self, tenant_id: str, deliver: Callable[[list[RunFinished]], Awaitable[None]]) -> Subscription:
        self._note("open", tenant_id, None)
        subscription = Subscription(deliver)
        self.subscriptions.put_nowait(subscription)
        return subscription

    async def run_details(self, tenant_id: str, external_id: str) -> RunDetails:
        self._note("run_details", tenant_id, external_id)
        if self.details is None:
            raise NotFound(f"no run has the id {external_id}")
        return self.details


@dataclass
class DurableSession:
    """One durable task stream as the engine sees it."""

    worker_id: str
    send: SendResponse
    requests: asyncio.Queue[Request] = field(default_factory=asyncio.Queue)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def handle(self, request: Request) -> None:
        assert not self.closed.is_set()
        self.requests.put_nowait(request)

    async def close(self) -> None:
        self.closed.set()


@dataclass
class DurableEngine:
    """Durable execution: notes what it was asked and answers as the test prepared; knows WORKER and TASK."""

    sessions: asyncio.Queue[DurableSession] = field(default_factory=asyncio.Queue)
    registered: list[tuple[str, str, tuple[WaitCondition, ...]]] = field(default_factory=list)
    branched: list[tuple[str, int, int]] = field(default_factory=list)
    over: dict[tuple[str, str], str] = field(default_factory=dict)
    """Results of waits by (task id, signal key)."""
    looked_for: asyncio.Queue[list[tuple[str, str]]] = field(default_factory=asyncio.Queue)
    failures: list[Exception] = field(default_factory=list)
    """Raised by the next calls, one each."""

    async def open(self, tenant_id: str, worker_id: str, send: SendResponse) -> DurableSession:
        self._called(tenant_id)
        if worker_id != WORKER:
            raise NotFound(f"no worker has the id {worker_id}")
        session = DurableSession(worker_id, send)
        self.sessions.put_nowait(session)
        return session

    async def register_signal(
        self, tenant_id: str, task_id: str, signal_key: str, conditions: Sequence[WaitCondition]
    ) -> None:
        self._called(tenant_id)
        self.registered.append((task_id, signal_key, tuple(conditions)))

    async def signals(self, tenant_id: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
        self.looked_for.put_nowait(list(pairs))
        self._called(tenant_id)
        return [(*pair, self.over[pair]) for pair in pairs if pair in self.over]

    async def branch(self, tenant_id: str, task_id: str, node: int, branch: int) -> int:
        self._called(tenant_id)
        self.branched.append((task_id, node, branch))
        return branch + 1

    def _called(self, tenant_id: str) -> None:
        assert tenant_id == TENANT
        if self.failures:
            raise self.failures.pop(0)


@dataclass
class World:
    """What a test talks to."""

    engine: Engine
    durable: DurableEngine
    server: GrpcServer
    channel: grpc.aio.Channel
    port: int
    clock: HeldClock

    async def call(self, path: str, request: Message | bytes, response: type[Any], **options: Any) -> Any:
        """A unary call with the good token; the parsed response."""
        method = self.channel.unary_unary(path)
        data = request if isinstance(request, bytes) else request.SerializeToString()
        answer = await method(data, **{"metadata": AUTH, "timeout": DEADLINE, **options})
        return response.FromString(answer)

    async def refused(self, path: str, request: Message | bytes, **options: Any) -> tuple[grpc.StatusCode, str]:
        """Status and text of a unary call that must fail."""
        try:
            await self.call(path, request, type("Never", (), {"FromString": staticmethod(bytes)}), **options)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        raise AssertionError(f"{path} was not refused")

    def stream(self, path: str, request: Message, **options: Any) -> Any:
        """An open server stream of raw messages."""
        return self.channel.unary_stream(path)(request.SerializeToString(), **{"metadata": AUTH, **options})

    def both_ways(self, path: str, **options: Any) -> Any:
        """An open bidirectional stream of raw messages."""
        return self.channel.stream_stream(path)(**{"metadata": AUTH, **options})


@asynccontextmanager
async def a_world(
    services: dict[str, object] | None = None,
    *,
    limit: int = LIMIT,
    heartbeat_seconds: float | None = None,
    signal_poll_seconds: float | None = None,
) -> AsyncIterator[World]:
    """A running server on a free port, with ``services`` or with the real ones on stand-ins."""
    engine, durable, clock = Engine(), DurableEngine(), HeldClock(1_700_000_000.0)
    # Pushed events, log lines and events of runs have tests of their own, which bring their stand-ins.
    nobody: Any = None
    if services is None:
        services = grpc_services(
            registration=engine,
            trigger=engine,
            workers=engine,
            dispatch=engine,
            reports=engine,
            control=engine,
            evicting=engine,
            bulk=engine,
            results=engine,
            reading=engine,
            run_events=nobody,
            events=nobody,
            logs=nobody,
            rate_limits=nobody,
            scheduled=nobody,
            durable=durable,
            clock=clock,
            max_message_bytes=limit,
        )
    if heartbeat_seconds is not None:
        vars(services["Dispatcher"])["_heartbeat_seconds"] = heartbeat_seconds
    if signal_poll_seconds is not None:
        vars(services["v1.V1Dispatcher"])["_signal_poll_seconds"] = signal_poll_seconds
    server = GrpcServer(
        services=services, tokens=Tokens(), host="127.0.0.1", port=0, credentials=None, max_message_bytes=limit
    )
    port = await server.start()
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=unlimited) as channel:
        yield World(engine, durable, server, channel, port, clock)
    await server.stop(5)


async def within(awaitable: Awaitable[_Result]) -> _Result:
    """The result, or a failed test when it takes longer than any sound run."""
    return await asyncio.wait_for(awaitable, DEADLINE)
