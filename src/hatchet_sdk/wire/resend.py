"""Calls of a running task that must get through a short absence of the engine, on whatever channel works by then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from grpc import StatusCode

from hatchet_sdk.wire.calls import Calls
from hatchet_sdk.wire.errors import EngineError, is_too_large
from hatchet_sdk.wire.retry import USER_ERRORS

WAITS_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 5.0)
"""Pauses between the tries: together enough for the restart of an engine."""


class Link(Protocol):
    """Where the present channel is found; another may take its place between two tries."""

    @property
    def calls(self) -> Calls: ...


async def until_sent(link: Link, send: Callable[[Calls], Awaitable[None]]) -> None:
    """Makes the call, and again after a failure that may pass. On the connection thread.

    Args:
        send: makes the call once.

    Raises:
        EngineError: the engine refused, or did not come back within about 11 s.
    """
    for wait in (*WAITS_SECONDS, None):
        try:
            await send(link.calls)
            return
        except EngineError as error:
            if wait is None or not _may_pass(error):
                raise
        except asyncio.CancelledError:
            # grpc cancels the calls of a channel that the worker replaced; a caller that gives up looks the same.
            task = asyncio.current_task()
            if wait is None or task is None or task.cancelling() > 0:
                raise
        await asyncio.sleep(wait)


def _may_pass(error: EngineError) -> bool:
    if error.code() in USER_ERRORS:
        return False
    return not (error.code() is StatusCode.RESOURCE_EXHAUSTED and is_too_large(error.details()))
