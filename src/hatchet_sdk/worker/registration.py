"""What the worker tells the engine about itself before any work: its workflows, and its own record."""

from __future__ import annotations

import asyncio
import platform
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import metadata

from grpc import StatusCode

from hatchet_contracts.dispatcher_pb2 import PYTHON, RuntimeInfo, WorkerRegisterRequest
from hatchet_contracts.v1.workflows_pb2 import CreateWorkflowVersionRequest
from hatchet_sdk.wire.calls import Calls, worker_labels
from hatchet_sdk.wire.errors import EngineError
from hatchet_sdk.wire.retry import USER_ERRORS
from hatchet_sdk.worker.errors import WorkerRegistrationError

REGISTRATIONS_AT_ONCE = 5
REGISTER_TRIES = 5
REGISTER_WAIT_SECONDS = 1.0
SLOT_CONFIG_SINCE = (0, 78, 23)
DURABLE_STREAM_SINCE = (0, 80, 0)
DISTRIBUTION = "hatchet-in-python"


async def put_workflows(calls: Calls, requests: Sequence[CreateWorkflowVersionRequest]) -> None:
    """Registers the workflows, some at a time.

    Raises:
        WorkerRegistrationError: the engine refused one; the text has its name and the engine's words.
    """
    gate = asyncio.Semaphore(REGISTRATIONS_AT_ONCE)

    async def put(request: CreateWorkflowVersionRequest) -> None:
        async with gate:
            try:
                await calls.put_workflow(request)
            except EngineError as error:
                raise WorkerRegistrationError(f"workflow {request.name!r} was not registered: {error}") from None

    tasks = [asyncio.create_task(put(request)) for request in requests]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def engine_version(calls: Calls) -> str:
    """The engine's version text; empty for one that has none (C-2.1)."""
    try:
        return await calls.get_version()
    except EngineError as error:
        if error.code() is StatusCode.UNIMPLEMENTED:
            return ""
        raise


def takes_slot_config(version: str) -> bool:
    """Whether the engine is new enough for slots by type (C-2.2)."""
    return _is_since(version, SLOT_CONFIG_SINCE)


def has_durable_stream(version: str) -> bool:
    """Whether the engine is new enough for the stream of durable tasks and for eviction (D-1.2)."""
    return _is_since(version, DURABLE_STREAM_SINCE)


def _is_since(version: str, since: tuple[int, int, int]) -> bool:
    """Whether a version text says `since` or later; one that cannot be read says neither (D-1.1)."""
    numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)(?:-|$)", version)
    return numbers is not None and tuple(int(part) for part in numbers.groups()) >= since


async def patiently(register: Callable[[], Awaitable[None]]) -> None:
    """Calls `register`, again if the engine is only just not there.

    Raises:
        EngineError: the engine refused, or did not come.
    """
    for tries_left in reversed(range(REGISTER_TRIES)):
        try:
            await register()
            return
        except EngineError as error:
            if not tries_left or error.code() in USER_ERRORS:
                raise
        await asyncio.sleep(REGISTER_WAIT_SECONDS)


def register_request(
    *,
    name: str,
    actions: Sequence[str],
    slot_config: Mapping[str, int],
    labels: Mapping[str, str | int],
    by_type: bool,
) -> WorkerRegisterRequest:
    """The Register request (C-2.4 to C-2.10).

    Args:
        name: with the namespace.
        by_type: whether the engine takes `slot_config`; an old one gets the number of default slots alone.
    """
    request = WorkerRegisterRequest(
        worker_name=name,
        actions=actions,
        services=["default"],
        labels=worker_labels(dict(labels)),
        runtime_info=RuntimeInfo(
            sdk_version=metadata.version(DISTRIBUTION),
            language=PYTHON,
            language_version=platform.python_version(),
            os=platform.system().lower(),
        ),
    )
    if by_type:
        for slot_type, units in slot_config.items():
            request.slot_config[slot_type] = units
    else:
        request.slots = sum(slot_config.values())
    return request
