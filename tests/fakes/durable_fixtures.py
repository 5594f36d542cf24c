"""Fixtures of the tests of durable tasks; a test module names this in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.fake_durable import FakeDurable
from fakes.fake_rest import FakeRest
from fakes.worker_world import config
from hatchet_sdk import Hatchet


@pytest.fixture
def fake() -> Iterator[FakeDurable]:
    fake = FakeDurable()
    yield fake
    fake.close()


@pytest.fixture
def rest() -> Iterator[FakeRest]:
    rest = FakeRest()
    yield rest
    rest.close()


@pytest.fixture
def hatchet(fake: FakeDurable, rest: FakeRest) -> Hatchet:
    return Hatchet(config=config(fake, rest))
