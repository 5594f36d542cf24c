"""The transport over a real channel: authentication, errors, sizes, compression and the ends of streams."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.message import Message
from grpc_world import AUTH, RUN, WORKER, Tokens, a_world, within

from hatchet.core.errors import (
    Code,
    FailedPrecondition,
    HatchetError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from hatchet.core.messages import Caller
from hatchet.grpc.errors import shortened
from hatchet.grpc.methods import contract_methods
from hatchet.grpc.server import GrpcServer, server_options
from hatchet.grpc.streams import OpenStreams
from hatchet.grpc.transport import Calls
from hatchet_contracts import dispatcher_pb2 as pb

Code_ = grpc.StatusCode
HEARTBEAT = "/Dispatcher/Heartbeat"
LISTEN = "/Dispatcher/ListenV2"
SUBSCRIBE = "/Dispatcher/SubscribeToWorkflowRuns"
SendMessage = Callable[[Message], Awaitable[None]]
Work = Callable[[Any, SendMessage], Awaitable[None]]


class Prepared:
    """A ``Dispatcher`` whose handlers do what the test says."""

    def __init__(self, *, beat: Exception | None = None, stream: Work | None = None) -> None:
        self._beat = beat
        self._stream = stream
        self.callers: list[Caller] = []
        self.ended = asyncio.Event()

    async def heartbeat(self, caller: Caller, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        self.callers.append(caller)
        if self._beat is not None:
            raise self._beat
        return pb.HeartbeatResponse()

    async def listen_v2(self, caller: Caller, request: pb.WorkerListenRequest, send: SendMessage) -> None:
        await self.subscribe_to_workflow_runs(caller, request, send)

    async def subscribe_to_workflow_runs(self, caller: Caller, requests: Any, send: SendMessage) -> None:
        self.callers.append(caller)
        assert self._stream is not None
        try:
            await self._stream(requests, send)
        finally:
            self.ended.set()


async def for_ever(_: object, __: object) -> None:
    await asyncio.Event().wait()


def echo(text: str) -> pb.WorkflowRunEvent:
    return pb.WorkflowRunEvent(workflow_run_id=text)


# Authentication ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "good"),),
        (("authorization", "basic good"),),
        (("authorization", "bearer "),),
        (("authorization", "bearer bad"),),
        (("authorization", "bearer  good"),),
    ],
)
async def test_c_1_10_every_method_of_the_contract_refuses_a_bad_token(metadata: tuple[tuple[str, str], ...]) -> None:
    async with a_world() as world:
        for method in contract_methods():
            if not method.server_streaming:
                refused = await world.refused(method.path, b"\xff", metadata=metadata)
                assert refused == (Code_.UNAUTHENTICATED, "invalid auth token"), method.path
                continue
            opened = world.channel.stream_stream if method.client_streaming else world.channel.unary_stream
            args = () if method.client_streaming else (b"\xff",)
            call = opened(method.path)(*args, metadata=metadata)
            assert await within(call.code()) is Code_.UNAUTHENTICATED, method.path
            assert await call.details() == "invalid auth token"
        assert world.engine.asked == []


@pytest.mark.parametrize("value", ["bearer good", "Bearer good", "BEARER good", "bearer slow"])
async def test_c_1_9_the_word_bearer_in_any_case(value: str) -> None:
    prepared = Prepared()
    async with a_world({"Dispatcher": prepared}) as world:
        await world.call(HEARTBEAT, pb.HeartbeatRequest(), pb.HeartbeatResponse, metadata=(("authorization", value),))
    assert [caller.token_id for caller in prepared.callers] == ["token"]


async def test_a_token_that_cannot_be_checked_is_not_called_bad() -> None:
    async with a_world() as world:
        code, _ = await world.refused(HEARTBEAT, b"", metadata=(("authorization", "bearer away"),))
    # C-1.11: clients do not retry UNAUTHENTICATED, but they do retry UNAVAILABLE.
    assert code is Code_.UNAVAILABLE


# Errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgument("a"),
        NotFound("b"),
        FailedPrecondition("c"),
        ResourceExhausted("d"),
        Unimplemented("e"),
        Unavailable("f"),
    ],
)
async def test_errors_of_the_engine_keep_code_and_text(error: HatchetError) -> None:
    async with a_world({"Dispatcher": Prepared(beat=error)}) as world:
        refused = await world.refused(HEARTBEAT, pb.HeartbeatRequest())
    assert refused == (Code_[error.code.value], error.message)


def test_every_code_is_a_grpc_status() -> None:
    assert all(code.value in Code_.__members__ for code in Code)


@pytest.mark.parametrize(
    "error", [KeyError("secret"), TimeoutError("secret"), HatchetError("secret"), RecursionError()]
)
async def test_c_1_13_unexpected_errors_are_neutral_outside_and_logged_inside(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    monkeypatch.setattr("hatchet.grpc.errors._log", structlog.wrap_logger(structlog.PrintLogger(said)))
    async with a_world({"Dispatcher": Prepared(beat=error)}) as world:
        refused = await world.refused(HEARTBEAT, pb.HeartbeatRequest())
    assert refused == (Code_.INTERNAL, "An internal error occurred.")
    logged = said.getvalue()
    assert HEARTBEAT in logged
    assert type(error).__name__ in logged


async def test_errors_of_streams_are_mapped_too() -> None:
    async def fail(_: object, send: SendMessage) -> None:
        await send(pb.AssignedAction(action_id="a"))
        raise NotFound("no worker has this id")

    async with a_world({"Dispatcher": Prepared(stream=fail)}) as world:
        call = world.stream(LISTEN, pb.WorkerListenRequest(worker_id=WORKER))
        assert pb.AssignedAction.FromString(await within(call.read())).action_id == "a"
        assert await within(call.code()) is Code_.NOT_FOUND
        assert await call.details() == "no worker has this id"


@pytest.mark.parametrize("text", ["x" * 100_000, "ü" * 100_000, "a%\n" * 5_000, "…" * 1333 + "x"])
async def test_a_long_text_does_not_hide_the_status(text: str) -> None:
    async with a_world({"Dispatcher": Prepared(beat=InvalidArgument(text))}) as world:
        code, details = await world.refused(HEARTBEAT, pb.HeartbeatRequest())
    assert code is Code_.INVALID_ARGUMENT
    assert text.startswith(details.removesuffix("…"))
    assert len(details) > 400


def test_a_text_that_fits_is_not_cut() -> None:
    assert shortened("x" * 4000) == "x" * 4000
    assert shortened("x" * 4001) == "x" * 3991 + "…"


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xc3\x28"])
async def test_bytes_that_are_no_message_are_invalid_argument(data: bytes) -> None:
    async with a_world() as world:
        code, text = await world.refused(HEARTBEAT, data)
        assert (code, HEARTBEAT in text) == (Code_.INVALID_ARGUMENT, True)
        stream = world.channel.unary_stream(LISTEN)(data, metadata=AUTH)
        assert await within(stream.code()) is Code_.INVALID_ARGUMENT
        both = world.both_ways(SUBSCRIBE)
        await both.write(data)
        assert await within(both.code()) is Code_.INVALID_ARGUMENT
        assert [name for name, _ in world.engine.asked] == ["open"]


async def test_c_0_8_unknown_fields_are_ignored() -> None:
    async with a_world() as world:
        data = pb.HeartbeatRequest(worker_id=WORKER).SerializeToString() + b"\xfa\x3e\x03abc"
        await world.call(HEARTBEAT, data, pb.HeartbeatResponse)
        assert world.engine.asked == [("heartbeat", WORKER)]


# Methods -------------------------------------------------------------------------------------------------------

SERVED = {
    *(f"/Dispatcher/{name}" for name in ("Register", "Listen", "ListenV2", "Heartbeat", "SubscribeToWorkflowRuns")),
    *(
        f"/Dispatcher/{name}"
        for name in ("SendStepActionEvent", "SendBatchActionEvent", "PutOverridesData", "Unsubscribe", "RefreshTimeout")
    ),
    *(f"/Dispatcher/{name}" for name in ("ReleaseSlot", "UpsertWorkerLabels", "GetVersion")),
    *(f"/Dispatcher/{name}" for name in ("SubscribeToWorkflowEvents", "RestoreEvictedTask")),
    *(f"/EventsService/{name}" for name in ("Push", "BulkPush", "ReplaySingleEvent", "PutLog", "PutStreamEvent")),
    *(f"/WorkflowService/{name}" for name in ("PutWorkflow", "TriggerWorkflow", "BulkTriggerWorkflow")),
    *(f"/WorkflowService/{name}" for name in ("ScheduleWorkflow", "PutRateLimit", "PauseRateLimit")),
    *(
        f"/v1.AdminService/{name}"
        for name in ("PutWorkflow", "CancelTasks", "ReplayTasks", "TriggerWorkflowRun", "GetRunDetails")
    ),
    "/v1.AdminService/BranchDurableTask",
    *(f"/v1.V1Dispatcher/{name}" for name in ("DurableTask", "RegisterDurableEvent", "ListenForDurableEvent")),
}


async def test_methods_that_are_not_served_say_so() -> None:
    async with a_world() as world:
        for method in contract_methods():
            if method.path in SERVED:
                continue
            opened = world.channel.stream_stream if method.client_streaming else world.channel.unary_stream
            args = () if method.client_streaming else (b"",)
            call = opened(method.path)(*args, metadata=AUTH)
            assert await within(call.code()) is Code_.UNIMPLEMENTED, method.path
            assert await call.details() == f"{method.path} is not served by this version of the server"


async def test_methods_outside_the_contract_are_unimplemented() -> None:
    async with a_world() as world:
        for path in ("/Dispatcher/Nothing", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"):
            assert (await world.refused(path, b""))[0] is Code_.UNIMPLEMENTED


def test_a_service_that_the_contract_does_not_have_is_a_mistake_at_start() -> None:
    with pytest.raises(ValueError, match="Dispacher"):
        Calls({"Dispacher": object()}, tokens=Tokens(), streams=OpenStreams(), max_message_bytes=1)


# Sizes and compression -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_c_1_23_a_request_above_the_limit_is_resource_exhausted(compression: grpc.Compression) -> None:
    async with a_world(limit=100_000) as world:
        too_large = pb.StepActionEvent(event_payload="x" * 100_001)
        code, _ = await world.refused("/Dispatcher/SendStepActionEvent", too_large, compression=compression)
        assert code is Code_.RESOURCE_EXHAUSTED
        both = world.both_ways(SUBSCRIBE, compression=compression)
        await both.write(pb.SubscribeToWorkflowRunsRequest(workflow_run_id="x" * 100_001).SerializeToString())
        assert await within(both.code()) is Code_.RESOURCE_EXHAUSTED
        assert all(name == "open" for name, _ in world.engine.asked)


async def test_c_1_20_gzip_requests_are_accepted_everywhere() -> None:
    async with a_world() as world:
        gzip = {"compression": grpc.Compression.Gzip}
        request = pb.HeartbeatRequest(worker_id=WORKER)
        await world.call(HEARTBEAT, request, pb.HeartbeatResponse, **gzip)
        stream = world.stream(LISTEN, pb.WorkerListenRequest(worker_id=WORKER), **gzip)
        assert await within(stream.code()) is Code_.OK
        both = world.both_ways(SUBSCRIBE, **gzip)
        await both.write(pb.SubscribeToWorkflowRunsRequest(workflow_run_id=RUN).SerializeToString())
        subscription = await within(world.engine.subscriptions.get())
        assert await within(subscription.asked.get()) == RUN
        await both.done_writing()
        assert await within(both.code()) is Code_.OK


async def test_c_2_35_an_action_above_the_limit_is_refused_and_the_stream_stays_usable() -> None:
    refused: list[str] = []

    async def work(_: object, send: SendMessage) -> None:
        try:
            await send(pb.AssignedAction(action_payload="x" * 100_001))
        except ResourceExhausted as error:
            refused.append(error.message)
        await send(pb.AssignedAction(action_id="small"))

    async with a_world({"Dispatcher": Prepared(stream=work)}, limit=100_000) as world:
        call = world.stream(LISTEN, pb.WorkerListenRequest(worker_id=WORKER))
        assert pb.AssignedAction.FromString(await within(call.read())).action_id == "small"
        assert await within(call.code()) is Code_.OK
    assert "SERVER_GRPC_MAX_MSG_SIZE" in refused[0]


# Streams -------------------------------------------------------------------------------------------------------


async def test_clients_see_at_once_that_a_stream_is_open() -> None:
    async with a_world({"Dispatcher": Prepared(stream=for_ever)}) as world:
        call = world.stream(LISTEN, pb.WorkerListenRequest(worker_id=WORKER))
        await within(call.initial_metadata())
        call.cancel()


async def test_sends_from_several_coroutines_are_all_delivered() -> None:
    async def work(_: object, send: SendMessage) -> None:
        await asyncio.gather(*(send(echo(str(number))) for number in range(200)))

    async with a_world({"Dispatcher": Prepared(stream=work)}) as world:
        call = world.both_ways(SUBSCRIBE)
        got = [pb.WorkflowRunEvent.FromString(data).workflow_run_id async for data in call]
    assert sorted(got, key=int) == [str(number) for number in range(200)]


async def test_both_directions_flow_at_once() -> None:
    async def work(requests: AsyncIterator[Any], send: SendMessage) -> None:
        async for request in requests:
            await send(echo(request.workflow_run_id))

    async with a_world({"Dispatcher": Prepared(stream=work)}) as world:
        call = world.both_ways(SUBSCRIBE)
        for text in ("a", "b", "c"):
            await call.write(pb.SubscribeToWorkflowRunsRequest(workflow_run_id=text).SerializeToString())
            assert pb.WorkflowRunEvent.FromString(await within(call.read())).workflow_run_id == text
        await call.done_writing()
        assert await within(call.code()) is Code_.OK


async def test_a_client_that_goes_away_ends_its_handler() -> None:
    prepared = Prepared(stream=for_ever)
    async with a_world({"Dispatcher": prepared}) as world:
        call = world.stream(LISTEN, pb.WorkerListenRequest(worker_id=WORKER))
        await within(call.initial_metadata())
        call.cancel()
        await within(prepared.ended.wait())


async def test_a_client_whose_connection_breaks_ends_its_handler() -> None:
    prepared = Prepared(stream=for_ever)
    async with a_world({"Dispatcher": prepared}) as world:
        other = grpc.aio.insecure_channel(f"127.0.0.1:{world.port}")
        call = other.unary_stream(LISTEN)(b"", metadata=AUTH)
        await within(call.initial_metadata())
        await other.close()
        await within(prepared.ended.wait())


async def test_sending_on_a_stream_that_is_gone_raises_unavailable_in_other_tasks() -> None:
    senders: list[SendMessage] = []

    async def work(_: object, send: SendMessage) -> None:
        senders.append(send)
        await asyncio.Event().wait()

    prepared = Prepared(stream=work)
    async with a_world({"Dispatcher": prepared}) as world:
        call = world.stream(LISTEN, pb.WorkerListenRequest(worker_id=WORKER))
        await within(call.initial_metadata())
        call.cancel()
        await within(prepared.ended.wait())
        # Never a CancelledError, which would end a task that nobody cancelled.
        with pytest.raises(Unavailable, match="the stream is gone"):
            await within(senders[0](pb.AssignedAction(action_id="late")))


async def test_c_1_22_a_server_that_stops_ends_streams_with_unavailable() -> None:
    prepared = Prepared(stream=for_ever)
    async with a_world({"Dispatcher": prepared}) as world:
        calls = [world.stream(LISTEN, pb.WorkerListenRequest(worker_id=WORKER)), world.both_ways(SUBSCRIBE)]
        for call in calls:
            await within(call.initial_metadata())
        await within(world.server.stop(5))
        for call in calls:
            assert await within(call.code()) is Code_.UNAVAILABLE
            assert "this server is stopping" in await call.details()
        assert prepared.ended.is_set()


async def test_a_call_under_way_finishes_while_the_server_stops() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    class Slow:
        async def heartbeat(self, _: Caller, __: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
            entered.set()
            await leave.wait()
            return pb.HeartbeatResponse()

    async with a_world({"Dispatcher": Slow()}) as world:
        call = asyncio.create_task(world.call(HEARTBEAT, pb.HeartbeatRequest(), pb.HeartbeatResponse))
        await within(entered.wait())
        stopping = asyncio.create_task(world.server.stop(20))
        await asyncio.sleep(0)
        leave.set()
        await within(call)
        await within(stopping)


async def test_open_streams_refuses_new_streams_once_it_is_closed() -> None:
    streams = OpenStreams()
    await streams.close(1)
    with pytest.raises(Unavailable):
        await streams.run(for_ever(None, None))  # type: ignore[arg-type]
    assert len(streams) == 0


# Port and options ----------------------------------------------------------------------------------------------


def server_on(port: int) -> GrpcServer:
    return GrpcServer(
        services={}, tokens=Tokens(), host="127.0.0.1", port=port, credentials=None, max_message_bytes=1000
    )


async def test_a_port_in_use_is_a_clear_paragraph() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = server_on(port)
        with pytest.raises(FailedPrecondition) as refused:
            await server.start()
    assert str(port) in refused.value.message
    assert "SERVER_GRPC_PORT" in refused.value.message
    assert "\n" not in refused.value.message
    await server.stop(1)


async def test_two_servers_do_not_share_a_port() -> None:
    async with a_world() as world:
        with pytest.raises(FailedPrecondition):
            await server_on(world.port).start()


def test_c_1_21_options_allow_the_pings_of_clients_and_do_not_limit_streams() -> None:
    options = dict(server_options(123))
    assert options["grpc.http2.min_ping_interval_without_data_ms"] == 5000
    assert options["grpc.http2.max_ping_strikes"] == 0
    assert options["grpc.keepalive_permit_without_calls"] == 1
    assert options["grpc.max_receive_message_length"] >= options["grpc.max_send_message_length"] == 123
    assert "grpc.max_concurrent_streams" not in options
