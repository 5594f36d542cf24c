"""The attempts that this worker holds, from the assignment until the engine has the report. Connection thread only."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping

from hatchet_contracts.dispatcher_pb2 import CANCEL_STEP_RUN, START_STEP_RUN, AssignedAction
from hatchet_sdk.context.context import Context
from hatchet_sdk.worker.attempt import Attempt, AttemptKey, Handler, key_of
from hatchet_sdk.worker.executor import Ended, Executor
from hatchet_sdk.worker.outcome import Outcomes
from hatchet_sdk.worker.reports import Report, Reports

logger = logging.getLogger("hatchet.worker")

STARTED_AFTER_SECONDS = 0.05
"""A task that still runs by then gets a STARTED of its own; a shorter one is told of by its terminal report alone,
because a report costs as much as the rest of the task (design section 1)."""
MIN_SWEEP_SECONDS = 0.01


class Attempts:
    """Takes assignments, hands them to the executor, and sends what becomes of them.

    Args:
        handlers: the registered functions by action id, in lower case as the engine sends it (C-5.1).
        new_context: makes the context of an assignment.
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
    ) -> None:
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
        if action.action_type == START_STEP_RUN:
            self._start(action)
        elif action.action_type == CANCEL_STEP_RUN:
            self._cancel(action)
        else:
            logger.warning("ignored an action of the unknown type %s for %s", action.action_type, action.action_id)

    def on_ended(self, ended: Ended) -> None:
        """A function has ended; with None there is nothing to tell (C-5.20)."""
        attempt, event = ended
        if not attempt.running:
            return
        attempt.running = False
        if event is None or attempt.context.is_cancelled:
            self.forget(attempt)
        else:
            # Held on: until the engine has the report it may send the same START again after a reconnect.
            self._reports.send(Report(event, attempt))

    def forget(self, attempt: Attempt) -> None:
        """The engine has the report, or will not get one."""
        self._held.pop(attempt.key, None)
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
        handler = self._handlers.get(action.action_id)
        if handler is None:
            self._refuse(action)
            return
        attempt = Attempt(key, action, handler, self._new_context(action, handler), time.monotonic())
        self._held[key] = attempt
        self._empty.clear()
        self._unstarted.append(attempt)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(STARTED_AFTER_SECONDS, self._sweep)
        self._executor.start(attempt)

    def _refuse(self, action: AssignedAction) -> None:
        # The official clients say nothing here (C-5.3), and the task waits for its execution timeout.
        known = ", ".join(sorted(self._handlers))
        text = f"this worker has no function for the action {action.action_id!r}; it registered: {known}"
        logger.error("%s", text)
        event = self._outcomes.failed_with_text(action, text)
        # Another attempt may land on a worker that knows the action, so retries stay allowed.
        self._reports.send(Report(event, None))

    def _cancel(self, action: AssignedAction) -> None:
        attempt = self._held.get(key_of(action))
        # Nothing held (C-5.22), or the report is on its way and the engine decides which came first.
        if attempt is not None and attempt.running and not attempt.cancel_asked:
            attempt.cancel_asked = True
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
        event = self._outcomes.started(attempt.action, time.monotonic() - attempt.received)
        self._reports.send(Report(event, attempt, terminal=False))
