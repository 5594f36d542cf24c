"""Behind the methods that run something: how runs are created, and how their ends become values or exceptions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hatchet_sdk.context.current import current_context
from hatchet_sdk.declare.base import BaseWorkflow
from hatchet_sdk.declare.options import TriggerWorkflowOptions, WorkflowRunTriggerConfig
from hatchet_sdk.declare.task import TWorkflowInput
from hatchet_sdk.run.call import Call

if TYPE_CHECKING:
    from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
    from hatchet_sdk.client import Client
    from hatchet_sdk.run.durable_runner import DurableRunner
    from hatchet_sdk.run.outcome import RunOutcome
    from hatchet_sdk.run.trigger import Runner

TResult = TypeVar("TResult")
TRef = TypeVar("TRef")

Outcomes = list["RunOutcome | None"]


class Running(BaseWorkflow[TWorkflowInput], Generic[TWorkflowInput, TResult, TRef]):
    """``TResult`` is what a run gives, ``TRef`` refers to a run."""

    @abstractmethod
    def _ref(self, run_id: str) -> TRef:
        """A reference to a run."""

    @abstractmethod
    def _value(self, outcome: RunOutcome, awaited: bool) -> TResult:
        """The result of a run that ended; raises when there is none. ``awaited`` says which twin asks."""

    @abstractmethod
    def _raises(self, outcome: RunOutcome, awaited: bool) -> bool:
        """Whether ``_value`` raises because of how the run ended."""

    @property
    def _client(self) -> Client:
        return self.client.client

    @property
    def _alone(self) -> bool:
        return self.config.idempotency is not None

    def _request(
        self, value: TWorkflowInput, options: TriggerWorkflowOptions | None, **overrides: Any
    ) -> TriggerWorkflowRequest:
        from hatchet_sdk.run.trigger import prepare

        return prepare(self.client.config, self.config.name, self.input_text(value), self.merge(options, **overrides))

    def _requests(self, items: Sequence[WorkflowRunTriggerConfig]) -> list[TriggerWorkflowRequest]:
        from hatchet_sdk.run.trigger import prepare

        for item in items:
            if not isinstance(item, WorkflowRunTriggerConfig):
                raise TypeError(
                    f"run_many of '{self.name}' takes items made with create_bulk_run_item, got {type(item).__name__}"
                )
        config = self.client.config
        return [prepare(config, item.workflow_name, item.input, item.options) for item in items]

    def _children(self) -> DurableRunner | None:
        """Where runs go that are triggered here, if here is a durable task: they become entries of its log."""
        context = current_context.get()
        log = None if context is None else context.children_log(self.client.config)
        if log is None:
            return None
        from hatchet_sdk.run.durable_runner import DurableRunner

        tasks = self.tasks
        return DurableRunner(log, tasks[0].readable_id if len(tasks) == 1 else None)

    def _runner(self) -> Runner | DurableRunner:
        return self._children() or self._client.runner

    def _reference(self, request: TriggerWorkflowRequest) -> Call[str, TRef]:
        return Call(self._client.connection, self._runner().trigger(request, alone=self._alone), self._ref)

    def _references(self, requests: Sequence[TriggerWorkflowRequest]) -> Call[list[str], list[TRef]]:
        work = self._runner().trigger_many(requests)
        return Call(self._client.connection, work, lambda ids: [self._ref(run_id) for run_id in ids])

    def _result(self, request: TriggerWorkflowRequest, *, awaited: bool) -> Call[RunOutcome, TResult]:
        runner = self._runner()
        awaited = self._is_lenient(runner, awaited)
        work = runner.trigger_and_wait(request, alone=self._alone)
        return Call(self._client.connection, work, lambda outcome: self._value(outcome, awaited))

    def _results(self, requests: Sequence[TriggerWorkflowRequest], *, awaited: bool) -> Call[Outcomes, list[TResult]]:
        runner = self._runner()
        awaited = self._is_lenient(runner, awaited)

        def values(outcomes: Outcomes) -> list[TResult]:
            ended = [outcome for outcome in outcomes if outcome is not None]
            for outcome in ended:
                # A failed run first: the runs beside it may not be over, and then there is nothing to read of them.
                if self._raises(outcome, awaited):
                    self._value(outcome, awaited)
            return [self._value(outcome, awaited) for outcome in ended]

        work = runner.trigger_many_and_wait(requests, until=lambda outcome: self._raises(outcome, awaited))
        return Call(self._client.connection, work, values)

    def _judged(
        self, requests: Sequence[TriggerWorkflowRequest], *, awaited: bool
    ) -> Call[Outcomes, list[TResult | BaseException]]:
        runner = self._runner()
        awaited = self._is_lenient(runner, awaited)

        def judge(outcome: RunOutcome) -> TResult | BaseException:
            try:
                return self._value(outcome, awaited)
            except Exception as error:
                return error

        work = runner.trigger_many_and_wait(requests, until=None)
        return Call(self._client.connection, work, lambda outcomes: [judge(outcome) for outcome in outcomes if outcome])

    def _is_lenient(self, runner: Runner | DurableRunner, awaited: bool) -> bool:
        """Awaiting a cancelled run gives what outputs there are (C-7.21); the log of a durable task knows only that it
        was cancelled, and says so (D-13.15)."""
        return awaited and runner is self._client.runner
