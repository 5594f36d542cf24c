"""What may be pushed, and how it crosses the wire (behaviour-core C-12)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from hatchet.core.errors import InvalidArgument
from hatchet.core.event_push import MAX_KEY_BYTES, NewEvent, accepted
from hatchet.core.messages import EventRecord
from hatchet.grpc.event_push import event_message, new_event, new_events, refuse_unanswerable
from hatchet_contracts import events_pb2 as pb

TENANT = "11111111-1111-4111-8111-111111111111"
EVENT = "019a0000-0000-7000-8000-000000000001"
NOW = 1_750_000_000.25

PLAIN = EventRecord(
    tenant_id=TENANT,
    id=EVENT,
    key="user:created",
    payload="{}",
    additional_metadata="",
    scope=None,
    priority=None,
    happened_at=NOW,
    inserted_at=NOW,
)


def taken(where: str = "", **fields: Any) -> EventRecord:
    event = NewEvent(**{"key": "user:created", "payload": "{}", **fields})
    return accepted(event, tenant_id=TENANT, event_id=EVENT, now=NOW, where=where)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"key": ""}, "key must not be empty"),
        ({"key": "a\x00b"}, "key contains the null character"),
        ({"key": "é" * MAX_KEY_BYTES}, f"key must be at most {MAX_KEY_BYTES} bytes long, not {2 * MAX_KEY_BYTES}"),
        ({"payload": ""}, "invalid json in field payload"),
        ({"payload": "{'a': 1}"}, "invalid json in field payload"),
        ({"payload": '{"a\\u0000": 1}'}, "invalid json in field payload: it contains the null character"),
        ({"payload": '{"a": "\x00"}'}, "invalid json in field payload"),
        ({"additional_metadata": "none"}, "invalid json in field additional_metadata"),
        ({"additional_metadata": "[]"}, "invalid json in field additional_metadata: it must be a JSON object"),
        (
            {"additional_metadata": '{"a": "\\u0000"}'},
            "invalid json in field additional_metadata: it contains the null",
        ),
        ({"scope": "\x00"}, "scope contains the null character"),
        ({"priority": 0}, "priority must be between 1 and 3, got 0"),
        ({"priority": 4}, "priority must be between 1 and 3, got 4"),
        ({"priority": -1}, "priority must be between 1 and 3, got -1"),
    ],
)
def test_c_12_5_what_cannot_be_taken_is_refused_by_field(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        taken(**fields)
    assert caught.value.message.startswith(text)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"key": ""}, "events[3].key must not be empty"),
        ({"payload": "x"}, "invalid json in field events[3].payload"),
        ({"additional_metadata": "x"}, "invalid json in field events[3].additional_metadata"),
        ({"scope": "\x00"}, "events[3].scope contains"),
        ({"priority": 9}, "events[3].priority must be"),
    ],
)
def test_an_item_of_a_bulk_is_named(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        taken(where="events[3].", **fields)
    assert caught.value.message.startswith(text)


@pytest.mark.parametrize("payload", ["[1, 2]", "null", '"text"', "7", "1e400", '{"b":1,  "a":2}', r'{"a":"\\u0000"}'])
def test_c_12_34_every_json_payload_is_taken_as_it_is(payload: str) -> None:
    assert taken(payload=payload) == replace(PLAIN, payload=payload)


@pytest.mark.parametrize("key", ["a*", "*", "%", "_x", "A:b.c-d_e/f", "ключ", "a b", "k" * MAX_KEY_BYTES])
def test_c_12_6_a_key_is_plain_text(key: str) -> None:
    assert taken(key=key) == replace(PLAIN, key=key)


@pytest.mark.parametrize("priority", [None, 1, 2, 3])
def test_a_priority_is_kept(priority: int | None) -> None:
    assert taken(priority=priority) == replace(PLAIN, priority=priority)


def test_no_scope_and_no_metadata_have_one_form() -> None:
    assert taken(scope="", additional_metadata="{}") == PLAIN
    assert taken(scope="s", additional_metadata='{"a": 1}') == replace(PLAIN, scope="s", additional_metadata='{"a": 1}')


def test_c_4_24_reserved_metadata_is_stored_as_pushed() -> None:
    text = '{"hatchet__event_id":"x","hatchet__source_workflow_run_id":"y","a":1}'
    assert taken(additional_metadata=text).additional_metadata == text


def test_c_12_7_the_caller_s_time_is_kept_beside_the_server_s() -> None:
    record = taken(happened_at=5.5)
    assert (record.happened_at, record.inserted_at) == (5.5, NOW)


def test_times_are_those_that_the_row_keeps() -> None:
    event = NewEvent(key="k", payload="{}", happened_at=5.12345678)
    record = accepted(event, tenant_id=TENANT, event_id=EVENT, now=1_750_000_000.1234564)
    assert (record.happened_at, record.inserted_at) == (5.123457, 1_750_000_000.123456)


# The wire --------------------------------------------------------------------------------------------------------


def test_c_12_1_every_field_of_a_request_is_read() -> None:
    request = pb.PushEventRequest(
        key="k",
        payload='{"a":1}',
        event_timestamp=Timestamp(seconds=1_700_000_000, nanos=500_000_000),
        additional_metadata='{"b":2}',
        priority=3,
        scope="s",
    )
    assert new_event(request) == NewEvent(
        key="k",
        payload='{"a":1}',
        additional_metadata='{"b":2}',
        scope="s",
        priority=3,
        happened_at=1_700_000_000.5,
    )


def test_what_a_request_leaves_out_is_told_from_zero() -> None:
    event = new_event(pb.PushEventRequest(key="k", payload="{}"))
    assert (event.priority, event.happened_at, event.additional_metadata) == (None, None, "")
    assert new_event(pb.PushEventRequest(priority=0)).priority == 0


@pytest.mark.parametrize("seconds", [-5, 0, 253_402_300_800, 2**62])
def test_a_time_that_no_clock_shows_does_not_stop_an_event(seconds: int) -> None:
    assert new_event(pb.PushEventRequest(event_timestamp=Timestamp(seconds=seconds))).happened_at is None


def test_c_12_3_a_bulk_has_1_to_1000_events() -> None:
    request = pb.PushEventRequest(key="k", payload="{}")
    assert len(new_events([request])) == 1
    assert len(new_events([request] * 1000)) == 1000
    with pytest.raises(InvalidArgument, match=r"^No events to ingest$"):
        new_events([])
    with pytest.raises(InvalidArgument, match="at most 1000 items a call, not 1001"):
        new_events([request] * 1001)


def test_c_12_2_the_answer_repeats_the_event() -> None:
    record = replace(PLAIN, payload="[1]", additional_metadata='{"a":1}', scope="s", priority=2, happened_at=5.0)
    assert event_message(record) == pb.Event(
        tenant_id=TENANT,
        event_id=EVENT,
        key="user:created",
        payload="[1]",
        event_timestamp=Timestamp(seconds=1_750_000_000, nanos=250_000_000),
        additional_metadata='{"a":1}',
        scope="s",
    )


def test_the_answer_s_metadata_is_always_json_and_no_scope_stays_none() -> None:
    answer = event_message(PLAIN)
    assert answer.additional_metadata == "{}"
    assert not answer.HasField("scope")


def test_a_push_whose_answer_would_not_fit_is_refused() -> None:
    limit = 100_000
    request = pb.BulkPushEventRequest(events=[pb.PushEventRequest(key="k", payload='"' + "x" * 400 + '"')] * 150)

    def answer_bytes() -> int:
        records = [accepted(new_event(item), tenant_id=TENANT, event_id=EVENT, now=NOW) for item in request.events]
        return pb.Events(events=[event_message(record) for record in records]).ByteSize()

    def is_taken() -> bool:
        try:
            refuse_unanswerable(request.ByteSize(), len(request.events), limit)
        except InvalidArgument:
            return False
        return True

    assert is_taken()
    while is_taken():
        assert answer_bytes() <= limit
        request.events.append(pb.PushEventRequest(key="k", payload="0"))
    # Refused for a reason: not long before the answer itself is too large.
    assert answer_bytes() > limit * 0.8
    with pytest.raises(InvalidArgument, match=f"{request.ByteSize()} bytes are too many"):
        refuse_unanswerable(request.ByteSize(), len(request.events), limit)
