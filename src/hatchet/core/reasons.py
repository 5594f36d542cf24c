"""Why a task waits: one function over plain data, for people (dashboard, REST, command line).

A task passes the gates in one order (:mod:`hatchet.engine.gates`); what it is told is the gate at which it stands, with
everything that is missing there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from hatchet.core.affinity import score
from hatchet.core.concurrency import Held
from hatchet.core.conditions import Kind
from hatchet.core.labels import DesiredLabel
from hatchet.core.placement import WorkerSlots
from hatchet.core.rate_limits import Lack
from hatchet.core.ready_task import ReadyTask
from hatchet.core.rules import Sticky
from hatchet.core.run_state import RunState

MOST_NAMES = 20
"""How many ids a reason names; its text tells how many there are."""


class Cause(Enum):
    """What a task waits for."""

    PAUSED = "PAUSED"
    PARENTS = "PARENTS"
    SLEEP = "SLEEP"
    EVENT = "EVENT"
    RETRY_DELAY = "RETRY_DELAY"
    EVICTED = "EVICTED"
    """A durable task that waits on no worker for what it asked for (D-17.14)."""
    RUN_LIMIT = "RUN_LIMIT"
    """A concurrency rule of the workflow is full: the run as a whole waits."""
    KEY_LIMIT = "KEY_LIMIT"
    """A concurrency rule of the task is full."""
    RATE_LIMIT = "RATE_LIMIT"
    BATCH = "BATCH"
    NO_WORKER = "NO_WORKER"
    WORKER_NOT_READY = "WORKER_NOT_READY"
    LABELS = "LABELS"
    DESIRED_WORKER = "DESIRED_WORKER"
    TOO_LARGE = "TOO_LARGE"
    """It asks for more units than any worker has."""
    NO_SLOT = "NO_SLOT"
    BEING_ENDED = "BEING_ENDED"
    """A rule cancels it, or its limits could not be computed."""
    BEING_ASSIGNED = "BEING_ASSIGNED"
    TAKE_OVER = "TAKE_OVER"
    """Its tenant's scheduler has just moved and looks at everything anew."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Reason:
    """One thing that a task waits for."""

    cause: Cause
    text: str
    until: float | None = None
    """When that is over at the latest, if that is known; seconds since 1970."""
    key: str | None = None
    """Of the limit or event."""
    ids: tuple[str, ...] = ()
    """Who is in the way: runs or tasks that hold places, parents, the wanted worker."""


class OpenTask(Protocol):
    """What is needed of the run of a task that is not decided yet."""

    @property
    def state(self) -> RunState: ...
    @property
    def task_ids(self) -> Sequence[str]: ...


@dataclass(slots=True, kw_only=True)
class Waiting:
    """Everything that the owner knows about a task that waits; what does not apply is empty."""

    now: float
    task: ReadyTask | None = None
    """The attempt, once its parents and conditions let it go."""
    undecided: tuple[OpenTask, int] | None = None
    """Its run and its number in it, before that."""
    is_paused: bool = False
    is_ending: bool = False
    is_assigning: bool = False
    is_filling: bool = False
    run_full: Sequence[Held] = ()
    full: Sequence[Held] = ()
    lack: Lack | None = None
    batch_size: int | None = None
    """How many attempts wait in its batch group."""
    workers: Sequence[WorkerSlots] = ()
    """All of the tenant."""


def why(waiting: Waiting) -> list[Reason]:
    """What the task waits for; empty when it waits for nothing that is known."""
    if waiting.undecided is not None:
        return list(_before(waiting.undecided[0], waiting.undecided[1], waiting.now))
    task = waiting.task
    if task is None:
        return []
    if waiting.is_ending:
        return [Reason(cause=Cause.BEING_ENDED, text="its end is being written")]
    if waiting.is_paused:
        return [Reason(cause=Cause.PAUSED, text=f"workflow {task.version.name} is paused")]
    if task.is_evicted:
        text = "it was evicted from its worker and waits for its sleep, event or child run, or for a restore"
        return [Reason(cause=Cause.EVICTED, text=text)]
    if task.ready_at > waiting.now:
        return [Reason(cause=Cause.RETRY_DELAY, text="its retry delay has not passed", until=task.ready_at)]
    if waiting.run_full:
        return [_full(Cause.RUN_LIMIT, one) for one in waiting.run_full]
    if waiting.full:
        return [_full(Cause.KEY_LIMIT, one) for one in waiting.full]
    if waiting.lack is not None:
        return [_lack(waiting.lack)]
    if waiting.is_filling:
        return [Reason(cause=Cause.TAKE_OVER, text="its scheduler is being rebuilt")]
    if waiting.is_assigning:
        return [Reason(cause=Cause.BEING_ASSIGNED, text="it is being handed to a worker")]
    placement = _placement(task, waiting.workers)
    if waiting.batch_size is not None and placement.cause is Cause.NO_SLOT:
        return [_batch(task, waiting.batch_size)]
    return [placement]


