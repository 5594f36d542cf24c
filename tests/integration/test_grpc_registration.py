"""Registrations of workflows as messages: DAGs, conditions, idempotency, and the old form (C-3, C-8)."""

from __future__ import annotations

import re

import grpc
import pytest
from engine_fixture import TENANT, World
from grpc_world import a_world

from hatchet.core.conditions import Action, Condition, Kind
from hatchet.core.definitions import Idempotency, IdempotencyMethod
from hatchet.core.errors import InvalidArgument
from hatchet.core.ids import time_of
from hatchet.core.messages import Caller
from hatchet.grpc.registration_messages import workflow_definition
from hatchet.grpc.workflows import WorkflowService
from hatchet_contracts import workflows_pb2 as pb
from hatchet_contracts.v1 import workflows_pb2 as v1
from hatchet_contracts.v1.shared import condition_pb2 as conditions

OLD_PUT = "/WorkflowService/PutWorkflow"


def a_base(key: str, action: conditions.Action, group: str = "", expression: str = "") -> conditions.BaseMatchCondition:
    return conditions.BaseMatchCondition(readable_data_key=key, action=action, or_group_id=group, expression=expression)


def a_request(*tasks: v1.CreateTaskOpts, **options: object) -> v1.CreateWorkflowVersionRequest:
    return v1.CreateWorkflowVersionRequest(**{"name": "Flow", "tasks": tasks, **options})


def a_task(name: str, *parents: str, **options: object) -> v1.CreateTaskOpts:
    return v1.CreateTaskOpts(readable_id=name, action=f"flow:{name}", parents=parents, **options)


def test_c_8_1_conditions_are_read_with_their_groups() -> None:
    waits = conditions.TaskConditions(
        parent_override_conditions=[
            conditions.ParentOverrideMatchCondition(
                base=a_base("2026-parent", conditions.SKIP, "g", "output.n > 1"), parent_readable_id="a"
            )
        ],
        sleep_conditions=[
            conditions.SleepMatchCondition(base=a_base("sleep:5s", conditions.QUEUE, "h"), sleep_for="5s"),
            conditions.SleepMatchCondition(base=a_base("sleep:9s", conditions.QUEUE), sleep_for="9s"),
        ],
        user_event_conditions=[
            conditions.UserEventMatchCondition(
                base=a_base("e", conditions.QUEUE, "h"), user_event_key="e", event_scope="s"
            )
        ],
    )
    definition = workflow_definition(a_request(a_task("a"), a_task("b", "a", conditions=waits)))
    assert definition.tasks[1].conditions == (
        Condition(
            kind=Kind.PARENT, action=Action.SKIP, or_group=0, data_key="a", expression="output.n > 1", parent="a"
        ),
        Condition(kind=Kind.SLEEP, action=Action.QUEUE, or_group=1, data_key="sleep:5s", sleep_for="5s"),
        Condition(kind=Kind.SLEEP, action=Action.QUEUE, or_group=2, data_key="sleep:9s", sleep_for="9s"),
        Condition(kind=Kind.EVENT, action=Action.QUEUE, or_group=1, data_key="e", event_key="e", event_scope="s"),
    )


def test_c_3_19_create_is_no_action_of_a_task() -> None:
    sleep = conditions.SleepMatchCondition(base=a_base("sleep:5s", conditions.CREATE), sleep_for="5s")
    request = a_request(a_task("a", conditions=conditions.TaskConditions(sleep_conditions=[sleep])))
    with pytest.raises(InvalidArgument, match="use QUEUE, CANCEL or SKIP"):
        workflow_definition(request)


def test_c_3_5_and_c_3_7_the_on_failure_task_and_idempotency_are_read() -> None:
    request = a_request(
        a_task("a"),
        on_failure_task=a_task("a-on-failure"),
        idempotency=v1.IdempotencyConfig(expression="input.id", ttl_ms=5000, method=v1.IdempotencyMethod.STATUS),
    )
    definition = workflow_definition(request)
    assert definition.on_failure is not None
    assert definition.on_failure.readable_id == "a-on-failure"
    assert definition.idempotency == Idempotency(expression="input.id", ttl_ms=5000, method=IdempotencyMethod.STATUS)


