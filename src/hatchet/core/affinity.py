"""How well a worker's labels meet the wishes of a task (behaviour-core C-11.18 to C-11.21)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from hatchet.core.labels import Comparator, DesiredLabel, DesiredLabels

_ORDERINGS: dict[Comparator, Callable[[int, int], bool]] = {
    Comparator.GREATER_THAN: operator.gt,
    Comparator.GREATER_THAN_OR_EQUAL: operator.ge,
    Comparator.LESS_THAN: operator.lt,
    Comparator.LESS_THAN_OR_EQUAL: operator.le,
}


def score(wanted: DesiredLabels, worker_labels: Mapping[str, str | int]) -> int | None:
    """The sum of the weights of the wishes that the worker meets (C-11.18).

    None when it misses a required one: the task must not go there. A wish that is missed and not required counts 0
    (C-11.19). Weights may be negative, and so may the score: it excludes nobody.
    """
    total = 0
    for label in wanted:
        if _is_met(label, worker_labels.get(label.key)):
            total += label.weight
        elif label.required:
            return None
    return total


def _is_met(label: DesiredLabel, value: str | int | None) -> bool:
    """Whether a worker's value meets the wish; one that is absent or of the other kind never does (C-11.21)."""
    comparator, wanted = label.comparator, label.value
    if isinstance(wanted, int):
        if not isinstance(value, int):
            return False
        ordering = _ORDERINGS.get(comparator)
        if ordering is not None:
            return ordering(value, wanted)
    elif not isinstance(value, str):
        return False
    if comparator is Comparator.EQUAL:
        return value == wanted
    return comparator is Comparator.NOT_EQUAL and value != wanted
