"""Batches on the wire (behaviour-core C-16.19 to C-16.27), on stand-ins for the engine."""

from __future__ import annotations

import json

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_world import RUN, TASK, TENANT, WORKER, World, a_world, within

from hatchet.core.errors import ResourceExhausted
from hatchet.core.messages import Action, ActionKind, BatchStart, ReportKind, Send, TaskReport
from hatchet.core.payloads import action_payload, batch_payload
from hatchet_contracts import dispatcher_pb2 as pb

BATCH = "55555555-5555-4555-8555-555555555555"
OTHER_TASK = "66666666-6666-4666-8666-666666666666"
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def an_action(kind: ActionKind, payload: str = "", key: str = "a key") -> Action:
    return Action(
        kind=kind,
        tenant_id=TENANT,
        run_id=RUN,
        task_id=TASK,
        step_id="step",
        readable_id="My-Task",
        action="flow:my-task",
        workflow_id="workflow",
        version_id="version",
        retry_count=2,
        priority=3,
        payload=payload,
        additional_metadata='{"a":1}',
        inserted_at=1.0,
        batch=BatchStart(id=BATCH, key=key, reason="It is full.", flushed_at=1_700_000_000.25, size=2),
    )


async def received(world: World, *actions: Action) -> pb.AssignedAction:
    async def send_them(send: Send) -> None:
        for action in actions:
            await send(action)

    world.engine.on_listen = send_them
    call = world.stream("/Dispatcher/ListenV2", pb.WorkerListenRequest(worker_id=WORKER))
    return pb.AssignedAction.FromString(await within(call.read()))


async def test_c_16_19_a_start_names_the_batch_and_no_task() -> None:
    async with a_world() as world:
        got = await received(world, an_action(ActionKind.START_BATCH, "{}"))
    assert got == pb.AssignedAction(
        tenant_id=TENANT,
        action_id="flow:my-task",
        action_type=pb.START_BATCH,
        action_payload="{}",
        batchId=BATCH,
        batchKey="a key",
        batchStartPayload=pb.BatchStartPayload(
            triggerReason="It is full.", triggerTime=Timestamp(seconds=1_700_000_000, nanos=250_000_000), expectedSize=2
        ),
    )
    assert not any(got.HasField(field) for field in ("batchSize", "batchIndex", "additional_metadata"))


async def test_c_16_19_a_blank_key_is_left_out() -> None:
    async with a_world() as world:
        got = await received(world, an_action(ActionKind.START_BATCH, "{}", key=""))
    assert not got.HasField("batchKey")


def test_c_16_20_and_c_16_21_the_payload_holds_the_items_by_id_in_their_order() -> None:
    ids = [OTHER_TASK, TASK, RUN]
    text = batch_payload([(task_id, f"run of {task_id}", action_payload('{"n":"é"}')) for task_id in ids])
    payload = json.loads(text)
    assert list(payload) == ids
    assert payload[TASK] == {
        "workflow_run_id": f"run of {TASK}",
        "payload": {
            "input": {"n": "é"},
            "parents": {},
            "triggers": {},
            "triggered_by": "manual",
            "user_data": None,
            "overrides": None,
        },
    }


async def test_c_16_22_a_cancel_carries_the_id_by_which_the_worker_keys_the_batch() -> None:
    async with a_world() as world:
        got = await received(world, an_action(ActionKind.CANCEL_BATCH))
    assert (got.action_type, got.action_id, got.action_payload) == (pb.CANCEL_STEP_RUN, "flow:my-task", "")
    assert (got.batchId, got.task_run_external_id, got.retry_count) == (BATCH, BATCH, 0)
    assert not got.HasField("batchStartPayload")


async def test_c_16_9_a_batch_above_the_message_limit_is_refused_and_the_stream_goes_on() -> None:
    refused: list[str] = []

    async def send_them(send: Send) -> None:
        try:
            await send(an_action(ActionKind.START_BATCH, "x" * 5_000_000))
        except ResourceExhausted as error:
            refused.append(error.message)
        await send(an_action(ActionKind.START_BATCH, "{}"))

    async with a_world() as world:
        world.engine.on_listen = send_them
        call = world.stream("/Dispatcher/ListenV2", pb.WorkerListenRequest(worker_id=WORKER))
        got = pb.AssignedAction.FromString(await within(call.read()))
    assert got.action_payload == "{}"
    assert "SERVER_GRPC_MAX_MSG_SIZE" in refused[0]


