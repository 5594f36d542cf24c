"""The order of stream chunks (behaviour-core C-7.42 to C-7.45)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hatchet.core import stream_order
from hatchet.core.stream_order import GAP_SECONDS, MOST_WAITING, StreamOrder


def test_chunks_in_order_pass_at_once() -> None:
    order: StreamOrder[str] = StreamOrder()
    assert [order.take(index, text, 0.0) for index, text in enumerate("abc")] == [["a"], ["b"], ["c"]]
    assert order.waiting == []


def test_c7_43_an_early_chunk_waits_for_those_before_it() -> None:
    order: StreamOrder[str] = StreamOrder()
    assert order.take(2, "c", 0.0) == []
    assert order.take(1, "b", 0.0) == []
    assert order.waiting == ["b", "c"]
    assert order.take(0, "a", 0.0) == ["a", "b", "c"]


def test_c7_43_a_gap_is_given_up_after_five_seconds_and_the_order_goes_on_behind_it() -> None:
    assert GAP_SECONDS == 5.0
    order: StreamOrder[str] = StreamOrder()
    order.take(0, "a", 0.0)
    order.take(3, "d", 1.0)
    order.take(4, "e", 2.0)
    assert order.expire(5.9) == []
    assert order.expire(6.0) == ["d", "e"]
    assert order.take(1, "b", 6.0) == []
    assert order.take(5, "f", 6.0) == ["f"]


def test_c7_43_each_chunk_waits_its_own_time_and_lower_ones_go_before_it() -> None:
    order: StreamOrder[str] = StreamOrder()
    order.take(5, "f", 0.0)
    order.take(2, "c", 4.0)
    order.take(8, "i", 4.0)
    assert order.expire(5.0) == ["c", "f"]
    assert order.expire(8.9) == []
    assert order.expire(9.0) == ["i"]


def test_c7_44_chunks_without_index_pass_at_once_and_do_not_count() -> None:
    order: StreamOrder[str] = StreamOrder()
    assert order.take(1, "b", 0.0) == []
    assert order.take(None, "?", 0.0) == ["?"]
    assert order.take(0, "a", 0.0) == ["a", "b"]


def test_c7_44_a_new_attempt_starts_at_0_again() -> None:
    order: StreamOrder[str] = StreamOrder()
    order.take(0, "a", 0.0)
    order.take(2, "late", 0.0)
    assert order.begin(1) == ["late"]
    assert order.take(1, "B", 0.0) == []
    assert order.take(0, "A", 0.0) == ["A", "B"]
    assert order.begin(1) == []
    assert order.begin(0) == []
    assert (order.attempt, order.following) == (1, 2)


def test_c7_44_the_first_chunk_of_an_attempt_may_overtake_the_word_of_its_start() -> None:
    order: StreamOrder[str] = StreamOrder()
    order.take(0, "a", 0.0)
    order.end(0)
    assert order.take(0, "A", 0.0) == ["A"]
    assert order.attempt == 1
    assert order.begin(1) == []
    assert order.take(1, "B", 0.0) == ["B"]


def test_c7_45_chunks_after_the_end_of_the_attempt_are_still_ordered() -> None:
    order: StreamOrder[str] = StreamOrder()
    order.end(0)
    assert order.take(1, "b", 0.0) == []
    assert order.take(0, "a", 0.0) == ["a", "b"]
    order.take(4, "e", 0.0)
    order.take(3, "d", 0.0)
    assert order.flush() == ["d", "e"]
    assert order.flush() == []


def test_an_index_is_forwarded_once() -> None:
    order: StreamOrder[str] = StreamOrder()
    order.take(0, "a", 0.0)
    order.take(2, "c", 0.0)
    assert order.take(0, "again", 0.0) == []
    assert order.take(2, "again", 0.0) == []
    assert order.holds(2, "c")
    assert not order.holds(2, "again")
    assert order.take(1, "b", 0.0) == ["b", "c"]


def test_the_order_begins_where_the_chunks_before_went_another_way() -> None:
    order: StreamOrder[str] = StreamOrder()
    assert order.take(41, "later", 0.0, base=40) == []
    assert order.take(40, "x", 0.0, base=40) == ["x", "later"]
    # Only the first chunk tells: afterwards the order is known here.
    assert order.take(50, "y", 0.0, base=50) == []
    assert StreamOrder[str](2, 7).take(7, "z", 0.0) == ["z"]


def test_what_waits_is_bounded() -> None:
    order: StreamOrder[int] = StreamOrder()
    for index in range(1, MOST_WAITING + 1):
        assert order.take(index, index, 0.0) == []
    assert order.take(MOST_WAITING + 5, 0, 0.0) == list(range(1, MOST_WAITING + 1))
    assert order.take(MOST_WAITING + 10, 1, 0.0, size=stream_order.MOST_WAITING_SIZE) == []
    assert order.take(MOST_WAITING + 15, 2, 0.0, size=1) == [0, 1]
    assert order.waiting == [2]


@given(st.permutations(list(range(12))), st.sets(st.integers(0, 11)), st.lists(st.integers(0, 11), max_size=5))
def test_whatever_comes_goes_out_once_and_in_order(arrivals: list[int], lost: set[int], repeated: list[int]) -> None:
    order: StreamOrder[int] = StreamOrder()
    out: list[int] = []
    for index in [index for index in arrivals if index not in lost]:
        out += order.take(index, index, 0.0)
        for again in repeated:
            if again in out:
                out += order.take(again, again, 0.0)
    before_gap = [index for index in range(12) if not any(gap <= index for gap in lost)]
    assert out == before_gap
    out += order.expire(GAP_SECONDS)
    assert out == [index for index in range(12) if index not in lost]
    assert order.waiting == []
