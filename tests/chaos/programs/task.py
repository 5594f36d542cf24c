"""The task of the chaos tests: it leaves a line in a history that no part of Hatchet writes."""

import asyncio
import json
import os
import time
import uuid

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()

HISTORY = os.open(os.environ["CHAOS_HISTORY"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
"""One write of one short line to a file opened for appending stays in one piece, whoever else writes."""


class Job(BaseModel):
    n: int
    milliseconds: int = 0


@hatchet.task(name="work", input_validator=Job, execution_timeout="2m", schedule_timeout="10m")
async def work(input: Job, ctx: Context) -> dict[str, object]:
    execution = uuid.uuid4().hex
    began = time.time()
    if input.milliseconds:
        await asyncio.sleep(input.milliseconds / 1000)
    line = {
        "task": ctx.step_run_id,
        "attempt": ctx.retry_count,
        "execution": execution,
        "n": input.n,
        "worker": os.getpid(),
        "began": began,
        "ended": time.time(),
    }
    os.write(HISTORY, (json.dumps(line) + "\n").encode())
    return {"n": input.n, "execution": execution}
