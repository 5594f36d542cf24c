"""The gRPC side of log lines, stream chunks and events of runs (behaviour-core C-7.32 to C-7.41, C-13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import pytest
import pytest_asyncio
from grpc_world import AUTH, LIMIT, RUN, TASK, TENANT, Engine, World, a_world, within

from hatchet.core.clock import HeldClock
from hatchet.core.errors import NotFound, ResourceExhausted
from hatchet.core.event_push import NewEvent
from hatchet.core.messages import EventRecord
from hatchet.core.run_events import RunEvent, RunEventKind
from hatchet.core.task_logs import TaskLogLine
from hatchet.grpc.dispatcher import DispatcherService
from hatchet.grpc.events import EventsService
from hatchet.grpc.fields import to_timestamp
from hatchet.grpc.result_messages import ERROR_TOO_LARGE, NO_ERROR_TEXT
from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_contracts import events_pb2

PUT_LOG = "/EventsService/PutLog"
PUT_STREAM = "/EventsService/PutStreamEvent"
SUBSCRIBE = "/Dispatcher/SubscribeToWorkflowEvents"
NOW = 1_700_000_000.0


@dataclass
class RunEvents:
    """Stands in for the engine's run events: plays what the test prepared."""

    asked: list[tuple[str, ...]] = field(default_factory=list)
    chunks: list[tuple[object, ...]] = field(default_factory=list)
    events: asyncio.Queue[RunEvent] = field(default_factory=asyncio.Queue)
    failure: Exception | None = None
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def chunk(
        self, tenant_id: str, task_id: str, attempt: int | None, index: int | None, payload: str, at: float
    ) -> None:
        if self.failure is not None:
            raise self.failure
        self.chunks.append((tenant_id, task_id, attempt, index, payload, at))

    @asynccontextmanager
    async def subscribe_run(self, tenant_id: str, run_id: str) -> AsyncIterator[AsyncIterator[RunEvent]]:
        self.asked.append(("run", tenant_id, run_id))
        try:
            if self.failure is not None:
                raise self.failure
            yield self._play()
        finally:
            self.left.set()

    @asynccontextmanager
    async def subscribe_metadata(self, tenant_id: str, key: str, value: str) -> AsyncIterator[AsyncIterator[RunEvent]]:
        self.asked.append(("metadata", tenant_id, key, value))
        yield self._play()

    async def _play(self) -> AsyncIterator[RunEvent]:
        while True:
            event = await self.events.get()
            yield event
            if event.is_last:
                return


@dataclass
class Logs:
    """Keeps the lines."""

    lines: list[tuple[str, TaskLogLine]] = field(default_factory=list)
    failure: Exception | None = None

    async def put(self, tenant_id: str, line: TaskLogLine) -> None:
        if self.failure is not None:
            raise self.failure
        self.lines.append((tenant_id, line))


class Events:
    """Pushed events are no concern of these tests."""

    async def push(self, tenant_id: str, items: Sequence[NewEvent]) -> list[EventRecord]:
        raise AssertionError("nothing is pushed here")

    async def replay(self, tenant_id: str, event_id: str) -> EventRecord:
        raise AssertionError("nothing is replayed here")


@dataclass
class Served:
    """A server with both services, and what stands behind them."""

    world: World
    run_events: RunEvents
    logs: Logs

    async def put_log(self, **fields: object) -> TaskLogLine:
        request = events_pb2.PutLogRequest(**{"task_run_external_id": TASK, "message": "hello", **fields})  # type: ignore[arg-type]
        await self.world.call(PUT_LOG, request, events_pb2.PutLogResponse)
        tenant_id, line = self.logs.lines[-1]
        assert tenant_id == TENANT
        return line

    async def events(self, **fields: str) -> list[pb.WorkflowEvent]:
        """Everything that a subscriber gets until the server closes the stream."""
        call = self.world.stream(SUBSCRIBE, pb.SubscribeToWorkflowEventsRequest(**fields))  # type: ignore[arg-type]

        async def read() -> list[pb.WorkflowEvent]:
            return [pb.WorkflowEvent.FromString(message) async for message in call]

        return await within(read())


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    engine, run_events, logs, clock = Engine(), RunEvents(), Logs(), HeldClock(NOW)
    services: dict[str, object] = {
        "Dispatcher": DispatcherService(
            workers=engine,
            dispatch=engine,
            reports=engine,
            control=engine,
            evicting=engine,
            results=engine,
            clock=clock,
            max_message_bytes=LIMIT,
            run_events=run_events,
        ),
        "EventsService": EventsService(
            events=Events(), logs=logs, run_events=run_events, clock=clock, max_message_bytes=LIMIT
        ),
    }
    async with a_world(services) as world:
        yield Served(world, run_events, logs)


