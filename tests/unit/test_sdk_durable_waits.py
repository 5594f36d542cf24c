"""What an invocation waits for, with several branches that wait at once (behaviour-durable D-17.3)."""

from __future__ import annotations

import asyncio

import pytest

from hatchet_sdk.context.durable_log import Completion
from hatchet_sdk.worker.durable_requests import Entry
from hatchet_sdk.worker.durable_waits import Waits

GOOD, BAD = Completion(b"{}"), Completion(b"", "it failed")


def _entries(count: int) -> list[Entry]:
    return [Entry((1, node), asyncio.get_running_loop().create_future()) for node in range(1, count + 1)]


def _start(waits: Waits, entries: list[Entry], what: str, *, stop_at_failure: bool = False) -> asyncio.Task[None]:
    return asyncio.create_task(waits.end_of(entries, what, stop_at_failure=stop_at_failure, begun=lambda left: None))


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_d_17_3_the_time_counts_from_the_first_of_overlapping_waits() -> None:
    waits, (one, two) = Waits(), _entries(2)
    assert waits.since is None
    first = _start(waits, [one], "a sleep")
    await _turns()
    began = waits.since
    second = _start(waits, [two], "an event")
    await _turns()
    assert waits.since == began
    assert waits.reasons == "a sleep, an event"
    one.done.set_result(GOOD)
    await first
    assert (waits.since, waits.reasons) == (began, "an event")
    two.done.set_result(GOOD)
    await second
    assert waits.since is None


async def test_an_entry_that_two_wait_for_stays_awaited_when_one_is_gone() -> None:
    waits, (one,) = Waits(), _entries(1)
    first, second = _start(waits, [one], "a child"), _start(waits, [one, one], "a child")
    await _turns()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert list(waits.awaited) == [one.key]
    one.done.set_result(GOOD)
    await second
    assert waits.awaited == {}


@pytest.mark.parametrize("stop_at_failure", [True, False])
async def test_a_failure_ends_a_wait_that_stops_there(stop_at_failure: bool) -> None:
    waits, (one, two, three) = Waits(), _entries(3)
    waiting = _start(waits, [one, two, three], "children", stop_at_failure=stop_at_failure)
    await _turns()
    one.done.set_result(GOOD)
    await _turns()
    assert not waiting.done()
    two.done.set_result(BAD)
    await _turns()
    assert waiting.done() is stop_at_failure
    three.done.set_result(GOOD)
    await waiting


async def test_a_failure_that_is_known_needs_no_wait() -> None:
    waits, (one, two) = Waits(), _entries(2)
    one.done.set_result(BAD)
    await waits.end_of([one, two], "children", stop_at_failure=True, begun=pytest.fail)
    assert waits.since is None


async def test_the_end_of_an_invocation_ends_its_waits() -> None:
    waits, (one, two) = Waits(), _entries(2)
    waiting = _start(waits, [one, two], "children")
    await _turns()
    one.done.cancel()
    await waiting
    assert not two.done.done()
