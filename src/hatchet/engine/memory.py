"""What an instance keeps in memory about attempts that are with a worker. All of it can be rebuilt from rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from hatchet.core.held import Pause
from hatchet.core.messages import EventRecord
from hatchet.core.payloads import TaskPayload
from hatchet.core.ready_task import ReadyTask
from hatchet.core.transitions import Counters, Decision, Policy
from hatchet.engine.open_runs import OpenRun

if TYPE_CHECKING:
    from hatchet.engine.durable_waits import DurableWaits


class Stream(Protocol):
    """The part of a worker's session that a flight remembers."""

    is_closed: bool


class Batch:
    """Attempts that were given to a worker together (behaviour-core C-16)."""

    __slots__ = ("flushed_at", "id", "is_stopped", "key", "open", "reason", "size")

    def __init__(self, id: str, key: str, reason: str, size: int, flushed_at: float) -> None:  # noqa: A002
        self.id = id
        self.key = key
        self.reason = reason
        """Why it was flushed, as C-16.6 names it."""
        self.size = size
        """How many attempts it began with."""
        self.flushed_at = flushed_at
        self.open = 0
        """How many of them have not ended: the slot is free when it is none (C-16.32)."""
        self.is_stopped = False
        """Whether its worker was told to stop it."""


class Flight:
    """One attempt that was given to a worker and has not ended."""

    __slots__ = (
        "assigned_at",
        "batch",
        "doubted_at",
        "is_confirmed",
        "is_released",
        "is_walking",
        "sent_on",
        "started_at",
        "task",
        "tenant_id",
        "timeout_at",
        "worker_id",
    )

    def __init__(self, tenant_id: str, task: ReadyTask, worker_id: str, assigned_at: float, timeout_at: float) -> None:
        self.tenant_id = tenant_id
        self.task = task
        self.worker_id = worker_id
        self.assigned_at = assigned_at
        self.timeout_at = timeout_at
        self.started_at: float | None = None
        self.is_confirmed = False
        """Whether the worker is known to have received it."""
        self.is_released = False
        """Whether its slot was given back by hand (behaviour-core C-11.34)."""
        self.sent_on: Stream | None = None
        """The session on which it was sent; None when this process has not sent it."""
        self.batch: Batch | None = None
        """The batch in which it was given to its worker."""
        self.is_walking = False
        """Whether its durable log was begun here."""
        self.doubted_at: float | None = None
        """Since when its worker, back on another session, could have confirmed it and has not."""

    @property
    def counters(self) -> Counters:
        return self.task.counters


class Flights:
    """The flights this instance knows: those it scheduled and those it delivered. One per task at most."""

    def __init__(self) -> None:
        self._by_task: dict[str, Flight] = {}
        self._in_batch: dict[str, int] = {}
        """Batch id to the number of its flights here, where there are any."""

    def __len__(self) -> int:
        return len(self._by_task)

    def __iter__(self) -> Iterator[Flight]:
        return iter(list(self._by_task.values()))

    def get(self, task_id: str) -> Flight | None:
        return self._by_task.get(task_id)

    def in_batch(self, batch_id: str) -> int:
        """How many flights of the batch are known here."""
        return self._in_batch.get(batch_id, 0)

    def put(self, flight: Flight) -> None:
        """Know a flight; its batch does not change from now on."""
        before = self._by_task.get(flight.task.id)
        if before is not None:
            self._count(before, -1)
        self._by_task[flight.task.id] = flight
        self._count(flight, 1)

    def end(self, task_id: str, attempt: int) -> Flight | None:
        """Forget the flight of that attempt; None when this instance does not have it."""
        flight = self._by_task.get(task_id)
        if flight is None or flight.task.attempt != attempt:
            return None
        del self._by_task[task_id]
        self._count(flight, -1)
        return flight

    def _count(self, flight: Flight, change: int) -> None:
        if flight.batch is None:
            return
        count = self._in_batch.get(flight.batch.id, 0) + change
        if count:
            self._in_batch[flight.batch.id] = count
        else:
            self._in_batch.pop(flight.batch.id, None)


class PayloadCache:
    """Inputs of tasks that were accepted here and not sent yet, so that the hot path reads nothing back.

    Full means that new inputs are not admitted: the oldest are needed first, so evicting them would be the worst.
    """

    def __init__(self, maximum_size: int = 32_000_000) -> None:
        self._by_task: dict[str, TaskPayload] = {}
        self._size = 0
        self._maximum_size = maximum_size

    def put(self, task_id: str, payload: TaskPayload) -> None:
        if self._size + payload.size <= self._maximum_size:
            self._by_task[task_id] = payload
            self._size += payload.size

    def take(self, task_id: str) -> TaskPayload | None:
        payload = self._by_task.pop(task_id, None)
        if payload is not None:
            self._size -= payload.size
        return payload


class Owner(Protocol):
    """What the rest of an instance tells the scheduler of a tenant, when that scheduler runs here."""

    @property
    def durable(self) -> DurableWaits:
        """What the tenant's durable tasks wait for."""
        ...

    def accepted(self, tasks: list[ReadyTask]) -> None:
        """New tasks were committed."""
        ...

    def opened(self, runs: list[OpenRun]) -> None:
        """New runs of several tasks were committed."""
        ...

    def ended(self, task: ReadyTask, decision: Decision, at: float, following: ReadyTask | None) -> None:
        """An attempt has ended; ``following`` is the attempt that this opened."""
        ...

    def settle(self) -> None:
        """The attempts that ended together have all been told."""
        ...

    def pushed(self, records: list[EventRecord]) -> None:
        """Events were committed."""
        ...

    def restored(self, attempts: Mapping[str, int], at: float) -> None:
        """Evicted attempts (by task id) were queued again, and that is committed."""
        ...

    def touched(self, task_ids: list[str]) -> None:
        """Something happened to these tasks that only the rows tell."""
        ...

    def paused(self, pauses: Mapping[str, Pause]) -> None:
        """The pauses of all workflows were read, by workflow id."""
        ...

    async def limits_changed(self, keys: list[str]) -> None:
        """These rate limits were put, paused or deleted: their rows tell."""
        ...

    def worker_changed(self, worker_id: str) -> None:
        """A worker appeared, vanished, paused, or its stream opened or closed."""
        ...

    def slot_released(self, flight: Flight) -> None:
        """A running attempt gave its slot back by hand."""
        ...

    def knows(self, task_id: str) -> bool:
        """Whether the task is known here not to have ended."""
        ...

    def backlog(self) -> int:
        """How many tasks wait for a worker."""
        ...

    def waiting(self, task_id: str) -> ReadyTask | None:
        """The attempt of the task that waits for a worker or for its retry delay."""
        ...


class Owners:
    """The schedulers that run in this instance, by tenant."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, Owner] = {}

    def get(self, tenant_id: str) -> Owner | None:
        return self._by_tenant.get(tenant_id)

    def put(self, tenant_id: str, owner: Owner) -> None:
        self._by_tenant[tenant_id] = owner

    def remove(self, tenant_id: str) -> None:
        self._by_tenant.pop(tenant_id, None)


def policy_of(task: ReadyTask, max_internal_retries: int) -> Policy:
    """The retry policy of a task's definition; an attempt of a batch task is one of a batch (C-6.32)."""
    definition = task.step.definition
    return Policy(
        definition.retries,
        definition.backoff_factor,
        definition.backoff_max_seconds,
        definition.execution_timeout,
        max_internal_retries,
        is_batched=definition.batch is not None,
    )
