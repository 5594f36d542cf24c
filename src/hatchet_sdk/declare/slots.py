"""The pools of slots that a worker offers for what it runs (behaviour-core C-2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hatchet_sdk.declare.options import SlotType

if TYPE_CHECKING:
    from hatchet_sdk.declare.base import BaseWorkflow

DEFAULT_SLOTS = 100
DEFAULT_DURABLE_SLOTS = 1000


def slot_config(slots: int | None, durable_slots: int | None, workflows: Sequence[BaseWorkflow[Any]]) -> dict[str, int]:
    """Slots by pool: those that were asked for, and those that the tasks of the workflows need."""
    durable = [task.is_durable for workflow in workflows for task in workflow.tasks]
    config: dict[str, int] = {}
    if slots is not None or not durable or not all(durable):
        config[SlotType.DEFAULT.value] = DEFAULT_SLOTS if slots is None else slots
    if durable_slots is not None or any(durable):
        config[SlotType.DURABLE.value] = DEFAULT_DURABLE_SLOTS if durable_slots is None else durable_slots
    return config