# Reports ------------------------------------------------------------------------------------------------------------


async def reported(world: World, request: pb.BatchActionEvent) -> list[TaskReport]:
    answer = await world.call("/Dispatcher/SendBatchActionEvent", request, pb.ActionEventResponse)
    assert answer.worker_id == request.worker_id
    [(name, reports)] = world.engine.asked
    assert name == "report_all"
    return list(reports)


async def refused(request: pb.BatchActionEvent) -> str:
    async with a_world() as world:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.call("/Dispatcher/SendBatchActionEvent", request, pb.ActionEventResponse)
        assert world.engine.asked == [], "nothing of it was taken"
    assert caught.value.code() is INVALID
    return caught.value.details() or ""


async def test_c_16_24_every_field_of_an_item() -> None:
    full = pb.BatchActionEventItem(
        task_run_external_id=TASK, event_payload="boom", retry_count=0, should_not_retry=True, retry_after_ms=5
    )
    bare = pb.BatchActionEventItem(task_run_external_id=OTHER_TASK.upper())
    request = pb.BatchActionEvent(
        worker_id="a name, as TypeScript sends it",
        job_id="",
        action_id="flow:my-task",
        batch_id=BATCH,
        event_timestamp=Timestamp(seconds=1000),
        event_type=pb.STEP_EVENT_TYPE_FAILED,
        items=[full, bare],
    )
    async with a_world() as world:
        first, second = await reported(world, request)
    common = {"kind": ReportKind.FAILED, "at": 1000.0, "batch_id": BATCH}
    assert first == TaskReport(
        task_id=TASK, payload="boom", retry_count=0, should_not_retry=True, retry_after_ms=5, **common
    )  # type: ignore[arg-type]
    assert second == TaskReport(task_id=OTHER_TASK, payload="", retry_count=None, **common)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        (pb.STEP_EVENT_TYPE_STARTED, ReportKind.STARTED),
        (pb.STEP_EVENT_TYPE_COMPLETED, ReportKind.COMPLETED),
        (pb.STEP_EVENT_TYPE_FAILED, ReportKind.FAILED),
        (pb.STEP_EVENT_TYPE_CANCELLED, ReportKind.CANCELLED),
    ],
)
async def test_c_16_25_the_types_of_a_batch(event_type: pb.StepActionEventType, kind: ReportKind) -> None:
    item = pb.BatchActionEventItem(task_run_external_id=TASK)
    async with a_world() as world:
        [report] = await reported(world, pb.BatchActionEvent(batch_id=BATCH, event_type=event_type, items=[item]))
    assert report.kind is kind


async def test_c_16_25_no_items_are_a_success() -> None:
    request = pb.BatchActionEvent(batch_id=BATCH, event_type=pb.STEP_EVENT_TYPE_COMPLETED)
    async with a_world() as world:
        assert await reported(world, request) == []


@pytest.mark.parametrize("event_type", [pb.STEP_EVENT_TYPE_UNKNOWN, pb.STEP_EVENT_TYPE_ACKNOWLEDGED])
async def test_c_16_25_other_types_are_refused(event_type: pb.StepActionEventType) -> None:
    item = pb.BatchActionEventItem(task_run_external_id=TASK)
    text = await refused(pb.BatchActionEvent(batch_id=BATCH, event_type=event_type, items=[item]))
    assert "event_type" in text


async def test_c_16_25_an_item_that_is_no_uuid_is_refused_by_name() -> None:
    items = [pb.BatchActionEventItem(task_run_external_id=one) for one in (TASK, "not-a-uuid")]
    request = pb.BatchActionEvent(batch_id=BATCH, event_type=pb.STEP_EVENT_TYPE_COMPLETED, items=items)
    assert "task_run_external_id" in await refused(request)


async def test_c_16_25_a_batch_that_is_no_uuid_is_refused_by_name() -> None:
    request = pb.BatchActionEvent(batch_id="batch", event_type=pb.STEP_EVENT_TYPE_COMPLETED)
    assert "batch_id" in await refused(request)