def _before(run: OpenTask, index: int, now: float) -> Iterator[Reason]:
    """Parents, sleeps and events of a task whose turn has not come."""
    state = run.state
    graph, tasks = state.version.graph, state.version.tasks
    if index == graph.on_failure:
        yield Reason(cause=Cause.PARENTS, text="it runs when a task of its run has failed")
        return
    waits_for = [parent for parent in graph.parents[index] if state.tasks[parent].outcome is None]
    if waits_for:
        names = ", ".join(tasks[parent].definition.readable_id for parent in waits_for)
        yield Reason(
            cause=Cause.PARENTS,
            text=f"it waits for {names}",
            ids=tuple(run.task_ids[parent] for parent in waits_for),
        )
        return
    decision = state.decide(index, now)
    matches = state.tasks[index].matches
    for number, condition in enumerate(tasks[index].definition.conditions):
        if condition.kind is Kind.SLEEP:
            yield Reason(cause=Cause.SLEEP, text=f"it sleeps for {condition.sleep_for}", until=decision.wakes_at)
        elif condition.kind is Kind.EVENT and number not in matches:
            yield Reason(
                cause=Cause.EVENT, text=f"it waits for an event {condition.event_key}", key=condition.event_key
            )


def _full(cause: Cause, held: Held) -> Reason:
    if held.limit <= 0:
        text = f"the limit of key '{held.key}' is {held.limit}: it admits nothing"
    else:
        text = f"key '{held.key}' is at its limit of {held.limit}: {len(held.holders)} hold a place"
    holders = tuple(holder.removesuffix("/run") for holder in held.holders)
    return Reason(cause=cause, text=text, key=held.key, ids=holders[:MOST_NAMES])


def _lack(lack: Lack) -> Reason:
    text = f"rate limit '{lack.key}' has {lack.left} units left, it asks for {lack.units}"
    if lack.wakes_at is None:
        text += "; it can only start when the limit is changed"
    return Reason(cause=Cause.RATE_LIMIT, text=text, until=lack.wakes_at, key=lack.key)


def _batch(task: ReadyTask, size: int) -> Reason:
    rule = task.step.definition.batch
    most = rule.max_size if rule is not None else size
    text = f"{size} of {most} runs have come for the batch with key '{task.limits.batch_key}'"
    return Reason(cause=Cause.BATCH, text=text, key=task.limits.batch_key)


def _placement(task: ReadyTask, workers: Sequence[WorkerSlots]) -> Reason:
    action = task.step.definition.action
    serving = [worker for worker in workers if action in worker.actions]
    if not serving:
        return Reason(cause=Cause.NO_WORKER, text=f"no worker has registered action {action}")
    if task.version.sticky is Sticky.HARD and task.desired_worker is not None:
        serving = [worker for worker in serving if worker.id == task.desired_worker]
        if not any(worker.assignable for worker in serving):
            text = f"only worker {task.desired_worker} may take it, and that is not there"
            return Reason(cause=Cause.DESIRED_WORKER, text=text, ids=(task.desired_worker,))
    fitting = [worker for worker in serving if score(task.labels, worker.labels) is not None]
    if not fitting:
        wanted = ", ".join(f"{wish.key} {wish.comparator.value} {wish.value}" for wish in _required(task))
        return Reason(cause=Cause.LABELS, text=f"no worker has the labels that it requires: {wanted}")
    ready = [worker for worker in fitting if worker.assignable]
    if not ready:
        return Reason(
            cause=Cause.WORKER_NOT_READY,
            text="its workers are paused, or have not been heard of",
            ids=tuple(worker.id for worker in fitting)[:MOST_NAMES],
        )
    units = task.step.slots
    asked = ", ".join(f"{count} {kind}" for kind, count in units.items())
    if not any(all(worker.capacity.get(kind, 0) >= count for kind, count in units.items()) for worker in ready):
        return Reason(cause=Cause.TOO_LARGE, text=f"it asks for {asked}, more than any of its workers has")
    free = ", ".join(f"{sum(worker.free.get(kind, 0) for worker in ready)} {kind}" for kind in units)
    text = f"it asks for {asked}; its {len(ready)} workers have {free} free, and others come before it"
    return Reason(cause=Cause.NO_SLOT, text=text)


def _required(task: ReadyTask) -> list[DesiredLabel]:
    return [wish for wish in task.labels if wish.required]
