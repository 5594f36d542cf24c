"""What the tests of durable tasks share; the fixtures are in `durable_fixtures`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fakes.fake_durable import FakeDurable
from fakes.worker_world import Number
from hatchet_contracts.dispatcher_pb2 import STEP_EVENT_TYPE_COMPLETED, STEP_EVENT_TYPE_FAILED, AssignedAction
from hatchet_sdk import EvictionPolicy, Hatchet
from hatchet_sdk.declare.eviction import DEFAULT_EVICTION_POLICY
from hatchet_sdk.worker.worker import Worker


def output_of(fake: FakeDurable, action: AssignedAction) -> Any:
    """What the task returned; waits for its end."""
    event = fake.terminal(action)
    assert event.event_type == STEP_EVENT_TYPE_COMPLETED, event.event_payload
    return json.loads(event.event_payload or "null")


def error_of(fake: FakeDurable, action: AssignedAction) -> str:
    """The error text of the task; waits for its end."""
    event = fake.terminal(action)
    assert event.event_type == STEP_EVENT_TYPE_FAILED, event.event_payload
    return event.event_payload


def durable_worker(
    hatchet: Hatchet,
    function: Callable[..., Any],
    *others: Any,
    policy: EvictionPolicy | None = DEFAULT_EVICTION_POLICY,
    durable_slots: int = 10,
) -> Worker:
    """A worker with one durable task, whose action is `task:task`."""
    task = hatchet.durable_task(name="task", input_validator=Number, eviction_policy=policy)(function)
    return hatchet.worker("durable-worker", slots=10, durable_slots=durable_slots, workflows=[task, *others])
