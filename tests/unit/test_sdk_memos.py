"""The key of a memo and the form of its value (behaviour-durable D-12)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from hatchet_sdk.context.memos import Memoized

RUN = "3f0c2f5e-6f59-44f1-9e58-5a0e3d3c31d2"


class Model(BaseModel):
    at: datetime


@dataclass
class Pair:
    left: int


def build(*args: Any, **kwargs: Any) -> Pair:
    return Pair(1)


async def later(at: datetime) -> Model:
    return Model(at=at)


def _key(*args: Any, run: str = RUN, fn: Any = build, **kwargs: Any) -> bytes:
    return Memoized(run, fn, args, kwargs).key


def test_d_12_2_equal_calls_have_one_key() -> None:
    assert _key(1, "a", x=1, y=Pair(2)) == _key(1, "a", y=Pair(2), x=1)
    assert _key(UUID(RUN), Model(at=datetime(2026, 1, 1, tzinfo=UTC)), {3}) == _key(
        UUID(RUN), Model(at=datetime(2026, 1, 1, tzinfo=UTC)), {3}
    )


@pytest.mark.parametrize(
    "other",
    [
        {"args": (2,)},
        {"args": ("1",)},
        {"kwargs": {"x": 1}},
        {"run": "another"},
        {"fn": later},
    ],
)
def test_d_12_9_other_calls_have_another_key(other: dict[str, Any]) -> None:
    args, kwargs = other.get("args", (1,)), other.get("kwargs", {})
    assert _key(*args, run=other.get("run", RUN), fn=other.get("fn", build), **kwargs) != _key(1)


def test_an_argument_without_a_text_of_its_own_is_refused() -> None:
    class Client:
        pass

    with pytest.raises(TypeError, match=r"an argument of the memo of build: .*Client has no text of its own"):
        _key(Client())


@pytest.mark.parametrize(
    ("fn", "value"),
    [
        (build, Pair(7)),
        (later, Model(at=datetime(2026, 1, 2, tzinfo=UTC))),
        (lambda: None, [1, {"a": None}]),
        (int, 3),
    ],
)
def test_a_value_comes_back_as_it_was(fn: Any, value: Any) -> None:
    memo = Memoized(RUN, fn, (), {})
    assert memo.read(memo.text(value)) == value
