"""Logs: one line per event in both formats, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from hatchet.core.errors import InvalidArgument
from hatchet.logs import REDACTED, configure, redact

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def logger(name: str) -> structlog.stdlib.BoundLogger:
    return structlog.stdlib.get_logger(name)  # type: ignore[no-any-return]


def crash() -> None:
    raise ValueError("first line\nsecond line")


def test_json_is_one_object_per_line(stream: io.StringIO) -> None:
    configure(format_name="json", level_name="info", stream=stream)
    logger("test.json").info("worker joined", worker_id="w1", slots=3)
    [line] = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["level"], event["message"], event["worker_id"], event["slots"]) == ("info", "worker joined", "w1", 3)
    assert event["logger"] == "test.json"
    assert event["time"].endswith("Z")


def test_console_shows_level_message_and_values(stream: io.StringIO) -> None:
    configure(format_name="console", level_name="info", stream=stream)
    logger("test.console").warning("worker left", worker="a b")
    [line] = stream.getvalue().splitlines()
    assert line.endswith('WARNING test.console: worker left worker="a b"')


@pytest.mark.parametrize("format_name", ["json", "console"])
def test_an_exception_stays_on_its_line(stream: io.StringIO, format_name: str) -> None:
    configure(format_name=format_name, level_name="info", stream=stream)
    try:
        crash()
    except ValueError:
        logger("test.exception").exception("it failed", detail="two\nlines")
    [line] = stream.getvalue().splitlines()
    assert "second line" in line
    assert "ValueError" in line


@pytest.mark.parametrize("format_name", ["json", "console"])
def test_the_standard_library_logs_in_the_same_form(stream: io.StringIO, format_name: str) -> None:
    configure(format_name=format_name, level_name="info", stream=stream)
    logging.getLogger("some.library").warning("port %s is odd", 7)
    [line] = stream.getvalue().splitlines()
    assert "port 7 is odd" in line
    assert "some.library" in line


def test_the_level_decides(stream: io.StringIO) -> None:
    configure(format_name="json", level_name="WARN", stream=stream)
    logger("test.level").info("not shown")
    logger("test.level").error("shown")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["shown"]


@pytest.mark.parametrize(("format_name", "level_name"), [("xml", "info"), ("json", "loud")])
def test_unknown_settings_are_named(format_name: str, level_name: str) -> None:
    with pytest.raises(InvalidArgument, match="SERVER_LOGGER_"):
        configure(format_name=format_name, level_name=level_name)


@pytest.mark.parametrize(
    "name", ["token", "api_token", "password", "admin_password", "client_secret", "authorization", "Authorization"]
)
def test_values_with_a_secret_name_are_taken_out(name: str) -> None:
    assert redact(None, "info", {name: "hunter2", "event": "e"}) == {name: REDACTED, "event": "e"}


def test_secrets_inside_values_are_taken_out() -> None:
    event = {
        "event": f"refused {TOKEN}",
        "headers": {"authorization": f"bearer {TOKEN}", "accept": "x"},
        "dsn": "postgresql://user:hunter2@db:5432/x",
        "pairs": [("k", f"Bearer {TOKEN}")],
    }
    cleaned = redact(None, "info", event)
    assert "hunter2" not in repr(cleaned)
    assert TOKEN not in repr(cleaned)
    assert cleaned["headers"]["accept"] == "x"
    assert cleaned["dsn"] == f"postgresql://user:{REDACTED}@db:5432/x"


def test_what_only_sounds_secret_stays() -> None:
    event = {"event": "token created", "token_id": "01a2", "tokens": 5, "key_path": "/data/keys"}
    assert redact(None, "info", dict(event)) == event


@pytest.mark.parametrize("format_name", ["json", "console"])
def test_no_token_reaches_a_line_even_in_a_traceback(stream: io.StringIO, format_name: str) -> None:
    configure(format_name=format_name, level_name="debug", stream=stream)
    try:
        raise ValueError(f"cannot use {TOKEN}")
    except ValueError:
        logger("test.secret").exception("refused", token=TOKEN, text=f"got {TOKEN}")
        logging.getLogger("some.library").exception("with %s", TOKEN)
    assert TOKEN not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 2
