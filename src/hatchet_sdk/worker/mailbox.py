"""Hand-over of items from any thread to one event loop, one wake-up per burst.

`call_soon_threadsafe` writes to a socket and, when the loop sleeps, costs a switch of threads. Thousands of tasks per
second cross between the loops twice, so only the first item of a burst wakes the receiver; the rest lie in the deque
by the time it looks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue into `loop`. `put` from any thread; `receive(item)` runs on the loop, in the order of the puts.

    `receive` must not raise: an exception would keep back the rest of the burst.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[T], None]) -> None:
        self._loop = loop
        self._receive = receive
        self._items: deque[T] = deque()
        self._woken = False

    def put(self, item: T) -> None:
        self._items.append(item)
        # The order makes it safe without a lock: here the item is in the deque before the flag is read, and `_drain`
        # lowers the flag before it reads the deque. Whoever sees a raised flag knows that a look is still to come.
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                # The loop is closed: the worker has ended and nobody will act on the item.
                self._items.clear()

    def _drain(self) -> None:
        self._woken = False
        items = self._items
        # Only what is here now: under a steady stream of puts the loop must get to its other callbacks.
        for _ in range(len(items)):
            self._receive(items.popleft())
