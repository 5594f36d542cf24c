"""One piece of work on the connection thread, for callers that block and for callers that await.

The public methods of workflows come in twins. What they share is built once, as a ``Call``; a twin only says how to
wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from hatchet_sdk.wire.connection import Connection

A = TypeVar("A")
T = TypeVar("T")


class Call(Generic[A, T]):
    """Wait for it once, with ``block`` or ``wait``.

    ``work`` runs on the connection thread. ``finish`` makes the caller's value of its answer, on the caller's thread,
    because checking large results would hold up everybody there.
    """

    __slots__ = ("_connection", "_finish", "_work")

    def __init__(self, connection: Connection, work: Coroutine[Any, Any, A], finish: Callable[[A], T]) -> None:
        self._connection = connection
        self._work = work
        self._finish = finish

    def block(self) -> T:
        """Block this thread until the work is done."""
        return self._finish(blocked(self._connection.run, self._work))

    async def wait(self) -> T:
        """Await the end of the work; cancelling the caller cancels it."""
        return self._finish(await self._connection.call(self._work))


def blocked(run: Callable[[Coroutine[Any, Any, A]], A], work: Coroutine[Any, Any, A]) -> A:
    """What `run` returns for `work`. Cancelled work raises ``asyncio.CancelledError``, as it does in async code.

    Unlike the other exception of that name it is no ``Exception``: a durable task that was evicted must end, also when
    its function has an ``except Exception``.
    """
    try:
        return run(work)
    except futures.CancelledError:
        raise asyncio.CancelledError from None
