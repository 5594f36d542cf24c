"""The worker as its tasks see it: `ctx.worker`."""

from __future__ import annotations

from collections.abc import Mapping

from hatchet_sdk.context.link import WorkerLink
from hatchet_sdk.wire.loop_thread import connection_thread


class WorkerContext:
    """Id and labels of the worker that runs the task. One object for all tasks of a worker.

    ``sticky_workflows`` are the workflows that the worker has registered, and whether they declare a sticky strategy.
    """

    def __init__(
        self, labels: Mapping[str, str | int], link: WorkerLink, sticky_workflows: Mapping[str, bool] | None = None
    ) -> None:
        self._labels = dict(labels)
        self.link = link
        self._sticky_workflows = dict(sticky_workflows or {})

    def check_sticky(self, workflow_name: str) -> None:
        """Raise ``ValueError`` unless this worker can run sticky children of the workflow (C-11.15).

        ``workflow_name`` is the registered name, with the namespace.
        """
        sticky = self._sticky_workflows.get(workflow_name)
        if sticky is None:
            raise ValueError(
                f"a run of '{workflow_name}' cannot stick to this worker, which has not registered that workflow; "
                "add it to the workflows of the worker, or leave sticky out"
            )
        if not sticky:
            raise ValueError(
                f"a run of '{workflow_name}' cannot stick to a worker: the workflow declares no strategy; "
                "declare it with sticky=StickyStrategy.SOFT or HARD, or leave sticky out"
            )

    def id(self) -> str | None:
        """The id from the worker's registration (C-2.42); None before it has registered."""
        return self.link.worker_id or None

    def labels(self) -> dict[str, str | int]:
        """A copy of the labels, with the changes that were made from this process."""
        return dict(self._labels)

    def upsert_labels(self, labels: dict[str, str | int]) -> None:
        """Sets the given labels of the worker and keeps the others; counts from the next scheduling pass (C-2.40)."""
        connection_thread().run(self._upsert(labels))

    async def async_upsert_labels(self, labels: dict[str, str | int]) -> None:
        """Like `upsert_labels`, for async tasks."""
        await connection_thread().call(self._upsert(labels))

    async def _upsert(self, labels: dict[str, str | int]) -> None:
        await self.link.calls.upsert_worker_labels(self.link.worker_id, labels)
        self._labels.update(labels)
