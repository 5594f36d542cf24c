"""Pushing events: what a push sends, and what it gives back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from fakes.caller_world import InTask
from fakes.fake_engine import make_token
from fakes.fake_events import TENANT, FakeEvents
from hatchet_sdk import (
    BulkPushEventOptions,
    BulkPushEventWithMetadata,
    ClientConfig,
    ClientTLSConfig,
    EngineError,
    Hatchet,
    Priority,
    PushEventOptions,
)
from hatchet_sdk.context.current import current_context


@pytest.fixture
def fake() -> Iterator[FakeEvents]:
    fake = FakeEvents()
    yield fake
    fake.close()


def client(fake: FakeEvents, **settings: Any) -> Hatchet:
    tls = ClientTLSConfig(strategy="none")
    return Hatchet(config=ClientConfig(token=make_token(fake.target), tls_config=tls, **settings))


def numbered(count: int, **fields: Any) -> list[BulkPushEventWithMetadata]:
    return [BulkPushEventWithMetadata(key=f"e{number}", payload={"n": number}, **fields) for number in range(count)]


def test_c_12_1_a_push_sends_all_that_it_was_given(fake: FakeEvents) -> None:
    began = time.time()
    event = client(fake).event.push(
        "order:paid",
        {"total": 7, "name": "Ünï"},
        additional_metadata={"source": "test"},
        priority=Priority.HIGH,
        scope="shop",
    )
    [request] = fake.pushed
    assert (request.key, json.loads(request.payload)) == ("order:paid", {"total": 7, "name": "Ünï"})
    assert json.loads(request.additional_metadata) == {"source": "test"}
    assert (request.priority, request.scope) == (3, "shop")
    assert began - 1 < request.event_timestamp.ToNanoseconds() / 1e9 < time.time() + 1
    # C-12.2: what the engine kept.
    assert (event.tenant_id, event.event_id, event.key, event.scope) == (TENANT, "0", "order:paid", "shop")
    assert json.loads(event.payload) == {"total": 7, "name": "Ünï"}
    assert json.loads(event.additional_metadata or "") == {"source": "test"}
    assert began - 1 < event.seen_at.timestamp() < time.time() + 1


def test_what_is_not_given_is_not_sent(fake: FakeEvents) -> None:
    event = client(fake).event.push("plain", {})
    [request] = fake.pushed
    assert not request.HasField("priority")
    assert not request.HasField("scope")
    assert json.loads(request.payload) == json.loads(request.additional_metadata) == {}
    assert event.scope is None


async def test_the_async_twin_does_the_same(fake: FakeEvents) -> None:
    hatchet = client(fake)
    assert (await hatchet.event.aio_push("a", {"n": 1}, scope="s")).key == "a"
    assert [event.key for event in await hatchet.event.aio_bulk_push(numbered(2))] == ["e0", "e1"]
    assert [request.key for request in fake.pushed] == ["a", "e0", "e1"]


def test_arguments_win_over_options_and_metadata_is_merged(fake: FakeEvents) -> None:
    options = PushEventOptions(additional_metadata={"a": 1, "b": 1}, priority=1, scope="options")
    event = client(fake).event
    event.push("x", {}, options, additional_metadata={"b": 2}, priority=Priority.MEDIUM, scope="argument")
    event.push("x", {}, options)
    first, second = fake.pushed
    assert json.loads(first.additional_metadata) == {"a": 1, "b": 2}
    assert (first.priority, first.scope) == (2, "argument")
    assert (second.priority, second.scope) == (1, "options")


def test_c_1_25_keys_get_the_namespace(fake: FakeEvents) -> None:
    event = client(fake, namespace="Mine").event
    event.push("a", {})
    event.push("mine_a", {})
    event.push("a", {}, PushEventOptions(namespace="other"))
    event.bulk_push(numbered(2), BulkPushEventOptions(namespace="third"))
    assert [request.key for request in fake.pushed] == ["mine_a", "mine_a", "other_a", "third_e0", "third_e1"]


def test_c_12_3_many_events_travel_in_requests_of_1000_and_come_back_in_order(fake: FakeEvents) -> None:
    events = client(fake).event.bulk_push(numbered(2500))
    assert fake.bulk_sizes == [1000, 1000, 500]
    assert [json.loads(event.payload)["n"] for event in events] == list(range(2500))


def test_large_events_travel_in_requests_below_the_message_limit(fake: FakeEvents) -> None:
    events = [BulkPushEventWithMetadata(key="big", payload={"text": "x" * 1_000_000}) for _ in range(7)]
    assert len(client(fake).event.bulk_push(events)) == 7
    assert fake.bulk_sizes == [4, 3]  # 4 MiB hold four of them


def test_options_of_a_bulk_hold_for_events_that_say_nothing_else(fake: FakeEvents) -> None:
    options = BulkPushEventOptions(additional_metadata={"from": "bulk", "all": "yes"}, priority=3, scope="bulk")
    own = BulkPushEventWithMetadata(key="own", additional_metadata={"from": "own"}, priority=1, scope="own")
    client(fake).event.bulk_push([own, *numbered(1)], options)
    first, second = fake.pushed
    assert (json.loads(first.additional_metadata), first.priority, first.scope) == (
        {"from": "own", "all": "yes"},
        1,
        "own",
    )
    assert (json.loads(second.additional_metadata)["from"], second.priority, second.scope) == ("bulk", 3, "bulk")


def test_no_events_are_no_request(fake: FakeEvents) -> None:
    assert client(fake).event.bulk_push([]) == []
    assert fake.bulk_sizes == []


def test_c_4_24_an_event_from_inside_a_task_names_its_source(fake: FakeEvents) -> None:
    hatchet = client(fake)
    token = current_context.set(cast("Any", InTask()))
    try:
        hatchet.event.push("inside", {}, additional_metadata={"own": 1})
        hatchet.event.bulk_push(numbered(1))
    finally:
        current_context.reset(token)
    hatchet.event.push("outside", {})
    source = {
        "hatchet__source_workflow_run_id": InTask.workflow_run_id,
        "hatchet__source_step_run_id": InTask.task_run_id,
    }
    seen = [json.loads(request.additional_metadata) for request in fake.pushed]
    assert seen == [{"own": 1, **source}, source, {}]


def test_a_refused_event_says_why(fake: FakeEvents) -> None:
    with pytest.raises(EngineError, match=r"events\[0\]\.key is bad") as caught:
        client(fake).event.push("bad", {})
    assert caught.value.code().name == "INVALID_ARGUMENT"


def test_what_json_cannot_hold_is_named(fake: FakeEvents) -> None:
    event = client(fake).event
    with pytest.raises(TypeError, match="the payload of the event 'x' cannot become JSON"):
        event.push("x", {"what": object()})
    with pytest.raises(TypeError, match="additional_metadata of the event 'x' cannot become JSON"):
        event.push("x", {}, additional_metadata={"what": object()})
    assert fake.pushed == []
