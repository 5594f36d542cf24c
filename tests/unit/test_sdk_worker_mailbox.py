"""The hand-over between threads: nothing lost, order kept, one wake-up per burst."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from typing import Any

from hatchet_sdk.worker.mailbox import Mailbox


class CountingLoop:
    """Passes calls on to the running loop and counts the wake-ups."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.wakes = 0

    def call_soon_threadsafe(self, callback: Any, *arguments: Any) -> asyncio.Handle:
        self.wakes += 1
        return self._loop.call_soon_threadsafe(callback, *arguments)

    def call_later(self, delay: float, callback: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(delay, callback)


async def test_many_threads_lose_nothing_and_keep_their_order() -> None:
    got: dict[int, list[int]] = defaultdict(list)
    done = asyncio.Event()
    total = 0

    def receive(item: tuple[int, int]) -> None:
        nonlocal total
        got[item[0]].append(item[1])
        total += 1
        if total == 4 * 5000:
            done.set()

    mailbox: Mailbox[tuple[int, int]] = Mailbox(asyncio.get_running_loop(), receive)

    def put(thread: int) -> None:
        for number in range(5000):
            mailbox.put((thread, number))

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.wait_for(done.wait(), 20)
    for thread in threads:
        thread.join()
    assert dict(got) == {number: list(range(5000)) for number in range(4)}


async def test_a_burst_wakes_the_receiver_once() -> None:
    got: list[int] = []
    done = asyncio.Event()

    def receive(item: int) -> None:
        got.append(item)
        if item == 999:
            done.set()

    loop = CountingLoop()
    mailbox: Mailbox[int] = Mailbox(loop, receive)  # type: ignore[arg-type]
    for number in range(1000):
        mailbox.put(number)
    await asyncio.wait_for(done.wait(), 20)
    assert got == list(range(1000))
    assert loop.wakes == 1


async def test_an_idle_mailbox_wakes_again() -> None:
    arrived: asyncio.Queue[int] = asyncio.Queue()
    mailbox: Mailbox[int] = Mailbox(asyncio.get_running_loop(), arrived.put_nowait)
    for number in range(3):
        mailbox.put(number)
        assert await asyncio.wait_for(arrived.get(), 20) == number
        # Until it has found itself empty.
        while mailbox._awake:  # noqa: ASYNC110  # nobody announces it
            await asyncio.sleep(0)


def test_a_put_after_the_end_of_the_loop_is_dropped() -> None:
    loop = asyncio.new_event_loop()
    mailbox: Mailbox[int] = Mailbox(loop, lambda item: None)
    loop.close()
    mailbox.put(1)
    mailbox.put(2)
    assert not mailbox._items