async def test_c_3_30_a_client_that_starts_again_makes_no_new_version(world: World) -> None:
    """Its or-groups have new ids, and some name their parent conditions anew."""
    one = await world.engine()

    async def version(group: str, name: str) -> str:
        waits = conditions.TaskConditions(
            parent_override_conditions=[
                conditions.ParentOverrideMatchCondition(
                    base=a_base(name, conditions.SKIP, group, "output.n > 1"), parent_readable_id="a"
                )
            ],
            sleep_conditions=[
                conditions.SleepMatchCondition(base=a_base("sleep:5s", conditions.SKIP, group), sleep_for="5s")
            ],
        )
        definition = workflow_definition(a_request(a_task("a"), a_task("b", "a", conditions=waits)))
        return (await one.engine.registration.put(TENANT, definition)).id

    assert await version("g1", "first") == await version("g2", "second")


@pytest.mark.parametrize(
    ("tasks", "text"),
    [
        ((a_task("a", "b"), a_task("b", "a")), "has a cycle"),
        ((a_task("a", "a"),), "has a cycle"),
        ((a_task("a", "x"),), "dag parent not found: parent step 'x' not found for step 'a'"),
        ((a_task("a"), a_task("a")), "readable ids must be unique, repeated: a"),
        (
            (
                a_task(
                    "a",
                    conditions=conditions.TaskConditions(
                        user_event_conditions=[
                            conditions.UserEventMatchCondition(
                                base=a_base("e", conditions.QUEUE, "", "inptu.a == 1"), user_event_key="e"
                            )
                        ]
                    ),
                ),
            ),
            r"expression 'inptu.a == 1' does not compile at 1:1: undeclared reference to 'inptu'",
        ),
    ],
)
async def test_bad_graphs_and_expressions_are_refused(
    world: World, tasks: tuple[v1.CreateTaskOpts, ...], text: str
) -> None:
    one = await world.engine()
    with pytest.raises(InvalidArgument, match=re.escape(text)):
        await one.engine.registration.put(TENANT, workflow_definition(a_request(*tasks)))


def an_old_step(name: str, *parents: str, **options: object) -> pb.CreateWorkflowStepOpts:
    return pb.CreateWorkflowStepOpts(readable_id=name, action=f"Flow:{name}", parents=parents, **options)


async def test_c_3_8_old_clients_register_jobs_with_steps(world: World) -> None:
    steps = [an_old_step("a", timeout="10s", retries=2), an_old_step("b", "a", backoff_factor=2.0)]
    opts = pb.CreateWorkflowVersionOpts(
        name="Flow",
        version="v1",
        jobs=[pb.CreateWorkflowJobOpts(name="job", steps=steps)],
        on_failure_job=pb.CreateWorkflowJobOpts(name="failed", steps=[an_old_step("c")]),
        schedule_timeout="1m",
    )
    one = await world.engine()
    service = WorkflowService(registration=one.engine.registration, trigger=one.engine.trigger)
    answer = await service.put_workflow(Caller(TENANT, "token"), pb.PutWorkflowRequest(opts=opts))
    version = (await one.engine.registration.latest(TENANT, ["Flow"]))["Flow"]
    tasks = [task.definition for task in version.tasks]
    assert [(task.readable_id, task.parents, task.retries) for task in tasks] == [
        ("a", (), 2),
        ("b", ("a",), 0),
        ("c", (), 0),
    ]
    assert (tasks[0].execution_timeout, tasks[0].schedule_timeout, tasks[1].backoff_factor) == ("10s", "1m", 2.0)
    assert version.graph.on_failure == 2
    assert (answer.id, answer.workflow_id, answer.version, answer.order) == (version.id, version.workflow_id, "v1", 1)
    assert answer.created_at.seconds == int(time_of(version.id))


async def test_c_3_8_what_the_old_form_cannot_have_here_is_refused() -> None:
    job = pb.CreateWorkflowJobOpts(name="job", steps=[an_old_step("a")])
    opts = pb.CreateWorkflowVersionOpts(name="Flow", jobs=[job, job])
    async with a_world() as world:
        code, text = await world.refused(OLD_PUT, pb.PutWorkflowRequest(opts=opts))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "more than one job" in text
