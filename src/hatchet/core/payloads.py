"""The JSON text that a worker receives with an attempt (behaviour-core C-5.5)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class TaskPayload:
    """What belongs to a task but is not needed to order or place it; loaded when the task is sent."""

    input: str
    additional_metadata: str
    """JSON object text; empty when there is none."""
    parent_run_id: str | None = None
    parent_task_id: str | None = None
    child_index: int | None = None
    child_key: str | None = None

    @property
    def spawn_key(self) -> str | None:
        """What a child run is told apart by among the children of its parent task: its key, else its index (C-4.13)."""
        if self.parent_task_id is None:
            return None
        if self.child_key:
            return f"key:{self.child_key}"
        return None if self.child_index is None else f"index:{self.child_index}"

    @property
    def size(self) -> int:
        """Characters held, the unit of the payload cache."""
        return len(self.input) + len(self.additional_metadata) + 200


def action_payload(input_text: str) -> str:
    """The payload of a standalone task: its input and the empty maps that clients require."""
    return (
        f'{{"input":{input_text or "{}"},"parents":{{}},"triggers":{{}},"triggered_by":"manual",'
        '"user_data":null,"overrides":null}'
    )
