"""The ``Dispatcher`` service over a real channel, on stand-ins for the engine."""

from __future__ import annotations

import asyncio
import re

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_world import RUN, TASK, TENANT, WORKER, World, a_world, within

from hatchet.core.errors import NotFound
from hatchet.core.messages import Action, ActionKind, ReportKind, RunFinished, Send, TaskReport, TaskResult
from hatchet.core.statuses import RunStatus
from hatchet.grpc.result_messages import ERROR_TOO_LARGE, NO_ERROR_TEXT
from hatchet_contracts import dispatcher_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EVENT = "/Dispatcher/SendStepActionEvent"


def an_action(**changes: object) -> Action:
    values = {
        "kind": ActionKind.START,
        "tenant_id": TENANT,
        "run_id": RUN,
        "task_id": TASK,
        "step_id": "step",
        "readable_id": "My-Task",
        "action": "flow:my-task",
        "workflow_id": "workflow",
        "version_id": "version",
        "retry_count": 2,
        "priority": 3,
        "payload": '{"input": {}}',
        "additional_metadata": "",
        "inserted_at": 1_700_000_000.123456,
    }
    return Action(**{**values, **changes})  # type: ignore[arg-type]


# Version, registration, labels ----------------------------------------------------------------------------------


async def test_c_2_1_the_version_has_the_form_that_clients_read() -> None:
    async with a_world() as world:
        answer = await world.call("/Dispatcher/GetVersion", pb.GetVersionRequest(), pb.GetVersionResponse)
    found = re.fullmatch(r"v(\d+)\.(\d+)\.(\d+)(-.+)?", answer.version)
    assert found is not None
    # C-2.3, D-1.2: everything is served that a client switches on by it.
    assert tuple(int(part) for part in found.groups()[:3]) >= (0, 111, 0)


async def registered(world: World, request: pb.WorkerRegisterRequest) -> object:
    answer = await world.call("/Dispatcher/Register", request, pb.WorkerRegisterResponse)
    assert (answer.tenant_id, answer.worker_id, answer.worker_name) == (TENANT, WORKER, request.worker_name)
    return world.engine.asked.pop()[1]


async def test_c_2_4_a_registration_is_read_as_a_whole() -> None:
    request = pb.WorkerRegisterRequest(
        worker_name="ns_w",
        actions=["Flow:Step", "flow:step", "flow:other"],
        services=["default"],
        slot_config={"default": 5, "durable": 0, "gpu": 1},
        labels={
            "a": pb.WorkerLabels(str_value="x"),
            "b": pb.WorkerLabels(int_value=0),
            "c": pb.WorkerLabels(),
            "d": pb.WorkerLabels(str_value=""),
        },
        runtime_info=pb.RuntimeInfo(
            sdk_version="1", language=pb.PYTHON, language_version="3.11", os="linux", extra="more"
        ),
    )
    async with a_world() as world:
        got = await registered(world, request)
    assert got.name == "ns_w"
    assert got.actions == ("flow:step", "flow:other")
    assert got.slots == {"default": 5, "durable": 0, "gpu": 1}
    assert got.labels == {"a": "x", "b": 0, "d": ""}
    info = (got.sdk_version, got.language, got.language_version, got.os, got.runtime_extra)
    assert info == ("1", "PYTHON", "3.11", "linux", "more")


