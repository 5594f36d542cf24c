"""Fixtures of the worker's tests; a test module names this in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.fake_dispatcher import FakeDispatcher
from fakes.fake_rest import FakeRest
from fakes.worker_world import config
from hatchet_sdk import Hatchet


@pytest.fixture
def fake() -> Iterator[FakeDispatcher]:
    fake = FakeDispatcher()
    yield fake
    fake.close()


@pytest.fixture
def rest() -> Iterator[FakeRest]:
    rest = FakeRest()
    yield rest
    rest.close()


@pytest.fixture
def hatchet(fake: FakeDispatcher, rest: FakeRest) -> Hatchet:
    return Hatchet(config=config(fake, rest))
