"""What the tests of the ready queues and of placement share: versions by action, and tasks with readable ids."""

from __future__ import annotations

import uuid

from hatchet.core.definitions import StoredVersion, TaskDefinition, WorkflowDefinition, stored_version
from hatchet.core.placement import WorkerPool, WorkerSlots
from hatchet.core.ready_queue import ReadyTask

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
    number: int, version: StoredVersion, priority: int = 1, *, ready_at: float = START, attempt: int = 0
) -> ReadyTask:
    return ReadyTask(str(uuid.UUID(int=number)), version, priority, ready_at, attempt)


def a_worker(name: str, *actions: str, slots: dict[str, int] | None = None, assignable: bool = True) -> WorkerSlots:
    worker = WorkerSlots(name, frozenset(actions or ("a:run",)), slots or {"default": 10})
    worker.assignable = assignable
    return worker


def a_pool(*workers: WorkerSlots) -> WorkerPool:
    pool = WorkerPool()
    for worker in workers:
        pool.add(worker)
    return pool


def number_of(task: ReadyTask) -> int:
    return uuid.UUID(task.id).int
