"""Duration texts (behaviour-core C-3.11)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchet.core.durations import MAX_SECONDS, parse_duration
from hatchet.core.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("100ms", 0.1),
        ("0s", 0.0),
        ("2m500ms", 120.5),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("1m1m", 120.0),
        ("30s1h", 3630.0),
    ],
)
def test_c_3_11_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "10",
        "-1s",
        "+1s",
        "1 s",
        " 1s",
        "1s ",
        "1d",
        "1S",
        "1e3s",
        "1,5h",
        "1.2.3s",
        "٣s",
        "1s\n",
        "1h30",
        ".s",
        "1us",
    ],
)
def test_c_3_11_other_texts_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(InvalidArgument, match="such as 90s") as refused:
        parse_duration(text)
    assert repr(text) in refused.value.message


@pytest.mark.parametrize("text", ["9999999999h", "1" * 5000 + "h"])
def test_a_duration_that_makes_no_valid_deadline_is_refused_shortly(text: str) -> None:
    with pytest.raises(InvalidArgument, match="290 years") as refused:
        parse_duration(text)
    assert len(refused.value.message) < 200


@given(hours=st.integers(0, 1000), minutes=st.integers(0, 1000), millis=st.integers(0, 10**6))
def test_c_3_11_parts_add_up(hours: int, minutes: int, millis: int) -> None:
    expected = hours * 3600 + minutes * 60 + millis / 1000
    assert parse_duration(f"{hours}h{minutes}m{millis}ms") == pytest.approx(expected)


@given(st.text(alphabet="0123456789.hms -", max_size=20))
def test_every_text_gives_seconds_or_invalid_argument(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except InvalidArgument:
        return
    assert 0 <= seconds <= MAX_SECONDS