@pytest.mark.parametrize(
    ("request_", "slots"),
    [
        (pb.WorkerRegisterRequest(), {"default": 100}),
        (pb.WorkerRegisterRequest(slots=7), {"default": 7}),
        (pb.WorkerRegisterRequest(slots=0), {"default": 0}),
        (pb.WorkerRegisterRequest(slot_config={"durable": 3}), {"durable": 3}),
    ],
)
async def test_c_2_6_slots(request_: pb.WorkerRegisterRequest, slots: dict[str, int]) -> None:
    async with a_world() as world:
        got = await registered(world, request_)
    assert got.slots == slots
    assert (got.actions, got.labels, got.language, got.sdk_version) == ((), {}, None, None)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (pb.WorkerRegisterRequest(slots=1, slot_config={"default": 1}), "slots and slot_config"),
        (pb.WorkerRegisterRequest(slots=-1), "slots must be 0 or more"),
        (pb.WorkerRegisterRequest(slot_config={"": 1}), "must not be empty"),
        (pb.WorkerRegisterRequest(slot_config={"gpu": -1}), "gpu must have 0 units or more"),
        (pb.WorkerRegisterRequest(slot_config={"g\x00": 1}), "null character"),
        (pb.WorkerRegisterRequest(actions=["nothing"]), "action 'nothing'"),
        (pb.WorkerRegisterRequest(worker_name="a\x00"), "null character"),
        (pb.WorkerRegisterRequest(labels={"a": pb.WorkerLabels(str_value="\x00")}), "labels.a"),
        (pb.WorkerRegisterRequest(runtime_info=pb.RuntimeInfo(os="\x00")), "runtime_info.os"),
    ],
)
async def test_c_2_8_a_bad_registration_is_invalid(request_: pb.WorkerRegisterRequest, text: str) -> None:
    async with a_world() as world:
        code, details = await world.refused("/Dispatcher/Register", request_)
        assert world.engine.asked == []
    assert (code, text in details) == (INVALID, True), details


@pytest.mark.parametrize(("language", "name"), [(pb.GO, "GOLANG"), (pb.TYPESCRIPT, "TYPESCRIPT"), (pb.RUBY, "RUBY")])
async def test_c_2_9_languages_have_the_names_of_rest(language: pb.SDKS, name: str) -> None:
    async with a_world() as world:
        info = pb.RuntimeInfo(language=language)
        got = await registered(world, pb.WorkerRegisterRequest(runtime_info=info))
    assert got.language == name


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/Dispatcher/Heartbeat", pb.HeartbeatRequest),
        ("/Dispatcher/Unsubscribe", pb.WorkerUnsubscribeRequest),
        ("/Dispatcher/UpsertWorkerLabels", pb.UpsertWorkerLabelsRequest),
    ],
)
async def test_c_2_21_a_worker_id_that_is_no_uuid_is_invalid(path: str, request_: type) -> None:
    async with a_world() as world:
        for bad in ("", "x", WORKER[:-1], WORKER + "0", "{" + WORKER[1:]):
            code, details = await world.refused(path, request_(worker_id=bad))
            assert (code, "worker_id" in details) == (INVALID, True)
        world.engine.failures = dict.fromkeys(("heartbeat", "unsubscribe", "upsert_labels"), NotFound("unknown worker"))
        assert await world.refused(path, request_(worker_id=WORKER)) == (grpc.StatusCode.NOT_FOUND, "unknown worker")


async def test_c_2_36_and_c_2_40_unsubscribe_and_labels() -> None:
    async with a_world() as world:
        upper = WORKER.upper()
        left = await world.call(
            "/Dispatcher/Unsubscribe", pb.WorkerUnsubscribeRequest(worker_id=upper), pb.WorkerUnsubscribeResponse
        )
        assert (left.tenant_id, left.worker_id) == (TENANT, WORKER)
        labels = pb.UpsertWorkerLabelsRequest(worker_id=WORKER, labels={"a": pb.WorkerLabels(int_value=1)})
        changed = await world.call("/Dispatcher/UpsertWorkerLabels", labels, pb.UpsertWorkerLabelsResponse)
        assert (changed.tenant_id, changed.worker_id) == (TENANT, WORKER)
        assert world.engine.asked == [("unsubscribe", WORKER), ("upsert_labels", (WORKER, {"a": 1}))]


# Listening ------------------------------------------------------------------------------------------------------


async def first_action(world: World, action: Action) -> pb.AssignedAction:
    async def send_it(send: Send) -> None:
        await send(action)

    world.engine.on_listen = send_it
    call = world.stream("/Dispatcher/ListenV2", pb.WorkerListenRequest(worker_id=WORKER))
    return pb.AssignedAction.FromString(await within(call.read()))


