"""Messages of the durable task stream to and from the engine's data (behaviour-durable D-3)."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from hatchet.core.durable_messages import (
    EntryCompleted,
    EntryRef,
    EvictionAck,
    EvictRequest,
    MemoAck,
    MemoRequest,
    MemoValue,
    ReceivedOrder,
    Refused,
    Response,
    ServerEvict,
    SpawnAck,
    SpawnedRun,
    SpawnRequest,
    StatusRequest,
    UnreadableRequest,
    WaitAck,
    WaitRequest,
)
from hatchet.core.durable_waits import WaitCondition, WaitKind, checked, outcome
from hatchet.core.labels import Comparator, DesiredLabel
from hatchet.core.messages import TriggerItem
from hatchet.grpc.durable_messages import instead_of_too_large, request_of, response_message
from hatchet.grpc.trigger_messages import trigger_item
from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_contracts.v1.shared import condition_pb2 as wait
from hatchet_contracts.v1.shared.trigger_pb2 import DesiredWorkerLabels, TriggerWorkflowRequest

TASK = "33333333-3333-4333-8333-33333333333a"
GROUP = "44444444-4444-4444-8444-44444444444b"
OTHER = "55555555-5555-4555-8555-555555555555"
REF = EntryRef(TASK, 7, 2, 5)
PB_REF = pb.DurableEventLogEntryRef(durable_task_external_id=TASK, invocation_count=7, branch_id=2, node_id=5)
OF_TASK: dict[str, Any] = {"durable_task_external_id": TASK, "invocation_count": 7}


def memo(**fields: Any) -> pb.DurableTaskRequest:
    return pb.DurableTaskRequest(memo=pb.DurableTaskMemoRequest(**{**OF_TASK, **fields}))


def spawn(*children: TriggerWorkflowRequest, **fields: Any) -> pb.DurableTaskRequest:
    request = pb.DurableTaskTriggerRunsRequest(**{**OF_TASK, "trigger_opts": children, **fields})
    return pb.DurableTaskRequest(trigger_runs=request)


def wait_for(*conditions: wait.SleepMatchCondition | wait.UserEventMatchCondition, **fields: Any) -> Any:
    listed = wait.DurableEventListenerConditions()
    for one in conditions:
        if isinstance(one, wait.SleepMatchCondition):
            listed.sleep_conditions.append(one)
        else:
            listed.user_event_conditions.append(one)
    request = pb.DurableTaskWaitForRequest(**{**OF_TASK, "wait_for_conditions": listed, **fields})
    return pb.DurableTaskRequest(wait_for=request)


def evict(**fields: Any) -> pb.DurableTaskRequest:
    return pb.DurableTaskRequest(evict_invocation=pb.DurableTaskEvictInvocationRequest(**{**OF_TASK, **fields}))


def complete_memo(ref: pb.DurableEventLogEntryRef = PB_REF, payload: bytes = b"1") -> pb.DurableTaskRequest:
    request = pb.DurableTaskCompleteMemoRequest(ref=ref, payload=payload, memo_key=b"k")
    return pb.DurableTaskRequest(complete_memo=request)


def base(group: str = GROUP, **fields: Any) -> wait.BaseMatchCondition:
    return wait.BaseMatchCondition(**{"or_group_id": group, "readable_data_key": "key", **fields})


def sleep(text: str = "5s", **fields: Any) -> wait.SleepMatchCondition:
    return wait.SleepMatchCondition(base=base(**fields), sleep_for=text)


def event(key: str = "go", scope: str | None = None, since: Timestamp | None = None, **fields: Any) -> Any:
    return wait.UserEventMatchCondition(
        base=base(**fields), user_event_key=key, event_scope=scope, consider_events_since=since
    )


def conditions_of(message: pb.DurableTaskRequest) -> tuple[WaitCondition, ...]:
    found = request_of(message)
    assert isinstance(found, WaitRequest), found
    return found.conditions


# Requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "payload"),
    [
        ({}, None),
        ({"payload": b""}, ""),
        ({"payload": b'{"a": "\xc3\xa4"}'}, '{"a": "ä"}'),
        ({"payload": b"null"}, "null"),
    ],
)
def test_d_3_2_a_memo(given: dict[str, Any], payload: str | None) -> None:
    assert request_of(memo(key=b"\x00\xff", **given)) == MemoRequest(TASK, 7, b"\x00\xff", payload)


def test_d_3_2_ids_are_read_in_any_case() -> None:
    assert request_of(memo(durable_task_external_id=TASK.upper())) == MemoRequest(TASK, 7, b"")


def test_d_3_3_children_are_read_as_by_the_ordinary_call() -> None:
    child = TriggerWorkflowRequest(
        name="Flow", input='{"a": 1}', parent_id=OTHER, parent_task_run_external_id=TASK, child_index=0, child_key="k",
        additional_metadata='{"m": "1"}', desired_worker_id=OTHER, priority=3,
        desired_worker_labels={"gpu": DesiredWorkerLabels(int_value=1, required=True)},
    )  # fmt: skip
    item = TriggerItem(
        workflow_name="Flow", input='{"a": 1}', parent_run_id=OTHER, parent_task_id=TASK, child_index=0, child_key="k",
        additional_metadata='{"m": "1"}', desired_worker=OTHER, priority=3,
        desired_labels=(DesiredLabel(key="gpu", value=1, comparator=Comparator.EQUAL, required=True, weight=100),),
    )  # fmt: skip
    other = TriggerWorkflowRequest(name="other")
    # D-4.7: in the order of the request.
    assert request_of(spawn(child, other)) == SpawnRequest(TASK, 7, (item, TriggerItem(workflow_name="other")))
    assert trigger_item(child) == item
    assert request_of(spawn()) == SpawnRequest(TASK, 7, ())


def test_d_3_4_and_d_3_5_a_wait() -> None:
    since = Timestamp(seconds=1_700_000_000, nanos=250_000_000)
    message = wait_for(
        sleep("1h30m", expression="false"),
        event("user:created", "customer-1", since, group=OTHER.upper(), expression="input.a == 1"),
        event(group=OTHER, readable_data_key=""),
        label="until approved",
    )
    assert request_of(message) == WaitRequest(
        TASK,
        7,
        (
            WaitCondition(
                kind=WaitKind.SLEEP, or_group=GROUP, data_key="key", expression="false", sleep_for="1h30m"
            ),
            WaitCondition(
                kind=WaitKind.EVENT, or_group=OTHER, data_key="key", expression="input.a == 1",
                event_key="user:created", event_scope="customer-1", since=1_700_000_000.25,
            ),
            WaitCondition(kind=WaitKind.EVENT, or_group=OTHER, data_key="", event_key="go"),
        ),
        "until approved",
    )  # fmt: skip
    assert checked(conditions_of(message)) == conditions_of(message)


def test_d_8_6_a_wait_without_conditions() -> None:
    empty = pb.DurableTaskWaitForRequest(**OF_TASK)
    assert request_of(pb.DurableTaskRequest(wait_for=empty)) == WaitRequest(TASK, 7, ())
    assert request_of(wait_for(label="")) == WaitRequest(TASK, 7, (), None)


def test_d_8_5_a_condition_without_group_is_a_group_of_its_own() -> None:
    found = conditions_of(wait_for(sleep("0s", group=""), sleep("1h", group=""), event(group="")))
    assert len({one.or_group for one in found}) == 3
    # All of them must hold, so the first alone is not enough.
    assert outcome(found[:1], 0.0, {}, 1.0) is not None
    assert outcome(found[:2], 0.0, {}, 1.0) is None


def test_d_10_4_an_empty_scope_is_none() -> None:
    assert [one.event_scope for one in conditions_of(wait_for(event(scope=""), event(scope="s")))] == [None, "s"]


@pytest.mark.parametrize(("seconds", "since"), [(0, 0.0), (-5_000_000_000, 0.0), (253_402_300_800, 253_402_300_800.0)])
def test_d_10_9_a_window_beyond_all_events_looks_at_all_of_them_or_at_none(seconds: int, since: float) -> None:
    [found] = conditions_of(wait_for(event(scope="s", since=Timestamp(seconds=seconds))))
    assert (found.since, found.looks_back) == (since, True)


@pytest.mark.parametrize(("given", "reason"), [({}, None), ({"reason": ""}, None), ({"reason": "ttl\x00!"}, "ttl!")])
def test_d_3_6_an_eviction(given: dict[str, Any], reason: str | None) -> None:
    # D-17.11: it is never refused for its text, because the worker would evict nothing else until it succeeds.
    assert request_of(evict(**given)) == EvictRequest(TASK, 7, reason)


def test_d_3_7_a_status() -> None:
    entry, received = pb.DurableTaskAwaitedCompletedEntry, pb.DurableTaskReceivedSatisfiedOrder
    waiting = [
        entry(durable_task_external_id=TASK.upper(), branch_id=2, node_id=5, invocation_count=7),
        entry(durable_task_external_id="gone", branch_id=1, node_id=1, invocation_count=1),
        entry(durable_task_external_id=TASK, branch_id=2, node_id=6, invocation_count=7),
    ]
    orders = [
        received(durable_task_external_id=TASK, invocation_count=7, highest_received_satisfied_order=3),
        received(durable_task_external_id="gone", invocation_count=7, highest_received_satisfied_order=3),
    ]
    status = pb.DurableTaskWorkerStatusRequest(worker_id="another", waiting_entries=waiting)
    refs = (REF, EntryRef(TASK, 7, 2, 6))
    # D-28.3: what cannot exist is ignored. D-15.16: a client without the list of orders is told apart.
    assert request_of(pb.DurableTaskRequest(worker_status=status)) == StatusRequest(refs, None)
    status.received_satisfied_orders.extend(orders)
    assert request_of(pb.DurableTaskRequest(worker_status=status)) == StatusRequest(refs, (ReceivedOrder(TASK, 7, 3),))
    empty = pb.DurableTaskWorkerStatusRequest()
    assert request_of(pb.DurableTaskRequest(worker_status=empty)) == StatusRequest((), None)


@pytest.mark.parametrize("payload", ["1", '"text"', "[1, 2]", "null", '{"a": "\\u0000"}', '"\\ud800"', ""])
def test_d_3_8_the_value_of_a_memo_is_any_json(payload: str) -> None:
    assert request_of(complete_memo(payload=payload.encode())) == MemoValue(REF, payload)


# What cannot be read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (memo(payload=b"{"), "invalid json in field payload"),
        (memo(payload=b"NaN"), "NaN is not JSON"),
        (memo(payload=b"\xff"), "payload: it must be UTF-8 text"),
        (memo(payload=b"[" * 100_000), "nested too deeply"),
        (
            spawn(TriggerWorkflowRequest(), TriggerWorkflowRequest(priority=4)),
            "trigger_opts[1].priority must be between",
        ),
        (spawn(TriggerWorkflowRequest(priority=0)), "trigger_opts[0].priority must be between 1 and 3, not 0"),
        (spawn(TriggerWorkflowRequest(priority=-1)), "not -1"),
        (spawn(TriggerWorkflowRequest(desired_worker_id="w")), "trigger_opts[0]: invalid desired_worker_id 'w'"),
        (spawn(TriggerWorkflowRequest(parent_id="p")), "trigger_opts[0]: invalid parent_id 'p'"),
        (spawn(TriggerWorkflowRequest(child_key="a\x00")), "trigger_opts[0]: invalid child_key"),
        (wait_for(sleep(), sleep(group="g")), "wait_for_conditions.sleep_conditions[1].base.or_group_id 'g'"),
        (wait_for(event(group="g")), "user_event_conditions[0].base.or_group_id 'g': it must be a UUID"),
        (wait_for(sleep("soon")), "wait_for_conditions.sleep_conditions[0].sleep_for"),
        (wait_for(sleep("")), "sleep_conditions[0].sleep_for"),
        (wait_for(sleep("9999999h9")), "sleep_conditions[0].sleep_for"),
        (wait_for(sleep("5s\x00")), "sleep_conditions[0].sleep_for"),
        (wait_for(event("")), "user_event_conditions[0].user_event_key is empty: name the event"),
        (wait_for(event("a\x00")), "user_event_conditions[0].user_event_key 'a\\x00'"),
        (wait_for(event(scope="a\x00")), "user_event_conditions[0].event_scope"),
        (wait_for(event(expression="a\x00")), "user_event_conditions[0].base.expression"),
        (wait_for(sleep(readable_data_key="\x00")), "sleep_conditions[0].base.readable_data_key"),
        (wait_for(event(action=wait.SKIP)), "user_event_conditions[0].base.action is 3: a durable wait knows CREATE"),
        (wait_for(sleep(action=9)), "sleep_conditions[0].base.action is 9"),
        (wait_for(label="\x00"), "invalid label"),
    ],
)
def test_d_4_8_and_d_4_9_what_cannot_be_read_is_answered_and_says_why(
    message: pb.DurableTaskRequest, text: str
) -> None:
    found = request_of(message)
    assert isinstance(found, UnreadableRequest)
    assert (found.task_id, found.invocation) == (TASK, 7)
    assert text in found.message


@pytest.mark.parametrize("make", [memo, spawn, wait_for, evict])
def test_d_4_9_a_task_id_that_is_no_uuid_is_answered_under_that_id(make: Any) -> None:
    text = "invalid durable_task_external_id 'x': it must be a UUID"
    assert request_of(make(durable_task_external_id="x")) == UnreadableRequest("x", 7, text)
    assert isinstance(request_of(make(durable_task_external_id="")), UnreadableRequest)
    # The answer has to fit into a message.
    found = request_of(make(durable_task_external_id="x" * 1_000_000))
    assert isinstance(found, UnreadableRequest)
    assert len(response_message(Refused(EntryRef(found.task_id, 7, 0, 0), found.message)).SerializeToString()) < 1000


@pytest.mark.parametrize("data", [b"", b"\xfa\x3e\x03abc"])
def test_d_4_8_an_empty_request_or_one_of_a_newer_kind_is_unreadable(data: bytes) -> None:
    found = request_of(pb.DurableTaskRequest.FromString(data))
    assert isinstance(found, UnreadableRequest)
    assert "the request is empty, or of a kind" in found.message


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (complete_memo(payload=b"{"), "invalid json in field payload"),
        (complete_memo(payload=b"\xff"), "payload: it must be UTF-8"),
        (complete_memo(pb.DurableEventLogEntryRef(durable_task_external_id="x")), "ref.durable_task_external_id 'x'"),
        (complete_memo(pb.DurableEventLogEntryRef(durable_task_external_id=TASK)), "ref.branch_id must be between"),
        (
            complete_memo(pb.DurableEventLogEntryRef(durable_task_external_id=TASK, branch_id=1, node_id=2**31)),
            "ref.node_id must be between 1 and 2147483647",
        ),
    ],
)
def test_d_3_18_a_memo_value_that_cannot_be_read_gets_no_answer(message: pb.DurableTaskRequest, why: str) -> None:
    """D-4.1: the worker would take one for the answer to something else."""
    with structlog.testing.capture_logs() as logs:
        assert request_of(message) is None
    assert why in logs[0]["error"]


# Responses ------------------------------------------------------------------------------------------------------------


def to_wire(response: Response) -> pb.DurableTaskResponse:
    return pb.DurableTaskResponse.FromString(response_message(response).SerializeToString())


@pytest.mark.parametrize(
    ("response", "kind", "message"),
    [
        (MemoAck(REF, False), "memo_ack", pb.DurableTaskEventMemoAckResponse(ref=PB_REF)),
        # D-12.6: present, but never computed.
        (MemoAck(REF, True), "memo_ack", pb.DurableTaskEventMemoAckResponse(ref=PB_REF, memo_already_existed=True)),
        (
            MemoAck(REF, True, '"ä"'),
            "memo_ack",
            pb.DurableTaskEventMemoAckResponse(
                ref=PB_REF, memo_already_existed=True, memo_result_payload=b'"\xc3\xa4"'
            ),
        ),
        (
            SpawnAck(TASK, 7, (SpawnedRun(6, 2, OTHER), SpawnedRun(1, 1, GROUP))),
            "trigger_runs_ack",
            pb.DurableTaskEventTriggerRunsAckResponse(
                durable_task_external_id=TASK,
                invocation_count=7,
                run_entries=[
                    pb.DurableTaskRunAckEntry(node_id=6, branch_id=2, workflow_run_external_id=OTHER),
                    pb.DurableTaskRunAckEntry(node_id=1, branch_id=1, workflow_run_external_id=GROUP),
                ],
            ),
        ),
        (WaitAck(REF), "wait_for_ack", pb.DurableTaskEventWaitForAckResponse(ref=PB_REF)),
        # D-12.8: the completion of a memo has neither order nor payload.
        (EntryCompleted(REF, ""), "entry_completed", pb.DurableTaskEventLogEntryCompletedResponse(ref=PB_REF)),
        (
            EntryCompleted(REF, "{}", order=3),
            "entry_completed",
            pb.DurableTaskEventLogEntryCompletedResponse(ref=PB_REF, payload=b"{}", satisfied_order=3),
        ),
        (
            EntryCompleted(REF, "", True, "boom", 3),
            "entry_completed",
            pb.DurableTaskEventLogEntryCompletedResponse(
                ref=PB_REF, is_failure=True, error_message="boom", satisfied_order=3
            ),
        ),
        (Refused(REF, "no"), "error", pb.DurableTaskErrorResponse(ref=PB_REF, error_message="no")),
        (
            Refused(REF, "other", True),
            "error",
            pb.DurableTaskErrorResponse(
                ref=PB_REF, error_message="other", error_type=pb.DURABLE_TASK_ERROR_TYPE_NONDETERMINISM
            ),
        ),
        (EvictionAck(TASK, 7), "eviction_ack", pb.DurableTaskEvictionAckResponse(**OF_TASK)),
        (ServerEvict(TASK, 7, "why"), "server_evict", pb.DurableTaskServerEvictNotice(**OF_TASK, reason="why")),
    ],
)
def test_d_3_10_to_d_3_17_responses(response: Response, kind: str, message: Any) -> None:
    """D-3.11, D-3.12, D-3.13, D-3.14, D-3.15, D-3.16."""
    sent = to_wire(response)
    assert sent.WhichOneof("message") == kind
    assert getattr(sent, kind) == message


LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    ("response", "instead"),
    [
        (MemoAck(REF, True, LONG), "error"),
        (WaitAck(REF), "error"),
        (SpawnAck(TASK, 7, (SpawnedRun(1, 1, OTHER),) * 10_000), "error"),
        (EntryCompleted(REF, LONG, order=3), "entry_completed"),
        (EntryCompleted(REF, "", True, LONG, order=3), "entry_completed"),
        (Refused(REF, LONG, True), "error"),
        (ServerEvict(TASK, 7, LONG), "server_evict"),
        (EvictionAck(TASK, 7), "eviction_ack"),
    ],
)
def test_d_2_12_what_replaces_a_response_above_the_limit(response: Response, instead: str) -> None:
    replaced = instead_of_too_large(response, "raise SERVER_GRPC_MAX_MSG_SIZE")
    sent = to_wire(replaced)
    assert sent.WhichOneof("message") == instead
    # The smallest limit that can be set is 1024 bytes.
    assert sent.ByteSize() < 900
    if not isinstance(response, EvictionAck):
        assert "SERVER_GRPC_MAX_MSG_SIZE" in str(sent)
    if isinstance(response, EntryCompleted):
        assert isinstance(replaced, EntryCompleted)
        assert (replaced.ref, replaced.is_failure, replaced.payload, replaced.order) == (REF, True, "", 3)
    if isinstance(response, Refused):
        # D-14.8: clients look for these words.
        assert sent.error.error_type == pb.DURABLE_TASK_ERROR_TYPE_NONDETERMINISM
        assert sent.error.error_message.startswith("non-determinism error")
