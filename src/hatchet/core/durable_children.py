"""What a durable task gets of a child run that has ended (behaviour-durable D-13.11 to D-13.16, D-15.15)."""

from __future__ import annotations

import orjson

from hatchet.core.durable_log import Result
from hatchet.core.messages import RunFinished
from hatchet.core.statuses import RunStatus

CANCELLED = "task was cancelled"
"""Clients show this text (D-13.15)."""


def child_result(run: RunFinished, *, is_single: bool) -> Result:
    """The result of a child's entry.

    ``is_single``: the child is one task, whose output is the payload; of others it is an object of outputs by readable
    id (D-13.12). A failed task's error text stays as its worker reported it (D-13.14).
    """
    failed = next((one for one in run.results if one.status is RunStatus.FAILED), None)
    if failed is not None:
        return Result(run.at, is_failure=True, error=failed.error or "")
    if any(one.status is RunStatus.CANCELLED for one in run.results):
        return Result(run.at, is_failure=True, error=CANCELLED)
    outputs = {one.readable_id: one.output for one in run.results if one.output}
    if not is_single:
        return Result(run.at, orjson.dumps({name: orjson.Fragment(text) for name, text in outputs.items()}).decode())
    output = next(iter(outputs.values()), "")
    if output and not output.lstrip().startswith("{"):
        # Anything but an object makes the reader of Python workers throw, again and again.
        return Result(
            run.at,
            is_failure=True,
            error="the child run completed, but its output is no JSON object, and a durable task can only be given "
            "objects: return an object from the child",
        )
    return Result(run.at, output)
