"""Declarations of batch tasks: what they register, and what callers get."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from fakes.caller_world import InTask
from fakes.fake_engine import make_token
from hatchet_sdk import ClientConfig, Context, Hatchet, TaskDefaults
from hatchet_sdk.context.batch import BatchContext


class In(BaseModel):
    user: str = "u"


class Out(BaseModel):
    n: int


@pytest.fixture
def hatchet() -> Hatchet:
    return Hatchet(config=ClientConfig(token=make_token(), namespace="ns"))


def plain(input: In, ctx: Context) -> dict[str, Any]:
    return {}


def many(inputs: dict[str, In], ctx: Context) -> dict[str, Out]:
    return {run: Out(n=1) for run in inputs}


def test_c_16_1_a_batch_task_registers_its_sizes(hatchet: Hatchet) -> None:
    message = hatchet.batch_task(
        name="b",
        input_validator=In,
        batch_max_size=10,
        batch_max_interval=timedelta(seconds=2.5),
        batch_group_key="input.user",
        batch_group_max_runs=3,
        retries=2,
    )(many).to_proto()
    (task,) = message.tasks
    assert (task.batch.batch_max_size, task.batch.batch_max_interval_ms) == (10, 2500)
    assert (task.batch.batch_group_key, task.batch.batch_group_max_runs) == ("input.user", 3)
    assert (task.batch.broadcast_output, task.retries) == (False, 2)
    assert dict(task.slot_requests) == {"default": 1}
    assert not hatchet.task(name="t")(plain).to_proto().tasks[0].HasField("batch")


def test_c_3_22_what_is_not_set_of_a_batch_is_left_to_the_engine(hatchet: Hatchet) -> None:
    message = hatchet.batch_task(batch_max_size=5)(many).to_proto().tasks[0].batch
    assert {field.name for field, _ in message.ListFields()} == {"batch_max_size", "broadcast_output"}


def test_c_16_3_a_batch_task_of_a_workflow_takes_the_defaults_of_its_workflow(hatchet: Hatchet) -> None:
    flow = hatchet.workflow(name="flow", input_validator=In, task_defaults=TaskDefaults(retries=4, backoff_factor=2))
    first = flow.task(name="first")(plain)

    @flow.batch_task(batch_max_size=3, broadcast_output=True, parents=[first])
    def second(inputs: dict[str, In], ctx: Context) -> Out:
        return Out(n=len(inputs))

    task = flow.to_proto().tasks[1]
    assert (list(task.parents), task.retries, task.backoff_factor) == (["first"], 4, 2.0)
    assert task.batch.broadcast_output


def test_the_result_of_a_run_is_one_output_of_the_batch(hatchet: Hatchet) -> None:
    def one(inputs: dict[str, In], ctx: Context) -> Out:
        return Out(n=1)

    for task in (
        hatchet.batch_task(name="a", batch_max_size=2)(many),
        hatchet.batch_task(name="b", batch_max_size=2, broadcast_output=True)(one),
    ):
        assert task.output_validator_type is Out


@pytest.mark.parametrize(
    "sizes",
    [
        {"batch_max_size": 0},
        {"batch_max_size": 100_001},
        {"batch_max_size": 1, "batch_max_interval": timedelta(0)},
        {"batch_max_size": 1, "batch_max_interval": timedelta(days=1, milliseconds=1)},
        {"batch_max_size": 1, "batch_group_max_runs": 0},
        {"batch_max_size": 1, "batch_group_max_runs": 10_001},
        {"batch_max_size": 1, "batch_group_key": " "},
    ],
)
def test_c_3_22_sizes_out_of_range_are_refused(hatchet: Hatchet, sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=list(sizes)[-1]):
        hatchet.batch_task(**sizes)(many)


def test_a_batch_context_has_nothing_of_a_single_run() -> None:
    from hatchet_contracts.dispatcher_pb2 import AssignedAction

    action = AssignedAction(
        action_payload=json.dumps({"r": {"workflow_run_id": "w", "payload": {"input": {"user": "x"}}}}), batchId="b"
    )
    link: Any = InTask()
    context = BatchContext(action, link=link, worker=link.worker, workflow_name="b", max_attempts=1)
    assert (context.input, context.task_run_id, context.filter_payload) == ({}, "", {})
    assert context.members["r"].input == {"user": "x"}
    parent: Any = type("Parent", (), {"name": "first"})
    with pytest.raises(ValueError, match="cannot read what became of 'first'"):
        context.task_output(parent)
    with pytest.raises(ValueError, match="cannot read what became of 'first'"):
        context.was_skipped(parent)
