"""``WorkflowService/ScheduleWorkflow`` with a real engine behind the port (behaviour-core C-14.17 to C-14.19)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc_world
import pytest
import pytest_asyncio
from engine_fixture import Instance
from engine_worker import TENANT, until
from google.protobuf.timestamp_pb2 import Timestamp

from hatchet_contracts import workflows_pb2 as pb

SCHEDULE = "/WorkflowService/ScheduleWorkflow"
FAR = 4_000_000_000
PARENT = "0195f2a0-0000-7000-8000-0000000000aa"


@pytest_asyncio.fixture
async def door(one: Instance, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[grpc_world.World]:
    monkeypatch.setattr(grpc_world, "TENANT", TENANT)
    async with grpc_world.a_world(one.engine.grpc_services(grpc_world.LIMIT)) as world:
        yield world


def asked(*times: float, **fields: Any) -> pb.ScheduleWorkflowRequest:
    stamps = [Timestamp(seconds=int(at), nanos=round(at % 1 * 1e9)) for at in times]
    return pb.ScheduleWorkflowRequest(**{"name": "flow", "schedules": stamps, "input": "{}", **fields})


async def test_c_14_17_one_entry_for_each_time_in_order(one: Instance, door: grpc_world.World) -> None:
    version = await one.define()
    request = asked(
        FAR + 5, FAR + 0.25, FAR + 1, input='{"n": 1}', additional_metadata='{"a": "b"}', priority=3, child_key="k"
    )
    answer = await door.call(SCHEDULE, request, pb.WorkflowVersion)
    assert (answer.workflow_id, answer.id) == (version.workflow_id, version.id)
    assert [entry.trigger_at.seconds + entry.trigger_at.nanos / 1e9 for entry in answer.scheduled_workflows] == [
        FAR + 5,
        FAR + 0.25,
        FAR + 1,
    ]
    for entry in answer.scheduled_workflows:
        record = (await one.engine.scheduled.get(TENANT, entry.id)).record
        assert (record.input, record.additional_metadata, record.priority) == ('{"n": 1}', '{"a": "b"}', 3)
        assert record.trigger_at == entry.trigger_at.seconds + entry.trigger_at.nanos / 1e9


async def test_c_14_17_it_runs(one: Instance, door: grpc_world.World) -> None:
    await one.define()
    answer = await door.call(SCHEDULE, asked(1.0, input='{"n": 2}'), pb.WorkflowVersion)
    [entry] = answer.scheduled_workflows
    [row] = await until(lambda: one.rows("SELECT input, id FROM task"), "it is started")
    listed = await one.engine.scheduled.get(TENANT, entry.id)
    assert (row["input"], str(row["id"])) == (b'{"n": 2}', listed.record.run_id)


async def test_c_14_19_without_times_nothing_is_scheduled(one: Instance, door: grpc_world.World) -> None:
    version = await one.define()
    answer = await door.call(SCHEDULE, asked(), pb.WorkflowVersion)
    assert (answer.workflow_id, list(answer.scheduled_workflows)) == (version.workflow_id, [])


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (asked(FAR, name="nobody"), "NOT_FOUND", "workflow not found"),
        (asked(FAR, priority=4), "INVALID_ARGUMENT", "priority must be between 1 and 3, got 4"),
        (asked(FAR, priority=0), "INVALID_ARGUMENT", "priority must be between 1 and 3, got 0"),
        (asked(FAR, input="{"), "INVALID_ARGUMENT", "invalid json in field input"),
        (asked(FAR, input="[1]"), "INVALID_ARGUMENT", "must be a JSON object"),
        (asked(FAR, additional_metadata="7"), "INVALID_ARGUMENT", "invalid json in field additional_metadata"),
        (asked(FAR, -5), "INVALID_ARGUMENT", "schedules[1]: it must be a time from 1970 to 9999"),
        (asked(253_402_300_900), "INVALID_ARGUMENT", "schedules[0]: it must be a time from 1970 to 9999"),
        (asked(FAR, parent_id="x"), "INVALID_ARGUMENT", "invalid parent_id 'x'"),
        (asked(FAR, parent_id=PARENT), "INVALID_ARGUMENT", "parent_id needs parent_task_run_external_id"),
        (
            asked(FAR, parent_id=PARENT, parent_task_run_external_id=PARENT),
            "INVALID_ARGUMENT",
            "parent_id needs parent_task_run_external_id and child_index",
        ),
        (asked(*[FAR] * 1001), "INVALID_ARGUMENT", "at most 1000 times"),
    ],
)
async def test_c_14_18_what_is_refused(
    one: Instance, door: grpc_world.World, request_: pb.ScheduleWorkflowRequest, code: str, text: str
) -> None:
    await one.define()
    status, details = await door.refused(SCHEDULE, request_)
    assert (status, text in details) == (getattr(grpc.StatusCode, code), True), details
    assert await one.rows("SELECT 1 FROM scheduled_run") == []
