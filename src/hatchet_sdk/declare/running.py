"""Behind the methods that run something: how runs are created, and how their ends become values or exceptions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hatchet_sdk.declare.base import BaseWorkflow
from hatchet_sdk.declare.options import TriggerWorkflowOptions, WorkflowRunTriggerConfig
from hatchet_sdk.declare.task import TWorkflowInput
from hatchet_sdk.run.call import Call

if TYPE_CHECKING:
    from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
    from hatchet_sdk.client import Client
    from hatchet_sdk.run.outcome import RunOutcome

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

    def _reference(self, request: TriggerWorkflowRequest) -> Call[str, TRef]:
        client = self._client
        return Call(client.connection, client.runner.trigger(request, alone=self._alone), self._ref)

    def _references(self, requests: Sequence[TriggerWorkflowRequest]) -> Call[list[str], list[TRef]]:
        client = self._client
        return Call(
            client.connection, client.runner.trigger_many(requests), lambda ids: [self._ref(run_id) for run_id in ids]
        )

    def _result(self, request: TriggerWorkflowRequest, *, awaited: bool) -> Call[RunOutcome, TResult]:
        client = self._client
        work = client.runner.trigger_and_wait(request, alone=self._alone)
        return Call(client.connection, work, lambda outcome: self._value(outcome, awaited))

    def _results(self, requests: Sequence[TriggerWorkflowRequest], *, awaited: bool) -> Call[Outcomes, list[TResult]]:
        def values(outcomes: Outcomes) -> list[TResult]:
            ended = [outcome for outcome in outcomes if outcome is not None]
            for outcome in ended:
                # A failed run first: the runs beside it may not be over, and then there is nothing to read of them.
                if self._raises(outcome, awaited):
                    self._value(outcome, awaited)
            return [self._value(outcome, awaited) for outcome in ended]

        client = self._client
        work = client.runner.trigger_many_and_wait(requests, until=lambda outcome: self._raises(outcome, awaited))
        return Call(client.connection, work, values)

    def _judged(
        self, requests: Sequence[TriggerWorkflowRequest], *, awaited: bool
    ) -> Call[Outcomes, list[TResult | BaseException]]:
        def judge(outcome: RunOutcome) -> TResult | BaseException:
            try:
                return self._value(outcome, awaited)
            except Exception as error:
                return error

        client = self._client
        work = client.runner.trigger_many_and_wait(requests, until=None)
        return Call(client.connection, work, lambda outcomes: [judge(outcome) for outcome in outcomes if outcome])
