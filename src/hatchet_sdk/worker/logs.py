"""The worker's log lines, for programs that have not set up logging."""

from __future__ import annotations

import logging

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def show_unless_configured(*, debug: bool) -> None:
    """Lets the loggers below `hatchet` write to standard error from INFO on (DEBUG with `debug`), unless the program
    has given handlers to them or to the root logger: then it decides alone what is shown."""
    hatchet = logging.getLogger("hatchet")
    if not hatchet.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        hatchet.addHandler(handler)
        if hatchet.level == logging.NOTSET:
            hatchet.setLevel(logging.INFO)
    if debug:
        hatchet.setLevel(logging.DEBUG)
