"""``WorkflowService`` and ``v1.AdminService`` over a real channel, on stand-ins for the engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_world import RUN, TASK, WORKER, World, a_world

from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.errors import InvalidArgument
from hatchet.core.labels import Comparator, DesiredLabel
from hatchet.core.messages import RunDetails, TaskDetail, TriggerItem
from hatchet.core.statuses import RunStatus
from hatchet_contracts import workflows_pb2 as pb
from hatchet_contracts.v1 import workflows_pb2 as v1
from hatchet_contracts.v1.shared.condition_pb2 import TaskConditions
from hatchet_contracts.v1.shared.trigger_pb2 import (
    DesiredWorkerLabels,
    TriggerWorkflowRequest,
    WorkerLabelComparator,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PUT = "/v1.AdminService/PutWorkflow"
TRIGGER = "/WorkflowService/TriggerWorkflow"
BULK = "/WorkflowService/BulkTriggerWorkflow"
DETAILS = "/v1.AdminService/GetRunDetails"


def a_task(**options: object) -> v1.CreateTaskOpts:
    return v1.CreateTaskOpts(**{"readable_id": "Step", "action": "Flow:Step", "inputs": "{}", **options})


def a_workflow(*tasks: v1.CreateTaskOpts, **options: object) -> v1.CreateWorkflowVersionRequest:
    return v1.CreateWorkflowVersionRequest(**{"name": "Flow", "tasks": tasks or (a_task(),), **options})


async def put(world: World, request: v1.CreateWorkflowVersionRequest) -> WorkflowDefinition:
    answer = await world.call(PUT, request, v1.CreateWorkflowVersionResponse)
    assert (answer.id, answer.workflow_id) == ("version", "workflow")
    definition = world.engine.asked.pop()[1]
    assert isinstance(definition, WorkflowDefinition)
    return definition


# Registration ---------------------------------------------------------------------------------------------------


async def test_c_3_1_a_registration_is_read_as_a_whole() -> None:
    task = a_task(
        timeout="10s",
        schedule_timeout="1m",
        retries=3,
        backoff_factor=1.5,
        backoff_max_seconds=60,
        is_durable=True,
        slot_requests={"gpu": 2},
        parents=["x"],
        # What some clients send when there are no conditions.
        conditions=TaskConditions(),
    )
    request = a_workflow(task, description="d", version="v", default_priority=3, input_json_schema=b'{"type":"object"}')
    async with a_world() as world:
        definition = await put(world, request)
    assert definition == WorkflowDefinition(
        name="Flow",
        description="d",
        version="v",
        default_priority=3,
        input_json_schema='{"type":"object"}',
        tasks=(
            TaskDefinition(
                readable_id="Step",
                action="flow:step",
                execution_timeout="10s",
                schedule_timeout="1m",
                retries=3,
                backoff_factor=1.5,
                backoff_max_seconds=60,
                is_durable=True,
                slot_requests={"gpu": 2},
                parents=("x",),
            ),
        ),
    )


async def test_c_3_12_defaults() -> None:
    async with a_world() as world:
        definition = await put(world, a_workflow(a_task(schedule_timeout="")))
    assert definition == WorkflowDefinition(
        name="Flow", tasks=(TaskDefinition(readable_id="Step", action="flow:step"),)
    )
    [task] = definition.tasks
    assert (task.execution_timeout, task.schedule_timeout, task.retries) == ("60s", "5m", 0)


async def test_c_3_14_a_priority_of_0_is_given_not_absent() -> None:
    async with a_world() as world:
        assert (await put(world, a_workflow(default_priority=0))).default_priority == 0


async def test_mistakes_of_a_definition_reach_the_caller() -> None:
    async with a_world() as world:
        world.engine.failures["put"] = InvalidArgument("Validation failed with the following errors:\n1. x")
        assert await world.refused(PUT, a_workflow()) == (
            INVALID,
            "Validation failed with the following errors:\n1. x",
        )
        code, details = await world.refused(PUT, a_workflow(input_json_schema=b"\xff"))
        assert (code, "input_json_schema" in details) == (INVALID, True)


# Triggers -------------------------------------------------------------------------------------------------------


async def test_c_4_1_a_trigger_is_read_as_a_whole() -> None:
    request = TriggerWorkflowRequest(
        name="Flow",
        input='{"a":1}',
        parent_id=RUN.upper(),
        parent_task_run_external_id=TASK,
        child_index=0,
        child_key="k",
        additional_metadata='{"b":2}',
        priority=0,
    )
    async with a_world() as world:
        answer = await world.call(TRIGGER, request, pb.TriggerWorkflowResponse)
        [(_, [item])] = world.engine.asked
    assert answer.workflow_run_id == "run-0"
    assert item == TriggerItem(
        workflow_name="Flow",
        input='{"a":1}',
        additional_metadata='{"b":2}',
        priority=0,
        parent_run_id=RUN,
        parent_task_id=TASK,
        child_index=0,
        child_key="k",
    )


async def test_c_4_11_empty_parents_are_none() -> None:
    request = TriggerWorkflowRequest(
        name="Flow",
        parent_id="",
        parent_task_run_external_id="",
        child_key="",
        additional_metadata="",
        desired_worker_id="",
    )
    async with a_world() as world:
        await world.call(TRIGGER, request, pb.TriggerWorkflowResponse)
        assert world.engine.asked == [("trigger", [TriggerItem(workflow_name="Flow")])]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"parent_id": "x"}, "parent_id"),
        ({"parent_task_run_external_id": "x"}, "parent_task_run_external_id"),
        ({"child_key": "a\x00"}, "child_key"),
        ({"desired_worker_id": "x"}, "desired_worker_id"),
    ],
)
async def test_c_4_8_bad_fields_of_a_trigger_are_invalid(options: dict[str, str], field: str) -> None:
    async with a_world() as world:
        code, details = await world.refused(TRIGGER, TriggerWorkflowRequest(name="Flow", **options))  # type: ignore[arg-type]
        assert (code, field in details) == (INVALID, True)
        bulk = pb.BulkTriggerWorkflowRequest(
            workflows=[TriggerWorkflowRequest(name="Flow"), TriggerWorkflowRequest(name="Flow", **options)]  # type: ignore[arg-type]
        )
        assert (await world.refused(BULK, bulk))[0] is INVALID
        assert world.engine.asked == []


async def test_c_4_30_wishes_about_the_worker_are_read() -> None:
    labels = {
        "a": DesiredWorkerLabels(str_value="x", required=True),
        "b": DesiredWorkerLabels(int_value=7, weight=3, comparator=WorkerLabelComparator.GREATER_THAN),
    }
    wishes = (
        DesiredLabel(key="a", value="x", required=True),
        DesiredLabel(key="b", value=7, weight=3, comparator=Comparator.GREATER_THAN),
    )
    # A wish for one worker is for sticky workflows only (C-11.13).
    plain = TriggerWorkflowRequest(name="Flow", desired_worker_id=WORKER, desired_worker_labels=labels)
    admin = v1.TriggerWorkflowRunRequest(workflow_name="Flow", desired_worker_labels=labels)
    async with a_world() as world:
        await world.call(TRIGGER, plain, pb.TriggerWorkflowResponse)
        await world.call("/v1.AdminService/TriggerWorkflowRun", admin, v1.TriggerWorkflowRunResponse)
        item = TriggerItem(workflow_name="Flow", desired_labels=wishes)
        assert world.engine.asked == [("trigger", [replace(item, desired_worker=WORKER)]), ("trigger", [item])]
        valueless = TriggerWorkflowRequest(name="Flow", desired_worker_labels={"a": DesiredWorkerLabels()})
        code, details = await world.refused(TRIGGER, valueless)
        assert (code, "desired_worker_labels" in details) == (INVALID, True)


@pytest.mark.parametrize("number", [6, 99, -1])
async def test_c_11_17_an_unknown_comparator_is_refused_by_name(number: int) -> None:
    labels = {"gpu": DesiredWorkerLabels(str_value="x", comparator=number)}  # type: ignore[arg-type]
    tasks = [v1.CreateTaskOpts(readable_id="a", action="flow:a", worker_labels=labels)]
    put = v1.CreateWorkflowVersionRequest(name="flow", tasks=tasks)
    async with a_world() as world:
        for path, request in (
            (TRIGGER, TriggerWorkflowRequest(name="Flow", desired_worker_labels=labels)),
            ("/v1.AdminService/PutWorkflow", put),
        ):
            code, details = await world.refused(path, request)
            assert code is INVALID, details
            assert f"gpu: comparator {number} is unknown: use one of 0 (EQUAL), 1 (NOT_EQUAL)" in details
        assert world.engine.asked == []


async def test_c_4_2_the_newer_trigger_takes_bytes() -> None:
    path = "/v1.AdminService/TriggerWorkflowRun"
    request = v1.TriggerWorkflowRunRequest(
        workflow_name="Flow", input='{"a":"é"}'.encode(), additional_metadata=b'{"b":2}', priority=2
    )
    async with a_world() as world:
        answer = await world.call(path, request, v1.TriggerWorkflowRunResponse)
        assert answer.external_id == "run-0"
        [(_, [item])] = world.engine.asked
        assert item == TriggerItem(workflow_name="Flow", input='{"a":"é"}', additional_metadata='{"b":2}', priority=2)
        for field in ("input", "additional_metadata"):
            bad = v1.TriggerWorkflowRunRequest(workflow_name="Flow", **{field: b"\xff"})  # type: ignore[arg-type]
            code, details = await world.refused(path, bad)
            assert (code, f"invalid json in field {field}" in details) == (INVALID, True)


async def test_c_4_4_and_c_4_5_bulk_keeps_order_and_takes_1000() -> None:
    items = [TriggerWorkflowRequest(name=f"flow-{number}") for number in range(1001)]
    async with a_world() as world:
        answer = await world.call(
            BULK, pb.BulkTriggerWorkflowRequest(workflows=items[:1000]), pb.BulkTriggerWorkflowResponse
        )
        assert list(answer.workflow_run_ids) == [f"run-{number}" for number in range(1000)]
        [(_, got)] = world.engine.asked
        assert [item.workflow_name for item in got] == [item.name for item in items[:1000]]
        code, details = await world.refused(BULK, pb.BulkTriggerWorkflowRequest(workflows=items))
        assert (code, "1000" in details) == (INVALID, True)
        nothing = await world.call(BULK, pb.BulkTriggerWorkflowRequest(), pb.BulkTriggerWorkflowResponse)
        assert list(nothing.workflow_run_ids) == []
        assert len(world.engine.asked) == 1


NOTHING: dict[str, Any] = {"output": None, "error": None}

# Details --------------------------------------------------------------------------------------------------------


def a_detail(name: str, status: RunStatus, **fields: Any) -> TaskDetail:
    return TaskDetail(**{"task_id": f"id-{name}", "readable_id": name, "status": status, **NOTHING, **fields})


async def details(world: World, found: RunDetails) -> v1.GetRunDetailsResponse:
    world.engine.details = found
    answer = await world.call(DETAILS, v1.GetRunDetailsRequest(external_id=RUN), v1.GetRunDetailsResponse)
    assert isinstance(answer, v1.GetRunDetailsResponse)
    return answer


async def test_c_7_23_and_c_7_24_details_of_a_run() -> None:
    found = RunDetails(
        run_id=RUN,
        input='{"a":"é"}',
        additional_metadata='{"b":1}',
        status=RunStatus.FAILED,
        done=True,
        tasks=[
            a_detail("Done", RunStatus.COMPLETED, output='{"x":1}'),
            a_detail("empty", RunStatus.COMPLETED),
            a_detail("failed", RunStatus.FAILED, error="E: x"),
            a_detail("cancelled", RunStatus.CANCELLED),
        ],
    )
    async with a_world() as world:
        answer = await details(world, found)
    assert (answer.input.decode(), answer.additional_metadata) == ('{"a":"é"}', b'{"b":1}')
    assert (answer.status, answer.done, answer.is_evicted) == (v1.FAILED, True, False)
    assert answer.task_runs.keys() == {"Done", "empty", "failed", "cancelled"}
    done, failed = answer.task_runs["Done"], answer.task_runs["failed"]
    assert (done.external_id, done.readable_id, done.status) == ("id-Done", "Done", v1.COMPLETED)
    assert (done.output, done.HasField("error")) == (b'{"x":1}', False)
    assert (failed.error, failed.HasField("output")) == ("E: x", False)
    for name in ("empty", "cancelled"):
        assert not answer.task_runs[name].HasField("output")
        assert not answer.task_runs[name].error


async def test_d_24_1_an_evicted_task_is_shown_as_running_and_so_is_its_run() -> None:
    """C-6.2, C-7.31: clients do not know the status EVICTED."""
    found = RunDetails(
        run_id=RUN,
        input="{}",
        additional_metadata="{}",
        status=RunStatus.RUNNING,
        done=False,
        tasks=[a_detail("a", RunStatus.RUNNING, is_evicted=True), a_detail("b", RunStatus.RUNNING)],
    )
    async with a_world() as world:
        answer = await details(world, found)
    assert (answer.status, answer.is_evicted, answer.done) == (v1.RUNNING, True, False)
    assert (answer.task_runs["a"].status, answer.task_runs["a"].is_evicted) == (v1.RUNNING, True)
    assert (answer.task_runs["b"].status, answer.task_runs["b"].is_evicted) == (v1.RUNNING, False)


async def test_c_7_26_unknown_and_bad_ids() -> None:
    async with a_world() as world:
        code, text = await world.refused(DETAILS, v1.GetRunDetailsRequest(external_id="x"))
        assert (code, "invalid external id" in text) == (INVALID, True)
        assert (await world.refused(DETAILS, v1.GetRunDetailsRequest(external_id=RUN)))[0] is grpc.StatusCode.NOT_FOUND
