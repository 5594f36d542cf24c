"""The tasks that are measured. Importing makes a client, so the environment must carry a token."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()


@hatchet.task(name="bench-noop", input_validator=dict)
async def noop(input: dict[str, Any], ctx: Context) -> dict[str, float]:  # noqa: A002 - the documented name
    """Does nothing; tells when it began, by the clock of this machine."""
    return {"started": time.time()}


@hatchet.task(name="bench-parked", input_validator=dict, schedule_timeout=timedelta(days=7))
async def parked(input: dict[str, Any], ctx: Context) -> dict[str, float]:  # noqa: A002 - the documented name
    """Never runs: after its registration no worker offers it, so its tasks wait."""
    return {"started": time.time()}
