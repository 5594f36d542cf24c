"""Child runs of a durable task: created and awaited by way of its log (behaviour-durable D-13).

Has the coroutines of `Runner`, so that the methods that run something need not know where their runs go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from hatchet_sdk.run.outcome import RunOutcome, TaskOutcome

if TYPE_CHECKING:
    from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
    from hatchet_sdk.context.durable_log import Completion, DurableLog
    from hatchet_sdk.run.results import Until

CANCELLED = "task was cancelled"
"""The error text of a child that was cancelled (D-13.15)."""


class DurableRunner:
    """Runs of one kind as children of the task that runs here.

    ``only_task`` is the name of the task when the child has one: its result is what that task returned, and that of
    another child the outputs by task name (D-13.12).
    """

    def __init__(self, log: DurableLog, only_task: str | None) -> None:
        self._log = log
        self._only_task = only_task

    def has(self, run_id: str) -> bool:
        """Whether this invocation created the run."""
        return self._log.knows_child(run_id)

    async def trigger(self, request: TriggerWorkflowRequest, *, alone: bool) -> str:
        """Create one child; the id of its run."""
        return (await self.trigger_many([request]))[0]

    async def trigger_and_wait(self, request: TriggerWorkflowRequest, *, alone: bool) -> RunOutcome:
        """Create one child and wait for its end."""
        return await self.wait((await self.trigger_many([request]))[0])

    async def trigger_many(self, requests: Sequence[TriggerWorkflowRequest]) -> list[str]:
        """Create children; the ids of their runs in the order of the requests."""
        return [child.workflow_run_external_id for child in await self._log.spawn(requests)]

    async def trigger_many_and_wait(
        self, requests: Sequence[TriggerWorkflowRequest], *, until: Until | None
    ) -> list[RunOutcome | None]:
        """Create children and wait for their ends, in order; with ``until`` only for the first that failed."""
        ids = await self.trigger_many(requests)
        ends = await self._log.children_ended(ids, stop_at_failure=until is not None)
        return [None if end is None else self._outcome(run_id, end) for run_id, end in zip(ids, ends, strict=True)]

    async def wait(self, run_id: str) -> RunOutcome:
        """Wait for the end of a child that `trigger` or `trigger_many` of this invocation created."""
        (end,) = await self._log.children_ended([run_id], stop_at_failure=False)
        assert end is not None
        return self._outcome(run_id, end)

    def _outcome(self, run_id: str, end: Completion) -> RunOutcome:
        if end.error is not None:
            # An empty text is how outcomes say that a task was cancelled.
            error = "" if end.error == CANCELLED else end.error or "the child failed without an error text"
            return RunOutcome(run_id, (TaskOutcome(self._only_task or "", run_id, error, None),))
        if self._only_task is not None:
            return RunOutcome(run_id, (TaskOutcome(self._only_task, run_id, None, self._single(end.payload)),))
        outputs: dict[str, Any] = from_json(end.payload) if end.payload else {}
        return RunOutcome(
            run_id, tuple(TaskOutcome(name, "", None, to_json(output).decode()) for name, output in outputs.items())
        )

    def _single(self, payload: bytes) -> str | None:
        return payload.decode() if payload and payload != b"null" else None
