"""Hand-over of items from any thread to one event loop, in bursts.

Waking a loop on another thread means a write to a socket, a switch of threads and a fight for the interpreter lock,
several times the cost of a small task. So a burst is woken for once, at its first item, which is taken at once; then
the receiver itself looks again after a short while, for as long as it finds something, and nobody needs to wake it.
An idle mailbox adds no delay, a busy one at most `GAP_SECONDS`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

GAP_SECONDS = 0.002


class Mailbox(Generic[T]):
    """A queue into `loop`. `put` from any thread; `receive(item)` runs on the loop, in the order of the puts.

    `receive` must not raise: an exception would keep back the rest of the burst.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[T], None]) -> None:
        self._loop = loop
        self._receive = receive
        self._items: deque[T] = deque()
        # Raised while the receiver is going to look by itself.
        self._awake = False
        self._next: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many items nobody has received yet."""
        return len(self._items)

    def put(self, item: T) -> None:
        self._items.append(item)
        # The order makes it safe without a lock: here the item is in the deque before the flag is read, and `_look`
        # lowers the flag before it reads the deque. Whoever sees a raised flag knows that a look is still to come.
        if not self._awake:
            self._awake = True
            try:
                self._loop.call_soon_threadsafe(self._look)
            except RuntimeError:
                # The loop is closed: the worker has ended and nobody will act on the item.
                self._items.clear()
                self._awake = False

    def _look(self) -> None:
        self._awake = False
        items = self._items
        if not items:
            return
        self._awake = True
        if self._next is not None:
            # Rarely a put between the two lines above has ordered a look of its own; one chain of looks is enough.
            self._next.cancel()
        self._next = self._loop.call_later(GAP_SECONDS, self._look)
        # Only what is here now: under a steady stream of puts the loop must get to its other callbacks.
        for _ in range(len(items)):
            self._receive(items.popleft())
