"""One attempt of a task that this worker holds, and the function that runs it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hatchet_contracts.dispatcher_pb2 import AssignedAction
from hatchet_sdk.context.context import Context

if TYPE_CHECKING:
    from hatchet_sdk.declare.task import Task
    from hatchet_sdk.worker.job import Job

AttemptKey = tuple[str, int, int]


class Ending(Protocol):
    """What ends with the function: the invocation of a durable task."""

    def end(self) -> None: ...


@dataclass(slots=True, frozen=True)
class Handler:
    """A registered task under its action id, with what is asked of it on every attempt."""

    task: Task[Any, Any]
    is_async: bool
    workflow_name: str
    max_attempts: int

    @property
    def is_batch(self) -> bool:
        return self.task.batch is not None


@dataclass(slots=True, eq=False)
class Attempt:
    """Lives from the assignment until the engine has its report. Changed by the connection thread, except where said.

    Attributes:
        job: what the function gets, and how its end is told.
        received: when the assignment came, in seconds of the monotonic clock.
        running: the function has not ended yet (nor been found not to start at all).
        unsent: how many terminal reports the engine does not have yet; a large batch needs several.
        cancel_asked: the engine has sent a CANCEL for it.
        invocation: only of a durable task; its steps end with the function, and with a cancellation.
        evicted: the engine took it off this worker.
        unreported: the engine did not get the report.
        async_task: the asyncio task of an async function; set and used by the main loop only.
    """

    key: AttemptKey
    action: AssignedAction
    handler: Handler
    context: Context
    job: Job
    received: float
    running: bool = True
    unsent: int = 0
    cancel_asked: bool = False
    invocation: Ending | None = None
    evicted: bool = False
    unreported: bool = False
    async_task: asyncio.Task[None] | None = field(default=None, repr=False)


def key_of(action: AssignedAction) -> AttemptKey:
    """START and CANCEL of one attempt carry the same three values (C-5.2); a batch has its id alone (C-16.22)."""
    if action.batchId and not action.task_run_external_id:
        return (action.batchId, 0, 0)
    return (action.task_run_external_id, action.retry_count, action.durable_task_invocation_count)
