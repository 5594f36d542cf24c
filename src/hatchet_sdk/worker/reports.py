"""Sends reports to the engine until they have arrived. Connection thread only."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from grpc import StatusCode

from hatchet_contracts.dispatcher_pb2 import StepActionEvent
from hatchet_sdk.wire.calls import Calls
from hatchet_sdk.wire.errors import EngineError, is_too_large
from hatchet_sdk.wire.retry import ONCE, USER_ERRORS
from hatchet_sdk.worker.attempt import Attempt
from hatchet_sdk.worker.outcome import Outcomes

logger = logging.getLogger("hatchet.worker")

MAX_IN_FLIGHT = 64
"""More calls at once do not make it faster, they only lengthen the queue inside grpc."""
MAX_TRIES = 20
FIRST_WAIT_SECONDS = 0.5
MAX_WAIT_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class Report:
    """An event on its way.

    Attributes:
        attempt: whose event it is; None if the worker does not hold the attempt.
        terminal: it ends the attempt, and must arrive.
        tries: how often it failed although the engine should have been there.
    """

    event: StepActionEvent
    attempt: Attempt | None
    terminal: bool = True
    tries: int = 0


class Route(Protocol):
    """The way to the engine; the worker's connection."""

    @property
    def worker_id(self) -> str: ...

    @property
    def calls(self) -> Calls: ...

    @property
    def connected(self) -> bool: ...

    def channel_failed(self, calls: Calls) -> None: ...


class Reports:
    """A queue with a bounded number of calls in flight.

    A failed call is repeated 0.5 to 10 s later (C-1.11, C-5.38). A try counts towards the limit of 20 only while the
    listener is connected or the worker is stopping: while the engine is away, for however long, results are kept,
    and `kick` sends them as soon as it is back.

    Args:
        settled: called when the report of an attempt has arrived or was given up.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        route: Route,
        outcomes: Outcomes,
        settled: Callable[[Attempt], None],
    ) -> None:
        self._loop = loop
        self._route = route
        self._outcomes = outcomes
        self._settled = settled
        self._queue: deque[Report] = deque()
        self._waiting: dict[Report, asyncio.TimerHandle] = {}
        self._senders: set[asyncio.Task[None]] = set()
        self._stopping = False

    def send(self, report: Report) -> None:
        """Queues a report; it leaves at once unless `MAX_IN_FLIGHT` are under way."""
        self._queue.append(report)
        if len(self._senders) < MAX_IN_FLIGHT:
            sender = self._loop.create_task(self._send_queued())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)

    def kick(self) -> None:
        """Repeats at once what waits for its next try: the engine is back."""
        waiting, self._waiting = self._waiting, {}
        for report, timer in waiting.items():
            timer.cancel()
            self.send(report)

    def stopping(self) -> None:
        """From now on every failed try counts, so that the end of the worker does not wait for ever."""
        self._stopping = True

    async def idle(self) -> None:
        """Returns when nothing is queued, under way or waiting."""
        while self._queue or self._waiting or self._senders:
            if self._senders:
                await asyncio.wait(self._senders)
            else:
                await asyncio.sleep(FIRST_WAIT_SECONDS / 5)

    def close(self) -> None:
        """Drops everything."""
        self._queue.clear()
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        for sender in self._senders:
            sender.cancel()

    async def _send_queued(self) -> None:
        # A sender lives through a burst: a task per report would be another asyncio.Task beside grpc's own.
        while self._queue:
            await self._send_one(self._queue.popleft())

    async def _send_one(self, report: Report) -> None:
        attempt = report.attempt
        if not report.terminal and attempt is not None and not attempt.running:
            return
        calls = self._route.calls
        report.event.worker_id = self._route.worker_id
        try:
            await calls.send_step_action_event(report.event, policy=ONCE)
        except EngineError as error:
            if error.code() is StatusCode.UNAVAILABLE:
                self._route.channel_failed(calls)
            self._failed(report, error)
        except asyncio.CancelledError:
            if self._closing_down():
                raise
            # grpc cancels the calls of a channel that closes under them.
            self._repeat(report)
        except Exception:
            logger.exception("a report of %s could not be sent", report.event.task_run_external_id)
            self._settle(report)
        else:
            self._settle(report)

    def _closing_down(self) -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    def _failed(self, report: Report, error: EngineError) -> None:
        if is_too_large(error.details()) and error.code() is StatusCode.RESOURCE_EXHAUSTED:
            self._replace_too_large(report, error)
        elif error.code() in USER_ERRORS:
            self._give_up(report, error)
        elif self._stopping or self._route.connected:
            report.tries += 1
            if report.tries < MAX_TRIES:
                self._repeat(report)
            else:
                self._give_up(report, error)
        else:
            self._repeat(report)

    def _repeat(self, report: Report) -> None:
        wait = min(FIRST_WAIT_SECONDS * 2 ** min(max(report.tries - 1, 0), 10), MAX_WAIT_SECONDS)
        wait *= random.uniform(0.75, 1.0)
        self._waiting[report] = self._loop.call_later(wait, self._wake, report)

    def _wake(self, report: Report) -> None:
        if self._waiting.pop(report, None) is not None:
            self.send(report)

    def _replace_too_large(self, report: Report, error: EngineError) -> None:
        """The engine's limit is below ours: the task must hear of it, not wait for its timeout (C-5.39)."""
        attempt = report.attempt
        if attempt is None or not report.terminal or report.event.ByteSize() < 64 * 1024:
            self._give_up(report, error)
            return
        size = report.event.ByteSize()
        text = f"the report of the task has {size} bytes, the engine refused it: {error.details()}"
        self.send(Report(self._outcomes.failed_with_text(attempt.action, text), attempt))

    def _give_up(self, report: Report, error: EngineError) -> None:
        if report.terminal:
            logger.error("the result of task %s is lost: %s", report.event.task_run_external_id, error)
        self._settle(report)

    def _settle(self, report: Report) -> None:
        if report.terminal and report.attempt is not None:
            self._settled(report.attempt)
