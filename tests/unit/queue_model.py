"""What the tests of the ready queues and of placement share: versions by action, tasks with readable ids, wishes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from hatchet.core.definitions import StoredVersion, TaskDefinition, WorkflowDefinition, stored_version
from hatchet.core.labels import DEFAULT_WEIGHT, Comparator, DesiredLabel, DesiredLabels
from hatchet.core.placement import WorkerPool, WorkerSlots
from hatchet.core.ready_queue import ReadyQueues
from hatchet.core.ready_task import ReadyTask

START = 1_750_000_000.0


def a_version(
    action: str = "a:run", *, slots: dict[str, int] | None = None, schedule_timeout: str = "5m", name: str = ""
) -> StoredVersion:
    """A standalone workflow whose one task asks for ``slots``."""
    name = name or f"{action}-{slots}-{schedule_timeout}"
    task = TaskDefinition(
        readable_id="task", action=action, slot_requests=slots or {}, schedule_timeout=schedule_timeout
    )
    definition = WorkflowDefinition(name="flow", tasks=(task,))
    return stored_version(
        definition, {"task": f"step of {name}"}, version_id=name, tenant_id="t", workflow_id="w", order=1
    )


def a_task(
    number: int,
    version: StoredVersion,
    priority: int = 1,
    *,
    ready_at: float = START,
    attempt: int = 0,
    labels: DesiredLabels = (),
) -> ReadyTask:
    # Every task brings its own copy of its wishes, as tasks that come from rows do.
    own = tuple(replace(label) for label in labels)
    return ReadyTask(str(uuid.UUID(int=number)), version, priority, ready_at, attempt, labels=own)


def a_worker(
    name: str,
    *actions: str,
    slots: dict[str, int] | None = None,
    assignable: bool = True,
    labels: Mapping[str, str | int] | None = None,
) -> WorkerSlots:
    worker = WorkerSlots(name, frozenset(actions or ("a:run",)), slots or {"default": 10}, labels)
    worker.assignable = assignable
    return worker


def a_wish(
    key: str,
    value: str | int,
    comparator: Comparator = Comparator.EQUAL,
    *,
    required: bool = False,
    weight: int = DEFAULT_WEIGHT,
) -> DesiredLabel:
    return DesiredLabel(key=key, value=value, comparator=comparator, required=required, weight=weight)


def taken(queues: ReadyQueues, action: str = "a:run") -> ReadyTask | None:
    """The next task, out of its queue, when there is room for every step."""
    lineup = queues.lineup(action, lambda _: True)
    return queues.take(lineup) if lineup.first() is not None else None


def a_pool(*workers: WorkerSlots) -> WorkerPool:
    pool = WorkerPool()
    for worker in workers:
        pool.add(worker)
    return pool


def number_of(task: ReadyTask) -> int:
    return uuid.UUID(task.id).int


Points = Callable[[Mapping[str, str | int]], int | None]

WISHES: list[tuple[DesiredLabels, Points]] = [
    ((), lambda have: 0),
    ((a_wish("zone", "a", required=True),), lambda have: 100 if have.get("zone") == "a" else None),
    ((a_wish("zone", "b"),), lambda have: 100 if have.get("zone") == "b" else 0),
    (
        (
            a_wish("size", 2, Comparator.GREATER_THAN_OR_EQUAL, required=True, weight=-30),
            a_wish("zone", "a", Comparator.NOT_EQUAL, weight=20),
        ),
        lambda have: None if have.get("size", 0) not in (2, 3) else -30 + 20 * (have.get("zone", "a") != "a"),
    ),
]
"""What tasks of the model want, and what a worker with some of ``LABELS`` scores for it."""

LABELS: list[dict[str, str | int]] = [
    {},
    {"zone": "a", "size": 1},
    {"zone": "a", "size": 3},
    {"zone": "b"},
    {"zone": "b", "size": 2},
    {"zone": 7, "size": "large"},
]
