"""Cron expressions (behaviour-core C-3.15, C-14.1, C-14.2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hatchet.core.errors import InvalidArgument
from hatchet.core.schedules import ALIASES, LONGEST, check_cron, check_zone, instants, next_after, split_zone

AT = datetime(2026, 11, 25, 4, 4, 20, 500_000, UTC).timestamp()


def told(expression: str, at: float = AT, zone: str | None = None) -> str:
    found = next_after(expression, zone or split_zone(expression)[0], at)
    return "never" if found is None else datetime.fromtimestamp(found, UTC).isoformat(sep=" ")[:19]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", "2026-11-25 04:05:00"),
        ("* * * * * *", "2026-11-25 04:04:21"),
        ("30 4 4 * * *", "2026-11-25 04:04:30"),
        ("*/15 * * * *", "2026-11-25 04:15:00"),
        ("5-10/2 * * * *", "2026-11-25 04:05:00"),
        ("0 0 1,15 * *", "2026-12-01 00:00:00"),
        ("0 0 * JAN MON", "2027-01-04 00:00:00"),
        ("0 9 * * mon-fri", "2026-11-25 09:00:00"),
        ("0 0 * * 7", "2026-11-29 00:00:00"),
        ("0 0 ? * 1", "2026-11-30 00:00:00"),
        ("0 0 1 * ?", "2026-12-01 00:00:00"),
        ("0 0 0 ? 12 ?", "2026-12-01 00:00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
        ("@yearly", "2027-01-01 00:00:00"),
        ("@annually", "2027-01-01 00:00:00"),
        ("@monthly", "2026-12-01 00:00:00"),
        ("@weekly", "2026-11-29 00:00:00"),
        ("@daily", "2026-11-26 00:00:00"),
        ("@hourly", "2026-11-25 05:00:00"),
        ("CRON_TZ=Europe/Berlin 0 6 * * *", "2026-11-25 05:00:00"),
        ("TZ=America/New_York @daily", "2026-11-25 05:00:00"),
        ("  0   5 * * *  ", "2026-11-25 05:00:00"),
    ],
)
def test_c_14_2_next_instant(expression: str, expected: str) -> None:
    assert check_cron(expression) is None
    assert told(expression) == expected


def test_c_14_2_day_of_month_and_day_of_week_either_matches() -> None:
    found = instants("0 0 13 * FRI", "UTC", AT, AT + 30 * 86_400, 10)
    days = [datetime.fromtimestamp(at, UTC).date().isoformat() for at in found]
    assert days == ["2026-11-27", "2026-12-04", "2026-12-11", "2026-12-13", "2026-12-18", "2026-12-25"]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "5 or 6 fields"),
        ("* * * *", "has 4"),
        ("* * * * * * *", "has 7"),
        ("60 * * * *", "its field minute"),
        ("60 * * * * *", "its field second"),
        ("* 24 * * *", "its field hour"),
        ("* * 32 * *", "its field day-of-month"),
        ("* * 0 * *", "its field day-of-month"),
        ("* * * FOO *", "its field month"),
        ("* * * * 8", "its field day-of-week"),
        ("* * * * MON#2/2", "day-of-week"),
        ("? * * * *", "its field minute"),
        ("*/0 * * * *", "its field minute"),
        ("5-1 * * * *", "its field minute"),
        ("0 0 30 2 *", "its field day-of-month"),
        ("* * * * \x00", "its field day-of-week"),
        ("@every 5s", "none of the aliases"),
        ("@reboot", "none of the aliases"),
        ("CRON_TZ=Mars/X * * * * *", "'Mars/X' is no time zone"),
        ("TZ= * * * * *", "'' is no time zone"),
        ("TZ=../etc/passwd * * * * *", "is no time zone"),
        ("TZ=Europe * * * * *", "is no time zone"),
        ("TZ=\x00 * * * * *", "is no time zone"),
        ("TZ=UTC", "5 or 6 fields"),
        ("9" * (LONGEST + 1), "longer than"),
    ],
)
def test_c_14_6_what_is_no_expression(expression: str, reason: str) -> None:
    assert reason in (check_cron(expression) or "")


def test_zones_are_checked() -> None:
    check_zone("Europe/Berlin")
    with pytest.raises(InvalidArgument, match="use a name such as"):
        check_zone("Berlin")


def test_c_14_1_a_fixed_hour_that_is_left_out_fires_once_at_the_change() -> None:
    # In Berlin the hour from two to three does not exist on 2026-03-29.
    at = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
    found = instants("30 2 * * *", "Europe/Berlin", at, at + 2 * 86_400, 10)
    assert [datetime.fromtimestamp(one, UTC).isoformat()[:16] for one in found] == [
        "2026-03-29T01:00",
        "2026-03-30T00:30",
    ]


def test_c_14_1_a_fixed_hour_that_comes_twice_fires_once() -> None:
    at = datetime(2026, 10, 24, 12, tzinfo=UTC).timestamp()
    found = instants("30 2 * * *", "Europe/Berlin", at, at + 2 * 86_400, 10)
    assert [datetime.fromtimestamp(one, UTC).isoformat()[:16] for one in found] == [
        "2026-10-25T00:30",
        "2026-10-26T01:30",
    ]
    # Asked in the second pass of that hour, it is the next day's turn.
    again = datetime(2026, 10, 25, 1, 10, tzinfo=UTC).timestamp()
    assert told("30 2 * * *", again, "Europe/Berlin") == "2026-10-26 01:30:00"


def test_c_14_1_steps_go_on_over_both_changes() -> None:
    for at in (datetime(2026, 3, 29, tzinfo=UTC).timestamp(), datetime(2026, 10, 24, 23, tzinfo=UTC).timestamp()):
        found = instants("*/30 * * * *", "Europe/Berlin", at, at + 4 * 3600, 100)
        assert found == [at + 1800 * number for number in range(1, 9)]


def test_instants_are_bounded() -> None:
    assert instants("* * * * * *", "UTC", 100.0, 105.0, 3) == [101.0, 102.0, 103.0]
    assert instants("* * * * * *", "UTC", 100.0, 103.0, 9) == [101.0, 102.0, 103.0]
    assert instants("* * * * *", "UTC", 100.0, 110.0, 9) == []


def test_an_expression_that_never_comes_has_no_instant() -> None:
    assert check_cron("0 0 31 2 MON#5") is None
    assert told("0 0 1 1 *", datetime(9999, 6, 1, tzinfo=UTC).timestamp()) == "never"


def test_c_14_14_what_cannot_be_read_is_an_invalid_argument() -> None:
    for expression, zone in (("x", "UTC"), ("* * * * *", "Mars/X")):
        with pytest.raises(InvalidArgument):
            next_after(expression, zone, AT)
        with pytest.raises(InvalidArgument):
            instants(expression, zone, AT, AT + 60, 1)


_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu")


def _field(low: int, high: int, *, named: int | None = None) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field and what it stands for; numbers that are named in it go to ``named``."""
    numbers = st.integers(low, high if named is None else named)

    def of_list(chosen: set[int]) -> tuple[str, frozenset[int]]:
        return ",".join(map(str, sorted(chosen))), frozenset(chosen)

    def of_range(ends: tuple[int, int], step: int) -> tuple[str, frozenset[int]]:
        first, last = min(ends), max(ends)
        # The library takes a range of one with a step for one without an end.
        text = str(first) if first == last else f"{first}-{last}/{step}"
        return text, frozenset(range(first, last + 1, step))

    return st.one_of(
        st.just(("*", frozenset(range(low, high + 1)))),
        st.builds(of_list, st.sets(numbers, min_size=1, max_size=4)),
        st.builds(of_range, st.tuples(numbers, numbers), st.integers(1, 20)),
        st.builds(lambda step: (f"*/{step}", frozenset(range(low, high + 1, step))), st.integers(1, 20)),
    )


