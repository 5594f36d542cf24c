"""A task: a function with a name, its limits, and the types of its input and output."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from hatchet_sdk.declare.batches import BatchTaskConfig, member_type
from hatchet_sdk.declare.conditions import (
    Action,
    Condition,
    OrGroup,
    check_data_keys,
    declared,
    task_conditions,
)
from hatchet_sdk.declare.durations import Duration, timedelta_to_expr
from hatchet_sdk.declare.eviction import EvictionPolicy
from hatchet_sdk.declare.labels import DesiredLabels, desired_labels
from hatchet_sdk.declare.limits import ConcurrencyExpression, RateLimit, concurrency_messages, concurrency_rules
from hatchet_sdk.declare.options import SlotType, StepType
from hatchet_sdk.declare.signature import UNDECLARED, check_parameters, return_type
from hatchet_sdk.declare.values import DataclassInstance, Values, json_text, parse_json
from hatchet_sdk.exceptions import IllegalTaskOutputError

if TYPE_CHECKING:
    from hatchet_contracts.v1 import workflows_pb2
    from hatchet_sdk.declare.workflow import Workflow

logger = logging.getLogger("hatchet_sdk")

ValidTaskReturnType = BaseModel | Mapping[str, Any] | DataclassInstance | None

TWorkflowInput = TypeVar("TWorkflowInput", bound=BaseModel | DataclassInstance | dict[str, Any])
R = TypeVar("R", bound=ValidTaskReturnType)


class Task(Generic[TWorkflowInput, R]):
    """One node of a workflow. Made by decorators, not by hand.

    Attributes: ``name`` in lower case (C-3.3), ``type``, ``parents`` (tasks), ``execution_timeout`` and
    ``schedule_timeout`` (``timedelta`` or duration text), ``retries`` (attempts after the first), ``backoff_factor``,
    ``backoff_max_seconds``, the conditions ``wait_for``, ``skip_if`` and ``cancel_if`` with groups resolved, and
    ``batch``, which only a batch task has, and ``eviction_policy``, which only a durable task has.
    Raises ``TypeError`` when the function does not take ``(input, ctx)``, ``ValueError`` for limits out of range.
    """

    def __init__(
        self,
        _fn: Callable[..., Any],
        *,
        is_durable: bool = False,
        type: StepType = StepType.DEFAULT,  # noqa: A002  # the surface has it so
        workflow: Workflow[TWorkflowInput],
        name: str,
        execution_timeout: Duration,
        schedule_timeout: Duration,
        parents: Sequence[Task[TWorkflowInput, Any]] | None = None,
        retries: int,
        rate_limits: Sequence[RateLimit] | None = None,
        desired_worker_labels: DesiredLabels | None = None,
        backoff_factor: float | None,
        backoff_max_seconds: int | None,
        concurrency: int | Sequence[ConcurrencyExpression] | None,
        wait_for: list[Condition | OrGroup] | None = None,
        skip_if: list[Condition | OrGroup] | None = None,
        cancel_if: list[Condition | OrGroup] | None = None,
        batch: BatchTaskConfig | None = None,
        slot_requests: dict[str, int] | None = None,
        eviction_policy: EvictionPolicy | None = None,
        local_names: Mapping[str, Any] | None = None,
    ) -> None:
        check_parameters(_fn, name)
        if not name:
            raise ValueError(f"a task of workflow '{workflow.name}' has no name of its own; pass name=…")
        if retries < 0:
            raise ValueError(f"task '{name}': retries must be 0 or more, got {retries}")
        if not isinstance(parents, list | tuple | None):
            raise TypeError(f"the parents of task '{name}' must be a list of tasks, got {parents.__class__.__name__}")
        self.fn = _fn
        self.is_durable = is_durable
        self.type = type
        self.is_async_function: bool = inspect.iscoroutinefunction(_fn)
        self.workflow = workflow
        self.name = name.lower()
        self.parents = list(dict.fromkeys(parents or ()))
        self.execution_timeout = execution_timeout
        self.schedule_timeout = schedule_timeout
        self.retries = retries
        self.rate_limits = list(rate_limits or ())
        self.desired_worker_labels = desired_worker_labels
        self.backoff_factor = backoff_factor
        self.backoff_max_seconds = backoff_max_seconds
        self.concurrency = concurrency
        # Here too, so that a wrong number is reported where it was written.
        concurrency_rules(concurrency)
        self.batch = batch
        self.eviction_policy = eviction_policy
        self.slot_requests = slot_requests or {(SlotType.DURABLE if is_durable else SlotType.DEFAULT).value: 1}
        self.wait_for = declared(wait_for, Action.QUEUE, f"wait_for of task '{name}'")
        self.skip_if = declared(skip_if, Action.SKIP, f"skip_if of task '{name}'")
        self.cancel_if = declared(cancel_if, Action.CANCEL, f"cancel_if of task '{name}'")
        check_data_keys(self._conditions, name)
        self._local_names = local_names or {}

    @property
    def _conditions(self) -> list[Condition]:
        return [*self.wait_for, *self.skip_if, *self.cancel_if]

    @property
    def readable_id(self) -> str:
        """The name under which results and details list this task (C-3.3)."""
        return self.name.lower()

    def action_name(self, service_name: str) -> str:
        """The action that a worker registers for this task: ``<service>:<task>``, in lower case (C-3.3, C-3.4)."""
        return f"{service_name}:{self.name}".lower()

    def to_proto(self, service_name: str) -> workflows_pb2.CreateTaskOpts:
        """The task's part of the registration (C-3.1). ``service_name`` is the workflow's."""
        from hatchet_contracts.v1 import workflows_pb2

        message = workflows_pb2.CreateTaskOpts(
            readable_id=self.readable_id,
            action=self.action_name(service_name),
            timeout=timedelta_to_expr(self.execution_timeout),
            schedule_timeout=timedelta_to_expr(self.schedule_timeout),
            inputs="{}",
            parents=[parent.readable_id for parent in self.parents],
            retries=self.retries,
            rate_limits=[limit.to_proto() for limit in self.rate_limits],
            worker_labels=desired_labels(self.desired_worker_labels),
            concurrency=concurrency_messages(self.concurrency),
            is_durable=self.is_durable,
            slot_requests=self.slot_requests,
        )
        if self.batch is not None:
            message.batch.CopyFrom(self.batch.to_proto())
        if self._conditions:
            message.conditions.CopyFrom(task_conditions(self._conditions, self.workflow.client.config))
        if self.backoff_factor is not None:
            message.backoff_factor = self.backoff_factor
        if self.backoff_max_seconds is not None:
            message.backoff_max_seconds = self.backoff_max_seconds
        return message

    def parse_input(self, data: dict[str, Any]) -> TWorkflowInput:
        """The run's input as a value of the declared type.

        Raises ``pydantic.ValidationError`` when it does not fit.
        """
        return self.workflow.inputs.parse(data)

    def serialize_output(self, value: object) -> str:
        """What the function returned, as JSON text; the empty text for None (C-5.29).

        Raises ``IllegalTaskOutputError`` for anything but a pydantic model, a dataclass, a mapping or None.
        """
        if value is None:
            return ""
        try:
            return json_text(value)
        except (TypeError, ValueError) as error:
            raise IllegalTaskOutputError(
                f"task '{self.name}' returned {type(value).__name__}, which cannot become a JSON object: {error}"
            ) from error

    @cached_property
    def _outputs(self) -> Values[R] | None:
        kind = return_type(self.fn, self._local_names)
        if self.batch is not None and not self.batch.broadcast_output:
            kind = member_type(kind, UNDECLARED)
        if kind is UNDECLARED or kind is Any:
            return None
        values: Values[R] = Values(kind)
        problem = values.problem()
        if problem is not None:
            logger.warning("results of task '%s' are returned as plain objects: %s", self.name, problem)
            return None
        return values

    @property
    def output_validator(self) -> TypeAdapter[R]:
        """Checks results against the function's return annotation; accepts anything without one."""
        return self._outputs.adapter if self._outputs is not None else cast("TypeAdapter[R]", TypeAdapter(Any))

    @property
    def output_validator_type(self) -> type[R]:
        """The function's return annotation."""
        return cast("type[R]", self._outputs.kind if self._outputs is not None else dict)

    def parse_output(self, text: str | bytes | None) -> R:
        """The output of a finished run as a value of the return type.

        No output is None where the annotation allows it, else ``{}`` (C-7.15).
        Raises ``pydantic.ValidationError`` when the output does not fit the annotation.
        """
        data = parse_json(text) if text else None
        if self._outputs is None:
            return cast("R", {} if data is None else data)
        if self._outputs.kind in (None, NoneType):
            return cast("R", None)
        if data is not None:
            return self._outputs.parse(data)
        try:
            return self._outputs.parse(None)
        except ValidationError:
            return cast("R", {})