async def test_c_5_1_every_field_of_an_action() -> None:
    action = an_action(
        additional_metadata='{"a":1}', parent_run_id="p-run", parent_task_id="p-task", child_index=0, child_key=""
    )
    async with a_world() as world:
        got = await first_action(world, action)
    assert got == pb.AssignedAction(
        tenant_id=TENANT,
        workflow_run_id=RUN,
        job_id="step",
        job_name="My-Task",
        job_run_id=TASK,
        task_id="step",
        task_run_external_id=TASK,
        action_id="flow:my-task",
        action_type=pb.START_STEP_RUN,
        action_payload='{"input": {}}',
        task_name="My-Task",
        retry_count=2,
        additional_metadata='{"a":1}',
        child_workflow_index=0,
        child_workflow_key="",
        parent_workflow_run_id="p-task",
        priority=3,
        workflow_id="workflow",
        workflow_version_id="version",
        task_inserted_at=Timestamp(seconds=1_700_000_000, nanos=123_456_000),
    )


async def test_c_5_1_optional_fields_are_absent_unless_they_mean_something() -> None:
    async with a_world() as world:
        got = await first_action(world, an_action())
    absent = ("additional_metadata", "child_workflow_index", "child_workflow_key", "parent_workflow_run_id")
    later = ("durable_task_invocation_count", "triggering_event_external_id", "triggering_event_key", "batchId")
    assert [field for field in (*absent, *later) if got.HasField(field)] == []
    # TypeScript would take the payload for bare input.
    assert got.get_group_key_run_id == ""


async def test_c_5_18_a_cancel_names_the_attempt_and_has_no_payload() -> None:
    async with a_world() as world:
        got = await first_action(world, an_action(kind=ActionKind.CANCEL, payload=""))
    assert (got.action_type, got.action_payload) == (pb.CANCEL_STEP_RUN, "")
    assert (got.task_run_external_id, got.retry_count, got.action_id) == (TASK, 2, "flow:my-task")


@pytest.mark.parametrize("path", ["/Dispatcher/ListenV2", "/Dispatcher/Listen"])
async def test_c_2_13_bad_and_unknown_workers(path: str) -> None:
    async with a_world() as world:
        bad = world.stream(path, pb.WorkerListenRequest(worker_id="x"))
        assert await within(bad.code()) is INVALID
        world.engine.failures["listen"] = NotFound("unknown worker")
        unknown = world.stream(path, pb.WorkerListenRequest(worker_id=WORKER))
        assert await within(unknown.code()) is grpc.StatusCode.NOT_FOUND
        assert world.engine.asked == [("listen", WORKER)]


async def test_c_2_16_the_server_beats_for_old_clients_while_they_listen() -> None:
    async def for_ever(_: Send) -> None:
        await asyncio.Event().wait()

    async with a_world(heartbeat_seconds=0.001) as world:
        world.engine.on_listen = for_ever
        # A heartbeat that fails does not end the stream.
        world.engine.failures["heartbeat"] = NotFound("unknown worker")
        call = world.stream("/Dispatcher/Listen", pb.WorkerListenRequest(worker_id=WORKER))
        for _ in range(3):
            await within(world.engine.beaten.wait())
            world.engine.beaten.clear()
        call.cancel()
        await within(world.engine.listener_ended.wait())
        for task in [task for task in asyncio.all_tasks() if task.get_name() == f"heartbeat of {WORKER}"]:
            await within(asyncio.wait((task,)))
        assert not [task for task in asyncio.all_tasks() if task.get_name() == f"heartbeat of {WORKER}"]


async def test_c_2_23_new_clients_beat_themselves() -> None:
    async def wait_a_moment(_: Send) -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    async with a_world(heartbeat_seconds=0.0) as world:
        world.engine.on_listen = wait_a_moment
        call = world.stream("/Dispatcher/ListenV2", pb.WorkerListenRequest(worker_id=WORKER))
        assert await within(call.code()) is grpc.StatusCode.OK
        assert not world.engine.beaten.is_set()


# Reports --------------------------------------------------------------------------------------------------------


