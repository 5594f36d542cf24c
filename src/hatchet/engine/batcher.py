"""Batch while the previous commit is in flight; never sleep to fill a batch (design section 5).

While a flush runs, items collect; when it returns, all that collected goes next, up to a maximum. When idle nothing
waits, so the latency at low load is one commit. When busy, flush starts keep a minimum gap: natural batches would
shrink to two rows under load, and the gap saves a fifth of the CPU.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from hatchet.core.errors import HatchetError, ResourceExhausted, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

Flush = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


class Pace:
    """Keeps the starts of flushes apart: at least ``gap`` seconds, and longer while flushes take long.

    A flush that took long was one of a busy server; waiting some times as long makes the next batch larger instead of
    letting many small ones compete. The first flush after a pause never waits.
    """

    LONGEST = 0.020
    TIMES = 4

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._next_start = 0.0
        self._started = 0.0

    async def wait(self) -> None:
        """Return when the next flush may start."""
        loop = asyncio.get_running_loop()
        delay = self._next_start - loop.time()
        if delay > 0:
            await asyncio.sleep(delay)
        self._started = loop.time()

    def done(self) -> None:
        """The flush that :meth:`wait` let start is over."""
        took = asyncio.get_running_loop().time() - self._started
        self._next_start = self._started + max(self._gap, min(self.TIMES * took, self.LONGEST)) if self._gap else 0.0


class Batcher(Generic[Item, Result]):
    """Collects items and writes them in batches; each item's submitter waits for its own result.

    ``flush`` gets a batch and returns one result per item, in order. One bad item never blocks the others: when a flush
    fails for a reason other than an absent database, the batch is halved until the culprit stands alone and its
    submitter alone gets the error (design section 4.7).
    """

    def __init__(
        self,
        name: str,
        flush: Flush[Item, Result],
        *,
        maximum: int = 1000,
        gap: float = 0.002,
        high_water: int = 50_000,
    ) -> None:
        self.name = name
        self._flush = flush
        self._maximum = maximum
        self._pace = Pace(gap)
        self._high_water = high_water
        self._pending: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Queue one item. Raises :class:`ResourceExhausted` past the high-water mark: memory stays bounded."""
        return self.submit_all((item,))[0]

    def submit_all(self, items: Sequence[Item]) -> list[asyncio.Future[Result]]:
        """Queue several items together, all or none."""
        if len(self._pending) + len(items) > self._high_water:
            raise ResourceExhausted(
                f"the server is behind: {len(self._pending)} writes are waiting in '{self.name}'; try again in a moment"
            )
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Result]] = []
        for item in items:
            future: asyncio.Future[Result] = loop.create_future()
            futures.append(future)
            self._pending.append((item, future))
        if self._task is None and self._pending:
            self._task = loop.create_task(self._run(), name=f"batcher:{self.name}")
        return futures

    async def drain(self) -> None:
        """Wait until everything that was submitted has been written."""
        while self._task is not None:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            while self._pending:
                await self._pace.wait()
                batch = [self._pending.popleft() for _ in range(min(len(self._pending), self._maximum))]
                await self._write(batch)
                self._pace.done()
        finally:
            self._task = None

    async def _write(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except asyncio.CancelledError:
            _fail(batch, Unavailable("the server is stopping; the write may not have happened"))
            raise
        except Unavailable as error:
            _fail(batch, error)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _fail(batch: Sequence[tuple[object, asyncio.Future[Result]]], error: Exception) -> None:
    for _, future in batch:
        if future.done():
            continue
        future.set_exception(error if len(batch) == 1 or not isinstance(error, HatchetError) else _copy(error))
        # A submitter that was cancelled meanwhile never asks: do not let the interpreter complain about it.
        future.exception()


def _copy(error: HatchetError) -> HatchetError:
    """One exception object per waiter: they are raised in several tasks and each adds its own traceback."""
    copy = type(error).__new__(type(error))
    HatchetError.__init__(copy, error.message)
    copy.__cause__ = error
    return copy
