"""Takes runs that were read back from rows into a scheduler's memory: each open task to where it belongs."""

from __future__ import annotations

from collections.abc import Sequence

from hatchet.core.limits import from_text
from hatchet.engine.open_runs import OpenRun
from hatchet.engine.rebuild import flight_of, parsed_labels
from hatchet.engine.run_facts import LoadedRun
from hatchet.engine.schedule import TenantScheduler


def adopt(scheduler: TenantScheduler, runs: Sequence[LoadedRun]) -> None:
    """Make these runs the scheduler's; those that it has already, or that are over, are left alone.

    A run that is over but has no end in its rows yet gets it: the scheduler decides its last tasks once more.
    """
    for loaded in runs:
        is_settled = loaded.row.has_end and loaded.state.is_over and not loaded.row.is_reopened
        if not is_settled and loaded.row.id not in scheduler.runs:
            _adopt(scheduler, loaded)


def _adopt(scheduler: TenantScheduler, loaded: LoadedRun) -> None:
    run = OpenRun(
        scheduler.tenant_id,
        loaded.row.id,
        loaded.version,
        loaded.row.priority,
        parsed_labels(loaded.row.labels),
        loaded.stored_state(),
        limits=from_text(loaded.row.limits),
        task_limits=[from_text(task.limits) for task in loaded.tasks] if loaded.version.has_limits else (),
        desired_worker=loaded.row.desired_worker,
    )
    run.is_replayed = loaded.is_replayed
    run.is_reopened = loaded.row.is_reopened or loaded.is_replayed
    is_active = any(task.ended is None and (task.worker_id is not None or task.is_evicted) for task in loaded.tasks)
    scheduler.gates.run_opened(run, is_active=is_active)
    run.ends = [loaded.end(index) if loaded.tasks[index].ended else None for index in range(len(loaded.tasks))]
    if loaded.version.sticky is not None:
        run.workers = {i: task.worker_id for i, task in enumerate(loaded.tasks) if task.worker_id is not None}
    run.size = sum(end.size for end in run.ends if end is not None)
    for index, task in enumerate(loaded.tasks):
        facts = run.state.tasks[index]
        known = scheduler.attempt_of(task.id)
        if facts.outcome is not None or not facts.is_decided or (known is not None and known >= task.attempt):
            continue
        scheduler.forget(task.id, task.attempt - 1)
        counts = (task.attempt, task.app_retries, task.internal_retries, task.evictions)
        ready = run.ready(index, task.ready_at, *counts)
        flight = flight_of(scheduler.tenant_id, task, ready)
        if flight is not None:
            scheduler.fly(flight)
        else:
            scheduler.enqueue(ready, was_evicted=task.is_evicted)
    if loaded.row.reopened_at is not None:
        scheduler.runs.reopened(run.id, loaded.row.reopened_at)
    scheduler.runs.opened(run)
