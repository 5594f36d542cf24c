"""A workflow's definition: plain data, its validation and its checksum (behaviour-core C-3).

A front door parses its message into :class:`WorkflowDefinition`; :func:`validate` collects every mistake, and
:func:`checksum` decides whether it is a new version. :func:`to_json` and :func:`from_json` are how a version is stored.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hatchet.core.durations import parse_duration
from hatchet.core.errors import InvalidArgument
from hatchet.core.json_texts import check_json

DEFAULT_EXECUTION_TIMEOUT = "60s"
DEFAULT_SCHEDULE_TIMEOUT = "5m"


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
    default_priority: int | None = None
    input_json_schema: str | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class StoredTask:
    """A task definition of a stored version, with everything the hot path needs computed once."""

    id: str
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


MAX_BACKOFF_FACTOR = 1000.0
MAX_BACKOFF_SECONDS = 86_400
DEFAULT_PRIORITY = 1
MAX_PRIORITY = 3

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_ACTION = re.compile(r"[^:\x00-\x1f\x7f]+(?::[^:\x00-\x1f\x7f]+){1,2}")
_QUOTED = 80


def is_name(text: str) -> bool:
    """Whether ``text`` may name a workflow or a task (C-3.9)."""
    return _NAME.fullmatch(text) is not None


def normal_action(action: str) -> str:
    """The stored form of an action id, lower case (C-3.10). Raises :class:`InvalidArgument` for a bad one."""
    if _ACTION.fullmatch(action) is None:
        raise InvalidArgument(_bad_action(action))
    return action.lower()


def validate(definition: WorkflowDefinition) -> None:
    """Check the definition by C-3.9 to C-3.28.

    Raises one :class:`InvalidArgument` in which every mistake is a numbered line (C-3.26).
    """
    mistakes = list(_mistakes(definition))
    if mistakes:
        lines = (f"{number}. {mistake}" for number, mistake in enumerate(mistakes, 1))
        raise InvalidArgument("\n".join(("Validation failed with the following errors:", *lines)))


def _mistakes(definition: WorkflowDefinition) -> Iterator[str]:
    if not is_name(definition.name):
        yield _bad_name("name", definition.name)
    for label in ("description", "version"):
        if "\x00" in getattr(definition, label):
            yield f"{label} must not contain the null character"
    if not definition.tasks:
        yield "tasks: a workflow needs at least one task"
    priority = definition.default_priority
    if priority is not None and not DEFAULT_PRIORITY <= priority <= MAX_PRIORITY:
        yield f"default_priority must be between {DEFAULT_PRIORITY} and {MAX_PRIORITY}, not {priority}"
    if definition.input_json_schema is not None:
        yield from _caught(check_json, definition.input_json_schema, "input_json_schema")
    for index, task in enumerate(definition.tasks):
        for mistake in _task_mistakes(task):
            yield f"tasks[{index}] ({_cut(task.readable_id)}): {mistake}"
    yield from _graph_mistakes(definition.tasks)


def _task_mistakes(task: TaskDefinition) -> Iterator[str]:
    if not is_name(task.readable_id):
        yield _bad_name("readable_id", task.readable_id)
    if _ACTION.fullmatch(task.action) is None:
        yield _bad_action(task.action)
    for label in ("execution_timeout", "schedule_timeout"):
        yield from (f"{label}: {mistake}" for mistake in _caught(parse_duration, getattr(task, label)))
    if task.retries < 0:
        yield f"retries must be 0 or more, not {task.retries}"
    factor, limit = task.backoff_factor, task.backoff_max_seconds
    if factor is not None and not 1 <= factor <= MAX_BACKOFF_FACTOR:
        yield f"backoff_factor must be between 1 and {MAX_BACKOFF_FACTOR:.0f}, not {factor:g}"
    if limit is not None and not 1 <= limit <= MAX_BACKOFF_SECONDS:
        yield f"backoff_max_seconds must be between 1 and {MAX_BACKOFF_SECONDS}, not {limit}"
    for slot_type, units in task.slot_requests.items():
        if not slot_type or "\x00" in slot_type:
            yield "slot_requests: a slot type must not be empty or contain the null character"
        if units <= 0:
            yield f"slot_requests: {_cut(slot_type)} must ask for 1 unit or more, not {units}"


def _graph_mistakes(tasks: Sequence[TaskDefinition]) -> Iterator[str]:
    known = {task.readable_id for task in tasks}
    if len(known) < len(tasks):
        names = [task.readable_id for task in tasks]
        repeated = sorted({name for name in known if names.count(name) > 1})
        yield f"tasks: readable ids must be unique, repeated: {_cut(', '.join(repeated))}"
    for task in tasks:
        for parent in task.parents:
            if parent not in known:
                edge = f"parent step '{_cut(parent)}' not found for step '{_cut(task.readable_id)}'"
                yield f"dag parent not found: {edge}"
    ordered = topological(tasks)
    if len(ordered) < len(tasks) and len(known) == len(tasks):
        stuck = sorted(known - {task.readable_id for task in ordered})
        if all(parent in known for task in tasks for parent in task.parents):
            yield f"tasks: the workflow has a cycle through or above: {_cut(', '.join(stuck))}"


def _caught(check: Callable[..., object], *args: object) -> Iterator[str]:
    try:
        check(*args)
    except InvalidArgument as error:
        yield error.message


def _bad_name(label: str, name: str) -> str:
    return f"{label} {_cut(name)!r} must consist of letters, digits, '.', '-' and '_', at least one"


def _bad_action(action: str) -> str:
    return f"action {_cut(action)!r} must have 2 or 3 non-empty parts separated by colons, such as workflow:task"


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "…"


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
    return json.dumps(data, separators=(",", ":"))


def from_json(text: str) -> tuple[WorkflowDefinition, dict[str, str]]:
    """What :func:`to_json` wrote: the definition, and the task id of each readable id."""
    data: dict[str, Any] = json.loads(text)
    ids = {task["readable_id"]: task.pop("id") for task in data["tasks"]}
    tasks = tuple(TaskDefinition(**{**task, "parents": tuple(task.get("parents", ()))}) for task in data.pop("tasks"))
    return WorkflowDefinition(**data, tasks=tasks), ids


def _workflow_data(definition: WorkflowDefinition) -> dict[str, Any]:
    """Everything but the tasks. Unset options are left out, so that options of later versions change no checksum."""
    return {
        "name": definition.name,
        "description": definition.description,
        "version": definition.version,
        **_set_options(default_priority=definition.default_priority, input_json_schema=definition.input_json_schema),
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
        tasks=tuple(_stored_task(task, task_ids[task.readable_id]) for task in definition.tasks),
    )


def _stored_task(task: TaskDefinition, task_id: str) -> StoredTask:
    return StoredTask(
        id=task_id,
        definition=task,
        execution_timeout_seconds=parse_duration(task.execution_timeout),
        schedule_timeout_seconds=parse_duration(task.schedule_timeout),
        slots=task.slots,
    )
