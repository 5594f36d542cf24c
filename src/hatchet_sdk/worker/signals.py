"""SIGINT and SIGTERM while a worker runs: the first asks to stop in good order, the second to stop at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LAST_RESORT_SECONDS = 3.0


class StopSignals:
    """Handles the signals inside a `with` block, on the main thread; on any other thread it does nothing.

    Plain handlers, not `loop.add_signal_handler`: those run when the loop gets to it, and a task that blocks the main
    loop would keep the worker from pausing. Both callbacks run between two instructions of whatever the main thread
    does, so they may only wake somebody.

    Args:
        first: called at the first signal.
        second: called with its number at the second; a third one has its default effect.
    """

    def __init__(self, *, first: Callable[[], None], second: Callable[[int], None]) -> None:
        self._first = first
        self._second = second
        self._seen = 0
        self._before: dict[signal.Signals, Any] = {}
        self._last_resort: threading.Timer | None = None

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def disarm(self) -> None:
        """Everything has ended after the second signal, nothing needs to be killed."""
        if self._last_resort is not None:
            self._last_resort.cancel()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._seen += 1
        if self._seen == 1:
            self._first()
        elif self._seen == 2:
            for handled in SIGNALS:
                signal.signal(handled, signal.SIG_DFL)
            # A task that blocks the main loop, or a thread that never returns, must not keep the process.
            self._last_resort = threading.Timer(LAST_RESORT_SECONDS, _exit, (128 + number,))
            self._last_resort.daemon = True
            self._last_resort.start()
            self._second(number)


def _exit(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)
