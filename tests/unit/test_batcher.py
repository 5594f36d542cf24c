"""Batching (design section 5): batches while busy, nobody waits while idle, one bad row never blocks the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchet.core.errors import InvalidArgument, ResourceExhausted, Unavailable
from hatchet.engine.batcher import Batcher

DEADLINE = 10.0


class Sink:
    """Takes batches; ``gate`` holds a flush, ``poison`` makes every batch with such an item fail."""

    def __init__(self, *, poison: frozenset[int] = frozenset()) -> None:
        self.batches: list[list[int]] = []
        self.written: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.error: Exception = ValueError("poison")
        self.poison = poison

    async def flush(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        self.entered.set()
        await self.gate.wait()
        if self.poison & set(batch):
            raise self.error
        self.written += batch
        return [item * 10 for item in batch]


async def results(futures: Sequence[asyncio.Future[int]]) -> list[object]:
    return list(await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), DEADLINE))


async def test_each_submitter_gets_its_own_result_in_order() -> None:
    sink = Sink()
    batcher = Batcher[int, int]("t", sink.flush, gap=0.0)
    assert await results(batcher.submit_all(range(5))) == [0, 10, 20, 30, 40]


async def test_items_collect_while_a_flush_is_under_way_up_to_the_maximum() -> None:
    sink = Sink()
    sink.gate.clear()
    batcher = Batcher[int, int]("t", sink.flush, maximum=4, gap=0.0)
    first = batcher.submit(0)
    await asyncio.wait_for(sink.entered.wait(), DEADLINE)
    others = [batcher.submit(number) for number in range(1, 7)]
    sink.gate.set()
    assert await results([first, *others]) == [0, 10, 20, 30, 40, 50, 60]
    assert sink.batches == [[0], [1, 2, 3, 4], [5, 6]]


async def test_one_poison_row_fails_alone() -> None:
    sink = Sink(poison=frozenset({5}))
    batcher = Batcher[int, int]("t", sink.flush, gap=0.0)
    got = await results(batcher.submit_all(range(8)))
    assert got[5] is sink.error
    assert [value for index, value in enumerate(got) if index != 5] == [0, 10, 20, 30, 40, 60, 70]
    assert sorted(sink.written) == [0, 1, 2, 3, 4, 6, 7]


@given(count=st.integers(1, 40), poison=st.frozensets(st.integers(0, 39), max_size=6))
def test_the_good_rows_are_written_once_and_the_bad_ones_fail(count: int, poison: frozenset[int]) -> None:
    async def run() -> None:
        sink = Sink(poison=poison)
        batcher = Batcher[int, int]("t", sink.flush, maximum=16, gap=0.0)
        got = await results(batcher.submit_all(range(count)))
        good = [number for number in range(count) if number not in poison]
        assert sorted(sink.written) == good
        for number, result in enumerate(got):
            assert result == number * 10 if number in good else isinstance(result, ValueError)

    asyncio.run(run())


async def test_a_database_that_is_away_fails_the_whole_batch_at_once_and_each_waiter_gets_its_own_exception() -> None:
    sink = Sink(poison=frozenset({0}))
    sink.error = Unavailable("away")
    batcher = Batcher[int, int]("t", sink.flush, gap=0.0)
    got = await results(batcher.submit_all(range(4)))
    assert len(sink.batches) == 1
    assert {type(error) for error in got} == {Unavailable}
    assert len({id(error) for error in got}) == 4
    assert {str(error) for error in got} == {"away"}


async def test_a_refused_row_keeps_its_error_class() -> None:
    sink = Sink(poison=frozenset({1}))
    sink.error = InvalidArgument("no")
    batcher = Batcher[int, int]("t", sink.flush, gap=0.0)
    got = await results(batcher.submit_all(range(2)))
    assert got[0] == 0
    assert isinstance(got[1], InvalidArgument)


async def test_the_next_batch_goes_on_after_a_failure() -> None:
    sink = Sink(poison=frozenset({0}))
    batcher = Batcher[int, int]("t", sink.flush, gap=0.0)
    await results([batcher.submit(0)])
    assert await results([batcher.submit(1)]) == [10]


async def test_past_the_high_water_mark_nothing_more_is_taken_and_later_it_is() -> None:
    sink = Sink()
    sink.gate.clear()
    batcher = Batcher[int, int]("t", sink.flush, gap=0.0, maximum=10, high_water=3)
    first = batcher.submit(0)
    await asyncio.wait_for(sink.entered.wait(), DEADLINE)
    waiting = batcher.submit_all([1, 2])
    with pytest.raises(ResourceExhausted):
        batcher.submit_all([3, 4])
    third = batcher.submit(3)
    with pytest.raises(ResourceExhausted):
        batcher.submit(4)
    sink.gate.set()
    assert await results([first, *waiting, third]) == [0, 10, 20, 30]
    assert await results([batcher.submit(4)]) == [40]
    assert sorted(sink.written) == [0, 1, 2, 3, 4]


async def test_a_submitter_that_gave_up_does_not_disturb_the_others() -> None:
    sink = Sink()
    sink.gate.clear()
    batcher = Batcher[int, int]("t", sink.flush, gap=0.0)
    gone, stays = batcher.submit_all([1, 2])
    await asyncio.wait_for(sink.entered.wait(), DEADLINE)
    gone.cancel()
    sink.gate.set()
    assert await results([stays]) == [20]
    assert sink.written == [1, 2]


async def test_drain_waits_for_everything_that_was_submitted() -> None:
    sink = Sink()
    batcher = Batcher[int, int]("t", sink.flush, maximum=2, gap=0.0)
    futures = batcher.submit_all(range(7))
    await asyncio.wait_for(batcher.drain(), DEADLINE)
    assert all(future.done() for future in futures)
    assert sink.written == list(range(7))


async def test_nothing_submitted_starts_nothing() -> None:
    batcher = Batcher[int, int]("t", Sink().flush)
    assert batcher.submit_all([]) == []
    await asyncio.wait_for(batcher.drain(), DEADLINE)
