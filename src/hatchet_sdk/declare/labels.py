"""Labels of workers, and what a task or run asks of them (behaviour-core C-11.20, C-4.31)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from hatchet_contracts import dispatcher_pb2
    from hatchet_contracts.v1.shared import trigger_pb2


class WorkerLabelComparator(int, Enum):
    """How a worker's label is compared; the four orderings are for whole numbers only."""

    EQUAL = 0
    NOT_EQUAL = 1
    GREATER_THAN = 2
    GREATER_THAN_OR_EQUAL = 3
    LESS_THAN = 4
    LESS_THAN_OR_EQUAL = 5


class WorkerLabel(BaseModel):
    """A label that a worker has."""

    key: str | None = None
    value: str | int

    def to_proto(self) -> dispatcher_pb2.WorkerLabels:
        from hatchet_contracts import dispatcher_pb2

        if isinstance(self.value, int):
            return dispatcher_pb2.WorkerLabels(int_value=self.value)
        return dispatcher_pb2.WorkerLabels(str_value=self.value)


class DesiredWorkerLabel(WorkerLabel):
    """A label that a task or a run wants of its worker. Unset: EQUAL, not required, weight 100."""

    value: str | int
    required: bool = False
    weight: int | None = None
    comparator: int | WorkerLabelComparator | None = None

    def to_proto(self) -> trigger_pb2.DesiredWorkerLabels:  # type: ignore[override]  # the surface has it so
        from hatchet_contracts.v1.shared import trigger_pb2

        comparator = None if self.comparator is None else WorkerLabelComparator(self.comparator).name
        message = trigger_pb2.DesiredWorkerLabels(required=self.required, comparator=comparator)
        if isinstance(self.value, int):
            message.int_value = self.value
        else:
            message.str_value = self.value
        if self.weight is not None:
            message.weight = self.weight
        return message


DesiredLabels = Mapping[str, DesiredWorkerLabel] | Sequence[DesiredWorkerLabel]


def desired_labels(labels: DesiredLabels | None) -> dict[str, trigger_pb2.DesiredWorkerLabels]:
    """Labels by key. Raises ``ValueError`` for a listed label without a key."""
    if not labels:
        return {}
    if isinstance(labels, Mapping):
        return {key: label.to_proto() for key, label in labels.items()}
    for label in labels:
        if not label.key:
            raise ValueError(f"a DesiredWorkerLabel in a list needs a key (value: {label.value!r})")
    return {label.key: label.to_proto() for label in labels if label.key}
