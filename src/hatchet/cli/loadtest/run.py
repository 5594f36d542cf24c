"""One load test from the connection to the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from hatchet.cli.loadtest import chart, summary
from hatchet.cli.loadtest.logs import show_logs
from hatchet.cli.loadtest.plan import Plan
from hatchet.cli.loadtest.producer import Producer, Tally
from hatchet.cli.loadtest.tasks import Workflow, declare
from hatchet.core.errors import FailedPrecondition
from hatchet_sdk import ConfigurationError, EngineError, Hatchet

WORKER = (sys.executable, "-P", "-m", "hatchet.cli.loadtest.worker")
STOP_SECONDS = 45.0

logger = logging.getLogger("hatchet.loadtest")


def run(plan: Plan) -> bool:
    """Run it and print the summary; whether it passed.

    Raises :class:`FailedPrecondition` when there is no server, no token, or the worker does not come up.
    """
    show_logs(plan.level)
    try:
        hatchet = Hatchet()
    except ConfigurationError as error:
        raise FailedPrecondition(str(error)) from error
    tally = asyncio.run(_run(hatchet, plan))
    print(f"\nLoad test against {hatchet.config.host_port}\n\n{summary.report(plan, tally)}\n")
    if plan.plot_directory:
        for path in chart.write(Path(plan.plot_directory), tally.timings):
            print(f"Wrote {path}")
    complaints = summary.complaints(plan, tally)
    for complaint in complaints:
        print(f"Not passed: {complaint}.", file=sys.stderr)
    return not complaints


async def _run(hatchet: Hatchet, plan: Plan) -> Tally:
    workflows = declare(hatchet, plan)
    await _register(hatchet, workflows, plan.registration_timeout)
    async with contextlib.AsyncExitStack() as stack:
        if not plan.external_worker:
            await _start_worker(stack, plan)
        logger.info("emitting for %g s", plan.seconds)
        return await Producer(plan, workflows).run()


async def _register(hatchet: Hatchet, workflows: list[Workflow], timeout: float) -> None:
    """The worker does the same later: the definitions are equal, so only one version comes of it (C-3.30)."""
    connection = hatchet.client.connection

    async def put() -> None:
        for workflow in workflows:
            await connection.calls().put_workflow(workflow.to_proto())

    try:
        async with asyncio.timeout(timeout):
            await connection.call(put())
    except EngineError as error:
        raise FailedPrecondition(str(error)) from error
    except TimeoutError as error:
        raise FailedPrecondition(
            f"the workflows were not registered within --registrationTimeout {timeout:g}s: the server at "
            f"{hatchet.config.host_port} does not answer. `hatchet server status` tells whether it runs."
        ) from error


async def _start_worker(stack: contextlib.AsyncExitStack, plan: Plan) -> None:
    if not plan.worker_delay:
        await stack.enter_async_context(_worker(plan))
        return
    late = asyncio.create_task(_late_worker(stack, plan), name="late-worker")
    stack.push_async_callback(_ended, late)


async def _late_worker(stack: contextlib.AsyncExitStack, plan: Plan) -> None:
    await asyncio.sleep(plan.worker_delay)
    await stack.enter_async_context(_worker(plan))


async def _ended(late: asyncio.Task[None]) -> None:
    """A worker that could not start is the reason for every lost run, so it must be told."""
    if not late.done():
        late.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await late
    elif late.exception() is not None:
        logger.error("the worker did not start: %s", late.exception())


@asynccontextmanager
async def _worker(plan: Plan) -> AsyncIterator[None]:
    """The worker's process, ready; ended in good order afterwards."""
    # In a session of its own: Ctrl-C must not reach it twice.
    process = await asyncio.create_subprocess_exec(
        *WORKER, json.dumps(asdict(plan)), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        await _ready(process, plan.registration_timeout)
        yield
    finally:
        await _stop(process)


async def _ready(process: asyncio.subprocess.Process, timeout: float) -> None:
    assert process.stdout is not None, "piped"
    try:
        async with asyncio.timeout(timeout):
            while line := await process.stdout.readline():
                if line.strip() == b"ready":
                    return
    except TimeoutError as error:
        raise FailedPrecondition(
            f"the worker was not registered within --registrationTimeout {timeout:g}s; --level debug says more."
        ) from error
    raise FailedPrecondition("the worker of the load test ended before it was registered; it said why above.")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
