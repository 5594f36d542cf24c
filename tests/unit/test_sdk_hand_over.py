"""Results of steps that branches of a function await at once: nobody overtakes, whatever lies between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future

import pytest

from hatchet_sdk.context.durable_log import Completion
from hatchet_sdk.worker.hand_over import Done, HandOver

RESULT = Completion(b"{}")


@pytest.fixture
def main_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The loop of the functions, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _branch(step: Future[Completion], name: int, depth: int, order: list[int]) -> None:
    """Awaits the step through as many tasks."""
    result = asyncio.wrap_future(step)
    waiting: Awaitable[object] = result
    for _ in range(depth):
        waiting = asyncio.ensure_future(_through(waiting))
    await waiting
    order.append(name)


async def _through(waiting: Awaitable[object]) -> None:
    await waiting


async def _turns() -> None:
    """Long enough that everybody waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def _in_a_burst(
    main_loop: asyncio.AbstractEventLoop, depths: list[int], give: Callable[[Done], None]
) -> list[int]:
    """The order in which branches go on whose results come all at once, in the order of their numbers."""
    order: list[int] = []
    loop = asyncio.get_running_loop()
    done: list[Done] = [loop.create_future() for _ in depths]

    async def step(future: Done) -> Completion:
        return await future

    branches = []
    for name, depth in enumerate(depths):
        there = asyncio.run_coroutine_threadsafe(step(done[name]), loop)
        branches.append(asyncio.run_coroutine_threadsafe(_branch(there, name, depth, order), main_loop))
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_turns(), main_loop))
    for future in done:
        give(future)
    await asyncio.gather(*(asyncio.wrap_future(branch) for branch in branches))
    return order


DEPTHS = [5, 0, 3, 0, 4, 1, 0]


async def test_d_15_4_branches_go_on_in_the_order_of_arrival(main_loop: asyncio.AbstractEventLoop) -> None:
    hand_over = HandOver(main_loop, lambda: False)
    assert await _in_a_burst(main_loop, DEPTHS, lambda done: hand_over.put(done, RESULT)) == [0, 1, 2, 3, 4, 5, 6]


async def test_d_15_17_acknowledgements_do_not_overtake_completions(main_loop: asyncio.AbstractEventLoop) -> None:
    """On a replay both come in one burst, and the code behind an acknowledgement may go on at once."""
    hand_over = HandOver(main_loop, lambda: False)

    def acknowledged(done: Done) -> bool:
        done.set_result(RESULT)
        return True

    numbers = iter(range(len(DEPTHS)))

    def give(done: Done) -> None:
        if next(numbers) % 2:
            hand_over.put_answer(lambda: acknowledged(done))
        else:
            hand_over.put(done, RESULT)

    assert await _in_a_burst(main_loop, DEPTHS, give) == [0, 1, 2, 3, 4, 5, 6]


async def test_d_13_7_code_that_goes_on_at_once_is_waited_for(main_loop: asyncio.AbstractEventLoop) -> None:
    """A step that needs no answer: the code behind the first completion asks for several before it waits."""
    hand_over = HandOver(main_loop, lambda: False)
    loop = asyncio.get_running_loop()
    first, second = (loop.create_future() for _ in range(2))
    order: list[str] = []

    async def at_once() -> None:
        hand_over.goes_on_at_once()

    async def branch() -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_step(first), loop))
        for _ in range(5):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(at_once(), loop))
        order.append("first")

    async def other() -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_step(second), loop))
        order.append("second")

    running = [asyncio.run_coroutine_threadsafe(one, main_loop) for one in (branch(), other())]
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_turns(), main_loop))
    hand_over.put(first, RESULT)
    hand_over.put(second, RESULT)
    await asyncio.gather(*map(asyncio.wrap_future, running))
    assert order == ["first", "second"]


async def _step(future: Done) -> Completion:
    return await future


async def test_without_it_they_would_overtake(main_loop: asyncio.AbstractEventLoop) -> None:
    """Or the test above would prove nothing. The main loop sees all results at once."""
    blocked = threading.Event()

    def give(done: Done) -> None:
        main_loop.call_soon_threadsafe(blocked.wait)
        done.set_result(RESULT)
        asyncio.get_running_loop().call_later(0.01, blocked.set)

    order = await _in_a_burst(main_loop, DEPTHS, give)
    assert order != [0, 1, 2, 3, 4, 5, 6]


async def test_a_single_branch_gets_its_result_at_once(main_loop: asyncio.AbstractEventLoop) -> None:
    hand_over = HandOver(main_loop, lambda: True)
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
    hand_over.put(first, RESULT)
    hand_over.put(first, Completion(b"[]"))  # D-15.5: sent again
    hand_over.put(second, RESULT)
    assert first.result() is second.result() is RESULT


async def test_what_is_held_comes_in_order_later_or_never(main_loop: asyncio.AbstractEventLoop) -> None:
    hand_over = HandOver(main_loop, lambda: True)
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
    hand_over.hold()
    hand_over.put(first, RESULT)
    assert not first.done()
    hand_over.release()
    assert first.done()
    hand_over.hold()
    hand_over.put(second, RESULT)
    hand_over.close()
    hand_over.release()
    assert not second.done()


async def test_a_main_loop_that_a_function_blocks_holds_up_nobody_for_ever(
    main_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be blocked by a step of the same function, whose result is the next one."""
    monkeypatch.setattr("hatchet_sdk.worker.hand_over.SETTLE_SECONDS", 0.01)
    hand_over = HandOver(main_loop, lambda: False)
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
    blocked = threading.Event()
    main_loop.call_soon_threadsafe(blocked.wait)
    try:
        hand_over.put(first, RESULT)
        hand_over.put(second, RESULT)
        assert await second is RESULT
    finally:
        blocked.set()
