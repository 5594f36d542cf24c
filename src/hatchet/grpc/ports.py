"""What the front door needs of the engine: the smallest interface of each service, so that tests can stand in for them.

Every method may raise a :class:`~hatchet.core.errors.HatchetError`, whose code becomes the gRPC status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from hatchet.core.definitions import StoredVersion, WorkflowDefinition
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
