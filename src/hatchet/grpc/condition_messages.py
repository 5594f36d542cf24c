"""Conditions of tasks in messages (behaviour-core C-8.1 to C-8.3)."""

from __future__ import annotations

from hatchet.core.conditions import Action, Condition, Kind
from hatchet.core.errors import InvalidArgument
from hatchet.grpc.fields import quoted
from hatchet_contracts.v1.shared import condition_pb2 as pb

_ACTIONS: dict[int, Action] = {pb.QUEUE: Action.QUEUE, pb.CANCEL: Action.CANCEL, pb.SKIP: Action.SKIP}


def conditions_of(message: pb.TaskConditions) -> tuple[Condition, ...]:
    """The conditions of a task. Raises :class:`InvalidArgument` for an action that a task condition cannot have."""
    groups = _Groups()
    return (
        *(
            _condition(one.base, Kind.PARENT, groups, parent=one.parent_readable_id)
            for one in message.parent_override_conditions
        ),
        *(_condition(one.base, Kind.SLEEP, groups, sleep_for=one.sleep_for) for one in message.sleep_conditions),
        *(
            _condition(
                one.base,
                Kind.EVENT,
                groups,
                event_key=one.user_event_key,
                event_scope=one.event_scope if one.HasField("event_scope") else None,
            )
            for one in message.user_event_conditions
        ),
    )


class _Groups:
    """Clients make new random group ids at each start; the order of appearance is the same each time (C-3.29)."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._next = 0

    def number(self, group_id: str) -> int:
        """The group's number; an empty id is a group of its own (C-3.19)."""
        known = self._numbers.get(group_id) if group_id else None
        if known is None:
            known = self._next
            self._next += 1
            if group_id:
                self._numbers[group_id] = known
        return known


def _condition(
    base: pb.BaseMatchCondition,
    kind: Kind,
    groups: _Groups,
    *,
    parent: str | None = None,
    sleep_for: str | None = None,
    event_key: str | None = None,
    event_scope: str | None = None,
) -> Condition:
    action = _ACTIONS.get(base.action)
    if action is None:
        raise InvalidArgument(
            f"conditions: {quoted(base.readable_data_key)} has action {base.action}: use QUEUE, CANCEL or SKIP"
        )
    # Some clients name a parent condition anew at each start; nothing is ever handed over under its name (C-8.28).
    data_key = base.readable_data_key if parent is None else parent
    return Condition(
        kind=kind,
        action=action,
        or_group=groups.number(base.or_group_id),
        data_key=data_key,
        expression=base.expression,
        parent=parent,
        sleep_for=sleep_for,
        event_key=event_key,
        event_scope=event_scope,
    )
