"""What every task of the chaos tests' workflows does: it leaves a line in a file that no part of Hatchet writes."""

import asyncio
import json
import os
import time
import uuid
from typing import Any

from pydantic import BaseModel

from hatchet_sdk import Context, Task

STEPS = os.open(os.environ["CHAOS_STEPS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
"""One write of one short line to a file opened for appending stays in one piece, whoever else writes."""


class Job(BaseModel):
    n: int


def note(ctx: Context, kind: str, **fields: Any) -> None:
    """Append a line about this attempt."""
    line = {"kind": kind, "task": ctx.step_run_id, "run": ctx.workflow_run_id, "attempt": ctx.retry_count, **fields}
    os.write(STEPS, (json.dumps(line) + "\n").encode())


async def step(job: Job, ctx: Context, *parents: Task[Any, Any], milliseconds: int = 5) -> dict[str, object]:
    """Take a while, note the effect, and return who did it and whose results it saw."""
    execution = uuid.uuid4().hex
    began = time.time()
    await asyncio.sleep(milliseconds / 1000)
    saw = {parent.name: None if ctx.was_skipped(parent) else ctx.task_output(parent)["execution"] for parent in parents}
    note(ctx, "effect", execution=execution, n=job.n, saw=saw, worker=os.getpid(), began=began, ended=time.time())
    return {"n": job.n, "execution": execution, "saw": saw}


def fail_once(ctx: Context, done: dict[str, object]) -> None:
    """Raise in the first execution of the task that comes here, whichever attempt that is; never again."""
    mark = os.path.join(os.environ["CHAOS_MARKS"], ctx.step_run_id)
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    fail(done)


def fail(done: dict[str, object]) -> None:
    """The error names the execution, so that the checker finds its effect."""
    raise RuntimeError(f"execution {done['execution']} fails")
