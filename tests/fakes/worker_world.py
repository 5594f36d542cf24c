"""What the tests of the worker share; the fixtures are in `worker_fixtures`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel

from fakes.fake_dispatcher import FakeDispatcher, token
from fakes.fake_rest import FakeRest
from hatchet_sdk import ClientConfig, ClientTLSConfig, Context, Hatchet
from hatchet_sdk.worker.worker import Worker

JOIN_SECONDS = 60.0


class Number(BaseModel):
    n: int = 0


def config(fake: FakeDispatcher, rest: FakeRest | None = None, **values: Any) -> ClientConfig:
    """Without `rest` the worker cannot pause itself."""
    url = rest.url if rest is not None else "http://127.0.0.1:1"
    return ClientConfig(token=token(fake.port, url), tls_config=ClientTLSConfig(strategy="none"), **values)


@contextmanager
def running(worker: Worker) -> Iterator[threading.Thread]:
    """The worker in a thread of its own, where it handles no signals; stopped in good order at the end."""
    thread = threading.Thread(target=worker.start)
    thread.start()
    try:
        yield thread
    finally:
        asyncio.run(worker.exit_gracefully())
        thread.join(JOIN_SECONDS)
        assert not thread.is_alive()


def worker_of(hatchet: Hatchet, **functions: Callable[..., Any]) -> Worker:
    """A worker with a task for each function; the action ids are `name:name`."""
    tasks = [hatchet.task(name=name, input_validator=Number)(function) for name, function in functions.items()]
    return hatchet.worker("test-worker", slots=10, workflows=tasks)


async def double(input: Number, ctx: Context) -> dict[str, Any]:
    return {"n": input.n * 2}


def sync_double(input: Number, ctx: Context) -> dict[str, Any]:
    return {"n": input.n * 2}


async def nothing(input: Any, ctx: Context) -> dict[str, Any]:
    return {}
