"""The line protocol between the benchmark and a process that produces tasks; standard library only.

To the producer: ``allow N`` (it may have produced N tasks in all) and ``stop``. From it, a JSON object a line:
``{"event": "accepted", "total": N}`` after each request, anything else as the mode has it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Produce = Callable[[int], Awaitable[int]]
"""Produces that many tasks durably with one request; returns how many were accepted."""


def say(event: str, **fields: Any) -> None:
    """One line to the benchmark."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


async def standard_input() -> asyncio.StreamReader:
    """Standard input of this process as lines."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


class Allowance:
    """How many tasks may have been produced in all."""

    def __init__(self) -> None:
        self.allowed = 0
        self.taken = 0
        self.stopped = False
        self._changed = asyncio.Condition()

    async def take(self, most: int) -> int:
        """Wait until ``most`` more are allowed, and take them; 0 after the stop. Requests are never small ones."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.stopped or self.allowed - self.taken >= most)
            if self.stopped:
                return 0
            self.taken += most
            return most

    async def follow(self, lines: asyncio.StreamReader) -> None:
        """Obey the lines until ``stop`` or the end of the input."""
        while not self.stopped:
            word, _, number = (await lines.readline()).decode().strip().partition(" ")
            async with self._changed:
                if word == "allow":
                    self.allowed = int(number)
                else:
                    self.stopped = True
                self._changed.notify_all()


async def produce_on_credit(produce: Produce, *, size: int, in_flight: int) -> None:
    """Produce requests of ``size`` tasks, ``in_flight`` at a time, as far as the benchmark allows, until it stops."""
    allowance = Allowance()
    total = 0

    async def lane() -> None:
        nonlocal total
        while count := await allowance.take(size):
            accepted = await produce(count)
            total += accepted
            say("accepted", total=total)

    following = asyncio.create_task(allowance.follow(await standard_input()))
    say("ready")
    await asyncio.gather(following, *(lane() for _ in range(in_flight)))
    say("done", total=total)
