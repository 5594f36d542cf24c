"""Triggers runs at the asked rate and waits for the end of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from hatchet.cli.loadtest.plan import Plan
from hatchet.cli.loadtest.tasks import Workflow
from hatchet_sdk import EngineError, FailedTaskRunExceptionGroup, TaskRunRef

LARGEST_REQUEST = 1000
DEFAULT_REQUESTS = 8
MOST_OPEN = 5_000
"""Runs that may wait for their result: more would measure the memory of this process."""

TICK_SECONDS = 0.005

Clock = Callable[[], float]
Ref = TaskRunRef[dict[str, Any], dict[str, float]]


@dataclass(slots=True, frozen=True)
class Timing:
    """One finished run: when it was triggered (seconds since 1970), and the seconds until start and result."""

    triggered: float
    to_start: float
    to_result: float


@dataclass(slots=True)
class Tally:
    """What became of everything. ``strange`` runs failed although they should not, or the other way round."""

    accepted: int = 0
    refused: int = 0
    completed: int = 0
    failed: int = 0
    strange: int = 0
    emitting_seconds: float = 0.0
    total_seconds: float = 0.0
    timings: list[Timing] = field(default_factory=list)
    first_error: str = ""

    @property
    def lost(self) -> int:
        """Accepted runs whose end did not come."""
        return self.accepted - self.completed - self.failed

    def note_error(self, error: BaseException) -> None:
        self.first_error = self.first_error or f"{type(error).__name__}: {error}"


def is_chosen(number: int, share: float) -> bool:
    """Whether the run of that number belongs to the share: evenly spread, the same in every load test."""
    return int((number + 1) * share) > int(number * share)


class Producer:
    """One load test's side of the client."""

    def __init__(self, plan: Plan, workflows: list[Workflow], *, clock: Clock = time.monotonic) -> None:
        self.tally = Tally()
        self._plan = plan
        self._workflows = workflows
        self._clock = clock
        self._payload = "x" * plan.payload_bytes
        self._requests = asyncio.Semaphore(plan.emit_workers or DEFAULT_REQUESTS)
        self._open: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._numbers = 0
        self._defect: BaseException | None = None

    async def run(self) -> Tally:
        """Emit for the plan's time, wait for what is open, and tell."""
        began = self._clock()
        await self._emit(began)
        self.tally.emitting_seconds = self._clock() - began
        await self._finish(self._clock() + self._plan.wait)
        self.tally.total_seconds = self._clock() - began
        if self._defect is not None:
            raise self._defect
        return self.tally

    async def _emit(self, began: float) -> None:
        emitted = 0
        while (elapsed := self._clock() - began) < self._plan.seconds:
            due = self._due(elapsed, emitted)
            if due == 0 or len(self._open) >= MOST_OPEN:
                await asyncio.sleep(TICK_SECONDS)
                continue
            await self._requests.acquire()
            emitted += due
            self._start(self._sending, self._send(due))
        # Everything that was due before the end belongs to the load test.
        for due in _portions(self._due(self._plan.seconds, emitted) if self._plan.rate else 0):
            await self._requests.acquire()
            self._start(self._sending, self._send(due))

    def _due(self, elapsed: float, emitted: int) -> int:
        if self._plan.rate == 0:
            return LARGEST_REQUEST // self._plan.fanout or 1
        return min(int(elapsed * self._plan.rate) - emitted, LARGEST_REQUEST)

    async def _send(self, events: int) -> None:
        """Trigger ``events`` events, each of which starts every workflow once."""
        try:
            await asyncio.gather(*(self._trigger(workflow, events) for workflow in self._workflows))
        finally:
            self._requests.release()

    async def _trigger(self, workflow: Workflow, count: int) -> None:
        numbers = range(self._numbers, self._numbers + count)
        self._numbers += count
        fails = [is_chosen(number, self._plan.failure_rate) for number in numbers]
        items = [workflow.create_bulk_run_item(input={"data": self._payload, "fails": each}) for each in fails]
        triggered = time.time()
        try:
            refs = await workflow.aio_run_many(items, wait_for_result=False)
        except EngineError as error:
            self.tally.refused += count
            self.tally.note_error(error)
            return
        self.tally.accepted += len(refs)
        for number, ref, should_fail in zip(numbers, refs, fails, strict=True):
            sampled = is_chosen(number, self._plan.sample_rate)
            self._start(self._open, self._follow(ref, triggered, should_fail=should_fail, sampled=sampled))

    async def _follow(self, ref: Ref, triggered: float, *, should_fail: bool, sampled: bool) -> None:
        tally = self.tally
        try:
            result = await ref.aio_result()
        except (FailedTaskRunExceptionGroup, ValueError) as error:
            tally.failed += 1
            if not should_fail:
                tally.strange += 1
                tally.note_error(error)
            return
        except EngineError as error:
            tally.note_error(error)
            return
        ended = time.time()
        tally.completed += 1
        tally.strange += should_fail
        if sampled:
            tally.timings.append(Timing(triggered, result["started"] - triggered, ended - triggered))

    async def _finish(self, deadline: float) -> None:
        await _gathered(self._sending, deadline - self._clock())
        await _gathered(self._open, deadline - self._clock())

    def _start(self, group: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        group.add(task)

        def done(task: asyncio.Task[None]) -> None:
            group.discard(task)
            if not task.cancelled():
                self._defect = self._defect or task.exception()

        task.add_done_callback(done)


def _portions(count: int) -> list[int]:
    return [min(LARGEST_REQUEST, count - begin) for begin in range(0, count, LARGEST_REQUEST)]


async def _gathered(tasks: set[asyncio.Task[None]], seconds: float) -> None:
    """Wait for them, and cancel those that are not done in time."""
    if not tasks:
        return
    _, late = await asyncio.wait(set(tasks), timeout=max(seconds, 0.0))
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
