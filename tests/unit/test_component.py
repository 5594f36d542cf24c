"""The life of a background loop."""

from __future__ import annotations

import asyncio

from hatchet.engine.component import Loop


class Counting(Loop):
    def __init__(self, pause: float) -> None:
        super().__init__("counting", pause)
        self.turns = 0
        self.turned = asyncio.Event()

    async def turn(self) -> None:
        self.turns += 1
        self.turned.set()
        if self.turns == 2:
            raise ZeroDivisionError


async def turned(loop: Counting) -> None:
    loop.turned.clear()
    await asyncio.wait_for(loop.turned.wait(), 5)


async def test_a_loop_turns_after_its_pause_and_when_nudged_also_after_an_error() -> None:
    loop = Counting(0.001)
    await loop.start()
    for _ in range(4):
        await turned(loop)
    await loop.stop()
    patient = Counting(3600)
    await patient.start()
    for expected in (1, 2, 3):
        await turned(patient)
        assert patient.turns == expected
        # Once it waits again.
        await asyncio.sleep(0)
        patient.nudge()
    await patient.stop()


async def test_a_stop_that_comes_together_with_a_nudge_ends_the_loop() -> None:
    loop = Counting(3600)
    await loop.start()
    await turned(loop)
    await asyncio.sleep(0)
    loop.nudge()
    await asyncio.wait_for(loop.stop(), 5)
