"""The methods that run something, in blocking and in ``async`` form: the same for workflows and standalone tasks."""

# ruff: noqa: A002, B008  # `input` and its default EmptyModel() (frozen) are the documented signature

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, cast, overload

from typing_extensions import deprecated

from hatchet_sdk.declare.options import EmptyModel, TriggerWorkflowOptions, WorkflowRunTriggerConfig
from hatchet_sdk.declare.running import Running, TRef, TResult
from hatchet_sdk.declare.task import TWorkflowInput

if TYPE_CHECKING:
    from hatchet_sdk.declare.labels import DesiredWorkerLabel


class Runnable(Running[TWorkflowInput, TResult, TRef], Generic[TWorkflowInput, TResult, TRef]):
    """Something that can be run. ``TResult`` is what a run gives, ``TRef`` refers to a run.

    Every method has an ``aio_`` twin with the same arguments and exceptions.
    """

    @overload
    def run(
        self,
        input: TWorkflowInput = ...,
        options: TriggerWorkflowOptions | None = None,
        wait_for_result: Literal[True] = True,
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: int | None = None,
        sticky: bool = False,
        desired_worker_id: str | None = None,
        desired_worker_labels: list[DesiredWorkerLabel] | None = None,
    ) -> TResult: ...

    @overload
    def run(
        self,
        input: TWorkflowInput = ...,
        options: TriggerWorkflowOptions | None = None,
        *,
        wait_for_result: Literal[False],
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: int | None = None,
        sticky: bool = False,
        desired_worker_id: str | None = None,
        desired_worker_labels: list[DesiredWorkerLabel] | None = None,
    ) -> TRef: ...

    def run(
        self,
        input: TWorkflowInput = cast("TWorkflowInput", EmptyModel()),
        options: TriggerWorkflowOptions | None = None,
        wait_for_result: bool = True,
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: int | None = None,
        sticky: bool = False,
        desired_worker_id: str | None = None,
        desired_worker_labels: list[DesiredWorkerLabel] | None = None,
    ) -> TResult | TRef:
        """Create a run; wait for its result, or return a reference with ``wait_for_result=False``.

        ``input`` is a value of the declared input type. A workflow gives the outputs of its tasks by task name, a
        standalone task what it returned. Keyword arguments win over the same fields of ``options``:
        ``additional_metadata`` (JSON object, merged), ``priority`` 1 to 3, ``child_key`` (inside a task: runs with one
        key are one run), ``sticky`` (inside a task: run on this worker), ``desired_worker_id`` and
        ``desired_worker_labels``. Inside a task the run becomes a child of it (C-4.11).

        Raises ``TypeError`` for an input that cannot become a JSON object, ``ValueError`` for a sticky run of a
        workflow that this worker has not registered or that declares no strategy, ``EngineError`` when the engine
        cannot be reached or refuses, ``IdempotencyCollisionError`` when a run with the same key exists,
        ``FailedTaskRunExceptionGroup`` when a task failed, and ``CancelledRunError`` (a ``ValueError``) when the run
        was cancelled.
        """
        request = self._request(
            input,
            options,
            child_key=child_key,
            additional_metadata=additional_metadata,
            priority=priority,
            desired_worker_id=desired_worker_id,
            sticky=sticky,
            desired_worker_labels=desired_worker_labels,
        )
        return self._result(request, awaited=False).block() if wait_for_result else self._reference(request).block()

    @deprecated("use run(..., wait_for_result=False)")
    def run_no_wait(
        self,
        input: TWorkflowInput = cast("TWorkflowInput", EmptyModel()),
        options: TriggerWorkflowOptions | None = None,
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: int | None = None,
        sticky: bool = False,
        desired_worker_id: str | None = None,
        desired_worker_labels: list[DesiredWorkerLabel] | None = None,
    ) -> TRef:
        """Create a run and return a reference to it."""
        return self.run(
            input,
            options,
            wait_for_result=False,
            child_key=child_key,
            additional_metadata=additional_metadata,
            priority=priority,
            desired_worker_id=desired_worker_id,
            sticky=sticky,
            desired_worker_labels=desired_worker_labels,
        )

    @overload
    async def aio_run(
        self,
        input: TWorkflowInput = ...,
        options: TriggerWorkflowOptions | None = None,
        wait_for_result: Literal[True] = True,
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: int | None = None,
        sticky: bool = False,
        desired_worker_id: str | None = None,
        desired_worker_labels: list[DesiredWorkerLabel] | None = None,
    ) -> TResult: ...

    @overload
    async def aio_run(
        self,
        input: TWorkflowInput = ...,
        options: TriggerWorkflowOptions | None = None,
        *,
        wait_for_result: Literal[False],
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: int | None = None,
        sticky: bool = False,
        desired_worker_id: str | None = None,
        desired_worker_labels: list[DesiredWorkerLabel] | None = None,
    ) -> TRef: ...

    async def aio_run(
        self,
        input: TWorkflowInput = cast("TWorkflowInput", EmptyModel()),
        options: TriggerWorkflowOptions | None = None,
        wait_for_result: bool = True,
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: int | None = None,
        sticky: bool = False,
        desired_worker_id: str | None = None,
        desired_worker_labels: list[DesiredWorkerLabel] | None = None,
    ) -> TResult | TRef:
        """Like :meth:`run`, for async code; also awaits the result unless ``wait_for_result=False``.

        The result of a workflow differs in two points (C-7.15, C-7.21): tasks that returned nothing are left out, and a
        cancelled run gives the outputs there are.
        """
        request = self._request(
            input,
            options,
            child_key=child_key,
            additional_metadata=additional_metadata,
            priority=priority,
            desired_worker_id=desired_worker_id,
            sticky=sticky,
            desired_worker_labels=desired_worker_labels,
        )
        if wait_for_result:
            return await self._result(request, awaited=True).wait()
        return await self._reference(request).wait()

    @deprecated("use aio_run(..., wait_for_result=False)")
    async def aio_run_no_wait(
        self,
        input: TWorkflowInput = cast("TWorkflowInput", EmptyModel()),
        options: TriggerWorkflowOptions | None = None,
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: int | None = None,
        sticky: bool = False,
        desired_worker_id: str | None = None,
        desired_worker_labels: list[DesiredWorkerLabel] | None = None,
    ) -> TRef:
        """Create a run and return a reference to it."""
        return await self.aio_run(
            input,
            options,
            wait_for_result=False,
            child_key=child_key,
            additional_metadata=additional_metadata,
            priority=priority,
            desired_worker_id=desired_worker_id,
            sticky=sticky,
            desired_worker_labels=desired_worker_labels,
        )

    @overload
    def run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        *,
        return_exceptions: Literal[True],
        wait_for_result: Literal[True] = True,
    ) -> list[TResult | BaseException]: ...

    @overload
    def run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        return_exceptions: Literal[False] = False,
        wait_for_result: Literal[True] = True,
    ) -> list[TResult]: ...

    @overload
    def run_many(self, workflows: list[WorkflowRunTriggerConfig], *, wait_for_result: Literal[False]) -> list[TRef]: ...

    def run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        return_exceptions: bool = False,
        wait_for_result: bool = True,
    ) -> list[TResult] | list[TResult | BaseException] | list[TRef]:
        """Create many runs, made with ``create_bulk_run_item``; results in the order of the items.

        Travels in requests of up to 1000 items and below the message limit. ``wait_for_result=False`` returns
        references. ``return_exceptions=True`` puts the exception of a failed run in its place; otherwise the first
        failure is raised as soon as it is known. Raises like :meth:`run`; when only a part of a large bulk was
        accepted, a note on the exception says how many runs exist. ``BulkTriggerIdempotencyCollisionError`` lists the
        runs that collided and those that were created beside them.
        """
        requests = self._requests(workflows)
        if not wait_for_result:
            return self._references(requests).block()
        if return_exceptions:
            return self._judged(requests, awaited=False).block()
        return self._results(requests, awaited=False).block()

    @deprecated("use run_many(..., wait_for_result=False)")
    def run_many_no_wait(self, workflows: list[WorkflowRunTriggerConfig]) -> list[TRef]:
        """Create many runs and return references in the order of the items."""
        return self.run_many(workflows, wait_for_result=False)

    @overload
    async def aio_run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        *,
        return_exceptions: Literal[True],
        wait_for_result: Literal[True] = True,
    ) -> list[TResult | BaseException]: ...

    @overload
    async def aio_run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        return_exceptions: Literal[False] = False,
        wait_for_result: Literal[True] = True,
    ) -> list[TResult]: ...

    @overload
    async def aio_run_many(
        self, workflows: list[WorkflowRunTriggerConfig], *, wait_for_result: Literal[False]
    ) -> list[TRef]: ...

    async def aio_run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        return_exceptions: bool = False,
        wait_for_result: bool = True,
    ) -> list[TResult] | list[TResult | BaseException] | list[TRef]:
        """Like :meth:`run_many`, for async code; results are those of :meth:`aio_run`."""
        requests = self._requests(workflows)
        if not wait_for_result:
            return await self._references(requests).wait()
        if return_exceptions:
            return await self._judged(requests, awaited=True).wait()
        return await self._results(requests, awaited=True).wait()

    @deprecated("use aio_run_many(..., wait_for_result=False)")
    async def aio_run_many_no_wait(self, workflows: list[WorkflowRunTriggerConfig]) -> list[TRef]:
        """Create many runs and return references in the order of the items."""
        return await self.aio_run_many(workflows, wait_for_result=False)
