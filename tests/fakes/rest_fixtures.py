"""Fixtures of the feature clients' tests; a test module names this in `pytest_plugins`, beside `worker_fixtures`."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, cast

import pytest

from fakes.caller_world import QuickWait
from fakes.fake_dispatcher import FakeDispatcher
from fakes.fake_rest import FakeRest
from fakes.rest_world import Both
from fakes.worker_world import config
from hatchet_sdk import Hatchet


@pytest.fixture
def caller(fake: FakeDispatcher, rest: FakeRest) -> Hatchet:
    """A client with a namespace that repeats failed calls at once."""
    settings = config(fake, rest, namespace="ns")
    settings.tenacity.wait = cast("Any", QuickWait)
    return Hatchet(config=settings)


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Both:
    """Calls a method, or its twin with the same arguments."""

    def call(owner: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            return getattr(owner, method)(*args, **kwargs)
        twin = getattr(owner, f"aio_{method}")
        assert inspect.signature(twin) == inspect.signature(getattr(owner, method))

        async def run() -> Any:
            return await twin(*args, **kwargs)

        return asyncio.run(run())

    return call
