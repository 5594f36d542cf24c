"""What a load test logs, in the producer and in the worker alike."""

from __future__ import annotations

import logging


def show_logs(level: str) -> None:
    """Log to standard error from ``level`` on (``debug``, ``info``, ``warn``, ``error``)."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if level != "debug":
        logging.getLogger("httpx2").setLevel(logging.WARNING)
