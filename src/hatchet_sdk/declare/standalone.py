"""A task that is a workflow of its own: what ``@hatchet.task`` makes of a function."""

# ruff: noqa: A002, B008  # `input` and its default EmptyModel() (frozen) are the documented signature

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, cast, overload

from pydantic import TypeAdapter
from typing_extensions import deprecated

from hatchet_sdk.declare.options import EmptyModel, TriggerWorkflowOptions, WorkflowRunTriggerConfig
from hatchet_sdk.declare.task import R, Task, TWorkflowInput
from hatchet_sdk.declare.workflow import BaseWorkflow, Workflow
from hatchet_sdk.run.refs import TaskRunRef, WorkflowRunRef

if TYPE_CHECKING:
    from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
    from hatchet_sdk.client import Client
    from hatchet_sdk.declare.labels import DesiredWorkerLabel
    from hatchet_sdk.run.outcome import RunOutcome


class Standalone(BaseWorkflow[TWorkflowInput], Generic[TWorkflowInput, R]):
    """Runs a task by itself. Every method has an ``aio_`` twin with the same arguments and exceptions."""

    def __init__(self, workflow: Workflow[TWorkflowInput], task: Task[TWorkflowInput, R]) -> None:
        super().__init__(workflow.config, workflow.client)
        self._task = task
        # Readable by hand and by tools that follow decorators to the function.
        self.__wrapped__ = task.fn
        self.__doc__ = task.fn.__doc__ or type(self).__doc__

    @property
    def tasks(self) -> list[Task[TWorkflowInput, Any]]:
        return [self._task]

    @property
    def is_async_function(self) -> bool:
        """Whether the function was declared with ``async def``."""
        return self._task.is_async_function

    @property
    def output_validator(self) -> TypeAdapter[R]:
        return self._task.output_validator

    @property
    def output_validator_type(self) -> type[R]:
        return self._task.output_validator_type

    @property
    def _client(self) -> Client:
        return self.client.client

    @property
    def _alone(self) -> bool:
        return self.config.idempotency is not None

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
    ) -> R: ...

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
    ) -> TaskRunRef[TWorkflowInput, R]: ...

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
    ) -> TaskRunRef[TWorkflowInput, R] | R:
        """Create a run; wait for its result, or return a reference with ``wait_for_result=False``.

        ``input`` is a value of the declared input type. Keyword arguments win over the same fields of ``options``:
        ``additional_metadata`` (JSON object, merged), ``priority`` 1 to 3, ``child_key`` (inside a task: runs with one
        key are one run), ``sticky`` (inside a task: run on this worker), ``desired_worker_id`` and
        ``desired_worker_labels``.

        Raises ``TypeError`` for an input that cannot become a JSON object, ``EngineError`` when the engine cannot be
        reached or refuses, ``FailedTaskRunExceptionGroup`` when the task failed, and ``CancelledRunError`` (a
        ``ValueError``) when the run was cancelled.
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
        client = self._client
        if wait_for_result:
            return self._value(client.connection.run(client.runner.trigger_and_wait(request, alone=self._alone)))
        return self.get_run_ref(client.connection.run(client.runner.trigger(request, alone=self._alone)))

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
    ) -> TaskRunRef[TWorkflowInput, R]:
        """Create a run and return a reference to it."""
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
        client = self._client
        return self.get_run_ref(client.connection.run(client.runner.trigger(request, alone=self._alone)))

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
    ) -> R: ...

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
    ) -> TaskRunRef[TWorkflowInput, R]: ...

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
    ) -> TaskRunRef[TWorkflowInput, R] | R:
        """Like :meth:`run`, for async code; also awaits the result unless ``wait_for_result=False``."""
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
        client = self._client
        if wait_for_result:
            return self._value(await client.connection.call(client.runner.trigger_and_wait(request, alone=self._alone)))
        return self.get_run_ref(await client.connection.call(client.runner.trigger(request, alone=self._alone)))

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
    ) -> TaskRunRef[TWorkflowInput, R]:
        """Create a run and return a reference to it."""
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
        client = self._client
        return self.get_run_ref(await client.connection.call(client.runner.trigger(request, alone=self._alone)))

    @overload
    def run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        *,
        return_exceptions: Literal[True],
        wait_for_result: Literal[True] = True,
    ) -> list[R | BaseException]: ...

    @overload
    def run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        return_exceptions: Literal[False] = False,
        wait_for_result: Literal[True] = True,
    ) -> list[R]: ...

    @overload
    def run_many(
        self, workflows: list[WorkflowRunTriggerConfig], *, wait_for_result: Literal[False]
    ) -> list[TaskRunRef[TWorkflowInput, R]]: ...

    def run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        return_exceptions: bool = False,
        wait_for_result: bool = True,
    ) -> list[R] | list[R | BaseException] | list[TaskRunRef[TWorkflowInput, R]]:
        """Create many runs, made with ``create_bulk_run_item``; results in the order of the items.

        Travels in requests of up to 1000 items and below the message limit. ``wait_for_result=False`` returns
        references. ``return_exceptions=True`` puts the exception of a failed run in its place; otherwise the first
        failure is raised as soon as it is known. Raises like :meth:`run`; when only a part of a large bulk was
        accepted, a note on the exception says how many runs exist.
        """
        requests, client = self._requests(workflows), self._client
        if wait_for_result:
            outcomes = client.connection.run(
                client.runner.trigger_many_and_wait(requests, stop_at_failure=not return_exceptions)
            )
            return self._collected(outcomes) if return_exceptions else self._values(outcomes)
        return [self.get_run_ref(run_id) for run_id in client.connection.run(client.runner.trigger_many(requests))]

    @deprecated("use run_many(..., wait_for_result=False)")
    def run_many_no_wait(self, workflows: list[WorkflowRunTriggerConfig]) -> list[TaskRunRef[TWorkflowInput, R]]:
        """Create many runs and return references in the order of the items."""
        requests, client = self._requests(workflows), self._client
        return [self.get_run_ref(run_id) for run_id in client.connection.run(client.runner.trigger_many(requests))]

    @overload
    async def aio_run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        *,
        return_exceptions: Literal[True],
        wait_for_result: Literal[True] = True,
    ) -> list[R | BaseException]: ...

    @overload
    async def aio_run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        return_exceptions: Literal[False] = False,
        wait_for_result: Literal[True] = True,
    ) -> list[R]: ...

    @overload
    async def aio_run_many(
        self, workflows: list[WorkflowRunTriggerConfig], *, wait_for_result: Literal[False]
    ) -> list[TaskRunRef[TWorkflowInput, R]]: ...

    async def aio_run_many(
        self,
        workflows: list[WorkflowRunTriggerConfig],
        return_exceptions: bool = False,
        wait_for_result: bool = True,
    ) -> list[R] | list[R | BaseException] | list[TaskRunRef[TWorkflowInput, R]]:
        """Like :meth:`run_many`, for async code."""
        requests, client = self._requests(workflows), self._client
        if wait_for_result:
            outcomes = await client.connection.call(
                client.runner.trigger_many_and_wait(requests, stop_at_failure=not return_exceptions)
            )
            return self._collected(outcomes) if return_exceptions else self._values(outcomes)
        return [
            self.get_run_ref(run_id) for run_id in await client.connection.call(client.runner.trigger_many(requests))
        ]

    @deprecated("use aio_run_many(..., wait_for_result=False)")
    async def aio_run_many_no_wait(
        self, workflows: list[WorkflowRunTriggerConfig]
    ) -> list[TaskRunRef[TWorkflowInput, R]]:
        """Create many runs and return references in the order of the items."""
        requests, client = self._requests(workflows), self._client
        return [
            self.get_run_ref(run_id) for run_id in await client.connection.call(client.runner.trigger_many(requests))
        ]

    def get_run_ref(self, run_id: str) -> TaskRunRef[TWorkflowInput, R]:
        """A reference to a run of this task by its id; nothing is asked of the engine."""
        return TaskRunRef(self, WorkflowRunRef(run_id, self._client))

    def get_result(self, run_id: str) -> R:
        """Block until the run ends; what the task returned. Raises like :meth:`run`."""
        client = self._client
        return self._value(client.connection.run(client.runner.wait(run_id)))

    async def aio_get_result(self, run_id: str) -> R:
        """Await the end of the run; what the task returned. Raises like :meth:`run`."""
        client = self._client
        return self._value(await client.connection.call(client.runner.wait(run_id)))

    def _request(
        self, input: TWorkflowInput, options: TriggerWorkflowOptions | None, **overrides: Any
    ) -> TriggerWorkflowRequest:
        from hatchet_sdk.run.trigger import prepare

        return prepare(self.client.config, self.config.name, self.input_text(input), self.merge(options, **overrides))

    def _requests(self, workflows: Sequence[WorkflowRunTriggerConfig]) -> list[TriggerWorkflowRequest]:
        from hatchet_sdk.run.trigger import prepare

        config = self.client.config
        return [prepare(config, item.workflow_name, item.input, item.options) for item in workflows]

    def _value(self, outcome: RunOutcome) -> R:
        return self._task.parse_output(outcome.output_of(self._task.readable_id))

    def _values(self, outcomes: Sequence[RunOutcome | None]) -> list[R]:
        # A failed run first: the runs beside it may not be over, and then there is nothing to read of them.
        for outcome in outcomes:
            if outcome is not None:
                outcome.raise_for_status()
        return [self._value(outcome) for outcome in outcomes if outcome is not None]

    def _collected(self, outcomes: Sequence[RunOutcome | None]) -> list[R | BaseException]:
        values: list[R | BaseException] = []
        for outcome in outcomes:
            if outcome is None:
                continue
            try:
                values.append(self._value(outcome))
            except Exception as error:
                values.append(error)
        return values
