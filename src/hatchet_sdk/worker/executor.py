"""Runs the functions: async ones on the main loop, sync ones in a pool of threads."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from hatchet_sdk.context.current import current_context
from hatchet_sdk.worker.attempt import Attempt
from hatchet_sdk.worker.job import Event
from hatchet_sdk.worker.mailbox import Mailbox

logger = logging.getLogger("hatchet.worker")

CANCEL_GRACE_SECONDS = 1.0
"""How long a cancelled async task may go on, to see `ctx.exit_flag` and end by itself (C-5.20)."""

# (attempt, what to tell the engine; empty for nothing)
Ended = tuple[Attempt, Sequence[Event]]


class Executor:
    """Takes attempts from the connection thread and gives them back ended.

    Args:
        loop: the main loop, where async tasks run.
        ended: receives every attempt exactly once, from whichever thread it ended on.
        threads: how many sync tasks may run at once; threads are started when they are first needed.
        context: every task runs in a copy of it.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[Ended], None],
        threads: int,
        context: contextvars.Context,
    ) -> None:
        self._loop = loop
        self._ended = ended
        self._to_loop: Mailbox[Attempt] = Mailbox(loop, self._on_loop)
        self._pool = ThreadPoolExecutor(max_workers=max(threads, 1), thread_name_prefix="hatchet-task")
        self._context = context
        self._running: set[Attempt] = set()
        self._in_threads: set[Attempt] = set()
        self._stopped = False

    def start(self, attempt: Attempt) -> None:
        """Begins the attempt. Called on the connection thread; a sync task goes to its thread from here, so that it
        does not wait for a main loop that an async task blocks."""
        if attempt.handler.is_async:
            self._to_loop.put(attempt)
            return
        try:
            self._pool.submit(self._context.copy().run, self._run_sync, attempt)
        except RuntimeError as error:
            # Shut down, or the system has no thread left.
            self._ended((attempt, attempt.job.failed(error)))

    def cancel(self, attempt: Attempt) -> None:
        """Acts on a cancelled attempt whose exit flag is up. Called on the connection thread.

        An async task is cancelled after `CANCEL_GRACE_SECONDS`, one that was evicted at once: its awaits raise
        CancelledError, and `finally` blocks can clean up. A sync task sees `ctx.exit_flag` (C-5.20). Once for an
        attempt, and once more when it is evicted after that.
        """
        if attempt.handler.is_async:
            self._to_loop.put(attempt)

    async def unwind(self, seconds: float) -> None:
        """Cancels all async tasks, without a report, and gives their `finally` blocks that long. On the main loop."""
        self._stopped = True
        tasks = [attempt.async_task for attempt in self._running if attempt.async_task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    @property
    def threads_busy(self) -> int:
        """How many sync tasks run."""
        return len(self._in_threads)

    def close(self) -> None:
        """Lets the threads of the pool end; does not wait for them."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _on_loop(self, attempt: Attempt) -> None:
        """A new attempt, or one whose exit flag was raised; in the second case it may be here for the second time."""
        task = attempt.async_task
        if task is not None:
            self._loop.call_later(0.0 if attempt.evicted else CANCEL_GRACE_SECONDS, task.cancel)
        elif attempt.context.is_cancelled or self._stopped:
            self._ended((attempt, ()))
        else:
            self._running.add(attempt)
            attempt.async_task = self._loop.create_task(self._run_async(attempt), context=self._context.copy())

    async def _run_async(self, attempt: Attempt) -> None:
        job, context = attempt.job, attempt.context
        events: Sequence[Event] = ()
        try:
            current_context.set(context)
            try:
                value = job.value()
            except Exception as error:
                events = job.failed(error.with_traceback(None), retry=False)
                return
            events = job.completed(await attempt.handler.task.fn(value, context))
        except KeyboardInterrupt:
            # Ctrl-C of a worker that does not handle signals: it is meant for the program, not for this task.
            raise
        except BaseException as error:
            # SystemExit too: the task fails, the worker lives. So does a CancelledError that we did not ask for.
            if not self._stopped and not context.is_cancelled:
                events = job.failed(_from_function(error))
        finally:
            self._running.discard(attempt)
            self._ended((attempt, () if context.is_cancelled else events))

    def _run_sync(self, attempt: Attempt) -> None:
        job, context = attempt.job, attempt.context
        events: Sequence[Event] = ()
        self._in_threads.add(attempt)
        try:
            if context.is_cancelled:
                return
            current_context.set(context)
            try:
                value = job.value()
            except Exception as error:
                events = job.failed(error.with_traceback(None), retry=False)
                return
            events = job.completed(attempt.handler.task.fn(value, context))
        except BaseException as error:
            events = job.failed(_from_function(error))
        finally:
            self._in_threads.discard(attempt)
            self._ended((attempt, () if context.is_cancelled else events))


def _from_function(error: BaseException) -> BaseException:
    """The error without our own frame, so that its traceback begins in the task's function."""
    trace = error.__traceback__
    return error if trace is None or trace.tb_next is None else error.with_traceback(trace.tb_next)
