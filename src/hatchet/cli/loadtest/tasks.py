"""The workflows of the load test: one task each, as many workflows as the fan-out."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

from hatchet.cli.loadtest.plan import Plan
from hatchet_sdk import Context, Hatchet, Standalone

NAME = "load-test"
SCHEDULE_TIMEOUT = timedelta(hours=1)
"""A run must not end because it waited: waiting is what is measured."""

EXECUTION_MARGIN_SECONDS = 60.0

Workflow = Standalone[dict[str, Any], dict[str, float]]


class LoadTestFailure(Exception):
    """The failure that ``--failureRate`` asks for."""


def declare(hatchet: Hatchet, plan: Plan) -> list[Workflow]:
    """The same workflows in producer and worker, so that registering them twice changes nothing."""
    return [_declared(hatchet, plan.delay, number) for number in range(plan.fanout)]


def _declared(hatchet: Hatchet, delay: float, number: int) -> Workflow:
    @hatchet.task(
        name=f"{NAME}-{number}",
        input_validator=dict,
        schedule_timeout=SCHEDULE_TIMEOUT,
        execution_timeout=timedelta(seconds=delay + EXECUTION_MARGIN_SECONDS),
    )
    async def load_test(input: dict[str, Any], ctx: Context) -> dict[str, float]:  # noqa: A002 - the documented name
        started = time.time()
        if delay:
            await asyncio.sleep(delay)
        if input["fails"]:
            raise LoadTestFailure("this run fails because --failureRate asks for it")
        return {"started": started}

    return load_test
