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

from hatchet_contracts.dispatcher_pb2 import STEP_EVENT_TYPE_FAILED, BatchActionEvent, StepActionEvent
from hatchet_sdk.wire.batch_events import halves
from hatchet_sdk.wire.calls import Calls
from hatchet_sdk.wire.errors import EngineError, is_too_large
from hatchet_sdk.wire.retry import ONCE, USER_ERRORS
from hatchet_sdk.worker.attempt import Attempt
from hatchet_sdk.worker.job import Event
from hatchet_sdk.worker.outcome import Outcomes
from hatchet_sdk.worker.report_batches import batch_event, take_batch

logger = logging.getLogger("hatchet.worker")

MAX_IN_FLIGHT = 64
"""More calls at once do not make it faster, they only lengthen the queue inside grpc."""
BATCHES_IN_FLIGHT = 2
"""While so many calls are under way, the reports that come collect for the next one."""
MAX_TRIES = 20
FIRST_WAIT_SECONDS = 0.5
MAX_WAIT_SECONDS = 10.0


ONE_REPORT_IS_WRONG = USER_ERRORS | {StatusCode.RESOURCE_EXHAUSTED}
"""Refusals of a batch that may be due to one of its reports; each is then sent by itself."""


@dataclass(slots=True, eq=False)
class Report:
    """An event on its way.

    Attributes:
        attempt: whose event it is; None if the worker does not hold the attempt.
        terminal: it ends the attempt, and must arrive.
        tries: how often it failed although the engine should have been there.
    """

    event: Event
    attempt: Attempt | None
    terminal: bool = True
    tries: int = 0


def _subject(event: Event) -> str:
    """Whose event it is, for log lines."""
    if isinstance(event, BatchActionEvent):
        return f"batch {event.batch_id} ({len(event.items)} runs)"
    return f"task {event.task_run_external_id}"


def _is_stale(report: Report) -> bool:
    """A STARTED of an attempt that has ended meanwhile says nothing new."""
    return not report.terminal and report.attempt is not None and not report.attempt.running


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
        batches: whether the engine takes several reports in one call.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        route: Route,
        outcomes: Outcomes,
        settled: Callable[[Attempt], None],
        batches: bool = False,
    ) -> None:
        self._loop = loop
        self._route = route
        self._outcomes = outcomes
        self._settled = settled
        self._queue: deque[Report] = deque()
        self._waiting: dict[Report, asyncio.TimerHandle] = {}
        self._senders: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._batches = batches
        self._lanes = BATCHES_IN_FLIGHT if batches else MAX_IN_FLIGHT

    def send(self, report: Report) -> None:
        """Queues a report; it leaves at once unless as many calls as are allowed are under way."""
        self._queue.append(report)
        if len(self._senders) < self._lanes:
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
            taken = take_batch(self._queue) if self._batches else [self._queue.popleft()]
            reports = [report for report in taken if not _is_stale(report)]
            if reports:
                await self._send(reports)

    async def _send(self, reports: list[Report]) -> None:
        calls = self._route.calls
        try:
            await self._call(calls, reports)
        except EngineError as error:
            if error.code() is StatusCode.UNAVAILABLE:
                self._route.channel_failed(calls)
            if len(reports) > 1 and error.code() in ONE_REPORT_IS_WRONG:
                for report in reports:
                    await self._send([report])
                return
            for report in reports:
                self._failed(report, error)
        except asyncio.CancelledError:
            if self._closing_down():
                raise
            # grpc cancels the calls of a channel that closes under them.
            for report in reports:
                self._repeat(report)
        except Exception:
            logger.exception("the report of %s could not be sent", _subject(reports[0].event))
            for report in reports:
                self._settle(report)
        else:
            for report in reports:
                self._settle(report)

    async def _call(self, calls: Calls, reports: list[Report]) -> None:
        worker_id, first = self._route.worker_id, reports[0].event
        if isinstance(first, BatchActionEvent):
            first.worker_id = worker_id
            await calls.send_batch_action_event(first, policy=ONCE)
        elif len(reports) > 1:
            events = [report.event for report in reports if isinstance(report.event, StepActionEvent)]
            await calls.send_batch_action_event(batch_event(events, worker_id), policy=ONCE)
        else:
            first.worker_id = worker_id
            await calls.send_step_action_event(first, policy=ONCE)

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
        event = report.event
        text = f"the report of the task has {event.ByteSize()} bytes, the engine refused it: {error.details()}"
        if isinstance(event, StepActionEvent):
            self.send(Report(self._outcomes.failed_with_text(attempt.action, text), attempt))
            return
        if len(event.items) == 1:
            event.event_type = STEP_EVENT_TYPE_FAILED
            event.items[0].event_payload = text
        parts = halves(event)
        attempt.unsent += len(parts) - 1
        for part in parts:
            self.send(Report(part, attempt))

    def _give_up(self, report: Report, error: EngineError) -> None:
        if report.terminal:
            logger.error("the result of %s is lost: %s", _subject(report.event), error)
            if report.attempt is not None:
                report.attempt.unreported = True
        self._settle(report)

    def _settle(self, report: Report) -> None:
        if report.terminal and report.attempt is not None:
            self._settled(report.attempt)