async def reported(world: World, event: pb.StepActionEvent) -> TaskReport:
    answer = await world.call(EVENT, event, pb.ActionEventResponse)
    assert (answer.tenant_id, answer.worker_id) == (TENANT, event.worker_id)
    report = world.engine.asked.pop()[1]
    assert isinstance(report, TaskReport)
    return report


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (pb.STEP_EVENT_TYPE_STARTED, ReportKind.STARTED),
        (pb.STEP_EVENT_TYPE_COMPLETED, ReportKind.COMPLETED),
        (pb.STEP_EVENT_TYPE_FAILED, ReportKind.FAILED),
        (pb.STEP_EVENT_TYPE_ACKNOWLEDGED, ReportKind.ACKNOWLEDGED),
        (pb.STEP_EVENT_TYPE_CANCELLED, ReportKind.CANCELLED),
    ],
)
async def test_c_5_23_reports_are_read_and_echoed(sent: pb.StepActionEventType, kind: ReportKind) -> None:
    event = pb.StepActionEvent(
        # C-5.24: TypeScript sends the worker's name.
        worker_id="my worker",
        task_run_external_id=TASK.upper(),
        event_timestamp=Timestamp(seconds=1_600_000_000, nanos=500_000_000),
        event_type=sent,
        event_payload='{"not": json\x00',
        retry_count=0,
        should_not_retry=True,
        retry_after_ms=1000,
    )
    async with a_world() as world:
        report = await reported(world, event)
    assert report == TaskReport(
        task_id=TASK,
        kind=kind,
        payload='{"not": json\x00',
        retry_count=0,
        at=1_600_000_000.5,
        should_not_retry=True,
        retry_after_ms=1000,
        worker_id="my worker",
    )


async def test_c_5_25_what_is_absent_stays_open() -> None:
    event = pb.StepActionEvent(task_run_external_id=TASK, event_type=pb.STEP_EVENT_TYPE_FAILED)
    async with a_world() as world:
        report = await reported(world, event)
        now = world.clock.now()
    assert (report.retry_count, report.retry_after_ms, report.should_not_retry, report.at) == (None, None, False, now)


@pytest.mark.parametrize("seconds", [-1, 0, 10**15, -(10**17)])
async def test_an_impossible_timestamp_is_replaced_by_the_servers(seconds: int) -> None:
    event = pb.StepActionEvent(task_run_external_id=TASK, event_type=pb.STEP_EVENT_TYPE_STARTED)
    event.event_timestamp.seconds = seconds
    async with a_world() as world:
        assert (await reported(world, event)).at == world.clock.now()


@pytest.mark.parametrize(("given", "used"), [(-5, 0), (0, 0), (2**62, 365 * 86_400_000)])
async def test_c_6_27_a_strange_delay_is_brought_into_range(given: int, used: int) -> None:
    event = pb.StepActionEvent(task_run_external_id=TASK, event_type=pb.STEP_EVENT_TYPE_FAILED, retry_after_ms=given)
    async with a_world() as world:
        assert (await reported(world, event)).retry_after_ms == used


@pytest.mark.parametrize(
    "event",
    [
        pb.StepActionEvent(task_run_external_id=TASK),
        pb.StepActionEvent(task_run_external_id=TASK, event_type=99),  # type: ignore[arg-type]
        pb.StepActionEvent(task_run_external_id="x", event_type=pb.STEP_EVENT_TYPE_STARTED),
        pb.StepActionEvent(event_type=pb.STEP_EVENT_TYPE_STARTED),
    ],
)
async def test_c_5_28_unknown_types_and_bad_ids_are_invalid(event: pb.StepActionEvent) -> None:
    async with a_world() as world:
        assert (await world.refused(EVENT, event))[0] is INVALID
        assert world.engine.asked == []


