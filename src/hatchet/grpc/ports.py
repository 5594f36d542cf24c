"""What the front door needs of the engine: the smallest interface of each service, so that tests can stand in for them.

Every method may raise a :class:`~hatchet.core.errors.HatchetError`, whose code becomes the gRPC status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from hatchet.core.definitions import StoredVersion, WorkflowDefinition
from hatchet.core.durable_messages import Request, SendResponse
from hatchet.core.durable_waits import WaitCondition
from hatchet.core.event_push import NewEvent
from hatchet.core.messages import (
    Caller,
    EventRecord,
    RunDetails,
    RunFilter,
    RunFinished,
    Send,
    TaskReport,
    TriggerItem,
    WorkerRegistration,
)
from hatchet.core.rules import Window
from hatchet.core.run_events import RunEvent
from hatchet.core.task_logs import TaskLogLine
from hatchet.engine.scheduled_runs import WantedRun

Deliver = Callable[[list[RunFinished]], Awaitable[None]]
"""Takes finished runs; waits while the subscriber is slow, raises when it is gone."""


class TokenCheck(Protocol):
    """Resolves API tokens."""

    def cached(self, token: str) -> Caller | None:
        """The caller of a token that was found good a moment ago; ``None`` says: ask :meth:`verify`."""
        ...

    async def verify(self, token: str) -> Caller:
        """Raises Unauthenticated, or Unavailable when it cannot be known at the moment."""
        ...


class Registering(Protocol):
    """Registers workflows."""

    async def put(self, tenant_id: str, definition: WorkflowDefinition) -> StoredVersion: ...


class RateLimiting(Protocol):
    """Sets and pauses rate limits. Times in seconds since 1970."""

    async def put(self, tenant_id: str, key: str, limit: int, window: Window) -> None: ...

    async def pause(self, tenant_id: str, key: str, until: float) -> float: ...


class Triggering(Protocol):
    """Creates runs and returns their ids in order, after the commit."""

    async def trigger(self, tenant_id: str, items: Sequence[TriggerItem]) -> list[str]: ...


class WorkerBook(Protocol):
    """Knows the workers of a tenant."""

    async def register(self, tenant_id: str, registration: WorkerRegistration) -> str: ...

    async def heartbeat(self, tenant_id: str, worker_id: str) -> None: ...

    async def unsubscribe(self, tenant_id: str, worker_id: str) -> None: ...

    async def upsert_labels(self, tenant_id: str, worker_id: str, labels: Mapping[str, str | int]) -> None: ...


class Dispatching(Protocol):
    """Sends a worker its actions until the stream ends."""

    async def listen(self, tenant_id: str, worker_id: str, send: Send) -> None: ...


class Reporting(Protocol):
    """Takes what workers say about attempts; returns after the commit."""

    async def report(self, tenant_id: str, report: TaskReport) -> None: ...

    async def report_all(self, tenant_id: str, reports: Sequence[TaskReport]) -> None: ...


class Controlling(Protocol):
    """Changes what is under way. Times in seconds."""

    async def release_slot(self, tenant_id: str, task_id: str) -> None: ...

    async def refresh_timeout(self, tenant_id: str, task_id: str, increment_seconds: float) -> float: ...


class Restoring(Protocol):
    """Queues evicted durable tasks again."""

    async def requeue(self, tenant_id: str, task_id: str, cause: str) -> None: ...


class Bulking(Protocol):
    """Cancels and replays runs and tasks, by ids or by a filter; the ids that it took."""

    async def cancel(self, tenant_id: str, wanted: Sequence[str] | RunFilter) -> list[str]: ...

    async def replay(self, tenant_id: str, wanted: Sequence[str] | RunFilter) -> list[str]: ...


class ResultSubscription(Protocol):
    """One subscriber's open questions."""

    def add(self, run_ids: Sequence[str]) -> None: ...

    async def close(self) -> None: ...


class Publishing(Protocol):
    """Tells subscribers that their runs finished."""

    def open(self, tenant_id: str, deliver: Deliver) -> ResultSubscription: ...


class Reading(Protocol):
    """Answers questions about runs."""

    async def run_details(self, tenant_id: str, external_id: str) -> RunDetails: ...


class RunEventing(Protocol):
    """Tells what happens to runs while they go on. Times in seconds."""

    async def chunk(
        self, tenant_id: str, task_id: str, attempt: int | None, index: int | None, payload: str, at: float
    ) -> None: ...

    def subscribe_run(self, tenant_id: str, run_id: str) -> AbstractAsyncContextManager[AsyncIterator[RunEvent]]: ...

    def subscribe_metadata(
        self, tenant_id: str, key: str, value: str
    ) -> AbstractAsyncContextManager[AsyncIterator[RunEvent]]: ...


class TaskLogging(Protocol):
    """Keeps what tasks log; returns before it is written."""

    async def put(self, tenant_id: str, line: TaskLogLine) -> None: ...


class EventPushing(Protocol):
    """Stores events and returns them in order, after the commit."""

    async def push(self, tenant_id: str, items: Sequence[NewEvent]) -> list[EventRecord]: ...

    async def replay(self, tenant_id: str, event_id: str) -> EventRecord: ...


class Scheduling(Protocol):
    """Makes scheduled runs: the workflow's newest version, and (id, time) in order, after the commit."""

    async def add(self, tenant_id: str, wanted: WantedRun) -> tuple[StoredVersion, list[tuple[str, float]]]: ...


class DurableSession(Protocol):
    """What the engine keeps for one durable task stream; its responses go to the ``send`` that it was opened with."""

    def handle(self, request: Request) -> None:
        """Take a request; those of one task are handled in the order of these calls (D-2.6).

        Raises ResourceExhausted for a worker that does not read: its stream ends.
        """
        ...

    async def close(self) -> None:
        """The stream has ended. Nothing is sent afterwards, and no task fails because of it (D-2.7)."""
        ...


class DurableExecution(Protocol):
    """Runs durable tasks: their streams, and their waits for clients that know no stream."""

    async def open(self, tenant_id: str, worker_id: str, send: SendResponse) -> DurableSession:
        """Raises NotFound for an unknown worker."""
        ...

    async def register_signal(
        self, tenant_id: str, task_id: str, signal_key: str, conditions: Sequence[WaitCondition]
    ) -> None:
        """Start a wait unless the task has one of that name (D-26.1). Raises NotFound for an unknown task."""
        ...

    async def signals(self, tenant_id: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """Of the waits named by (task id, signal key) those that are over, with their results as JSON (D-26.2)."""
        ...

    async def branch(self, tenant_id: str, task_id: str, node: int, branch: int) -> int:
        """Start again from a node; the number of the new branch (D-22.5).

        Raises NotFound, and FailedPrecondition for a task that is executing (D-22.11).
        """
        ...
