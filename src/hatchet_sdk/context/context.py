"""`Context`: what a task knows about its run and what it may ask of the engine.

One object per attempt. It is made on the connection thread for every assignment, so making it must stay cheap: it
keeps the message and reads everything else from it on demand.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hatchet_sdk.context.link import WorkerLink
from hatchet_sdk.context.payload import ActionPayload, parse_payload
from hatchet_sdk.context.worker_context import WorkerContext
from hatchet_sdk.declare.durations import timedelta_to_expr
from hatchet_sdk.wire.loop_thread import connection_thread

if TYPE_CHECKING:
    from hatchet_contracts.dispatcher_pb2 import AssignedAction

task_logger = logging.getLogger("hatchet.task")


class Context:
    """The context of one attempt of a task; the second argument of every task function."""

    def __init__(
        self,
        action: AssignedAction,
        *,
        link: WorkerLink,
        worker: WorkerContext,
        workflow_name: str,
        max_attempts: int,
        lifespan: Any = None,
    ) -> None:
        self._action = action
        self._link = link
        self._worker = worker
        self._workflow_name = workflow_name
        self._max_attempts = max_attempts
        self._lifespan = lifespan
        self._payload: dict[str, Any] | None = None
        self._cancelled = False
        self._children = itertools.count()

    # --- the input -----------------------------------------------------------------------------------------------

    @property
    def payload(self) -> dict[str, Any]:
        """The payload of the assignment as plain objects (C-5.5).

        Raises:
            ValueError: the engine sent something else than a JSON object.
        """
        # Not a cached_property: that takes a lock shared by all contexts, on the way of every task.
        if self._payload is None:
            self._payload = parse_payload(self._action.action_payload)
        return self._payload

    @cached_property
    def data(self) -> ActionPayload:
        """The payload of the assignment as a model."""
        return ActionPayload.model_validate(self.payload)

    @property
    def input(self) -> dict[str, Any]:
        """The input of the run as plain objects, before any validation."""
        return self.payload.get("input") or {}

    @property
    def workflow_input(self) -> dict[str, Any]:
        """The same as `input`."""
        return self.input

    @cached_property
    def additional_metadata(self) -> dict[str, Any]:
        """The metadata that the run was triggered with."""
        text = self._action.additional_metadata
        return (json.loads(text) or {}) if text else {}

    @property
    def lifespan(self) -> Any:
        """What the worker's `lifespan` generator yielded; None without one."""
        return self._lifespan

    # --- who am I ------------------------------------------------------------------------------------------------

    @property
    def workflow_run_id(self) -> str:
        return self._action.workflow_run_id

    @property
    def task_run_id(self) -> str:
        """The id of this task run; the same on every attempt."""
        return self._action.task_run_external_id

    @property
    def step_run_id(self) -> str:
        """The older name of `task_run_id`."""
        return self._action.task_run_external_id

    @property
    def task_name(self) -> str:
        return self._action.task_name

    @property
    def workflow_name(self) -> str:
        return self._workflow_name

    @property
    def workflow_id(self) -> str | None:
        return self._action.workflow_id or None

    @property
    def workflow_version_id(self) -> str | None:
        return self._action.workflow_version_id or None

    @property
    def retry_count(self) -> int:
        """How often the task was queued again: 0 on the first attempt (C-6.26)."""
        return self._action.retry_count

    @property
    def attempt_number(self) -> int:
        """`retry_count` + 1."""
        return self._action.retry_count + 1

    @property
    def max_attempts(self) -> int:
        """The declared retries + 1. Attempts that a lost worker cost come on top (C-2.28)."""
        return self._max_attempts

    @property
    def priority(self) -> int | None:
        # No presence on the wire; a run has at least 1.
        return self._action.priority or None

    @property
    def child_index(self) -> int | None:
        """The place of this run among its parent's children; None if no task triggered it."""
        return self._action.child_workflow_index if self._action.HasField("child_workflow_index") else None

    @property
    def child_key(self) -> str | None:
        return self._action.child_workflow_key if self._action.HasField("child_workflow_key") else None

    @property
    def parent_workflow_run_id(self) -> str | None:
        return self._action.parent_workflow_run_id if self._action.HasField("parent_workflow_run_id") else None

    def next_child_index(self) -> int:
        """Takes the next index for a child run of this attempt, counting from 0 (C-4.15)."""
        return next(self._children)

    # --- the worker ----------------------------------------------------------------------------------------------

    @property
    def worker(self) -> WorkerContext:
        return self._worker

    @property
    def worker_id(self) -> str:
        return self._link.worker_id

    @property
    def worker_labels(self) -> dict[str, str | int]:
        return self._worker.labels()

    def upsert_worker_labels(self, labels: dict[str, str | int]) -> None:
        """See `WorkerContext.upsert_labels`."""
        self._worker.upsert_labels(labels)

    async def aio_upsert_worker_labels(self, labels: dict[str, str | int]) -> None:
        """See `WorkerContext.upsert_labels`."""
        await self._worker.async_upsert_labels(labels)

    # --- cancellation --------------------------------------------------------------------------------------------

    @property
    def exit_flag(self) -> bool:
        """True once the task was cancelled. A sync task should look at it now and then and return (C-5.20)."""
        return self._cancelled

    @property
    def is_cancelled(self) -> bool:
        """The same as `exit_flag`."""
        return self._cancelled

    def done(self) -> bool:
        """The same as `exit_flag`."""
        return self._cancelled

    def mark_cancelled(self) -> None:
        """Raises the exit flag. For the worker; the engine is not told."""
        self._cancelled = True

    def cancel(self) -> None:
        """Cancels this task run: the engine ends it as CANCELLED, and the exit flag is raised."""
        connection_thread().run(self._cancel())

    async def aio_cancel(self) -> None:
        """Like `cancel`. The engine's answer cancels the coroutine at one of its next awaits."""
        await connection_thread().call(self._cancel())

    async def _cancel(self) -> None:
        await self._link.calls.cancel_tasks([self.task_run_id])
        self._cancelled = True

    # --- slot, timeout, log --------------------------------------------------------------------------------------

    def release_slot(self) -> None:
        """Frees the slot of this task at once; the task runs on, no longer tied to this worker (C-11.34, C-11.35)."""
        connection_thread().run(self._release_slot())

    async def aio_release_slot(self) -> None:
        """Like `release_slot`, for async tasks."""
        await connection_thread().call(self._release_slot())

    async def _release_slot(self) -> None:
        await self._link.calls.release_slot(self.task_run_id)

    def refresh_timeout(self, increment_by: timedelta | str) -> None:
        """Moves the deadline of this attempt: new deadline = present deadline + increment (C-11.38).

        Args:
            increment_by: a timedelta, or a duration text such as `"10s"` or `"1m30s"`.
        """
        connection_thread().run(self._refresh_timeout(increment_by))

    async def aio_refresh_timeout(self, increment_by: timedelta | str) -> None:
        """Like `refresh_timeout`, for async tasks."""
        await connection_thread().call(self._refresh_timeout(increment_by))

    async def _refresh_timeout(self, increment_by: timedelta | str) -> None:
        await self._link.calls.refresh_timeout(self.task_run_id, timedelta_to_expr(increment_by))

    def log(self, line: str | Mapping[str, Any], raise_on_error: bool = False) -> None:
        """Writes a line to the Python logger `hatchet.task` of this process.

        Args:
            line: a text, or a mapping that is written as JSON.
            raise_on_error: whether a mapping that JSON cannot hold raises TypeError; else its `repr` is written.
        """
        if not isinstance(line, str):
            line = json.dumps(line, default=None if raise_on_error else repr)
        task_logger.info("%s", line, extra={"task_run_id": self.task_run_id, "retry_count": self.retry_count})

    async def aio_log(self, line: str | Mapping[str, Any], raise_on_error: bool = False) -> None:
        """Like `log`."""
        self.log(line, raise_on_error)