def _end(kind: RunEventKind = RunEventKind.COMPLETED) -> RunEvent:
    return RunEvent(RUN, None, kind, NOW + 9, is_last=True)


async def test_c13_1_a_line_with_everything(served: Served) -> None:
    line = await served.put_log(
        created_at=to_timestamp(NOW + 0.25), level="ERROR", metadata='{"a": 1}', task_retry_count=2
    )
    assert line == TaskLogLine(
        task_id=TASK, message="hello", level="ERROR", metadata='{"a": 1}', retry_count=2, created_at=NOW + 0.25
    )


@pytest.mark.parametrize("level", [None, ""])
async def test_c13_2_c13_4_what_is_missing_has_defaults(served: Served, level: str | None) -> None:
    line = await served.put_log(level=level)
    assert line == TaskLogLine(task_id=TASK, message="hello", level="INFO", metadata="")
    assert (line.retry_count, line.created_at) == (None, None)
    assert (await served.put_log(task_retry_count=0)).retry_count == 0


@pytest.mark.parametrize("message", ["x", "ä" * 10_000, "🙂" * 10_000])
async def test_c13_3_a_message_of_1_to_10000_characters(served: Served, message: str) -> None:
    assert (await served.put_log(message=message)).message == message


async def test_c13_8_the_null_character_is_cleaned(served: Served) -> None:
    assert (await served.put_log(message="a\x00b")).message == "a\ufffdb"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"level": "info"}, "level"),
        ({"level": "FATAL"}, "DEBUG, INFO, WARN, ERROR"),
        ({"message": ""}, "1 to 10000 characters, not 0"),
        ({"message": "x" * 10_001}, "not 10001"),
        ({"metadata": "[1]"}, "metadata"),
        ({"metadata": "{"}, "metadata"),
        ({"metadata": '{"a": "\\u0000"}'}, "null character"),
        ({"task_retry_count": -1}, "task_retry_count"),
        ({"task_run_external_id": "task"}, "task_run_external_id"),
        ({"task_run_external_id": ""}, "UUID"),
    ],
)
async def test_c13_2_to_c13_4_what_is_refused(served: Served, fields: dict[str, object], said: str) -> None:
    request = events_pb2.PutLogRequest(**{"task_run_external_id": TASK, "message": "hello", **fields})  # type: ignore[arg-type]
    code, text = await served.world.refused(PUT_LOG, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert said in text
    assert served.logs.lines == []


async def test_c13_4_an_unknown_task_is_not_found(served: Served) -> None:
    served.logs.failure = NotFound("task not found")
    request = events_pb2.PutLogRequest(task_run_external_id=TASK, message="hello")
    assert await served.world.refused(PUT_LOG, request) == (grpc.StatusCode.NOT_FOUND, "task not found")


async def test_c13_9_a_chunk_reaches_the_engine(served: Served) -> None:
    request = events_pb2.PutStreamEventRequest(
        task_run_external_id=TASK.upper(), created_at=to_timestamp(NOW - 2), message="zwölf".encode(), event_index=0
    )
    await served.world.call(PUT_STREAM, request, events_pb2.PutStreamEventResponse)
    request.ClearField("event_index")
    request.created_at.CopyFrom(to_timestamp(NOW - 3600))
    await served.world.call(PUT_STREAM, request, events_pb2.PutStreamEventResponse)
    assert served.run_events.chunks == [
        (TENANT, TASK, None, 0, "zwölf", NOW - 2),
        # A clock that is far off is not believed (C-17.53).
        (TENANT, TASK, None, None, "zwölf", NOW),
    ]


async def test_c7_40_bytes_that_are_no_text_become_text(served: Served) -> None:
    request = events_pb2.PutStreamEventRequest(task_run_external_id=TASK, message=b"a\xffb\x00")
    await served.world.call(PUT_STREAM, request, events_pb2.PutStreamEventResponse)
    assert served.run_events.chunks[0][4] == "a\ufffdb\x00"


async def test_c13_9_what_is_refused(served: Served) -> None:
    for request in (
        events_pb2.PutStreamEventRequest(task_run_external_id="x", message=b"a"),
        events_pb2.PutStreamEventRequest(task_run_external_id=TASK, message=b"a", event_index=-1),
    ):
        code, _ = await served.world.refused(PUT_STREAM, request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
    served.run_events.failure = NotFound("task not found")
    request = events_pb2.PutStreamEventRequest(task_run_external_id=TASK, message=b"a")
    assert await served.world.refused(PUT_STREAM, request) == (grpc.StatusCode.NOT_FOUND, "task not found")


async def test_c7_33_c7_34_events_on_the_wire(served: Served) -> None:
    for event in (
        RunEvent(RUN, TASK, RunEventKind.STARTED, NOW, "", 0, 3),
        RunEvent(RUN, TASK, RunEventKind.STREAM, NOW + 0.5, "chunk", 0, 3, 0),
        RunEvent(RUN, TASK, RunEventKind.FAILED, NOW + 1, "boom", 0, 3),
        RunEvent(RUN, TASK, RunEventKind.COMPLETED, NOW + 2, '{"n":1}', 1, 3),
        RunEvent(RUN, TASK, RunEventKind.CANCELLED, NOW + 3, "", 1, 3),
        _end(RunEventKind.FAILED),
    ):
        served.run_events.events.put_nowait(event)
    started, chunk, failed, completed, cancelled, run = await served.events(workflow_run_id=RUN)
    assert served.run_events.asked == [("run", TENANT, RUN)]
    assert started == pb.WorkflowEvent(
        workflow_run_id=RUN,
        resource_type=pb.RESOURCE_TYPE_STEP_RUN,
        event_type=pb.RESOURCE_EVENT_TYPE_STARTED,
        resource_id=TASK,
        event_timestamp=to_timestamp(NOW),
        task_retries=3,
        retry_count=0,
    )
    assert (chunk.event_type, chunk.event_payload, chunk.event_index) == (pb.RESOURCE_EVENT_TYPE_STREAM, "chunk", 0)
    assert chunk.HasField("event_index")
    assert not started.HasField("event_index")
    assert (failed.event_type, failed.event_payload) == (pb.RESOURCE_EVENT_TYPE_FAILED, "boom")
    assert (completed.event_payload, completed.retry_count) == ('{"n":1}', 1)
    assert cancelled.event_type == pb.RESOURCE_EVENT_TYPE_CANCELLED
    assert run == pb.WorkflowEvent(
        workflow_run_id=RUN,
        resource_type=pb.RESOURCE_TYPE_WORKFLOW_RUN,
        event_type=pb.RESOURCE_EVENT_TYPE_FAILED,
        resource_id=RUN,
        event_timestamp=to_timestamp(NOW + 9),
        hangup=True,
    )


async def test_c7_39_a_pair_of_metadata_may_have_an_empty_value(served: Served) -> None:
    for _ in range(2):
        served.run_events.events.put_nowait(_end())
        await served.events(additional_meta_key="k", additional_meta_value="")
    assert served.run_events.asked == [("metadata", TENANT, "k", "")] * 2


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"workflow_run_id": ""},
        {"workflow_run_id": "no uuid"},
        {"additional_meta_key": "k"},
        {"additional_meta_value": "v"},
        {"additional_meta_key": "", "additional_meta_value": "v"},
    ],
)
async def test_c7_32_neither_run_nor_metadata(served: Served, fields: dict[str, str]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.events(**fields)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert served.run_events.asked == []


async def test_c7_36_an_unknown_run_is_not_found_and_a_slow_subscriber_hears_why(served: Served) -> None:
    for error, code in (
        (NotFound("run not found"), grpc.StatusCode.NOT_FOUND),
        (ResourceExhausted("too slow"), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ):
        served.run_events.failure = error
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.events(workflow_run_id=RUN)
        assert (caught.value.code(), caught.value.details()) == (code, error.message)


async def test_a_client_that_leaves_ends_its_subscription(served: Served) -> None:
    call = served.world.stream(SUBSCRIBE, pb.SubscribeToWorkflowEventsRequest(workflow_run_id=RUN), metadata=AUTH)
    served.run_events.events.put_nowait(RunEvent(RUN, TASK, RunEventKind.STARTED, NOW, "", 0, 0))
    await within(call.read())
    call.cancel()
    await within(served.run_events.left.wait())


async def test_an_event_that_is_too_large_goes_without_its_payload(served: Served) -> None:
    large = "x" * LIMIT
    for event in (
        RunEvent(RUN, TASK, RunEventKind.STREAM, NOW, large, 0, 0, 4),
        RunEvent(RUN, TASK, RunEventKind.FAILED, NOW, large, 0, 0),
        RunEvent(RUN, TASK, RunEventKind.FAILED, NOW, "", 0, 0),
        RunEvent(RUN, TASK, RunEventKind.COMPLETED, NOW, "x" * (LIMIT - 500), 0, 0),
        _end(),
    ):
        served.run_events.events.put_nowait(event)
    events = await served.events(workflow_run_id=RUN)
    assert [event.event_payload if len(event.event_payload) < 100 else "large" for event in events] == [
        "",
        ERROR_TOO_LARGE,
        NO_ERROR_TEXT,
        "large",
        "",
    ]
