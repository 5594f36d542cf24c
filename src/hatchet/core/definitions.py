"""A workflow's definition: plain data, its checksum and its stored form (behaviour-core C-3).

A front door parses its message into :class:`WorkflowDefinition`; :mod:`hatchet.core.validation` collects every mistake,
and :func:`checksum` decides whether it is a new version. :func:`to_json` and :func:`from_json` are how it is stored.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hatchet.core import conditions as conditions_data
from hatchet.core import labels as labels_data
from hatchet.core.conditions import Condition
from hatchet.core.durations import parse_duration
from hatchet.core.graph import Graph
from hatchet.core.labels import DesiredLabels
from hatchet.core.rules import (
    BatchRule,
    ConcurrencyRule,
    DefaultFilter,
    RateLimitRule,
    Sticky,
    batch_data,
    concurrency_data,
    concurrency_from,
    filter_data,
    rate_limit_data,
    rate_limits_from,
)

DEFAULT_EXECUTION_TIMEOUT = "60s"
DEFAULT_SCHEDULE_TIMEOUT = "5m"
DEFAULT_PRIORITY = 1
MAX_PRIORITY = 3


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
    concurrency: tuple[ConcurrencyRule, ...] = ()
    rate_limits: tuple[RateLimitRule, ...] = ()
    batch: BatchRule | None = None

    @property
    def slots(self) -> dict[str, int]:
        """The units that the task takes while it runs (C-3.20); a batch takes them once for all its items (C-16.12)."""
        if self.batch is not None:
            return {"default": 1}
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
    concurrency: tuple[ConcurrencyRule, ...] = ()
    sticky: Sticky | None = None
    event_triggers: tuple[str, ...] = ()
    """Keys of events that start a run, each once; ``*`` stands for any characters (C-12.11)."""
    cron_triggers: tuple[str, ...] = ()
    """Each once (C-14.16)."""
    cron_input: str | None = None
    """JSON text (C-3.16)."""
    default_filters: tuple[DefaultFilter, ...] = ()

    @property
    def all_tasks(self) -> tuple[TaskDefinition, ...]:
        """The tasks with the on-failure task as the last one."""
        return self.tasks if self.on_failure is None else (*self.tasks, self.on_failure)


@dataclass(slots=True, frozen=True, kw_only=True)
class StoredRule:
    """A concurrency rule with the name of its groups: those of one name and one key are one group (C-9.4)."""

    id: str
    definition: ConcurrencyRule


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
    rules: tuple[StoredRule, ...] = ()
    """The concurrency rules that each task run asks, in their order (C-9.15)."""

    @property
    def has_limits(self) -> bool:
        """Whether anything must be computed for each task run: a key of a rule, units, a batch's key."""
        definition = self.definition
        return bool(self.rules or definition.rate_limits) or definition.batch is not None


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
    rules: tuple[StoredRule, ...] = ()
    """The concurrency rules that a run of several tasks asks as a whole (C-9.12)."""
    sticky: Sticky | None = None
    event_triggers: tuple[str, ...] = ()
    has_limits: bool = False
    """Whether anything must be computed for each run or task run."""
    shares_rules: bool = False
    """Whether a rule is one that other workflows of the tenant share (C-3.38)."""

    @property
    def is_plain(self) -> bool:
        """One task that waits for nothing: its run is no more than the task itself (C-0.6)."""
        return _is_plain([task.definition for task in self.tasks])

    def step(self, step_id: str) -> StoredTask:
        """The task with that id; the only one when there is but one."""
        if len(self.tasks) == 1:
            return self.tasks[0]
        return next(task for task in self.tasks if task.id == step_id)