async def test_c_5_37_overrides_are_accepted_and_group_keys_are_not() -> None:
    async with a_world() as world:
        await world.call("/Dispatcher/PutOverridesData", pb.OverridesData(path="x"), pb.OverridesDataResponse)
        code, _ = await world.refused("/Dispatcher/SendGroupKeyActionEvent", pb.GroupKeyActionEvent())
    assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_c_11_34_and_c_11_38_slot_and_timeout() -> None:
    async with a_world() as world:
        release = pb.ReleaseSlotRequest(task_run_external_id=TASK)
        await world.call("/Dispatcher/ReleaseSlot", release, pb.ReleaseSlotResponse)
        refresh = pb.RefreshTimeoutRequest(task_run_external_id=TASK, increment_timeout_by="1m30s")
        answer = await world.call("/Dispatcher/RefreshTimeout", refresh, pb.RefreshTimeoutResponse)
        assert answer.timeout_at == Timestamp(seconds=1090, nanos=250_000_000)
        assert world.engine.asked == [("release_slot", TASK), ("refresh_timeout", (TASK, 90.0))]
        world.engine.asked.clear()
        bad = pb.RefreshTimeoutRequest(task_run_external_id=TASK, increment_timeout_by="soon")
        assert (await world.refused("/Dispatcher/RefreshTimeout", bad))[0] is INVALID
        bad_id = pb.RefreshTimeoutRequest(task_run_external_id="x", increment_timeout_by="1s")
        assert (await world.refused("/Dispatcher/RefreshTimeout", bad_id))[0] is INVALID
        assert (await world.refused("/Dispatcher/ReleaseSlot", pb.ReleaseSlotRequest()))[0] is INVALID
        assert world.engine.asked == []


async def test_d_18_7_a_restore_is_granted_for_every_task_run_of_the_tenant() -> None:
    request = pb.RestoreEvictedTaskRequest(task_run_external_id=TASK.upper())
    async with a_world() as world:
        answer = await world.call("/Dispatcher/RestoreEvictedTask", request, pb.RestoreEvictedTaskResponse)
        assert answer.requeued
        [(name, (task_id, cause))] = world.engine.asked
        assert (name, task_id, "gRPC" in cause) == ("requeue", TASK, True)
        world.engine.asked.clear()
        world.engine.failures["requeue"] = NotFound("task run not found")
        code, _ = await world.refused("/Dispatcher/RestoreEvictedTask", request)
        assert code is grpc.StatusCode.NOT_FOUND
        world.engine.asked.clear()
        bad = pb.RestoreEvictedTaskRequest(task_run_external_id="x")
        assert (await world.refused("/Dispatcher/RestoreEvictedTask", bad))[0] is INVALID
        assert world.engine.asked == []


# Results --------------------------------------------------------------------------------------------------------


def ask(run_id: str) -> bytes:
    return pb.SubscribeToWorkflowRunsRequest(workflow_run_id=run_id).SerializeToString()


def a_result(status: RunStatus, *, output: str | None = None, error: str | None = None) -> TaskResult:
    return TaskResult(task_id=TASK, readable_id="My-Task", status=status, output=output, error=error)


def finished(*results: TaskResult, run_id: str = RUN) -> RunFinished:
    return RunFinished(run_id=run_id, at=5.5, results=list(results))


async def delivered(*runs: RunFinished, limit: int = 4_194_304) -> list[pb.WorkflowRunEvent]:
    """The events of runs that the engine delivers at once."""
    async with a_world(limit=limit) as world:
        call = world.both_ways("/Dispatcher/SubscribeToWorkflowRuns")
        subscription = await within(world.engine.subscriptions.get())
        delivering = asyncio.create_task(subscription.deliver(list(runs)))
        events = [pb.WorkflowRunEvent.FromString(await within(call.read())) for _ in runs]
        await within(delivering)
        call.cancel()
    return events


async def test_c_7_1_ids_go_in_and_events_come_out_while_the_stream_is_open() -> None:
    async with a_world() as world:
        call = world.both_ways("/Dispatcher/SubscribeToWorkflowRuns")
        for run_id in (RUN, "not a uuid", "", TASK.upper(), RUN):
            await call.write(ask(run_id))
        subscription = await within(world.engine.subscriptions.get())
        # C-7.5: what is no uuid is ignored; C-7.4: a repeated id is asked again.
        assert [await within(subscription.asked.get()) for _ in range(3)] == [RUN, TASK, RUN]
        await subscription.deliver([finished(a_result(RunStatus.COMPLETED, output="{}"))])
        event = pb.WorkflowRunEvent.FromString(await within(call.read()))
        assert (event.workflow_run_id, event.event_type) == (RUN, pb.WORKFLOW_RUN_EVENT_TYPE_FINISHED)
        assert event.event_timestamp == Timestamp(seconds=5, nanos=500_000_000)
        # C-7.8: still open after an event.
        await call.write(ask(TASK))
        assert await within(subscription.asked.get()) == TASK
        assert not subscription.closed.is_set()
        await call.done_writing()
        assert await within(call.code()) is grpc.StatusCode.OK
        await within(subscription.closed.wait())


