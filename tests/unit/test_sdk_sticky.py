"""Sticky children of a task that runs on a worker (behaviour-core C-11.15)."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.fake_dispatcher import FakeDispatcher
from fakes.fake_rest import FakeRest
from fakes.worker_world import config, running
from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_sdk import Context, Hatchet, StickyStrategy

pytest_plugins = ["fakes.worker_fixtures"]


@pytest.fixture
def hatchet(fake: FakeDispatcher, rest: FakeRest) -> Hatchet:
    return Hatchet(config=config(fake, rest, namespace="ns"))


def parent_of(hatchet: Hatchet, child: Any) -> Any:
    async def parent(value: Any, ctx: Context) -> dict[str, str]:
        await child.aio_run(sticky=True, wait_for_result=False)
        return {"worker": ctx.worker_id}

    return hatchet.task(name="parent", sticky=StickyStrategy.SOFT)(parent)


@pytest.mark.parametrize("strategy", StickyStrategy)
def test_c_11_15_a_sticky_child_is_sent_to_the_worker_of_its_parent(
    fake: FakeDispatcher, hatchet: Hatchet, strategy: StickyStrategy
) -> None:
    child = hatchet.workflow(name="Child", sticky=strategy)
    child.task(name="only")(lambda value, ctx: {})
    with running(hatchet.worker("w", workflows=[parent_of(hatchet, child), child])):
        event = fake.terminal(fake.start_task("ns_parent:parent"))
    assert event.event_type == pb.STEP_EVENT_TYPE_COMPLETED, event.event_payload
    (request,) = fake.requests("TriggerWorkflow")
    assert (request.name, request.desired_worker_id) == ("ns_Child", fake.worker_ids[0])


@pytest.mark.parametrize(("registered", "words"), [(False, "has not registered"), (True, "declares no strategy")])
def test_c_11_15_a_child_that_cannot_stick_is_refused_on_the_worker(
    fake: FakeDispatcher, hatchet: Hatchet, registered: bool, words: str
) -> None:
    child = hatchet.task(name="child")(lambda value, ctx: {})
    workflows = [parent_of(hatchet, child), *([child] if registered else [])]
    with running(hatchet.worker("w", workflows=workflows)):
        event = fake.terminal(fake.start_task("ns_parent:parent"))
    assert event.event_type == pb.STEP_EVENT_TYPE_FAILED
    assert words in event.event_payload
    assert fake.requests("TriggerWorkflow") == []
