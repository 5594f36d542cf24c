"""The memos of a durable task (behaviour-durable D-12)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from fakes.durable_world import durable_worker, error_of, output_of
from fakes.fake_durable import FakeDurable
from fakes.worker_world import Number, running
from hatchet_sdk import DurableContext, Hatchet

pytest_plugins = ["fakes.durable_fixtures"]


@dataclass
class Receipt:
    at: datetime
    total: int


def test_d_12_5_a_memo_is_computed_once(fake: FakeDurable, hatchet: Hatchet) -> None:
    computed: list[int] = []

    async def add_up(a: int, *, b: int) -> Receipt:
        computed.append(a + b)
        return Receipt(datetime(2026, 1, 2, tzinfo=UTC), a + b)

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        receipt = await ctx.aio_memo(add_up, 1, b=2)
        assert isinstance(receipt, Receipt)
        plain = await ctx.aio_memo(lambda: [1, 2])
        return {
            "total": receipt.total,
            "year": receipt.at.year,
            "plain": plain,
            "now": (await ctx.aio_now()).isoformat(),
        }

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        first = output_of(fake, action)
        again = fake.next_invocation(action, retry_count=1)
        fake.wait_for(lambda: fake.events(again).count("COMPLETED") == 2, "the second invocation ends")
    assert computed == [3]
    assert first["total"] == 3
    outputs = [json.loads(event.event_payload) for event in fake.requests("SendStepActionEvent")]
    assert outputs == [first, first]
    assert len(fake.asked("complete_memo")) == 3


def test_d_12_6_a_memo_without_a_value_is_computed_again(fake: FakeDurable, hatchet: Hatchet) -> None:
    calls: list[int] = []

    def fragile() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("not this time")
        return 7

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        return {"value": await ctx.aio_memo(fragile)}

    with running(durable_worker(hatchet, task)):
        action = fake.start_durable("task:task")
        assert "RuntimeError: not this time" in error_of(fake, action)
        fake.next_invocation(action, retry_count=1)
        fake.wait_for(lambda: "COMPLETED" in fake.events(action), "the second invocation ends")
    assert len(calls) == 2


def test_d_12_8_a_memo_goes_on_without_the_word_of_an_engine_that_says_nothing(
    fake: FakeDurable, hatchet: Hatchet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hatchet_sdk.worker.durable_invocation.CONFIRM_SECONDS", 0.05)
    fake.swallow.add("complete_memo")

    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        return {"value": [await ctx.aio_memo(int), await ctx.aio_memo(str)]}

    with running(durable_worker(hatchet, task)):
        assert output_of(fake, fake.start_durable("task:task")) == {"value": [0, ""]}


def test_a_memo_that_json_cannot_hold_is_refused(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> None:
        await ctx.aio_memo(object)

    with running(durable_worker(hatchet, task)):
        assert "TypeError: the memo of object returned what JSON cannot hold" in error_of(
            fake, fake.start_durable("task:task")
        )


def test_a_memo_above_the_message_limit_is_refused_and_the_stream_lives_on(fake: FakeDurable, hatchet: Hatchet) -> None:
    async def task(input: Number, ctx: DurableContext) -> dict[str, Any]:
        try:
            await ctx.aio_memo(lambda: "x" * 5_000_000)
        except ValueError as error:
            await ctx.aio_sleep_for("1ms")
            return {"error": str(error)}
        return {}

    with running(durable_worker(hatchet, task)):
        assert "the value of a memo has 50" in output_of(fake, fake.start_durable("task:task"))["error"]
    assert fake.durable_streams == 1
