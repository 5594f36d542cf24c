"""What a task writes with Python's `logging` goes to the log of its task run as well.

A handler at the logger of the configuration (the root logger unless told otherwise) sees the records of that logger and
of all below it; which task wrote one, the context variable tells.
"""

from __future__ import annotations

import logging
import threading

from hatchet_sdk.context.current import current_context
from hatchet_sdk.context.log_line import LogLevel
from hatchet_sdk.worker.log_queue import LogQueue

OUR_LOGGERS = frozenset({"hatchet.task", "hatchet.worker", "hatchet_sdk"})
"""Not captured: what `Context.log` writes is sent already, and the rest is about the worker."""


class LogCapture(logging.Handler):
    """Gives the records of the tasks of one worker to its queue. Make it on the connection thread."""

    def __init__(self, queue: LogQueue) -> None:
        super().__init__()
        self._queue = queue
        # What it logs while it sends a line would be the next line, for ever.
        self._own_thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        context = current_context.get()
        if (
            context is not None
            and context.log_sender is self._queue
            and record.name not in OUR_LOGGERS
            and threading.get_ident() != self._own_thread
        ):
            try:
                # With the formatter of a bare handler: the message, and the traceback if there is one.
                context.write_line(self.format(record), LogLevel.of(record.levelno), record.created)
            except Exception:
                self.handleError(record)
        self._show_as_before(record)

    def _show_as_before(self, record: logging.LogRecord) -> None:
        """Python prints warnings of a program without any handler to standard error; with this one it would not."""
        logger: logging.Logger | None = logging.getLogger(record.name)
        first: LogCapture | None = None
        while logger is not None:
            for handler in logger.handlers:
                if not isinstance(handler, LogCapture):
                    return
                first = first or handler
            logger = logger.parent if logger.propagate else None
        last_resort = logging.lastResort
        if first is self and last_resort is not None and record.levelno >= last_resort.level:
            last_resort.handle(record)
