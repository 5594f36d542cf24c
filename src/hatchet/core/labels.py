"""Labels that a task wants of its worker: plain data (behaviour-core C-11.17 to C-11.24)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

DEFAULT_WEIGHT = 100


class Comparator(Enum):
    """How a worker's label is compared with the wanted value; the orderings are for numbers only (C-11.21)."""

    EQUAL = "EQUAL"
    NOT_EQUAL = "NOT_EQUAL"
    GREATER_THAN = "GREATER_THAN"
    GREATER_THAN_OR_EQUAL = "GREATER_THAN_OR_EQUAL"
    LESS_THAN = "LESS_THAN"
    LESS_THAN_OR_EQUAL = "LESS_THAN_OR_EQUAL"


@dataclass(slots=True, frozen=True, kw_only=True)
class DesiredLabel:
    """One wish; ``required`` excludes workers that do not meet it, else it counts ``weight`` for those that do."""

    key: str
    value: str | int
    comparator: Comparator = Comparator.EQUAL
    required: bool = False
    weight: int = DEFAULT_WEIGHT


DesiredLabels = tuple[DesiredLabel, ...]
"""Sorted by key, one a key."""


def to_data(labels: DesiredLabels) -> list[dict[str, Any]]:
    """The labels as they are stored and hashed."""
    return [
        {
            "key": label.key,
            "value": label.value,
            "comparator": label.comparator.value,
            "required": label.required,
            "weight": label.weight,
        }
        for label in labels
    ]


def from_data(data: Iterable[Mapping[str, Any]]) -> DesiredLabels:
    """What :func:`to_data` made."""
    return tuple(DesiredLabel(**{**one, "comparator": Comparator(one["comparator"])}) for one in data)


def merged(declared: DesiredLabels, wanted: DesiredLabels) -> DesiredLabels:
    """The run's wishes replace the task's of the same key and add others (C-11.24)."""
    if not wanted:
        return declared
    by_key = {label.key: label for label in (*declared, *wanted)}
    return tuple(by_key[key] for key in sorted(by_key))