async def test_c_7_7_a_client_that_goes_away_closes_its_subscription() -> None:
    async with a_world() as world:
        call = world.both_ways("/Dispatcher/SubscribeToWorkflowRuns")
        subscription = await within(world.engine.subscriptions.get())
        call.cancel()
        await within(subscription.closed.wait())
        # Late deliveries to it disturb nobody.
        await within(subscription.deliver([finished()]))


async def test_several_runs_in_one_delivery_are_several_events() -> None:
    events = await delivered(*(finished(run_id=str(number)) for number in range(50)))
    assert [event.workflow_run_id for event in events] == [str(number) for number in range(50)]


@pytest.mark.parametrize(
    ("result", "error", "output"),
    [
        (a_result(RunStatus.COMPLETED, output='{"a":1}'), None, '{"a":1}'),
        (a_result(RunStatus.COMPLETED), None, None),
        (a_result(RunStatus.FAILED, error="E: x\n\u00e9"), "E: x\n\u00e9", None),
        # An empty error would be read as success.
        (a_result(RunStatus.FAILED, error=""), NO_ERROR_TEXT, None),
        (a_result(RunStatus.FAILED), NO_ERROR_TEXT, None),
        (a_result(RunStatus.CANCELLED), "", None),
    ],
)
async def test_c_7_9_and_c_7_10_presence_of_error_and_output(
    result: TaskResult, error: str | None, output: str | None
) -> None:
    [event] = await delivered(finished(result))
    [got] = event.results
    assert (got.task_run_external_id, got.task_name, got.job_run_id) == (TASK, "My-Task", TASK)
    assert (got.error if got.HasField("error") else None) == error
    assert (got.output if got.HasField("output") else None) == output


async def test_c_7_12_very_large_errors_are_replaced() -> None:
    large = a_result(RunStatus.FAILED, error="x" * 3_500_000)
    small = a_result(RunStatus.FAILED, error="small")
    output = a_result(RunStatus.COMPLETED, output="{}")
    [event] = await delivered(finished(small, large, output))
    assert [result.error for result in event.results] == ["small", ERROR_TOO_LARGE, ""]
    assert event.results[2].output == "{}"


async def test_c_7_12_results_that_cannot_be_sent_are_dropped_but_the_end_is_told() -> None:
    outputs = [a_result(RunStatus.COMPLETED, output="x" * 2_500_000) for _ in range(2)]
    [event] = await delivered(finished(*outputs))
    assert (event.workflow_run_id, len(event.results)) == (RUN, 0)


async def test_an_output_that_fits_into_a_message_is_delivered() -> None:
    [event] = await delivered(finished(a_result(RunStatus.COMPLETED, output="x" * 4_000_000)))
    assert len(event.results[0].output) == 4_000_000


async def test_reports_that_share_a_call_arrive_as_single_ones() -> None:
    item = pb.BatchActionEventItem(
        task_run_external_id=TASK, event_payload="boom", retry_count=2, should_not_retry=True, retry_after_ms=5
    )
    bare = pb.BatchActionEventItem(task_run_external_id=TASK)
    request = pb.BatchActionEvent(
        worker_id=WORKER, action_id="a:b", event_type=pb.STEP_EVENT_TYPE_FAILED, items=[item, bare]
    )
    async with a_world() as world:
        answer = await world.call("/Dispatcher/SendBatchActionEvent", request, pb.ActionEventResponse)
        now = world.clock.now()
        [(name, (first, second))] = world.engine.asked
    assert (name, answer.worker_id) == ("report_all", WORKER)
    assert (first.task_id, first.payload, first.retry_count, first.retry_after_ms) == (TASK, "boom", 2, 5)
    assert first.should_not_retry
    assert (second.retry_count, second.retry_after_ms, second.should_not_retry, second.at) == (None, None, False, now)
