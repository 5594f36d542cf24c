"""A workflow's definition: plain data, its checksum and its stored form (behaviour-core C-3).

A front door parses its message into :class:`WorkflowDefinition`; :mod:`hatchet.core.validation` collects every mistake,
and :func:`checksum` decides whether it is a new version. :func:`to_json` and :func:`from_json` are how it is stored.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hatchet.core import conditions as conditions_data
from hatchet.core import labels as labels_data
from hatchet.core.conditions import Condition
from hatchet.core.durations import parse_duration
from hatchet.core.graph import Graph
from hatchet.core.labels import DesiredLabels

DEFAULT_EXECUTION_TIMEOUT = "60s"
DEFAULT_SCHEDULE_TIMEOUT = "5m"
DEFAULT_PRIORITY = 1


class IdempotencyMethod(Enum):
    """How long a claimed key stays claimed: until its time is over, or at most until its run ends (C-4.36, C-4.37)."""

    TTL = "TTL"
    STATUS = "STATUS"


@dataclass(slots=True, frozen=True, kw_only=True)
class Idempotency:
    """Runs of the workflow whose expression renders one key exclude each other (C-4.32)."""

    expression: str
    ttl_ms: int
    method: IdempotencyMethod = IdempotencyMethod.TTL


@dataclass(slots=True, frozen=True, kw_only=True)
class TaskDefinition:
    """One task of a workflow. Duration texts are kept as registered, because error texts quote them (C-6.30)."""

    readable_id: str
    action: str
    """Lower-cased action id (C-3.10)."""
    execution_timeout: str = DEFAULT_EXECUTION_TIMEOUT
    schedule_timeout: str = DEFAULT_SCHEDULE_TIMEOUT
    parents: tuple[str, ...] = ()
    retries: int = 0
    backoff_factor: float | None = None
    backoff_max_seconds: int | None = None
    is_durable: bool = False
    slot_requests: dict[str, int] = field(default_factory=dict)
    """Slot type to units; empty means the default of C-3.20."""
    conditions: tuple[Condition, ...] = ()
    worker_labels: DesiredLabels = ()

    @property
    def slots(self) -> dict[str, int]:
        """The units that the task takes while it runs (C-3.20)."""
        return self.slot_requests or ({"durable": 1} if self.is_durable else {"default": 1})


@dataclass(slots=True, frozen=True, kw_only=True)
class WorkflowDefinition:
    """What PutWorkflow registers."""

    name: str
    description: str = ""
    version: str = ""
    tasks: tuple[TaskDefinition, ...] = ()
    on_failure: TaskDefinition | None = None
    """Runs when a task of the run has failed for good (C-6.45)."""
    default_priority: int | None = None
    input_json_schema: str | None = None
    idempotency: Idempotency | None = None

    @property
    def all_tasks(self) -> tuple[TaskDefinition, ...]:
        """The tasks with the on-failure task as the last one."""
        return self.tasks if self.on_failure is None else (*self.tasks, self.on_failure)


@dataclass(slots=True, frozen=True, kw_only=True)
class StoredTask:
    """A task definition of a stored version, with everything the hot path needs computed once."""

    id: str
    index: int
    """The number of the task in its version."""
    definition: TaskDefinition
    execution_timeout_seconds: float
    schedule_timeout_seconds: float
    slots: dict[str, int]


@dataclass(slots=True, frozen=True, kw_only=True)
class StoredVersion:
    """A registered version of a workflow. Immutable, therefore cached by id for ever."""

    id: str
    tenant_id: str
    workflow_id: str
    name: str
    order: int
    default_priority: int
    """1, 2 or 3; 1 when the definition names none (C-4.29)."""
    tasks: tuple[StoredTask, ...]
    """The on-failure task comes last."""
    graph: Graph = field(compare=False)
    idempotency: Idempotency | None = None

    @property
    def is_plain(self) -> bool:
        """One task that waits for nothing: its run is no more than the task itself (C-0.6)."""
        return len(self.tasks) == 1 and not self.tasks[0].definition.conditions

    def step(self, step_id: str) -> StoredTask:
        """The task with that id; the only one when there is but one."""
        if len(self.tasks) == 1:
            return self.tasks[0]
        return next(task for task in self.tasks if task.id == step_id)


def topological(tasks: Sequence[TaskDefinition]) -> list[TaskDefinition]:
    """The tasks, parents first, ties by readable id; tasks on or below a cycle are left out."""
    waiting = {task.readable_id: len(set(task.parents)) for task in tasks}
    by_id = {task.readable_id: task for task in tasks}
    children: dict[str, list[str]] = {}
    for task in by_id.values():
        for parent in set(task.parents):
            children.setdefault(parent, []).append(task.readable_id)
    ready = [name for name, parents in waiting.items() if parents == 0]
    heapq.heapify(ready)
    ordered = []
    while ready:
        name = heapq.heappop(ready)
        ordered.append(by_id[name])
        for child in children.get(name, ()):
            waiting[child] -= 1
            if waiting[child] == 0:
                heapq.heappush(ready, child)
    return ordered


def checksum(definition: WorkflowDefinition) -> str:
    """SHA-256 (hex) of the canonical definition: two registrations with the same one are the same version (C-3.29).

    The order in which tasks and parents are listed and default slot requests make no difference.
    """
    canonical = _workflow_data(definition)
    canonical.pop("name")
    canonical["tasks"] = [_canonical_task(task) for task in topological(definition.tasks)]
    if definition.on_failure is not None:
        canonical["on_failure"] = _canonical_task(definition.on_failure)
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical_task(task: TaskDefinition) -> dict[str, Any]:
    data = _task_data(task)
    if task.parents:
        data["parents"] = sorted(set(task.parents))
    if task.slots == ({"durable": 1} if task.is_durable else {"default": 1}):
        data.pop("slot_requests", None)
    return data


def to_json(definition: WorkflowDefinition, task_ids: Mapping[str, str]) -> str:
    """The definition as it is stored, each task with its id of this version (``task_ids``: readable id to task id)."""
    data = _workflow_data(definition)
    data["tasks"] = [{"id": task_ids[task.readable_id], **_task_data(task)} for task in definition.tasks]
    if definition.on_failure is not None:
        data["on_failure"] = {
            "id": task_ids[definition.on_failure.readable_id],
            **_task_data(definition.on_failure),
        }
    return json.dumps(data, separators=(",", ":"))


def from_json(text: str) -> tuple[WorkflowDefinition, dict[str, str]]:
    """What :func:`to_json` wrote: the definition, and the task id of each readable id."""
    data: dict[str, Any] = json.loads(text)
    on_failure = data.pop("on_failure", None)
    every = [*data["tasks"], *([on_failure] if on_failure is not None else [])]
    ids = {task["readable_id"]: task.pop("id") for task in every}
    tasks = tuple(map(_task_from, data.pop("tasks")))
    last = _task_from(on_failure) if on_failure is not None else None
    idempotency = data.pop("idempotency", None)
    if idempotency is not None:
        idempotency = Idempotency(**{**idempotency, "method": IdempotencyMethod(idempotency["method"])})
    return WorkflowDefinition(**data, tasks=tasks, on_failure=last, idempotency=idempotency), ids


def _task_from(data: dict[str, Any]) -> TaskDefinition:
    return TaskDefinition(
        **{
            **data,
            "parents": tuple(data.get("parents", ())),
            "conditions": conditions_data.from_data(data.get("conditions", ())),
            "worker_labels": labels_data.from_data(data.get("worker_labels", ())),
        }
    )


def _workflow_data(definition: WorkflowDefinition) -> dict[str, Any]:
    """Everything but the tasks. Unset options are left out, so that options of later versions change no checksum."""
    return {
        "name": definition.name,
        "description": definition.description,
        "version": definition.version,
        **_set_options(
            default_priority=definition.default_priority,
            input_json_schema=definition.input_json_schema,
            idempotency=_idempotency_data(definition.idempotency),
        ),
    }


def _idempotency_data(idempotency: Idempotency | None) -> dict[str, Any] | None:
    if idempotency is None:
        return None
    return {
        "expression": idempotency.expression,
        "ttl_ms": idempotency.ttl_ms,
        "method": idempotency.method.value,
    }


def _task_data(task: TaskDefinition) -> dict[str, Any]:
    return {
        "readable_id": task.readable_id,
        "action": task.action,
        "execution_timeout": task.execution_timeout,
        "schedule_timeout": task.schedule_timeout,
        "retries": task.retries,
        **_set_options(
            parents=list(task.parents) or None,
            backoff_factor=task.backoff_factor,
            backoff_max_seconds=task.backoff_max_seconds,
            is_durable=task.is_durable or None,
            slot_requests=task.slot_requests or None,
            conditions=[conditions_data.to_data(condition) for condition in task.conditions] or None,
            worker_labels=labels_data.to_data(task.worker_labels) or None,
        ),
    }


def _set_options(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def stored_version(
    definition: WorkflowDefinition,
    task_ids: Mapping[str, str],
    *,
    version_id: str,
    tenant_id: str,
    workflow_id: str,
    order: int,
) -> StoredVersion:
    """The version that these rows describe, with the seconds of every duration computed once."""
    return StoredVersion(
        id=version_id,
        tenant_id=tenant_id,
        workflow_id=workflow_id,
        name=definition.name,
        order=order,
        default_priority=definition.default_priority or DEFAULT_PRIORITY,
        tasks=tuple(
            _stored_task(index, task, task_ids[task.readable_id]) for index, task in enumerate(definition.all_tasks)
        ),
        graph=Graph(definition.all_tasks, has_on_failure=definition.on_failure is not None),
        idempotency=definition.idempotency,
    )


def _stored_task(index: int, task: TaskDefinition, task_id: str) -> StoredTask:
    return StoredTask(
        id=task_id,
        index=index,
        definition=task,
        execution_timeout_seconds=parse_duration(task.execution_timeout),
        schedule_timeout_seconds=parse_duration(task.schedule_timeout),
        slots=task.slots,
    )
