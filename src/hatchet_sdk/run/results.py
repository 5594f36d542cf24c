"""The pooled listener: one stream of results for all runs that this client waits for (behaviour-core C-7.1 to C-7.8).

Everything here runs on the connection thread. A run is entered into the table of open runs before its id is sent, and
after every break all open ids are sent again, so no result can be missed: the engine repeats the event for a run that
is final already (C-7.2, C-7.4). Should the stream stay unusable, the same loop asks for the state of the open runs.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import grpc

from hatchet_contracts.dispatcher_pb2 import SubscribeToWorkflowRunsRequest, WorkflowRunEvent
from hatchet_sdk.run.outcome import RunOutcome, from_details, from_event
from hatchet_sdk.wire import retry
from hatchet_sdk.wire.errors import EngineError

if TYPE_CHECKING:
    from hatchet_sdk.wire.connection import Connection

logger = logging.getLogger("hatchet_sdk")

RESEND_SECONDS = 60.0
"""How often open ids are sent again on a stream that looks healthy."""
STABLE_SECONDS = 5.0
"""A stream that lived this long was fine; its end does not count as a failure to open one."""
SWEEP_AFTER = 3
"""After so many failures in a row the runs are also looked up by GetRunDetails."""
SWEEP_AT_ONCE = 16
LONGEST_PAUSE = 5.0

REFUSALS = frozenset(
    {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT}
)
"""Ends of the stream that will not change: whoever waits is told."""

Waiter = asyncio.Future[RunOutcome]
Until = Callable[[RunOutcome], bool]
Stream = grpc.aio.StreamStreamCall[SubscribeToWorkflowRunsRequest, WorkflowRunEvent]


class ResultListener:
    """Waits for the ends of runs. Only on the connection thread; one object for a :class:`Connection`."""

    def __init__(self, connection: Connection, *, resend_seconds: float = RESEND_SECONDS) -> None:
        self._connection = connection
        self._resend_seconds = resend_seconds
        self._open: dict[str, list[Waiter]] = {}
        self._unsent: deque[str] = deque()
        self._wake = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._fetches: set[asyncio.Task[None]] = set()

    async def wait(self, run_id: str) -> RunOutcome:
        """The end of one run, however long it takes.

        Raises ``EngineError`` when the engine refuses to tell (token, permission).
        """
        waiter = self._expect(run_id)
        try:
            return await waiter
        finally:
            self._release(run_id, waiter)

    async def wait_all(self, run_ids: Sequence[str], *, until: Until | None) -> list[RunOutcome | None]:
        """The ends of several runs in the order of the ids.

        It returns early at the first end for which ``until`` is true; runs that were not over yet are None then.
        """
        waiters = [self._expect(run_id) for run_id in run_ids]
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = len(waiters)

        def ended(waiter: Waiter) -> None:
            nonlocal left
            left -= 1
            if over.done():
                return
            told = waiter.cancelled() or waiter.exception() is not None
            if left == 0 or (until is not None and (told or until(waiter.result()))):
                over.set_result(None)

        for waiter in waiters:
            waiter.add_done_callback(ended)
        try:
            if waiters:
                await over
            return [waiter.result() if waiter.done() else None for waiter in waiters]
        finally:
            for run_id, waiter in zip(run_ids, waiters, strict=True):
                waiter.remove_done_callback(ended)
                self._release(run_id, waiter)

    # --- the table of open runs ----------------------------------------------------------------------------------

    def _expect(self, run_id: str) -> Waiter:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        waiters = self._open.setdefault(run_id, [])
        waiters.append(waiter)
        if len(waiters) == 1:
            self._unsent.append(run_id)
            self._wake.set()
        if self._serving is None or self._serving.done():
            self._serving = asyncio.get_running_loop().create_task(self._serve(), name="hatchet-results")
            self._serving.add_done_callback(self._stopped)
        return waiter

    def _release(self, run_id: str, waiter: Waiter) -> None:
        waiters = self._open.get(run_id)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._open[run_id]

    def _resolve(self, outcome: RunOutcome, run_id: str) -> None:
        for waiter in self._open.pop(run_id, ()):
            if not waiter.done():
                waiter.set_result(outcome)

    def _fail_all(self, error: Exception) -> None:
        waiting, self._open = self._open, {}
        for waiters in waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error.again() if isinstance(error, EngineError) else error)

    def _stopped(self, serving: asyncio.Task[None]) -> None:
        if serving.cancelled():
            for waiters in self._open.values():
                for waiter in waiters:
                    waiter.cancel()
            return
        error = serving.exception()
        if isinstance(error, Exception):
            logger.error("the listener for results broke", exc_info=error)
            self._fail_all(error)

    # --- the stream ----------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while self._open:
            opened = loop.time()
            error = await self._one_stream()
            if error is not None and error.code() in REFUSALS:
                self._fail_all(error)
                return
            if not self._open:
                return
            failures = 0 if loop.time() - opened >= STABLE_SECONDS else failures + 1
            self._tell(error, failures)
            if failures >= SWEEP_AFTER:
                await self._sweep()
            await asyncio.sleep(_pause(failures))

    async def _one_stream(self) -> EngineError | None:
        """Use one stream until it ends; None for an end without error."""
        calls = self._connection.calls()
        self._unsent = deque(self._open)
        self._wake.set()
        stream = calls.subscribe_to_workflow_runs()
        writer = asyncio.create_task(self._write(stream), name="hatchet-results-ids")
        self._ask_again_later()
        try:
            while True:
                event = await stream.read()
                if not isinstance(event, WorkflowRunEvent):
                    return None  # grpc.aio.EOF; an end with an error status raises instead
                self._finished(event)
        except grpc.aio.AioRpcError as error:
            return calls.explain(error, "SubscribeToWorkflowRuns")
        finally:
            self._timer.cancel()
            writer.cancel()
            stream.cancel()

    async def _write(self, stream: Stream) -> None:
        try:
            while True:
                while self._unsent:
                    run_id = self._unsent.popleft()
                    if run_id in self._open:
                        await stream.write(SubscribeToWorkflowRunsRequest(workflow_run_id=run_id))
                self._wake.clear()
                await self._wake.wait()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream is over; the reader sees why.
            return

    def _ask_again_later(self) -> None:
        """A poll behind the push: an event that got lost anywhere costs a minute, not the whole wait."""
        self._timer = asyncio.get_running_loop().call_later(self._resend_seconds, self._ask_again)

    def _ask_again(self) -> None:
        self._unsent = deque(self._open)
        self._wake.set()
        self._ask_again_later()

    def _finished(self, event: WorkflowRunEvent) -> None:
        run_id = event.workflow_run_id
        if run_id not in self._open:
            return
        if event.results:
            self._resolve(from_event(event), run_id)
            return
        # The results were too large for the stream (C-7.12).
        fetch = asyncio.create_task(self._look_up(run_id))
        self._fetches.add(fetch)
        fetch.add_done_callback(self._fetches.discard)

    # --- GetRunDetails -------------------------------------------------------------------------------------------

    async def _look_up(self, run_id: str) -> None:
        try:
            details = await self._connection.calls().get_run_details(run_id)
            outcome = from_details(run_id, details)
        except EngineError as error:
            for waiter in self._open.pop(run_id, ()):
                if not waiter.done():
                    waiter.set_exception(error.again())
            return
        if outcome is not None:
            self._resolve(outcome, run_id)

    async def _sweep(self) -> None:
        """Look all open runs up, as far as the engine answers."""
        ids = iter(list(self._open))
        await asyncio.gather(*(self._sweep_some(ids) for _ in range(SWEEP_AT_ONCE)))

    async def _sweep_some(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            try:
                details = await self._connection.calls().get_run_details(run_id, policy=retry.ONCE)
            except EngineError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    continue
                return
            outcome = from_details(run_id, details)
            if outcome is not None:
                self._resolve(outcome, run_id)

    def _tell(self, error: EngineError | None, failures: int) -> None:
        level = logging.WARNING if failures and failures % 20 == SWEEP_AFTER else logging.DEBUG
        logger.log(
            level,
            "the stream of results ended (%s); %d runs are awaited, opening it again",
            error if error is not None else "closed by the engine",
            len(self._open),
        )


def _pause(failures: int) -> float:
    """Seconds before the next stream: 0.1, 0.2, ... up to 5, with jitter so that clients do not come back in step."""
    return min(LONGEST_PAUSE, 0.1 * float(2 ** min(failures, 10))) * random.uniform(0.5, 1.0)