@settings(max_examples=60, deadline=None)
@given(
    minutes=_field(0, 59),
    hours=_field(0, 23),
    days=_field(1, 31, named=28),
    months=_field(1, 12),
    weekdays=_field(0, 6),
    start=st.integers(0, 40 * 366 * 86_400),
)
def test_c_14_2_instants_are_those_of_a_naive_scan(
    minutes: tuple[str, frozenset[int]],
    hours: tuple[str, frozenset[int]],
    days: tuple[str, frozenset[int]],
    months: tuple[str, frozenset[int]],
    weekdays: tuple[str, frozenset[int]],
    start: int,
) -> None:
    expression = " ".join(field[0] for field in (minutes, hours, days, months, weekdays))
    is_either = not days[0].startswith("*") and not weekdays[0].startswith("*")
    begin = datetime.fromtimestamp(start - start % 60, UTC)
    expected = []
    for number in range(1, 24 * 60 + 1):
        moment = begin + timedelta(minutes=number)
        in_days, in_week = moment.day in days[1], moment.isoweekday() % 7 in weekdays[1]
        fits = (in_days or in_week) if is_either else (in_days and in_week)
        if moment.minute in minutes[1] and moment.hour in hours[1] and moment.month in months[1] and fits:
            expected.append(moment.timestamp())
    assert check_cron(expression) is None
    assert instants(expression, "UTC", begin.timestamp(), begin.timestamp() + 86_400, 5000) == expected


@settings(max_examples=60, deadline=None)
@given(
    clock=st.lists(st.sampled_from(["*", "*/7", "0", "30", "2", "1-3", "0,30"]), min_size=1, max_size=2),
    hours=st.sampled_from(["*", "*/5", "0", "2", "1-3", "0,23"]),
    weekdays=st.sampled_from(["*", "0", "1-3"]),
    zone=st.sampled_from(_ZONES),
    day=st.integers(0, 20 * 366),
    hour=st.integers(0, 86_399),
)
def test_c_14_9_instants_go_forward_and_are_on_the_clock_of_the_zone(
    clock: list[str], hours: str, weekdays: str, zone: str, day: int, hour: int
) -> None:
    expression = " ".join([*clock, hours, "*", "*", weekdays])
    at = 1_100_000_000.0 + day * 86_400 + hour
    assert check_cron(expression) is None
    found = instants(expression, zone, at, at + 3 * 86_400, 50)
    assert all(after > before for before, after in zip([at, *found], found, strict=False))
    assert found == [] or next_after(expression, zone, at) == found[0]
    if clock[-1] in ("0", "30"):
        assert {datetime.fromtimestamp(one, ZoneInfo(zone)).minute for one in found} <= {0, 30}


@given(text=st.text(alphabet="*/,-?#LW@0123456789 abcMONJAN=TZ_/\x00²", max_size=40))
def test_any_text_is_an_expression_or_has_a_reason(text: str) -> None:
    reason = check_cron(text)
    if reason is None:
        next_after(text, split_zone(text)[0], AT)
    else:
        assert reason.strip()


def test_c_3_15_every_alias_is_an_expression() -> None:
    assert set(ALIASES) == {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"}
    assert all(check_cron(text) is None for text in [*ALIASES, *ALIASES.values()])