def _is_plain(tasks: Sequence[TaskDefinition]) -> bool:
    return len(tasks) == 1 and not tasks[0].conditions


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

    The order in which tasks, parents, triggers and filters are listed and default slot requests make no difference.
    That of concurrency rules and rate limits does: rules are asked in it (C-9.15).
    """
    canonical = _workflow_data(definition)
    canonical.pop("name")
    for triggers in {"event_triggers", "cron_triggers"} & canonical.keys():
        canonical[triggers] = sorted(set(canonical[triggers]))
    if definition.default_filters:
        canonical["default_filters"] = sorted({_canonical_filter(one) for one in definition.default_filters})
    canonical["tasks"] = [_canonical_task(task) for task in topological(definition.tasks)]
    if definition.on_failure is not None:
        canonical["on_failure"] = _canonical_task(definition.on_failure)
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical_filter(one: DefaultFilter) -> str:
    return json.dumps([one.scope, one.expression, json.loads(one.payload)], sort_keys=True)


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
    sticky = data.pop("sticky", None)
    definition = WorkflowDefinition(
        **{
            **data,
            "tasks": tasks,
            "on_failure": last,
            "idempotency": idempotency,
            "concurrency": concurrency_from(data.get("concurrency", ())),
            "sticky": Sticky(sticky) if sticky is not None else None,
            "event_triggers": tuple(data.get("event_triggers", ())),
            "cron_triggers": tuple(data.get("cron_triggers", ())),
            "default_filters": tuple(DefaultFilter(**one) for one in data.get("default_filters", ())),
        }
    )
    return definition, ids


def _task_from(data: dict[str, Any]) -> TaskDefinition:
    return TaskDefinition(
        **{
            **data,
            "parents": tuple(data.get("parents", ())),
            "conditions": conditions_data.from_data(data.get("conditions", ())),
            "worker_labels": labels_data.from_data(data.get("worker_labels", ())),
            "concurrency": concurrency_from(data.get("concurrency", ())),
            "rate_limits": rate_limits_from(data.get("rate_limits", ())),
            "batch": BatchRule(**data["batch"]) if "batch" in data else None,
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
            concurrency=concurrency_data(definition.concurrency) or None,
            sticky=definition.sticky.value if definition.sticky is not None else None,
            event_triggers=list(definition.event_triggers) or None,
            cron_triggers=list(definition.cron_triggers) or None,
            cron_input=definition.cron_input,
            default_filters=filter_data(definition.default_filters) or None,
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
            concurrency=concurrency_data(task.concurrency) or None,
            rate_limits=rate_limit_data(task.rate_limits) or None,
            batch=batch_data(task.batch),
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
    """The version that these rows describe, with everything that follows from it computed once."""
    whole = _stored_rules(definition.concurrency, f"{workflow_id}/")
    is_plain = _is_plain(definition.all_tasks)
    tasks = tuple(
        _stored_task(
            index,
            task,
            task_ids[task.readable_id],
            # A run that is one task asks its rules as that task (C-3.39).
            (*(whole if is_plain else ()), *_stored_rules(task.concurrency, f"{workflow_id}/{task.readable_id}/")),
        )
        for index, task in enumerate(definition.all_tasks)
    )
    rules = () if is_plain else whole
    return StoredVersion(
        id=version_id,
        tenant_id=tenant_id,
        workflow_id=workflow_id,
        name=definition.name,
        order=order,
        default_priority=definition.default_priority or DEFAULT_PRIORITY,
        tasks=tasks,
        graph=Graph(definition.all_tasks, has_on_failure=definition.on_failure is not None),
        idempotency=definition.idempotency,
        rules=rules,
        sticky=definition.sticky,
        event_triggers=definition.event_triggers,
        has_limits=bool(rules) or any(task.has_limits for task in tasks),
        shares_rules=any(rule.is_tenant_scoped for rule in _declared_rules(definition)),
    )


def _stored_task(index: int, task: TaskDefinition, task_id: str, rules: tuple[StoredRule, ...]) -> StoredTask:
    return StoredTask(
        id=task_id,
        index=index,
        definition=task,
        execution_timeout_seconds=parse_duration(task.execution_timeout),
        schedule_timeout_seconds=parse_duration(task.schedule_timeout),
        slots=task.slots,
        rules=rules,
    )


def shared_rules(definition: WorkflowDefinition) -> dict[str, ConcurrencyRule]:
    """The rules that the workflow shares with others of its tenant, by name (C-3.38)."""
    return {rule.name: rule for rule in _declared_rules(definition) if rule.is_tenant_scoped}


def _declared_rules(definition: WorkflowDefinition) -> Iterator[ConcurrencyRule]:
    yield from definition.concurrency
    for task in definition.all_tasks:
        yield from task.concurrency


def _stored_rules(rules: Iterable[ConcurrencyRule], where: str) -> tuple[StoredRule, ...]:
    return tuple(StoredRule(id=_rule_id(rule, where), definition=rule) for rule in rules)


def _rule_id(rule: ConcurrencyRule, where: str) -> str:
    """Versions that leave a rule as it was share its groups (C-3.37), whatever its limit; tenants share by name."""
    if rule.is_tenant_scoped:
        return f"tenant/{rule.name}"
    text = hashlib.sha256(rule.expression.encode()).hexdigest()[:16]
    return f"{where}{rule.strategy.value}/{text}"
