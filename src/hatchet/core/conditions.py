"""What a task can wait for besides its parents: plain data (behaviour-core C-8.1 to C-8.6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Action(Enum):
    """What happens to the task once the conditions of this action hold (C-8.2)."""

    SKIP = "SKIP"
    CANCEL = "CANCEL"
    QUEUE = "QUEUE"


class Kind(Enum):
    """What a condition looks at."""

    PARENT = "PARENT"
    """An expression over the output of a parent (C-8.15)."""
    SLEEP = "SLEEP"
    """A time after the last parent ended (C-8.8)."""
    EVENT = "EVENT"
    """A pushed event (C-8.23)."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Condition:
    """One condition of a task. Of ``parent``, ``sleep_for`` and ``event_key`` the one that ``kind`` names is set."""

    kind: Kind
    action: Action
    or_group: int
    """Conditions of one action with the same number are alternatives; all groups of an action must hold (C-8.4)."""
    data_key: str
    """Under which key of the payload's ``triggers`` the task finds what satisfied it (C-5.13)."""
    expression: str = ""
    parent: str | None = None
    """Readable id."""
    sleep_for: str | None = None
    """Duration text as registered."""
    event_key: str | None = None
    event_scope: str | None = None


def to_data(condition: Condition) -> dict[str, Any]:
    """The condition as it is stored and hashed; unset options are left out."""
    data: dict[str, Any] = {
        "kind": condition.kind.value,
        "action": condition.action.value,
        "or_group": condition.or_group,
        "data_key": condition.data_key,
    }
    for name in ("expression", "parent", "sleep_for", "event_key", "event_scope"):
        value = getattr(condition, name)
        if value:
            data[name] = value
    return data


def from_data(data: Iterable[dict[str, Any]]) -> tuple[Condition, ...]:
    """What :func:`to_data` made."""
    return tuple(Condition(**{**one, "kind": Kind(one["kind"]), "action": Action(one["action"])}) for one in data)
