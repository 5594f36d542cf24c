"""What happens to every request before it is routed: its id, and the greatest size of its body."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import structlog
from starlette.types import Receive, Scope, Send

from hatchet.core.clock import HeldClock
from hatchet.core.ids import parse_uuid
from hatchet.engine.clock import UuidIds
from hatchet.logs import configure
from hatchet.rest.body_limit import BodyLimit
from hatchet.rest.errors import api_errors, framework_error
from hatchet.rest.request_ids import RequestIds
from hatchet.rest.request_limits import RequestLimits


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body."""
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RuntimeError("the client went away")
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


def client(app: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost")


async def parts(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


@pytest.mark.parametrize("size", [0, 99, 100])
async def test_a_body_up_to_the_limit_is_read(size: int) -> None:
    async with client(BodyLimit(reading, 100)) as browser:
        assert (await browser.post("/", content=b"x" * size)).text == str(size)
        assert (await browser.post("/", content=parts(size // 2, size - size // 2))).text == str(size)


async def test_a_larger_body_is_413_with_or_without_its_length() -> None:
    async with client(BodyLimit(reading, 100)) as browser:
        for content in (b"x" * 101, parts(60, 41), parts(101, 1_000_000)):
            answer = await browser.post("/", content=content)
            assert answer.status_code == 413
            [error] = answer.json()["errors"]
            assert error == {"description": "the body is larger than 100 bytes; send less in one request."}


async def test_a_length_that_lies_does_not_let_more_through() -> None:
    async with client(BodyLimit(reading, 100)) as browser:
        answer = await browser.post("/", content=parts(60, 60), headers={"Content-Length": "5"})
        assert answer.status_code == 413


async def test_an_error_of_the_application_stays_its_own() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("mine")

    async with client(BodyLimit(failing, 100)) as browser:
        with pytest.raises(ValueError, match="mine"):
            await browser.post("/", content=b"x")


async def test_an_answer_that_was_begun_is_finished() -> None:
    """An application that answers before it reads is left to end its answer."""

    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 201, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body", "body": b"done"})

    async with client(BodyLimit(early, 100)) as browser:
        answer = await browser.post("/", content=parts(60, 60))
        assert (answer.status_code, answer.text) == (201, "done")


@pytest.mark.parametrize("given", ["abc", "0195f2a0-0000-7000-8000-000000000001", "a" * 128, "trace=1:2/3+4"])
async def test_a_request_id_that_was_given_comes_back(given: str) -> None:
    async with client(RequestIds(reading, UuidIds())) as browser:
        assert (await browser.post("/", headers={"X-Request-Id": given})).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "a\tb", 'a"b', "{}", "é"])
async def test_other_request_ids_are_replaced(given: str) -> None:
    async with client(RequestIds(reading, UuidIds())) as browser:
        found = (await browser.post("/", headers=[(b"X-Request-Id", given.encode())])).headers["x-request-id"]
        assert parse_uuid(found) is not None


async def test_every_log_line_of_a_request_names_it() -> None:
    begun = asyncio.Barrier(2)

    async def logging(scope: Scope, receive: Receive, send: Send) -> None:
        await begun.wait()
        structlog.stdlib.get_logger("test").info("hello", path=scope["path"])
        await reading(scope, receive, send)

    lines = io.StringIO()
    before = structlog.get_config()
    try:
        configure(format_name="json", level_name="info", stream=lines)
        async with client(RequestIds(logging, UuidIds())) as browser:
            await asyncio.gather(*(browser.post(f"/{one}", headers={"X-Request-Id": f"id-{one}"}) for one in "ab"))
        structlog.stdlib.get_logger("test").info("after")
    finally:
        structlog.configure(**before)
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert {(line.get("path"), line.get("request_id")) for line in found} == {
        ("/a", "id-a"),
        ("/b", "id-b"),
        (None, None),
    }


def test_r_4_1_the_window_slides_and_refused_requests_do_not_count() -> None:
    clock = HeldClock()
    limits = RequestLimits(clock, most=2, window_seconds=10)
    assert limits.take("a", "login") is None
    clock.advance(4)
    assert limits.take("a", "login") is None
    for _ in range(5):
        assert limits.take("a", "login") == 6
    assert limits.take("a", "logout") is None
    assert limits.take("b", "login") is None
    clock.advance(6)
    assert limits.take("a", "login") is None
    assert limits.take("a", "login") == 4


def test_r_4_1_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hatchet.rest.request_limits.MOST_REMEMBERED", 3)
    limits = RequestLimits(HeldClock(), most=1)
    for address in "abcd":
        assert limits.take(address, "login") is None
    assert limits.take("d", "login") is not None
    assert limits.take("a", "login") is None
    assert len(limits._taken) == 3


def test_r_1_10_an_error_may_quote_what_no_answer_can_hold() -> None:
    """Half of a surrogate pair in a request's JSON comes back as its escape, not as a failure of the server."""
    for answer in (api_errors(400, {"description": "no \ud800", "code": 5}), framework_error(400, "no \ud800")):
        assert answer.status_code == 400
        assert b"no \\\\ud800" in bytes(answer.body)
