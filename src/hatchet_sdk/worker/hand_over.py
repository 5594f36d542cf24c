"""What comes for one invocation, given to the function one after the other in the order of its arrival (D-15.4).

Branches of a function that wait at once must go on in the same order every time, because the log knows their next steps
by place. The engine sends completions in the order of the first time (D-15.3); but what once took seconds comes in one
burst on a replay, and then a branch whose result has fewer turns of the event loops to go would overtake the one before
it. So each completion waits until the code behind the last one has gone on to its next step. Acknowledgements stand in
the same line: the code behind one may go on without waiting for anything, too. Connection thread only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hatchet_sdk.context.durable_log import Completion

TURNS = 12
"""Turns of an event loop from a result to the code behind it: the SDK needs four, and the function may have the step in
a task, a gather or a timeout of its own, nested."""
SETTLE_SECONDS = 1.0
"""For a main loop that does not turn, because a function blocks it; with a step of this very task perhaps."""

Done = asyncio.Future["Completion"]


class HandOver:
    """Args:
    main_loop: where async functions run.
    is_alone: whether the function has one step under way at most, so that nobody can be overtaken.
    """

    def __init__(self, main_loop: asyncio.AbstractEventLoop, is_alone: Callable[[], bool]) -> None:
        self._main_loop = main_loop
        self._is_alone = is_alone
        self._arrived: deque[Callable[[], bool]] = deque()
        self._turn: asyncio.Task[None] | None = None
        self._held = False
        self._goes_on_at_once = False

    def put(self, done: Done, completion: Completion) -> None:
        """The next completion."""
        self.put_answer(lambda: _completed(done, completion))

    def put_answer(self, give: Callable[[], bool]) -> None:
        """Something else that code goes on with. ``give``: hands it over; whether somebody may go on now."""
        self._arrived.append(give)
        self._go_on()

    def goes_on_at_once(self) -> None:
        """A step that needs no answer was asked for: the code behind the last completion has not come to rest yet."""
        self._goes_on_at_once = True

    def hold(self) -> None:
        """Nobody gets anything until `release`."""
        self._held = True

    def release(self) -> None:
        self._held = False
        self._go_on()

    def close(self) -> None:
        """Nobody gets anything any more."""
        self._arrived.clear()
        if self._turn is not None:
            self._turn.cancel()

    def _go_on(self) -> None:
        while self._arrived and self._turn is None and not self._held:
            was_alone = self._is_alone()
            if self._arrived.popleft()() and not was_alone:
                self._turn = asyncio.get_running_loop().create_task(self._settle())

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._come_to_rest()
        except TimeoutError:
            pass
        finally:
            self._turn = None
        self._go_on()

    async def _come_to_rest(self) -> None:
        self._goes_on_at_once = True
        while self._goes_on_at_once:
            self._goes_on_at_once = False
            await _turns()
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_turns(), self._main_loop))
            # What the code asked for in these turns has come as far as here then.
            await _turns()


def _completed(done: Done, completion: Completion) -> bool:
    """Results that are sent twice are no news."""
    if done.done():
        return False
    done.set_result(completion)
    return True


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
