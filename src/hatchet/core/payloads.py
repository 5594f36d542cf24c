"""The JSON text that a worker receives with an attempt (behaviour-core C-5.5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hatchet.core.statuses import Outcome, RunStatus


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
    filter_payload: str | None = None
    """Of the event filter that started the run, JSON object text (C-12.27)."""

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
        return len(self.input) + len(self.additional_metadata) + len(self.filter_payload or "") + 200


@dataclass(slots=True, frozen=True)
class TaskEnd:
    """How a task ended, for those that look at it."""

    outcome: Outcome
    output: str | None
    """JSON text."""
    error: str | None

    @property
    def size(self) -> int:
        """Characters held."""
        return len(self.output or "") + len(self.error or "") + 100


def action_payload(input_text: str, filter_payload: str | None = None) -> str:
    """The payload of a task that is a run of its own: its input and the empty maps that clients require.

    ``filter_payload``: of the event filter that started the run (C-5.12).
    """
    triggers = "" if filter_payload is None else f'"filter_payload":{filter_payload}'
    return (
        f'{{"input":{input_text or "{}"},"parents":{{}},"triggers":{{{triggers}}},"triggered_by":"manual",'
        '"user_data":null,"overrides":null}'
    )


def batch_payload(items: Iterable[tuple[str, str, str]]) -> str:
    """The payload of a batch: (task id, run id, payload text) of each attempt, in the order of submission (C-16.20)."""
    texts = [f'"{task_id}":{{"workflow_run_id":"{run_id}","payload":{text}}}' for task_id, run_id, text in items]
    return f"{{{','.join(texts)}}}"


def run_action_payload(
    input_text: str,
    parents: Mapping[str, TaskEnd],
    triggers: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    filter_payload: str | None = None,
) -> str:
    """The payload of a task of a run.

    ``parents``: readable id to how it ended; those that completed or were skipped are told (C-5.7 to C-5.9).
    ``triggers``: data key to JSON text (C-5.13). ``errors``: readable id to error text, for the on-failure task
    (C-5.15). ``filter_payload``: of the event filter that started the run, for every task of it (C-12.27).
    """
    if filter_payload is not None:
        triggers = {**triggers, "filter_payload": filter_payload}
    outputs = ",".join(
        f"{json.dumps(name)}:{end.output or '{}'}"
        for name, end in parents.items()
        if end.outcome.status is RunStatus.COMPLETED
    )
    data = ",".join(f"{json.dumps(key)}:{text}" for key, text in triggers.items())
    failures = "" if errors is None else f',"step_run_errors":{json.dumps(errors)}'
    return (
        f'{{"input":{input_text or "{}"},"parents":{{{outputs}}},"triggers":{{{data}}},"triggered_by":"manual",'
        f'"user_data":null,"overrides":null{failures}}}'
    )
