"""`hatchet.runs`: listen to runs, look them up, cancel them, run them again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from hatchet_sdk.features.run_models import (
    BulkCancelReplayOpts,
    V1BranchDurableTaskResponse,
    V1TaskStatus,
    WorkflowRunDetail,
)
from hatchet_sdk.run.refs import WorkflowRunRef

if TYPE_CHECKING:
    from hatchet_contracts.v1.workflows_pb2 import TasksFilter
    from hatchet_sdk.client import Client

IDS_IN_A_REQUEST = 1000
"""The engine replays at most so many runs a call (C-15.6)."""


class RunsClient:
    """What can be asked about runs. Every method raises `EngineError` when the engine refuses or cannot be reached."""

    def __init__(self, client: Client) -> None:
        self._client = client

    # --- listen --------------------------------------------------------------------------------------------------

    async def subscribe_to_stream(self, workflow_run_id: str) -> AsyncIterator[str]:
        """The chunks that the tasks of a run send with `ctx.put_stream`, in their order, until the run ends.

        Begins with what comes after the subscription; the engine keeps the last moments for a listener that comes just
        after the trigger (C-7.48). A run that has ended gives nothing (C-7.36). A broken connection is opened again.

        Raises:
            EngineError: there is no such run, or the engine is away for more than about 25 s.
        """
        # grpc is imported with the first use, not with the client.
        from hatchet_sdk.run.stream import chunks_of_run

        async for chunk in chunks_of_run(self._client.connection, workflow_run_id):
            yield chunk

    # --- look up -------------------------------------------------------------------------------------------------

    def get_run_ref(self, workflow_run_id: str) -> WorkflowRunRef:
        """A reference to a run by its id; nothing is asked of the engine."""
        return WorkflowRunRef(workflow_run_id, self._client)

    def get_details(self, external_id: str) -> WorkflowRunDetail:
        """Input, status and tasks of a run; also by the id of a standalone task (C-7.23)."""
        return self._client.connection.run(self._details(external_id))

    async def aio_get_details(self, external_id: str) -> WorkflowRunDetail:
        """Like `get_details`, for async code."""
        return await self._client.connection.call(self._details(external_id))

    def get_status(self, workflow_run_id: str) -> V1TaskStatus:
        """The status of a run."""
        return self.get_details(workflow_run_id).status.to_v1_task_status()

    async def aio_get_status(self, workflow_run_id: str) -> V1TaskStatus:
        """The status of a run."""
        return (await self.aio_get_details(workflow_run_id)).status.to_v1_task_status()

    async def _details(self, external_id: str) -> WorkflowRunDetail:
        answer = await self._client.connection.calls().get_run_details(external_id)
        return WorkflowRunDetail.from_proto(external_id, answer)

    # --- cancel --------------------------------------------------------------------------------------------------

    def cancel(self, run_id: str) -> None:
        """Cancels a run with all its tasks, or one task; what has ended already stays as it is (C-6.38)."""
        self.bulk_cancel(BulkCancelReplayOpts(ids=[run_id]))

    async def aio_cancel(self, run_id: str) -> None:
        """Like `cancel`, for async code."""
        await self.aio_bulk_cancel(BulkCancelReplayOpts(ids=[run_id]))

    def bulk_cancel(self, opts: BulkCancelReplayOpts) -> None:
        """Cancels runs and tasks by id, or those that match a filter. Unknown ids are ignored."""
        self._client.connection.run(self._bulk_cancel(opts))

    async def aio_bulk_cancel(self, opts: BulkCancelReplayOpts) -> None:
        """Like `bulk_cancel`, for async code."""
        await self._client.connection.call(self._bulk_cancel(opts))

    async def _bulk_cancel(self, opts: BulkCancelReplayOpts) -> None:
        calls = self._client.connection.calls()
        for ids, tasks in _requests(opts):
            await calls.cancel_tasks(ids, tasks)

    # --- replay --------------------------------------------------------------------------------------------------

    def replay(self, run_id: str) -> None:
        """Runs a finished run again, or one task and what depends on it; what still runs is left alone (C-15.9)."""
        self.bulk_replay(BulkCancelReplayOpts(ids=[run_id]))

    async def aio_replay(self, run_id: str) -> None:
        """Like `replay`, for async code."""
        await self.aio_bulk_replay(BulkCancelReplayOpts(ids=[run_id]))

    def bulk_replay(self, opts: BulkCancelReplayOpts) -> None:
        """Runs again what is given by id, or what matches a filter. Unknown ids are ignored."""
        self._client.connection.run(self._bulk_replay(opts))

    async def aio_bulk_replay(self, opts: BulkCancelReplayOpts) -> None:
        """Like `bulk_replay`, for async code."""
        await self._client.connection.call(self._bulk_replay(opts))

    async def _bulk_replay(self, opts: BulkCancelReplayOpts) -> None:
        calls = self._client.connection.calls()
        for ids, tasks in _requests(opts):
            await calls.replay_tasks(ids, tasks)

    # --- branch --------------------------------------------------------------------------------------------------

    def reset_durable_task(self, task_external_id: str, node_id: int, branch_id: int) -> V1BranchDurableTaskResponse:
        """Runs a durable task again from a node of its log on: earlier steps answer from the log, later ones are new.

        Args:
            task_external_id: the task run; of a standalone task the id of its run.
            branch_id: the branch that the node is on; a log begins with branch 1.
        """
        return self._client.connection.run(self._reset(task_external_id, node_id, branch_id))

    async def aio_reset_durable_task(
        self, task_external_id: str, node_id: int, branch_id: int
    ) -> V1BranchDurableTaskResponse:
        """Like `reset_durable_task`, for async code."""
        return await self._client.connection.call(self._reset(task_external_id, node_id, branch_id))

    async def _reset(self, task_external_id: str, node_id: int, branch_id: int) -> V1BranchDurableTaskResponse:
        from hatchet_contracts.v1.workflows_pb2 import BranchDurableTaskRequest

        request = BranchDurableTaskRequest(task_external_id=task_external_id, node_id=node_id, branch_id=branch_id)
        answer = await self._client.connection.calls().branch_durable_task(request)
        return V1BranchDurableTaskResponse(
            task_external_id=answer.task_external_id, node_id=answer.node_id, branch_id=answer.branch_id
        )


def _requests(opts: BulkCancelReplayOpts) -> Iterator[tuple[list[str], TasksFilter | None]]:
    """Ids in pieces that the engine takes, or the filter."""
    if opts.filters is not None:
        yield [], opts.filters.to_proto()
        return
    ids = opts.ids or []
    for start in range(0, len(ids), IDS_IN_A_REQUEST):
        yield ids[start : start + IDS_IN_A_REQUEST], None
