"""Desired worker labels in messages (behaviour-core C-4.31, C-11.17 to C-11.21)."""

from __future__ import annotations

from collections.abc import Mapping

from hatchet.core.errors import InvalidArgument
from hatchet.core.labels import DEFAULT_WEIGHT, Comparator, DesiredLabel, DesiredLabels
from hatchet.grpc.fields import clean_text, quoted
from hatchet_contracts.v1.shared.trigger_pb2 import DesiredWorkerLabels, WorkerLabelComparator

_COMPARATORS = {WorkerLabelComparator.Value(comparator.value): comparator for comparator in Comparator}


def desired_labels(labels: Mapping[str, DesiredWorkerLabels], field: str) -> DesiredLabels:
    """The wishes in a map, sorted by key.

    Raises :class:`InvalidArgument` for one without a value or with an unknown comparator.
    """
    return tuple(_label(key, labels[key], field) for key in sorted(labels))


def _label(key: str, label: DesiredWorkerLabels, field: str) -> DesiredLabel:
    clean_text(key, field)
    if label.HasField("str_value"):
        value: str | int = clean_text(label.str_value, f"{field}.{key}")
    elif label.HasField("int_value"):
        value = label.int_value
    else:
        raise InvalidArgument(f"{field}: {quoted(key)} needs a str_value or an int_value")
    return DesiredLabel(
        key=key,
        value=value,
        comparator=_comparator(label.comparator, f"{field}.{key}"),
        required=label.required,
        weight=label.weight if label.HasField("weight") else DEFAULT_WEIGHT,
    )


def _comparator(number: int, field: str) -> Comparator:
    # The enum is open in proto3: a newer or broken client may send any number.
    found = _COMPARATORS.get(number)
    if found is None:
        names = ", ".join(f"{number} ({one.value})" for number, one in sorted(_COMPARATORS.items()))
        raise InvalidArgument(f"{field}: comparator {number} is unknown: use one of {names}")
    return found
