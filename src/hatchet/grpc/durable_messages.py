"""Messages of the durable task stream to and from the data of the engine (behaviour-durable D-3)."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import structlog

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
    Request,
    Response,
    ServerEvict,
    SpawnAck,
    SpawnRequest,
    StatusRequest,
    UnreadableRequest,
    WaitAck,
    WaitRequest,
)
from hatchet.core.errors import InvalidArgument
from hatchet.core.ids import parse_uuid
from hatchet.core.json_texts import check_grammar
from hatchet.core.messages import TriggerItem
from hatchet.grpc.fields import clean_text, decoded, log_number, required_uuid
from hatchet.grpc.trigger_messages import trigger_item
from hatchet.grpc.wait_messages import wait_conditions
from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest

_LONGEST_ID = 100
"""Characters of an id that is no UUID, when it is sent back."""
_TASK_ID = "durable_task_external_id"

_log = structlog.get_logger(__name__)

_Event = pb.DurableTaskMemoRequest | pb.DurableTaskTriggerRunsRequest | pb.DurableTaskWaitForRequest
_Answered = _Event | pb.DurableTaskEvictInvocationRequest


def request_of(message: pb.DurableTaskRequest, limit: int = sys.maxsize) -> Request | None:
    """Any request but ``register_worker``, as the engine takes it; one of more than ``limit`` bytes is not read.

    What has to be answered but cannot be read is an :class:`UnreadableRequest` that says why (D-4.8). A
    ``complete_memo`` that cannot be read is None and logged: it has no answer (D-3.18), and a worker would take an
    ``error`` for the answer to whatever it asked for last (D-4.1).
    """
    size = message.ByteSize()
    match message.WhichOneof("message"):
        case ("memo" | "trigger_runs" | "wait_for") as kind if size > limit:
            asked: _Event = getattr(message, kind)
            return _unreadable(asked, f"{kind}: {_too_large(size, limit)}")
        case "complete_memo" if size > limit:
            _log.warning(
                "a memo was not kept",
                task=message.complete_memo.ref.durable_task_external_id[:_LONGEST_ID],
                error=_too_large(size, limit),
            )
            return None
        case "memo":
            return _answered(message.memo)
        case "trigger_runs":
            return _answered(message.trigger_runs)
        case "wait_for":
            return _answered(message.wait_for)
        case "evict_invocation":
            return _answered(message.evict_invocation)
        case "worker_status":
            return _status(message.worker_status)
        case "complete_memo":
            return _memo_value(message.complete_memo)
    return UnreadableRequest("", 0, "the request is empty, or of a kind that this version of the server does not know")


def _answered(message: _Answered) -> Request:
    task_id, invocation = message.durable_task_external_id, message.invocation_count
    try:
        return _read(message, required_uuid(task_id, _TASK_ID), invocation)
    except InvalidArgument as error:
        return _unreadable(message, error.message)


def _unreadable(message: _Answered, text: str) -> UnreadableRequest:
    task_id = message.durable_task_external_id
    return UnreadableRequest(parse_uuid(task_id) or task_id[:_LONGEST_ID], message.invocation_count, text)


def _too_large(size: int, limit: int) -> str:
    return f"{size} bytes are above the limit of {limit}: send less, or raise SERVER_GRPC_MAX_MSG_SIZE"


def _read(message: _Answered, task_id: str, invocation: int) -> Request:
    match message:
        case pb.DurableTaskMemoRequest():
            payload = _json(message.payload, "payload") if message.HasField("payload") else None
            return MemoRequest(task_id, invocation, message.key, payload)
        case pb.DurableTaskTriggerRunsRequest():
            items = (_child(one, f"trigger_opts[{at}]") for at, one in enumerate(message.trigger_opts))
            return SpawnRequest(task_id, invocation, tuple(items))
        case pb.DurableTaskWaitForRequest():
            conditions = wait_conditions(message.wait_for_conditions, "wait_for_conditions")
            return WaitRequest(task_id, invocation, conditions, clean_text(message.label, "label") or None)
        case pb.DurableTaskEvictInvocationRequest():
            # A worker whose eviction is refused tries it again and again, and evicts nothing else (D-17.11).
            return EvictRequest(task_id, invocation, message.reason.replace("\x00", "") or None)


def _child(request: TriggerWorkflowRequest, field: str) -> TriggerItem:
    try:
        item = trigger_item(request)
    except InvalidArgument as error:
        raise InvalidArgument(f"{field}: {error.message}") from None
    if item.priority is not None and not 1 <= item.priority <= 3:
        raise InvalidArgument(f"{field}.priority must be between 1 and 3, not {item.priority}")
    return item


def _status(message: pb.DurableTaskWorkerStatusRequest) -> StatusRequest:
    """Entries of tasks that cannot exist are left out, as those of tasks that exist no more (D-28.3)."""
    received = tuple(
        ReceivedOrder(task_id, one.invocation_count, one.highest_received_satisfied_order)
        for one in message.received_satisfied_orders
        if (task_id := parse_uuid(one.durable_task_external_id)) is not None
    )
    return StatusRequest(tuple(_waiting(message)), received or None)


def _waiting(message: pb.DurableTaskWorkerStatusRequest) -> Iterator[EntryRef]:
    # One task may wait for thousands of entries.
    normal: dict[str, str | None] = {}
    for one in message.waiting_entries:
        text = one.durable_task_external_id
        if text not in normal:
            normal[text] = parse_uuid(text)
        if (task_id := normal[text]) is not None:
            yield EntryRef(task_id, one.invocation_count, one.branch_id, one.node_id)


def _memo_value(message: pb.DurableTaskCompleteMemoRequest) -> MemoValue | None:
    ref = message.ref
    try:
        task_id = required_uuid(ref.durable_task_external_id, f"ref.{_TASK_ID}")
        branch = log_number(ref.branch_id, "ref.branch_id")
        node = log_number(ref.node_id, "ref.node_id")
        payload = _json(message.payload, "payload")
    except InvalidArgument as error:
        _log.warning(
            "the value of a memo cannot be read and is not kept",
            task_id=ref.durable_task_external_id[:_LONGEST_ID],
            node=ref.node_id,
            error=error.message,
        )
        return None
    return MemoValue(EntryRef(task_id, ref.invocation_count, branch, node), payload)


def _json(data: bytes, field: str) -> str:
    """Any JSON value as text, or an empty text."""
    text = decoded(data, field)
    if text:
        check_grammar(text, field)
    return text


# Responses ------------------------------------------------------------------------------------------------------------


def response_message(response: Response) -> pb.DurableTaskResponse:
    """The message of a response (D-3.10 to D-3.16)."""
    match response:
        case MemoAck():
            return pb.DurableTaskResponse(
                memo_ack=pb.DurableTaskEventMemoAckResponse(
                    ref=_ref(response.ref),
                    memo_already_existed=response.existed,
                    memo_result_payload=None if response.payload is None else response.payload.encode(),
                )
            )
        case SpawnAck():
            return pb.DurableTaskResponse(
                trigger_runs_ack=pb.DurableTaskEventTriggerRunsAckResponse(
                    durable_task_external_id=response.task_id,
                    invocation_count=response.invocation,
                    run_entries=[
                        pb.DurableTaskRunAckEntry(
                            node_id=run.node, branch_id=run.branch, workflow_run_external_id=run.run_id
                        )
                        for run in response.runs
                    ],
                )
            )
        case WaitAck():
            return pb.DurableTaskResponse(wait_for_ack=pb.DurableTaskEventWaitForAckResponse(ref=_ref(response.ref)))
        case EntryCompleted():
            return pb.DurableTaskResponse(
                entry_completed=pb.DurableTaskEventLogEntryCompletedResponse(
                    ref=_ref(response.ref),
                    payload=response.payload.encode(),
                    is_failure=response.is_failure,
                    error_message=response.error,
                    satisfied_order=response.order,
                )
            )
        case Refused():
            return pb.DurableTaskResponse(
                error=pb.DurableTaskErrorResponse(
                    ref=_ref(response.ref),
                    error_type=pb.DURABLE_TASK_ERROR_TYPE_NONDETERMINISM
                    if response.is_non_determinism
                    else pb.DURABLE_TASK_ERROR_TYPE_UNSPECIFIED,
                    error_message=response.message,
                )
            )
        case EvictionAck():
            return pb.DurableTaskResponse(
                eviction_ack=pb.DurableTaskEvictionAckResponse(
                    durable_task_external_id=response.task_id, invocation_count=response.invocation
                )
            )
        case ServerEvict():
            return pb.DurableTaskResponse(
                server_evict=pb.DurableTaskServerEvictNotice(
                    durable_task_external_id=response.task_id,
                    invocation_count=response.invocation,
                    reason=response.reason,
                )
            )


def instead_of_too_large(response: Response, refusal: str) -> Response:
    """What is sent for a response above the message limit, so that nobody waits for it in vain (D-2.12).

    ``refusal`` says what the limit is. What was not acknowledged is refused, what was not delivered has failed.
    """
    match response:
        case EntryCompleted():
            text = f"the result of this operation cannot be sent to the worker: {refusal}"
            return EntryCompleted(response.ref, "", True, text, response.order)
        case MemoAck() | WaitAck():
            return Refused(response.ref, f"the answer cannot be sent to the worker: {refusal}")
        case SpawnAck():
            ref = EntryRef(response.task_id, response.invocation, 0, 0)
            return Refused(ref, f"the answer, {len(response.runs)} child runs, cannot be sent to the worker: {refusal}")
        case Refused():
            text = f"the request was refused with a text that cannot be sent to the worker: {refusal}"
            if response.is_non_determinism:
                # Clients look for these words (D-14.8).
                text = f"non-determinism error: {text}"
            return Refused(response.ref, text, response.is_non_determinism)
        case ServerEvict():
            return ServerEvict(response.task_id, response.invocation, f"evicted; the reason is too long: {refusal}")
        case EvictionAck():
            return response


def _ref(ref: EntryRef) -> pb.DurableEventLogEntryRef:
    return pb.DurableEventLogEntryRef(
        durable_task_external_id=ref.task_id,
        invocation_count=ref.invocation,
        branch_id=ref.branch,
        node_id=ref.node,
    )
