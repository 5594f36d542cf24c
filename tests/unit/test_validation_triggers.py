"""Which event triggers, crons and default filters are refused (behaviour-core C-3.15, C-3.16, C-3.27)."""

from __future__ import annotations

import pytest
from test_validation import mistake, mistakes, workflow

from hatchet.core.rules import DefaultFilter
from hatchet.core.validation import validate

FILTER = DefaultFilter(scope="customers", expression="input.amount > payload.least", payload='{"least": 5}')


def test_good_triggers_pass() -> None:
    crons = ("*/5 * * * *", "0 0 12 ? JAN-MAR MON,FRI", "@daily", "@hourly", "* * * * * *")
    validate(
        workflow(
            event_triggers=("user:created", "user:*", "*", "a b", "ü" * 1000),
            cron_triggers=crons,
            cron_input='[1, {"a": null}]',
            default_filters=(FILTER, DefaultFilter(scope="s", expression="event_key == 'a' && event_id != ''")),
        )
    )


# Events -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("", "event_triggers[1] must not be empty: name a key of events"),
        ("a\x00", "event_triggers[1] 'a\\x00' must not contain the null character"),
        ("k" * 10_240, "must be at most 2000 bytes long, not 10240: shorten it"),
        ("ü" * 1001, "must be at most 2000 bytes long, not 2002: shorten it"),
    ],
)
def test_c_12_10_keys_of_event_triggers(key: str, text: str) -> None:
    told = mistake(workflow(event_triggers=("good", key)))
    assert text in told
    assert told.startswith("event_triggers[1]")
    assert len(told) < 200


# Crons --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "*/0 * * * *",
        "@never",
        "a\n* * * *",
        "* * * * *\x00",
        "TZ=No\nwhere * * * * *",
        "TZ=\x00 * * * * *",
    ],
)
def test_c_3_15_a_cron_that_cannot_be_read_is_refused_on_one_line(text: str) -> None:
    told = mistake(workflow(cron_triggers=("* * * * *", text)))
    assert told.startswith(f"cron_triggers[1] {text!r}: ")
    assert not told.endswith(": ")


@pytest.mark.parametrize("text", ["{", "", "[1,]", "NaN", '"\\u0000"'])
def test_c_3_16_the_input_of_crons_is_json(text: str) -> None:
    assert mistake(workflow(cron_triggers=("@daily",), cron_input=text)).startswith("invalid json in field cron_input")


# Filters ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (DefaultFilter(scope="", expression="true"), "scope is required"),
        (DefaultFilter(scope="a\x00", expression="true"), "scope 'a\\x00' must not contain the null character"),
        (DefaultFilter(scope="s" * 3000, expression="true"), "scope 'sss"),
        (DefaultFilter(scope="s", expression=""), "expression is required"),
        (DefaultFilter(scope="s", expression="input."), "expression 'input.' does not compile"),
        (DefaultFilter(scope="s", expression="workflow_run_id"), "expression 'workflow_run_id' does not compile"),
        (
            DefaultFilter(scope="s", expression="true", payload="[]"),
            "invalid json in field payload: it must be a JSON obj",
        ),
        (DefaultFilter(scope="s", expression="true", payload="{"), "invalid json in field payload"),
        (DefaultFilter(scope="s", expression="true", payload=""), "invalid json in field payload"),
        (DefaultFilter(scope="s", expression="true", payload='{"a": "\\u0000"}'), "invalid json in field payload"),
    ],
)
def test_c_3_27_default_filters(bad: DefaultFilter, text: str) -> None:
    told = mistake(workflow(default_filters=(FILTER, bad)))
    assert told.startswith(f"default_filters[1]: {text}")


def test_c_3_26_every_mistake_is_told() -> None:
    lines = mistakes(
        workflow(
            event_triggers=("", "\x00"),
            cron_triggers=("a", "b"),
            cron_input="x",
            default_filters=(DefaultFilter(scope="", expression="", payload="x"),),
        )
    )
    assert [line.partition(" ")[0].rstrip(":") for line in lines] == [
        "event_triggers[0]",
        "event_triggers[1]",
        "cron_triggers[0]",
        "cron_triggers[1]",
        "invalid",
        *["default_filters[0]"] * 3,
    ]
