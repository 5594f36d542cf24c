"""The thread and event loop on which all gRPC traffic of the SDK lives.

User code may block its own event loop or thread for as long as it likes: heartbeats, reports and results travel on this
thread and are not delayed by it. The thread is a daemon, created at its first use, one for the process.

A process that was forked before the first use gets a thread of its own. One that was forked after it cannot: grpc's
state in the child hangs or aborts the process, so the child is told instead.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

CLOSE_SECONDS = 2.0
"""How long the end of the process waits for open channels and streams to close."""


def _new_loop() -> asyncio.AbstractEventLoop:
    """An event loop of uvloop where it is installed: it saves a tenth of what the connection costs."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class ConnectionThread:
    """A daemon thread that runs one asyncio event loop until the process ends."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self._closers: dict[object, Callable[[], Awaitable[None]]] = {}
        self._thread = threading.Thread(target=self._serve, name="hatchet-connection", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def is_current(self) -> bool:
        """Whether the caller runs on this thread."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``coroutine`` on the connection thread; cancelling the future cancels it there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the connection thread and block until it ends.

        Works inside a running event loop of the caller too, and blocks that loop like any synchronous call.
        An interruption of the caller (Ctrl-C) cancels the coroutine.

        Raises: whatever the coroutine raises; RuntimeError when called on the connection thread itself.
        """
        if self.is_current():
            coroutine.close()
            raise RuntimeError(
                "a blocking call of hatchet_sdk was made on its own connection thread; use the aio_ variant"
            )
        future = self.submit(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the connection thread and await it from the caller's event loop.

        Cancelling the caller cancels the coroutine.
        """
        if self.is_current():
            return await coroutine
        return await asyncio.wrap_future(self.submit(coroutine))

    def close_at_exit(self, key: object, closer: Callable[[], Awaitable[None]]) -> None:
        """Remember to await ``closer`` on this thread before the process ends."""
        self._closers[key] = closer

    def forget(self, key: object) -> None:
        """Undo :meth:`close_at_exit`."""
        self._closers.pop(key, None)

    def stop(self) -> None:
        """Close what was registered, cancel what still runs, and end the thread. Waits a few seconds at most."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(Exception):
            self.submit(self._wind_up()).result(CLOSE_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CLOSE_SECONDS)

    async def _wind_up(self) -> None:
        # The streams first: a channel that closes under a running call makes grpc log from its destructor.
        me = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not me]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        closers, self._closers = list(self._closers.values()), {}
        await asyncio.gather(*(closer() for closer in closers), return_exceptions=True)


_lock = threading.Lock()
_current: ConnectionThread | None = None
_forked_too_late = False


def connection_thread() -> ConnectionThread:
    """The process-wide connection thread, started if need be.

    Raises ``RuntimeError`` in a process that was forked when its parent was connected already.
    """
    thread = _current
    return thread if thread is not None else _start()


def _start() -> ConnectionThread:
    global _current
    if _forked_too_late:
        raise RuntimeError(
            "this process was forked after hatchet_sdk had connected in its parent, and grpc does not survive that; "
            "fork before the first call (declaring tasks is fine), or start the process with multiprocessing's 'spawn'"
        )
    with _lock:
        if _current is None:
            _current = ConnectionThread()
        return _current


def _forget_after_fork() -> None:
    global _current, _lock, _forked_too_late
    _forked_too_late = _forked_too_late or (_current is not None and "grpc._cython.cygrpc" in sys.modules)
    _current = None
    _lock = threading.Lock()


def _stop_at_exit() -> None:
    global _current
    thread, _current = _current, None
    if thread is not None:
        thread.stop()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(_stop_at_exit)
