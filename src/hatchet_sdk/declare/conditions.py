"""What a task of a workflow waits for besides its parents, and what skips or cancels it (behaviour-core C-8).

A declaration has three lists of conditions: ``wait_for``, ``skip_if`` and ``cancel_if``. Every entry of a list must
hold; of an entry made with :func:`or_` one member is enough (C-8.4).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from pydantic import BaseModel, Field

from hatchet_sdk.declare.durations import Duration, timedelta_to_expr

if TYPE_CHECKING:
    from hatchet_contracts.v1.shared import condition_pb2
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.declare.task import Task


class Action(Enum):
    """What a condition does to its task: the list that it was declared in."""

    CREATE = 0
    QUEUE = 1
    CANCEL = 2
    SKIP = 3


def generate_or_group_id() -> str:
    """A new id for a group of conditions, of which one must hold."""
    return str(uuid4())


class BaseCondition(BaseModel):
    """What all kinds of conditions have. A group of its own unless ``or_`` puts it into one (C-8.2)."""

    readable_data_key: str
    action: Action | None = None
    or_group_id: str = Field(default_factory=generate_or_group_id)
    expression: str | None = None

    def to_proto(self) -> condition_pb2.BaseMatchCondition:
        from hatchet_contracts.v1.shared import condition_pb2

        return condition_pb2.BaseMatchCondition(
            readable_data_key=self.readable_data_key,
            action=None if self.action is None else self.action.name,
            or_group_id=self.or_group_id,
            expression=self.expression,
        )


class Condition(ABC):
    """One condition. It is never changed by a declaration, so one object may serve several tasks."""

    _wire_field: ClassVar[str]
    """The list of the messages that conditions of this kind go to."""

    def __init__(self, base: BaseCondition) -> None:
        self.base = base

    @abstractmethod
    def to_proto(
        self, config: ClientConfig
    ) -> (
        condition_pb2.UserEventMatchCondition
        | condition_pb2.ParentOverrideMatchCondition
        | condition_pb2.SleepMatchCondition
    ): ...

    def _data_source(self) -> tuple[object, ...]:
        """Equal for conditions whose data is the same whichever of them holds."""
        return (type(self),)


class SleepCondition(Condition):
    """Holds when ``duration`` has passed since the parents ended (C-8.8).

    ``duration`` is a ``timedelta`` or a text such as ``"90s"``. The task reads ``{"sleep_duration": …}`` under
    ``readable_data_key`` (default ``sleep:<duration>``). Raises ``ValueError`` for a negative duration.
    """

    _wire_field = "sleep_conditions"

    def __init__(self, duration: Duration, readable_data_key: str | None = None) -> None:
        self.duration = duration
        super().__init__(BaseCondition(readable_data_key=readable_data_key or f"sleep:{timedelta_to_expr(duration)}"))

    def to_proto(self, config: ClientConfig) -> condition_pb2.SleepMatchCondition:
        from hatchet_contracts.v1.shared import condition_pb2

        return condition_pb2.SleepMatchCondition(base=self.base.to_proto(), sleep_for=timedelta_to_expr(self.duration))

    def _data_source(self) -> tuple[object, ...]:
        return (type(self), timedelta_to_expr(self.duration))


class UserEventCondition(Condition):
    """Holds when an event is pushed after the parents ended, with this key and, if given, this ``scope`` (C-8.23).

    ``expression`` is CEL over ``input``, the event's payload; without one every event with the key counts. The task
    reads the payload under ``readable_data_key`` (default: the key as written here, without namespace).
    ``consider_events_since`` looks back, which only the waits of durable tasks do (C-8.26); without a time zone it is
    UTC. Raises ``ValueError`` for an empty key.
    """

    _wire_field = "user_event_conditions"

    def __init__(
        self,
        event_key: str,
        expression: str | None = None,
        readable_data_key: str | None = None,
        scope: str | None = None,
        consider_events_since: datetime | None = None,
    ) -> None:
        if not event_key:
            raise ValueError("a UserEventCondition needs an event_key")
        self.event_key = event_key
        self.expression = expression
        self.scope = scope
        self.consider_events_since = consider_events_since
        super().__init__(BaseCondition(readable_data_key=readable_data_key or event_key, expression=expression))

    def to_proto(self, config: ClientConfig) -> condition_pb2.UserEventMatchCondition:
        from hatchet_contracts.v1.shared import condition_pb2

        message = condition_pb2.UserEventMatchCondition(
            base=self.base.to_proto(), user_event_key=config.apply_namespace(self.event_key), event_scope=self.scope
        )
        if self.consider_events_since is not None:
            message.consider_events_since.FromDatetime(self.consider_events_since)
        return message

    def _data_source(self) -> tuple[object, ...]:
        return (type(self), self.event_key, self.expression, self.scope)


class ParentCondition(Condition):
    """Holds when ``parent`` completed and the CEL ``expression`` over its ``output`` is true (C-8.15).

    ``parent`` is one of the task's ``parents``. Raises ``TypeError`` for anything but a task of a workflow.
    """

    _wire_field = "parent_override_conditions"

    def __init__(
        self, parent: Task[Any, Any], expression: str | None = None, readable_data_key: str | None = None
    ) -> None:
        name = getattr(parent, "readable_id", None)
        if name is None:
            raise TypeError(
                "the parent of a ParentCondition must be a task, as @workflow.task() returns it, "
                f"got {type(parent).__name__}"
            )
        self.parent = parent
        # Nothing that changes from start to start may go into the key: it is part of the workflow's version (C-3.30).
        super().__init__(BaseCondition(readable_data_key=readable_data_key or name, expression=expression))

    def to_proto(self, config: ClientConfig) -> condition_pb2.ParentOverrideMatchCondition:
        from hatchet_contracts.v1.shared import condition_pb2

        return condition_pb2.ParentOverrideMatchCondition(
            base=self.base.to_proto(), parent_readable_id=self.parent.readable_id
        )

    def _data_source(self) -> tuple[object, ...]:
        return (type(self), id(self.parent))  # its output, which the task finds elsewhere (C-8.28)


class OrGroup:
    """Conditions of which one must hold. Made by :func:`or_`."""

    def __init__(self, conditions: list[Condition]) -> None:
        if not conditions:
            raise ValueError("or_() needs at least one condition")
        for condition in conditions:
            if not isinstance(condition, Condition):
                raise TypeError(f"or_() takes conditions, got {type(condition).__name__}")
        self.or_group_id = generate_or_group_id()
        self.conditions = conditions


def or_(*conditions: Condition) -> OrGroup:
    """A group that holds as soon as one of ``conditions`` does.

    Raises ``ValueError`` without conditions, ``TypeError`` for anything else, another group included.
    """
    return OrGroup(list(conditions))


def flatten_conditions(conditions: list[Condition | OrGroup]) -> list[Condition]:
    """The conditions with the members of groups in place of the groups; members carry the id of their group.

    Raises ``TypeError`` for an entry that is neither a condition nor a group.
    """
    flat: list[Condition] = []
    for entry in conditions:
        if isinstance(entry, OrGroup):
            flat.extend(_placed(member, or_group_id=entry.or_group_id) for member in entry.conditions)
        elif isinstance(entry, Condition):
            flat.append(entry)
        else:
            raise TypeError(f"expected a condition or or_(…), got {type(entry).__name__}")
    return flat


def declared(conditions: Sequence[Condition | OrGroup] | None, action: Action, list_name: str) -> list[Condition]:
    """One of the three lists of a declaration, flat and with its action. Raises ``TypeError`` that names the list."""
    if conditions is None:
        return []
    if isinstance(conditions, Condition | OrGroup | str) or not isinstance(conditions, Sequence):
        raise TypeError(f"{list_name} must be a list of conditions, got {type(conditions).__name__}")
    try:
        return [_placed(condition, action=action) for condition in flatten_conditions(list(conditions))]
    except TypeError as error:
        raise TypeError(f"{list_name}: {error}") from None


def check_data_keys(conditions: list[Condition], task_name: str) -> None:
    """Raise ``ValueError`` when the data of two different conditions would arrive under one key (C-8.3)."""
    sources: dict[str, tuple[object, ...]] = {}
    for condition in conditions:
        key = condition.base.readable_data_key
        source = condition._data_source()
        if sources.setdefault(key, source) != source:
            raise ValueError(
                f"two different conditions of task '{task_name}' have the readable_data_key '{key}'; "
                "give one of them a readable_data_key of its own"
            )


def task_conditions(conditions: list[Condition], config: ClientConfig) -> condition_pb2.TaskConditions:
    """The conditions of a task as its registration has them (C-8.1)."""
    from hatchet_contracts.v1.shared import condition_pb2

    message = condition_pb2.TaskConditions()
    _fill(message, conditions, config)
    return message


def build_conditions_proto(
    conditions: list[Condition], config: ClientConfig
) -> condition_pb2.DurableEventListenerConditions:
    """Sleeps and events as a durable wait has them. Raises ``TypeError`` for a condition on a parent."""
    from hatchet_contracts.v1.shared import condition_pb2

    if any(isinstance(condition, ParentCondition) for condition in conditions):
        raise TypeError("a durable task waits for sleeps and events; a ParentCondition is for tasks with parents")
    message = condition_pb2.DurableEventListenerConditions()
    _fill(message, conditions, config)
    return message


def _fill(message: Any, conditions: list[Condition], config: ClientConfig) -> None:
    for condition in conditions:
        getattr(message, condition._wire_field).append(condition.to_proto(config))


def _placed(condition: Condition, **place: Any) -> Condition:
    placed = copy.copy(condition)
    placed.base = condition.base.model_copy(update=place)
    return placed
