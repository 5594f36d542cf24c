"""What a durable task waits for, in messages (behaviour-durable D-3.4, D-3.5)."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from hatchet.core.durable_waits import WaitCondition, WaitKind, sleep_seconds
from hatchet.core.errors import InvalidArgument
from hatchet.grpc.fields import clean_text, required_uuid, to_seconds
from hatchet_contracts.v1.shared import condition_pb2 as pb


def wait_conditions(message: pb.DurableEventListenerConditions, field: str) -> tuple[WaitCondition, ...]:
    """The conditions of a wait: the sleeps, then the events.

    Raises InvalidArgument that names the place below ``field`` for a condition that can never be right.
    """
    sleeps = len(message.sleep_conditions)
    return (
        *(_sleep(one, f"{field}.sleep_conditions[{at}]", at) for at, one in enumerate(message.sleep_conditions)),
        *(
            _event(one, f"{field}.user_event_conditions[{at}]", sleeps + at)
            for at, one in enumerate(message.user_event_conditions)
        ),
    )


def _sleep(message: pb.SleepMatchCondition, field: str, number: int) -> WaitCondition:
    try:
        sleep_seconds(message.sleep_for)
    except InvalidArgument as error:
        raise InvalidArgument(f"{field}.{error.message}") from None
    return WaitCondition(
        kind=WaitKind.SLEEP,
        or_group=_or_group(message.base, field, number),
        data_key=clean_text(message.base.readable_data_key, f"{field}.base.readable_data_key"),
        expression=clean_text(message.base.expression, f"{field}.base.expression"),
        sleep_for=message.sleep_for,
    )


def _event(message: pb.UserEventMatchCondition, field: str, number: int) -> WaitCondition:
    if not message.user_event_key:
        raise InvalidArgument(f"{field}.user_event_key is empty: name the event to wait for")
    return WaitCondition(
        kind=WaitKind.EVENT,
        or_group=_or_group(message.base, field, number),
        data_key=clean_text(message.base.readable_data_key, f"{field}.base.readable_data_key"),
        expression=clean_text(message.base.expression, f"{field}.base.expression"),
        event_key=clean_text(message.user_event_key, f"{field}.user_event_key"),
        # Events are stored without an empty scope.
        event_scope=clean_text(message.event_scope, f"{field}.event_scope") or None,
        since=_since(message.consider_events_since) if message.HasField("consider_events_since") else None,
    )


def _or_group(base: pb.BaseMatchCondition, field: str, number: int) -> str:
    """The condition's group (D-4.9); its own number when the client left it out, which is no UUID."""
    if base.action != pb.CREATE:
        raise InvalidArgument(f"{field}.base.action is {base.action}: a durable wait knows CREATE only")
    return required_uuid(base.or_group_id, f"{field}.base.or_group_id") if base.or_group_id else str(number)


def _since(timestamp: Timestamp) -> float:
    """Seconds since 1970. Instants that no event can have stay on their side: all events, or none."""
    seconds = to_seconds(timestamp)
    if seconds is not None:
        return seconds
    return 0.0 if timestamp.seconds <= 0 else float(timestamp.seconds)
