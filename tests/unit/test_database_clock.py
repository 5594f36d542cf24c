"""The clock that follows the database's: what a reading says depends on how long it took."""

from __future__ import annotations

import time

import pytest

from hatchet.engine.clock import DatabaseClock


@pytest.mark.parametrize(
    ("database_ahead", "took", "shift"),
    [
        (10.0, 0.0, 10.0),
        (-10.0, 0.2, -10.0),
        (0.04, 0.0, 0.0),  # noise
        (0.19, 0.4, 0.0),  # the database may have answered at the end
        (-0.19, 0.4, 0.0),  # or at once
        (0.25, 0.4, 0.25),  # not explained by the time that passed
        (10.0, 0.6, 0.0),  # too slow to say anything
    ],
)
def test_a_reading_moves_the_clock_by_what_its_duration_does_not_explain(
    monkeypatch: pytest.MonkeyPatch, database_ahead: float, took: float, shift: float
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    clock = DatabaseClock()
    before = 1000.0
    clock.follow(before + took / 2 + database_ahead, before, before + took)
    assert clock.now() == pytest.approx(1000.0 + shift, abs=1e-6)
