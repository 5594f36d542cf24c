"""The attempts that this worker holds, from the assignment until the engine has the report. Connection thread only."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from hatchet_contracts.dispatcher_pb2 import CANCEL_STEP_RUN, START_BATCH, START_STEP_RUN, AssignedAction
from hatchet_sdk.context.batch import BatchContext
from hatchet_sdk.context.context import Context
from hatchet_sdk.context.durable import DurableContext
from hatchet_sdk.worker.attempt import Attempt, AttemptKey, Ending, Handler, key_of
from hatchet_sdk.worker.batch_job import BatchJob, refused_batch
from hatchet_sdk.worker.executor import Ended, Executor
from hatchet_sdk.worker.job import Event, SingleJob
from hatchet_sdk.worker.outcome import Outcomes
from hatchet_sdk.worker.reports import Report, Reports

logger = logging.getLogger("hatchet.worker")

STARTED_AFTER_SECONDS = 0.05
"""A task that still runs by then gets a STARTED of its own; a shorter one is told of by its terminal report alone,
because a report costs as much as the rest of the task (design section 1)."""
MIN_SWEEP_SECONDS = 0.01
ENDED_KEYS = 1000
"""So many attempts are remembered after their end."""


class Attempts:
    """Takes assignments, hands them to the executor, and sends what becomes of them.

    Args:
        handlers: the registered functions by action id, in lower case as the engine sends it (C-5.1).
        new_context: makes the context of an assignment.
        begin_durable: gives the context of a durable task its log.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        handlers: Mapping[str, Handler],
        new_context: Callable[[AssignedAction, Handler], Context],
        executor: Executor,
        reports: Reports,
        outcomes: Outcomes,
        begin_durable: Callable[[AssignedAction, Handler, DurableContext], Ending],
    ) -> None:
        self._begin_durable = begin_durable
        self._ended: dict[AttemptKey, None] = {}
        self._loop = loop
        self._handlers = handlers
        self._new_context = new_context
        self._executor = executor
        self._reports = reports
        self._outcomes = outcomes
        self._held: dict[AttemptKey, Attempt] = {}
        # In the order of arrival, which is the order in which STARTED falls due: one timer serves all of them.
        self._unstarted: deque[Attempt] = deque()
        self._sweeping = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._held)

    async def empty(self) -> None:
        """Returns when no attempt is held: all functions have ended and the engine has all reports."""
        await self._empty.wait()

    def on_action(self, action: AssignedAction) -> None:
        """An assignment or a cancellation from the listener."""
        if action.action_type in (START_STEP_RUN, START_BATCH):
            self._start(action)
        elif action.action_type == CANCEL_STEP_RUN:
            self._cancel(action)
        else:
            logger.warning("ignored an action of the unknown type %s for %s", action.action_type, action.action_id)

    def on_ended(self, ended: Ended) -> None:
        """A function has ended; without events there is nothing to tell (C-5.20)."""
        attempt, events = ended
        if not attempt.running:
            return
        attempt.running = False
        if attempt.invocation is not None:
            attempt.invocation.end()
        if not events or attempt.context.is_cancelled:
            self._forget(attempt)
            return
        # Held on: until the engine has the reports it may send the same START again after a reconnect.
        attempt.unsent = len(events)
        for event in events:
            self._reports.send(Report(event, attempt))

    def reported(self, attempt: Attempt) -> None:
        """The engine has one of the terminal reports, or will not get it."""
        attempt.unsent -= 1
        if attempt.unsent <= 0:
            self._forget(attempt)

    def _forget(self, attempt: Attempt) -> None:
        self._held.pop(attempt.key, None)
        if not attempt.unreported and not attempt.handler.is_batch:
            self._ended[attempt.key] = None
            if len(self._ended) > ENDED_KEYS:
                del self._ended[next(iter(self._ended))]
        if not self._held:
            self._empty.set()

    def restate(self) -> None:
        """Sends STARTED for all that runs: after a reconnect the engine cannot know which of the assignments that it
        wrote to the lost stream have arrived. One that it hears of was received; the others it may hand out again."""
        for attempt in self._held.values():
            if attempt.running and not attempt.context.is_cancelled:
                self._send_started(attempt)

    def _start(self, action: AssignedAction) -> None:
        key = key_of(action)
        if key in self._held:
            logger.debug("ignored a second START of %s, attempt %d", key[0], key[1] + 1)
            return
        if key in self._ended:
            # Our report and a START that the engine sent again after a break passed each other.
            logger.debug("ignored a START of %s, attempt %d, which has ended here", key[0], key[1] + 1)
            return
        handler = self._handlers.get(action.action_id)
        if handler is None or (action.action_type == START_BATCH) is not handler.is_batch:
            self._refuse(action, handler)
            return
        attempt = self._new_attempt(action, handler)
        self._held[key] = attempt
        self._empty.clear()
        self._unstarted.append(attempt)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(STARTED_AFTER_SECONDS, self._sweep)
        self._executor.start(attempt)

    def _new_attempt(self, action: AssignedAction, handler: Handler) -> Attempt:
        context, task = self._new_context(action, handler), handler.task
        job = (
            BatchJob(action, task, context, self._outcomes)
            if isinstance(context, BatchContext)
            else SingleJob(action, task, context, self._outcomes)
        )
        attempt = Attempt(key_of(action), action, handler, context, job, time.monotonic())
        if isinstance(context, DurableContext):
            attempt.invocation = self._begin_durable(action, handler, context)
        return attempt

    def _refuse(self, action: AssignedAction, handler: Handler | None) -> None:
        # The official clients say nothing here (C-5.3), and the task waits for its execution timeout.
        text = self._reason(action, handler)
        logger.error("%s", text)
        # Another attempt may land on a worker that knows the action, so retries stay allowed.
        for event in self._refusal(action, text):
            self._reports.send(Report(event, None))

    def _reason(self, action: AssignedAction, handler: Handler | None) -> str:
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return f"this worker has no function for the action {action.action_id!r}; it registered: {known}"
        if handler.is_batch:
            return f"{action.action_id!r} is a batch task, but the engine assigned a single run; it may be too old"
        return f"{action.action_id!r} is not a batch task on this worker, but the engine assigned a batch"

    def _refusal(self, action: AssignedAction, text: str) -> Sequence[Event]:
        if action.action_type == START_BATCH:
            return refused_batch(action, text, self._outcomes)
        return (self._outcomes.failed_with_text(action, text),)

    def _cancel(self, action: AssignedAction) -> None:
        attempt = self._held.get(key_of(action))
        # Nothing held (C-5.22), or the report is on its way and the engine decides which came first.
        if attempt is not None and attempt.running and not attempt.cancel_asked:
            attempt.cancel_asked = True
            attempt.context.mark_cancelled()
            if attempt.invocation is not None:
                attempt.invocation.end()
            self._executor.cancel(attempt)

    def evicted(self, key: AttemptKey) -> None:
        """The engine took a durable task off this worker: its function ends, and nobody is told (D-16.3, D-17.13)."""
        attempt = self._held.get(key)
        if attempt is not None and attempt.running:
            attempt.evicted = True
            attempt.context.mark_cancelled()
            self._executor.cancel(attempt)

    def _sweep(self) -> None:
        due = time.monotonic() - STARTED_AFTER_SECONDS
        waiting = self._unstarted
        while waiting and (waiting[0].received <= due or not waiting[0].running):
            attempt = waiting.popleft()
            if attempt.running and not attempt.context.is_cancelled:
                self._send_started(attempt)
        self._sweeping = bool(waiting)
        if waiting:
            self._loop.call_later(max(waiting[0].received - due, MIN_SWEEP_SECONDS), self._sweep)

    def _send_started(self, attempt: Attempt) -> None:
        for event in attempt.job.started(time.monotonic() - attempt.received):
            self._reports.send(Report(event, attempt, terminal=False))
