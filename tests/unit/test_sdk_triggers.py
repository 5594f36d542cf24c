"""Crons and scheduled runs: what is asked of the engine, and what one gets back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from pydantic import BaseModel

from fakes.fake_dispatcher import FakeDispatcher
from fakes.fake_rest import FakeRest
from fakes.rest_world import CRON, META, NOON, SCHEDULED, Both, tenant
from hatchet_sdk import (
    CronWorkflowsOrderByField,
    EngineError,
    Hatchet,
    Priority,
    ScheduledRunStatus,
    ScheduledWorkflowsBulkUpdateItem,
    ScheduledWorkflowsOrderByField,
    ScheduleTriggerWorkflowOptions,
    WorkflowRunOrderByDirection,
)
from hatchet_sdk.features.cron_models import CronWorkflowsMethod
from hatchet_sdk.features.rest_models import WorkflowRunStatus

pytest_plugins = ["fakes.worker_fixtures", "fakes.rest_fixtures"]


class In(BaseModel):
    a: int = 0


# --- crons ----------------------------------------------------------------------------------------------------------


def test_c_14_7_and_r_15_2_a_cron_is_created_by_the_name_of_its_workflow(
    caller: Hatchet, rest: FakeRest, both: Both
) -> None:
    rest.answer(CRON)
    cron = both(
        caller.cron, "create", "my/flow", "daily", "0 12 * * *", {"a": 1}, {"customer": "a"}, priority=Priority.MEDIUM
    )
    asked = rest.last
    assert (asked.method, asked.path) == ("POST", tenant(caller, "workflows/ns_my/flow/crons"))
    assert asked.raw_path.endswith("/ns_my%2Fflow/crons")
    assert asked.token == f"Bearer {caller.config.token}"
    assert asked.body == {
        "cronName": "daily",
        "cronExpression": "0 12 * * *",
        "input": {"a": 1},
        "additionalMetadata": {"customer": "a"},
        "priority": 2,
    }
    assert (cron.metadata.id, cron.workflow_name, cron.cron, cron.name) == ("m1", "ns_flow", "0 12 * * *", "daily")
    assert (cron.additional_metadata, cron.enabled, cron.method) == ({"customer": "a"}, True, CronWorkflowsMethod.API)
    assert cron.metadata.created_at == datetime(2026, 11, 25, 8, tzinfo=UTC)


def test_r_15_4_and_r_15_5_crons_are_listed_found_and_deleted(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    rest.answer({"rows": [CRON], "pagination": {"current_page": 1, "num_pages": 3}})
    found = both(
        caller.cron,
        "list",
        offset=10,
        limit=5,
        workflow_id="w",
        additional_metadata={"customer": "a", "n": 1},
        order_by_field=CronWorkflowsOrderByField.CREATEDAT,
        order_by_direction=WorkflowRunOrderByDirection.DESC,
        workflow_name="flow",
        cron_name="daily",
    )
    assert rest.last.path == tenant(caller, "workflows/crons")
    assert rest.last.query == {
        "offset": ["10"],
        "limit": ["5"],
        "workflowId": ["w"],
        "workflowName": ["ns_flow"],
        "cronName": ["daily"],
        "additionalMetadata": ["customer:a", "n:1"],
        "orderByField": ["createdAt"],
        "orderByDirection": ["DESC"],
    }
    assert ([cron.metadata.id for cron in found.rows], found.pagination.num_pages) == (["m1"], 3)
    rest.answer(CRON)
    assert both(caller.cron, "get", "m1").metadata.id == "m1"
    rest.answer(None, 204)
    assert both(caller.cron, "delete", cron_id="m1") is None
    assert [(asked.method, asked.path) for asked in rest.requests[1:]] == [
        ("GET", tenant(caller, "workflows/crons/m1")),
        ("DELETE", tenant(caller, "workflows/crons/m1")),
    ]


def test_no_filter_is_no_parameter(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    for client in (caller.cron, caller.scheduled, caller.filters, caller.rate_limits):
        assert both(client, "list").rows is None
        assert rest.last.query == {}


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"expression": "* * *"}, ValueError, "is not a cron expression"),
        ({"expression": ""}, ValueError, "needs an expression"),
        ({"cron_name": ""}, ValueError, "needs a name"),
        ({"input": [1]}, TypeError, "the input of the cron trigger 'n' must be a JSON object"),
        ({"additional_metadata": {"x": object()}}, TypeError, "cannot become JSON"),
    ],
)
def test_c_14_6_a_wrong_cron_is_refused_before_it_is_sent(
    caller: Hatchet, rest: FakeRest, both: Both, values: dict[str, Any], error: type[Exception], words: str
) -> None:
    given = {"cron_name": "n", "expression": "@daily", "input": {}, "additional_metadata": {}, **values}
    with pytest.raises(error, match=words):
        both(caller.cron, "create", "flow", **given)
    assert rest.requests == []


def test_r_15_8_a_workflow_creates_crons_with_its_input_and_metadata(
    caller: Hatchet, rest: FakeRest, both: Both
) -> None:
    flow = caller.workflow(name="flow", input_validator=In, default_additional_metadata={"team": "x", "from": "flow"})
    rest.answer(CRON)
    cron = both(flow, "create_cron", "daily", "@daily", In(a=3), additional_metadata={"from": "me"}, priority=3)
    assert cron.metadata.id == "m1"
    assert rest.last.path == tenant(caller, "workflows/ns_flow/crons")
    assert rest.last.body == {
        "cronName": "daily",
        "cronExpression": "@daily",
        "input": {"a": 3},
        "additionalMetadata": {"team": "x", "from": "me"},
        "priority": 3,
    }


# --- scheduled runs -------------------------------------------------------------------------------------------------


def test_r_16_2_a_run_is_scheduled_by_the_name_of_its_workflow(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    rest.answer(SCHEDULED)
    run = both(caller.scheduled, "create", "flow", NOON, {"a": 1}, {"customer": "a"})
    assert (rest.last.method, rest.last.path) == ("POST", tenant(caller, "workflows/ns_flow/scheduled"))
    assert rest.last.body == {
        "triggerAt": "2026-11-25T11:00:00.000000Z",
        "input": {"a": 1},
        "additionalMetadata": {"customer": "a"},
    }
    assert (run.metadata.id, run.trigger_at) == ("m1", datetime(2026, 11, 25, 11, 0, 0, 500_000, tzinfo=UTC))
    assert (run.workflow_run_status, run.workflow_run_id) == (WorkflowRunStatus.SUCCEEDED, "run")


def test_r_16_3_and_r_16_4_scheduled_runs_are_listed_found_moved_and_deleted(
    caller: Hatchet, rest: FakeRest, both: Both
) -> None:
    rest.answer({"rows": [SCHEDULED]})
    both(
        caller.scheduled,
        "list",
        workflow_id="w",
        parent_workflow_run_id="p",
        statuses=[ScheduledRunStatus.SCHEDULED, ScheduledRunStatus.FAILED],
        additional_metadata={"customer": "a"},
        order_by_field=ScheduledWorkflowsOrderByField.TRIGGERAT,
        order_by_direction=WorkflowRunOrderByDirection.ASC,
    )
    assert rest.last.query == {
        "workflowId": ["w"],
        "parentWorkflowRunId": ["p"],
        "statuses": ["SCHEDULED", "FAILED"],
        "additionalMetadata": ["customer:a"],
        "orderByField": ["triggerAt"],
        "orderByDirection": ["ASC"],
    }
    rest.answer(SCHEDULED)
    both(caller.scheduled, "get", "m1")
    rest.answer(SCHEDULED)
    both(caller.scheduled, "update", scheduled_id="m1", trigger_at=NOON)
    assert rest.last.body == {"triggerAt": "2026-11-25T11:00:00.000000Z"}
    rest.answer(None, 204)
    both(caller.scheduled, "delete", scheduled_id="m1")
    assert [asked.method for asked in rest.requests] == ["GET", "GET", "PATCH", "DELETE"]
    assert {asked.path for asked in rest.requests[1:]} == {tenant(caller, "workflows/scheduled/m1")}


def deleted(*ids: str) -> dict[str, Any]:
    return {"deletedIds": list(ids), "errors": []}


def test_r_16_6_runs_are_deleted_by_id_in_requests_of_500(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    ids = [f"id-{n}" for n in range(501)]
    rest.answer({"deletedIds": ids[:499], "errors": [{"id": ids[499], "error": "Failed"}]})
    rest.answer({"deletedIds": ids[500:], "errors": [{"error": "no id"}]})
    answer = both(caller.scheduled, "bulk_delete", scheduled_ids=ids)
    assert [len(asked.body["scheduledWorkflowRunIds"]) for asked in rest.requests] == [500, 1]
    assert len(answer.deleted_ids) == 500
    assert [(error.id, error.error) for error in answer.errors] == [("id-499", "Failed"), (None, "no id")]


def test_r_16_6_runs_are_deleted_by_a_filter(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    rest.answer(deleted("a"))
    answer = both(
        caller.scheduled,
        "bulk_delete",
        workflow_id="w",
        parent_workflow_run_id="p",
        parent_step_run_id="s",
        additional_metadata={"customer": "a"},
    )
    assert rest.last.body == {
        "filter": {
            "workflowId": "w",
            "parentWorkflowRunId": "p",
            "parentStepRunId": "s",
            "additionalMetadata": ["customer:a"],
        }
    }
    assert answer.deleted_ids == ["a"]


def test_a_filter_by_status_deletes_only_what_the_list_gives(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    page = [{**SCHEDULED, "metadata": {**META, "id": f"id-{n}"}} for n in range(501)]
    rest.answer({"rows": page[:500]})
    rest.answer({"rows": page[500:]})
    rest.answer({"rows": []})
    rest.answer(deleted(*[f"id-{n}" for n in range(500)]))
    rest.answer(deleted("id-500"))
    answer = both(caller.scheduled, "bulk_delete", workflow_id="w", statuses=[ScheduledRunStatus.SCHEDULED])
    lists, deletes = rest.requests[:3], rest.requests[3:]
    assert [asked.query["offset"] for asked in lists] == [["0"], ["500"], ["501"]]
    assert all(asked.query["statuses"] == ["SCHEDULED"] and asked.query["workflowId"] == ["w"] for asked in lists)
    assert sum(len(asked.body["scheduledWorkflowRunIds"]) for asked in deletes) == 501
    assert len(answer.deleted_ids) == 501


def test_bulk_delete_needs_to_know_what(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    with pytest.raises(ValueError, match="needs scheduled_ids or at least one of"):
        both(caller.scheduled, "bulk_delete")
    with pytest.raises(ValueError, match="not both: workflowId given too"):
        both(caller.scheduled, "bulk_delete", scheduled_ids=["a"], workflow_id="w")
    assert both(caller.scheduled, "bulk_delete", scheduled_ids=[]).deleted_ids == []
    assert rest.requests == []


def test_r_16_7_runs_are_moved_in_bulk(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    rest.answer({"updatedIds": ["a"], "errors": [{"id": "b", "error": "Scheduled workflow not found."}]})
    updates: list[Any] = [("a", NOON), ScheduledWorkflowsBulkUpdateItem(id="b", trigger_at=NOON)]
    answer = both(caller.scheduled, "bulk_update", updates)
    assert rest.last.path == tenant(caller, "workflows/scheduled/bulk-update")
    assert rest.last.body["updates"] == [
        {"id": "a", "triggerAt": "2026-11-25T11:00:00.000000Z"},
        {"id": "b", "triggerAt": "2026-11-25T11:00:00.000000Z"},
    ]
    assert (answer.updated_ids, answer.errors[0].id) == (["a"], "b")
    with pytest.raises(TypeError, match="pairs of an id and a time"):
        both(caller.scheduled, "bulk_update", ["a"])


# --- workflow.schedule ----------------------------------------------------------------------------------------------


def test_c_14_17_a_workflow_is_scheduled_over_grpc(caller: Hatchet, fake: FakeDispatcher, both: Both) -> None:
    flow = caller.workflow(name="flow", input_validator=In, default_additional_metadata={"team": "x"})
    options = ScheduleTriggerWorkflowOptions(
        additional_metadata={"a": 1}, priority=1, parent_id="p", parent_step_run_id="s", child_index=2, child_key="k"
    )
    version = both(flow, "schedule", NOON, In(a=5), options, additional_metadata={"b": 2}, priority=3)
    (request,) = fake.requests("ScheduleWorkflow")
    assert (request.name, request.input, request.priority) == ("ns_flow", '{"a":5}', 3)
    assert [at.ToDatetime() for at in request.schedules] == [datetime(2026, 11, 25, 11)]
    assert request.additional_metadata == '{"team":"x","a":1,"b":2}'
    assert (request.parent_id, request.parent_task_run_external_id) == ("p", "s")
    assert (request.child_index, request.child_key) == (2, "k")
    assert version.scheduled_workflows[0].id
    assert version.scheduled_workflows[0].trigger_at.ToDatetime() == datetime(2026, 11, 25, 11)


def test_c_14_29_a_schedule_without_time_zone_is_local_time(caller: Hatchet, fake: FakeDispatcher, both: Both) -> None:
    task = caller.task(name="task")(lambda value, ctx: {})
    local = datetime(2026, 11, 25, 12)
    both(task, "schedule", local)
    (request,) = fake.requests("ScheduleWorkflow")
    assert request.schedules[0].ToDatetime(tzinfo=UTC) == local.astimezone(UTC)
    assert {field.name for field, _ in request.ListFields()} == {"name", "schedules", "input"}


def test_a_schedule_with_a_wrong_input_or_time_is_refused(caller: Hatchet, fake: FakeDispatcher, both: Both) -> None:
    flow = caller.workflow(name="flow")
    with pytest.raises(TypeError, match="run_at must be a datetime"):
        both(flow, "schedule", timedelta(hours=1))
    with pytest.raises(TypeError, match="the input of 'flow'"):
        both(flow, "schedule", NOON, 7)
    with pytest.raises(TypeError, match="additional_metadata of a run of 'flow'"):
        both(flow, "schedule", NOON, additional_metadata={"x": object()})
    assert fake.requests("ScheduleWorkflow") == []


def test_a_refused_schedule_says_why(caller: Hatchet, fake: FakeDispatcher, both: Both) -> None:
    fake.fail("ScheduleWorkflow", grpc.StatusCode.NOT_FOUND, text="workflow not found")
    with pytest.raises(EngineError, match="workflow not found"):
        both(caller.workflow(name="flow"), "schedule", NOON)
