"""The intervals of counts over time (behaviour-rest R-12.3)."""

from __future__ import annotations

import pytest

from hatchet.core.point_metrics import DAY, HOUR, MINUTE, MOST_POINTS, intervals, width


@pytest.mark.parametrize(
    ("seconds", "wide"),
    [
        (1, MINUTE),
        (61 * MINUTE - 1, MINUTE),
        (61 * MINUTE, 5 * MINUTE),
        (12 * HOUR - 1, 5 * MINUTE),
        (12 * HOUR, 30 * MINUTE),
        (48 * HOUR - 1, 30 * MINUTE),
        (48 * HOUR, 8 * HOUR),
        (8 * DAY - 1, 8 * HOUR),
        (8 * DAY, DAY),
    ],
)
def test_r_12_3_the_width_follows_from_the_range(seconds: float, wide: float) -> None:
    assert width(seconds) == wide


def test_r_12_3_intervals_hold_the_whole_range_and_no_more() -> None:
    assert intervals(90, 200) == ([60, 120, 180], MINUTE)
    assert intervals(60, 180) == ([60, 120], MINUTE)
    assert intervals(-30, 10)[0] == [-60, 0]


def test_r_12_3_of_a_range_without_end_the_last_intervals_are_told() -> None:
    begins, wide = intervals(-62_000_000_000, 1_750_000_000)
    assert (len(begins), wide) == (MOST_POINTS, DAY)
    assert begins[-1] <= 1_750_000_000 < begins[-1] + DAY
